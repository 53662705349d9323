//! Every decoder against broken input: each fuzz function with inputs made from honest ones by the seeded mutator.
//! What accepted uploads then do is played in `tests/scenarios`.

use ringside_core::envelope::{self, Kind};
use ringside_core::log::Input;
use ringside_protocol::fuzz::{Mutator, hammer};
use ringside_sandbox::fuzz::TARGETS;
use ringside_sandbox::validate::inspect;
use ringside_sandbox::{Increment, State};

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

/// What has changed in such a game in a while.
fn increment() -> Vec<u8> {
    let mut game = Play::with_players(2);
    let write = |game: &mut Play, page: u32, byte| {
        game.does(0, 'm', &[&(page * 4096).to_le_bytes()[..], &[byte]].concat());
    };
    (3..12).for_each(|page| write(&mut game, page, 9));
    let base = game.fold.capture().expect("a state");
    write(&mut game, 3, 0);
    game.does(1, 'v', b"seen");
    Increment::between(&base, &game.fold.capture().expect("a state")).expect("an increment").encode()
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
    let increment = increment();
    let contents = [content(&checkpoint), content(&increment)];
    let corpus = [Toy::default().wasm(), checkpoint, increment, described()];
    let corpus: Vec<Vec<u8>> = corpus.into_iter().chain(contents).collect();
    for (_, target) in TARGETS {
        corpus.iter().for_each(|honest| target(honest));
    }
    hammer(TARGETS, &corpus, 100_000);
}

#[test]
fn the_mutator_reaches_the_decoders_depths() {
    let (modules, contents) = ([Toy::default().wasm()], [content(&checkpoint())]);
    let increments = [content(&increment())];
    let mut mutator = Mutator::new(7);
    let (mut accepted, mut understood, mut followed) = (0, 0, 0);
    for _ in 0..2_000 {
        accepted += usize::from(inspect(&mutator.mutate(&modules)).is_ok());
        let sealed = envelope::seal(Kind::Checkpoint, 1, &mutator.mutate(&contents));
        understood += usize::from(State::decode(&sealed).is_ok());
        let sealed = envelope::seal(Kind::Increment, 1, &mutator.mutate(&increments));
        followed += usize::from(Increment::decode(&sealed).is_ok());
    }
    assert!((20..1_980).contains(&accepted), "{accepted} modules");
    assert!((20..1_980).contains(&understood), "{understood} checkpoints");
    assert!((20..1_980).contains(&followed), "{followed} increments");
}
