//! The one encoding over which plans are hashed.
//!
//! A person approves a hash, so the same plan has to have the same hash in every replica and every version, and
//! two different plans never one. Each field is written as `name=length:bytes` and a line feed, in the order in
//! which it is given: no value can be taken for the end of itself or for the beginning of the next field. The
//! hash is the first 128 bits of SHA-256 in hexadecimal: object names and handles come from people, and with a
//! hash that can be made to collide an approval of one thing could be turned into one of another.

use std::fmt::{Display, Write as _};

use sha2::{Digest as _, Sha256};

/// How many bytes of the hash are kept.
const KEPT: usize = 16;

/// Collects fields.
#[derive(Clone, Debug, Default)]
pub struct Encoding(String);

impl Encoding {
    /// Begins with what is encoded, and in which version of the encoding.
    #[must_use]
    pub fn of(what: &str) -> Self {
        let mut encoding = Self::default();
        encoding.field("what", what);
        encoding
    }

    /// Adds a field.
    pub fn field(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name}={}:{value}", value.len());
    }

    /// Adds a field that may be absent; absent and empty differ.
    pub fn optional(&mut self, name: &str, value: Option<impl Display>) {
        match value {
            Some(value) => self.field(name, value),
            None => {
                let _ = writeln!(self.0, "{name}=-");
            }
        }
    }

    /// Adds a list with its length.
    pub fn list<T: Display>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        let values: Vec<T> = values.into_iter().collect();
        let _ = writeln!(self.0, "{name}=#{}", values.len());
        for value in values {
            self.field(name, value);
        }
    }

    /// The encoding itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let digest = Sha256::digest(self.0.as_bytes());
        let mut text = String::with_capacity(2 * KEPT);
        for byte in digest.iter().take(KEPT) {
            let _ = write!(text, "{byte:02x}");
        }
        Hash(text.into())
    }
}

/// The hash of a plan: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(Box<str>);

impl Hash {
    /// A hash as somebody wrote it down; it is only ever compared.
    #[must_use]
    pub fn written(text: &str) -> Self {
        Self(text.trim().into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_fixed_for_ever() {
        let mut encoding = Encoding::of("test/1");
        encoding.field("name", "a");
        encoding.optional("none", None::<&str>);
        encoding.optional("empty", Some(""));
        encoding.list("list", ["x", "yy"]);
        let text = "what=6:test/1\nname=1:a\nnone=-\nempty=0:\nlist=#2\nlist=1:x\nlist=2:yy\n";
        assert_eq!(encoding.text(), text);
        assert_eq!(encoding.hash().as_str(), "1e1dec2069f4e1a54e93f46a6d5ab535");
    }

    #[test]
    fn no_value_can_pretend_to_be_another_field() {
        let mut one = Encoding::of("t");
        one.field("a", "1\nb=1:2");
        let mut two = Encoding::of("t");
        two.field("a", "1");
        two.field("b", "2");
        assert_ne!(one.hash(), two.hash());
    }
}
