//! Games that lie about themselves are refused with words; the sandbox stays whole.

use ringside_protocol::tier::{PartitionPolicy, Tier};
use ringside_sandbox::{Followers, UploadError};

use crate::play::{sandbox, toy};
use crate::toy::{Description, Toy};

#[track_caller]
fn refused(toy: &Toy, words: &str) {
    match sandbox().upload(&toy.wasm()) {
        Err(UploadError::Describe(said)) => assert!(said.contains(words), "`{words}` is not in: {said}"),
        other => panic!("{other:?}"),
    }
}

fn described(change: impl FnOnce(&mut Description)) -> Toy {
    let mut toy = Toy::default();
    change(&mut toy.description);
    toy
}

#[test]
fn the_honest_one() {
    let said = toy().description();
    assert_eq!((said.name.as_str(), said.tick_rate, said.min_players, said.max_players), ("toy", 20, 1, 8));
    assert_eq!((said.input_rate, said.view_rate, said.late_join), (1000, 60, true));
    assert_eq!((said.tier, said.partition_policy), (Tier::Volatile, PartitionPolicy::Consistent));
    assert_eq!(toy().imports().len(), 15);
    assert_eq!(toy().size_bytes(), Toy::default().wasm().len());
}

#[test]
fn lies() {
    for (name, words) in [("", "name"), ("Toy", "name"), ("-a", "name"), ("a/b", "name"), (&"a".repeat(41), "name")] {
        refused(&described(|said| said.name = name.into()), words);
    }
    refused(&described(|said| said.name_at = u32::MAX), "outside");
    refused(&described(|said| said.name_length = Some(u32::MAX)), "outside");
    refused(&described(|said| said.name_length = Some(1 << 17)), "name");
    refused(&described(|said| said.numbers[0] = 121), "tick-rate");
    refused(&described(|said| said.numbers[1] = 9), "min-players");
    refused(&described(|said| said.numbers[2] = 0), "players");
    refused(&described(|said| said.numbers[2] = 257), "max-players");
    refused(&described(|said| said.numbers[3] = 0), "input-rate");
    refused(&described(|said| said.numbers[4] = 121), "view-rate");
    refused(&described(|said| said.enums[0] = 3), "tier");
    refused(&described(|said| said.enums[1] = 2), "partition-policy");
    refused(&described(|said| said.enums[2] = 2), "late-join");
}

#[test]
fn misbehaviour() {
    let of = |describe| Toy { describe, ..Toy::default() };
    refused(&of("(return (i32.const -1))"), "aligned");
    refused(&of("(return (i32.const -4))"), "outside");
    refused(&of("(return (i32.const 0x3fffc))"), "outside");
    refused(&of("(return (i32.const 258))"), "aligned");
    refused(&of("unreachable"), "unreachable");
    refused(&of("(loop $l (br $l))"), "limit of time");
    refused(&of("(drop (call $deep (i32.const 0)))"), "stack");
    refused(&of("(drop (call $now))"), "now");
    refused(&of("(drop (call $random))"), "random");
    refused(&of("(call $broadcast (i32.const 0) (i32.const 0))"), "broadcast");
    refused(&of("(call $finish (i32.const 0) (i32.const 0))"), "finish");
    refused(&of("(drop (call $set-timer (i64.const 0)))"), "set-timer");
    refused(&of("(call $cancel-timer (i64.const 0))"), "cancel-timer");
    refused(&of("(call $kick (i32.const 0) (i32.const 0) (i32.const 0))"), "kick");
    sandbox().upload(&of("(call $log (i32.const 1) (i32.const 600) (i32.const 3))").wasm()).expect("`log` is allowed");
}

#[test]
fn what_followers_do_is_said_beside_the_description_or_not_at_all() {
    let of = |result, answer: &str| Toy {
        items: format!("(func (export \"describe-followers\") (result {result}) {answer})"),
        ..Toy::default()
    };
    let said = |toy: &Toy| sandbox().upload(&toy.wasm()).expect("a module").description().followers;
    assert_eq!(said(&Toy::default()), Followers::Replay, "as modules of earlier releases are");
    assert_eq!(said(&of("i32", "(i32.const 0)")), Followers::Replay);
    assert_eq!(said(&of("i32", "(i32.const 1)")), Followers::KeepLog);
    refused(&of("i32", "(i32.const 2)"), "describe-followers answers 2");
    refused(&of("i32", "unreachable"), "describe-followers fails");
    refused(&of("i32", "(loop $l (br $l)) (i32.const 0)"), "limit of time");
    match sandbox().upload(&of("i64", "(i64.const 0)").wasm()) {
        Err(error @ UploadError::Signature { .. }) => {
            assert!(error.to_string().contains("describe-followers"), "{error}")
        }
        other => panic!("{other:?}"),
    }
}
