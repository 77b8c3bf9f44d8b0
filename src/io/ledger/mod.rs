//! The ledger as it stands in the cluster: `domain::ledger::Record` as a Remediation, and back.
//!
//! Both ways are complete: what is written and read again is the same record, or the same one with long texts cut
//! to what the schema takes. An entry that cannot be read is an error and never an entry less: budgets, the breaker
//! and the intents of others are counted from these.

mod read;
mod write;

pub use read::{NoRecord, record};
pub(super) use write::clear;
pub use write::{created, status};

/// The generation of every entry: its spec never changes.
pub const GENERATION: i64 = 1;

/// So many attempts of one episode are kept.
const ATTEMPTS: usize = 512;
/// The longest hash that is kept of what somebody wrote down; ours are shorter.
const HASH: usize = 128;

/// A text of at most so many characters; one that was cut shows it.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
pub(in crate::io) mod tests;
