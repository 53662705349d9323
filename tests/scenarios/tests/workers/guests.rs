//! Guests that fail in the middle of a match at 60 ticks a second with eight bots: the match goes on without the input,
//! its author is told, everybody sees the pause, and the matches beside it on the worker keep their ticks.

use std::cell::Cell;

use bad_citizens::{Command, View};
use bytes::Bytes;
use ringside_client::{Event, Sender};
use ringside_core::ids::SessionId;
use ringside_core::limits;
use ringside_protocol::reason::Reason;
use ringside_test_support::wait::until;
use ringside_worker::SessionReport;

use crate::bench::Bench;
use crate::bots::{Bot, Bots, By};

const MATCH: &str = "bad-citizens/match";
const PLAYERS: usize = 8;

/// Matches of decent games on the same worker.
struct Neighbours {
    arena: SessionId,
    pong: SessionId,
    bots: Bots,
    before: Vec<SessionReport>,
}

impl Neighbours {
    async fn start(bench: &Bench) -> Neighbours {
        bench.give_a_core();
        bench.serve("arena60");
        bench.serve("pong");
        let arena = bench.create("arena60/beside").await;
        let config = postcard::to_stdvec(&pong::Config { points: 1000 }).unwrap();
        let pong = bench.create_with("pong/beside", Bytes::from(config), false).await;
        let mut bots = Vec::new();
        for number in 0..PLAYERS {
            let client = bench.join(&format!("fighter-{number}"), "arena60/beside").await;
            bots.push(Bot::new(client, By::Datagram, arena::bot::policy));
        }
        for player in ["ann", "bob"] {
            let client = bench.join(player, "pong/beside").await;
            bots.push(Bot::new(client, By::Datagram, pong::bot::policy));
        }
        let mut neighbours = Neighbours { arena, pong, bots: Bots::start(bots), before: Vec::new() };
        for session in [&neighbours.arena, &neighbours.pong] {
            let under_way = |report: &SessionReport| report.tick > 30 && report.usage.datagrams_in > 30;
            neighbours.before.push(bench.report_when("a match beside to be under way", session, under_way).await);
        }
        neighbours
    }

    /// They have lost no tick, no input and no player since they began.
    async fn assert_unharmed(self, bench: &Bench) {
        for (before, session) in self.before.iter().zip([&self.arena, &self.pong]) {
            let played = |report: &SessionReport| report.tick > before.tick + 60;
            let after = bench.report_when("the match beside to go on", session, played).await;
            assert_eq!(after.usage.slipped_us, before.usage.slipped_us, "{session} lost ticks");
            assert_eq!((after.usage.skipped, after.usage.dropped, after.pause), (0, 0, None), "{session}");
            assert!(after.players.iter().all(|player| player.connected), "{session}");
        }
        for bot in self.bots.stop().await {
            let seen = &bot.seen;
            assert!(seen.ticks.is_sorted() && seen.ticks.len() > 60, "{seen:?}");
            assert_eq!((seen.paused, seen.disconnected, &seen.last), (0, 0, &None), "{seen:?}");
        }
    }
}

/// A match of bad citizens who behave, for now.
struct Match {
    session: SessionId,
    culprit: Sender,
    /// Commands that the culprit's bot did not say of its own accord.
    said: Cell<u64>,
    bots: Bots,
}

impl Match {
    async fn start(bench: &Bench) -> Match {
        bench.serve("bad-citizens");
        let session = bench.create(MATCH).await;
        let mut bots = Vec::new();
        for number in 0..PLAYERS {
            let client = bench.join(&format!("citizen-{number}"), MATCH).await;
            bots.push(Bot::new(client, By::Message, |_, _: &View| Command::Behave));
        }
        let culprit = bots[0].client.sender();
        let bots = Bots::start(bots);
        let under_way = |report: &SessionReport| report.tick > 30 && report.usage.messages_in > 100;
        bench.report_when("the match to be under way", &session, under_way).await;
        Match { session, culprit, said: Cell::new(0), bots }
    }

    /// The culprit says it; answers its number.
    fn command(&self, command: &Command) -> u64 {
        self.said.set(self.said.get() + 1);
        self.culprit.send(postcard::to_stdvec(command).unwrap()).unwrap()
    }

    /// Waits until so many entries were skipped and the match has gone on for half a second since.
    async fn goes_on(&self, bench: &Bench, skipped: u64) {
        let resumed = |report: &SessionReport| report.usage.skipped == skipped && report.pause.is_none();
        let at = bench.report_when("the match to be rebuilt", &self.session, resumed).await.tick;
        bench.report_when("the match to go on", &self.session, |report| report.tick > at + 30).await;
    }

    /// Everything that was said had its effect once, but `rejected` of the culprit's. Answers the bots.
    async fn assert_complete(self, bench: &Bench, rejected: u64) -> Vec<Bot> {
        let mut bots = self.bots.stop().await;
        for bot in &mut bots {
            let tick = bench.report(&self.session).await.expect("the match goes on").tick;
            bot.settle(tick).await;
        }
        for (slot, bot) in bots.iter().enumerate() {
            let view: View = postcard::from_bytes(&bot.seen.view).unwrap();
            let (said, without_effect) = if slot == 0 { (self.said.get(), rejected) } else { (0, 0) };
            assert_eq!(view.commands[slot], bot.seen.sent + said - without_effect, "slot {slot}");
            assert!(bot.seen.ticks.is_sorted());
            assert_eq!((bot.seen.disconnected, &bot.seen.last), (0, &None));
        }
        bots
    }
}

