//! Asking where the session is before anything is opened.

use super::*;
use crate::core::Arrival;

/// One that is on its way to the place that it was told.
fn resolved() -> Bench {
    let mut bench = Bench::with(true);
    let any = "echo?any".parse::<TargetText>().unwrap().0;
    assert_eq!(bench.did(), [Did::Resolve(FIRST, any)]);
    bench.core.handle_resolved(bench.now, FIRST, Ok(place(7)));
    bench
}

#[test]
fn who_asks_first_goes_straight_there() {
    let mut bench = resolved();
    assert_eq!(bench.core.next_wake(), Some(bench.now + limits::CLIENT_REACH_TIMEOUT));
    bench.core.handle_resolved(bench.now, FIRST, Ok(place(8)));
    let open = bench.open(SECOND);
    assert!(open.ticket == Some(place(7).ticket) && !open.relay);
    bench.say(SECOND, ServerFrame::Attached(Box::new(attached())));
    assert!(matches!(bench.event(), Some(Event::Attached(there)) if there.arrival == Arrival::Resolved));
    // Who comes back goes where it was, then by a door: what it has is not for asking.
    bench.core.handle_lost(bench.now, SECOND, Lost::Transport("cut".into()));
    bench.did();
    bench.wake();
    assert!(bench.open(THIRD).ticket.is_none());
    bench.core.handle_lost(bench.now, THIRD, Lost::Transport("cut".into()));
    bench.did();
    bench.wake();
    assert_eq!(bench.did(), [Did::Connect(LinkId(3), address(1), None)]);
}

#[test]
fn where_nobody_answers_the_question_a_door_is_tried_at_once() {
    let mut bench = Bench::with(true);
    bench.did();
    bench.core.handle_lost(bench.now, FIRST, Lost::Transport("no route".into()));
    assert_eq!(bench.did(), [Did::Connect(SECOND, address(1), None)]);
    bench.core.handle_lost(bench.now, SECOND, Lost::Transport("no route".into()));
    bench.did();
    bench.wake();
    assert!(matches!(bench.did()[..], [Did::Resolve(THIRD, _)]), "it is asked again when that was in vain");
    // Nothing comes, not even a refusal.
    bench.wake();
    assert_eq!(bench.did(), [Did::Close(THIRD, Reason::Closed)]);
    bench.wake();
    assert_eq!(bench.did(), [Did::Connect(LinkId(3), address(2), None)]);
}

#[test]
fn an_answer_from_somebody_else_is_the_end() {
    let mut bench = Bench::with(true);
    bench.did();
    bench.core.handle_lost(bench.now, FIRST, Lost::Untrusted("another certificate".into()));
    assert!(matches!(bench.event(), Some(Event::Failed { .. })));
    assert_eq!(bench.did(), []);
}

#[test]
fn a_question_is_refused_as_an_open_frame_is() {
    let refused = |cause| Err(Refused { cause, message: "no".into(), retry_after_ms: 700 });
    let mut bench = Bench::with(true);
    bench.did();
    bench.core.handle_resolved(bench.now, FIRST, refused(Reason::NoSuchGame));
    assert!(matches!(bench.event(), Some(Event::Failed { reason: Reason::NoSuchGame, .. })));
    let mut bench = Bench::with(true);
    bench.did();
    bench.core.handle_resolved(bench.now, FIRST, refused(Reason::AddressLimit));
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::AddressLimit)]);
    assert!(bench.core.next_wake() >= Some(bench.now + Duration::from_millis(700)), "not before it may");
    bench.wake();
    assert!(matches!(bench.did()[..], [Did::Connect(SECOND, ..)]), "a door may have room");
}

#[test]
fn a_place_that_was_answered_and_is_wrong_is_no_dead_end() {
    // Its ticket is not taken there, as after a restart.
    let mut bench = resolved();
    bench.open(SECOND);
    bench.say(SECOND, refused(Reason::TicketInvalid));
    bench.did();
    bench.wake();
    assert!(bench.open(THIRD).ticket.is_none(), "a door knows");
    // It cannot be reached.
    let mut bench = resolved();
    bench.did();
    bench.wake();
    bench.did();
    bench.wake();
    assert!(bench.open(THIRD).relay);
    // The session has moved meanwhile: a redirect is one.
    let mut bench = resolved();
    bench.open(SECOND);
    bench.say(SECOND, ServerFrame::Redirect(place(9)));
    bench.open(THIRD);
    bench.say(THIRD, ServerFrame::Attached(Box::new(attached())));
    assert!(matches!(bench.event(), Some(Event::Attached(there)) if there.arrival == Arrival::Redirected(1)));
}
