//! As much of Rust's grammar as it takes to find the paths in a file: what is code, what is a test, and what
//! a `use` with braces names. A parser crate would do more and would be one more thing to trust.

/// Code without comments and without the contents of strings and characters; lengths do not matter.
pub(super) fn strip(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        at += match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['r' | 'b' | 'c', ..] if !out.ends_with(is_word) && literal_prefix(rest).is_some() => {
                out.push_str("\"\"");
                literal_prefix(rest).unwrap()
            }
            ['"', ..] => {
                out.push_str("\"\"");
                quoted(rest, '"')
            }
            // A quote begins a character only if one closes it; otherwise it is a lifetime.
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => {
                out.push_str("''");
                quoted(rest, '\'')
            }
            [c, ..] => {
                out.push(*c);
                1
            }
            [] => 1,
        };
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of `r"..."`, `r#"..."#`, `b"..."`, `b'.'`, `br"..."`, if one begins here.
fn literal_prefix(rest: &[char]) -> Option<usize> {
    let letters = rest.iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let raw = rest[..letters].contains(&'r');
    let hashes = rest[letters..].iter().take_while(|c| **c == '#').count();
    let open = letters + hashes;
    match rest.get(open)? {
        '"' if raw => {
            let close: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let close: Vec<char> = close.chars().collect();
            let body = &rest[open + 1..];
            let end = body.windows(close.len()).position(|window| window == close)?;
            Some(open + 1 + end + close.len())
        }
        '"' if hashes == 0 && letters == 1 => Some(letters + quoted(&rest[letters..], '"')),
        '\'' if hashes == 0 && rest[..letters] == ['b'] => Some(letters + quoted(&rest[letters..], '\'')),
        _ => None,
    }
}

/// Words and punctuation; `::` is one token.
pub(super) fn tokens(code: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if is_word(c) {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            out.push(std::mem::take(&mut word));
        }
        if c == ':' && chars.peek() == Some(&':') {
            chars.next();
            out.push("::".to_owned());
        } else if !c.is_whitespace() {
            out.push(c.to_string());
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}

/// Leaves out what `#[cfg(test)]` stands before: to the end of its block, or to its semicolon.
pub(super) fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().map(String::as_str).take(MARK.len()).eq(MARK) {
            at = item_end(tokens, at + MARK.len());
        } else {
            out.push(tokens[at].clone());
            at += 1;
        }
    }
    out
}

fn item_end(tokens: &[String], from: usize) -> usize {
    let (mut braces, mut other) = (0_usize, 0_usize);
    for (offset, token) in tokens[from..].iter().enumerate() {
        match token.as_str() {
            "{" => braces += 1,
            "}" if braces <= 1 => return from + offset + 1,
            "}" => braces -= 1,
            "(" | "[" => other += 1,
            ")" | "]" => other = other.saturating_sub(1),
            ";" if braces == 0 && other == 0 => return from + offset + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Every path in the code, with the braces of `use` spread out: `a::{b, c::d}` gives `a::b` and `a::c::d`.
pub(super) fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map(|at| tokens[at].as_str());
        let starts = tokens[at].starts_with(|c: char| c.is_alphabetic() || c == '_') && before != Some(".");
        if starts {
            let next = tokens.get(at + 1).map(String::as_str);
            if next == Some("::") || matches!(before, Some("use" | "crate" | "as")) {
                at = path(tokens, at, &[], &mut found);
                continue;
            }
        }
        at += 1;
    }
    found
}

/// Reads one path at `at` behind `prefix`; gives where it ends.
fn path(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut own = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if !own.is_empty() => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    let before = at;
                    at = path(tokens, at, &own, found);
                    // `as name`, a comma: nothing that leads anywhere.
                    while at < tokens.len() && tokens[at] != "," && tokens[at] != "}" {
                        at += 1;
                    }
                    if at < tokens.len() && tokens[at] == "," {
                        at += 1;
                    }
                    at = at.max(before + 1);
                }
                return at + 1;
            }
            Some(word) if word == "*" || word.starts_with(is_word) => own.push(word.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).map(String::as_str) == Some("::") && tokens.get(at + 1).is_some_and(|next| next != "<") {
            at += 1;
        } else {
            break;
        }
    }
    found.push(own);
    at.max(1)
}
