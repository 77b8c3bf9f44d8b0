//! A renewal that is only taken in leaves the same view as looking at all of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::domain::fact::{Change, Fact};
use crate::domain::name::{Stamp, Uid};
use crate::domain::record::{Lease, Meta};

const DRIVER: &str = "csi.example.com";

fn now(second: u64) -> Now {
    let mono = Duration::from_secs(second);
    Now { wall: Timestamp::UNIX_EPOCH + mono, mono }
}

fn pod(name: &str, ready: bool) -> Fact {
    let container = Container {
        name: "csi-snapshotter".into(),
        image: "csi-snapshotter:v8.5.0".into(),
        args: ["--drivername=csi.example.com", "--retry-interval-max=8s"].map(Arc::from).into_iter().collect(),
        ready,
        running: ready,
        waiting: None,
        last_termination: None,
        restarts: 0,
    };
    let meta = Meta {
        uid: Uid::parse(name),
        created: Stamp::from_second(1),
        deleted: None,
        finalizers: Arc::new([]),
        ignored: false,
    };
    let pod = Pod {
        meta,
        node: Some("node".into()),
        host_network: false,
        hostname: None,
        phase: "Running".into(),
        ready,
        ready_changed: None,
        owner: None,
        containers: Box::new([container]),
    };
    Fact::Pod(Change::Applied(Key::namespaced("csi", name), pod))
}

fn lease(name: &str, holder: &str, seconds: u64, at: u64, transitions: i32) -> Fact {
    let lease = Lease {
        holder: holder.into(),
        duration: Some(Duration::from_secs(seconds)),
        renewed: Some(now(at).wall),
        acquired: Some(now(0).wall),
        transitions,
    };
    Fact::Lease(Change::Applied(Key::namespaced("csi", name), lease))
}

fn looked(world: &World, controller: bool, settings: &Settings, at: Now) -> View {
    if controller { super::controller(world, None, settings, at) } else { driver(world, DRIVER, settings, at) }
}

#[test]
fn a_renewal_taken_in_is_the_same_as_a_look_at_all_of_it_and_nothing_else_is_taken_in() {
    let settings = Settings::default();
    for (controller, name) in [(false, identity::snapshotter_lease(DRIVER)), (true, CONTROLLER_LEASE.to_owned())] {
        let mut world = World::default();
        for fact in [pod("one", true), pod("two", false), lease(&name, "one", 15, 100, 3)] {
            world.apply(fact, now(100));
        }
        world.apply(lease(&name, "one", 15, 105, 3), now(105));
        let mut view = looked(&world, controller, &settings, now(105));
        assert_eq!(view.health, Health::Alive { seen: true });

        world.apply(lease(&name, "one", 15, 110, 3), now(110));
        assert!(renewed(&mut view, &world, &name, &settings, now(110)));
        assert_eq!(view, looked(&world, controller, &settings, now(110)));

        let others = [
            (lease(&name, "two", 15, 115, 3), 115, "another holder"),
            (lease(&name, "", 15, 115, 3), 115, "released"),
            (lease(&name, "one", 30, 115, 3), 115, "another duration"),
            (lease(&name, "one", 15, 115, 4), 115, "taken once more"),
            (lease(&name, "one", 15, 110, 3), 300, "told again, and stands still"),
        ];
        for (fact, at, what) in others {
            let (mut world, mut seen) = (World::default(), view.clone());
            for second in [105, 110] {
                world.apply(lease(&name, "one", 15, second, 3), now(second));
            }
            world.apply(fact, now(at));
            assert!(!renewed(&mut seen, &world, &name, &settings, now(at)), "{what}");
            assert_eq!(seen, view, "{what}: nothing is touched");
        }
        // One of the same name in another namespace, that is newer, is another lease.
        let elsewhere = match lease(&name, "one", 15, 115, 3) {
            Fact::Lease(Change::Applied(key, lease)) => {
                Fact::Lease(Change::Applied(Key::namespaced("other", &*key.name), lease))
            }
            other => other,
        };
        for second in [115, 120] {
            let Fact::Lease(Change::Applied(key, mut newer)) = elsewhere.clone() else { panic!("a lease") };
            newer.renewed = Some(now(second).wall);
            world.apply(Fact::Lease(Change::Applied(key, newer)), now(second));
        }
        let mut seen = view.clone();
        assert!(!renewed(&mut seen, &world, &name, &settings, now(120)), "another lease");
        assert_eq!(seen, view);
        let mut down = View { health: Health::Undecided, ..view };
        assert!(!renewed(&mut down, &world, &name, &settings, now(110)), "one that is not known to work is looked at");
    }
}
