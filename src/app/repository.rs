//! KopiaRepositories in the daemon: which task is due, its Job made and watched, its result stored.
//!
//! Only the leader does. Nothing is kept in this process: what is under way is in the object's status, in the Job and in
//! the Lease, so that whoever leads next goes on where this one stood. What is to be done is decided by
//! `domain::repository`, and everything is written by `io::act`.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::gauges::Gauges;
use crate::api::kopia::JobRun;
use crate::api::{GROUP, VERSION};
use crate::domain::digest::Hash;
use crate::domain::kopia::Identity;
use crate::domain::ledger::Outcome;
use crate::domain::name::{Key, Uid, fingerprint};
use crate::domain::repository::agenda::{Agenda, Case, agenda};
use crate::domain::repository::course::{Conclusion, Lease, Pods, Sighted, Step, next};
use crate::domain::repository::findings::findings;
use crate::domain::repository::report::Ended;
use crate::driver::Clock;
use crate::io::act::repository::{Hands, Unwritten};
use crate::io::client::Client;
use crate::io::report::{About, Reporter, Word};
use crate::io::repository::{self as edge, Entry, Kept, Mould, Unread};

/// How often the repositories are looked at.
const LOOK: Duration = Duration::from_secs(3);
/// So much of the lease has to be left to begin anything.
const LEAST_LEASE: Duration = Duration::from_secs(3);
/// A Job is made, given the Lease and let go in one look.
const STEPS: usize = 4;

/// Where the daemon is.
#[derive(Clone, Debug)]
pub(super) struct Home {
    /// Its namespace, where the Leases are.
    pub(super) namespace: String,
    /// Its pod, if it is in one.
    pub(super) pod: String,
    /// The image of its Jobs, if one was named.
    pub(super) image: Option<String>,
}

/// The daemon's keeping of kopia repositories.
pub(super) struct Keeper {
    client: Client,
    hands: Hands<Clock>,
    lease: watch::Receiver<Option<Duration>>,
    clock: Clock,
    home: Home,
    reporter: Reporter,
    us: Option<Identity>,
    image: Option<String>,
    /// What was last said in the log, so that it is said once.
    trouble: Option<String>,
    gauges: Gauges,
    /// Who else maintains the repository that is looked at.
    rival: Rivalry,
}

/// Whether somebody else maintains a repository, in words.
#[derive(Clone, Debug)]
enum Rivalry {
    /// This one does, or nobody.
    Known(Option<String>),
    /// It cannot be told.
    Untold(String),
}

impl Rivalry {
    /// What holds whatever writes: what cannot be told does, too.
    fn holds(&self) -> Option<&str> {
        match self {
            Self::Known(rival) => rival.as_deref(),
            Self::Untold(why) => Some(why),
        }
    }

    /// What is told as a finding: only what is known.
    fn known(&self) -> Option<&str> {
        match self {
            Self::Known(rival) => rival.as_deref(),
            Self::Untold(_) => None,
        }
    }
}

/// Whether a look goes on with the next step at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    Rest,
}

impl Keeper {
    pub(super) fn new(
        client: Client,
        lease: watch::Receiver<Option<Duration>>,
        clock: Clock,
        home: Home,
        reporter: Reporter,
    ) -> Self {
        let hands = Hands::new(client.clone(), lease.clone(), clock.clone());
        let image = home.image.clone();
        Self {
            client,
            hands,
            lease,
            clock,
            home,
            reporter,
            us: None,
            image,
            trouble: None,
            gauges: Gauges::default(),
            rival: Rivalry::Known(None),
        }
    }

    pub(super) async fn run(mut self) -> String {
        loop {
            self.clock.sleep_until(self.clock.now().mono + LOOK).await;
            if !self.leads() {
                self.gauges.clear();
                continue;
            }
            let trouble = self.look_around().await.err().map(|unread| unread.to_string());
            if trouble != self.trouble {
                if let Some(words) = &trouble {
                    warn!(%words, "kopia repositories are not looked after");
                }
                self.trouble = trouble;
            }
        }
    }

