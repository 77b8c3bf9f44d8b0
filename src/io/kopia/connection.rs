//! Kopia's configuration file, and the private copies of it that kopia is given.
//!
//! Kopia deletes a configuration and its whole cache folder when a connection fails, and two programs that share one
//! share a lock and a log. So kopia never sees the file itself: it sees a copy with our identity, a cache of its own, and
//! for whatever only reads the mark that it may not write.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{getegid, geteuid};
use serde_json::{Map, Value, json};

use super::Trouble;
use crate::domain::kopia::{Class, Failure, Identity};

/// No configuration is as long as this.
const LONGEST: u64 = 1 << 20;

/// A password: in no message, no log and no command line.
#[derive(Clone)]
pub(super) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// For the environment of a child.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

/// How a repository is reached. Its storage's keys may be in it: it is not shown.
#[derive(Clone)]
pub struct Connection {
    file: PathBuf,
    fields: Map<String, Value>,
    password: Password,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Connection {
    /// Reads kopia's configuration, and the password from a file: the one named, or kopia's own beside it.
    ///
    /// # Errors
    /// When one of the two is missing or is not what it should be.
    pub fn open(file: &Path, password_file: Option<&Path>) -> Result<Self, Trouble> {
        let path = file.display().to_string();
        let remedy = "name the file that `kopia repository connect` wrote with --config";
        let text = read(file).map_err(|source| Trouble::Read {
            what: "kopia's configuration",
            path: path.clone(),
            source,
            remedy,
        })?;
        let wrong = |why: String| Trouble::Configuration { path: path.clone(), why };
        // Its text may hold keys: the parser's words name the place and quote nothing of it but a kind.
        let fields: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
            wrong(format!("it is no JSON object at line {} column {}", error.line(), error.column()))
        })?;
        if fields.contains_key("apiServer") {
            return Err(wrong("it connects to a kopia server, which serves no maintenance".to_owned()));
        }
        if !fields.get("storage").is_some_and(Value::is_object) {
            return Err(wrong("it names no storage".to_owned()));
        }
        let password = match password_file {
            Some(named) => plain_password(named)?,
            None => kept_password(file)?,
        };
        Ok(Self { file: file.to_owned(), fields, password })
    }

    /// A repository in a folder, of which no configuration of kopia's is at hand: one that was never connected cannot be
    /// deleted by a connection that fails. `file` is where one of ours would be; it need not be there.
    ///
    /// # Errors
    /// When the password could not be handed to a child.
    pub fn of_folder(file: &Path, folder: &Path, password: String) -> Result<Self, Trouble> {
        if password.is_empty() || password.contains('\0') {
            let path = "KOPIA_PASSWORD".to_owned();
            return Err(Trouble::Password { path, why: "it has to be a text that is not empty" });
        }
        let storage =
            json!({"type": "filesystem", "config": {"path": folder.display().to_string(), "dirShards": null}});
        // Kopia that is given a cache without a size ends in a panic at its first read.
        let caching =
            json!({"maxCacheSize": 512_u64 << 20, "maxMetadataCacheSize": 1_u64 << 30, "maxListCacheDuration": 30});
        let fields = Map::from_iter([("storage".to_owned(), storage), ("caching".to_owned(), caching)]);
        Ok(Self { file: file.to_owned(), fields, password: Password(password) })
    }

    /// The host that kopia saw when it connected.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.fields.get("hostname").and_then(Value::as_str)
    }

    /// The file that kopia locks while it maintains.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        beside(&self.file, ".mlock")
    }

    pub(super) fn password(&self) -> &Password {
        &self.password
    }

    /// The folder of a repository that is one.
    fn folder(&self) -> Option<&Path> {
        let storage = self.fields.get("storage")?;
        let kind = storage.get("type").and_then(Value::as_str)?;
        let path = storage.get("config").and_then(|config| config.get("path")).and_then(Value::as_str)?;
        (kind == "filesystem").then(|| Path::new(path))
    }

    /// Looks whether a repository is where it should be, before kopia does: kopia writes a file into an empty folder when
    /// it is only asked for the status of what should be there.
    ///
    /// # Errors
    /// With the failure if it is not there.
    pub fn present(&self) -> Result<(), Failure> {
        let Some(folder) = self.folder() else { return Ok(()) };
        let failed = |path: &Path, error: &std::io::Error| {
            let said = format!("{}: {error}", path.display());
            match error.kind() {
                ErrorKind::PermissionDenied => {
                    Failure::new(Class::PermissionDenied, format!("{said}; {}", whose(path)))
                }
                ErrorKind::StaleNetworkFileHandle => Failure::new(Class::StaleMount, said),
                _ => Failure::new(Class::Unreachable, said),
            }
        };
        fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
        let format = folder.join("kopia.repository.f");
        // Opened, because whose it is decides whether it may be read at all.
        match File::open(&format) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let said = format!("{} holds no kopia.repository.f", folder.display());
                Err(Failure::new(Class::NotInitialised, said))
            }
            Err(error) => Err(failed(&format, &error)),
        }
    }

    /// Writes a copy that is ours: our identity, a private cache, and read-only unless `writes`. A configuration that was
    /// connected read-only stays so: somebody meant it.
    pub(super) fn private_copy(&self, folder: &Path, identity: &Identity, writes: bool) -> Result<PathBuf, Trouble> {
        let mut fields = self.fields.clone();
        fields.insert("username".to_owned(), Identity::USER.into());
        fields.insert("hostname".to_owned(), identity.host().into());
        let kept_from_writing = fields.get("readonly").and_then(Value::as_bool).unwrap_or_default();
        fields.insert("readonly".to_owned(), (!writes || kept_from_writing).into());
        let mut caching = match fields.remove("caching") {
            Some(Value::Object(caching)) => caching,
            _ => Map::new(),
        };
        caching.insert("cacheDirectory".to_owned(), folder.join("cache").display().to_string().into());
        fields.insert("caching".to_owned(), caching.into());
        let copy = folder.join(if writes { "write.config" } else { "read.config" });
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&copy)
            .and_then(|mut file| file.write_all(Value::Object(fields).to_string().as_bytes()));
        written.map_err(|source| Trouble::Folder { path: copy.display().to_string(), source })?;
        Ok(copy)
    }
}

