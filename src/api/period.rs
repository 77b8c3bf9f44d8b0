//! Lengths of time in our kinds: `30m`, `1h30m`, `45s`.
//!
//! Hours, minutes and seconds in that order, which Go, CEL's `duration()` and people all read the same way. Days
//! are left out, because CEL has none and a rule that cannot read a value must not be how a limit is lost.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the API server compares a value with.
pub(crate) const PATTERN: &str = "^([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$";

/// A length of time, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

impl Period {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// So many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours * 60)
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// A text that is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no length of time: write hours, minutes and seconds in that order, such as 1h30m or 45s")]
pub struct NoPeriod(String);

impl FromStr for Period {
    type Err = NoPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NoPeriod(text.chars().take(40).collect());
        let mut rest = text;
        let mut seconds = 0;
        for (unit, digits, worth) in [('h', 4, 3600), ('m', 5, 60), ('s', 6, 1)] {
            let Some((number, after)) = rest.split_once(unit) else { continue };
            let plain = number.len() <= digits && number.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = number.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
            seconds += number * worth;
            rest = after;
        }
        if rest.is_empty() && !text.is_empty() { Ok(Self::seconds(seconds)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.as_secs();
        let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 || all == 0 {
            write!(f, "{seconds}s")?;
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "minLength": 2, "maxLength": 16})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_written_again() {
        for (text, seconds, again) in [
            ("30m", 1800, "30m"),
            ("1h30m", 5400, "1h30m"),
            ("90m", 5400, "1h30m"),
            ("45s", 45, "45s"),
            ("0s", 0, "0s"),
            ("168h", 604_800, "168h"),
            ("1h1m1s", 3661, "1h1m1s"),
            ("9999h99999m999999s", 42_996_339, "11943h25m39s"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.duration(), Duration::from_secs(seconds), "{text}");
            assert_eq!(period.to_string(), again, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_in_one_line() {
        for text in
            ["", "30", "m", "30 m", "-30m", "+5m", "30m1h", "1h1h", "1d", "1.5h", "99999h", "30mm", "30m ", "٣m"]
        {
            let error = text.parse::<Period>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no length of time")), "{error}");
        }
        assert!(serde_json::from_str::<Period>("30").is_err());
    }
}
