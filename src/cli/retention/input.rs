//! The cases of `simulate`: read strictly where a mistake would change what is kept, and kept whole elsewhere.
//!
//! A misspelt count (`dayly`) that is passed over would be a policy without days, and the plan would look right.
//! So a policy holds the six counts and nothing else. Other fields of a case or a snapshot come out as they went in.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::json::{Fields, Json};
use crate::domain::retention::{Period, Policy, Reasons, Snapshot};

/// What was read.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) cases: Vec<Case>,
    /// It was an array, and the answer is one.
    pub(super) many: bool,
}

/// A policy and the snapshots of one volume.
#[derive(Debug)]
pub(super) struct Case {
    /// Its `name`, if that is a string.
    pub(super) name: Option<String>,
    pub(super) policy: Policy,
    /// Its `tz`.
    pub(super) zone: Option<TimeZone>,
    pub(super) snapshots: Vec<Entry>,
    /// All of its fields; the snapshots are taken out.
    fields: Fields,
}

/// A snapshot with all that was written about it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) snapshot: Snapshot,
    fields: Fields,
}

impl Case {
    /// The case as it was written, with the reasons of each snapshot.
    pub(super) fn answer(self, plan: &[Reasons]) -> Json {
        let mut fields = self.fields;
        let snapshots = self.snapshots.into_iter().zip(plan).map(|(mut entry, reasons)| {
            let words = reasons.iter().map(|reason| Json::String(reason.to_string())).collect();
            entry.fields.set("reasons", Json::Array(words));
            Json::Object(entry.fields)
        });
        fields.set("snapshots", Json::Array(snapshots.collect()));
        Json::Object(fields)
    }
}

/// What a case looks like, for somebody who gave something else.
const EXAMPLE: &str = r#"{"policy": {"daily": 7}, "snapshots": [{"start": "2026-01-31T03:00:00Z"}]}"#;

/// Reads the text of a file, or says in one line what is wrong with it, where, and what to write.
pub(super) fn parse(name: &str, text: &str) -> Result<Input, String> {
    // Some editors put a mark at the beginning that no parser of JSON takes.
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(format!("{name} is empty; write a case such as {EXAMPLE}"));
    }
    let json: Json = serde_json::from_str(text).map_err(|error| format!("{name} is not JSON: {error}"))?;
    let (cases, many) = match json {
        Json::Array(cases) => (cases, true),
        case @ Json::Object(_) => (vec![case], false),
        other => return Err(format!("{name} holds {}; write a case such as {EXAMPLE}, or an array", other.what())),
    };
    let cases = (1..).zip(cases).map(|(number, json)| case(number, json)).collect::<Result<_, _>>()?;
    Ok(Input { cases, many })
}

fn case(number: usize, json: Json) -> Result<Case, String> {
    let Json::Object(mut fields) = json else {
        return Err(format!("case {number} is {}; write it as {EXAMPLE}", json.what()));
    };
    let name = match fields.get("name") {
        Some(Json::String(name)) => Some(name.clone()),
        _ => None,
    };
    let place = match &name {
        Some(name) => format!("case {number} ({})", Json::String(name.clone())),
        None => format!("case {number}"),
    };
    let at_place = |wrong: String| format!("{place}: {wrong}");
    let policy = policy(fields.get("policy")).map_err(at_place)?;
    let zone = match fields.get("tz") {
        None | Some(Json::Null) => None,
        Some(Json::String(name)) => Some(zone(name).map_err(|wrong| format!("{place}: tz: {wrong}"))?),
        Some(other) => return Err(format!("{place}: tz is {other}; write a time zone such as \"Europe/Berlin\"")),
    };
    let snapshots = match fields.take("snapshots") {
        Some(Json::Array(snapshots)) => snapshots,
        Some(other) => return Err(format!("{place}: snapshots is {}; write an array", other.what())),
        None => return Err(format!("{place}: snapshots is missing; write an array, which may be empty")),
    };
    let snapshots = (1..)
        .zip(snapshots)
        .map(|(number, json)| entry(json).map_err(|wrong| format!("{place}, snapshot {number}: {wrong}")))
        .collect::<Result<_, _>>()?;
    Ok(Case { name, policy, zone, snapshots, fields })
}

fn policy(json: Option<&Json>) -> Result<Policy, String> {
    let fields = match json {
        Some(Json::Object(fields)) => fields,
        Some(other) => return Err(format!("policy is {}; write {{\"daily\": 7}}, or {{}} to keep all", other.what())),
        None => return Err("policy is missing; write {\"daily\": 7}, or {} to keep all".to_owned()),
    };
    let mut policy = Policy::default();
    for (name, value) in fields.iter() {
        let Some(period) = Period::ALL.into_iter().find(|period| period.as_str() == name) else {
            let names = Period::ALL.map(Period::as_str).join(", ");
            return Err(format!("policy: there is no count {}; there are {names}", Json::String(name.to_owned())));
        };
        let count = count(value)
            .ok_or_else(|| format!("policy: {name} is {value}; write a whole number, such as 7, or 0 for none"))?;
        match period {
            Period::Latest => policy.latest = count,
            Period::Hourly => policy.hourly = count,
            Period::Daily => policy.daily = count,
            Period::Weekly => policy.weekly = count,
            Period::Monthly => policy.monthly = count,
            Period::Annual => policy.annual = count,
        }
    }
    Ok(policy)
}

/// More than anybody has snapshots is as good as any such number.
fn count(value: &Json) -> Option<u32> {
    match value {
        Json::Null => Some(0),
        Json::Number(number) => number.as_u64().map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        _ => None,
    }
}

fn entry(json: Json) -> Result<Entry, String> {
    const SHAPE: &str = "write a time with its zone, such as \"2026-01-31T03:00:00Z\"";
    let Json::Object(fields) = json else {
        return Err(format!("it is {}; write {{\"start\": \"2026-01-31T03:00:00Z\"}}", json.what()));
    };
    // The second name is that of `kopia snapshot list --json`.
    let (name, start) = ["start", "startTime"]
        .into_iter()
        .find_map(|name| fields.get(name).map(|value| (name, value)))
        .ok_or_else(|| format!("start is missing; {SHAPE}"))?;
    let time: Option<Timestamp> = match start {
        Json::String(text) => text.parse().ok(),
        _ => None,
    };
    let time = time.ok_or_else(|| format!("{name} is {start}; {SHAPE}"))?;
    let incomplete = match fields.get("incomplete") {
        None | Some(Json::Null) => false,
        Some(Json::Bool(incomplete)) => *incomplete,
        // Kopia gives the reason instead, such as "checkpoint".
        Some(Json::String(reason)) => !reason.is_empty(),
        Some(other) => return Err(format!("incomplete is {other}; write true or false")),
    };
    Ok(Entry { snapshot: Snapshot { time, incomplete }, fields })
}

/// A time zone by its name in the IANA database: the system's, or the binary's own where a container has none.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!(
            "{} is no time zone; write a name from the IANA database, such as Europe/Berlin, or UTC",
            Json::String(name.to_owned())
        )
    })
}
