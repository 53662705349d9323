//! What players send again after the death of a leader: it waits until followers know of it, and runs one at a time. Why is
//! said in [`crate::leadership::suspect`].

use std::collections::VecDeque;

use crate::ids::Slot;
use crate::leadership::message::{Message, Promotion};
use crate::leadership::record::Member;
use crate::leadership::suspect::{Suspect, Suspects};
use crate::leadership::timing::{HEARTBEAT_US, REMINDER_US, SUSPECT_US, SUSPECT_WAIT_US, next_beat};
use crate::limits;

use super::Leader;

/// What becomes of the suspect whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It runs.
    Run(Suspect),
    /// It was about to run when a leader died: an entry says that it is skipped.
    Skip(Suspect),
}

/// What a leader holds back.
#[derive(Debug, Default)]
pub(super) struct Caution {
    /// When it came to lead, if another's process ended before.
    since: Option<u64>,
    waiting: VecDeque<Waiting>,
    killers: Vec<Suspect>,
    /// Counts what followers are to know; nothing before the first.
    number: u64,
    /// No node is there that could come to follow.
    is_lonely: bool,
    /// The entry of the last one is not sent.
    is_running: bool,
}

#[derive(Debug)]
struct Waiting {
    suspect: Suspect,
    /// The first word that has it.
    number: u64,
    came_at: u64,
}

/// What a follower was told, and has acknowledged.
#[derive(Debug, Default)]
pub(super) struct Told {
    acknowledged: u64,
    sent: u64,
    /// Since when a word is not acknowledged.
    waits_since: Option<u64>,
    again_at: u64,
    pause: u64,
}

impl Told {
    /// Whether it has acknowledged a word.
    pub fn knows(&self, number: u64) -> bool {
        self.acknowledged >= number
    }

    /// Whether it is to be told a word now.
    fn is_due(&mut self, now: u64, number: u64) -> bool {
        if self.knows(number) || self.sent == number && now < self.again_at {
            return false;
        }
        // One that never answers, be it of a release that does not know the words, hears them ever more rarely.
        let is_again = self.sent == number;
        self.pause = if is_again { (self.pause * 2).min(REMINDER_US) } else { HEARTBEAT_US };
        // The first time again it comes with the next heartbeat.
        self.again_at = if is_again { now + self.pause } else { next_beat(now) };
        self.sent = number;
        self.waits_since.get_or_insert(now);
        true
    }

    fn acknowledged(&mut self, now: u64, number: u64) {
        if number > self.acknowledged {
            self.acknowledged = number;
            self.waits_since = (number < self.sent).then_some(now);
        }
    }

    /// Until when it is waited for, before it is known to have a word; none once it has.
    fn waits_until(&self, number: u64) -> Option<u64> {
        let until = self.waits_since.map_or(u64::MAX, |since| since + SUSPECT_WAIT_US);
        (self.acknowledged < number).then_some(until)
    }
}

impl Caution {
    /// Of a leader that was promoted.
    pub fn after(now: u64, promotion: &Promotion) -> Caution {
        let has_died = promotion.has_died;
        let killers = promotion.killers.clone();
        // Who followed the one before may have been told something by that one, which is over.
        let number = u64::from(has_died || !killers.is_empty());
        Caution { since: has_died.then_some(now), killers, number, ..Caution::default() }
    }

    /// The number of the newest word that followers are to know.
    pub fn word(&self) -> u64 {
        self.number
    }

    /// Whether nothing is held back or runs that was.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_running
    }

    /// What is never to run, for whoever it follows now may not have been told.
    pub fn into_killers(self) -> Vec<Suspect> {
        self.killers
    }

    fn changed(&mut self) {
        self.number += 1;
    }
}

impl Leader {
    /// Whether what a player sends now may kill a process: one who sat in the session before this leader led it, and is back
    /// since `back_at`.
    pub fn is_suspicious(&self, now: u64, slot: Slot, back_at: u64) -> bool {
        let caution = &self.caution;
        let is_early = caution.since.is_some() && now < back_at + SUSPECT_US;
        // The order of a player's messages stays.
        let is_behind = || caution.waiting.iter().any(|other| other.suspect.slot == slot);
        is_early || is_behind() || caution.killers.iter().any(|killer| killer.slot == slot)
    }

