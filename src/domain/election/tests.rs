//! Two candidates on one lease, with a store that refuses what carries an old version.

use super::*;

/// The lease as the API server has it.
#[derive(Default)]
struct Store {
    lease: Option<Held>,
    version: u64,
    down: bool,
}

impl Store {
    fn read(&self) -> View {
        match &self.lease {
            _ if self.down => View::Unknown,
            None => View::Absent,
            Some(held) => View::Held(held.clone()),
        }
    }

    fn write(&mut self, claim: &Claim) -> bool {
        let version = self.lease.as_ref().map(|held| &held.version);
        if self.down || claim.version.as_ref() != version {
            return false;
        }
        self.version += 1;
        self.lease = Some(Held {
            version: self.version.to_string().into(),
            holder: claim.holder.as_ref().into(),
            duration: claim.duration,
            acquired: Some(claim.acquired),
            renewed: Some(claim.renewed),
            transitions: claim.transitions,
        });
        true
    }
}

/// A candidate whose clocks are its own.
struct Candidate {
    election: Election,
    wall_ahead: i64,
    mono_ahead: u64,
}

impl Candidate {
    fn new(name: &str, wall_ahead: i64, mono_ahead: u64) -> Self {
        Self { election: Election::new(Rules::new(name)), wall_ahead, mono_ahead }
    }

    fn now(&self, second: u64) -> Now {
        let wall = Timestamp::from_second(1_800_000_000 + i64::try_from(second).unwrap() + self.wall_ahead).unwrap();
        Now { wall, mono: Duration::from_secs(second + self.mono_ahead) }
    }

    /// Reads, and does what follows; whether it leads after that.
    fn turn(&mut self, second: u64, store: &mut Store) -> bool {
        let now = self.now(second);
        if let Step::Acquire(claim) | Step::Renew(claim) = self.election.observe(&store.read(), now) {
            let taken = store.write(&claim);
            self.election.written(taken, now);
        }
        self.election.leads(now)
    }
}

#[test]
fn the_first_takes_the_lease_and_keeps_it() {
    let mut store = Store::default();
    let (mut a, mut b) = (Candidate::new("a", 0, 5), Candidate::new("b", 0, 900));
    for second in (0..120).step_by(2) {
        assert!(a.turn(second, &mut store));
        assert!(!b.turn(second, &mut store));
    }
    assert_eq!(store.lease.unwrap().transitions, 0);
}

#[test]
fn of_two_that_try_at_once_one_fails() {
    let mut store = Store::default();
    let (mut a, mut b) = (Candidate::new("a", 0, 5), Candidate::new("b", 0, 900));
    let view = store.read();
    let Step::Acquire(one) = a.election.observe(&view, a.now(0)) else { panic!() };
    let Step::Acquire(two) = b.election.observe(&view, b.now(0)) else { panic!() };
    let taken = store.write(&one);
    a.election.written(taken, a.now(0));
    let taken = store.write(&two);
    b.election.written(taken, b.now(0));
    assert!(a.election.leads(a.now(0)) && !b.election.leads(b.now(0)));
}

#[test]
fn clocks_two_minutes_apart_change_nothing() {
    for ahead in [-120, 120] {
        let mut store = Store::default();
        let (mut a, mut b) = (Candidate::new("a", 0, 0), Candidate::new("b", ahead, 7));
        for second in (0..300).step_by(2) {
            assert!(a.turn(second, &mut store), "{ahead} at {second}");
            assert!(!b.turn(second, &mut store), "{ahead} at {second}");
        }
        // a dies; b has to watch the lease stand still for its whole length.
        for second in (300..314).step_by(2) {
            assert!(!b.turn(second, &mut store), "{ahead} at {second}");
        }
        assert!(b.turn(316, &mut store), "{ahead}");
        assert_eq!(store.lease.as_ref().unwrap().transitions, 1);
    }
}

#[test]
fn never_two_leaders_whatever_is_lost() {
    for seed in 0_u64..200 {
        let mut store = Store::default();
        let mut all = [Candidate::new("a", 0, 3), Candidate::new("b", 90, 5), Candidate::new("c", -90, 0)];
        let mut dice = seed;
        let mut roll = move |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        for second in 0..600 {
            store.down = roll(5) == 0;
            for candidate in &mut all {
                if roll(3) == 0 {
                    candidate.turn(second, &mut store);
                }
            }
            let leaders = all.iter().filter(|one| one.election.leads(one.now(second))).count();
            assert!(leaders <= 1, "seed {seed} at {second}");
        }
    }
}

#[test]
fn a_renewal_that_is_not_answered_ends_in_yielding_before_anybody_can_take_over() {
    let mut store = Store::default();
    let mut a = Candidate::new("a", 0, 0);
    assert!(a.turn(0, &mut store));
    store.down = true;
    for second in (2..10).step_by(2) {
        assert!(a.turn(second, &mut store), "the deadline has not come");
    }
    assert!(!a.election.leads(a.now(10)));
    assert_eq!(a.election.observe(&View::Unknown, a.now(10)), Step::Yield);
    assert_eq!(a.election.leads_until(), None);
}

#[test]
fn a_renewal_counts_from_when_it_was_sent() {
    let mut store = Store::default();
    let mut a = Candidate::new("a", 0, 0);
    let Step::Acquire(claim) = a.election.observe(&store.read(), a.now(0)) else { panic!() };
    let taken = store.write(&claim);
    a.election.written(taken, a.now(7));
    assert_eq!(a.election.leads_until(), Some(Duration::from_secs(10)));
    let Step::Renew(claim) = a.election.observe(&store.read(), a.now(8)) else { panic!() };
    let taken = store.write(&claim);
    assert_eq!(a.election.written(taken, a.now(19)), Step::Yield, "the answer came after the deadline");
}

#[test]
fn a_lease_that_somebody_took_or_deleted_is_yielded_at_once() {
    for taken in [true, false] {
        let mut store = Store::default();
        let mut a = Candidate::new("a", 0, 0);
        assert!(a.turn(0, &mut store));
        match &mut store.lease {
            Some(held) if taken => held.holder = "b".into(),
            lease => *lease = None,
        }
        assert_eq!(a.election.observe(&store.read(), a.now(2)), Step::Yield);
        assert!(!a.election.leads(a.now(2)));
    }
}

#[test]
fn a_released_lease_is_taken_without_waiting() {
    let mut store = Store::default();
    let (mut a, mut b) = (Candidate::new("a", 0, 0), Candidate::new("b", 0, 0));
    assert!(a.turn(0, &mut store));
    assert!(!b.turn(0, &mut store));
    let claim = a.election.release(&store.read(), a.now(3)).unwrap();
    assert!(!a.election.leads(a.now(3)), "it writes no more from here on");
    assert!(store.write(&claim));
    assert!(b.turn(4, &mut store));
    assert_eq!(store.lease.as_ref().unwrap().transitions, 1);
    assert_eq!(a.election.release(&store.read(), a.now(5)), None, "it is not ours any more");
}

#[test]
fn our_own_name_in_a_lease_of_a_lost_answer_is_renewed_and_not_taken_for_granted() {
    let mut store = Store::default();
    let mut a = Candidate::new("a", 0, 0);
    let Step::Acquire(claim) = a.election.observe(&store.read(), a.now(0)) else { panic!() };
    assert!(store.write(&claim));
    a.election.written(false, a.now(1));
    assert!(!a.election.leads(a.now(1)));
    assert!(a.turn(2, &mut store));
    assert_eq!(store.lease.as_ref().unwrap().transitions, 0);
}
