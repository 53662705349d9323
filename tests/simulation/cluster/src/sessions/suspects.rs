//! Messages that end the process which is about to append them, and what a worker does about that.

use ringside_core::ids::Slot;
use ringside_core::leadership::leader::SuspectTurn;
use ringside_core::leadership::suspect::Suspect;

use super::conditions::Condition;
use super::log::Item;
use super::machine::{Replica, Role};
use super::plant::Plant;
use super::world::World;

/// Processes that a message ends at most.
const MENDED: u64 = 4;

impl World {
    /// Whether a message waits, because it may end the process.
    pub fn holds_back(&mut self, slot: usize, replica: &mut Replica, player: usize, number: u64) -> bool {
        let (clock, is_old) = (self.clock(slot), self.machines[slot].is_old);
        let back_at = *replica.back.entry(player).or_insert(clock);
        let Some(Role::Leader(leader)) = &mut replica.role else { return false };
        if is_old || !leader.is_suspicious(clock, Slot(player as u16), back_at) {
            return false;
        }
        let of_player = replica.suspects.iter().filter(|held| usize::from(held.slot.0) == player);
        let last = of_player.map(|held| held.number).max().unwrap_or(0).max(replica.log.newest().last[player]);
        if number > last && leader.has_room_for_suspects() {
            let suspect = Suspect::new(Slot(player as u16), 1, number, &number.to_le_bytes());
            leader.handle_suspect(clock, suspect);
            replica.suspects.push_back(suspect);
        }
        true
    }

    /// Runs or skips the one whose turn it is.
    pub fn run_suspect(&mut self, slot: usize, session: usize, replica: &mut Replica, turn: SuspectTurn) {
        let (suspect, is_skipped) = match turn {
            SuspectTurn::Run(suspect) => (suspect, false),
            SuspectTurn::Skip(suspect) => (suspect, !self.is_planted(Plant::RunsAKillerAgain)),
        };
        replica.suspects.retain(|held| *held != suspect);
        let (player, number) = (usize::from(suspect.slot.0), suspect.number);
        if is_skipped {
            let ended = self.ended_leaders(session);
            self.checks.check(Condition::SkipsKillersAlone, ended >= 2, || {
                format!("m{slot} skips message {number} of player {player} of {session}: {ended} of its leaders ended")
            });
            self.say(slot, format_args!("{session}: message {number} of player {player} is skipped"));
        } else if self.dies_of(slot, session, replica, player, number) {
            return;
        }
        // What is skipped uses up its number as well.
        let _ = self.append(slot, replica, Item::Input { player, number });
    }

    /// Whether a message ends the process that is about to append it.
    pub fn dies_of(&mut self, slot: usize, session: usize, replica: &mut Replica, player: usize, number: u64) -> bool {
        let Some(ended) = self.poison.get_mut(&(session, player, number)) else { return false };
        let is_led = replica.leader().is_some_and(|leader| leader.may_append().is_ok());
        // By then somebody has mended what is wrong with it: machines of the release before remember nothing.
        let is_mended = *ended >= MENDED;
        if is_mended || !is_led || number <= replica.log.newest().last[player] {
            return false;
        }
        *ended += 1;
        let ended = *ended;
        self.say(slot, format_args!("{session}: message {number} of player {player} ends process {ended}"));
        let suspect = Suspect::new(Slot(player as u16), 1, number, &number.to_le_bytes());
        let is_warned = replica.warned.contains(&suspect);
        self.checks.check(Condition::KillsNoMore, !is_warned, || {
            format!("m{slot} was told of message {number} of player {player} of {session}, and runs it")
        });
        replica.is_dying = true;
        true
    }
}
