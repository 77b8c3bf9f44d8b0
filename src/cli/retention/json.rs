//! JSON that keeps the order of an object's fields.
//!
//! The answer of `simulate` is its input with reasons added. If the fields came back sorted, a person who compares
//! the two would see a difference on each line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

/// Any JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Fields),
}

/// An object's fields as they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(String, Json)>);

impl Fields {
    /// The last of that name: so every reader of JSON takes a name that stands twice.
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().rev().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// Takes the value out and leaves null in its place.
    pub(super) fn take(&mut self, name: &str) -> Option<Json> {
        self.0.iter_mut().rev().find(|(field, _)| field == name).map(|(_, value)| std::mem::replace(value, Json::Null))
    }

    /// Replaces the value where it stands, or adds it at the end.
    pub(super) fn set(&mut self, name: &str, value: Json) {
        match self.0.iter_mut().rev().find(|(field, _)| field == name) {
            Some((_, place)) => *place = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl Json {
    /// What it is, in words.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// As JSON, cut where it gets long: it stands in messages.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        let text = match self {
            Self::Array(_) | Self::Object(_) => return f.write_str(self.what()),
            scalar => serde_json::to_string(scalar).map_err(|_| fmt::Error)?,
        };
        match text.char_indices().nth(LONGEST) {
            None => f.write_str(&text),
            Some((at, _)) => write!(f, "{}...", text.get(..at).unwrap_or_default()),
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::String(value) => serializer.serialize_str(value),
            Self::Array(values) => serializer.collect_seq(values),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.0.len()))?;
                for (name, value) in fields.iter() {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(value) = values.next_element()? {
            array.push(value);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(field) = fields.next_entry()? {
            object.push(field);
        }
        Ok(Json::Object(Fields(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written_as_it_was() {
        let text = r#"{"z":1,"a":[null,true,-2,0.5,"é\n"],"m":{"y":{},"b":18446744073709551615}}"#;
        let json: Json = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), text);
    }

    #[test]
    fn a_name_that_stands_twice_has_its_last_value() {
        let Json::Object(mut fields) = serde_json::from_str(r#"{"a":1,"b":2,"a":3}"#).unwrap() else { panic!() };
        assert_eq!(fields.get("a"), Some(&Json::Number(3.into())));
        fields.set("a", Json::Null);
        fields.set("c", Json::Bool(true));
        assert_eq!(serde_json::to_string(&Json::Object(fields)).unwrap(), r#"{"a":1,"b":2,"a":null,"c":true}"#);
    }

    #[test]
    fn a_value_in_a_message_is_short() {
        let long = Json::String("é".repeat(500));
        assert_eq!(long.to_string().chars().count(), 63);
        assert_eq!(Json::Array(Vec::new()).to_string(), "an array");
    }

    #[test]
    fn depth_is_bounded_by_the_parser() {
        assert!(serde_json::from_str::<Json>(&"[".repeat(100_000)).is_err());
    }
}
