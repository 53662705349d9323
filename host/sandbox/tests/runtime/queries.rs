//! Questions to a state touch no session.

use ringside_core::limits;
use ringside_core::log::Input;
use ringside_sandbox::{FoldError, QueryError, State, query};

use crate::play::{Play, sandbox, toy};
use crate::toy::Toy;

fn session() -> (Play, State) {
    let mut play = Play::with_players(2);
    play.does(0, 'r', &[]);
    play.run(Input::Tick);
    play.run(Input::Tick);
    play.time_us = 77;
    play.does(0, 'e', b"x");
    let state = play.fold.capture().expect("a state");
    (play, state)
}

fn fault(state: &State, question: &[u8]) -> String {
    match query(toy(), state, question) {
        Err(QueryError::Fault(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_is_of_the_state_and_changes_nothing() {
    let (mut play, state) = session();
    let before = play.hashes();
    let answer = query(toy(), &state, b"?").expect("an answer");
    let word = |at: usize| u64::from_le_bytes(answer[at..at + 8].try_into().expect("eight"));
    assert_eq!((word(0), word(8) as u32, word(16)), (2, 1, 77), "ticks, starts, session time");
    let mut generator = ringside_core::random::Generator::new([9; 32]);
    generator.draw();
    assert_eq!(word(24), generator.draw(), "the draw that the session would have next");
    assert_eq!(query(toy(), &state, b"?"), Ok(answer));
    assert_eq!(query(toy(), &state, b"x"), Err(QueryError::Refused("no thanks".into())));
    assert!(fault(&state, b"T").contains("unreachable"));
    assert!(fault(&state, b"R").contains("stack"));
    for kind in 0..7_u8 {
        assert!(fault(&state, &[b'L', kind]).contains("limit of time"), "{kind}");
    }
    assert_eq!(play.hashes(), before);
    assert_eq!(state.hash(), before.0);
    play.does(0, 'r', &[]);
}

#[test]
fn everything_but_reading_is_forbidden() {
    let (_, state) = session();
    for which in [0, 1, 2, 3, 4, 5, 6, 8, 9, 10] {
        let words = fault(&state, &[&[b'p', which][..], &[0; 16]].concat());
        assert!(words.contains("query must not use"), "{which}: {words}");
    }
    assert!(fault(&state, &[&b"t"[..], &[0; 8]].concat()).contains("set-timer"));
    assert!(fault(&state, &[&b"c"[..], &[0; 8]].concat()).contains("cancel-timer"));
    query(toy(), &state, b"l\x01a line").expect("`log` is allowed");
    query(toy(), &state, &[&b"m"[..], &[0, 64, 0, 0, 1]].concat()).expect("and so is its own memory");
}

#[test]
fn what_does_not_fit() {
    let (_, state) = session();
    assert!(fault(&state, &vec![b'?'; limits::GUEST_VALUE_BYTES + 1]).contains("bytes"));
    let other = sandbox().upload(&Toy { tick: "nop nop", ..Toy::default() }.wasm()).expect("a module");
    assert!(matches!(query(&other, &state, b"?"), Err(QueryError::Fold(FoldError::State(_)))));
}
