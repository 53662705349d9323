//! What workers tell their node, and what it does about it.

use ringside_core::ids::{PlayerId, SessionId};
use ringside_protocol::reason::Reason;
use ringside_worker::relay::Relayed;
use ringside_worker::{Command, Event, MovedSession, Piece};

use super::World;
use crate::scheduler::Micros;
use crate::worker::conditions::Condition;
use crate::worker::plan::PEACE;
use crate::worker::plant::Plant;
use crate::worker::player::Game;
use crate::worker::watch::TurnSeen;

impl World<'_> {
    pub(super) fn node_hears(&mut self, worker: usize, seen: TurnSeen, event: Event) {
        let now = seen.ended;
        match event {
            Event::Created { session, result } => {
                self.trace.say(now, "node", format_args!("{session} is created: {result:?}"));
            }
            Event::Resolve { request, player, target, .. } => {
                let answer = self.node.resolve(now, &target, |worker| self.posts[worker].host.address);
                self.trace.say(now, "node", format_args!("{player} asks for {target:?}: {answer:?}"));
                // One answer in ten never comes, until peace.
                let lost = self.random.happens(0.1) && now < PEACE;
                if lost || self.plant == Some(Plant::NeverResolves) {
                    return;
                }
                let delay = self.random.below(20_000);
                self.say_later(now + delay, worker, Command::Resolved { request, answer });
            }
            Event::Overran(moved) => self.overran(worker, seen, moved),
            Event::Recorded { session, piece: Piece { frames, from, .. } } => {
                self.trace.say(now, "node", format_args!("{session} recorded {} bytes from {from}", frames.len()));
                let loses = self.plant == Some(Plant::LosesRecording) && from > 1;
                let pieces = self.node.recorded.entry(session).or_default();
                if !loses {
                    pieces.extend_from_slice(&frames);
                }
            }
            Event::Records(head) => self.trace.say(now, "node", format_args!("{} is recorded on", head.part().0)),
            Event::Joined { session, player } => {
                self.trace.say(now, "node", format_args!("{player} joined {session}"));
            }
            Event::Left { session, player } => self.left(now, &session, &player, seen),
            Event::Refused { session, player } => {
                self.trace.say(now, "node", format_args!("{player} was refused by {session}"));
            }
            Event::Ended { session, reason, .. } => {
                self.trace.say(now, "node", format_args!("{session} ended: {reason}"));
                self.node.places.remove(&session);
                for stage in self.stages.iter_mut().filter(|stage| stage.id == session) {
                    stage.is_over = true;
                }
            }
            Event::Idle { .. } | Event::Resting(_) | Event::Evicted { .. } => {}
            Event::GuestFault { session, position, message } => {
                self.trace.say(now, "node", format_args!("{session} failed at {position}: {message}"));
            }
            Event::Flushed(flushed) => flushed.done(),
            Event::Relay(order) => {
                // This node relays nobody, as one that reaches no leader: its players try otherwise.
                let closed = Relayed::Closed(Reason::Unreachable);
                let delay = self.random.below(20_000);
                self.say_later(now + delay, worker, Command::Relayed { relay: order.relay, what: closed });
            }
            // A node alone, which replicates nothing.
            Event::ToHome { .. }
            | Event::Chain { .. }
            | Event::Log(_)
            | Event::NotRestored { .. }
            | Event::Probe { .. }
            | Event::Promoted(_)
            | Event::Deposed { .. }
            | Event::Record { .. }
            | Event::Relayed { .. }
            | Event::Kept(_)
            | Event::Peer { .. } => {}
            Event::GuestLog { .. } | Event::GuestEvent { .. } | Event::Signal { .. } => {}
        }
    }

    fn left(&mut self, now: Micros, session: &SessionId, player: &PlayerId, seen: TurnSeen) {
        self.trace.say(now, "node", format_args!("{player} left {session}"));
        for stage in self.stages.iter_mut().filter(|stage| stage.id == *session) {
            stage.watch.left(player, seen, &mut self.checks);
        }
    }

    fn overran(&mut self, worker: usize, seen: TurnSeen, moved: Box<MovedSession>) {
        let id = moved.id().clone();
        self.trace.say(seen.ended, "node", format_args!("{id} overran its budget too often"));
        let game = self.stages.iter().find(|stage| stage.id == id).map(|stage| stage.game);
        self.checks.check(Condition::Moves, worker == 0 && game == Some(Game::Citizens), || {
            format!("{id} was given away by worker {worker}")
        });
        self.node.places.insert(id.clone(), 1);
        for stage in self.stages.iter_mut().filter(|stage| stage.id == id) {
            stage.watch.moved(seen);
        }
        if self.plant == Some(Plant::LosesMovedSession) {
            return;
        }
        let delay = self.random.below(5_000);
        let place = self.node.place(seen.ended, &id, 1, self.posts[1].host.address);
        self.say_later(seen.ended + delay, 1, Command::Adopt(moved));
        let later = delay + 1 + self.random.below(10_000);
        self.say_later(seen.ended + later, worker, Command::Departed(place));
    }
}
