//! What a guest or a player may take from the sessions beside it: a call at a time, a share of the processor, a rate of
//! what it says. Calls take virtual time here, so that lateness is a number and not luck.

use std::time::Duration;

use bad_citizens::Command as Deed;
use bytes::Bytes;
use ringside_client::core::LinkId;
use ringside_core::ids::SessionId;
use ringside_core::limits;
use ringside_core::log::Input;
use ringside_protocol::frame::ClientFrame;
use ringside_sandbox::CallCost;
use ringside_simulation::worker::host::takes;
use ringside_worker::accounting::class_of;
use ringside_worker::limits::EVENT_BYTES;
use ringside_worker::{Event, PHASE, SERVICE_INTERVAL, WorkerConfig};

use crate::stage::{SECOND, Stage};

/// A call just within its budget.
const CALL: Duration = Duration::from_micros(1_900);

/// A player says several things at once.
fn say_all(stage: &mut Stage, id: LinkId, deeds: &[Deed]) {
    for (number, deed) in (1..).zip(deeds) {
        stage.say(id, &ClientFrame::Message { number, body: Bytes::from(ringside_guest::encode(deed)) });
    }
}

/// Matches of a decent game that share the worker.
fn neighbours(stage: &mut Stage) -> Vec<SessionId> {
    let sessions: Vec<SessionId> = (0..5).map(|_| stage.create("arena")).collect();
    for (number, session) in sessions.iter().enumerate() {
        stage.attach(&format!("fighter-{number}"), session);
    }
    sessions
}

/// No tick of a session was later than by a look at the grid and so many calls of others.
fn assert_on_time(stage: &mut Stage, session: &SessionId, calls: u32) {
    let most = class_of(PHASE + SERVICE_INTERVAL + CALL * calls);
    let usage = stage.report(session).usage;
    assert!(usage.lateness[..=most].iter().sum::<u64>() > 10, "{session} ticks");
    assert_eq!(usage.lateness[most + 1..].iter().sum::<u64>(), 0, "{session}: {:?}", usage.lateness);
    assert_eq!(usage.slipped_us, 0, "{session}");
}

fn timers_cost(input: &Input, _: &CallCost) -> CallCost {
    let wall = if matches!(input, Input::Timer { .. }) { CALL } else { Duration::ZERO };
    takes(CallCost { wall, cpu: wall, over_budget: false })
}

#[test]
fn a_guest_that_keeps_itself_busy_takes_turns_with_others_and_is_moved() {
    let mut stage = Stage::new(|config: &mut WorkerConfig| config.cost_of = timers_cost);
    let beside = neighbours(&mut stage);
    let hog = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &hog);
    let began = stage.now;
    say_all(&mut stage, id, &[const { Deed::TimerForEver(0) }; 8]);
    let moved = |stage: &mut Stage| {
        stage.events.iter().find_map(|event| matches!(event, Event::Overran(_)).then_some(stage.now))
    };
    let moved = stage.until("the hog to be moved", 10 * SECOND, moved);
    let seconds = (moved - began) / SECOND;
    assert_eq!(seconds, limits::BUDGET_OVERRUNS as u64 - 1, "each second that it takes more than its share of counts");
    for session in &beside {
        assert_on_time(&mut stage, session, 2);
    }
}

#[test]
fn a_session_within_its_share_of_the_processor_stays() {
    fn ticks_cost(input: &Input, _: &CallCost) -> CallCost {
        let share = limits::SESSION_CPU_US / 60 - 100;
        let wall = if matches!(input, Input::Tick) { Duration::from_micros(share) } else { Duration::ZERO };
        takes(CallCost { wall, cpu: wall, over_budget: false })
    }
    let mut stage = Stage::new(|config: &mut WorkerConfig| config.cost_of = ticks_cost);
    let session = stage.create("bad-citizens");
    stage.attach("ann", &session);
    stage.pass(10 * SECOND);
    assert_eq!(stage.report(&session).usage.overruns, 0);
}

/// Messages cost what they may, and their sessions are never moved for it.
fn messages_cost(input: &Input, _: &CallCost) -> CallCost {
    let wall = if matches!(input, Input::Message { .. }) { CALL } else { Duration::ZERO };
    takes(CallCost { wall, cpu: Duration::ZERO, over_budget: false })
}

