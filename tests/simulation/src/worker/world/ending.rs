//! How a run ends: when everybody plays or has had the time to, the sessions end, and what was recorded is replayed.

use ringside_core::ids::SessionId;
use ringside_worker::Command;

use super::{Happening, World};
use crate::worker::conditions::Condition;
use crate::worker::plan::{END, FAREWELL, PEACE};
use crate::worker::plant::Plant;
use crate::worker::player::Game;

impl World<'_> {
    /// Waits until everybody plays, then ends the sessions.
    pub(super) fn finale(&mut self) {
        let now = self.scheduler.now();
        let window = self.plan.seat_window + 11_000_000;
        let unsettled = self.unsettled();
        let seats_done = now > PEACE + window;
        if (unsettled.is_some() || !seats_done) && now < END - FAREWELL {
            self.scheduler.after(500_000, Happening::Finale);
            return;
        }
        self.checks.check(Condition::EverybodyPlays, unsettled.is_none(), || unsettled.unwrap_or_default());
        self.look_at_twins();
        self.trace.say(now, "deed", format_args!("the sessions end"));
        self.finale = Some(now);
        (0..self.players.len()).for_each(|player| self.look_at_rejections(player));
        for stage in 0..self.stages.len() {
            let id = self.stages[stage].id.clone();
            let Some(&worker) = self.node.places.get(&id) else { continue };
            let command =
                Command::End { session: id, if_empty: false, reason: "enough".into(), reply: Box::new(|_| ()) };
            self.say_later(now, worker, command);
        }
    }

    /// Somebody who should play and does not, or who waits for an answer.
    fn unsettled(&self) -> Option<String> {
        for (player, process) in self.players.iter().enumerate() {
            let name = &self.plan.cast[player].name;
            let Some(process) = process else { return Some(format!("{name} has not come back")) };
            let over = self.stages.iter().any(|stage| stage.game == process.game && stage.is_over);
            let replaced = self.newest.get(name).is_some_and(|&newest| newest != player);
            if process.is_gone || over || replaced {
                continue;
            }
            let unanswered = self.ledgers.get(name).map_or(0, |ledger| ledger.said() - ledger.replied());
            let waits = process.core.unacknowledged();
            let unanswered = if process.game == Game::Echo { unanswered } else { 0 };
            if !process.core.is_attached() || waits > 0 || unanswered > 0 {
                let attached = process.core.is_attached();
                return Some(format!("{name}: attached {attached}, {waits} unacknowledged, {unanswered} unanswered"));
            }
        }
        None
    }

    fn look_at_twins(&mut self) {
        for (name, &newest) in &self.newest {
            let attached = (0..self.players.len()).filter(|&player| {
                self.players[player].as_ref().is_some_and(|other| other.name == *name && other.core.is_attached())
            });
            let attached: Vec<usize> = attached.collect();
            let alone = attached.iter().all(|&player| player == newest);
            self.checks.check(Condition::NewestWins, alone, || format!("{name}: {attached:?} are attached"));
        }
    }

    /// What can be told only afterwards.
    pub(super) fn look_back(&mut self) {
        let finale = self.finale.is_some();
        self.checks.check(Condition::EverybodyPlays, finale, || "the run did not come to its end");
        for stage in 0..self.stages.len() {
            let (id, game, is_over) =
                (self.stages[stage].id.clone(), self.stages[stage].game, self.stages[stage].is_over);
            self.checks.check(Condition::EverybodyPlays, is_over, || format!("{id} did not end"));
            let mut bytes = self.node.recorded.remove(&id).unwrap_or_default();
            if self.plant == Some(Plant::SpoilsRecording) {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            self.replay(&id, game, &bytes);
        }
    }

    fn replay(&mut self, id: &SessionId, game: Game, bytes: &[u8]) {
        let now = self.scheduler.now();
        let seen = match ringside_sandbox::replay_recording(self.guests.module(game), bytes) {
            Ok(report) if report.agrees() && report.incomplete.is_none() && !report.checkpoints.is_empty() => {
                let line = format_args!("{id}: {} records fold to {}", report.records, report.last);
                self.trace.say(now, "replay", line);
                None
            }
            Ok(report) => Some(format!("{id}: {report:?}")),
            Err(error) => Some(format!("{id}: {error}")),
        };
        self.checks.check(Condition::Replays, seen.is_none(), || seen.unwrap_or_default());
    }
}
