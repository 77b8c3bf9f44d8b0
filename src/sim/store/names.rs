//! Names: which are valid, and those the server makes up.

use std::fmt::Write as _;

use super::refusal::Refusal;
use super::table::{self, Resource};

/// Letters of a generated suffix: nothing that reads as a word or as another letter.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// Longest base of a generated name.
const BASE_LENGTH: usize = 58;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// A name for an object that only says how its name begins.
pub(super) fn generate(rng: &mut fastrand::Rng, base: &str) -> String {
    let mut name: String = base.chars().take(BASE_LENGTH).collect();
    for _ in 0..SUFFIX_LENGTH {
        name.extend(rng.choice(SUFFIX).copied().map(char::from));
    }
    name
}

/// A new uid.
pub(super) fn uid(rng: &mut fastrand::Rng) -> String {
    let bits = rng.u128(..);
    // Version 4, variant 1, as everybody's uids are.
    let bits = bits & !(0xf000_u128 << 64) | 0x4000_u128 << 64;
    let bits = bits & !(0xc000_u128 << 48) | 0x8000_u128 << 48;
    let mut text = String::with_capacity(36);
    for (place, byte) in bits.to_be_bytes().into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether an object of this resource may be called so.
pub(super) fn check(resource: &'static Resource, name: &str) -> Result<(), Refusal> {
    let field = "metadata.name";
    if name.is_empty() {
        let complaint = "Required value: name or generateName is required";
        return Err(Refusal::invalid(resource, name, "FieldValueRequired", field, complaint));
    }
    let (limit, rule, valid) = if resource == table::NAMESPACES {
        (63, LABEL, is_label(name))
    } else {
        (253, SUBDOMAIN, name.split('.').all(is_label))
    };
    let complaint = if name.len() > limit {
        format!("Invalid value: \"{name}\": must be no more than {limit} bytes")
    } else if resource == table::NAMESPACES && name.contains('.') {
        format!("Invalid value: \"{name}\": must not contain dots")
    } else if !valid {
        format!("Invalid value: \"{name}\": {rule}")
    } else {
        return Ok(());
    };
    Err(Refusal::invalid(resource, name, "FieldValueInvalid", field, &complaint))
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().copied().is_some_and(inner) && bytes.last().copied().is_some_and(inner);
    ends && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
}
