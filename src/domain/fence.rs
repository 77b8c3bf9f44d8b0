//! Whether the fence of `deploy/base` stands: what its probes come to, and whether that holds what would be written.
//!
//! A fence that was never installed, or whose bindings somebody took away, looks from inside like one that stands:
//! every write passes. So the server is asked for writes that the fence has to refuse, and only its refusal counts -
//! not that policies are there, and not a refusal in anybody else's words.

use std::sync::Arc;
use std::time::Duration;

use super::words;

/// It is asked this often while it stands ...
pub const EVERY: Duration = Duration::from_secs(600);
/// ... and this often while it is not shown to.
pub const AGAIN: Duration = Duration::from_secs(30);
/// An answer is good for so long.
const FRESH: Duration = Duration::from_secs(900);

/// A policy of the fence of which one refusal can be seen with the rights of `deploy/base` and without an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Leases: one of another name than ours.
    Leases,
    /// VolumeSnapshotContents: one that reclaims nothing.
    Contents,
    /// VolumeSnapshots: one that reclaims nothing.
    Snapshots,
    /// Remediations: one that is approved from the start.
    Ledger,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Leases, Self::Contents, Self::Snapshots, Self::Ledger];

    /// The policy's name in `deploy/base/fence`; an installation may put a prefix before it.
    #[must_use]
    pub fn policy(self) -> &'static str {
        match self {
            Self::Leases => "volwarden-leases",
            Self::Contents => "volwarden-contents",
            Self::Snapshots => "volwarden-snapshots",
            Self::Ledger => "volwarden-ledger",
        }
    }

    /// How the policy's message about the probe begins.
    #[must_use]
    pub fn refusal(self) -> &'static str {
        match self {
            Self::Leases => "Volwarden writes no lease but its own",
            Self::Contents => "Volwarden creates a content only to reclaim an orphan",
            Self::Snapshots => "Volwarden creates a VolumeSnapshot only to reclaim an orphan",
            Self::Ledger => "Volwarden does not approve its own plans",
        }
    }
}

/// What the server answered to one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The policy refused it, in its own words.
    Refused,
    /// The server would have taken it.
    Taken,
    /// The kind is not installed: there is nothing to fence.
    NotInstalled,
    /// It says neither; carries what was said.
    Untold(Arc<str>),
}

/// What the probes come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Every part that could be probed refuses.
    Stands,
    /// A write that it has to refuse would be taken.
    Missing(Arc<str>),
    /// It cannot be told.
    Untold(Arc<str>),
}

impl Fence {
    /// What the answers come to: one write that would be taken counts more than all that cannot be told.
    #[must_use]
    pub fn of(answers: &[(Part, Answer)]) -> Self {
        let parts = |wanted: fn(&Answer) -> bool| -> Vec<&'static str> {
            answers.iter().filter(|(_, answer)| wanted(answer)).map(|(part, _)| part.policy()).collect()
        };
        let taken = parts(|answer| *answer == Answer::Taken);
        if !taken.is_empty() {
            let words = format!(
                "the API server would take a write of this account that is for {} to refuse: it is not installed, not \
                 bound, or around another account; it needs Kubernetes 1.30",
                taken.join(" and ")
            );
            return Self::Missing(words.into());
        }
        let untold: Vec<String> = answers
            .iter()
            .filter_map(|(part, answer)| match answer {
                Answer::Untold(said) => Some(format!("{}: {said}", part.policy())),
                _ => None,
            })
            .collect();
        if !untold.is_empty() {
            return Self::Untold(untold.join("; ").into());
        }
        if parts(|answer| *answer == Answer::Refused).is_empty() {
            return Self::Untold("there was nothing that could be asked for".into());
        }
        Self::Stands
    }

    /// The word in metrics: one of [`Fence::STATES`].
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Stands => "Stands",
            Self::Missing(_) => "Missing",
            Self::Untold(_) => "Untold",
        }
    }

    /// Every word of [`Fence::as_str`].
    pub const STATES: [&'static str; 3] = ["Stands", "Missing", "Untold"];

    /// The same in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Stands => "the API server refuses what the fence has to refuse".to_owned(),
            Self::Missing(why) => format!("the fence does not stand: {why}"),
            Self::Untold(why) => format!("whether the fence stands cannot be told: {why}"),
        }
    }
}

