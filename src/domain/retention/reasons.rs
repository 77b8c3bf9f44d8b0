//! Why a snapshot is kept, in kopia's words: `latest-1`, `daily-3`, `incomplete`.
//!
//! A plan for a million snapshots holds a million of these, so they are numbers and become words only when
//! somebody reads them.

use std::fmt;

/// What a policy counts, in the order in which kopia prints the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// The newest ones, whatever their time.
    Latest,
    /// One of an hour.
    Hourly,
    /// One of a day.
    Daily,
    /// One of an ISO week.
    Weekly,
    /// One of a month.
    Monthly,
    /// One of a year.
    Annual,
}

impl Period {
    /// All, in that order.
    pub const ALL: [Self; 6] = [Self::Latest, Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly, Self::Annual];

    /// The public word, which is also the name of its count in a policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Annual => "annual",
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One reason to keep a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not complete, and no complete one has followed it.
    Incomplete,
    /// The newest of its period, and that is the so-manieth, counted from the newest; the first is 1.
    Counted(Period, u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("incomplete"),
            Self::Counted(period, number) => write!(f, "{period}-{number}"),
        }
    }
}

/// Every reason to keep one snapshot. Without any it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// By place in [`Period::ALL`]; zero is none.
    numbers: [u32; Period::ALL.len()],
    incomplete: bool,
}

impl Reasons {
    pub(super) fn incomplete() -> Self {
        Self { incomplete: true, ..Self::default() }
    }

    pub(super) fn add(&mut self, period: Period, number: u32) {
        if let Some(place) = self.numbers.get_mut(period as usize) {
            *place = number;
        }
    }

    /// There is one.
    #[must_use]
    pub fn kept(&self) -> bool {
        *self != Self::default()
    }

    /// Which one of its period it is, counted from the newest, if that is a reason to keep it.
    #[must_use]
    pub fn number(&self, period: Period) -> Option<u32> {
        self.numbers.get(period as usize).copied().filter(|number| *number > 0)
    }

    /// The reasons, in kopia's order.
    pub fn iter(&self) -> impl Iterator<Item = Reason> {
        let counted = Period::ALL
            .into_iter()
            .filter_map(|period| self.number(period).map(|number| Reason::Counted(period, number)));
        self.incomplete.then_some(Reason::Incomplete).into_iter().chain(counted)
    }
}

/// Separated by spaces; empty for one that goes.
impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, reason) in self.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{reason}")?;
        }
        Ok(())
    }
}
