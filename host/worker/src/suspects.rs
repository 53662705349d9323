//! Messages that wait because they may kill the process ([`ringside_core::leadership::suspect`]): held back when they come,
//! run one a turn when the session's leader says so.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use ringside_core::ids::Slot;
use ringside_core::leadership::leader::SuspectTurn;
use ringside_core::leadership::suspect::Suspect;
use ringside_core::log::{Input, SkipCause};

use crate::accounting::add;
use crate::session::Session;
use crate::worker::Worker;

/// What is held back of a session, in the order in which it came: bounded by
/// [`SUSPECTS`](ringside_core::limits::SUSPECTS).
#[derive(Debug, Default)]
pub(crate) struct Suspected(VecDeque<(Suspect, Bytes)>);

impl Suspected {
    /// Whether something of a slot's player waits.
    pub fn holds(&self, slot: Slot) -> bool {
        self.0.iter().any(|(suspect, _)| suspect.slot == slot)
    }

    /// The number of the last message of a slot's player that waits.
    pub fn last(&self, slot: Slot) -> Option<u64> {
        self.0.iter().rev().find(|(suspect, _)| suspect.slot == slot).map(|(suspect, _)| suspect.number)
    }

    /// A slot's player has left.
    pub fn drop_of(&mut self, slot: Slot) {
        self.0.retain(|(suspect, _)| suspect.slot != slot);
    }

    fn take(&mut self, suspect: &Suspect) -> Option<Bytes> {
        let at = self.0.iter().position(|(held, _)| held == suspect)?;
        self.0.remove(at).map(|(_, body)| body)
    }
}

impl Session {
    /// Whether what a slot's player says now is held back.
    pub(crate) fn is_suspicious(&self, now: Instant, slot: Slot) -> bool {
        let Some(lead) = &self.lead else { return false };
        let seat = self.seats.get(usize::from(slot.0)).and_then(Option::as_ref).filter(|seat| seat.was_there);
        seat.is_some_and(|seat| lead.core.is_suspicious(lead.us(now), slot, lead.us(seat.back_at.unwrap_or(now))))
    }

    /// Whether a slot's player is left unread, because too much is held back.
    pub(crate) fn holds_too_much(&self, now: Instant, slot: Slot) -> bool {
        let is_full = self.lead.as_ref().is_some_and(|lead| !lead.core.has_room_for_suspects());
        is_full && self.is_suspicious(now, slot)
    }

    /// Holds a message back.
    pub(crate) fn hold_back(&mut self, now: Instant, slot: Slot, number: u64, body: Bytes) {
        let Some(joined) = self.fold.slot(slot).map(|state| state.joined) else { return };
        let Some(lead) = &mut self.lead else { return };
        let suspect = Suspect::new(slot, joined, number, &body);
        lead.core.handle_suspect(lead.us(now), suspect);
        self.suspects.0.push_back((suspect, body));
    }
}

impl Worker {
    /// Runs the next message that was held back, if it may run.
    pub(crate) fn run_suspect(&mut self, now: Instant, index: usize) {
        let Some(session) = self.sessions[index].as_mut().filter(|session| !session.is_paused()) else { return };
        let Some(lead) = &mut session.lead else { return };
        let was_full = !lead.core.has_room_for_suspects();
        let us = lead.us(now);
        let Some(turn) = lead.core.next_suspect(us) else { return };
        let (SuspectTurn::Run(suspect) | SuspectTurn::Skip(suspect)) = turn;
        let Some(body) = session.suspects.take(&suspect) else { return self.flush_later(index) };
        let Suspect { slot, number, .. } = suspect;
        let input = Input::Message { slot, number, body };
        let ran = match turn {
            SuspectTurn::Run(_) => session.run(now, input, &mut self.outputs),
            SuspectTurn::Skip(_) => {
                let player = session.fold.slot(slot).map_or_else(String::new, |state| state.player.to_string());
                tracing::error!(
                    session = %session.id, player, number,
                    module = %session.fold.module().hash(),
                    "a message is skipped: the process that led the session died when it was about to run"
                );
                add(&self.counters.suspects_skipped, 1);
                session.skip(now, input, SkipCause::Suspect)
            }
        };
        self.message_ran(now, index, (slot, number), ran);
        if was_full {
            self.take_up(now, index);
        }
    }
}
