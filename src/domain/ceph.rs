//! Where a snapshot of ceph-csi lies, as its handle tells.
//!
//! A handle is `VVVV-LLLL-<cluster id>-<pool id>-<uuid>`: version and the cluster id's length as four hexadecimal
//! digits each, the pool as sixteen, a uuid of 36 characters (ceph-csi `internal/util/volid.go`). After the
//! object that held it is gone, this is all that is left to find the storage by, so nothing is guessed: a handle
//! that does not have this shape is somebody else's.

/// Where a snapshot lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// ceph-csi's name of the cluster.
    pub cluster: Box<str>,
    /// The pool's number.
    pub pool: i64,
    /// The uuid in the names of image and journal entry.
    pub uuid: Box<str>,
}

impl Location {
    /// Reads a handle; `None` for one that is not ceph-csi's.
    #[must_use]
    pub fn of(handle: &str) -> Option<Self> {
        let rest = handle.strip_prefix("0001-")?;
        let (length, rest) = rest.split_once('-')?;
        let length = hex(length, 4).and_then(|length| usize::try_from(length).ok())?;
        let (cluster, rest) = rest.split_at_checked(length)?;
        let (pool, uuid) = rest.strip_prefix('-')?.split_once('-')?;
        let pool = i64::try_from(hex(pool, 16)?).ok()?;
        (!cluster.is_empty() && is_uuid(uuid)).then(|| Self { cluster: cluster.into(), pool, uuid: uuid.into() })
    }
}

fn hex(text: &str, digits: usize) -> Option<u64> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(text, 16).ok() } else { None }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "5286d2fc-b692-4bc7-90b0-d76f2e38d0f7";

    #[test]
    fn a_handle_of_ceph_csi_names_cluster_pool_and_uuid() {
        let found = Location::of(&format!("0001-0009-rook-ceph-000000000000001f-{UUID}")).unwrap();
        assert_eq!((&*found.cluster, found.pool, &*found.uuid), ("rook-ceph", 31, UUID));
        let fsid = "b9127830-b0cc-4e34-aa47-9d1a2e9949a8";
        let found = Location::of(&format!("0001-0024-{fsid}-0000000000000002-{UUID}")).unwrap();
        assert_eq!((&*found.cluster, found.pool), (fsid, 2));
    }

    #[test]
    fn anything_else_is_somebody_elses() {
        for handle in [
            "",
            "0001",
            "snap-1",
            "0002-0009-rook-ceph-0000000000000001-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7",
            "0001-0008-rook-ceph-0000000000000001-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7",
            "0001-ffff-rook-ceph-0000000000000001-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7",
            "0001-0009-rook-ceph-1-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7",
            "0001-0009-rook-ceph-ffffffffffffffff-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7",
            "0001-0009-rook-ceph-0000000000000001-5286d2fc",
            "0001-0009-rook-ceph-0000000000000001-5286d2fc-b692-4bc7-90b0-d76f2e38d0fZ",
            "0001-0002-\u{e9}-0000000000000001-5286d2fc-b692-4bc7-90b0-d76f2e38d0f",
            "0001-0001-\u{e9}-0000000000000001-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7",
        ] {
            assert_eq!(Location::of(handle), None, "{handle}");
        }
    }
}
