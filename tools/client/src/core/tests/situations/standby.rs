//! A session's follower: when a client goes there, what it makes of what it hears, what it does when it hears nothing.

use super::*;

/// A client whose session has a follower at `place(2)`; it ticks if it shows views.
fn followed(tick_rate: u32) -> Bench {
    let mut bench = Bench::new();
    bench.open(FIRST);
    let attached = Attached { follower: Some(place(2)), tick_rate, ..attached() };
    bench.say(FIRST, ServerFrame::Attached(Box::new(attached)));
    assert!(matches!(bench.event(), Some(Event::Attached(_))));
    bench
}

/// The same with a connection that waits at the follower.
fn standing(tick_rate: u32) -> Bench {
    let mut bench = followed(tick_rate);
    bench.wake();
    let open = bench.open(SECOND);
    assert_eq!((open.mode, open.resume.map(|resume| resume.token)), (Mode::Standby, Some(Opaque::default())));
    bench.say(SECOND, ServerFrame::StandingBy { epoch: Some(epoch(1)) });
    bench
}

fn promoted() -> ServerFrame {
    let branch = Branch(epoch(2));
    ServerFrame::Attached(Box::new(Attached { epoch: epoch(2), branch, follower: None, ..kept() }))
}

fn rewound(tick: u64, last_input: u64, last_output: u64) -> ServerFrame {
    ServerFrame::Rewound(Rewound { branch: Branch(epoch(2)), tick, last_input, last_output })
}

#[test]
fn a_client_goes_to_the_follower_at_a_time_of_its_own() {
    let wait = |seed| {
        let mut bench = Bench::seeded(seed);
        bench.open(FIRST);
        let attached = Attached { follower: Some(place(2)), tick_rate: 0, ..attached() };
        bench.say(FIRST, ServerFrame::Attached(Box::new(attached)));
        let begun = bench.now;
        bench.wake();
        assert!(bench.did().iter().any(|did| matches!(did, Did::Connect(SECOND, to, _) if *to == address(2))));
        bench.now - begun
    };
    let waits: Vec<Duration> = (0..40).map(wait).collect();
    assert!(waits.iter().all(|wait| *wait < limits::CLIENT_STANDBY_SPREAD));
    assert!(waits.iter().max().unwrap() > &(limits::CLIENT_STANDBY_SPREAD / 2), "{waits:?}");
}

#[test]
fn a_follower_that_leads_is_where_the_session_goes_on() {
    let mut bench = standing(0);
    bench.core.send("kept".into()).unwrap();
    bench.core.send("lost".into()).unwrap();
    bench.say(FIRST, message(1));
    assert!(matches!(bench.event(), Some(Event::Message { number: 1, .. })));
    bench.did();
    let ServerFrame::Attached(attached) = promoted() else { unreachable!() };
    bench.say(SECOND, ServerFrame::Attached(Box::new(Attached { last_input: 1, ..*attached })));
    assert_eq!(bench.event(), Some(Event::Moved { address: address(2) }));
    bench.say(SECOND, rewound(0, 1, 1));
    assert_eq!(bench.event(), None, "nothing that was shown is withdrawn");
    bench.say(SECOND, message(1));
    assert_eq!(bench.event(), None, "it comes twice");
    let did = bench.did();
    assert!(did.contains(&Did::Close(FIRST, Reason::Moved)));
    let again = |did: &Did| matches!(did, Did::Frame(SECOND, ClientFrame::Message { number: 2, .. }));
    assert!(did.iter().any(again) && did.len() == 2, "{did:?}");
    // Nobody of the older epoch is heard any more.
    bench.say(FIRST, message(2));
    assert_eq!(bench.event(), None);
}

#[test]
fn what_is_withdrawn_is_told() {
    let mut bench = standing(0);
    for number in [1, 2] {
        bench.say(FIRST, message(number));
        assert!(matches!(bench.event(), Some(Event::Message { .. })));
    }
    bench.say(SECOND, promoted());
    bench.say(SECOND, rewound(0, 0, 1));
    assert!(matches!(bench.event(), Some(Event::Moved { .. })));
    assert!(matches!(bench.event(), Some(Event::Rewound { last_output: 1, .. })));
    bench.say(SECOND, message(2));
    assert!(matches!(bench.event(), Some(Event::Message { number: 2, .. })));
}

