//! A captured state is the whole state: restored, it goes on as if nothing had happened.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use ringside_core::envelope::{self, Kind};
use ringside_core::ids::{PlayerId, Slot};
use ringside_core::log::{Input, LeaveReason, Outcome, Record};
use ringside_protocol::fuzz::Mutator;
use ringside_sandbox::fuzz::fuzz_checkpoint;
use ringside_sandbox::{Fold, FoldError, FoldOptions, Role, State};

use crate::play::{LEADER, Play, REPLAY, deed, player, replay_into, replayed, sandbox, toy};
use crate::toy::Toy;

/// What may come in next; entries that cannot follow are left out when they are run.
#[derive(Debug, Clone)]
enum Move {
    Join(u16, &'static str),
    Leave(u16),
    Message(u16, char, Vec<u8>),
    Datagram(u16, char, Vec<u8>),
    Signal(Vec<u8>),
    Tick,
    Timer,
    Acknowledge(u16),
    Wait(u64),
}

fn deeds() -> impl Strategy<Value = (char, Vec<u8>)> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        8 => (prop::sample::select(vec!['e', 'v', 'V', 'b', 'd', 's', 'E', 'g']), bytes()),
        2 => bytes().prop_map(|text| ('l', [vec![1], text.iter().map(|b| b & 0x7f).collect()].concat())),
        2 => (0..5_u8).prop_map(|slot| ('k', vec![slot, b'o', b'u', b't'])),
        3 => (0..3000_u64).prop_map(|delay| ('t', delay.to_le_bytes().to_vec())),
        1 => (0..6_u64).prop_map(|id| ('c', id.to_le_bytes().to_vec())),
        2 => Just(('r', vec![])),
        1 => Just(('n', vec![])),
        3 => any::<u32>().prop_map(|n| ('G', n.to_le_bytes().to_vec())),
        2 => (2048..65_000_u32, any::<u8>())
            .prop_map(|(at, byte)| ('m', [at.to_le_bytes().to_vec(), vec![byte]].concat())),
        1 => (0..3_u32).prop_map(|pages| ('x', pages.to_le_bytes().to_vec())),
        1 => prop::sample::select(vec!['T', 'D', 'I', 'o', 'F']).prop_map(|letter| (letter, vec![])),
        1 => (0..3_u8).prop_map(|flag| ('q', vec![flag])),
    ]
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => (0..5_u16, prop::sample::select(vec!["ann", "ben", "xavier", "Trap"])).prop_map(|(s, n)| Move::Join(s, n)),
        1 => (0..5_u16).prop_map(Move::Leave),
        8 => (0..5_u16, deeds()).prop_map(|(s, (l, a))| Move::Message(s, l, a)),
        2 => (0..5_u16, deeds()).prop_map(|(s, (l, a))| Move::Datagram(s, l, a)),
        1 => deeds().prop_map(|(l, a)| Move::Signal(deed(l, &a))),
        3 => Just(Move::Tick),
        2 => Just(Move::Timer),
        2 => (0..5_u16).prop_map(Move::Acknowledge),
        2 => (0..2000_u64).prop_map(Move::Wait),
    ]
}

fn input(play: &Play, step: &Move) -> Option<Input> {
    let slot = |slot: &u16| play.fold.slot(Slot(*slot));
    Some(match step {
        Move::Join(at, name) if slot(at).is_none() => Input::Join { slot: Slot(*at), player: player(name) },
        Move::Leave(at) if slot(at).is_some() => Input::Leave { slot: Slot(*at), reason: LeaveReason::TimedOut },
        Move::Message(at, letter, arguments) if slot(at).is_some() => play.next_message(*at, *letter, arguments),
        Move::Datagram(at, letter, arguments) if slot(at).is_some() => {
            Input::Datagram { slot: Slot(*at), body: deed(*letter, arguments).into() }
        }
        Move::Signal(body) => Input::Signal { source: "toy/other".into(), body: body.clone().into() },
        Move::Tick => Input::Tick,
        Move::Timer => {
            let (id, _) = play.fold.next_timer().filter(|(_, due)| *due <= play.time_us)?;
            Input::Timer { id }
        }
        Move::Acknowledge(at) => {
            let outputs = &slot(at)?.outputs;
            Input::Acknowledge { slot: Slot(*at), up_to: outputs.first().max(outputs.last().saturating_sub(1)) - 1 }
        }
        _ => return None,
    })
}

