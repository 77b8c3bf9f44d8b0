//! Claims and volumes: who is bound to whom, who may go, and what is attached where.
//!
//! These loops run in kube-controller-manager. Making and deleting the volumes behind a CSI driver is the
//! provisioner's business.

mod attach;
mod bind;
pub(super) mod protection;

pub(super) use attach::{Attachments, attachable, name as attachment_name};
pub(super) use bind::{Binder, SELECTED_NODE, sync_volume};
