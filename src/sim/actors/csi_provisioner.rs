//! csi-provisioner.
