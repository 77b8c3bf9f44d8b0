//! What a person wants done to a KopiaRepository, in that person's name: one annotation on the version that was read.
//!
//! The daemon decides whether it is done. Nothing but the annotation is written, so asking can break nothing.

use kube::Client;
use serde_json::json;

use super::consent::{ANSWER_BYTES, Ours, PATIENCE, Trouble};
use super::send::{Call, send};
use crate::api::{GROUP, REQUESTED, VERSION};
use crate::domain::name::Key;
use crate::io::repository::{self, Entry};
use crate::io::request::{self, JSON, Refusal, encode};

/// Where one is.
fn path(key: &Key) -> String {
    let mut path = format!("/apis/{GROUP}/{VERSION}/namespaces/");
    encode(&mut path, &key.namespace);
    path.push_str("/kopiarepositories/");
    encode(&mut path, &key.name);
    path
}

fn trouble(refusal: &Refusal, key: &Key, doing: &str) -> Trouble {
    match Trouble::of(refusal, Ours::Repository, &key.name, doing) {
        Trouble::NotFound { .. } => absent(key),
        other => other,
    }
}

/// There are several namespaces to look in.
fn absent(key: &Key) -> Trouble {
    Trouble::NotFound { what: format!("KopiaRepository {key}"), plural: "kopiarepositories -A" }
}

/// A KopiaRepository.
///
/// # Errors
/// It is not there, or cannot be read.
pub async fn repository(client: &Client, key: &Key) -> Result<Entry, Trouble> {
    let fits =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    // No object has another name, and a server asked for it would answer about something else.
    if !fits(&key.namespace) || !fits(&key.name) {
        return Err(absent(key));
    }
    let bytes = request::fetch(client, &path(key), JSON, ANSWER_BYTES, PATIENCE).await;
    read(key, &bytes.map_err(|refusal| trouble(&refusal, key, "read"))?)
}

fn read(key: &Key, bytes: &[u8]) -> Result<Entry, Trouble> {
    let unreadable =
        |words: &str| Trouble::Unreadable { what: format!("KopiaRepository {key}"), words: words.to_owned() };
    let entry = repository::read(&String::from_utf8_lossy(bytes));
    let entry = entry.ok_or_else(|| unreadable("it is no object of an API server's"))?;
    if entry.unreadable { Err(unreadable("its status is of another version")) } else { Ok(entry) }
}

/// Asks for a task; the KopiaRepository as it is then.
///
/// # Errors
/// It was changed since it was read, or cannot be written.
pub async fn demand(client: &Client, entry: &Entry, request: &str, dry: bool) -> Result<Entry, Trouble> {
    annotate(client, entry, (REQUESTED, request), (dry, "ask something of")).await
}

/// Approves a plan, by the annotation that is for it; the KopiaRepository as it is then.
///
/// # Errors
/// It was changed since it was read, or cannot be written.
pub async fn approve(client: &Client, entry: &Entry, plan: (&str, &str), dry: bool) -> Result<Entry, Trouble> {
    annotate(client, entry, plan, (dry, "approve a plan of")).await
}

async fn annotate(
    client: &Client,
    entry: &Entry,
    (annotation, value): (&str, &str),
    (dry, doing): (bool, &str),
) -> Result<Entry, Trouble> {
    let key = entry.custody.key();
    let metadata = json!({
        "uid": &*entry.uid, "resourceVersion": &*entry.version, "annotations": {(annotation): value},
    });
    let call = Call::merge(path(key), json!({ "metadata": metadata }));
    let call = if dry { call.dry() } else { call };
    let bytes = send(client, call, PATIENCE).await.map_err(|refusal| trouble(&refusal, key, doing))?;
    read(key, &bytes)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::io::tests::{ok, refused, server};

    fn object(version: &str) -> serde_json::Value {
        json!({
            "metadata": {"name": "nas", "namespace": "backup", "uid": "u-1", "resourceVersion": version, "generation": 1},
            "spec": {"secretRef": {"name": "kopia"}},
        })
    }

    #[tokio::test(start_paused = true)]
    async fn one_annotation_is_written_on_what_was_read() {
        let (client, book) = server(|_| ok(object("7")));
        let key = Key::namespaced("backup", "nas");
        let entry = repository(&client, &key).await.unwrap();
        demand(&client, &entry, "full:1", true).await.unwrap();
        demand(&client, &entry, "full:1", false).await.unwrap();
        let writes = book.writes();
        let at = "/apis/volwarden.dev/v1alpha1/namespaces/backup/kopiarepositories/nas";
        assert_eq!((&writes[1].method, writes[1].uri.as_str()), (&Method::PATCH, at));
        assert!(writes[0].uri.ends_with("?dryRun=All"), "{}", writes[0].uri);
        let only = json!({"metadata": {
            "uid": "u-1", "resourceVersion": "7", "annotations": {"volwarden.dev/requestedAt": "full:1"},
        }});
        assert_eq!(writes[1].body, only, "and nothing else");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_asked_says_why() {
        let said = |answer: fn(&crate::io::tests::Asked) -> crate::io::tests::Told, name: &'static str| async move {
            let (client, book) = server(answer);
            let trouble = repository(&client, &Key::namespaced("backup", name)).await.unwrap_err().to_string();
            (trouble, book.all().len())
        };
        let (words, _) = said(|_| refused(404, "NotFound"), "nas").await;
        assert!(words.contains("is not installed"), "{words}");
        let (words, asked) = said(|_| ok(object("7")), "../../secrets/x").await;
        assert!(words.contains("there is no KopiaRepository backup/") && asked == 0, "{words}");
        let newer = |_: &crate::io::tests::Asked| {
            let mut object = object("7");
            object["status"] = json!({"tasks": "a version that is not written yet"});
            ok(object)
        };
        let (words, _) = said(newer, "nas").await;
        assert!(words.contains("use the version that wrote it"), "{words}");
    }
}