async fn a_misdeed_costs_only_itself(command: Command, cause: Reason) {
    let bench = Bench::start();
    let neighbours = Neighbours::start(&bench).await;
    let game = Match::start(&bench).await;
    let number = game.command(&command);
    game.goes_on(&bench, 1).await;
    let session = game.session.clone();
    for (slot, bot) in game.assert_complete(&bench, 1).await.iter().enumerate() {
        assert_eq!((bot.seen.paused, bot.seen.resumed), (1, 1), "slot {slot}");
        let rejected = if slot == 0 { vec![(number, cause)] } else { vec![] };
        assert_eq!(bot.seen.rejected, rejected, "slot {slot}");
    }
    neighbours.assert_unharmed(&bench).await;
    let heard = async || (!bench.news.lock().unwrap().faults.is_empty()).then_some(());
    until("the node to hear of the fault", heard).await;
    let news = bench.news.lock().unwrap();
    assert!(matches!(&news.faults[..], [(id, _)] if *id == session), "its author hears of it: {:?}", news.faults);
    assert!(news.ended.is_empty() && news.moved.is_empty());
}

#[tokio::test]
async fn a_trap_costs_a_match_one_input_and_its_neighbours_nothing() {
    a_misdeed_costs_only_itself(Command::SendThenPanic, Reason::MessageTrapped).await;
}

#[tokio::test]
async fn a_runaway_call_costs_a_match_one_input_and_its_neighbours_nothing() {
    a_misdeed_costs_only_itself(Command::LoopStoring, Reason::MessageRanAway).await;
}

#[tokio::test]
async fn a_flood_costs_a_match_one_input_and_its_neighbours_nothing() {
    let flood = Command::FloodMessages(limits::CALL_OUTPUTS as u32 + 1, 8);
    a_misdeed_costs_only_itself(flood, Reason::MessageFlooded).await;
}

#[tokio::test]
async fn the_third_trap_in_a_minute_ends_the_match_with_a_reason() {
    let bench = Bench::start();
    let neighbours = Neighbours::start(&bench).await;
    let game = Match::start(&bench).await;
    for traps in 1..limits::TRAPS as u64 {
        game.command(&Command::Panic);
        game.goes_on(&bench, traps).await;
    }
    let last = game.command(&Command::Recurse);
    let why = format!("{} faults within a minute", limits::TRAPS);
    for (slot, bot) in game.bots.end().await.into_iter().enumerate() {
        let ended = Event::Detached { reason: Reason::SessionEnded, message: why.clone() };
        assert_eq!(bot.seen.last, Some(ended), "slot {slot}");
        assert_eq!((bot.seen.paused, bot.seen.resumed), (limits::TRAPS - 1, limits::TRAPS - 1), "slot {slot}");
        let told = bot.seen.rejected.iter().any(|&(number, cause)| (number, cause) == (last, Reason::MessageTrapped));
        assert_eq!(told, slot == 0, "its author hears of the last one, too");
    }
    neighbours.assert_unharmed(&bench).await;
    let ended = until("the node to hear of the end", async || {
        let ended = bench.news.lock().unwrap().ended.clone();
        (!ended.is_empty()).then_some(ended)
    });
    assert_eq!(ended.await, [(game.session, why)]);
}

/// How many steps take a call over its budget and not to its limit, on this machine, by trying.
async fn overrun(bench: &Bench, game: &Match) -> Command {
    let mut steps = 400_000;
    loop {
        let command = Command::Compute(steps);
        let said = game.command(&command);
        let done = |report: &SessionReport| report.players[0].last_input >= said;
        let report = bench.report_when("the call", &game.session, done).await;
        if report.usage.overruns > 0 {
            return command;
        }
        steps += steps / 8;
    }
}

#[tokio::test]
async fn three_overruns_move_a_match_to_the_penalty_worker_and_its_players_follow() {
    let bench = Bench::start();
    let neighbours = Neighbours::start(&bench).await;
    let game = Match::start(&bench).await;
    let command = overrun(&bench, &game).await;
    let has_moved = || bench.news.lock().unwrap().moved.contains(&game.session);
    // On a busy machine not every call that was found to take too long does so again.
    while !has_moved() {
        let said = game.command(&command);
        until("the call, or the match to move", async || {
            let report = bench.report(&game.session).await;
            let done = report.is_some_and(|report| report.players[0].last_input >= said);
            (done || has_moved()).then_some(())
        })
        .await;
    }
    let followed = |report: &SessionReport| report.players.iter().all(|player| player.connected);
    let at = bench.report_when("the players to follow", &game.session, followed).await.tick;
    bench.report_when("the match to go on there", &game.session, |report| report.tick > at + 60).await;
    let bots = game.assert_complete(&bench, 0).await;
    for bot in bots {
        assert_eq!(bot.seen.moved, 1);
        assert_eq!((bot.seen.paused, bot.seen.rejected.len()), (0, 0), "{:?}", bot.seen);
    }
    neighbours.assert_unharmed(&bench).await;
    assert!(bench.news.lock().unwrap().ended.is_empty());
}
