//! Reads objects from the API server itself: a test looks again and again, and a kubectl for each look would cost more
//! than everything else that runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use crate::control_plane::ControlPlane;
use crate::error::Error;

/// How long an answer may take; a test may have frozen the API server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the API server has the objects of a kind.
#[derive(Clone, Debug)]
struct Place {
    /// `/api/v1`, or `/apis/GROUP/VERSION`.
    base: String,
    plural: String,
    namespaced: bool,
}

/// Reads as a user of its own; in the audit log it is `reader`.
pub(crate) struct Reader {
    agent: Agent,
    server: String,
    /// By every name that kubectl would take: singular, plural, plural.group and short names such as `pvc`.
    places: Mutex<BTreeMap<String, Place>>,
}

impl Reader {
    pub(crate) fn new(plane: &ControlPlane) -> Result<Self, Error> {
        Ok(Self { agent: plane.agent("reader")?, server: plane.server.clone(), places: Mutex::default() })
    }

    /// An object as it is now, or `None` if there is none.
    pub(crate) fn object(&self, kind: &str, namespace: Option<&str>, name: &str) -> Result<Option<Value>, Error> {
        let path = format!("{}/{name}", self.path(kind, namespace)?);
        match self.read(&path)? {
            (404, status) if status.get("reason").is_some_and(|reason| reason == "NotFound") => Ok(None),
            answer => found(&path, answer).map(Some),
        }
    }

    /// The objects of a kind, by a label selector, which may be empty.
    pub(crate) fn objects(&self, kind: &str, namespace: &str, selector: &str) -> Result<Vec<Value>, Error> {
        let selector = selector.replace('=', "%3D").replace(',', "%2C");
        let path = format!("{}?labelSelector={selector}", self.path(kind, Some(namespace))?);
        let mut list = found(&path, self.read(&path)?)?;
        let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        Ok(items.unwrap_or_default())
    }

    fn path(&self, kind: &str, namespace: Option<&str>) -> Result<String, Error> {
        let Place { base, plural, namespaced } = self.place(kind)?;
        Ok(match namespace.filter(|_| namespaced) {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{plural}"),
            None => format!("{base}/{plural}"),
        })
    }

    fn place(&self, kind: &str) -> Result<Place, Error> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if !places.contains_key(kind) {
            self.discover(&mut places)?; // CRDs come while a stack runs
        }
        places.get(kind).cloned().ok_or_else(|| Error::other(format!("the API server has no kind {kind}")))
    }

    fn discover(&self, places: &mut BTreeMap<String, Place>) -> Result<(), Error> {
        let groups = found("/apis", self.read("/apis")?)?;
        let groups = groups.get("groups").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let preferred = |group: &Value| {
            let version = group.pointer("/preferredVersion/groupVersion")?.as_str()?;
            Some((format!("/apis/{version}"), group.get("name")?.as_str()?.to_owned()))
        };
        // The core group first: a plain name such as `events` means its.
        let bases = [("/api/v1".to_owned(), String::new())].into_iter().chain(groups.iter().filter_map(preferred));
        for (base, group) in bases {
            let list = found(&base, self.read(&base)?)?;
            let resources = list.get("resources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for resource in resources {
                let text = |key: &str| resource.get(key).and_then(Value::as_str).unwrap_or_default();
                let (plural, singular) = (text("name"), text("singularName"));
                if plural.contains('/') {
                    continue;
                }
                let namespaced = resource.get("namespaced") == Some(&Value::Bool(true));
                let place = Place { base: base.clone(), plural: plural.to_owned(), namespaced };
                let short = resource.get("shortNames").and_then(Value::as_array).into_iter().flatten();
                let short = short.filter_map(Value::as_str).map(ToOwned::to_owned);
                let names = [plural.to_owned(), singular.to_owned(), format!("{plural}.{group}")];
                for name in names.into_iter().chain(short) {
                    places.entry(name).or_insert_with(|| place.clone());
                }
            }
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<(u16, Value), Error> {
        let address = format!("{}{path}", self.server);
        let failed = |error: ureq::Error| Error::other(format!("GET {path}: {error}"));
        let request = self.agent.get(&address).config().timeout_global(Some(PATIENCE)).build();
        let mut answer = request.call().map_err(failed)?;
        let code = answer.status().as_u16();
        Ok((code, answer.body_mut().with_config().limit(u64::MAX).read_json().map_err(failed)?))
    }
}

/// The answer, if it is one.
fn found(path: &str, (code, answer): (u16, Value)) -> Result<Value, Error> {
    if code == 200 {
        return Ok(answer);
    }
    let message = answer.get("message").and_then(Value::as_str).unwrap_or("no message");
    Err(Error::other(format!("GET {path}: {code}: {message}")))
}