#[test]
fn silence_hurries_to_the_follower_and_then_to_a_door() {
    let mut bench = followed(60);
    bench.now += limits::CLIENT_SILENCE;
    bench.core.handle_timeout(bench.now);
    bench.open(SECOND);
    bench.say(SECOND, ServerFrame::StandingBy { epoch: None });
    let due = bench.now + limits::CLIENT_FAILOVER;
    assert_eq!(bench.core.next_wake(), Some(due));
    bench.wake();
    assert!(!bench.core.is_attached());
    assert_eq!(bench.event(), None, "the follower may still come to lead");
    bench.wake();
    assert!(matches!(bench.event(), Some(Event::Disconnected { .. })), "and has not");
    bench.wake();
    assert!(bench.did().iter().any(|did| matches!(did, Did::Connect(THIRD, ..))), "a door is asked");
}

#[test]
fn where_no_views_are_due_a_dead_connection_is_silence() {
    let mut bench = followed(0);
    // It lives for a long time, and says nothing.
    for _ in 0..20 {
        bench.core.handle_alive(bench.now, FIRST);
        bench.now += limits::CLIENT_SILENCE_AT_REST / 2;
    }
    bench.wake();
    bench.open(SECOND);
    bench.say(SECOND, ServerFrame::StandingBy { epoch: None });
    bench.core.handle_alive(bench.now, FIRST);
    let due = bench.now + limits::CLIENT_SILENCE_AT_REST + limits::CLIENT_FAILOVER;
    assert_eq!(bench.core.next_wake(), Some(due));
    bench.core.handle_alive(bench.now, SECOND);
    assert_eq!(bench.core.next_wake(), Some(due), "the follower's own life is none of the leader's");
    bench.wake();
    assert!(!bench.core.is_attached(), "the follower may know more");
}

#[test]
fn a_client_that_waits_nowhere_asks_a_door_when_the_leader_is_silent() {
    let mut bench = Bench::new();
    bench.core.standby = crate::core::standby::Standby::new(false);
    bench.open(FIRST);
    let attached = Attached { follower: Some(place(2)), tick_rate: 60, ..attached() };
    bench.say(FIRST, ServerFrame::Attached(Box::new(attached)));
    assert_eq!(bench.core.next_wake(), Some(bench.now + limits::CLIENT_SILENCE + limits::CLIENT_FAILOVER));
    bench.did();
    bench.wake();
    bench.wake();
    assert!(matches!(bench.did()[..], [Did::Close(FIRST, _), Did::Connect(SECOND, ..)]), "a door, and no follower");
}

#[test]
fn whoever_is_heard_is_not_looked_for() {
    let mut bench = standing(60);
    for _ in 0..20 {
        bench.now += limits::CLIENT_FAILOVER / 2;
        bench.say(FIRST, ServerFrame::Resumed);
        assert_eq!(bench.event(), None, "it was never paused");
        bench.core.handle_timeout(bench.now);
    }
    assert!(bench.core.is_attached());
    assert_eq!(bench.did(), []);
}

#[test]
fn a_lost_attachment_goes_on_at_the_follower_and_nobody_notices() {
    let mut bench = standing(0);
    bench.cut(FIRST);
    assert_eq!(bench.event(), None);
    bench.say(SECOND, promoted());
    assert!(matches!(bench.event(), Some(Event::Moved { .. })));
    bench.say(SECOND, rewound(0, 0, 0));
    assert!(bench.core.is_attached());
    assert_eq!(bench.event(), None);
}

#[test]
fn a_follower_that_cannot_be_reached_is_asked_for_later_and_later() {
    let mut bench = followed(0);
    let mut pauses = Vec::new();
    for number in 1..=7 {
        let begun = bench.now;
        bench.wake();
        let asked = |did: &Did| matches!(did, Did::Frame(FIRST, ClientFrame::AskFollower));
        if number > 1 {
            pauses.push(bench.now - begun);
            assert!(bench.did().iter().any(asked));
            bench.say(FIRST, ServerFrame::Follower(Some(place(2))));
            bench.wake();
        }
        bench.open(LinkId(number));
        bench.cut(LinkId(number));
    }
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
    assert_eq!((pauses[0], pauses[5]), (limits::CLIENT_STANDBY_AGAIN * 2, limits::CLIENT_STANDBY_AGAIN * 32));
    assert!(bench.core.is_attached());
    assert_eq!(bench.event(), None);
}