    fn leads(&self) -> bool {
        (*self.lease.borrow()).is_some_and(|until| until > self.clock.now().mono + LEAST_LEASE)
    }

    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    async fn look_around(&mut self) -> Result<(), Unread> {
        let entries = edge::list(&self.client).await?;
        self.gauges.show(entries.iter().map(|entry| (entry.custody.key(), &entry.status)));
        if entries.is_empty() {
            return Ok(());
        }
        let us = match &self.us {
            Some(us) => us.clone(),
            None => self.us.insert(edge::identity(&self.client).await?).clone(),
        };
        let rivals = edge::rivals(&self.client).await;
        let siblings = edge::siblings(&entries, self.now());
        for (mut entry, sibling) in entries.into_iter().zip(siblings) {
            entry.told.sibling = sibling;
            if !self.leads() {
                break;
            }
            if entry.unreadable {
                debug!(repository = %entry.custody.key(), "its status cannot be read by this version: it is left alone");
                continue;
            }
            self.rival = match &rivals {
                Ok(rivals) => Rivalry::Known(rivals.iter().find_map(|rival| rival.of(&entry))),
                Err(unread) => {
                    Rivalry::Untold(format!("whether another manager serves it cannot be told ({unread}): perhaps one"))
                }
            };
            let mut go = if entry.going.is_some() { Go::On } else { self.take_up(&mut entry, &us).await };
            for _ in 0..STEPS {
                if go == Go::Rest || !self.leads() {
                    break;
                }
                go = self.go_on(&mut entry, &us).await;
            }
        }
        Ok(())
    }