    /// Such a message has come: it waits until [`Leader::next_suspect`] says it.
    pub fn handle_suspect(&mut self, now: u64, suspect: Suspect) {
        let caution = &mut self.caution;
        caution.changed();
        caution.waiting.push_back(Waiting { suspect, number: caution.number, came_at: now });
    }

    /// Messages that are never to run.
    pub fn killers(&self) -> &[Suspect] {
        &self.caution.killers
    }

    /// Whether another message may be held back.
    pub fn has_room_for_suspects(&self) -> bool {
        self.caution.waiting.len() < limits::SUSPECTS
    }

    /// The next one that may run now, or is to be skipped: to be done at once. The one after it comes when this turn's
    /// entries were sent.
    pub fn next_suspect(&mut self, now: u64) -> Option<Turn> {
        self.suspects_due().filter(|due| *due <= now)?;
        let next = self.caution.waiting.pop_front()?.suspect;
        let caution = &mut self.caution;
        caution.is_running = true;
        caution.changed();
        let is_killer = caution.killers.contains(&next);
        // Another message of that number is none, and what comes before it never comes again.
        caution.killers.retain(|killer| killer.slot != next.slot || killer.number > next.number);
        Some(if is_killer { Turn::Skip(next) } else { Turn::Run(next) })
    }

    /// When the next one may run, if one waits: 0 for now.
    pub fn suspects_due(&self) -> Option<u64> {
        let first = self.caution.waiting.front().filter(|_| !self.caution.is_running)?;
        if self.caution.killers.contains(&first.suspect) {
            return Some(0);
        }
        let alone_until = self.caution.since.unwrap_or(0) + SUSPECT_WAIT_US;
        // Where nobody counts somebody may soon, and could go on should this process not last.
        let waits_until = match self.counts_nobody() {
            true => Some(alone_until).filter(|_| !self.caution.is_lonely),
            false => self.counted().filter_map(|who| self.lacks_until(who, first.number)).max(),
        };
        Some(waits_until.map_or(0, |until| until.min(first.came_at + SUSPECT_WAIT_US)))
    }

    fn lacks_until(&self, who: &Member, number: u64) -> Option<u64> {
        self.peers.get(who).map_or(Some(u64::MAX), |peer| peer.told.waits_until(number))
    }

    /// No node is there that could come to follow: nobody is waited for.
    pub fn handle_lonely(&mut self) {
        self.caution.is_lonely = true;
    }

    /// A slot's player has left: what it sent does not run.
    pub fn handle_left(&mut self, slot: Slot) {
        let caution = &mut self.caution;
        let before = caution.waiting.len() + caution.killers.len();
        caution.waiting.retain(|waiting| waiting.suspect.slot != slot);
        caution.killers.retain(|killer| killer.slot != slot);
        if caution.waiting.len() + caution.killers.len() != before {
            caution.changed();
        }
    }

    /// The turn's entries are sent: followers are told what is held back now.
    pub(super) fn flush_suspects(&mut self, now: u64) {
        self.caution.is_running = false;
        self.tell_suspects(now);
    }

    /// Tells who has not acknowledged the newest word.
    pub(super) fn tell_suspects(&mut self, now: u64) {
        let number = self.caution.number;
        let peers = self.peers.iter_mut();
        let due: Vec<Member> = peers
            .filter_map(|(who, peer)| (peer.is_introduced && peer.told.is_due(now, number)).then_some(*who))
            .collect();
        if due.is_empty() {
            return;
        }
        let suspects = Suspects {
            epoch: self.record.epoch,
            number,
            waiting: self.caution.waiting.iter().map(|waiting| waiting.suspect).collect(),
            killers: self.caution.killers.clone(),
        };
        due.into_iter().for_each(|who| self.send(who, Message::Suspects(suspects.clone())));
    }

    /// A follower has a word.
    pub(super) fn suspects_known(&mut self, now: u64, from: Member, number: u64) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.told.acknowledged(now, number);
        }
    }
}
