//! Turns what the API server sends into facts; pure, no IO.
//!
//! One [`Translator`] per source: it shares equal strings between the records it makes, and remembers which
//! pods and workloads it passed on, so that one which stops mattering is reported gone. It exists to keep
//! three mistakes apart that would each look like a deletion: an object we do not care for, an object we
//! cannot read, and an object that is gone.

mod own;
mod snapshot;
mod storage;
mod workload;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{ledger, orphan, policy};
use crate::api::foreign::{self, Metadata, Moment, Text};
use crate::domain::fact::{Change, Fact, Source, SourceChange};
use crate::domain::name::{Interner, Key, Stamp, Uid};
use crate::domain::record::{Kind, Meta, Owner, SecretName};

/// Records translated between two sweeps of the shared strings: often enough that names of the dead do not
/// add up, seldom enough to cost nothing.
const SWEEP_EVERY: u32 = 20_000;

/// Translates one source; see the module.
#[derive(Debug)]
pub struct Translator {
    source: Source,
    names: Interner,
    secrets: BTreeSet<Arc<SecretName>>,
    kept: BTreeSet<Key>,
    passed: u64,
    unswept: u32,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is there.
    Applied,
    /// It was deleted, or left the selection.
    Gone,
}

/// An object in our terms.
#[derive(Debug)]
pub struct Translated<'a> {
    /// What the engine should know; `None` when the object is none of ours.
    pub fact: Option<Fact>,
    /// Its resourceVersion: where a watch goes on.
    pub version: Option<Text<'a>>,
}

/// One line of a watch in our terms.
#[derive(Debug)]
pub enum Line<'a> {
    /// An object.
    Object(Translated<'a>),
    /// A bookmark: the watch has come this far.
    Bookmark {
        /// Its resourceVersion.
        version: Option<Text<'a>>,
        /// It ends a streaming list.
        ends_list: bool,
    },
    /// The server ends the watch with an error.
    Error(foreign::Status),
    /// An object we cannot read: there, but not known.
    Unreadable(Unreadable),
}

/// An object that does not parse.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its key as far as that can be read.
    pub key: Option<Key>,
    /// Its resourceVersion as far as that can be read.
    pub version: Option<String>,
    /// What is wrong with it, in a few words.
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.why),
            None => write!(f, "an object without a readable name: {}", self.why),
        }
    }
}

/// A line that is no line of a watch at all.
#[derive(Debug, thiserror::Error)]
#[error("not a line of a watch: {0}")]
pub struct Garbage(String);

/// What a view lacks to become a record.
#[derive(Debug)]
struct Flaw(String);

