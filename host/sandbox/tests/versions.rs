//! A program that has a later version of checkpoints beside the first one. A process is such a program or not, so this is one
//! test in a process of its own.

use ringside_core::envelope;
use ringside_core::log::Input;
use ringside_sandbox::checkpoint_versions::{self, For, Later};
use ringside_sandbox::{CHECKPOINT_VERSION, Increment, State, StateError};

#[path = "support/play.rs"]
#[allow(dead_code)]
mod play;
#[path = "support/toy.rs"]
#[allow(dead_code)]
mod toy;

use play::Play;

fn write(game: &mut Play, page: u32, byte: u8) {
    game.does(0, 'm', &[&(page * 4096).to_le_bytes()[..], &[byte]].concat());
}

#[test]
fn the_lowest_version_counts_that_anybody_is_to_read() {
    let next = CHECKPOINT_VERSION + 1;
    let mut game = Play::with_players(1);
    (3..12).for_each(|page| write(&mut game, page, 9));
    let mut capture = |byte: Option<u8>| {
        byte.into_iter().for_each(|byte| write(&mut game, 3, byte));
        game.run(Input::Tick);
        game.fold.capture().expect("a state")
    };
    let (first, second, third) = (capture(None), capture(Some(1)), capture(Some(2)));
    let of_first_release = first.encode();
    assert!(second.encode_after(Some(&first)).base.is_some(), "both were written in one version");

    let later = Later {
        version: next,
        write: |payload| payload.into_iter().map(|byte| !byte).collect(),
        read: |payload| Some(payload.iter().map(|byte| !byte).collect()),
    };
    assert!(checkpoint_versions::adopt(later) && !checkpoint_versions::adopt(later));
    assert_eq!(checkpoint_versions::versions(), (CHECKPOINT_VERSION, next));
    let written = |state: &State| envelope::version(&state.encode());
    assert_eq!((written(&second), checkpoint_versions::writes()), (Some(next), next));
    assert_eq!(third.encode_after(Some(&second)).base, None, "of a later version there are none");
    for bytes in [&of_first_release, &first.encode()] {
        assert_eq!(State::decode(bytes).expect("both are read").hash(), first.hash());
    }

    // Two who read less: while either is there nothing later is written, and neither takes the other's place.
    checkpoint_versions::write_at_most(For::Predecessor, Some(CHECKPOINT_VERSION));
    checkpoint_versions::write_at_most(For::Cluster, Some(next));
    assert_eq!(written(&third), Some(CHECKPOINT_VERSION));
    checkpoint_versions::write_at_most(For::Cluster, Some(CHECKPOINT_VERSION));
    checkpoint_versions::write_at_most(For::Predecessor, None);
    assert_eq!(written(&third), Some(CHECKPOINT_VERSION));

    // Whoever reads the first version alone could do nothing with an increment of what is in a later one.
    assert_eq!(third.encode_after(Some(&second)).base, None);
    let read = State::decode(&of_first_release).expect("it is read");
    assert_eq!(third.encode_after(Some(&read)).base, Some(first.position()));
    let (fourth, fifth) = (capture(Some(4)), capture(Some(5)));
    assert_eq!(written(&fourth), Some(CHECKPOINT_VERSION));
    let increment = fifth.encode_after(Some(&fourth));
    assert_eq!(increment.base, Some(fourth.position()), "from the next one on there are again");
    assert!(Increment::decode(&increment.bytes).and_then(|increment| increment.apply(&fourth)).is_ok());

    checkpoint_versions::write_at_most(For::Cluster, None);
    assert_eq!(written(&fifth), Some(next));

    // What neither release reads is named, with what is read.
    let odd = envelope::seal(envelope::Kind::Checkpoint, next + 1, b"?");
    let error = State::decode(&odd).expect_err("nobody reads it");
    let what = "checkpoint";
    assert_eq!(error, StateError::Version { what, found: next + 1, oldest: CHECKPOINT_VERSION, newest: next });
    assert!(error.to_string().starts_with("the checkpoint has version 3, this node reads 1 to 2: "), "{error}");
    // Damage that only looks like it is not.
    let mut damaged = of_first_release.clone();
    damaged[5] ^= 8;
    assert!(matches!(State::decode(&damaged), Err(StateError::Envelope(_))));
    let odd = envelope::seal(envelope::Kind::Increment, 2, b"?");
    let error = State::decode_after(Some(&third), &odd).expect_err("nobody reads it");
    assert!(error.to_string().starts_with("the increment has version 2, this node reads 1 to 1: "), "{error}");
}
