//! What the CSI driver has, read from its own folder: the truth that Kubernetes's view is compared with. And the
//! faults that it is told to have.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::error::{Error, create_dir, write};
use crate::stack::Stack;

/// A volume for the driver to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its handle.
    pub id: String,
    /// The name that it was made under.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
}

impl Volume {
    /// A volume of 1 GiB.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Self { name: format!("pv-{id}"), id, size_bytes: 1 << 30 }
    }
}

/// A snapshot that exists in the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverSnapshot {
    /// Its handle: `status.snapshotHandle` of its content.
    pub id: String,
    /// The name that csi-snapshotter asked for: `snapshot-UID`.
    pub name: String,
    /// The handle of the volume that it is of.
    pub volume_id: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was taken.
    pub created: SystemTime,
    /// Its file.
    pub path: PathBuf,
}

/// What the driver is told to get wrong, from its next call on; see [`Stack::set_faults`].
///
/// A call that waits holds its lock, whatever its caller does: another call on the same snapshot meanwhile is answered
/// with `Aborted: an operation with the given Volume ID ... already exists`, as by ceph-csi.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    call: String,
    id: Option<String>,
    what: Map<String, Value>,
}

impl Fault {
    /// A fault of a call, such as `DeleteSnapshot`. It does nothing until it is told what.
    #[must_use]
    pub fn of(call: &str) -> Self {
        Self { call: call.to_owned(), ..Self::default() }
    }

    /// Only for one handle (`DeleteSnapshot`, `DeleteVolume`) or name (`CreateSnapshot`, `CreateVolume`).
    #[must_use]
    pub fn on(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// Takes so long before it goes on.
    #[must_use]
    pub fn slow(self, delay: Duration) -> Self {
        self.with("delay_ms", json!(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Hangs until the fault is lifted.
    #[must_use]
    pub fn hang(self) -> Self {
        self.with("hang", json!(true))
    }

    /// Hangs until the driver's process ends, even if the fault is lifted: only a restart frees the lock.
    #[must_use]
    pub fn stuck(self) -> Self {
        self.with("stuck", json!(true))
    }

    /// Fails with a gRPC status: 13 is Internal, 10 Aborted, 14 Unavailable.
    #[must_use]
    pub fn fail(self, code: i32, message: &str) -> Self {
        self.with("code", json!(code)).with("message", json!(message))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.what.insert(key.to_owned(), value);
        self
    }

    fn to_json(&self) -> Value {
        let mut object = self.what.clone();
        object.insert("call".to_owned(), json!(self.call));
        object.insert("id".to_owned(), json!(self.id));
        Value::Object(object)
    }
}

/// The driver's state folder.
pub(crate) struct Backend {
    folder: PathBuf,
}

impl Backend {
    /// Makes the state folder inside the stack's.
    pub(crate) fn new(stack: &Path) -> Result<Self, Error> {
        let folder = stack.join("backend");
        create_dir(&folder.join("volumes"))?;
        create_dir(&folder.join("snapshots"))?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn add_volume(&self, volume: &Volume) -> Result<(), Error> {
        let content = json!({"id": volume.id, "name": volume.name, "size_bytes": volume.size_bytes});
        self.write_whole(&self.folder.join("volumes").join(format!("{}.json", volume.id)), &content)
    }

    fn snapshots(&self) -> Result<Vec<DriverSnapshot>, Error> {
        let folder = self.folder.join("snapshots");
        let cannot = || Error::io(format!("cannot read {}", folder.display()));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(cannot())? {
            let path = entry.map_err(cannot())?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue; // one that is being written
            }
            match std::fs::read(&path) {
                Ok(content) => found.push(driver_snapshot(path, &content)?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {} // deleted in the meantime
                Err(error) => return Err(Error::io(format!("cannot read {}", path.display()))(error)),
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// The driver reads these files at any time, so it must never see half of one.
    fn write_whole(&self, path: &Path, content: &Value) -> Result<(), Error> {
        let partial = self.folder.join("partial");
        write(&partial, content.to_string())?;
        std::fs::rename(&partial, path).map_err(Error::io(format!("cannot write {}", path.display())))
    }
}

fn driver_snapshot(path: PathBuf, content: &[u8]) -> Result<DriverSnapshot, Error> {
    let wrong = |what: &str| Error::other(format!("{} is no snapshot of the driver: {what}", path.display()));
    let value: Value = serde_json::from_slice(content).map_err(|error| wrong(&error.to_string()))?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(ToOwned::to_owned).ok_or_else(|| wrong(key));
    let number = |key: &str| value.get(key).and_then(Value::as_u64).ok_or_else(|| wrong(key));
    let created = UNIX_EPOCH + Duration::from_nanos(number("created_ns")?);
    let (id, name, volume_id, size_bytes) = (text("id")?, text("name")?, text("volume_id")?, number("size_bytes")?);
    Ok(DriverSnapshot { id, name, volume_id, size_bytes, created, path })
}

impl Stack {
    /// The snapshots that really exist, by id.
    pub fn driver_snapshots(&self) -> Result<Vec<DriverSnapshot>, Error> {
        self.backend()?.snapshots()
    }

    /// Gives the driver a volume more; it may be running.
    pub fn add_volume(&self, volume: &Volume) -> Result<(), Error> {
        self.backend()?.add_volume(volume)
    }

    /// Puts a snapshot of this time into the driver's state, as if it had cut it then; it may be running.
    pub fn add_snapshot(&self, id: &str, volume: &str, created: SystemTime) -> Result<(), Error> {
        let backend = self.backend()?;
        let created =
            created.duration_since(UNIX_EPOCH).map_err(|_| Error::other(format!("{id} is older than 1970")))?;
        let content = json!({
            "id": id, "name": format!("snapshot-{id}"), "volume_id": volume, "size_bytes": 1_u64 << 30,
            "created_ns": u64::try_from(created.as_nanos()).unwrap_or(u64::MAX),
        });
        backend.write_whole(&backend.folder.join("snapshots").join(format!("{id}.json")), &content)
    }

    /// Replaces the driver's faults: of those that fit a call, the first one counts. It may be running.
    ///
    /// All drivers on the folder have them. To have only one suffer, let its call run into a [`Fault::stuck`] and then
    /// set none: that call stays where it is, with its locks, and the other drivers are well.
    pub fn set_faults(&self, faults: &[Fault]) -> Result<(), Error> {
        let backend = self.backend()?;
        let content = faults.iter().map(Fault::to_json).collect();
        backend.write_whole(&backend.folder.join("faults.json"), &content)
    }
}