/// Whose a file is and who asks, in numbers: those that a pod's securityContext needs.
fn whose(path: &Path) -> String {
    let us = format!("we are {}:{}", geteuid().as_raw(), getegid().as_raw());
    fs::metadata(path).map_or_else(
        |_| us.clone(),
        |file| format!("it belongs to {}:{} (mode {:o}), and {us}", file.uid(), file.gid(), file.mode() & 0o7777),
    )
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A file of bounded length, as text.
fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn plain_password(file: &Path) -> Result<Password, Trouble> {
    let path = file.display().to_string();
    let remedy = "name a file that this user may read with --password-file";
    let text =
        read(file).map_err(|source| Trouble::Read { what: "the password file", path: path.clone(), source, remedy })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() || text.contains(['\n', '\0']) {
        let why = "it has to be one line with nothing but the password";
        return Err(Trouble::Password { path, why });
    }
    Ok(Password(text.to_owned()))
}

/// Kopia keeps a password beside the configuration, in base64.
fn kept_password(config: &Path) -> Result<Password, Trouble> {
    let file = beside(config, ".kopia-password");
    let path = file.display().to_string();
    let text = match read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Trouble::NoPassword { path: config.display().to_string() });
        }
        Err(source) => {
            let remedy = "name a file that this user may read with --password-file";
            return Err(Trouble::Read { what: "the password file", path, source, remedy });
        }
    };
    STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| !text.is_empty() && !text.contains('\0'))
        .map(Password)
        .ok_or(Trouble::Password { path, why: "it is not base64 of a text, as kopia writes it; use --password-file" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a configuration, and a password as kopia keeps it.
    fn folder(config: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("repository.config");
        fs::write(&file, config).unwrap();
        fs::write(beside(&file, ".kopia-password"), "c2VjcmV0").unwrap();
        (folder, file)
    }

    const CONFIG: &str = r#"{"storage": {"type": "filesystem", "config": {"path": "/srv/x", "key": "hidden"}},
        "caching": {"cacheDirectory": "/home/backup/.cache/kopia", "maxCacheSize": 5}, "hostname": "nas", "username": "backup"}"#;

    #[test]
    fn kopia_sees_a_copy_that_cannot_write_and_shares_nothing() {
        let (folder, file) = folder(CONFIG);
        let before = fs::read(&file).unwrap();
        let connection = Connection::open(&file, None).unwrap();
        let private = tempfile::tempdir().unwrap();
        let us = Identity::on("nas").unwrap();
        for (writes, readonly) in [(false, true), (true, false)] {
            let copy = connection.private_copy(private.path(), &us, writes).unwrap();
            assert!(copy.starts_with(private.path()));
            let fields: Value = serde_json::from_str(&fs::read_to_string(copy).unwrap()).unwrap();
            assert_eq!(fields["readonly"], readonly);
            assert_eq!((&fields["username"], &fields["hostname"]), (&"volwarden".into(), &"nas".into()));
            assert_eq!(fields["caching"]["cacheDirectory"], private.path().join("cache").to_str().unwrap());
            assert_eq!(
                (&fields["caching"]["maxCacheSize"], &fields["storage"]["config"]["key"]),
                (&5.into(), &"hidden".into())
            );
        }
        assert_eq!(fs::read(&file).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        fs::write(&file, CONFIG.replace("\"hostname\"", "\"readonly\": true, \"hostname\"")).unwrap();
        let copy = Connection::open(&file, None).unwrap().private_copy(private.path(), &us, true).unwrap();
        let fields: Value = serde_json::from_str(&fs::read_to_string(copy).unwrap()).unwrap();
        assert_eq!(fields["readonly"], true, "whoever connected it so meant it");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let (_folder, file) = folder(CONFIG);
        let connection = Connection::open(&file, None).unwrap();
        assert_eq!(connection.password().reveal(), "secret");
        let shown = format!("{connection:?} {:?}", connection.password());
        assert!(!shown.contains("secret") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_password_comes_from_a_file_of_one_line() {
        let (folder, file) = folder(CONFIG);
        let named = folder.path().join("password");
        for (text, password) in [("a b\n", Some("a b")), ("x", Some("x")), ("\n", None), ("a\nb\n", None), ("", None)] {
            fs::write(&named, text).unwrap();
            let opened = Connection::open(&file, Some(&named));
            assert_eq!(opened.ok().map(|it| it.password().reveal().to_owned()).as_deref(), password, "{text:?}");
        }
        fs::write(beside(&file, ".kopia-password"), "no base64!").unwrap();
        assert!(matches!(Connection::open(&file, None), Err(Trouble::Password { .. })));
        fs::remove_file(beside(&file, ".kopia-password")).unwrap();
        assert!(matches!(Connection::open(&file, None), Err(Trouble::NoPassword { .. })));
    }

    #[test]
    fn what_is_no_configuration_is_named() {
        for (text, words) in [
            ("", "line 1 column 0"),
            ("[1]", "no JSON object"),
            ("{\"a\":", "line 1 column 5"),
            ("{}", "names no storage"),
            ("{\"apiServer\": {}}", "kopia server"),
        ] {
            let (_folder, file) = folder(text);
            let said = Connection::open(&file, None).unwrap_err().to_string();
            assert!(said.contains(words) && said.contains("repository.config"), "{said}");
        }
    }

    #[test]
    fn a_folder_without_a_repository_is_seen_before_kopia_sees_it() {
        let empty = tempfile::tempdir().unwrap();
        let at = |path: &Path| {
            let (_folder, file) = folder(&CONFIG.replace("/srv/x", path.to_str().unwrap()));
            Connection::open(&file, None).unwrap().present().map_err(|failure| failure.class)
        };
        assert_eq!(at(empty.path()), Err(Class::NotInitialised));
        assert_eq!(at(&empty.path().join("gone")), Err(Class::Unreachable));
        fs::write(empty.path().join("kopia.repository.f"), "x").unwrap();
        assert_eq!(at(empty.path()), Ok(()));
    }
}
