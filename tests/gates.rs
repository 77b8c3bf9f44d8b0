//! The gates of a policy against a real Prometheus: what holds, what does not, and what is no answer.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;
use volwarden::domain::gate::{Gate, Said};
use volwarden::io::gate::Asker;

/// An alert that fires at once, and for ever.
const RULES: &str = "
groups:
- name: test
  interval: 1s
  rules:
  - alert: CephHealthError
    expr: vector(1)
    labels: {severity: critical}
";

struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(folder: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        std::fs::write(folder.join("rules.yml"), RULES).unwrap();
        let config = "global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n";
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .expect("the program prometheus (Debian's package prometheus)");
        Self { child, address }
    }

    fn gate(&self, query: &str) -> Gate {
        Gate { name: "g".into(), server: format!("http://{}", self.address).into(), query: query.into() }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_prometheus_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(folder.path());
    let asker = Asker::default();
    let firing = prometheus.gate(r#"ALERTS{alertname="CephHealthError",alertstate="firing"}"#);
    let began = Instant::now();
    let words = loop {
        match asker.ask(&firing).await {
            Said::Holds(words) => break words,
            other => assert!(began.elapsed() < Duration::from_secs(60), "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(words.contains(r#""severity":"critical""#), "{words}");
    // What would break if it were not encoded as it has to be.
    for quiet in [r#"ALERTS{alertname="Another & one?",alertstate="firing"}"#, "vector(1) + 1 > 2 unless vector(3)"] {
        assert_eq!(asker.ask(&prometheus.gate(quiet)).await, Said::Quiet, "{quiet}");
    }
    for (query, words) in [("sum(", "parse error"), ("scalar(vector(1))", "compare it")] {
        let Said::Failed(said) = asker.ask(&prometheus.gate(query)).await else { panic!("{query}") };
        assert!(said.contains(words), "{said}");
    }
    drop(prometheus);
    let Said::Failed(said) = asker.ask(&firing).await else { panic!("it is gone") };
    assert!(said.to_lowercase().contains("connect"), "{said}");
}
