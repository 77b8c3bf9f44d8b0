//! The same object for different readers: whole, as metadata alone, or as a row of a table.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sim::store::{Cell, Column, Resource, object};

/// What a reader asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Metadata,
    Table,
}

const META: &str = "meta.k8s.io/v1";

impl Shape {
    /// The first of the accepted types that we can serve.
    pub(super) fn of(accept: &str) -> Self {
        let shape = |kind: &str| {
            if !kind.contains("application/json") && !kind.contains("*/*") {
                None
            } else if kind.contains("as=Table") {
                kind.contains("v=v1;").then_some(Self::Table).or_else(|| kind.ends_with("v=v1").then_some(Self::Table))
            } else if kind.contains("as=PartialObjectMetadata") {
                Some(Self::Metadata)
            } else {
                Some(Self::Whole)
            }
        };
        accept.split(',').map(str::trim).find_map(shape).unwrap_or(Self::Whole)
    }

    /// One object, as the answer to a GET or in a watch.
    pub(super) fn object(self, resource: &Resource, object: &Value, now: Timestamp) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Metadata => partial(object),
            Self::Table => table(resource, &[object], &json!({"resourceVersion": version(object)}), now),
        }
    }

    /// A collection.
    pub(super) fn list(self, resource: &Resource, objects: &[&Value], metadata: &Value, now: Timestamp) -> Value {
        match self {
            Self::Table => table(resource, objects, metadata, now),
            Self::Metadata => {
                let items: Vec<Value> = objects.iter().map(|object| partial(object)).collect();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": META, "metadata": metadata, "items": items})
            }
            Self::Whole => {
                let items: Vec<Value> = objects.iter().map(|object| item(resource, object)).collect();
                json!({"kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
                    "metadata": metadata, "items": items})
            }
        }
    }
}

/// Lists of Kubernetes' own kinds do not repeat the kind in each item; those of custom resources do.
fn item(resource: &Resource, object: &Value) -> Value {
    let mut item = object.clone();
    if let Some(fields) = item.as_object_mut().filter(|_| !resource.custom) {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    item
}

fn version(object: &Value) -> &str {
    object::text(object, "/metadata/resourceVersion")
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": object.get("metadata")})
}

fn table(resource: &Resource, objects: &[&Value], metadata: &Value, now: Timestamp) -> Value {
    let definition = |column: &Column| {
        let format = if column.name == "Name" { "name" } else { "" };
        json!({"name": column.name, "type": column.kind, "format": format, "description": "",
            "priority": column.priority})
    };
    let columns: Vec<Value> = resource.columns.iter().map(definition).collect();
    let row = |object: &&Value| {
        let cells: Vec<Value> = resource.columns.iter().map(|column| cell(column, object, now)).collect();
        json!({"cells": cells, "object": partial(object)})
    };
    let rows: Vec<Value> = objects.iter().map(row).collect();
    json!({"kind": "Table", "apiVersion": META, "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    match column.cell {
        Cell::At(pointer) => match object.pointer(pointer).cloned().unwrap_or(Value::Null) {
            // What has no value prints as nothing; a number in a column of words prints as a word.
            Value::Null if column.kind == "string" => "".into(),
            value if column.kind == "string" && !value.is_string() => value.to_string().into(),
            value => value,
        },
        Cell::Since(pointer) => {
            let Ok(at) = object::text(object, pointer).parse::<Timestamp>() else {
                return if column.name == "Age" { "<unknown>".into() } else { Value::Null };
            };
            age(now.duration_since(at).as_secs()).into()
        }
        Cell::Made(make) => make(object),
    }
}

/// A time in the few letters that people know: `45s`, `3m20s`, `5h`, `12d`.
fn age(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let both = |whole: i64, unit: &str, rest: i64, part: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{part}"),
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => both(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => both(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => both(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        _ => format!("{}d", seconds / DAY),
    }
}
