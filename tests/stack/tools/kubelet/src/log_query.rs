//! Which part of a log is asked for, and how it is shown: the options of `kubectl logs`.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

/// The query of a request for logs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Query {
    pub follow: bool,
    pub previous: bool,
    timestamps: bool,
    tail_lines: Option<usize>,
    since_seconds: Option<u64>,
    since_time: Option<Timestamp>,
    limit_bytes: Option<usize>,
    stream: Option<String>,
}

impl Query {
    /// The filter that the query means at this time.
    pub fn filter(&self, now: Timestamp) -> Filter {
        let since = self.since_seconds.map(|seconds| now.saturating_sub(Duration::from_secs(seconds)));
        let stream = match self.stream.as_deref() {
            Some("Stdout") => Some("stdout"),
            Some("Stderr") => Some("stderr"),
            _ => None,
        };
        Filter {
            timestamps: self.timestamps,
            since: since.and_then(Result::ok).or(self.since_time),
            stream,
            left: self.limit_bytes,
            tail: self.tail_lines,
        }
    }
}

/// Chooses from a log, one piece of whole lines after the other.
#[derive(Debug)]
pub struct Filter {
    timestamps: bool,
    since: Option<Timestamp>,
    stream: Option<&'static str>,
    /// How many bytes may still be shown.
    left: Option<usize>,
    /// How many of the first piece's last lines are shown.
    tail: Option<usize>,
}

impl Filter {
    /// What of this piece is shown.
    pub fn choose(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        for line in last_lines(piece, self.tail.take()).split_inclusive(|byte| *byte == b'\n') {
            self.show(line, &mut shown);
        }
        if let Some(left) = &mut self.left {
            shown.truncate(*left);
            *left -= shown.len();
        }
        shown
    }

    /// Whether nothing more will be shown.
    pub fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn show(&self, line: &[u8], shown: &mut Vec<u8>) {
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(stream), Some(tag), Some(text)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return;
        };
        if self.stream.is_some_and(|wanted| wanted.as_bytes() != stream) {
            return;
        }
        let written = std::str::from_utf8(time).ok().and_then(|time| time.parse::<Timestamp>().ok());
        if self.since.is_some_and(|since| written.is_none_or(|written| written < since)) {
            return;
        }
        if self.timestamps {
            shown.extend_from_slice(time);
            shown.push(b' ');
        }
        // The newline of a part of a line is the file's, not the container's.
        let text = if tag == b"P" { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
        shown.extend_from_slice(text);
    }
}

/// A log as its container wrote it.
pub fn plain(log: &[u8]) -> Vec<u8> {
    Query::default().filter(Timestamp::UNIX_EPOCH).choose(log)
}

/// The last lines of a text that ends with a newline.
pub fn last_lines(text: &[u8], lines: Option<usize>) -> &[u8] {
    let Some(lines) = lines else { return text };
    let lengths = text.split_inclusive(|byte| *byte == b'\n').rev().take(lines).map(<[u8]>::len);
    text.get(text.len() - lengths.sum::<usize>()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-01-01T00:00:01.000000000Z stdout F one
2026-01-01T00:00:02.000000000Z stderr F two  words
2026-01-01T00:00:03.000000000Z stdout P thr
2026-01-01T00:00:04.000000000Z stdout F ee
2026-01-01T00:00:05.000000000Z stdout F 
";

    #[test]
    fn a_query_chooses_lines_and_how_they_are_shown() {
        let all = Query::default;
        for (query, expected) in [
            (all(), "one\ntwo  words\nthree\n\n"),
            (Query { tail_lines: Some(2), ..all() }, "ee\n\n"),
            (Query { tail_lines: Some(0), ..all() }, ""),
            (Query { tail_lines: Some(99), ..all() }, "one\ntwo  words\nthree\n\n"),
            (Query { since_seconds: Some(6), ..all() }, "ee\n\n"),
            (Query { since_time: Some("2026-01-01T00:00:05Z".parse().unwrap()), ..all() }, "\n"),
            (Query { limit_bytes: Some(6), ..all() }, "one\ntw"),
            (Query { stream: Some("Stderr".to_owned()), ..all() }, "two  words\n"),
            (Query { stream: Some("All".to_owned()), tail_lines: Some(1), ..all() }, "\n"),
            (Query { timestamps: true, tail_lines: Some(1), ..all() }, "2026-01-01T00:00:05.000000000Z \n"),
        ] {
            let shown = query.filter("2026-01-01T00:00:10Z".parse().unwrap()).choose(LOG.as_bytes());
            assert_eq!(String::from_utf8(shown).unwrap(), expected, "{query:?}");
        }
    }

    #[test]
    fn a_filter_goes_on_over_later_pieces() {
        let query = Query { tail_lines: Some(1), limit_bytes: Some(8), ..Query::default() };
        let mut filter = query.filter(Timestamp::UNIX_EPOCH);
        let (early, late) = LOG.split_at(LOG.find("2026-01-01T00:00:03").unwrap());
        assert_eq!(filter.choose(early.get(..44).unwrap().as_bytes()), b"one\n");
        assert!(!filter.is_full());
        assert_eq!(filter.choose(late.as_bytes()), b"thre");
        assert!(filter.is_full());
    }
}
