//! The command line, in ceph-csi's words: a pod that runs ceph-csi runs this with the same arguments.

use std::path::PathBuf;

use clap::{ArgAction, Parser};

use crate::handle::Pool;

/// A CSI controller that looks like ceph-csi's RBD driver; its volumes and snapshots are plain files.
#[derive(Debug, Parser)]
#[command(name = "csi-driver", args_override_self = true)]
pub struct Arguments {
    /// The driver's name, such as a VolumeSnapshotClass gives it.
    #[arg(long, value_name = "NAME")]
    pub drivername: String,
    /// Where to listen: unix://PATH.
    #[arg(long, value_name = "ENDPOINT", value_parser = socket)]
    pub endpoint: PathBuf,
    /// The folder that says what exists; several processes may share it, as replicas share a pool.
    #[arg(long, value_name = "FOLDER")]
    pub state: PathBuf,
    /// The node that this runs on.
    #[arg(long, value_name = "NAME", default_value = "stack")]
    pub nodeid: String,
    /// How much it logs: errors always, slow calls from 3, every call from 5.
    #[arg(long = "v", value_name = "LEVEL", default_value_t = 0)]
    pub verbosity: u8,
    /// The cluster that handles name.
    #[arg(long, value_name = "ID", default_value = "rook-ceph", value_parser = cluster)]
    pub clusterid: String,
    /// The pool that handles name.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub poolid: u64,
    /// Turn away creations and deletions without userID and userKey, as ceph-csi does.
    #[arg(long)]
    pub require_secrets: bool,

    /// ceph-csi's kind of storage; this is its RBD driver only.
    #[arg(long = "type", value_name = "KIND", default_value = "rbd", value_parser = ["rbd"])]
    _kind: String,
    /// Ignored: this is always a controller.
    #[arg(long = "controllerserver", action = ArgAction::Set, default_value_t = true)]
    _controller: bool,
    /// Ignored: no limit on processes is set.
    #[arg(long = "pidlimit", value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    _pid_limit: i64,
}

impl Arguments {
    /// The pool that new handles name.
    pub fn pool(&self) -> Pool {
        Pool { cluster: self.clusterid.clone(), number: self.poolid }
    }
}

fn socket(endpoint: &str) -> Result<PathBuf, String> {
    match endpoint.strip_prefix("unix://") {
        None | Some("") => Err("an endpoint is a socket, given as unix://PATH".to_owned()),
        Some(path) => Ok(path.into()),
    }
}

/// The cluster becomes part of handles, and so of file names; CSI gives a handle 128 bytes, of which 64 are the rest.
fn cluster(id: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(plain) {
        return Ok(id.to_owned());
    }
    Err("a cluster's id has 1 to 64 letters, digits, '-', '_' or '.'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("csi-driver").chain(words.split(' ')))
    }

    #[test]
    fn the_arguments_of_a_ceph_csi_pod_are_understood() {
        let words = "--type=rbd --drivername=rook-ceph.rbd.csi.ceph.com --endpoint=unix:///csi/csi-provisioner.sock \
                     --nodeid=node-a --controllerserver=true --v=5 --pidlimit=-1 --state=/state";
        let arguments = parse(words).unwrap();
        assert_eq!(arguments.drivername, "rook-ceph.rbd.csi.ceph.com");
        assert_eq!(arguments.endpoint, PathBuf::from("/csi/csi-provisioner.sock"));
        assert_eq!((arguments.nodeid.as_str(), arguments.verbosity), ("node-a", 5));
        assert_eq!(arguments.pool(), Pool { cluster: "rook-ceph".to_owned(), number: 1 });
        assert!(!arguments.require_secrets);
    }

    #[test]
    fn what_would_not_work_is_turned_away() {
        let rest = "--drivername=d --state=/s";
        for (wrong, says) in [
            (format!("{rest} --endpoint=/csi.sock"), "unix://PATH"),
            (format!("{rest} --endpoint=unix://"), "unix://PATH"),
            (format!("{rest} --endpoint=unix:///s --type=cephfs"), "possible values: rbd"),
            (format!("{rest} --endpoint=unix:///s --clusterid=a/b"), "1 to 64 letters"),
            (format!("{rest} --endpoint=unix:///s --clusterid={}", "a".repeat(65)), "1 to 64 letters"),
            (rest.to_owned(), "--endpoint"),
        ] {
            let error = parse(&wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