#[test]
fn another_follower_replaces_the_one_before_and_none_ends_it() {
    let mut bench = standing(0);
    bench.say(FIRST, ServerFrame::Follower(Some(place(2))));
    assert_eq!(bench.did(), [], "the same");
    bench.say(FIRST, ServerFrame::Follower(Some(place(3))));
    assert_eq!(bench.did(), [Did::Close(SECOND, Reason::Closed)]);
    bench.wake();
    bench.open(THIRD);
    bench.say(FIRST, ServerFrame::Follower(None));
    assert_eq!(bench.did(), [Did::Close(THIRD, Reason::Closed)]);
    assert_eq!(bench.core.next_wake(), None);
}

#[test]
fn a_move_to_where_a_connection_is_about_to_wait_takes_that_and_opens_no_second() {
    let mut bench = followed(0);
    bench.wake();
    assert!(matches!(bench.did()[..], [Did::Connect(SECOND, ..)]), "it goes to the follower");
    bench.say(FIRST, ServerFrame::Moving(place(2)));
    assert_eq!(bench.did(), [], "it is on its way there");
    bench.core.handle_connected(bench.now, SECOND);
    assert!(matches!(&bench.did()[..], [Did::Frame(SECOND, ClientFrame::Open(_))]));
    bench.say(SECOND, ServerFrame::Attached(Box::new(Attached { epoch: epoch(2), ..kept() })));
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Moved)]);
    assert_eq!(bench.event(), Some(Event::Moved { address: address(2) }));
}

#[test]
fn while_a_connection_goes_to_where_the_session_is_to_be_none_is_opened_to_the_follower() {
    let mut bench = followed(0);
    bench.say(FIRST, ServerFrame::Moving(place(2)));
    bench.open(SECOND);
    assert!(bench.core.next_wake().is_none_or(|at| at > bench.now + limits::CLIENT_STANDBY_SPREAD), "nothing is due");
    // The target is gone, and with it the follower: another is asked for.
    bench.say(SECOND, refused(Reason::NotHere));
    bench.did();
    bench.wake();
    assert_eq!(bench.did(), [Did::Frame(FIRST, ClientFrame::AskFollower)]);
}

/// A move to `place(3)` came to nothing, and the client waits there as well as at its follower, `place(2)`.
fn left_by_a_move() -> Bench {
    let mut bench = standing(0);
    bench.say(FIRST, ServerFrame::Moving(place(3)));
    bench.open(THIRD);
    bench.say(THIRD, ServerFrame::StandingBy { epoch: Some(epoch(1)) });
    bench
}

#[test]
fn who_waits_at_the_target_of_a_move_that_is_over_waits_there_once() {
    let mut bench = left_by_a_move();
    let ServerFrame::Attached(attached) = promoted() else { unreachable!() };
    let attached = Attached { branch: kept().branch, follower: Some(place(3)), tick_rate: 0, ..*attached };
    bench.say(SECOND, ServerFrame::Attached(Box::new(attached)));
    assert_eq!(bench.event(), Some(Event::Moved { address: address(2) }));
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Moved)], "the other stays");
    assert!(bench.core.next_wake().is_none_or(|at| at > bench.now + limits::CLIENT_STANDBY_SPREAD), "nothing is due");
    bench.say(THIRD, ServerFrame::Attached(Box::new(Attached { epoch: epoch(3), ..kept() })));
    assert_eq!(bench.event(), Some(Event::Moved { address: address(3) }));
    assert_eq!(bench.did(), [Did::Close(SECOND, Reason::Moved)]);
}

#[test]
fn a_follower_that_was_the_target_of_a_move_is_not_gone_to_twice() {
    let mut bench = left_by_a_move();
    bench.say(FIRST, ServerFrame::Follower(Some(place(3))));
    assert_eq!(bench.did(), [Did::Close(SECOND, Reason::Closed)]);
    bench.wake();
    assert_eq!(bench.did(), []);
    bench.cut(FIRST);
    assert_eq!(bench.event(), None, "the session may go on there");
    bench.say(THIRD, promoted());
    assert!(matches!(bench.event(), Some(Event::Moved { .. })));
}

