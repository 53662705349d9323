//! Inputs that may kill a process.
//!
//! An entry is appended after its input ran, so an input that ends the whole process is in no log. Its player's client sends
//! it again to whoever leads next, which it would end as well, and so through the cluster. So after the death of a leader's
//! process what players who sat in the session before send in the first
//! [`SUSPECT_US`](super::timing::SUSPECT_US) after they are back is **suspect**:
//!
//! 1. it waits, in the order in which it came, while its leader's followers are told of it ([`Suspects`]);
//! 2. once they have it, it runs, **one at a time**: the next only after the entry of the one before has been sent. So what a
//!    follower was told and has no entry of begins with the one that ran last;
//! 3. if the leader dies then, that one is a **killer** for whoever leads next: its entry is appended as skipped, without
//!    being run, and its author is told that it had no effect. Those behind it were not run, and are suspect again.
//!
//! Nobody waits for long: not for a follower that does not answer within
//! [`SUSPECT_WAIT_US`](super::timing::SUSPECT_WAIT_US), nor, where none counts, for one to come any longer than that after
//! the promotion. What runs then runs without anybody who remembers it. Ticks, datagrams and everybody else go on meanwhile.
//!
//! **A death is known, not guessed**: the machine refuses connections to where the process was, or a later run of its node is
//! there. A leader that is only silent (it stands still, its machine or the network is gone) may have run nothing that ended
//! it, and nobody is to lose a message for that. **The leader is who the newest record names**, for whoever takes over: one
//! that was granted the lead and ended before anybody heard it lead may have ended of the first thing that it ran.
//!
//! **What is not promised.** Anything where a machine is silent about a process that has ended, as behind a filter that drops
//! packets, and no later run is seen before a follower promotes. A process that is killed by a tick or a datagram, which
//! nobody sends again. A killer where the process died before any follower counted again: then the session is lost anyway.
//! Which of two inputs it was where the entry of the one before was lost on its way. An input that happened to wait when a
//! leader died of something else is taken for a killer all the same, once; so is one that waited at the leader before, where
//! that one gave the lead away or fell silent and the one that died had told nothing yet. And what was skipped on a branch
//! that lost is not known on the one that won.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Position, Slot};
use crate::limits;
use crate::log::Input;

/// A player's message that may have killed a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Suspect {
    /// Whose.
    pub slot: Slot,
    /// Of which of that slot's stays, as the fold counts them.
    pub joined: Position,
    /// Its number in the player's channel.
    pub number: u64,
    /// Eight bytes of the hash of its body: another one of this number is another message.
    pub body: u64,
}

impl Suspect {
    /// A message with this body.
    pub fn new(slot: Slot, joined: Position, number: u64, body: &[u8]) -> Suspect {
        let hash = *blake3::hash(body).as_bytes();
        let first = hash.first_chunk().copied().unwrap_or_default();
        Suspect { slot, joined, number, body: u64::from_le_bytes(first) }
    }

    /// Whether this input is the message, or a later one or the end of its author's stay: what became of it is in the log.
    pub fn is_settled_by(&self, input: &Input) -> bool {
        match input {
            Input::Message { slot, number, .. } => *slot == self.slot && *number >= self.number,
            Input::Leave { slot, .. } => *slot == self.slot,
            _ => false,
        }
    }
}

/// What a leader tells its followers: all that it holds back or runs now. It replaces what was told before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspects {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// Counts what is told in that epoch.
    pub number: u64,
    /// Those that are about to run, in the order in which they do; the first may run now.
    pub waiting: Vec<Suspect>,
    /// Those that are never to run.
    pub killers: Vec<Suspect>,
}

/// What a follower remembers of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    told: Option<(Epoch, u64)>,
    waiting: Vec<Suspect>,
    killers: Vec<Suspect>,
}

impl Remembered {
    /// What is never to run, before anybody says more.
    pub fn of(killers: Vec<Suspect>) -> Remembered {
        Remembered { killers, ..Remembered::default() }
    }

    /// The leader says what it holds back. An older word changes nothing.
    pub fn take(&mut self, told: Suspects) {
        let number = (told.epoch, told.number);
        if self.told.is_some_and(|before| before >= number) {
            return;
        }
        (self.told, self.waiting, self.killers) = (Some(number), told.waiting, told.killers);
        self.waiting.truncate(limits::SUSPECTS);
        keep_newest(&mut self.killers);
    }

    /// An entry is in the log: it did not kill its leader.
    pub fn entered(&mut self, input: &Input) {
        if !self.waiting.is_empty() || !self.killers.is_empty() {
            let is_open = |suspect: &Suspect| !suspect.is_settled_by(input);
            self.waiting.retain(is_open);
            self.killers.retain(is_open);
        }
    }

    /// What is never to run by whoever leads next, given whether its leader died.
    pub fn killers(&self, has_died: bool) -> Vec<Suspect> {
        let mut killers = self.killers.clone();
        killers.extend(self.waiting.first().filter(|_| has_died));
        keep_newest(&mut killers);
        killers
    }
}

fn keep_newest(killers: &mut Vec<Suspect>) {
    let excess = killers.len().saturating_sub(limits::KILLERS);
    killers.drain(..excess);
}
