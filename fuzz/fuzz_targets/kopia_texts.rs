//! Any bytes as the answers of a kopia: nothing panics, and nothing is taken for done that another reader of the same texts
//! would not take for it. What has to hold is the suite `kopia_texts`'s.
//!
//! Seeds from the real answers, then ten minutes, with the compiler that is there:
//!
//!     fuzz/run
//!
//! It is a target of cargo-fuzz as well: `cargo fuzz run kopia_texts`.
#![no_main]

#[path = "../../tests/kopia_texts/judge.rs"]
mod judge;

use judge::{Answers, TEXTS, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The exit code, then the texts, with a byte between them that no text has.
    let Some((code, texts)) = data.split_first() else { return };
    let mut texts: Vec<String> =
        texts.splitn(TEXTS, |byte| *byte == 0xff).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    texts.resize(TEXTS, String::new());
    let Ok(texts) = <[String; TEXTS]>::try_from(texts) else { return };
    judge(&Answers::of(texts.each_ref().map(String::as_str), i32::from(*code)), "app@media:/data");
});
