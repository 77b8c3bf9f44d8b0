//! The scenarios.

use super::backend::Component::{Controller, Driver, Snapshotter};
use super::backend::Fate::{Kill, Pause, Resume, Start};
use super::backend::Trouble;
use super::run::NUDGE;
use super::scenario::Condition::{Annotated, Deleting, Failed, Gone, HeldBy, Ready, Told, ToldWords};
use super::scenario::Step::{
    Annotate, Class, Delete, DriverRestarts, EmptyStatus, Hold, Import, LeaderDies, LeaderReturns, Left, Meets,
    NeedsSecret, Not, Restore, Secret, Strip, Take, Until, UntilGoneOrNudged, UntilLog, Well,
};
use super::scenario::Thing::{Claim, Content, ContentOf, Snapshot};
use super::scenario::{Freedom, Scenario, Step, Why};

const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";

const CONTENT_HELD: &str =
    r#"metadata.finalizers = ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"]"#;
const SNAPSHOT_BOUND: &str = r#""snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"] -> ["snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection","snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"]"#;

/// What is free in every scenario.
pub(crate) const EVERYWHERE: [Freedom; 5] = [
    Freedom::Race { one: CONTENT_HELD, other: "volumesnapshot-being-created", why: BOTH_ON_SIGHT },
    Freedom::Race { one: CONTENT_HELD, other: "status.creationTime = set", why: BOTH_ON_SIGHT },
    Freedom::Race { one: CONTENT_HELD, other: "status.error.message = ", why: BOTH_ON_SIGHT },
    Freedom::Race { one: SNAPSHOT_BOUND, other: "status.creationTime = set", why: TWO_WORKS },
    Freedom::Race { one: SNAPSHOT_BOUND, other: "status.error.message = ", why: TWO_WORKS },
];
const BOTH_ON_SIGHT: Why = "snapshot-controller protects a content when it sees it, and csi-snapshotter has it cut when \
    it sees it; neither waits for the other";
const TWO_WORKS: Why = "snapshot-controller adds the second finalizer when it sees its own first status, and copies the \
    content's status when it sees that; which comes first depends on the driver";
const MISSED: Why = "csi-snapshotter loses about one in six of these deletions, and only a change brings it back";

/// Made, and the claim let go again: what is done next must not race with it.
const MADE: [Step; 3] = [
    Take { name: "snap", class: "fast" },
    Until(Snapshot("snap"), Ready),
    Until(Claim("data"), HeldBy(&["pvc-protection"])),
];
const BOTH_GONE: [Step; 2] = [Until(ContentOf("snap"), Gone), Until(Snapshot("snap"), Gone)];

/// Builds the list, numbered as it grows.
struct Table(Vec<Scenario>);

impl Table {
    fn scenario(&mut self, title: &'static str, parts: &[&[Step]]) {
        let number = self.0.len() + 1;
        self.0.push(Scenario { number, title, steps: parts.concat(), freedoms: Vec::new() });
    }

    fn last(&mut self) -> &mut Scenario {
        self.0.last_mut().expect("one was added")
    }
}

pub(crate) fn all() -> Vec<Scenario> {
    let mut table = Table(Vec::new());
    lives(&mut table);
    driver(&mut table);
    hands(&mut table);
    waits(&mut table);
    programs(&mut table);
    table.0
}

