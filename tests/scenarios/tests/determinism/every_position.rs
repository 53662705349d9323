//! A shorter match, restored at every one of its positions.

use ringside_core::limits;
use ringside_sandbox::{Fold, FoldOptions, Role, query};

use crate::recordings::{fold_all, play, rest_from};
use crate::samples::{self, Sample};

/// From each position the rest of the log ends in the same state with the same outputs. What a leader does beside the
/// log, capturing and asking scratch instances, changes nothing.
fn every_position(sample: &Sample, steps: u64) {
    let session = play(sample, 16, steps, |_, _| {});
    assert!(session.log.len() > 100, "{} records", session.log.len());
    let last = session.last();
    let options = FoldOptions { role: Role::Replay, guest_memory_bytes: limits::GUEST_MEMORY_BYTES };
    let mut fold = Fold::new(&sample.module, options).expect("a fold");
    let state = fold.capture().expect("a state");
    assert_eq!(rest_from(&sample.module, &state, Role::Replay, &session.log), last, "from the beginning");
    for record in &session.log {
        let (hash, outputs) = fold_all(&mut fold, std::slice::from_ref(record));
        assert_eq!(outputs, session.outputs[record.position as usize - 1]);
        let state = fold.capture().expect("a state");
        assert!(query(&sample.module, &state, b"?").is_err(), "no sample answers this");
        assert_eq!((fold.state_hash(), state.hash()), (hash, hash));
        let role = if record.position % 2 == 0 { Role::Replay } else { Role::Leader };
        let rest = session.after(record.position);
        assert_eq!(rest_from(&sample.module, &state, role, rest), last, "from {}", record.position);
    }
}

#[test]
fn of_pong() {
    every_position(&samples::pong(), 100);
}

#[test]
fn of_arena() {
    every_position(&samples::arena(), 60);
}

#[test]
fn of_arena_at_sixty_ticks() {
    every_position(&samples::arena60(), 60);
}

#[test]
fn of_chess() {
    every_position(&samples::chess(), 200);
}

#[test]
fn of_echo() {
    every_position(&samples::echo(), 60);
}
