//! The parameters of a repository's index epochs: as they are by `kopia repository status --json`, and as they are wished for.
//!
//! They are the whole repository's, so of everybody who shares it. An index of hourly backups by many grows to thousands of
//! blobs with kopia's own, because an epoch lasts a day at least.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::{Unreadable, read};

/// Parameters by name. Times are in seconds, the size in MiB.
pub type Epochs = BTreeMap<Parameter, u64>;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// How often a client looks for a new epoch.
    RefreshFrequency,
    /// An epoch lasts so long at least.
    MinDuration,
    /// What is superseded is not deleted before.
    CleanupSafetyMargin,
    /// A new epoch from so many index blobs on.
    AdvanceOnCount,
    /// Or from so many MiB of them on.
    AdvanceOnSizeMb,
    /// So many blobs are deleted at a time.
    DeleteParallelism,
    /// So many epochs are made into one range.
    CheckpointFrequency,
}

impl Parameter {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RefreshFrequency,
        Self::MinDuration,
        Self::CleanupSafetyMargin,
        Self::AdvanceOnCount,
        Self::AdvanceOnSizeMb,
        Self::DeleteParallelism,
        Self::CheckpointFrequency,
    ];

    /// Kopia's flag for it, without `--epoch-`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RefreshFrequency => "refresh-frequency",
            Self::MinDuration => "min-duration",
            Self::CleanupSafetyMargin => "cleanup-safety-margin",
            Self::AdvanceOnCount => "advance-on-count",
            Self::AdvanceOnSizeMb => "advance-on-size-mb",
            Self::DeleteParallelism => "delete-parallelism",
            Self::CheckpointFrequency => "checkpoint-frequency",
        }
    }

    /// Such a value, as kopia's flags take it.
    #[must_use]
    pub fn value(self, value: u64) -> String {
        let is_time = matches!(self, Self::RefreshFrequency | Self::MinDuration | Self::CleanupSafetyMargin);
        match value {
            seconds if !is_time => seconds.to_string(),
            seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
            seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
            seconds => format!("{seconds}s"),
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads one as a command line has it, `NAME=NUMBER`.
///
/// # Errors
/// It is none.
pub fn parameter(text: &str) -> Result<(Parameter, u64), String> {
    let found = text.split_once('=').and_then(|(name, value)| {
        let known = Parameter::ALL.into_iter().find(|one| one.as_str() == name)?;
        Some((known, value.parse().ok()?))
    });
    found.ok_or_else(|| format!("{text:?} is no NAME=NUMBER of an epoch's parameter, in seconds, MiB or as a count"))
}

/// The parameters of `kopia repository status --json`; none: its index has no epochs.
///
/// # Errors
/// When it is no such answer, or one of the parameters is not in it.
pub fn epochs(text: &str) -> Result<Option<Epochs>, Unreadable> {
    let what = "kopia repository status --json";
    let wire: Wire = read(what, text)?;
    let Some(wire) = wire.content_format.epoch_parameters.filter(|wire| wire.enabled) else { return Ok(None) };
    let seconds = |nanos: Option<u64>| nanos.map(|nanos| nanos / 1_000_000_000);
    let known = [
        (Parameter::RefreshFrequency, seconds(wire.refresh)),
        (Parameter::MinDuration, seconds(wire.duration)),
        (Parameter::CleanupSafetyMargin, seconds(wire.margin)),
        (Parameter::AdvanceOnCount, wire.count),
        (Parameter::AdvanceOnSizeMb, wire.bytes.map(|bytes| bytes >> 20)),
        (Parameter::DeleteParallelism, wire.parallelism),
        (Parameter::CheckpointFrequency, wire.checkpoint),
    ];
    let one = |(name, value): (Parameter, Option<u64>)| {
        let value =
            value.ok_or_else(|| Unreadable { what, problem: format!("it does not tell {name} of its epochs") })?;
        Ok((name, value))
    };
    known.into_iter().map(one).collect::<Result<_, _>>().map(Some)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    content_format: WireFormat,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireFormat {
    epoch_parameters: Option<WireEpochs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireEpochs {
    #[serde(rename = "Enabled")]
    enabled: bool,
    #[serde(rename = "EpochRefreshFrequency")]
    refresh: Option<u64>,
    #[serde(rename = "MinEpochDuration")]
    duration: Option<u64>,
    #[serde(rename = "CleanupSafetyMargin")]
    margin: Option<u64>,
    #[serde(rename = "EpochAdvanceOnCountThreshold")]
    count: Option<u64>,
    #[serde(rename = "EpochAdvanceOnTotalSizeBytesThreshold")]
    bytes: Option<u64>,
    #[serde(rename = "DeleteParallelism")]
    parallelism: Option<u64>,
    #[serde(rename = "FullCheckpointFrequency")]
    checkpoint: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{"uniqueIDHex": "a1", "contentFormat": {"version": 3, "epochParameters": {"Enabled": true,
        "EpochRefreshFrequency": 1200000000000, "FullCheckpointFrequency": 7, "CleanupSafetyMargin": 14400000000000,
        "MinEpochDuration": 86400000000000, "EpochAdvanceOnCountThreshold": 20,
        "EpochAdvanceOnTotalSizeBytesThreshold": 10485760, "DeleteParallelism": 4}}}"#;

    #[test]
    fn all_seven_are_read_and_written_in_kopias_terms() {
        let all = epochs(STATUS).unwrap().unwrap();
        let said: Vec<String> = all.iter().map(|(name, value)| format!("{name}={}", name.value(*value))).collect();
        assert_eq!(
            said,
            [
                "refresh-frequency=20m",
                "min-duration=24h",
                "cleanup-safety-margin=4h",
                "advance-on-count=20",
                "advance-on-size-mb=10",
                "delete-parallelism=4",
                "checkpoint-frequency=7",
            ]
        );
        assert_eq!(Parameter::MinDuration.value(90), "90s");
        for without in ["{}", &STATUS.replace("true", "false"), r#"{"contentFormat": {"epochParameters": null}}"#] {
            assert_eq!(epochs(without), Ok(None), "{without}");
        }
        for broken in ["", "1", &STATUS.replace("MinEpochDuration", "X"), &STATUS.replace("20,", "-1,")] {
            assert!(epochs(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_parameter_is_the_same_on_a_command_line() {
        for one in Parameter::ALL {
            assert_eq!(parameter(&format!("{one}=7200")), Ok((one, 7200)));
        }
        for text in ["", "min-duration", "min-duration=", "min-duration=2h", "max-duration=1", "min-duration=-1"] {
            assert!(parameter(text).is_err(), "{text}");
        }
    }
}
