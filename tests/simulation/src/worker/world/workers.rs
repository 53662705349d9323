//! Workers' turns: when they are due, what they bring, and what is looked at after each.

use ringside_protocol::limits;
use ringside_worker::limits::{EVENT_BYTES, EVENTS, HANDSHAKES, STREAM_WAITING_BYTES};

use super::{Happening, World};
use crate::scheduler::Micros;
use crate::worker::conditions::Condition;
use crate::worker::host::Done;
use crate::worker::plant::Plant;
use crate::worker::player::Game;
use crate::worker::watch::TurnSeen;

/// Turns without a reason within [`IDLE_WINDOW`] after which a worker counts as spinning.
const IDLE_TURNS: u32 = 64;
const IDLE_WINDOW: Micros = 10_000;
/// How often queues and tables are looked at.
const BOUNDS_EVERY: Micros = 20_000;

impl World<'_> {
    pub(super) fn arm_turn(&mut self, worker: usize, at: Micros) {
        let post = &mut self.posts[worker];
        let at = at.max(post.busy_until).max(post.stalled_until);
        if post.armed.is_none_or(|armed| at < armed) {
            post.armed = Some(at);
            self.scheduler.at(at, Happening::Turn(worker));
        }
    }

    pub(super) fn turn_due(&mut self, worker: usize) {
        let now = self.scheduler.now();
        let post = &mut self.posts[worker];
        if post.armed != Some(now) {
            return;
        }
        post.armed = None;
        if now < post.stalled_until {
            self.arm_turn(worker, now);
            return;
        }
        post.turns += 1;
        let mut done = post.host.turn(now);
        post.busy_until = done.ended;
        if self.plant == Some(Plant::Oversleeps) && post.turns.is_multiple_of(40) {
            done.next += 70_000;
        }
        if self.plant == Some(Plant::Spins) && now > 5_000_000 {
            done.next = done.ended;
        }
        self.after_turn(worker, done);
    }

    fn after_turn(&mut self, worker: usize, done: Done) {
        let from = self.posts[worker].host.address;
        for (to, bytes) in done.sent {
            self.send_down(done.ended, from, to, bytes);
        }
        let stalled_until = self.posts[worker].stalled_until;
        let seen = TurnSeen { begun: done.begun, ended: done.ended, complete: done.complete, stalled_until };
        for event in done.events {
            self.node_hears(worker, seen, event);
        }
        self.look_at_bounds(worker, done.begun);
        let rebuilds = self.look_at_sessions(worker, seen);
        self.look_at_sleep(worker, done.begun, done.was_busy || rebuilds);
        self.arm_turn(worker, done.next);
    }

    fn look_at_sleep(&mut self, worker: usize, begun: Micros, was_busy: bool) {
        let idle = &mut self.posts[worker].idle;
        if was_busy || begun > idle.0 + IDLE_WINDOW {
            *idle = (begun, 0);
        }
        idle.1 += u32::from(!was_busy);
        let turns = idle.1;
        self.checks.check(Condition::Sleeps, turns <= IDLE_TURNS, || {
            format!("worker {worker} took {turns} turns without a reason within {IDLE_WINDOW} µs")
        });
    }

    fn look_at_bounds(&mut self, worker: usize, begun: Micros) {
        let post = &mut self.posts[worker];
        if begun < post.bounds_at {
            return;
        }
        post.bounds_at = begun + BOUNDS_EVERY;
        let mut held = post.host.worker.held();
        if self.plant == Some(Plant::HoldsMore) {
            held.frame_bytes += 100 * post.turns as usize;
        }
        let frame_bytes = STREAM_WAITING_BYTES + limits::SERVER_FRAME_BYTES;
        let within = held.events <= EVENTS
            && held.event_bytes <= EVENT_BYTES
            && held.handshakes <= HANDSHAKES
            && held.resolving <= limits::UNATTACHED
            && held.unattached <= limits::UNATTACHED
            && held.waiting + held.resolving <= held.connections
            && held.departed <= self.stages.len()
            && held.frame_bytes <= frame_bytes
            && held.datagram_bytes <= ringside_worker::transport::DATAGRAM_SEND_BYTES;
        self.checks.check(Condition::Bounded, within, || format!("worker {worker} holds {held:?}"));
    }

    /// Looks at the sessions of a worker; answers whether one is paused for a rebuild.
    fn look_at_sessions(&mut self, worker: usize, seen: TurnSeen) -> bool {
        let mut rebuilds = false;
        for stage in 0..self.stages.len() {
            let id = &self.stages[stage].id;
            if self.node.places.get(id) != Some(&worker) {
                continue;
            }
            let Some(mut report) = self.posts[worker].host.show(seen.ended, id) else { continue };
            if self.plant == Some(Plant::ReportsThePast) && self.stages[stage].game == Game::Arena {
                match report.tick % 7 {
                    0 => self.past = Some(report.clone()),
                    3 => report = self.past.clone().unwrap_or(report),
                    _ => {}
                }
            }
            rebuilds |= report.pause.is_some();
            self.stages[stage].watch.look(report, seen, &mut self.checks);
        }
        rebuilds
    }
}