/// Plays; each skip is followed by a rebuild from the newest checkpoint, which every seventh entry makes.
fn play_out(steps: &[Move]) -> (Play, Vec<Arc<State>>) {
    let mut play = Play::begin(toy());
    let mut states = vec![Arc::new(play.fold.capture().expect("a state"))];
    for step in steps {
        if let Move::Wait(us) = step {
            play.time_us += us;
        }
        let Some(input) = input(&play, step) else { continue };
        if let Outcome::Skipped(_) = play.run(input) {
            let from = (!play.log.len().is_multiple_of(3)).then(|| states.last().cloned()).flatten();
            play.rebuild(from);
        }
        states.push(Arc::new(play.fold.capture().expect("a state")));
    }
    (play, states)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn leader_replay_and_every_restored_fold_agree(steps in prop::collection::vec(moves(), 0..60)) {
        let (mut play, states) = play_out(&steps);
        let hashes = play.hashes();
        prop_assert_eq!(replayed(toy(), &play.log), hashes);
        prop_assert_eq!(states.last().expect("one").hash(), hashes.0);
        for (index, state) in states.iter().enumerate() {
            let decoded = State::decode(&state.encode()).expect("a state");
            prop_assert_eq!(decoded.hash(), state.hash());
            let options = if index % 2 == 0 { LEADER } else { REPLAY };
            let mut fold = Fold::restore(toy(), &decoded, options).expect("a fold");
            prop_assert_eq!(fold.state_hash(), state.hash());
            let rest: Vec<Record> = play.log.iter().filter(|r| r.position > state.position()).cloned().collect();
            prop_assert_eq!(replay_into(&mut fold, &rest), hashes, "from {}", state.position());
        }
    }
}

fn eventful() -> Play {
    let mut play = Play::with_players(3);
    play.does(0, 'G', &77_u32.to_le_bytes());
    play.does(1, 't', &9_u64.to_le_bytes());
    play.does(1, 'v', b"view");
    play.does(2, 's', b"stats");
    play.does(2, 'r', &[]);
    play.does(2, 'x', &2_u32.to_le_bytes());
    play.does(2, 'm', &[&(5 * 65_536_u32 + 17).to_le_bytes()[..], &[3]].concat());
    play.leave(1);
    play.run(Input::Tick);
    play
}

#[test]
fn capture_changes_nothing_and_restores_on_used_slots() {
    let mut play = eventful();
    let before = play.hashes();
    let state = play.fold.capture().expect("a state");
    assert_eq!(play.hashes(), before);
    assert_eq!(state.hash(), before.0);
    assert_eq!((state.position(), state.module()), (play.fold.position(), toy().hash()));
    // An instance whose slot was used before must not shine through.
    drop(play);
    for _ in 0..70 {
        let mut fold = Fold::restore(toy(), &state, LEADER).expect("a fold");
        assert_eq!(fold.state_hash(), before.0);
        fold.apply(1, &Input::Tick, &mut Vec::new()).expect("a tick");
        assert_ne!(fold.state_hash(), before.0);
    }
    let mut fresh = Fold::new(toy(), LEADER).expect("a fold");
    let mut offline = Fold::new(toy(), REPLAY).expect("a fold");
    assert_eq!(fresh.state_hash(), offline.state_hash());
}

