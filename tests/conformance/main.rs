//! The embedded cluster against the real control plane: the same scenarios on both, and what each object goes
//! through compared write by write.
//!
//! The embedded cluster is where safety claims are tried a million times. They are worth as much as it behaves like
//! the real programs; this is where that is measured. A difference is a mistake of the embedded one.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a scenario stops where it stands, prints, and waits in real time"
)]

mod backend;
mod compare;
mod history;
mod model;
mod real;
mod run;
mod scenario;
mod table;

use std::fmt::Write as _;
use std::path::PathBuf;

use self::backend::Backend;
use self::compare::difference;
use self::history::{Everything, Histories};
use self::model::Model;
use self::real::Real;
use self::scenario::{Freedom, Scenario};

/// Runs of the embedded cluster for each scenario: its races come out differently with each seed.
const SEEDS: u64 = 10;

#[test]
fn what_objects_go_through_is_the_same_on_both() {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return;
    }
    let scenarios = table::all();
    let real = on_the_real_stack(&scenarios);
    keep("real", &scenarios, &real);
    let (mut of_real, mut of_model) = (0, 0);
    for (scenario, real) in scenarios.iter().zip(&real) {
        let freedoms: Vec<Freedom> = table::EVERYWHERE.iter().chain(&scenario.freedoms).copied().collect();
        for seed in 0..SEEDS {
            let model = on_the_model(scenario, seed);
            if let Some(difference) = difference(real, &model, &freedoms) {
                panic!("scenario {} ({}), seed {seed}: {difference}", scenario.number, scenario.title);
            }
            of_model += transitions(&model);
        }
        of_real += transitions(real);
    }
    println!(
        "{} scenarios: {of_real} transitions of the real stack agree with {of_model} of the model in {SEEDS} runs each",
        scenarios.len()
    );
    assert!(of_real > 500, "only {of_real} transitions were seen");
}

fn transitions(histories: &Histories) -> usize {
    histories.values().map(Vec::len).sum()
}

/// All of them on one stack, one after the other, each in a namespace of its own.
fn on_the_real_stack(scenarios: &[Scenario]) -> Vec<Histories> {
    let mut real = Real::start();
    run::prepare(&mut real);
    for scenario in scenarios {
        run::run(&mut real, scenario);
    }
    real.settle();
    let seen = Everything::seen_by(&mut real);
    scenarios.iter().map(|scenario| seen.of(&run::namespace(scenario))).collect()
}

fn on_the_model(scenario: &Scenario, seed: u64) -> Histories {
    let mut model = Model::start(seed);
    run::prepare(&mut model);
    run::run(&mut model, scenario);
    model.settle();
    Everything::seen_by(&mut model).of(&run::namespace(scenario))
}

/// Leaves what was seen where it can be read.
fn keep(side: &str, scenarios: &[Scenario], all: &[Histories]) {
    let mut text = String::new();
    for (scenario, histories) in scenarios.iter().zip(all) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "=== {} {}", scenario.number, scenario.title);
        for (title, steps) in histories {
            let _ = writeln!(text, "  {title}\n    {}", steps.join("\n    "));
        }
    }
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{side}.txt"));
    std::fs::write(&file, text).unwrap();
    println!("what was seen on the {side} side: {}", file.display());
}
