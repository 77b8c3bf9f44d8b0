//! etcd, past the API server: its JSON gateway, for what the API does not let anyone write.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::error::Error;

/// A client of one etcd.
pub(crate) struct Etcd {
    address: String,
    agent: ureq::Agent,
}

/// A stored value and the revision that it was last written at.
pub(crate) struct Stored {
    pub(crate) value: Vec<u8>,
    revision: String,
}

impl Etcd {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), agent: ureq::Agent::new_with_defaults() }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Stored>, Error> {
        let answer = self.post("kv/range", &json!({"key": BASE64_STANDARD.encode(key)}))?;
        let Some(found) = answer.pointer("/kvs/0") else { return Ok(None) };
        let text = |field: &str| found.get(field).and_then(Value::as_str).unwrap_or_default();
        let value = BASE64_STANDARD
            .decode(text("value"))
            .map_err(|error| Error::other(format!("etcd's value of {key} is no base64: {error}")))?;
        Ok(Some(Stored { value, revision: text("mod_revision").to_owned() }))
    }

    /// Writes a value if the key has not been written since `stored` was read; says whether it was.
    pub(crate) fn replace(&self, key: &str, stored: &Stored, value: &[u8]) -> Result<bool, Error> {
        let key = BASE64_STANDARD.encode(key);
        let compare = json!({"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": stored.revision});
        let put = json!({"requestPut": {"key": key, "value": BASE64_STANDARD.encode(value)}});
        let answer = self.post("kv/txn", &json!({"compare": [compare], "success": [put]}))?;
        Ok(answer.get("succeeded").and_then(Value::as_bool).unwrap_or(false))
    }

    /// Writes many keys in one transaction; etcd takes at most 128.
    pub(crate) fn put_all(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), Error> {
        let put = |(key, value): &(String, Vec<u8>)| json!({"requestPut": {"key": BASE64_STANDARD.encode(key), "value": BASE64_STANDARD.encode(value)}});
        self.post("kv/txn", &json!({"success": pairs.iter().map(put).collect::<Vec<_>>()})).map(drop)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let address = format!("{}/v3/{path}", self.address);
        let failed = |error: ureq::Error| Error::other(format!("{address}: {error}"));
        self.agent.post(&address).send_json(body).map_err(failed)?.body_mut().read_json().map_err(failed)
    }
}