fn lives(table: &mut Table) {
    table.scenario("a normal life", &[&MADE, &[Left(1), Delete(Snapshot("snap"))], &BOTH_GONE, &[Left(0)]]);
    table.scenario(
        "policy Retain: the content stays until somebody deletes it, and the physical snapshot for good",
        &[&[
            Take { name: "snap", class: "kept" },
            Until(Snapshot("snap"), Ready),
            Delete(Snapshot("snap")),
            Until(Snapshot("snap"), Gone),
            Until(ContentOf("snap"), Annotated(BEING_DELETED)),
            Delete(ContentOf("snap")),
            Until(ContentOf("snap"), Gone),
            Left(1),
        ]],
    );
    table.scenario(
        "a content made by hand for a physical snapshot that exists, bound, and deleted with policy Delete",
        &[&[
            Take { name: "first", class: "kept" },
            Until(Snapshot("first"), Ready),
            Delete(Snapshot("first")),
            Until(Snapshot("first"), Gone),
            Import { name: "snap", content: "by-hand", handle_of: "first" },
            Until(Snapshot("snap"), Ready),
            Delete(Snapshot("snap")),
            Until(Content("by-hand"), Gone),
            Until(Snapshot("snap"), Gone),
            Left(0),
            Delete(ContentOf("first")),
            Until(ContentOf("first"), Gone),
        ]],
    );
    table.scenario(
        "a class that is not there yet",
        &[
            &[
                Take { name: "snap", class: "late" },
                Until(Snapshot("snap"), Failed),
                Class { name: "late", policy: "Delete" },
                Until(Snapshot("snap"), Ready),
                Delete(Snapshot("snap")),
            ],
            &BOTH_GONE,
        ],
    );
    table.scenario(
        "the class of a driver that is not here: its sidecar would act, ours is silent",
        &[
            &[
                Take { name: "far", class: "elsewhere" },
                Until(Snapshot("far"), HeldBy(&["as-source-protection", "volumesnapshot-bound-protection"])),
                // Our sidecar has passed it over when a later one is ready. The claim stays held for the far one.
                Take { name: "snap", class: "fast" },
                Until(Snapshot("snap"), Ready),
                Delete(Snapshot("far")),
                Until(ContentOf("far"), Deleting),
                Until(Snapshot("far"), HeldBy(&["volumesnapshot-bound-protection"])),
                Delete(Snapshot("snap")),
            ],
            &BOTH_GONE,
            &[Strip(ContentOf("far")), Until(ContentOf("far"), Gone), Until(Snapshot("far"), Gone)],
        ],
    );
}

fn driver(table: &mut Table) {
    let deleting = [Delete(Snapshot("snap")), Until(ContentOf("snap"), Told("SnapshotDeleteError"))];
    table.scenario(
        "the driver is frozen while it should delete, then well",
        &[&MADE, &[Meets(Driver, Pause)], &deleting, &[Meets(Driver, Resume)], &BOTH_GONE, &[Left(0)]],
    );
    table.scenario(
        "the creation fails for good, then works",
        &[
            &[
                Step::Trouble(Trouble::Fails("CreateSnapshot", 13, "no space left in pool")),
                Take { name: "snap", class: "fast" },
                Until(Snapshot("snap"), Failed),
                Until(ContentOf("snap"), Told("SnapshotCreationFailed")),
                Well,
                Until(Snapshot("snap"), Ready),
                Delete(Snapshot("snap")),
            ],
            &BOTH_GONE,
        ],
    );
    table.scenario(
        "the driver is frozen while it should create, then well",
        &[
            &[
                Meets(Driver, Pause),
                Take { name: "snap", class: "fast" },
                Until(Snapshot("snap"), Failed),
                Until(ContentOf("snap"), Told("SnapshotCreationFailed")),
                Meets(Driver, Resume),
                Until(Snapshot("snap"), Ready),
                Delete(Snapshot("snap")),
            ],
            &BOTH_GONE,
            &[Left(0)],
        ],
    );
    table.scenario(
        "the snapshot is deleted while the frozen driver should create",
        &[&[
            Meets(Driver, Pause),
            Take { name: "snap", class: "fast" },
            Until(Snapshot("snap"), HeldBy(&["as-source-protection", "volumesnapshot-bound-protection"])),
            Delete(Snapshot("snap")),
            Until(ContentOf("snap"), Deleting),
            Until(ContentOf("snap"), Told("SnapshotCreationFailed")),
            Meets(Driver, Resume),
            UntilGoneOrNudged(ContentOf("snap")),
            Until(Snapshot("snap"), Gone),
            Left(0),
        ]],
    );
    table.last().freedoms.push(Freedom::Chance { step: NUDGE, why: MISSED });
    table.scenario(
        "a deletion is stuck in the driver: Aborted, until the driver is restarted",
        &[
            &MADE,
            &[Step::Trouble(Trouble::Stuck("DeleteSnapshot"))],
            &deleting,
            &[UntilLog("code = Aborted desc = an operation with the given Volume ID"), Well, DriverRestarts],
            &BOTH_GONE,
            &[Left(0)],
        ],
    );
}

