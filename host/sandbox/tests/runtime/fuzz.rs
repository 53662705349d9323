//! Every decoder against broken input: each fuzz function with inputs made from honest ones by the seeded mutator.
//! What accepted uploads then do is played in `tests/scenarios`.

use ringside_core::envelope::{self, Kind};
use ringside_core::log::Input;
use ringside_protocol::fuzz::{Mutator, hammer};
use ringside_sandbox::State;
use ringside_sandbox::fuzz::TARGETS;
use ringside_sandbox::validate::inspect;

use crate::play::Play;
use crate::toy::Toy;

/// Where the toy's description lies.
const DESCRIPTION: u32 = 256;

/// A checkpoint of a game with players, timers and views.
fn checkpoint() -> Vec<u8> {
    let mut game = Play::with_players(2);
    game.does(0, 't', &9_u64.to_le_bytes());
    game.does(1, 'v', b"seen");
    game.run(Input::Tick);
    game.fold.capture().expect("a state").encode()
}

/// What a checkpoint's envelope holds.
fn content(checkpoint: &[u8]) -> Vec<u8> {
    checkpoint[envelope::HEADER_BYTES..checkpoint.len() - envelope::CHECKSUM_BYTES].to_vec()
}

/// The memory of a guest that describes itself, and where.
fn described() -> Vec<u8> {
    let mut memory = vec![0; 400];
    for (at, word) in (DESCRIPTION as usize..).step_by(4).zip([320_u32, 3, 20, 1, 8, 1000, 60]) {
        memory[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    memory[320..323].copy_from_slice(b"toy");
    [&DESCRIPTION.to_le_bytes()[..], &memory].concat()
}

#[test]
fn decoders_survive_broken_input() {
    let checkpoint = checkpoint();
    let corpus = [Toy::default().wasm(), content(&checkpoint), checkpoint, described()];
    for (_, target) in TARGETS {
        corpus.iter().for_each(|honest| target(honest));
    }
    hammer(TARGETS, &corpus, 100_000);
}

#[test]
fn the_mutator_reaches_the_decoders_depths() {
    let (modules, contents) = ([Toy::default().wasm()], [content(&checkpoint())]);
    let mut mutator = Mutator::new(7);
    let (mut accepted, mut understood) = (0, 0);
    for _ in 0..2_000 {
        accepted += usize::from(inspect(&mutator.mutate(&modules)).is_ok());
        let sealed = envelope::seal(Kind::Checkpoint, 1, &mutator.mutate(&contents));
        understood += usize::from(State::decode(&sealed).is_ok());
    }
    assert!((20..1_980).contains(&accepted), "{accepted} modules");
    assert!((20..1_980).contains(&understood), "{understood} checkpoints");
}
