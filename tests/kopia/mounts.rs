//! Repositories on mounts: read-only, full, and served by a machine whose clock is ahead or behind.
//!
//! Each mount is real, in a namespace of its own that ends with the test. Where one cannot be made the test fails and
//! says what is missing: a case that silently did not run is no case.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use super::*;

/// A mount namespace, kept by a process that ends when its standard input does.
struct Room {
    keeper: Child,
}

impl Room {
    /// Mounts by a script, whose words are these folders.
    fn with(script: &str, words: &[&Path]) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-ec", &format!("{script}\necho mounted; exec cat"), "sh"]);
        let keeper = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut keeper = keeper.unwrap_or_else(|error| panic!("unshare (util-linux) does not start: {error}"));
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "mounted\n" {
            let said = keeper.wait_with_output().unwrap().stderr;
            panic!(
                "nothing can be mounted here: {}; this needs user namespaces, sshfs with /dev/fuse, faketime and \
                 openssh-sftp-server, as tests/run installs them",
                String::from_utf8_lossy(&said)
            );
        }
        Self { keeper }
    }

    /// Our answer from inside, with its exit code.
    fn asked(&self, lab: &Lab, words: &[&str]) -> (i32, Value) {
        let ours = lab.command(words);
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "--target", &self.keeper.id().to_string()]);
        command.arg(ours.get_program()).args(ours.get_args()).args(["-o", "json"]).env("TMPDIR", lab.tmp());
        let output = command.output().unwrap();
        let answer = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), answer)
    }

    /// A folder as it is seen from inside.
    fn inside(&self, folder: &Path) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.keeper.id())).join(folder.strip_prefix("/").unwrap())
    }

    /// The files of a folder inside.
    fn files(&self, folder: &Path) -> stack::Files {
        stack::hashes(&self.inside(folder)).unwrap()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The names of files that are not what they were; a new one is none.
fn changed(before: &stack::Files, after: &stack::Files) -> Vec<String> {
    let other = before.iter().filter(|(path, hash)| after.get(*path) != Some(hash));
    other.map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn what_may_only_be_read_is_read_and_stays_as_it_is() {
    let Some(lab) = Lab::begin() else { return };
    // Without the right to write, whoever we are: root is not stopped by permissions, so the mount is one that is read-only.
    let folder = lab.repository();
    let room = Room::with("mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"", &[&folder]);
    let before = room.files(&folder);
    assert_eq!(room.asked(&lab, &["status"]).0, 0);
    let (code, answer) = room.asked(&lab, &["maintain", "--full"]);
    assert_eq!((code, &answer["result"], class(&answer)), (1, &"failed".into(), "ReadOnlyStorage"), "{answer}");
    assert_eq!(room.files(&folder), before);
    drop(room);

    // A configuration that was connected read-only is one that somebody wanted to be so.
    let mut fields: Value = serde_json::from_slice(&fs::read(lab.config()).unwrap()).unwrap();
    fields["readonly"] = true.into();
    fs::write(lab.config(), fields.to_string()).unwrap();
    assert_eq!(lab.reads(&["status"]).0, 0);
    let (code, answer) = lab.reads(&["maintain", "--full"]);
    assert_eq!((code, &answer["result"], class(&answer)), (1, &"notRun".into(), "ReadOnlyConnection"), "{answer}");
}

#[test]
fn files_of_another_user_are_named_with_the_numbers_of_both() {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::process::CommandExt as _;

    let Some(lab) = Lab::begin() else { return };
    let format = lab.at("repository/kopia.repository.f");
    let owner = fs::metadata(&format).unwrap();
    // Root is not stopped by permissions, so it asks as nobody; anybody else takes the right from itself.
    let mut ours = lab.command(&["maintain", "-o", "json"]);
    let mut us = (owner.uid(), owner.gid());
    if owner.uid() == 0 {
        let program = lab.at("volwarden");
        fs::copy(env!("CARGO_BIN_EXE_volwarden"), &program).unwrap();
        for (path, mode) in [("", 0o755), ("tmp", 0o777), ("repository.config", 0o644)] {
            fs::set_permissions(lab.at(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(lab.at("repository.config.kopia-password"), fs::Permissions::from_mode(0o644)).unwrap();
        let words: Vec<_> = ours.get_args().map(ToOwned::to_owned).collect();
        us = (65_532, 65_532);
        ours = Command::new(program);
        ours.args(words).env("TMPDIR", lab.tmp()).uid(us.0).gid(us.1);
    } else {
        fs::set_permissions(&format, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let output = ours.output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!((output.status.code(), class(&answer)), (Some(1), "PermissionDenied"), "{answer}");
    let said = answer["failure"]["said"].as_str().unwrap();
    let whose = format!(
        "kopia.repository.f: Permission denied (os error 13); it belongs to {}:{} (mode ",
        owner.uid(),
        owner.gid()
    );
    assert!(said.contains(&whose) && said.contains(&format!("and we are {}:{}", us.0, us.1)), "{said}");
    assert!(answer["failure"].to_string().contains("spec.podSecurityContext"), "{answer}");
}

#[test]
fn a_full_volume_is_named_and_nothing_is_lost() {
    let Some(lab) = Lab::begin() else { return };
    let source = "a@ns:/data";
    lab.snapshots(source, &[100; 6]);
    lab.keep(source, 4);
    let (folder, kept) = (lab.repository(), lab.at("kept"));
    fs::rename(&folder, &kept).unwrap();
    fs::create_dir(&folder).unwrap();
    let script =
        "mount -t tmpfs -o size=8m none \"$1\"; cp -a \"$2\"/. \"$1\"/; head -c 16m /dev/zero > \"$1/ballast\" || true";
    let room = Room::with(script, &[&folder, &kept]);
    let before = room.files(&folder);

    let (code, answer) = room.asked(&lab, &["status"]);
    assert_eq!((code, &answer["repository"]["volumeAvailable"]), (0, &0.into()), "{answer}");
    assert_eq!(room.asked(&lab, &["verify", "--percent", "100"]).0, 0);
    let (_, dry) = room.asked(&lab, &["expire", "--source", source]);
    assert_eq!(dry["sources"][0]["going"].as_array().unwrap().len(), 2, "{dry}");
    assert_eq!(room.files(&folder), before, "what reads does not write");

    for words in [&["maintain"][..], &["maintain", "--full"]] {
        let (code, answer) = room.asked(&lab, words);
        assert_eq!((code, &answer["result"], class(&answer)), (1, &"failed".into(), "NoSpace"), "{words:?}: {answer}");
        assert_eq!(answer["failure"]["advice"], "human");
    }
    let terms = dry["terms"].as_str().unwrap();
    let (code, answer) = room.asked(&lab, &["expire", "--source", source, "--delete", terms]);
    assert_eq!((code, class(&answer)), (1, "NoSpace"), "{answer}");
    assert_eq!(changed(&before, &room.files(&folder)), [] as [&str; 0]);
    let (_, sources) = room.asked(&lab, &["sources"]);
    let ours = sources["sources"].as_array().unwrap().iter().find(|row| row["source"] == source).unwrap();
    assert_eq!(ours["snapshots"], 6, "none is gone");

    // With space beside it again everything is done that was asked for.
    fs::remove_file(room.inside(&folder).join("ballast")).unwrap();
    let (code, answer) = room.asked(&lab, &["expire", "--source", source, "--delete", terms]);
    assert_eq!((code, &answer["deleted"]), (0, &2.into()), "{answer}");
    assert_eq!(room.asked(&lab, &["maintain", "--full"]).1["result"], "happened");
    assert_eq!(room.asked(&lab, &["verify", "--percent", "100"]).0, 0);
}

#[test]
fn a_file_server_whose_clock_is_wrong_is_named_and_nothing_is_maintained() {
    let Some(lab) = Lab::begin() else { return };
    let (folder, served) = (lab.repository(), lab.at("served"));
    fs::rename(&folder, &served).unwrap();
    fs::create_dir(&folder).unwrap();
    // A file server of its own: every time that it tells or sets is its own clock's.
    let mounted = |clock: &str| {
        let shell = lab.at("server");
        let text = format!("#!/bin/sh\nexec faketime -f '{clock}' /usr/lib/openssh/sftp-server\n");
        fs::write(&shell, text).unwrap();
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
        Room::with("sshfs -o ssh_command=\"$3\" \"served:$2\" \"$1\"", &[&folder, &served, &shell])
    };
    for clock in ["+1h", "-1h"] {
        let room = mounted(clock);
        let before = stack::hashes(&served).unwrap();
        assert_eq!(room.asked(&lab, &["status"]).0, 0);
        assert_eq!(stack::hashes(&served).unwrap(), before, "what reads does not write");
        let (code, answer) = room.asked(&lab, &["maintain", "--full"]);
        assert_eq!((code, &answer["result"], class(&answer)), (1, &"failed".into(), "ClockSkew"), "{clock}: {answer}");
        assert_eq!(answer["failure"]["advice"], "hold");
        // Kopia finds it out by the time of the one blob in which it has moved the next run on.
        let changed = changed(&before, &stack::hashes(&served).unwrap());
        assert!(changed.iter().all(|name| name == "kopia.maintenance.f"), "{changed:?}");
        let (_, answer) = room.asked(&lab, &["status"]);
        assert_eq!(answer["maintenance"]["tasks"], json!([]), "a run was recorded: {answer}");
    }
    // A clock that differs by less than kopia bears.
    let room = mounted("+2m");
    let (code, answer) = room.asked(&lab, &["maintain", "--full"]);
    assert_eq!((code, &answer["result"]), (0, &"happened".into()), "{answer}");
    assert_eq!(room.asked(&lab, &["verify", "--percent", "100"]).0, 0);
}