fn hands(table: &mut Table) {
    // Down, not frozen: a frozen one is told of the deletion and of the end at once when it goes on, and sometimes
    // marks the content between the two. That it has looked at everything shows a snapshot made later.
    let stripped = [
        Meets(Controller, Kill),
        Delete(Snapshot("snap")),
        Strip(Snapshot("snap")),
        Until(Snapshot("snap"), Gone),
        Meets(Controller, Start),
        Take { name: "later", class: "fast" },
        Until(Snapshot("later"), Ready),
        Delete(ContentOf("snap")),
        Until(ContentOf("snap"), Deleting),
        Delete(Snapshot("later")),
        Until(Snapshot("later"), Gone),
        Left(1),
    ];
    table.scenario(
        "somebody strips the snapshot while snapshot-controller is down: the content stays, and cannot be deleted",
        &[&MADE, &stripped, &[Strip(ContentOf("snap")), Until(ContentOf("snap"), Gone), Left(1)]],
    );
    table.scenario(
        "the same, then somebody adds the annotation that is missing: really deleted",
        &[
            &MADE,
            &stripped,
            &[Annotate(ContentOf("snap"), BEING_DELETED, "yes"), Until(ContentOf("snap"), Gone), Left(0)],
        ],
    );
    table.scenario(
        "somebody deletes the content while its snapshot lives, then the snapshot too",
        &[
            &MADE,
            &[
                Delete(ContentOf("snap")),
                Until(ContentOf("snap"), Deleting),
                Take { name: "later", class: "fast" },
                Until(Snapshot("later"), Ready),
                Left(2),
                Delete(Snapshot("snap")),
            ],
            &BOTH_GONE,
            &[Left(1), Delete(Snapshot("later")), Until(Snapshot("later"), Gone)],
        ],
    );
    table.scenario(
        "a finalizer of somebody else's on the content",
        &[
            &MADE,
            &[
                Hold(ContentOf("snap"), "example.com/hold"),
                Delete(Snapshot("snap")),
                Until(ContentOf("snap"), HeldBy(&["example.com/hold"])),
                Left(0),
                Strip(ContentOf("snap")),
            ],
            &BOTH_GONE,
        ],
    );
    table.scenario(
        "a content with an emptied status and its finalizer: let go without a call",
        &[
            &MADE,
            &[
                Meets(Snapshotter(0), Kill),
                Meets(Snapshotter(1), Kill),
                Delete(Snapshot("snap")),
                Until(ContentOf("snap"), Deleting),
                EmptyStatus(ContentOf("snap")),
                Meets(Snapshotter(0), Start),
                Meets(Snapshotter(1), Start),
            ],
            &BOTH_GONE,
            &[Left(1)],
        ],
    );
}

fn waits(table: &mut Table) {
    table.scenario(
        "the secret for the deletion is missing, then there",
        &[
            &MADE,
            &[
                NeedsSecret(ContentOf("snap"), "missing"),
                Delete(Snapshot("snap")),
                Until(ContentOf("snap"), ToldWords("Failed to get snapshot credentials")),
                Secret("missing"),
            ],
            &BOTH_GONE,
            &[Left(0)],
        ],
    );
    table.scenario(
        "a claim that waits to be restored holds the deletion, then goes",
        &[
            &MADE,
            &[
                Restore { claim: "copy", from: "snap" },
                Delete(Snapshot("snap")),
                Until(Snapshot("snap"), Told("SnapshotDeletePending")),
                Left(1),
                Delete(Claim("copy")),
                Strip(Claim("copy")),
                Until(Claim("copy"), Gone),
            ],
            &BOTH_GONE,
            &[Left(0)],
        ],
    );
}

fn programs(table: &mut Table) {
    table.scenario(
        "snapshot-controller is frozen: nothing is touched, then well",
        &[
            &MADE,
            &[
                Meets(Controller, Pause),
                Delete(Snapshot("snap")),
                Until(Snapshot("snap"), Deleting),
                Not(ContentOf("snap"), Annotated(BEING_DELETED)),
                Left(1),
                Meets(Controller, Resume),
            ],
            &BOTH_GONE,
            &[Left(0)],
        ],
    );
    table.scenario(
        "the csi-snapshotter that leads is killed, and the other one deletes",
        &[&MADE, &[LeaderDies, Delete(Snapshot("snap"))], &BOTH_GONE, &[Left(0), LeaderReturns]],
    );
}