#[test]
fn timers_leaves_and_joins_go_on_beside_messages_that_take_all_the_time() {
    let mut stage = Stage::new(|config: &mut WorkerConfig| config.cost_of = messages_cost);
    let clock = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &clock);
    let (out, _) = stage.attach("bob", &clock);
    say_all(&mut stage, id, &[Deed::TimerForEver(10_000)]);
    stage.pass(SECOND / 10);
    let loud: Vec<SessionId> = (0..8).map(|_| stage.create("bad-citizens")).collect();
    let players: Vec<LinkId> = loud.iter().map(|session| stage.attach("eve", session).0).collect();
    for &id in &players {
        say_all(&mut stage, id, &vec![Deed::Behave; 400]);
    }
    let before = stage.report(&clock);
    stage.pass(SECOND);
    let after = stage.report(&clock);
    let timers = (after.position - before.position) - (after.tick - before.tick);
    assert!(timers > 60, "{timers} of 100");
    stage.say(id, &ClientFrame::Message { number: 2, body: Bytes::from(ringside_guest::encode(&Deed::Kick(1))) });
    stage.until("the one who is kicked to hear of it", SECOND, |stage| stage.link(out).lost.is_some().then_some(()));
    stage.attach("dan", &clock);
    let waits = stage.report(&loud[7]).players[0].last_input < 400;
    assert!(waits, "all this time there were messages");
}

#[test]
fn timers_that_are_due_together_fire_together() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    let timers = 100;
    say_all(&mut stage, id, &[Deed::FloodTimers(timers, 100_000)]);
    stage.until("the message", SECOND, |stage| (stage.report(&session).players[0].last_input == 1).then_some(()));
    stage.pass(SECOND / 20);
    let before = stage.report(&session);
    stage.pass(SECOND / 20 + 2 * PHASE.as_micros() as u64);
    let after = stage.report(&session);
    let fired = (after.position - before.position) - (after.tick - before.tick);
    assert_eq!(fired, u64::from(timers));
}

#[test]
fn a_players_burst_takes_turns_with_other_sessions() {
    let mut stage = Stage::new(|config: &mut WorkerConfig| config.cost_of = messages_cost);
    let beside = neighbours(&mut stage);
    let session = stage.create("bad-citizens");
    let (id, attached) = stage.attach("ann", &session);
    let burst = attached.input_rate as usize;
    say_all(&mut stage, id, &vec![Deed::Behave; burst]);
    stage.until("the burst", 2 * SECOND, |stage| {
        (stage.report(&session).players[0].last_input == burst as u64).then_some(())
    });
    stage.pass(SECOND);
    for session in &beside {
        assert_on_time(&mut stage, session, 2);
    }
}

#[test]
fn timers_without_a_delay_wait_for_the_least() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    say_all(&mut stage, id, &[Deed::TimerForEver(0)]);
    stage.pass(SECOND / 10);
    let before = stage.report(&session);
    stage.pass(SECOND);
    let after = stage.report(&session);
    let timers = (after.position - before.position) - (after.tick - before.tick);
    // A ticking worker looks at its sessions on a grid that is wider than the delay.
    let (least, most) = (SECOND / PHASE.as_micros() as u64, SECOND / limits::TIMER_DELAY_US);
    assert!((least - 2..=most).contains(&timers), "{timers} timers in a second");
}

#[test]
fn what_guests_say_to_the_node_has_a_rate() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    let floods =
        [Deed::FloodLog(limits::LOG_LINES as u32, 10), Deed::FloodEvents(1_000, 10), Deed::FloodSignals(1_000)];
    let rate = u64::from(limits::NEWS_RATE);
    say_all(&mut stage, id, &floods);
    stage.pass(SECOND);
    let said = |stage: &Stage| {
        let is_news =
            |event: &&Event| matches!(event, Event::GuestLog { .. } | Event::GuestEvent { .. } | Event::Signal { .. });
        stage.events.iter().filter(is_news).count() as u64
    };
    let at_once = said(&stage);
    assert!((2 * rate..=2 * rate + 2).contains(&at_once), "{at_once} at once");
    let usage = stage.report(&session).usage;
    assert_eq!(at_once + usage.news_dropped, 2_000 + limits::LOG_LINES as u64, "the others are counted");
    stage.pass(SECOND);
    stage.say(id, &ClientFrame::Message { number: 4, body: Bytes::from(ringside_guest::encode(&floods[1])) });
    stage.pass(SECOND / 10);
    assert!((rate * 2..=rate * 2 + 50).contains(&(said(&stage) - at_once)), "two seconds later there is room again");
}

#[test]
fn what_waits_for_the_node_is_bounded_in_bytes() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    let long = limits::GUEST_VALUE_BYTES as u32 - 16;
    let flood = vec![Deed::FloodEvents(15, long); 60];
    for (number, deed) in (1..).zip(&flood) {
        stage.say(id, &ClientFrame::Message { number, body: Bytes::from(ringside_guest::encode(deed)) });
    }
    stage.deaf = true;
    stage.pass(SECOND);
    let held = stage.host.worker.held();
    assert!(held.event_bytes <= EVENT_BYTES && held.event_bytes + limits::GUEST_VALUE_BYTES > EVENT_BYTES, "{held:?}");
    assert!(stage.report(&session).usage.news_dropped > 0);
}
