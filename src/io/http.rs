//! The daemon's HTTP face: metrics, health, readiness and the state as JSON. Read-only.
//!
//! It asks a [`Desk`] and waits for the answer at most [`PATIENCE`], so a stuck engine shows as an unhealthy
//! daemon and not as a scrape that hangs. It holds nothing and decides nothing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use futures::future::BoxFuture;
use tokio::net::TcpListener;

use crate::domain::engine::SourceView;

/// How long the engine may take to answer before it counts as dead.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A scrape shows old gauges rather than none when the engine is busy.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(2);

/// Who answers; `None` when the engine's loop has ended.
pub trait Desk: Send + Sync + 'static {
    /// The whole state as JSON.
    fn state_json(&self) -> BoxFuture<'_, Option<Vec<u8>>>;
    /// Whether every present source has synced, and all sources.
    fn readiness(&self) -> BoxFuture<'_, Option<(bool, Vec<SourceView>)>>;
    /// Brings the gauges up to date.
    fn refresh(&self) -> BoxFuture<'_, Option<()>>;
    /// The metrics as text.
    fn metrics(&self) -> String;
}

type Shared = State<Arc<dyn Desk>>;

/// Every path there is.
pub fn router(desk: Arc<dyn Desk>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/v1/state", get(state))
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such path; / lists those there are\n") })
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n") })
        .with_state(desk)
}

/// Serves until `stop` resolves, then lets open requests finish.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    desk: Arc<dyn Desk>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    // Small answers must not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router(desk)).with_graceful_shutdown(stop).await
}

async fn index() -> Html<String> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>volwarden</title></head>\n\
         <body><h1>volwarden {}</h1>\n<ul>\n",
        env!("CARGO_PKG_VERSION")
    );
    for (path, what) in [
        ("/api/v1/state", "sources and findings as JSON, as <code>volwarden doctor -o json</code> shows them"),
        ("/metrics", "Prometheus metrics"),
        ("/healthz", "200 while the engine answers"),
        ("/readyz", "200 once every present source has synced; else what has not"),
    ] {
        let _ = writeln!(page, "<li><a href=\"{path}\">{path}</a>: {what}</li>");
    }
    page.push_str("</ul></body></html>\n");
    Html(page)
}

async fn metrics(State(desk): Shared) -> impl IntoResponse {
    let _ = tokio::time::timeout(SCRAPE_PATIENCE, desk.refresh()).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], desk.metrics())
}

async fn healthz(State(desk): Shared) -> Response {
    match patiently(desk.readiness()).await {
        Ok(_) => "ok\n".into_response(),
        Err(dead) => dead,
    }
}

async fn readyz(State(desk): Shared) -> Response {
    match patiently(desk.readiness()).await {
        Ok((true, _)) => "ready\n".into_response(),
        Ok((false, sources)) => (StatusCode::SERVICE_UNAVAILABLE, not_ready(&sources)).into_response(),
        Err(dead) => dead,
    }
}

async fn state(State(desk): Shared) -> Response {
    match patiently(desk.state_json()).await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(dead) => dead,
    }
}

async fn patiently<T>(answer: BoxFuture<'_, Option<T>>) -> Result<T, Response> {
    let words = match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Some(answer)) => return Ok(answer),
        Ok(None) => "the engine has ended\n".to_owned(),
        Err(_) => format!("the engine has not answered for {} s\n", PATIENCE.as_secs()),
    };
    Err((StatusCode::SERVICE_UNAVAILABLE, words).into_response())
}

/// Which sources are not synced, each with the API server's own words.
fn not_ready(sources: &[SourceView]) -> String {
    let waiting: Vec<&SourceView> =
        sources.iter().filter(|source| !matches!(source.state, "Synced" | "NotInstalled")).collect();
    let mut text = format!("not ready: {} of {} sources have not synced\n", waiting.len(), sources.len());
    for source in waiting {
        let message = source.message.as_deref().map(|words| format!(": {}", words.replace('\n', " ")));
        let _ = writeln!(text, "{}: {}{}", source.kind, source.state, message.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Method, Request};
    use tower::ServiceExt as _;

    use super::*;

    /// What the engine behind the desk does.
    enum Fake {
        Answers { ready: bool },
        Hangs,
        Ended,
    }

    impl Desk for Fake {
        fn state_json(&self) -> BoxFuture<'_, Option<Vec<u8>>> {
            Box::pin(async { self.readiness().await.map(|_| b"{}".to_vec()) })
        }

        fn readiness(&self) -> BoxFuture<'_, Option<(bool, Vec<SourceView>)>> {
            let view = |kind, state, message: Option<&str>| SourceView {
                kind,
                state,
                objects: 0,
                silent_seconds: None,
                message: message.map(Arc::from),
            };
            match self {
                Self::Hangs => Box::pin(std::future::pending()),
                Self::Ended => Box::pin(async { None }),
                Self::Answers { ready } => {
                    let sources = vec![
                        view("Pod", "Forbidden", Some("pods is forbidden:\nno")),
                        view("Lease", "Synced", None),
                        view("CephCluster", "NotInstalled", None),
                    ];
                    Box::pin(async { Some((*ready, sources)) })
                }
            }
        }

        fn refresh(&self) -> BoxFuture<'_, Option<()>> {
            Box::pin(async { self.readiness().await.map(|_| ()) })
        }

        fn metrics(&self) -> String {
            "volwarden_build_info 1\n".to_owned()
        }
    }

    async fn ask(fake: Fake, method: Method, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router(Arc::new(fake)).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn readyz_says_in_words_what_has_not_synced() {
        let (status, body) = ask(Fake::Answers { ready: false }, Method::GET, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "not ready: 1 of 3 sources have not synced\nPod: Forbidden: pods is forbidden: no\n");
        let (status, body) = ask(Fake::Answers { ready: true }, Method::GET, "/readyz").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ready\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_or_ended_engine_is_unhealthy_and_never_a_hang() {
        for path in ["/healthz", "/readyz", "/api/v1/state"] {
            let (status, body) = ask(Fake::Hangs, Method::GET, path).await;
            assert_eq!(
                (status, body.as_str()),
                (StatusCode::SERVICE_UNAVAILABLE, "the engine has not answered for 5 s\n")
            );
            let (status, body) = ask(Fake::Ended, Method::GET, path).await;
            assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "the engine has ended\n"));
        }
        let (status, body) = ask(Fake::Hangs, Method::GET, "/metrics").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "volwarden_build_info 1\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn only_get_and_only_known_paths() {
        let up = || Fake::Answers { ready: true };
        assert_eq!(ask(up(), Method::GET, "/healthz").await, (StatusCode::OK, "ok\n".to_owned()));
        assert_eq!(ask(up(), Method::GET, "/api/v1/state").await, (StatusCode::OK, "{}".to_owned()));
        assert_eq!(ask(up(), Method::GET, "/nothing").await.0, StatusCode::NOT_FOUND);
        let (status, body) = ask(up(), Method::POST, "/api/v1/state").await;
        assert_eq!((status, body.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n"));
        assert!(ask(up(), Method::GET, "/").await.1.contains("/api/v1/state"));
    }
}
