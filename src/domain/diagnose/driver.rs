//! Findings about the components themselves: a driver's sidecar, and snapshot-controller.
//!
//! They come first and become the cause of what hangs on them: forty contents behind one hung driver are one
//! incident, and whoever treats them one by one makes it worse.

use std::sync::Arc;

use super::{Context, Diagnosis};
use crate::domain::components::{Health, View};
use crate::domain::finding::{Class, Finding, Repair, Rung, Subject, Verdict};
use crate::domain::identity::CONTROLLER_LEASE;
use crate::domain::name::Key;
use crate::domain::record::Kind;
use crate::domain::words;

/// A storm has at least this many contents in it ...
const STORM_CONTENTS: usize = 5;
/// ... and at least this share of the driver's contents, in percent.
const STORM_PERCENT: usize = 20;
/// How many objects an incident names one by one.
const NAMED: usize = 10;

/// Whether so many failing contents of so many are one incident.
#[must_use]
pub fn is_storm(failing: usize, contents: u32) -> bool {
    let contents = usize::try_from(contents).unwrap_or(usize::MAX);
    failing >= STORM_CONTENTS && failing.saturating_mul(100) >= contents.saturating_mul(STORM_PERCENT)
}

/// What the finding about snapshot-controller is about: its lease.
#[must_use]
pub fn controller_subject(view: &View) -> Subject {
    let key = view.lease.clone().unwrap_or_else(|| Key::cluster(CONTROLLER_LEASE));
    Subject::new(Kind::Lease, key)
}

/// Diagnoses a driver.
#[must_use]
pub fn diagnose(ctx: &Context<'_>, name: &str) -> Diagnosis {
    let Some((driver, view)) = ctx.components.drivers.get_key_value(name) else {
        let known = ctx.world.drivers.get(&Key::cluster(name)).is_some();
        return if known { Diagnosis::healthy("no snapshot concerns it") } else { Diagnosis::not_found() };
    };
    let verdict = match view.down() {
        Some((class, unverified)) => down(ctx, driver, view, class, unverified),
        None if ctx.storm(driver) => degraded(ctx, driver, view),
        None => Verdict::Normal { summary: alive_words(view), until: None },
    };
    Diagnosis { verdict, shape: None, recheck: view.recheck, wants: Vec::new() }
}

fn down(ctx: &Context<'_>, driver: &Arc<str>, view: &View, class: Class, unverified: bool) -> Verdict {
    let contents = usize::try_from(ctx.world.content_count(driver)).unwrap_or(usize::MAX);
    let (rung, text) = match class {
        Class::StaleLeader => (
            Rung::RestartCandidate,
            "restart the Ready pod that does not lead; only if that fails, delete the lease".to_owned(),
        ),
        Class::DriverUnknown => (
            Rung::Report,
            format!("install {driver} again, or decide for each content by hand: without the driver its storage leaks"),
        ),
        _ => (
            Rung::Report,
            format!(
                "bring the csi-snapshotter of {driver} back (its Deployment, its image, with Rook: snapshotPolicy)"
            ),
        ),
    };
    let mut evidence = view.lines();
    evidence.push(format!("{} of this driver", words::count(contents, "content")));
    Verdict::Finding(Box::new(Finding {
        class,
        subject: Subject::driver(driver),
        uid: None,
        driver: Some(Arc::clone(driver)),
        cause: None,
        since: view.since.unwrap_or(ctx.now.wall),
        summary: format!("csi-snapshotter of {driver}: {}", view.why),
        evidence,
        leaks: false,
        destroys: false,
        unverified,
        repair: Repair { rung, text },
    }))
}

fn degraded(ctx: &Context<'_>, driver: &Arc<str>, view: &View) -> Verdict {
    let failing = ctx.components.failing.get(driver);
    let subjects: Vec<&Subject> = failing.into_iter().flatten().collect();
    let of = ctx.world.content_count(driver);
    let since = subjects.iter().filter_map(|subject| ctx.findings.get(subject)).map(|finding| finding.since).min();
    let mut evidence: Vec<String> = subjects
        .iter()
        .take(NAMED)
        .map(|subject| match ctx.findings.get(subject) {
            Some(finding) => format!("{subject}: {}, {}", finding.class, finding.summary),
            None => subject.to_string(),
        })
        .collect();
    if subjects.len() > NAMED {
        evidence.push(format!("and {} more", subjects.len() - NAMED));
    }
    evidence.extend(view.lines());
    Verdict::Finding(Box::new(Finding {
        class: Class::DriverDegraded,
        subject: Subject::driver(driver),
        uid: None,
        driver: Some(Arc::clone(driver)),
        cause: None,
        since: since.unwrap_or(ctx.now.wall),
        summary: format!("{} of {of} contents of {driver} fail at once: one incident of the driver or its backend", subjects.len()),
        evidence,
        leaks: false,
        destroys: false,
        unverified: false,
        repair: Repair {
            rung: Rung::RestartLeader,
            text: "look at the storage backend first; once it is healthy, restart the csi-snapshotter leader's pod once and nudge \
                   the oldest content"
                .to_owned(),
        },
    }))
}

fn alive_words(view: &View) -> String {
    match &view.health {
        Health::Alive { seen: true } => "a csi-snapshotter renews its lease".to_owned(),
        Health::Alive { seen: false } => "a csi-snapshotter shows signs of life".to_owned(),
        Health::Undecided => "too early to say whether a csi-snapshotter works".to_owned(),
        Health::Unknown(why) => format!("whether a csi-snapshotter works cannot be told: {why}"),
        Health::Down { .. } => view.why.clone(),
    }
}

/// Diagnoses a lease: snapshot-controller's, or just its pulse.
#[must_use]
pub fn diagnose_lease(ctx: &Context<'_>, key: &Key) -> Diagnosis {
    let concerned = ctx.components.controller.as_ref().filter(|view| controller_subject(view).key == *key);
    let Some(view) = concerned else {
        return if ctx.world.leases.get(key).is_some() {
            Diagnosis::healthy("not the lease of snapshot-controller; ask `why csidriver NAME` for a driver's")
        } else {
            Diagnosis::not_found()
        };
    };
    let verdict = match view.down() {
        Some((class, unverified)) if !ctx.world.idle() => Verdict::Finding(Box::new(Finding {
            class,
            subject: controller_subject(view),
            uid: None,
            driver: None,
            cause: None,
            since: view.since.unwrap_or(ctx.now.wall),
            summary: format!("snapshot-controller does not work: {}", view.why),
            evidence: view.lines(),
            leaks: false,
            destroys: false,
            unverified,
            repair: Repair {
                rung: Rung::Report,
                text:
                    "bring snapshot-controller back (usually a Deployment in kube-system); what waits goes on by itself"
                        .to_owned(),
            },
        })),
        Some(_) => Verdict::Normal {
            summary: "nobody renews it, and there is no snapshot to care for".to_owned(),
            until: None,
        },
        None => Verdict::Normal {
            summary: alive_words(view).replace("csi-snapshotter", "snapshot-controller"),
            until: None,
        },
    };
    Diagnosis { verdict, shape: None, recheck: view.recheck, wants: Vec::new() }
}