#[test]
fn a_connection_that_crossed_another_of_the_same_client_is_made_anew() {
    const FOURTH: LinkId = LinkId(3);
    let replaced = || ServerFrame::Detached { reason: Reason::Replaced, message: String::new() };
    let crossed = || {
        let mut bench = standing(0);
        bench.core.reconnect(bench.now);
        bench.wake();
        bench.open(THIRD);
        bench.cut(THIRD);
        bench.wake();
        // This door is the follower's, which comes to lead meanwhile.
        assert!(bench.did().contains(&Did::Connect(FOURTH, address(2), None)));
        bench.core.handle_connected(bench.now, FOURTH);
        bench.say(SECOND, promoted());
        bench.say(SECOND, rewound(0, 0, 0));
        assert!(bench.core.is_attached());
        assert!(bench.did().contains(&Did::Close(FOURTH, Reason::Moved)));
        while bench.event().is_some() {}
        bench
    };
    let mut bench = crossed();
    bench.say(SECOND, replaced());
    assert!(matches!(bench.event(), Some(Event::Disconnected { .. })), "by itself");
    bench.wake();
    assert!(matches!(bench.did()[..], [Did::Close(SECOND, _), Did::Connect(LinkId(4), ..)]), "and is back");
    // Only the close code arrives.
    let mut bench = crossed();
    bench.core.handle_lost(bench.now, SECOND, Lost::Closed(Reason::Replaced, String::new()));
    assert!(matches!(bench.event(), Some(Event::Disconnected { .. })));
    // Later it is somebody else.
    let mut bench = crossed();
    bench.now += limits::CLIENT_SILENCE_AT_REST;
    bench.say(SECOND, replaced());
    assert!(matches!(bench.event(), Some(Event::Detached { reason: Reason::Replaced, .. })));
}

#[test]
fn a_connection_that_waits_may_be_ended_and_the_attachment_stays() {
    let mut bench = followed(0);
    bench.wake();
    bench.open(SECOND);
    bench.say(SECOND, ServerFrame::Detached { reason: Reason::Stopping, message: String::new() });
    assert!(bench.core.is_attached());
    assert_eq!(bench.event(), None);
}

#[test]
fn a_move_that_came_to_nothing_wakes_nobody_where_another_waits_at_the_follower() {
    let mut bench = left_by_a_move();
    bench.say(THIRD, refused(Reason::NotHere));
    let soon = bench.now + limits::CLIENT_STANDBY_AGAIN;
    assert!(bench.core.next_wake().is_none_or(|at| at > soon), "nothing is to be done");
    // Should that one end, there is.
    bench.cut(SECOND);
    assert!(bench.core.next_wake().is_some(), "another is asked for");
}

#[test]
fn whoever_waits_is_told_anew_of_a_branch_that_was_left() {
    let mut bench = left_by_a_move();
    let ServerFrame::Attached(attached) = promoted() else { unreachable!() };
    let attached = Attached { follower: Some(place(3)), tick_rate: 0, ..*attached };
    bench.say(SECOND, ServerFrame::Attached(Box::new(attached)));
    bench.say(SECOND, rewound(0, 0, 0));
    let did = bench.did();
    assert!(did.contains(&Did::Close(THIRD, Reason::Closed)), "it says that the client is on the other: {did:?}");
    bench.wake();
    assert_eq!(bench.open(LinkId(3)).resume.map(|resume| resume.branch), Some(Branch(epoch(2))));
}

#[test]
fn a_pause_ends_where_the_session_goes_on() {
    let mut bench = standing(0);
    bench.say(FIRST, ServerFrame::Paused);
    assert_eq!(bench.event(), Some(Event::Paused));
    bench.say(SECOND, promoted());
    bench.say(SECOND, rewound(0, 0, 0));
    assert_eq!(bench.event(), Some(Event::Moved { address: address(2) }));
    assert_eq!(bench.event(), Some(Event::Resumed));
    bench.say(SECOND, ServerFrame::Resumed);
    assert_eq!(bench.event(), None, "that is known");
}