#[test]
fn every_part_of_the_state_is_in_the_hash() {
    let mut hashes = vec![eventful().hashes().0];
    for step in [
        ('m', vec![0, 8, 0, 0, 1]),
        ('G', vec![1, 0, 0, 0]),
        ('r', vec![]),
        ('t', 5_u64.to_le_bytes().to_vec()),
        ('v', b"v".to_vec()),
        ('s', b"s".to_vec()),
        ('e', b"e".to_vec()),
        ('x', vec![1, 0, 0, 0]),
        ('B', vec![1, 0, 1, 0]),
    ] {
        let mut play = eventful();
        play.does(0, step.0, &step.1);
        hashes.push(play.hashes().0);
    }
    let mut later = eventful();
    later.time_us = 5;
    later.run(Input::Tick);
    hashes.push(later.hashes().0);
    let count = hashes.len();
    hashes.sort_by_key(|hash| hash.0);
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn states_of_others_are_refused() {
    let state = eventful().fold.capture().expect("a state");
    let other = sandbox().upload(&Toy { tick: "nop", ..Toy::default() }.wasm()).expect("a module");
    assert!(matches!(Fold::restore(&other, &state, LEADER), Err(FoldError::State(_))));
    let small = FoldOptions { role: Role::Leader, guest_memory_bytes: 5 << 16 };
    assert!(Fold::restore(toy(), &state, small).is_err(), "it does not fit that memory");
    let smaller = FoldOptions { role: Role::Leader, guest_memory_bytes: 3 << 16 };
    assert!(matches!(Fold::new(toy(), smaller), Err(FoldError::Instance(_))));
}

/// What decodes, however it came to be, can be restored or is refused, and is played on or refused.
#[test]
fn hostile_bytes() {
    let mut play = eventful();
    let honest = play.fold.capture().expect("a state").encode();
    let fresh = Play::begin(toy()).fold.capture().expect("a state").encode();
    let corpus = [honest.clone(), fresh];
    let mut mutator = Mutator::new(3);
    let mut understood = 0;
    for _ in 0..3000 {
        let mut bytes = mutator.mutate(&corpus);
        fuzz_checkpoint(&bytes);
        reseal(&mut bytes);
        fuzz_checkpoint(&bytes);
        let Ok(state) = State::decode(&bytes) else { continue };
        understood += 1;
        let Ok(mut fold) = Fold::restore(toy(), &state, REPLAY) else { continue };
        let mut outputs = Vec::new();
        let time = u64::MAX;
        for _ in 0..3 {
            if let Some((id, due)) = fold.next_timer() {
                assert!(
                    due > time
                        || fold.apply(time, &Input::Timer { id }, &mut outputs).is_ok()
                        || fold.ending().is_some()
                );
            }
            if fold.is_poisoned() {
                break;
            }
        }
        let _ = fold.apply(time, &Input::Datagram { slot: Slot(0), body: Bytes::from_static(b"ehello") }, &mut outputs);
    }
    assert!(understood > 100, "the mutator reaches beyond the checksum: {understood}");
}

/// Makes the envelope's length and checksum right again.
fn reseal(bytes: &mut Vec<u8>) {
    let checksum = envelope::seal(Kind::Checkpoint, 1, b"").len() - envelope::HEADER_BYTES;
    let end = bytes.len().saturating_sub(checksum);
    if let Some(payload) = bytes.get(envelope::HEADER_BYTES..end) {
        *bytes = envelope::seal(Kind::Checkpoint, 1, payload);
    }
}

#[test]
fn a_player_keeps_everything_over_a_restore() {
    let mut play = eventful();
    let slot = play.fold.slot(Slot(0)).cloned().expect("joined");
    let state = play.fold.capture().expect("a state");
    let fold = Fold::restore(toy(), &state, LEADER).expect("a fold");
    let restored = fold.slot(Slot(0)).expect("joined");
    assert_eq!(restored.player, "player-0".parse::<PlayerId>().expect("a name"));
    assert_eq!((restored.last_input, restored.joined), (slot.last_input, slot.joined));
    assert_eq!(restored.outputs, slot.outputs);
    assert_eq!((restored.view(), restored.view_position), (slot.view(), slot.view_position));
    assert_eq!(fold.stats(), play.fold.stats());
    assert_eq!(fold.next_timer(), play.fold.next_timer());
    assert_eq!(fold.free_slot(), Some(Slot(1)));
}