    fn case<'a>(&'a self, entry: &'a Entry, us: &'a Identity, now: Timestamp) -> Case<'a> {
        Case { custody: &entry.custody, told: &entry.told, us, rival: self.rival.holds(), now }
    }

    /// Stores the status with all that follows from it.
    async fn store(&self, entry: &mut Entry, us: &Identity, trouble: Option<&str>) -> Result<(), Unwritten> {
        let due = if entry.going.is_some() { Agenda::default() } else { agenda(self.case(entry, us, self.now())) };
        self.say(entry, &due, us, trouble);
        let told = self.hands.tell(entry.custody.key(), edge::patch(entry)).await;
        match told {
            Ok(version) => {
                entry.version = version;
                self.tell_findings(entry).await;
                Ok(())
            }
            Err(unwritten) => {
                warn!(repository = %entry.custody.key(), words = unwritten.words, "its status was not stored");
                Err(unwritten)
            }
        }
    }

    /// What follows from the rest of the status: findings first, because a condition tells them.
    fn say(&self, entry: &mut Entry, due: &Agenda, us: &Identity, trouble: Option<&str>) {
        let now = self.now();
        let all = findings(Case { rival: self.rival.known(), ..self.case(entry, us, now) });
        edge::found(entry, &all);
        edge::said(entry, due, us, trouble, now);
    }

    /// One Event for each finding that begins.
    async fn tell_findings(&self, entry: &mut Entry) {
        let (version, uid) = (format!("{GROUP}/{VERSION}"), Uid::parse(&entry.uid));
        for (class, note) in entry.news() {
            warn!(repository = %entry.custody.key(), class = class.as_str(), words = note, "a finding begins");
            let word = Word { warning: true, reason: class.as_str(), action: "Look", note };
            let about = About { version: &version, kind: "KopiaRepository", key: entry.custody.key(), uid: &uid };
            self.reporter.say(about, &word, self.now()).await;
        }
    }

    /// Decides on a Job, or says what holds.
    async fn take_up(&mut self, entry: &mut Entry, us: &Identity) -> Go {
        let now = self.now();
        let before = entry.status.clone();
        let due = agenda(self.case(entry, us, now));
        if let Some((task, trigger)) = due.job {
            if let Err(unread) = self.find_image().await {
                return self.complain(entry, us, &unread.to_string()).await;
            }
            let name = job_name(entry, task.as_str(), now);
            edge::begun(entry, task, trigger, &name, now);
            // Not stored, not begun.
            if self.store(entry, us, None).await.is_err() {
                return Go::Rest;
            }
            info!(repository = %entry.custody.key(), task = task.as_str(), ?trigger, job = name, "a Job is decided on");
            return Go::On;
        }
        self.say(entry, &due, us, None);
        if entry.status != before {
            let _ = self.store(entry, us, None).await;
        }
        Go::Rest
    }

    /// Says why nothing can be begun, once.
    async fn complain(&self, entry: &mut Entry, us: &Identity, words: &str) -> Go {
        if !entry.status.conditions.iter().any(|one| one.message == words) {
            let _ = self.store(entry, us, Some(words)).await;
        }
        Go::Rest
    }

    async fn find_image(&mut self) -> Result<(), Unread> {
        if self.image.is_none() {
            self.image = Some(edge::own_image(&self.client, &self.home.namespace, &self.home.pod).await?);
        }
        Ok(())
    }

    /// One step of a run.
    async fn go_on(&mut self, entry: &mut Entry, us: &Identity) -> Go {
        let (Some(going), Some(run)) = (entry.going.clone(), entry.status.run.clone()) else { return Go::Rest };
        let key = Key::namespaced(entry.custody.key().namespace.clone(), run.job.clone());
        let (job, version) = edge::look(&self.client, &key).await;
        let uid = match &job {
            Sighted::There(job) => Some(job.uid.clone()),
            _ => going.uid.clone(),
        };
        // A Job that somebody made who could not say so any more: its uid is in the status before it is let go.
        if let Some(uid) = uid.as_deref().filter(|_| going.uid.is_none()) {
            edge::made(entry, uid);
            return if self.store(entry, us, None).await.is_ok() { Go::On } else { Go::Rest };
        }
        let pods = match &uid {
            Some(uid) => edge::pods(&self.client, &key.namespace, uid).await,
            None => Pods::None,
        };
        let lease_name = entry.told.unique_id.as_deref().map(edge::lease_name);
        let suspended = matches!(&job, Sighted::There(job) if job.suspended);
        let (kept, lease) = match (&lease_name, &uid) {
            (Some(name), Some(uid)) if going.task.writes() && suspended => {
                let kept = edge::kept(&self.client, &self.home.namespace, name).await;
                let lease = edge::held(&self.client, &kept, uid).await;
                (kept, lease)
            }
            _ => (Kept::Unknown(String::new()), Lease::Unknown("it was not asked for".to_owned())),
        };
        let halt = halt(entry, &run);
        match next(&going, &job, &pods, &lease, halt.as_deref(), self.now()) {
            Step::Create => self.create(entry, us, &key).await,
            Step::Take(job) => {
                let name = lease_name.unwrap_or_default();
                let lease = edge::written(&name, &kept, Some((job.uid(), &key)), self.now());
                let taken = self.hands.lease(&self.home.namespace, &name, &kept, lease).await;
                self.went(entry, us, taken, "the Lease was not taken").await
            }
            Step::Start(job) => {
                let started = self.hands.start(&key, &job, &version).await;
                if started.is_ok() {
                    info!(repository = %entry.custody.key(), job = %key, "a Job begins");
                }
                self.went(entry, us, started, "the Job was not let go").await
            }
            Step::GiveUp(job, why) => match self.hands.take_away(&key, &job, &version).await {
                Ok(()) => self.close(entry, us, &Conclusion::without_report(Ended::NotRun, None, why)).await,
                gone => self.went(entry, us, gone, "the Job was not taken away").await,
            },
            Step::Wait(why) => {
                if edge::held_by(entry, why.as_deref()) {
                    let _ = self.store(entry, us, None).await;
                }
                Go::Rest
            }
            Step::Close(conclusion) => self.close(entry, us, &conclusion).await,
        }
    }

    async fn create(&mut self, entry: &mut Entry, us: &Identity, key: &Key) -> Go {
        if let Err(unread) = self.find_image().await {
            return self.complain(entry, us, &unread.to_string()).await;
        }
        let asks_whose = entry.going.as_ref().is_some_and(|going| going.task.asks_whose());
        // As they are now: whose a source is, is told by when it last synchronised.
        let own = if asks_whose { edge::candidates(&self.client, self.now()).await } else { Ok(Vec::new()) };
        let own = match own {
            Ok(own) => own,
            Err(unread) => return self.complain(entry, us, &unread.to_string()).await,
        };
        let (Some(spec), Some(going), Some(image)) = (&entry.spec, &entry.going, &self.image) else { return Go::Rest };
        let mould = Mould {
            custody: &entry.custody,
            spec,
            uid: &entry.uid,
            task: going.task,
            name: &key.name,
            image,
            us,
            unique_id: entry.told.unique_id.as_deref(),
            tried: entry.status.expire.as_ref().map(|expire| expire.terms.as_str()),
            approved: entry.status.run.as_ref().and_then(|run| run.approved.as_deref()),
            approved_before: entry.status.settings.as_ref().and_then(|settings| settings.approved_at),
            own: &own,
        };
        match self.hands.make(key, edge::manifest(mould)).await {
            Ok(uid) => {
                edge::made(entry, &uid);
                if self.store(entry, us, None).await.is_ok() { Go::On } else { Go::Rest }
            }
            Err(refused) if refused.outcome == Outcome::Denied => {
                let said = format!(
                    "the API server lets no Job be made here ({}); see whether deploy/base/kopia-namespace is applied to \
                     the namespace {}",
                    refused.words, key.namespace
                );
                self.close(entry, us, &Conclusion::without_report(Ended::NotRun, None, said)).await
            }
            made => self.went(entry, us, made.map(drop), "the Job was not made").await,
        }
    }

    /// What a write came to: the next look sees what it did. Only news are stored.
    async fn went(&self, entry: &mut Entry, us: &Identity, done: Result<(), Unwritten>, what: &str) -> Go {
        let Err(unwritten) = done else {
            if edge::held_by(entry, None) {
                let _ = self.store(entry, us, None).await;
            }
            return Go::On;
        };
        warn!(repository = %entry.custody.key(), words = unwritten.words, "{what}");
        if edge::held_by(entry, Some(&format!("{what}: {}", unwritten.words))) {
            let _ = self.store(entry, us, None).await;
        }
        Go::Rest
    }

    /// Stores what a run came to, and gives the Lease back.
    async fn close(&self, entry: &mut Entry, us: &Identity, conclusion: &Conclusion) -> Go {
        let uid = entry.going.as_ref().and_then(|going| going.uid.clone());
        let name = entry.told.unique_id.as_deref().map(edge::lease_name);
        info!(
            repository = %entry.custody.key(), job = entry.status.run.as_ref().map(|run| run.job.as_str()),
            ended = ?conclusion.ended, said = conclusion.said, "a Job is over"
        );
        edge::closed(entry, us, conclusion, self.now());
        if self.store(entry, us, None).await.is_err() {
            return Go::Rest;
        }
        if let (Some(uid), Some(name)) = (uid, name) {
            let kept = edge::kept(&self.client, &self.home.namespace, &name).await;
            if matches!(&kept, Kept::There(leased) if leased.holder == uid) {
                let lease = edge::written(&name, &kept, None, self.now());
                // One that is not given back is free all the same: its Job has ended.
                let _ = self.hands.lease(&self.home.namespace, &name, &kept, lease).await;
            }
        }
        Go::Rest
    }
}

