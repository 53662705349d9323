//! What goes wrong, or is done, as the plan says.

use std::time::Duration;

use ringside_core::limits;
use ringside_core::log::Input;
use ringside_protocol::reason::Reason;
use ringside_sandbox::CallCost;

use super::{Happening, World};
use crate::worker::host::takes;
use crate::worker::path::Quality;
use crate::worker::plan::{Cast, Deed, END, PEACE};
use crate::worker::player::Game;

impl World<'_> {
    pub(super) fn deed(&mut self, deed: Deed) {
        let now = self.scheduler.now();
        self.trace.say(now, "deed", format_args!("{deed:?}"));
        match deed {
            Deed::Cut { player, length } => {
                if let Some(process) = self.players[player].as_mut() {
                    process.path.cut(now + length);
                }
            }
            Deed::Crash { player, down } => {
                let is_here = self.players[player].as_ref().is_some_and(|process| !process.is_gone);
                if is_here && !self.players[player].as_ref().is_some_and(|process| process.core.is_done()) {
                    self.players[player] = None;
                    self.loses_connection(player);
                    self.scheduler.after(down, Happening::Begin(player));
                }
            }
            Deed::Vanish { player, closes } => {
                if let Some(process) = self.players[player].as_mut() {
                    process.is_gone = true;
                    if closes {
                        process.core.close();
                    } else {
                        process.path.cut(END);
                    }
                    self.drive(player);
                }
            }
            Deed::Twin { player } => {
                let cast = Cast { quality: Quality::CALM, ..self.plan.cast[player].clone() };
                self.plan.cast.push(cast);
                self.players.push(None);
                self.start(self.players.len() - 1);
            }
            Deed::Reconnect { player } => {
                let at = self.now();
                if let Some(process) = self.players[player].as_mut() {
                    process.core.reconnect(at);
                    self.drive(player);
                }
            }
            Deed::Leave { player } => {
                let at = self.now();
                if let Some(process) = self.players[player].as_mut() {
                    process.is_gone = true;
                    process.core.leave(at);
                    self.drive(player);
                }
            }
            Deed::Burst { player, messages } => self.burst(player, messages),
            Deed::Stall { worker, length } => {
                let post = &mut self.posts[worker];
                post.stalled_until = post.stalled_until.max(now + length);
            }
            Deed::Misdeed { player, kind } => self.misdeed(player, kind),
            Deed::Overwork { player } => self.overwork(player),
        }
    }

    fn burst(&mut self, player: usize, messages: u64) {
        let Some(process) = self.players[player].as_mut() else { return };
        match process.game {
            Game::Echo => self.speak(player, messages),
            Game::Citizens => {
                let flood = bad_citizens::Command::FloodMessages(40, 2000);
                self.command(player, &flood, None);
            }
            Game::Arena | Game::Pong => {
                for _ in 0..messages {
                    let _ = process.core.send_datagram(&[0]);
                }
            }
        }
        self.drive(player);
    }

    fn misdeed(&mut self, player: usize, kind: u64) {
        let attached = self.players[player].as_ref().is_some_and(|process| process.core.is_attached());
        let over = self.stages.iter().any(|stage| stage.game == Game::Citizens && stage.is_over);
        if !attached {
            if !over && self.scheduler.now() < PEACE {
                self.scheduler.after(200_000, Happening::Deed(Deed::Misdeed { player, kind }));
            }
            return;
        }
        let (command, reason) = match kind {
            0 => (bad_citizens::Command::Panic, Reason::MessageTrapped),
            1 => (bad_citizens::Command::Loop, Reason::MessageRanAway),
            2 => (bad_citizens::Command::FloodMessages(5000, 10), Reason::MessageFlooded),
            _ => (bad_citizens::Command::SendThenPanic, Reason::MessageTrapped),
        };
        self.command(player, &command, Some(reason));
        self.drive(player);
    }

    fn overwork(&mut self, player: usize) {
        let citizens = self.stages.iter().find(|stage| stage.game == Game::Citizens);
        let moved = citizens.is_none_or(|stage| stage.is_over || self.node.places.get(&stage.id) == Some(&1));
        if !moved && self.scheduler.now() < END / 2 {
            self.command(player, &overwork(), None);
            self.drive(player);
            self.scheduler.after(400_000, Happening::Deed(Deed::Overwork { player }));
        }
    }

    pub(super) fn peace(&mut self) {
        let now = self.scheduler.now();
        self.trace.say(now, "deed", format_args!("peace"));
        for process in self.players.iter_mut().flatten().filter(|process| !process.is_gone) {
            process.path.mend();
        }
        self.scheduler.after(1_000_000, Happening::Finale);
    }
}

/// The command that stands for a call over its budget.
fn overwork() -> bad_citizens::Command {
    bad_citizens::Command::Compute(424_242)
}

/// What calls cost is decided by what they were told, not by what they took: messages enough that some turns end early,
/// the rest next to nothing.
pub(super) fn cost_of(input: &Input, _: &CallCost) -> CallCost {
    let Input::Message { body, .. } = input else { return CallCost::default() };
    let wall = Duration::from_micros(200 * (body.len() as u64 % 8));
    let over_budget = body.len() < 8 && *body == ringside_guest::encode(&overwork());
    takes(CallCost { wall, cpu: Duration::ZERO, over_budget })
}

/// The same with a bug planted: somebody else pays.
pub(super) fn cost_of_another(input: &Input, cost: &CallCost) -> CallCost {
    let blamed = matches!(input, Input::Datagram { .. });
    let cost = cost_of(input, cost);
    CallCost { over_budget: cost.over_budget || blamed, ..cost }
}

const _: () = assert!(limits::BUDGET_WINDOW_US >= 3 * 400_000, "three computations fit the window");