impl From<serde_json::Error> for Flaw {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Reads a view, makes the record (`try` where that can fail), wraps both into the fact.
macro_rules! applied {
    ($self:ident, $json:ident, $view:ident, $fact:ident, try $make:expr) => {
        applied!($self, $json, $view, $fact, |this, view| $make(this, view)?)
    };
    ($self:ident, $json:ident, $view:ident, $fact:ident, |$this:ident, $seen:ident| $make:expr) => {{
        let view: foreign::$view<'_> = serde_json::from_str($json)?;
        let key = $self.key(&view.metadata)?;
        let record = {
            let ($this, $seen) = (&mut *$self, &view);
            $make
        };
        (Some(Fact::$fact(Change::Applied(key, record))), view.metadata.resource_version)
    }};
}

/// The same where most objects of the kind are none of ours.
macro_rules! selected {
    ($self:ident, $json:ident, $view:ident, $fact:ident, |$this:ident, $seen:ident| $make:expr) => {{
        let view: foreign::$view<'_> = serde_json::from_str($json)?;
        let key = $self.key(&view.metadata)?;
        let record = {
            let ($this, $seen) = (&mut *$self, &view);
            $make
        };
        let fact = match record {
            Some(record) => {
                $self.kept.insert(key.clone());
                Some(Fact::$fact(Change::Applied(key, record)))
            }
            None => {
                $self.passed = $self.passed.saturating_add(1);
                // It mattered before it was changed: for the engine it is gone.
                $self.kept.remove(&key).then(|| Fact::$fact(Change::Gone(key)))
            }
        };
        (fact, view.metadata.resource_version)
    }};
}

impl Translator {
    /// A translator of this source's objects.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            names: Interner::default(),
            secrets: BTreeSet::new(),
            kept: BTreeSet::new(),
            passed: 0,
            unswept: 0,
        }
    }

    /// Objects seen that are none of ours, since the last list began.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// A complete list begins: what it does not hold the engine drops by itself.
    pub fn begin_list(&mut self) {
        self.kept.clear();
        self.passed = 0;
        self.sweep();
    }

    /// Forgets strings that no record holds any more.
    fn sweep(&mut self) {
        self.secrets.retain(|secret| Arc::strong_count(secret) > 1);
        self.names.shrink();
        self.unswept = 0;
    }

    /// Translates one line of a watch.
    ///
    /// # Errors
    /// The line is not what a watch sends: the stream cannot be trusted from here on.
    pub fn line<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Garbage> {
        // The server writes `{"type":"ADDED","object":{...}}`; taken apart by hand this costs one pass over the
        // object instead of two. Anything else goes the general way.
        if let Some((verb, object)) = split_line(line)
            && let Ok(read) = self.act(verb, object)
        {
            return Ok(read);
        }
        let raw: foreign::WatchLine<'a> = serde_json::from_str(line).map_err(|error| Garbage(error.to_string()))?;
        match self.act(&raw.verb, raw.object.get()) {
            Ok(read) => Ok(read),
            Err(Fail::Object(unreadable)) => Ok(Line::Unreadable(unreadable)),
            Err(Fail::Line(why)) => Err(Garbage(why)),
        }
    }

    fn act<'a>(&mut self, verb: &str, object: &'a str) -> Result<Line<'a>, Fail> {
        let change = match verb {
            "ADDED" | "MODIFIED" => Verb::Applied,
            "DELETED" => Verb::Gone,
            "BOOKMARK" => {
                let bare: foreign::Bare<'a> =
                    serde_json::from_str(object).map_err(|error| Fail::Line(error.to_string()))?;
                let ends_list = bare.metadata.annotations.as_ref().is_some_and(|marks| marks.initial_events_end);
                return Ok(Line::Bookmark { version: bare.metadata.resource_version, ends_list });
            }
            "ERROR" => {
                return serde_json::from_str(object).map(Line::Error).map_err(|error| Fail::Line(error.to_string()));
            }
            other => return Err(Fail::Line(format!("unknown event type `{other}`"))),
        };
        self.object(change, object).map(Line::Object).map_err(Fail::Object)
    }

    /// Translates one object.
    ///
    /// # Errors
    /// The object cannot be read; it is to be reported and counts as present.
    pub fn object<'a>(&mut self, verb: Verb, json: &'a str) -> Result<Translated<'a>, Unreadable> {
        self.unswept = self.unswept.saturating_add(1);
        if self.unswept >= SWEEP_EVERY {
            self.sweep();
        }
        let done = match verb {
            Verb::Applied => self.apply(json),
            Verb::Gone => self.gone(json),
        };
        done.map(|(fact, version)| Translated { fact, version }).map_err(|Flaw(why)| {
            match serde_json::from_str::<foreign::NameOnly<'_>>(json) {
                Ok(foreign::NameOnly { metadata }) if !metadata.name.is_empty() => {
                    let key = self.key_of(metadata.namespace.as_deref(), &metadata.name);
                    // It may be one of ours: its end is passed on.
                    if self.chooses() {
                        self.kept.insert(key.clone());
                    }
                    let version = metadata.resource_version.map(|version| version.to_string());
                    Unreadable { key: Some(key), version, why }
                }
                _ => Unreadable { key: None, version: None, why },
            }
        })
    }

    fn apply<'a>(&mut self, json: &'a str) -> Result<(Option<Fact>, Option<Text<'a>>), Flaw> {
        Ok(match self.source {
            Source::Snapshots => applied!(self, json, VolumeSnapshot, Snapshot, try Self::snapshot),
            Source::Contents => applied!(self, json, VolumeSnapshotContent, Content, try Self::content),
            Source::SnapshotClasses => {
                applied!(self, json, VolumeSnapshotClass, SnapshotClass, |this, view| this.snapshot_class(view))
            }
            Source::Leases => applied!(self, json, Lease, Lease, |_this, view| Self::lease(view)),
            Source::Claims => applied!(self, json, PersistentVolumeClaim, Claim, try Self::claim),
            Source::Volumes => applied!(self, json, PersistentVolume, Volume, |this, view| this.volume(view)),
            Source::Pods => selected!(self, json, Pod, Pod, |this, view| this.pod(view)?),
            Source::ReplicaSets => selected!(self, json, Workload, ReplicaSet, |this, view| this.workload(view)?),
            Source::Deployments => selected!(self, json, Workload, Deployment, |this, view| this.workload(view)?),
            Source::Jobs => applied!(self, json, Job, Job, try Self::job),
            Source::StorageClasses => {
                applied!(self, json, StorageClass, StorageClass, |this, view| this.storage_class(view))
            }
            Source::CsiDrivers => applied!(self, json, Bare, CsiDriver, |this, view| this.csi_driver(view)),
            Source::Attachments => {
                applied!(self, json, VolumeAttachment, Attachment, |this, view| this.attachment(view))
            }
            Source::ContentEvents => {
                selected!(self, json, Event, ContentEvent, |this, view| this.event(Kind::VolumeSnapshotContent, view))
            }
            Source::SnapshotEvents => {
                selected!(self, json, Event, SnapshotEvent, |this, view| this.event(Kind::VolumeSnapshot, view))
            }
            Source::CephClusters => {
                applied!(self, json, CephCluster, CephCluster, |_this, view| Self::ceph_cluster(view))
            }
            Source::ReplicationSources => applied!(self, json, Replication, ReplicationSource, try Self::replication),
            Source::ReplicationDestinations => {
                applied!(self, json, Replication, ReplicationDestination, try Self::replication)
            }
            Source::KopiaMaintenances => applied!(self, json, Replication, KopiaMaintenance, try Self::replication),
            Source::Groups => applied!(self, json, Bare, Group, try Self::group),
            Source::GroupContents => applied!(self, json, GroupContent, GroupContent, try Self::group_content),
            Source::Namespaces => {
                let record = serde_json::from_str::<own::NamespaceView>(json)?.record();
                applied!(self, json, Bare, Namespace, |_this, _view| record)
            }
            Source::Policies => applied!(self, json, Bare, Policy, |_this, view| {
                Box::new(policy::read(view.metadata.name.as_deref().unwrap_or_default(), json))
            }),
            Source::Remediations => {
                let record = ledger::record(json).map_err(|error| Flaw(error.to_string()))?;
                applied!(self, json, Bare, Remediation, |_this, _view| Box::new(record))
            }
            Source::Orphans => match orphan::left(json)? {
                Some(left) => applied!(self, json, Bare, Orphan, |_this, _view| left),
                None => return self.gone(json),
            },
        })
    }

    /// Of a deleted object only the name counts: that can be read even where the rest cannot.
    fn gone<'a>(&mut self, json: &'a str) -> Result<(Option<Fact>, Option<Text<'a>>), Flaw> {
        let foreign::NameOnly { metadata } = serde_json::from_str::<foreign::NameOnly<'a>>(json)?;
        if metadata.name.is_empty() {
            return Err(Flaw("metadata.name is empty".to_owned()));
        }
        let key = self.key_of(metadata.namespace.as_deref(), &metadata.name);
        let chosen = self.chooses();
        let fact = (!chosen || self.kept.remove(&key)).then(|| Fact::gone(self.source, key));
        Ok((fact, metadata.resource_version))
    }

    /// Whether this source passes on only some of its objects.
    fn chooses(&self) -> bool {
        matches!(
            self.source,
            Source::Pods | Source::ReplicaSets | Source::Deployments | Source::ContentEvents | Source::SnapshotEvents
        )
    }

    // === What the makers of records share ===

    fn key(&mut self, metadata: &Metadata<'_>) -> Result<Key, Flaw> {
        match metadata.name.as_deref() {
            Some(name) if !name.is_empty() => Ok(self.key_of(metadata.namespace.as_deref(), name)),
            _ => Err(Flaw("metadata.name is missing".to_owned())),
        }
    }

    fn key_of(&mut self, namespace: Option<&str>, name: &str) -> Key {
        Key { namespace: self.names.text(namespace.unwrap_or_default()), name: name.into() }
    }

    fn meta(&mut self, metadata: &Metadata<'_>) -> Result<Meta, Flaw> {
        let uid = metadata.uid.as_deref().filter(|uid| !uid.is_empty());
        Ok(Meta {
            uid: uid.map(Uid::parse).ok_or_else(|| Flaw("metadata.uid is missing".to_owned()))?,
            created: metadata.creation_timestamp.and_then(stamp),
            deleted: metadata.deletion_timestamp.and_then(stamp),
            finalizers: self.names.list(metadata.finalizers.as_deref().unwrap_or_default()),
            ignored: metadata.annotations.as_ref().is_some_and(|marks| marks.ignored),
        })
    }

    fn owner(&mut self, metadata: &Metadata<'_>) -> Option<Owner> {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        Some(Owner {
            kind: self.names.text(owner.kind.as_deref()?),
            name: self.names.text(owner.name.as_deref()?),
            uid: Uid::parse(owner.uid.as_deref()?),
        })
    }

    /// A shared string; `None` for an absent and for an empty one, where the API does not tell them apart.
    fn word(&mut self, text: Option<&str>) -> Option<Arc<str>> {
        text.filter(|text| !text.is_empty()).map(|text| self.names.text(text))
    }
}