/// Why a Job that has not begun is not to begin any more.
fn halt(entry: &Entry, run: &JobRun) -> Option<String> {
    if entry.custody.rules().suspended {
        return Some("spec.suspend was set before it began".to_owned());
    }
    if !entry.custody.problems().is_empty() {
        return Some("the spec makes no sense any more".to_owned());
    }
    let given = entry.told.approval(edge::task(run.task)).map(Hash::as_str);
    if run.approved.is_some() && run.approved.as_deref() != given {
        return Some("its approval was taken away before it began".to_owned());
    }
    (entry.told.generation != run.generation).then(|| "the spec was changed before it began".to_owned())
}

/// A name that no other Job has, and that a label takes.
fn job_name(entry: &Entry, task: &str, now: Timestamp) -> String {
    let name: String = entry.custody.key().name.chars().take(20).map(|c| if c == '.' { '-' } else { c }).collect();
    let unique = fingerprint(&format!("{}/{task}/{}", entry.uid, now.as_nanosecond()));
    format!("{}-{task}-{unique:016x}", name.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Rivalry, halt};
    use crate::domain::digest::Hash;
    use crate::domain::repository::Task;
    use crate::domain::repository::agenda::Trigger;
    use crate::io::repository as edge;

    #[test]
    fn a_rival_that_cannot_be_told_holds_what_writes_and_is_no_finding() {
        let (untold, known) = (Rivalry::Untold("500".to_owned()), Rivalry::Known(Some("velero".to_owned())));
        assert_eq!((untold.holds(), untold.known()), (Some("500"), None));
        assert_eq!((known.holds(), known.known()), (Some("velero"), Some("velero")));
        assert_eq!((Rivalry::Known(None).holds(), Rivalry::Known(None).known()), (None, None));
    }

    #[test]
    fn an_approval_that_is_taken_away_in_time_is_none() {
        let object = |annotations: serde_json::Value| {
            let metadata = json!({"name": "nas", "namespace": "backup", "annotations": annotations});
            let object = json!({"metadata": metadata, "spec": {"secretRef": {"name": "kopia"}}});
            edge::read(&object.to_string()).unwrap()
        };
        let begun = |task, annotations| {
            let mut entry = object(annotations);
            edge::begun(&mut entry, task, Trigger::Request, "j", jiff::Timestamp::UNIX_EPOCH);
            (entry.status.run.clone().unwrap(), entry)
        };
        let (run, mut entry) = begun(Task::Expire, json!({"volwarden.dev/approved-expiry": "e-1"}));
        assert_eq!((run.approved.as_deref(), halt(&entry, &run)), (Some("e-1"), None));
        for other in [None, Some(Hash::written("e-2"))] {
            entry.told.approved_expiry = other;
            assert!(halt(&entry, &run).unwrap().contains("its approval was taken away"));
        }
        // One that comes later is the next run's.
        let (run, mut entry) = begun(Task::Expire, json!({}));
        entry.told.approved_expiry = Some(Hash::written("e-1"));
        assert_eq!((run.approved.as_deref(), halt(&entry, &run)), (None, None));
        assert_eq!(begun(Task::Full, json!({"volwarden.dev/approved-expiry": "e-1"})).0.approved, None);
        // That of settings is another one.
        let both = json!({"volwarden.dev/approved-expiry": "e-1", "volwarden.dev/approved-settings": "s-1"});
        let (run, mut entry) = begun(Task::Settings, both);
        assert_eq!((run.approved.as_deref(), halt(&entry, &run)), (Some("s-1"), None));
        entry.told.approved_expiry = None;
        assert_eq!(halt(&entry, &run), None);
        entry.told.approved_settings = None;
        assert!(halt(&entry, &run).unwrap().contains("its approval was taken away"));
    }
}
