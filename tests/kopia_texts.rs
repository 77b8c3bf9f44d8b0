//! Real answers of kopia 0.21.1 and 0.23.1, read and judged; and the same answers cut, flipped and spliced.
//!
//! Kopia's texts are no interface: a version that says something else, a pipe that breaks off and a disk that flips a
//! bit give texts that nobody has seen. None of them may be taken for maintenance that happened.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "kopia_texts/judge.rs"]
mod judge;

use judge::{Answers, Made, TEXTS, judge};
use proptest::prelude::*;
use proptest::sample::Index;
use volwarden::domain::kopia::{
    Class, Ended, Failure, Maintenance, Repository, Round, Verdict, epoch, expire, sources, stored,
};

/// As one visit of a kopia gave them: five snapshots of two sources, of which two go.
macro_rules! texts {
    ($version:literal) => {
        [
            include_str!(concat!("kopia_texts/", $version, "/status.json")),
            include_str!(concat!("kopia_texts/", $version, "/info-quick.json")),
            include_str!(concat!("kopia_texts/", $version, "/info-full.json")),
            include_str!(concat!("kopia_texts/", $version, "/indexes.json")),
            include_str!(concat!("kopia_texts/", $version, "/epochs.txt")),
            include_str!(concat!("kopia_texts/", $version, "/snapshots.json")),
            include_str!(concat!("kopia_texts/", $version, "/policy.json")),
            include_str!(concat!("kopia_texts/", $version, "/expire.txt")),
            include_str!(concat!("kopia_texts/", $version, "/packs.err")),
            include_str!(concat!("kopia_texts/", $version, "/verify.json")),
            include_str!(concat!("kopia_texts/", $version, "/full.err")),
        ]
    };
}

const OLD: [&str; TEXTS] = texts!("0.21.1");
const NEW: [&str; TEXTS] = texts!("0.23.1");
const VERSIONS: [[&str; TEXTS]; 2] = [OLD, NEW];
/// What else they say, of both versions: refusals, damage, an empty record.
const OTHERS: [&str; 10] = [
    include_str!("kopia_texts/0.21.1/refused.err"),
    include_str!("kopia_texts/0.21.1/missing.err"),
    include_str!("kopia_texts/0.21.1/quick.err"),
    include_str!("kopia_texts/0.21.1/info-never.json"),
    include_str!("kopia_texts/0.23.1/refused.err"),
    include_str!("kopia_texts/0.23.1/missing.err"),
    include_str!("kopia_texts/0.23.1/verify.err"),
    include_str!("kopia_texts/0.23.1/info-never.json"),
    include_str!("kopia_texts/0.21.1/stored.txt"),
    include_str!("kopia_texts/0.23.1/stored.txt"),
];
const SOURCE: &str = "app@media:/data";

#[test]
fn what_both_versions_really_said_is_read_alike() {
    for (texts, knows_bytes) in [(OLD, false), (NEW, true)] {
        let answers = Answers::of(texts, 0);
        assert_eq!(judge(&answers, SOURCE), Made { happened: true, sound: true, going: 2 });
        let repository = Repository::parse(answers.status).unwrap();
        assert_eq!((repository.format, repository.path.as_deref()), (Some(3), Some("/srv/kopia")));
        assert_eq!((epoch(answers.epochs), sources(answers.snapshots).unwrap().len()), (Some(0), 2));
        assert_eq!(expire::would_delete(answers.expire), Some(2));
        let (before, after) = (Maintenance::parse(answers.before).unwrap(), Maintenance::parse(answers.after).unwrap());
        // Maintenance of before 0.22 leaves the quick cycle off, and tells no bytes.
        assert_eq!(after.quick.enabled, knows_bytes);
        assert_eq!(after.newest().iter().all(|task| task.freed_bytes.is_some()), knows_bytes);
        let ended = Ended { code: Some(0), stderr: answers.run.to_owned(), ..Ended::default() };
        let Verdict::Happened(done) = kopia_judge(&ended, &before, &after) else { panic!("it happened") };
        assert!(done.iter().any(|done| done.task == "snapshot-gc"), "{done:?}");
        // The record of before is no proof, nor is that of a quick run.
        assert!(!matches!(kopia_judge(&ended, &after, &after), Verdict::Happened(_)));
        let never = Maintenance::default();
        assert!(!matches!(kopia_judge(&ended, &never, &before), Verdict::Happened(_)), "no garbage was looked for");
    }
    for (said, class) in [(OTHERS[0], Class::NotOwner), (OTHERS[4], Class::NotOwner), (OTHERS[5], Class::DataDamaged)] {
        assert_eq!(Failure::told(said).class, class, "{said}");
    }
    let size = |text: &str| stored(text).map(|size| (size.blobs, size.bytes));
    assert_eq!([OTHERS[8], OTHERS[9]].map(size), [Some((10, 18_393)), Some((10, 20_261))]);
    // 0.21.1 names the damage in the middle, and only counts it at the end.
    assert_eq!(Failure::told(OTHERS[1]).class, Class::DataDamaged);
}

