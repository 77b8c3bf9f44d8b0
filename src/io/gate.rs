//! Asks a gate's Prometheus: one instant query, and whether it gives a series.
//!
//! Nothing is sent but the query, and no credentials. What comes back is untrusted text: it is cut, and goes nowhere
//! but into words. Whatever is no clear answer is told as none, and then the gate holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::Request;
use http::header::ACCEPT;
use serde::Deserialize;
use tokio::time::timeout;

use super::client::{self, Client};
use super::request::{JSON, chain, encode, one_line, unwrapped};
use crate::domain::gate::{Gate, Said};

/// Patience for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that is read of an answer, in bytes.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Most that is said of a series, in characters.
const WORDS: usize = 200;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    result: Vec<serde_json::Value>,
}

/// Asks, and keeps the connections.
#[derive(Default)]
pub struct Asker(Mutex<BTreeMap<Arc<str>, Client>>);

impl Asker {
    /// Asks one gate; never longer than 5 s.
    pub async fn ask(&self, gate: &Gate) -> Said {
        let client = match self.client(&gate.server) {
            Ok(client) => client,
            Err(words) => return Said::Failed(words),
        };
        let mut uri = "/api/v1/query?timeout=4s&query=".to_owned();
        encode(&mut uri, &gate.query);
        match timeout(PATIENCE, answer(&client, &uri)).await {
            Ok(Ok(data)) => said(&data),
            Ok(Err(words)) => Said::Failed(cut(&words)),
            Err(_) => Said::Failed(format!("no answer within {} s", PATIENCE.as_secs()).into()),
        }
    }

    fn client(&self, server: &Arc<str>) -> Result<Client, Arc<str>> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(server) {
            return Ok(client.clone());
        }
        let address = server.parse().map_err(|error| format!("{server} is no address: {error}"))?;
        let client = client::plain(address).map_err(|error| cut(&error.to_string()))?;
        clients.insert(Arc::clone(server), client.clone());
        Ok(client)
    }
}

/// Success or not is in the status code, and why not in the body.
async fn answer(client: &Client, uri: &str) -> Result<Data, String> {
    let request = Request::get(uri).header(ACCEPT, JSON).body(kube::client::Body::empty());
    let response = client.send(request.map_err(|error| error.to_string())?).await.map_err(|error| unwrapped(&error))?;
    let code = response.status();
    let bytes = to_bytes(Body::new(response.into_body()), ANSWER_BYTES).await.map_err(|error| chain(&error))?;
    let Answer { data, error } = serde_json::from_slice(&bytes).unwrap_or_default();
    match data {
        Some(data) if code.is_success() => Ok(data),
        _ => {
            Err(format!("{}: {}", code.as_u16(), error.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned())))
        }
    }
}

fn said(data: &Data) -> Said {
    // The first by name: the same series in another order say the same.
    let labels = |series: &serde_json::Value| series.get("metric").map(ToString::to_string).unwrap_or_default();
    match (data.result_type.as_str(), data.result.iter().map(labels).min()) {
        ("vector", None) => Said::Quiet,
        ("vector", Some(first)) => Said::Holds(cut(&first)),
        (other, _) => {
            let other = cut(other);
            Said::Failed(format!("the query gives a {other} and no series; compare it with something").into())
        }
    }
}

fn cut(words: &str) -> Arc<str> {
    one_line(words).chars().take(WORDS).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Said {
        said(&serde_json::from_str::<Answer>(json).unwrap().data.unwrap())
    }

    #[test]
    fn any_series_holds_and_what_is_no_series_is_no_answer() {
        assert_eq!(answer(r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#), Said::Quiet);
        let one = r#"{"data":{"resultType":"vector","result":[{"metric":{"alertname":"A\nB"},"value":[1,"0"]}]}}"#;
        assert_eq!(answer(one), Said::Holds(r#"{"alertname":"A\nB"}"#.into()));
        for other in
            [r#"{"data":{"resultType":"scalar","result":[1,"0"]}}"#, r#"{"data":{"resultType":"matrix","result":[]}}"#]
        {
            let Said::Failed(words) = answer(other) else { panic!("{other}") };
            assert!(words.contains("compare it"), "{words}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_no_answer() {
        let gate = |server: &str| Gate { name: "g".into(), server: server.into(), query: "up == 0".into() };
        for server in ["http://127.0.0.1:1", "http://", "no address"] {
            let said = Asker::default().ask(&gate(server)).await;
            assert!(matches!(said, Said::Failed(_)), "{server}: {said:?}");
        }
    }
}