/// Why an event could not be taken in.
enum Fail {
    Object(Unreadable),
    Line(String),
}

/// Takes `{"type":"X","object":Y}` apart without reading Y.
fn split_line(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_end().strip_prefix("{\"type\":\"")?;
    let (verb, rest) = rest.split_once('"')?;
    Some((verb, rest.strip_prefix(",\"object\":")?.strip_suffix('}')?))
}

/// A time cut to what a record keeps; one outside its range is moved to the nearest end, because a
/// `deletionTimestamp` must not vanish for being odd.
fn stamp(moment: Moment) -> Option<Stamp> {
    Stamp::from_second(moment.0.as_second().clamp(1, i64::from(u32::MAX)))
}

/// Translates one recorded watch line (`{"type":..,"object":..}`) into facts, as the live watch would. A
/// bookmark that ends a streaming list becomes `ListEnded`; whoever replays a recording says `ListBegan`.
///
/// # Errors
/// The line is not a line of a watch.
pub fn facts(translator: &mut Translator, line: &str) -> Result<Vec<Fact>, Garbage> {
    let source = translator.source;
    let change = match translator.line(line)? {
        Line::Object(object) => return Ok(object.fact.into_iter().collect()),
        Line::Bookmark { ends_list: true, .. } => SourceChange::ListEnded,
        Line::Bookmark { .. } => SourceChange::Progress,
        Line::Error(status) => SourceChange::Failing(status.message.unwrap_or_default().into()),
        Line::Unreadable(Unreadable { key: Some(key), .. }) => SourceChange::Unreadable(key),
        Line::Unreadable(unreadable) => SourceChange::Failing(unreadable.to_string().into()),
    };
    Ok(vec![Fact::Source(source, change)])
}

#[cfg(test)]
mod tests;