/// What was last heard of the fence, by who leads.
#[derive(Clone, Debug, Default)]
pub struct Heard(Option<(Fence, Duration)>);

impl Heard {
    /// Takes an answer in, at a time on the monotonic clock; whether it is another than the last.
    pub fn hear(&mut self, fence: Fence, at: Duration) -> bool {
        let news = self.0.as_ref().is_none_or(|(before, heard)| *before != fence || *heard + FRESH <= at);
        self.0 = Some((fence, at));
        news
    }

    /// Somebody else leads, and asks.
    pub fn forget(&mut self) {
        self.0 = None;
    }

    /// What was heard last.
    #[must_use]
    pub fn last(&self) -> Option<&Fence> {
        self.0.as_ref().map(|(fence, _)| fence)
    }

    /// Why nothing may be written while the fence has to be shown to stand; fails closed.
    #[must_use]
    pub fn hold(&self, now: Duration) -> Option<String> {
        match &self.0 {
            None => Some("whether the fence stands has not been asked yet".to_owned()),
            Some((_, at)) if *at + FRESH <= now => {
                Some(format!("the fence was last seen more than {} ago", words::short(FRESH)))
            }
            Some((Fence::Stands, _)) => None,
            Some((fence, _)) => Some(fence.words()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(change: impl Fn(Part) -> Answer) -> Fence {
        Fence::of(&Part::ALL.map(|part| (part, change(part))))
    }

    fn but(one: Part, answer: &Answer) -> Fence {
        all(|part| if part == one { answer.clone() } else { Answer::Refused })
    }

    #[test]
    fn it_stands_only_where_each_part_that_can_be_asked_refuses() {
        assert_eq!(all(|_| Answer::Refused), Fence::Stands);
        for part in Part::ALL {
            assert_eq!(
                but(part, &Answer::NotInstalled),
                Fence::Stands,
                "nothing is written of a kind that is not there"
            );
            let Fence::Missing(words) = but(part, &Answer::Taken) else { panic!("{part:?} is taken") };
            assert!(words.contains(part.policy()), "{words}");
            let Fence::Untold(words) = but(part, &Answer::Untold("403: no".into())) else {
                panic!("{part:?} is untold")
            };
            assert_eq!(&*words, format!("{}: 403: no", part.policy()));
        }
        assert!(matches!(all(|_| Answer::NotInstalled), Fence::Untold(_)));
        assert!(matches!(Fence::of(&[]), Fence::Untold(_)), "who asked nothing knows nothing");
    }

    #[test]
    fn one_write_that_is_taken_outweighs_what_cannot_be_told() {
        let mixed = all(|part| match part {
            Part::Leases => Answer::Untold("no answer within 5 s".into()),
            Part::Ledger => Answer::Taken,
            _ => Answer::Refused,
        });
        assert!(matches!(mixed, Fence::Missing(_)), "{mixed:?}");
    }

    #[test]
    fn it_holds_until_it_is_shown_to_stand_and_again_when_that_is_long_ago() {
        let at = Duration::from_secs(100);
        let mut heard = Heard::default();
        assert!(heard.hold(at).unwrap().contains("not been asked yet"));
        assert!(heard.hear(Fence::Missing("x".into()), at));
        assert_eq!(heard.hold(at).unwrap(), "the fence does not stand: x");
        assert!(heard.hear(Fence::Untold("y".into()), at));
        assert_eq!(heard.hold(at).unwrap(), "whether the fence stands cannot be told: y");
        assert!(heard.hear(Fence::Stands, at));
        assert_eq!(heard.hold(at), None);
        assert!(!heard.hear(Fence::Stands, at), "no news");
        assert!(heard.hold(at + FRESH).unwrap().contains("more than 15m"));
        assert!(heard.hear(Fence::Stands, at + FRESH), "what was held for its age goes on");
        heard.forget();
        assert!(heard.hold(at).is_some() && heard.last().is_none());
    }

    #[test]
    fn it_is_asked_again_before_an_answer_is_old() {
        assert!(EVERY + AGAIN < FRESH);
    }
}
