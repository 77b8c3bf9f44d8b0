//! Why there is no client: one line that names the thing, the place and the remedy.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::json;
use volwarden::io::client::{ClientError, Target, check, connect};

use super::server::{Reply, Server, refusal};

fn line(error: &ClientError) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 600, "{line}");
    line
}

#[tokio::test(start_paused = true)]
async fn the_version_of_a_healthy_server() {
    let server = Server::new(|seen| {
        assert_eq!(seen.path, "/version");
        Some(Reply::Json(200, json!({"major": "1", "minor": "36", "gitVersion": "v1.36.2", "platform": "linux/amd64"})))
    });
    let version = check(&server.client()).await.unwrap();
    assert_eq!((version.git_version.as_str(), version.major.as_str(), version.minor.as_str()), ("v1.36.2", "1", "36"));
}

#[tokio::test(start_paused = true)]
async fn every_way_to_answer_wrongly_has_its_own_error() {
    type Case = (fn() -> Reply, fn(&ClientError) -> bool, &'static str);
    let cases: [Case; 7] = [
        (|| refusal(401, "Unauthorized", "Unauthorized"), |e| matches!(e, ClientError::Unauthorized { .. }), "log in"),
        (|| refusal(403, "Forbidden", "no"), |e| matches!(e, ClientError::Forbidden { .. }), "grant"),
        (|| refusal(500, "InternalError", "etcd"), |e| matches!(e, ClientError::Server { .. }), "etcd"),
        (|| Reply::Text(502, "<html>\nBad Gateway\n</html>"), |e| matches!(e, ClientError::Server { .. }), "502"),
        (|| Reply::Text(200, "<html>\nlogin</html>"), |e| matches!(e, ClientError::NotAnApiServer { .. }), "login"),
        (|| Reply::Json(200, json!({"hello": 1})), |e| matches!(e, ClientError::NotAnApiServer { .. }), "gitVersion"),
        (|| Reply::Hang, |e| matches!(e, ClientError::TimedOut { .. }), "10 s"),
    ];
    for (reply, expected, words) in cases {
        let error = check(&Server::new(move |_| Some(reply())).client()).await.unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(line(&error).contains(words), "{error}");
    }
}

// === Kubeconfigs ===

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.path().join("kubeconfig");
        fs::write(&path, text).unwrap();
        path
    }
}

fn kubeconfig(server: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "home",
        "clusters": [{"name": "home", "cluster": {"server": server}}],
        "contexts": [{"name": "home", "context": {"cluster": "home", "user": "me"}},
            {"name": "lost", "context": {"cluster": "nowhere", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": "hunter2"}}]})
    .to_string()
}

async fn refuse(path: PathBuf, context: Option<&str>) -> ClientError {
    let target = Target { kubeconfig: Some(path), context: context.map(ToOwned::to_owned) };
    match connect(&target).await {
        Ok(_) => panic!("a client was made"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn every_fault_of_a_kubeconfig_names_the_file_and_the_way_out() {
    let folder = Folder::new();
    let missing = folder.0.path().join("missing");
    let error = refuse(missing.clone(), None).await;
    assert!(matches!(error, ClientError::KubeconfigMissing { .. }), "{error:?}");
    assert!(line(&error).contains(missing.to_str().unwrap()));
    let error = refuse(folder.0.path().to_owned(), None).await;
    assert!(matches!(error, ClientError::KubeconfigUnreadable { .. }), "{error:?}");
    for garbage in ["\u{1}\u{2}: [", "just words", "[]", "clusters: 7"] {
        let error = refuse(folder.file(garbage), None).await;
        assert!(matches!(error, ClientError::KubeconfigInvalid { .. } | ClientError::NoContext { .. }), "{error:?}");
        line(&error);
    }
    let path = folder.file(&kubeconfig("https://127.0.0.1:1"));
    let error = refuse(path.clone(), Some("wrok")).await;
    assert!(matches!(error, ClientError::UnknownContext { .. }), "{error:?}");
    assert!(line(&error).contains("`wrok`") && line(&error).contains("home, lost"), "{error}");
    let error = refuse(path, Some("lost")).await;
    assert!(matches!(error, ClientError::KubeconfigInvalid { .. }) && line(&error).contains("nowhere"), "{error:?}");
    let error = refuse(folder.file("apiVersion: v1\nkind: Config\n"), None).await;
    assert!(matches!(error, ClientError::NoContext { .. }), "{error:?}");
    let proxied =
        kubeconfig("https://127.0.0.1:1").replace("\"server\"", "\"proxy-url\":\"http://proxy:3128\",\"server\"");
    let error = refuse(folder.file(&proxied), None).await;
    assert!(matches!(error, ClientError::Proxy { .. }) && line(&error).contains("proxy:3128"), "{error:?}");
}

#[tokio::test]
async fn no_secret_of_a_kubeconfig_gets_into_an_error() {
    let folder = Folder::new();
    let broken = kubeconfig("https://127.0.0.1:1").replace("\"users\":[", "\"users\":[7,");
    let error = refuse(folder.file(&broken), None).await;
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

// === The network ===

/// Takes one connection, reads what fits, answers; what it read.
fn answer(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).unwrap_or_default();
    let _ = stream.write_all(answer.as_bytes());
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// All in one test: the place an error names is the one connected to last.
#[tokio::test]
async fn failures_of_the_network_name_the_server() {
    let folder = Folder::new();
    // Nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = failure(&folder, &format!("http://{free}")).await;
    assert!(matches!(error, ClientError::Refused { .. }), "{error:?}");
    assert!(line(&error).contains(&free.to_string()), "{error}");
    // No such host.
    let error = failure(&folder, "http://no-such-host.invalid:6443").await;
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    // A server that speaks no TLS, and one that hangs up.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = thread::spawn(move || {
        answer(&listener, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        answer(&listener, "");
        let body = "{\"gitVersion\":\"v1.36.2\"}";
        answer(&listener, &format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    });
    let error = failure(&folder, &format!("https://{address}")).await;
    assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
    assert!(line(&error).contains(&address.to_string()), "{error}");
    let error = failure(&folder, &format!("http://{address}")).await;
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    // A good one.
    let target = Target { kubeconfig: Some(folder.file(&kubeconfig(&format!("http://{address}")))), context: None };
    let version = check(&connect(&target).await.unwrap()).await.unwrap();
    assert_eq!(version.git_version, "v1.36.2");
    let request = serve.join().unwrap().to_lowercase();
    assert!(request.contains(concat!("user-agent: volwarden/", env!("CARGO_PKG_VERSION"))), "{request}");
    assert!(request.contains("authorization: bearer hunter2"), "{request}");
}

async fn failure(folder: &Folder, server: &str) -> ClientError {
    let target = Target { kubeconfig: Some(folder.file(&kubeconfig(server))), context: None };
    let client = connect(&target).await.unwrap();
    let error = check(&client).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
    error
}

#[tokio::test]
async fn a_server_that_is_overloaded_is_asked_once() {
    // kube would repeat a 503 for minutes by default.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = thread::spawn(move || {
        answer(&listener, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        thread::sleep(Duration::from_millis(300));
        listener.set_nonblocking(true).unwrap();
        listener.accept().map(|(stream, _): (TcpStream, _)| drop(stream)).is_ok()
    });
    let error = failure(&Folder::new(), &format!("http://{address}")).await;
    assert!(matches!(error, ClientError::Server { .. }), "{error:?}");
    assert!(!serve.join().unwrap(), "the request was repeated");
}
