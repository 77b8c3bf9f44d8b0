//! Handles of volumes and snapshots, put together as ceph-csi does it: a handle says which cluster and pool it is in.

use std::io;

/// Where new volumes and snapshots are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The cluster's id.
    pub cluster: String,
    /// The pool's number in it.
    pub number: u64,
}

impl Pool {
    /// A handle that nothing has yet.
    pub fn new_handle(&self) -> io::Result<String> {
        let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        Ok(self.handle(random.trim()))
    }

    /// Version 1 of the encoding: the cluster's id is preceded by its length, since it may hold dashes itself.
    fn handle(&self, uuid: &str) -> String {
        format!("0001-{:04x}-{}-{:016x}-{uuid}", self.cluster.len(), self.cluster, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "ee0d5a38-8c1e-4b4b-9b0a-5c5d3a1f2b7c";

    #[test]
    fn a_handle_is_made_as_ceph_csi_makes_it() {
        let rook = Pool { cluster: "rook-ceph".to_owned(), number: 1 };
        assert_eq!(rook.handle(UUID), format!("0001-0009-rook-ceph-0000000000000001-{UUID}"));
        let other = Pool { cluster: "b9127830-b0cc-4e34-aa47-9d1a2e9949a8".to_owned(), number: 31 };
        assert_eq!(other.handle(UUID), format!("0001-0024-{}-000000000000001f-{UUID}", other.cluster));
    }

    #[test]
    fn no_two_handles_are_the_same() {
        let pool = Pool { cluster: "rook-ceph".to_owned(), number: 1 };
        let (one, other) = (pool.new_handle().unwrap(), pool.new_handle().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), "0001-0009-rook-ceph-0000000000000001-".len() + UUID.len());
    }
}
