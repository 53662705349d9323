//! Sessions written as recordings, and folded from their log in every way that there is.

use ringside_core::ids::{Epoch, Incarnation, SessionId, StateHash};
use ringside_core::limits;
use ringside_core::log::Record;
use ringside_core::recording::{self, EndReason, Header, Item};
use ringside_sandbox::{Fold, FoldOptions, Module, Role, State};

use crate::leader::{Leader, Session};
use crate::samples::Sample;

/// Plays so many steps with a script's players; `after` is called after each.
pub fn play(sample: &Sample, seed: u64, steps: u64, mut after: impl FnMut(u64, &mut Leader)) -> Session {
    let mut leader = Leader::begin(sample);
    let mut script = (sample.script)(seed);
    for step in 0..steps {
        for act in script.acts(step, steps, &leader) {
            if !leader.is_over() && leader.allows(&act) {
                leader.act(act);
            }
        }
        if leader.is_over() {
            break;
        }
        sample.step(&mut leader);
        after(step, &mut leader);
    }
    leader.finish()
}

/// The session's recording, in batches of the lengths that `batch` gives, cut where a checkpoint lies.
pub fn record(sample: &Sample, session: &Session, mut batch: impl FnMut() -> usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut append = |item: &Item| recording::append(&mut file, item).expect("a frame");
    let mut checkpoints = session.checkpoints.iter().peekable();
    append(&Item::Header(header(sample)));
    let mut rest = &session.log[..];
    while let Some(first) = rest.first() {
        let until_checkpoint = checkpoints.peek().map_or(rest.len(), |(at, _)| (at + 1 - first.position) as usize);
        let (records, after) = rest.split_at(batch().clamp(1, rest.len()).min(until_checkpoint));
        rest = after;
        let last = first.position + records.len() as u64 - 1;
        append(&Item::Batch { records: records.to_vec(), outputs: session.outputs[last as usize - 1] });
        while let Some(&(position, state)) = checkpoints.next_if(|(at, _)| *at <= last) {
            append(&Item::Checkpoint { position, state, full: None });
        }
    }
    append(&Item::End { position: session.log.len() as u64, reason: EndReason::SessionEnded });
    let mut whole = Vec::new();
    recording::begin(&mut whole);
    whole.append(&mut file);
    whole
}

fn header(sample: &Sample) -> Header {
    Header {
        session: SessionId {
            game: sample.name.parse().expect("a game"),
            key: "determinism".parse().expect("a key"),
            incarnation: Incarnation(1),
        },
        module: sample.module.hash(),
        rewriter: sample.module.rewriter_version(),
        epoch: Epoch { number: 1, node: 1, node_generation: 1 },
        guest_memory_bytes: limits::GUEST_MEMORY_BYTES as u64,
    }
}

/// State and outputs after the rest of a log, folded from a state that was written and read.
pub fn rest_from(module: &Module, state: &State, role: Role, rest: &[Record]) -> (StateHash, StateHash) {
    let read = State::decode(&state.encode()).expect("a state");
    let mut fold = Fold::restore(module, &read, FoldOptions { role, ..FoldOptions::default() }).expect("a fold");
    assert_eq!(fold.state_hash(), state.hash());
    fold_all(&mut fold, rest)
}

/// State and outputs after these records.
pub fn fold_all(fold: &mut Fold, records: &[Record]) -> (StateHash, StateHash) {
    let mut outputs = Vec::new();
    for record in records {
        outputs.clear();
        fold.replay(record, &mut outputs).expect("a record that folds");
    }
    (fold.state_hash(), fold.output_hash())
}
