//! The endpoint that `kubectl logs` reaches through the API server.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateWaiting, ContainerStatus, PodStatus};
use tokio::sync::watch;

use crate::log_query::{Filter, Query};
use crate::logs::Run;
use crate::machine::Machine;
use crate::run::attempt;

/// What is served.
pub fn routes(machine: Machine) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(container_logs))
        .with_state(machine)
}

async fn container_logs(
    State(machine): State<Machine>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    UrlQuery(query): UrlQuery<Query>,
) -> Response {
    let Some((uid, status)) = machine.pods.get(&namespace, &pod) else {
        return (StatusCode::NOT_FOUND, format!("pod \"{pod}\" does not exist")).into_response();
    };
    let attempt = match attempt_of(&status, &pod, &container, query.previous) {
        Ok(attempt) => attempt,
        Err(refusal) => return refusal.into_response(),
    };
    let path = machine.logs.path(Run { namespace: &namespace, pod: &pod, uid: &uid, container: &container, attempt });
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            let text = format!("the log of container \"{container}\" in pod \"{pod}\" cannot be read: {error}");
            return (StatusCode::NOT_FOUND, text).into_response();
        }
    };
    let growth = machine.logs.growth(&path).filter(|_| query.follow);
    Body::from_stream(stream::unfold(
        Reading { file, unfinished: Vec::new(), filter: query.filter(Timestamp::now()), growth, at_end: false },
        Reading::next,
    ))
    .into_response()
}

/// A log on its way to a reader.
struct Reading {
    file: std::fs::File,
    /// The beginning of a line that is still being written.
    unfinished: Vec<u8>,
    filter: Filter,
    growth: Option<watch::Receiver<()>>,
    /// Whether there is nothing more to wait for.
    at_end: bool,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        while !self.at_end && !self.filter.is_full() {
            // In this order: what comes after a look at the file is told by the next change.
            let ended = self.growth.as_mut().is_none_or(|growth| {
                growth.mark_unchanged();
                growth.has_changed().is_err()
            });
            let piece = match self.whole_lines() {
                Ok(piece) => piece,
                Err(error) => {
                    self.at_end = true;
                    return Some((Err(error), self));
                }
            };
            let shown = self.filter.choose(&piece);
            self.at_end = ended;
            if !shown.is_empty() {
                return Some((Ok(shown.into()), self));
            }
            if let Some(growth) = self.growth.as_mut().filter(|_| !ended) {
                let _ = growth.changed().await; // an error is the log's end, which the next round finds
            }
        }
        None
    }

    fn whole_lines(&mut self) -> std::io::Result<Vec<u8>> {
        std::io::Read::read_to_end(&mut self.file, &mut self.unfinished)?;
        let end = self.unfinished.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        Ok(self.unfinished.drain(..end).collect())
    }
}

/// The run whose log is meant, or why there is none, in the words that kubelet has for it.
fn attempt_of(status: &PodStatus, pod: &str, container: &str, previous: bool) -> Result<i32, (StatusCode, String)> {
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let Some(known) = all.clone().find(|known| known.name == container) else {
        return Err((StatusCode::NOT_FOUND, format!("container \"{container}\" not found in pod \"{pod}\"")));
    };
    let id = if previous { previous_id(known) } else { present_id(known) };
    id.and_then(attempt).ok_or_else(|| (StatusCode::BAD_REQUEST, refusal(known, pod, previous)))
}

fn previous_id(known: &ContainerStatus) -> Option<&str> {
    known.last_state.as_ref()?.terminated.as_ref()?.container_id.as_deref()
}

fn present_id(known: &ContainerStatus) -> Option<&str> {
    let state = known.state.as_ref()?;
    if state.running.is_some() {
        return known.container_id.as_deref();
    }
    let terminated = state.terminated.as_ref().and_then(|terminated| terminated.container_id.as_deref());
    terminated.or_else(|| previous_id(known))
}

fn refusal(known: &ContainerStatus, pod: &str, previous: bool) -> String {
    let name = &known.name;
    if previous {
        return format!("previous terminated container \"{name}\" in pod \"{pod}\" not found");
    }
    let waiting = known.state.as_ref().and_then(|state| state.waiting.clone());
    match waiting {
        Some(ContainerStateWaiting { reason: Some(reason), .. }) => {
            let reason = if reason == "ErrImagePull" { "image can't be pulled" } else { &reason };
            format!("container \"{name}\" in pod \"{pod}\" is waiting to start: {reason}")
        }
        _ => format!("container \"{name}\" in pod \"{pod}\" is not available"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_log_is_that_of_the_run_which_kubelet_would_choose() {
        let ended =
            |attempt| json!({"terminated": {"exitCode": 1, "containerID": format!("process://u/main/{attempt}")}});
        let waiting = |reason| json!({"waiting": {"reason": reason}});
        for (state, last, previous, expected) in [
            (json!({"running": {}}), json!({}), false, Ok(2)),
            (json!({"running": {}}), ended(1), true, Ok(1)),
            (
                json!({"running": {}}),
                json!({}),
                true,
                Err("previous terminated container \"main\" in pod \"web\" not found"),
            ),
            (ended(2), ended(1), false, Ok(2)),
            (waiting("CrashLoopBackOff"), ended(1), false, Ok(1)),
            (
                waiting("ContainerCreating"),
                json!({}),
                false,
                Err("container \"main\" in pod \"web\" is waiting to start: ContainerCreating"),
            ),
            (
                waiting("ErrImagePull"),
                json!({}),
                false,
                Err("container \"main\" in pod \"web\" is waiting to start: image can't be pulled"),
            ),
        ] {
            let main: Value = json!({
                "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 2,
                "containerID": "process://u/main/2", "state": state, "lastState": last,
            });
            let status = serde_json::from_value(json!({"containerStatuses": [main]})).unwrap();
            let found = attempt_of(&status, "web", "main", previous).map_err(|(_, text)| text);
            assert_eq!(found, expected.map_err(ToOwned::to_owned));
        }
        let (code, _) = attempt_of(&PodStatus::default(), "web", "main", false).unwrap_err();
        assert_eq!(code, StatusCode::NOT_FOUND);
    }
}
