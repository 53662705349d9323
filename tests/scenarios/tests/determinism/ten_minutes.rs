//! Matches of ten minutes of session time.

use std::process::Command;

use ringside_core::limits;
use ringside_sandbox::{Role, replay_recording};
use ringside_test_support::directory::Directory;
use ringside_test_support::random::Random;
use ringside_test_support::{guests, skip};

use crate::recordings::{play, record, rest_from};
use crate::samples::{self, Sample};

const SECONDS: u64 = 600;

/// What the program says of a recording, as far as it is compared.
#[derive(serde::Deserialize)]
struct Said {
    records: u64,
    checkpoints: Vec<SaidCheckpoint>,
    outputs_differ: Vec<u64>,
    last: String,
    same: bool,
}

#[derive(serde::Deserialize)]
struct SaidCheckpoint {
    position: u64,
    got: String,
}

/// Plays, and folds the log again: batch by batch as it was recorded, in other batches, from states that were captured
/// on the way, and by the program in a process of its own.
fn ten_minutes(sample: &Sample) {
    let mut random = Random::new(7);
    let steps = sample.steps(SECONDS);
    let checkpoint_steps = sample.steps(limits::CHECKPOINT_INTERVAL_US / 1_000_000).max(1);
    let captures: Vec<u64> = (0..3).map(|_| random.below(steps)).collect();
    let session = play(sample, 16, steps, |step, leader| {
        if (step + 1).is_multiple_of(checkpoint_steps) && !leader.is_over() {
            leader.checkpoint();
        }
        if captures.contains(&step) {
            leader.capture();
        }
    });
    let last = session.last();
    let seconds = session.log.last().expect("a record").time_us / 1_000_000;
    assert!((SECONDS - 5..=SECONDS).contains(&seconds), "it lasted {seconds} s");
    assert!(session.checkpoints.len() as u64 >= SECONDS / 5 - 1);
    println!("{}: {} records", sample.name, session.log.len());

    let recorded = record(sample, &session, || 9);
    for file in [&recorded, &record(sample, &session, || 1 + random.below(1000) as usize)] {
        let report = replay_recording(&sample.module, file).expect("a replay");
        assert!(report.agrees() && report.incomplete.is_none(), "{:?}", report.outputs_differ.first());
        assert_eq!(report.checkpoints.len(), session.checkpoints.len());
        assert_eq!((report.records, report.last), (session.log.len() as u64, last.0));
    }
    for (state, role) in session.states.iter().zip([Role::Replay, Role::Leader, Role::Replay]) {
        let rest = session.after(state.position());
        assert_eq!(rest_from(&sample.module, state, role, rest), last, "from {}", state.position());
    }

    let program = guests::program();
    if !program.exists() {
        skip!("{} is not built: the recording is not replayed in another process", program.display());
    }
    let directory = Directory::new();
    let file = directory.path().join("match.recording");
    std::fs::write(&file, &recorded).expect("written");
    let module = guests::module_path(sample.name);
    let output = Command::new(&program).arg("--json").arg("replay").arg(&file).arg("--module").arg(module).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Said = serde_json::from_slice(&output.stdout).expect("its answer");
    assert!(said.same && said.outputs_differ.is_empty());
    assert_eq!((said.records, said.last), (session.log.len() as u64, last.0.to_string()));
    let got = said.checkpoints.into_iter().map(|checkpoint| (checkpoint.position, checkpoint.got));
    assert!(got.eq(session.checkpoints.iter().map(|(position, state)| (*position, state.to_string()))));
}

#[test]
fn of_pong() {
    ten_minutes(&samples::pong());
}

#[test]
fn of_arena() {
    ten_minutes(&samples::arena());
}

#[test]
fn of_arena_at_sixty_ticks() {
    ten_minutes(&samples::arena60());
}

#[test]
fn of_chess() {
    ten_minutes(&samples::chess());
}

#[test]
fn of_echo() {
    ten_minutes(&samples::echo());
}
