//! What goes wrong on demand: refusals, cut and truncated answers, slow ones, and none at all.
//!
//! A client that was only ever shown a healthy server has not been tried.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::Response;
use futures::{StreamExt as _, stream};

use crate::sim::store::Refusal;

use super::route::{Call, Verb};

/// How an answer goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This comes instead.
    Refuse(Refusal),
    /// It comes late.
    Slow(Duration),
    /// It does not come.
    Hang,
    /// A watch ends after so many lines; nothing else is harmed.
    CutWatch(usize),
    /// The connection breaks after so many bytes of the body.
    Truncate(usize),
}

/// Which requests a fault is for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Only this verb.
    pub verb: Option<Verb>,
    /// Only the resource of this plural.
    pub plural: Option<&'static str>,
    /// So many matching requests are left alone first.
    pub skip: u32,
    /// So many are harmed after that.
    pub times: u32,
    /// How.
    pub fault: Fault,
}

impl Rule {
    /// A fault for the next request, whatever it is.
    #[must_use]
    pub fn next(fault: Fault) -> Self {
        Self { verb: None, plural: None, skip: 0, times: 1, fault }
    }

    /// Only for this verb.
    #[must_use]
    pub fn verb(self, verb: Verb) -> Self {
        Self { verb: Some(verb), ..self }
    }

    /// Only for the resource of this plural.
    #[must_use]
    pub fn plural(self, plural: &'static str) -> Self {
        Self { plural: Some(plural), ..self }
    }

    /// For so many requests.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// So many requests are left alone first.
    #[must_use]
    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }
}

/// The faults to come, shared between the front and whoever orders them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Rule>>>);

impl Faults {
    /// Orders one; of several that fit a request the first strikes.
    pub fn add(&self, rule: Rule) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// Nothing goes wrong from now on.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault for this request.
    pub(super) fn take(&self, call: &Call) -> Option<Fault> {
        let plural = call.resource().map(|resource| resource.plural);
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |rule: &Rule| {
            rule.verb.is_none_or(|verb| verb == call.verb) && (rule.plural.is_none() || rule.plural == plural)
        };
        let mut struck = None;
        for rule in rules.iter_mut().filter(|rule| fits(rule)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                struck = Some(rule.fault.clone());
                break;
            }
        }
        rules.retain(|rule| rule.times > 0);
        struck
    }
}

/// The answer, whose body breaks off after so many bytes.
pub(super) fn truncated(answer: Response, bytes: usize) -> Response {
    let (mut head, body) = answer.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let start = body.into_data_stream().scan(bytes, |left, chunk| {
        let part = chunk.ok().filter(|_| *left > 0).map(|mut chunk: Bytes| {
            chunk.truncate(*left);
            *left = left.saturating_sub(chunk.len());
            Ok(chunk)
        });
        futures::future::ready(part)
    });
    let broken = stream::once(async {
        // What came before is sent first: a pause is what makes the connection flush.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    Response::from_parts(head, Body::from_stream(start.chain(broken)))
}
