//! A game that is accepted and means harm, misdeed by misdeed: each costs its own entry, for the right reason, and the
//! match goes on.

use bad_citizens::{Command, RawCall, View};
use ringside_core::ids::Slot;
use ringside_core::limits;
use ringside_core::log::{Input, Outcome, SkipCause};
use ringside_test_support::guests;

use crate::trial::{Session, accepted};

/// Where no memory of a guest is.
const OUTSIDE: u32 = 0xffff_0000;

fn say(session: &mut Session<'_>, command: &Command) -> Outcome {
    let number = session.fold.slot(Slot(0)).map_or(0, |state| state.last_input) + 1;
    let body = ringside_guest::encode(command).into();
    session.run(Input::Message { slot: Slot(0), number, body }).expect("an entry")
}

/// Commands of slot 0 that had an effect, as everybody sees after a tick.
fn counted(session: &mut Session<'_>) -> u64 {
    session.time_us += 16_667;
    assert_eq!(session.run(Input::Tick), Some(Outcome::Applied));
    let view = session.fold.view(Slot(0)).expect("a view");
    ringside_guest::decode::<View>(view).expect("a view").commands[0]
}

/// Has each misdeed skipped for this cause in one match that goes on all the while.
fn all_skipped(misdeeds: &[Command], causes: &[SkipCause]) {
    let module = accepted(&guests::module("bad-citizens"));
    let mut session = Session::begin(&module);
    session.join(0);
    session.join(1);
    let mut good = 0;
    for misdeed in misdeeds {
        let outcome = say(&mut session, misdeed);
        let Outcome::Skipped(cause) = outcome else { panic!("{misdeed:?} was applied") };
        assert!(causes.contains(&cause), "{misdeed:?}: {cause:?}: {}", session.fault);
        assert_eq!(say(&mut session, &Command::Behave), Outcome::Applied);
        good += 1;
        assert_eq!(counted(&mut session), good, "{misdeed:?} had an effect");
    }
    session.replayed();
}

#[test]
fn endless_loops() {
    all_skipped(&[Command::Loop, Command::LoopStoring, Command::LoopCalling], &[SkipCause::Runaway]);
}

#[test]
fn deep_recursion_panics_and_addresses_outside() {
    let misdeeds = [Command::Recurse, Command::Panic, Command::ReadOutside, Command::SendThenPanic];
    all_skipped(&misdeeds, &[SkipCause::Trap]);
}

#[test]
fn memory_bombs() {
    all_skipped(&[Command::Hoard(1 << 30)], &[SkipCause::Trap]);
    // The limit of memory, or of time while it is filled.
    all_skipped(&[Command::HoardEverything], &[SkipCause::Trap, SkipCause::Runaway]);
}

#[test]
fn floods() {
    let many = limits::CALL_OUTPUTS as u32 + 1;
    let misdeeds = [
        Command::FloodMessages(many, 1),
        Command::FloodMessages(40, 60_000),
        Command::FloodMessages(1, limits::GUEST_VALUE_BYTES as u32 + 1),
        Command::FloodDatagrams(many, 1),
        Command::FloodDatagrams(1, limits::DATAGRAM_BYTES as u32 + 1),
        Command::FloodEvents(many, 1),
        Command::FloodSignals(many),
        Command::FloodTimers(limits::TIMERS as u32 + 1, 9),
        Command::BigStats(limits::STATS_BYTES as u32 + 1),
        Command::Finish(limits::GUEST_VALUE_BYTES as u32 + 1),
    ];
    all_skipped(&misdeeds, &[SkipCause::OutputQuota]);
}

#[test]
fn pointers_texts_and_numbers_that_mean_nothing() {
    let (at, length) = (OUTSIDE, 8);
    let misdeeds = [
        RawCall::Send(0, at, length),
        RawCall::Broadcast(at, length),
        RawCall::SendDatagram(0, at, length),
        RawCall::SetView(0, at, length),
        RawCall::SetViewAll(at, length),
        RawCall::SetStats(at, length),
        RawCall::Emit(at, length),
        RawCall::Log(1, at, length),
        RawCall::Signal(at, length, 0, 0),
        RawCall::Signal(1024, 4, at, length),
        RawCall::Kick(0, at, length),
        RawCall::Finish(at, length),
        RawCall::Broadcast(u32::MAX, 2),
        RawCall::LogBadText,
        RawCall::SignalBadText,
        RawCall::KickBadText(0),
        RawCall::Send(limits::SLOTS as u32, 1024, 1),
        RawCall::SendDatagram(u32::MAX, 1024, 1),
        RawCall::SetView(1 << 16, 1024, 1),
        RawCall::Kick(limits::SLOTS as u32, 1024, 1),
        RawCall::Log(4, 1024, 1),
    ];
    all_skipped(&misdeeds.map(Command::Raw), &[SkipCause::Contract]);
    let lengths = [
        RawCall::Send(0, 1024, u32::MAX),
        RawCall::Broadcast(1024, u32::MAX),
        RawCall::SetViewAll(1024, 1 << 31),
        RawCall::Log(1, 1024, u32::MAX),
        RawCall::Signal(1024, u32::MAX, 1024, 1),
        RawCall::Finish(1024, u32::MAX),
    ];
    all_skipped(&lengths.map(Command::Raw), &[SkipCause::OutputQuota]);
}

#[test]
fn what_only_looks_like_a_misdeed_is_none() {
    let module = accepted(&guests::module("bad-citizens"));
    let mut session = Session::begin(&module);
    session.join(0);
    let deeds = [
        Command::FloodLog(1_000, 10),
        Command::SendTo(200),
        Command::Kick(7),
        Command::TimerForEver(1),
        Command::Raw(RawCall::SetTimer(u64::MAX)),
        Command::Raw(RawCall::CancelTimer(77)),
        Command::Raw(RawCall::Now(100)),
        Command::Raw(RawCall::Random(100)),
        Command::ShowNans,
    ];
    for deed in &deeds {
        assert_eq!(say(&mut session, deed), Outcome::Applied, "{deed:?}: {}", session.fault);
    }
    assert_eq!(counted(&mut session), deeds.len() as u64);
    session.replayed();
}
