//! Pods, ReplicaSets, Deployments and Jobs: those that run the storage machinery, and no others.
//!
//! A cluster has thousands of pods and a handful that matter; keeping the rest out here is most of what
//! keeps the process small.

use crate::api::foreign;
use crate::domain::identity::{CONTROLLER_COMPONENT, image_base};
use crate::domain::name::Stamp;
use crate::domain::record::{Container, Job, Pod, Workload};

use super::{Flaw, Translator, stamp};

/// Arguments that only a CSI driver or one of its sidecars is given.
const DRIVER_ARGUMENTS: [&str; 3] = ["drivername", "driver-name", "csi-address"];
/// Driver images by their base name, besides everything that calls itself `csi-...`.
const DRIVER_IMAGES: [&str; 2] = ["cephcsi", "hostpathplugin"];

impl Translator {
    pub(super) fn pod(&mut self, view: &foreign::Pod<'_>) -> Result<Option<Pod>, Flaw> {
        let Some(spec) = view.spec.as_ref() else { return Ok(None) };
        let status = view.status.as_ref();
        let Some(containers) = self.containers(spec, status) else { return Ok(None) };
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        Ok(Some(Pod {
            meta: self.meta(&view.metadata)?,
            node: self.word(spec.node_name.as_deref()),
            host_network: spec.host_network.unwrap_or_default(),
            hostname: spec.hostname.as_deref().filter(|name| !name.is_empty()).map(Into::into),
            phase: self.names.text(status.and_then(|status| status.phase.as_deref()).unwrap_or_default()),
            ready: is_true(conditions, "Ready"),
            ready_changed: changed(conditions, "Ready"),
            owner: self.owner(&view.metadata),
            containers,
        }))
    }

    pub(super) fn workload(&mut self, view: &foreign::Workload<'_>) -> Result<Option<Workload>, Flaw> {
        let spec = view.spec.as_ref();
        let template = spec.and_then(|spec| spec.template.as_ref()).and_then(|template| template.spec.as_ref());
        let Some(template) = template else { return Ok(None) };
        let Some(containers) = self.containers(template, None) else { return Ok(None) };
        Ok(Some(Workload {
            meta: self.meta(&view.metadata)?,
            owner: self.owner(&view.metadata),
            replicas: spec.and_then(|spec| spec.replicas),
            ready: view.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default(),
            containers,
        }))
    }

    pub(super) fn job(&mut self, view: &foreign::Job<'_>) -> Result<Job, Flaw> {
        let status = view.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        Ok(Job {
            meta: self.meta(&view.metadata)?,
            owner: self.owner(&view.metadata),
            active: status.and_then(|status| status.active).unwrap_or_default(),
            complete: is_true(conditions, "Complete"),
            failed: is_true(conditions, "Failed"),
        })
    }

    /// The containers, if any of them is one that matters.
    fn containers(
        &mut self,
        spec: &foreign::PodSpec<'_>,
        status: Option<&foreign::PodStatus<'_>>,
    ) -> Option<Box<[Container]>> {
        // An init container that restarts for ever is a sidecar like any other.
        let sidecars = spec.init_containers.iter().flatten();
        let sidecars = sidecars.filter(|view| view.restart_policy.as_deref() == Some("Always"));
        let views: Vec<&foreign::Container<'_>> = spec.containers.iter().flatten().chain(sidecars).collect();
        // Interning the arguments of every pod of the cluster would fill the table with other people's words.
        if !views.iter().any(|view| matters(view)) {
            return None;
        }
        let records = views
            .into_iter()
            .map(|view| {
                let name = view.name.as_deref().unwrap_or_default();
                let known = status.and_then(|status| {
                    let main = status.container_statuses.iter().flatten();
                    let init = status.init_container_statuses.iter().flatten();
                    main.chain(init).find(|status| status.name.as_deref() == Some(name))
                });
                self.container(view, known)
            })
            .collect();
        Some(records)
    }

    fn container(&mut self, view: &foreign::Container<'_>, status: Option<&foreign::ContainerStatus<'_>>) -> Container {
        let args: Vec<&str> = view.command.iter().chain(&view.args).flatten().map(|arg| &**arg).collect();
        let state = status.and_then(|status| status.state.as_ref());
        let last = status.and_then(|status| status.last_state.as_ref());
        let ended = [state, last].into_iter().flatten().find_map(|state| state.terminated.as_ref()?.message.as_deref());
        Container {
            name: self.names.text(view.name.as_deref().unwrap_or_default()),
            image: self.names.text(view.image.as_deref().unwrap_or_default()),
            args: self.names.list(&args),
            ready: status.and_then(|status| status.ready).unwrap_or_default(),
            running: state.is_some_and(|state| state.running.is_some()),
            waiting: self.word(state.and_then(|state| state.waiting.as_ref()?.reason.as_deref())),
            last_termination: ended.filter(|message| !message.is_empty()).map(Into::into),
            restarts: status.and_then(|status| status.restart_count).unwrap_or_default(),
        }
    }
}

fn is_true(conditions: &[foreign::Condition<'_>], name: &str) -> bool {
    conditions
        .iter()
        .any(|condition| condition.r#type.as_deref() == Some(name) && condition.status.as_deref() == Some("True"))
}

fn changed(conditions: &[foreign::Condition<'_>], name: &str) -> Option<Stamp> {
    let condition = conditions.iter().find(|condition| condition.r#type.as_deref() == Some(name))?;
    condition.last_transition_time.and_then(stamp)
}

/// A container of the storage machinery: snapshot sidecar, snapshot-controller, CSI driver or sidecar.
fn matters(view: &foreign::Container<'_>) -> bool {
    let name = view.name.as_deref().unwrap_or_default();
    let base = image_base(view.image.as_deref().unwrap_or_default());
    let mut args = view.command.iter().chain(&view.args).flatten();
    [name, base].into_iter().any(|word| word == CONTROLLER_COMPONENT || word.starts_with("csi-"))
        || DRIVER_IMAGES.contains(&base)
        || args.any(|arg| {
            let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).unwrap_or_default();
            DRIVER_ARGUMENTS.contains(&flag.split('=').next().unwrap_or_default())
        })
}