/// Found by the fuzz target: a quick run was taken for done by words with zeros in them.
#[test]
fn words_that_are_torn_by_zeros_are_no_word_of_kopias() {
    for texts in VERSIONS {
        let [.., run] = texts;
        assert!(run.contains("Running full maintenance"), "{run}");
        let mut all = texts;
        let torn = run.replace("Running full maintenance", "Running full ma\0\0intenance");
        all[TEXTS - 1] = &torn;
        assert!(!judge(&Answers::of(all, 0), SOURCE).happened);
        let quick = format!("{run}Running quick ma\0\0intenance\n");
        all[TEXTS - 1] = &quick;
        assert!(judge(&Answers::of(all, 0), SOURCE).happened, "by the words of the full run, and by those alone");
        // What 0.21 puts before its words is none of them.
        let coloured = run.replace("Running full", "\u{1b}[31mERROR\u{1b}[0m Running full");
        all[TEXTS - 1] = &coloured;
        assert!(judge(&Answers::of(all, 0), SOURCE).happened);
    }
}

fn kopia_judge(ended: &Ended, before: &Maintenance, after: &Maintenance) -> Verdict {
    volwarden::domain::kopia::judge(Round::Full, ended, before, Ok(after))
}

/// A way in which a text is broken.
#[derive(Clone, Debug)]
enum Harm {
    /// It ends early.
    Cut(Index),
    /// It begins late.
    Behead(Index),
    /// One byte is another.
    Flip(Index, u8),
    /// From one place on it is another text, from another place on.
    Splice(Index, Index, Index),
    /// A part of it stands there twice.
    Repeat(Index, Index),
    /// It is another text.
    Swap(Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Harm::Cut),
        at().prop_map(Harm::Behead),
        (at(), any::<u8>()).prop_map(|(at, byte)| Harm::Flip(at, byte)),
        // A digit or a bracket for another makes a text that can still be read more often than any byte does.
        (at(), prop::sample::select(b"0123456789{}[],:\"-Z".to_vec())).prop_map(|(at, byte)| Harm::Flip(at, byte)),
        (at(), at(), at()).prop_map(|(here, other, there)| Harm::Splice(here, other, there)),
        (at(), at()).prop_map(|(from, to)| Harm::Repeat(from, to)),
        at().prop_map(Harm::Swap),
    ]
}

fn every() -> Vec<&'static str> {
    OLD.into_iter().chain(NEW).chain(OTHERS).collect()
}

fn broken(text: &str, harm: &Harm) -> String {
    let bytes = text.as_bytes();
    let place = |at: &Index, of: &[u8]| at.index(of.len() + 1);
    let out = match harm {
        Harm::Cut(at) => bytes[..place(at, bytes)].to_vec(),
        Harm::Behead(at) => bytes[place(at, bytes)..].to_vec(),
        Harm::Flip(at, byte) => {
            let mut out = bytes.to_vec();
            if !out.is_empty() {
                let at = at.index(out.len());
                out[at] = *byte;
            }
            out
        }
        Harm::Splice(here, other, there) => {
            let all = every();
            let other = all[other.index(all.len())].as_bytes();
            [&bytes[..place(here, bytes)], &other[place(there, other)..]].concat()
        }
        Harm::Repeat(from, to) => {
            let (from, to) = (place(from, bytes), place(to, bytes));
            [&bytes[..from.max(to)], &bytes[from.min(to)..]].concat()
        }
        Harm::Swap(other) => {
            let all = every();
            all[other.index(all.len())].as_bytes().to_vec()
        }
    };
    String::from_utf8_lossy(&out).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_broken_text_panics_or_is_taken_for_done(
        version in 0..VERSIONS.len(),
        harms in prop::collection::vec((0..TEXTS, harm()), 1..4),
        code in prop::sample::select(vec![0, 0, 0, 1, 137]),
    ) {
        let mut texts = VERSIONS[version].map(str::to_owned);
        for (which, harm) in &harms {
            texts[*which] = broken(&texts[*which], harm);
        }
        judge(&Answers::of(texts.each_ref().map(String::as_str), code), SOURCE);
    }

    #[test]
    fn a_witness_that_breaks_off_proves_nothing(version in 0..VERSIONS.len(), which in 0..3_usize, at in any::<Index>()) {
        let sound = VERSIONS[version];
        let mut texts = sound;
        // The record of after, what was said, and what was verified.
        let (text, place) = [(sound[2], 2), (sound[10], 10), (sound[9], 9)][which];
        let text = text.trim_end();
        // What is said is proof from the end of its first line on.
        let end = if place == 10 { text.find("maintenance").unwrap() + "maintenance".len() } else { text.len() };
        texts[place] = &text[..at.index(end)];
        let made = judge(&Answers::of(texts, 0), SOURCE);
        prop_assert!(if place == 9 { !made.sound } else { !made.happened }, "{:?} proves {:?}", texts[place], made);
    }
}
