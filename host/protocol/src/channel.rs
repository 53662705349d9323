//! The exactly-once channel: numbered messages kept until acknowledged on one side, duplicates and gaps told apart on
//! the other, and what a returning client is owed. Used both ways, by clients and inside a session's state; so it is
//! deterministic, serializable and bounded, and decides nothing by time.
//!
//! Numbers count from 1 without gaps per player, session and branch.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::Branch;

/// Why the channel refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The outbox has no room; the message was not taken.
    #[error("the outbox is full: {messages} messages, {bytes} bytes")]
    Full {
        /// Messages in it.
        messages: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The peer acknowledges what was never sent; nothing changed.
    #[error("message {number} is acknowledged, {last} was the last that was sent")]
    NeverSent {
        /// What it acknowledges.
        number: u64,
        /// The last that was sent.
        last: u64,
    },
    /// The peer asks for messages that are no longer kept; nothing changed.
    #[error("messages after {number} are asked for, the first that is kept is {first}")]
    NoLongerKept {
        /// The last that it has.
        number: u64,
        /// The first that is kept.
        first: u64,
    },
}

/// Messages on their way: numbered, kept until acknowledged, bounded by count and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Outbox {
    last: u64,
    messages: VecDeque<Bytes>,
    bytes: usize,
    most_messages: usize,
    most_bytes: usize,
}

/// An outbox as it is saved; the sum of bytes follows from the messages.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Outbox")]
struct Saved {
    last: u64,
    most_messages: u64,
    most_bytes: u64,
    messages: Vec<Bytes>,
}

impl From<Saved> for Outbox {
    fn from(saved: Saved) -> Self {
        let bytes = saved.messages.iter().map(Bytes::len).sum();
        Outbox {
            last: saved.last.max(saved.messages.len() as u64).min(u64::MAX >> 1),
            messages: saved.messages.into(),
            bytes,
            most_messages: usize::try_from(saved.most_messages).unwrap_or(usize::MAX),
            most_bytes: usize::try_from(saved.most_bytes).unwrap_or(usize::MAX),
        }
    }
}

impl From<Outbox> for Saved {
    fn from(outbox: Outbox) -> Self {
        Saved {
            last: outbox.last,
            most_messages: outbox.most_messages as u64,
            most_bytes: outbox.most_bytes as u64,
            messages: outbox.messages.into(),
        }
    }
}

impl Outbox {
    /// An empty one, whose first message will be number 1.
    pub fn new(most_messages: usize, most_bytes: usize) -> Self {
        Outbox { last: 0, messages: VecDeque::new(), bytes: 0, most_messages, most_bytes }
    }

    /// Takes a message and answers its number. A message larger than the bound on bytes fits an empty outbox only.
    ///
    /// # Errors
    /// [`ChannelError::Full`]; the message was not taken.
    pub fn push(&mut self, body: Bytes) -> Result<u64, ChannelError> {
        let too_many = self.messages.len() >= self.most_messages;
        let too_large = !self.messages.is_empty() && self.bytes + body.len() > self.most_bytes;
        if too_many || too_large {
            return Err(ChannelError::Full { messages: self.messages.len(), bytes: self.bytes });
        }
        self.bytes += body.len();
        self.messages.push_back(body);
        self.last += 1;
        Ok(self.last)
    }

    /// Lets go of everything up to `number`; answers how many messages that were. Older news is no error.
    ///
    /// # Errors
    /// [`ChannelError::NeverSent`]; nothing changed.
    pub fn acknowledge(&mut self, number: u64) -> Result<usize, ChannelError> {
        if number > self.last {
            return Err(ChannelError::NeverSent { number, last: self.last });
        }
        let count = number.saturating_add(1).saturating_sub(self.first()) as usize;
        for body in self.messages.drain(..count) {
            self.bytes -= body.len();
        }
        Ok(count)
    }

    /// The messages after `number`, with their numbers, as far as they are kept.
    pub fn after(&self, number: u64) -> impl Iterator<Item = (u64, &Bytes)> {
        let first = self.first();
        let skipped = number.saturating_add(1).saturating_sub(first).min(self.messages.len() as u64);
        (first + skipped..).zip(self.messages.range(skipped as usize..))
    }

    /// One message, if it is kept.
    pub fn get(&self, number: u64) -> Option<&Bytes> {
        let index = number.checked_sub(self.first())?;
        self.messages.get(usize::try_from(index).ok()?)
    }

    /// Number of the last message taken; 0 before any.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Number of the first message kept; one more than [`Outbox::last`] where none is.
    pub fn first(&self) -> u64 {
        self.last + 1 - self.messages.len() as u64
    }

    /// Messages kept.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of the messages kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a peer that has everything up to `number` can be given the rest.
    ///
    /// # Errors
    /// [`ChannelError::NeverSent`] or [`ChannelError::NoLongerKept`].
    pub fn can_resume_after(&self, number: u64) -> Result<(), ChannelError> {
        if number > self.last {
            Err(ChannelError::NeverSent { number, last: self.last })
        } else if number + 1 < self.first() {
            Err(ChannelError::NoLongerKept { number, first: self.first() })
        } else {
            Ok(())
        }
    }

    /// Numbers what is kept anew, from `last` + 1: for a client whose first attachment tells it where to begin.
    pub fn renumber_after(&mut self, last: u64) {
        // No session gets that far; a peer that says so must not make numbers wrap.
        self.last = last.min(u64::MAX / 2) + self.messages.len() as u64;
    }
}

/// What the receiving side makes of a message's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one: take it.
    New,
    /// Taken before: forget it, acknowledge again.
    Duplicate,
    /// Messages are missing before it: the peer broke the protocol.
    Gap {
        /// The number that is next.
        expected: u64,
    },
}

/// The last message that was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    last: u64,
}

impl Inbox {
    /// One that has taken everything up to `last`.
    pub fn after(last: u64) -> Self {
        Inbox { last }
    }

    /// Looks at a number; only [`Arrival::New`] changes anything.
    pub fn arrive(&mut self, number: u64) -> Arrival {
        let arrival = self.judge(number);
        if arrival == Arrival::New {
            self.last = number;
        }
        arrival
    }

    /// The same without taking it.
    pub fn judge(&self, number: u64) -> Arrival {
        match self.last.checked_add(1) {
            Some(expected) if number == expected => Arrival::New,
            Some(expected) if number > expected => Arrival::Gap { expected },
            _ => Arrival::Duplicate,
        }
    }

    /// Number of the last message taken; 0 before any.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Forgets what was taken after `last`.
    pub fn rewind(&mut self, last: u64) {
        self.last = self.last.min(last);
    }
}

/// What one side has: a branch and the last number of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The branch.
    pub branch: Branch,
    /// The last message that it has.
    pub last: u64,
}

/// How a returning client goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// Its branch is the session's: it gets the messages after this number.
    Continue {
        /// The last that it has.
        after: u64,
    },
    /// Its branch was left: it is told `rewound`, and gets the messages after this number.
    Rewound {
        /// The last that was kept of what it has.
        after: u64,
    },
}

/// Decides how a client with `claimed` goes on in a session whose messages to it are `outbox`. `fork` is, where the
/// claimed branch is an ancestor of the session's, the last message to the player that both have; `None` where it is
/// not known.
///
/// A client may claim less than it has acknowledged: its `open` was written before it took the rest elsewhere, as at
/// the target of a move. Then it goes on after what it acknowledged.
///
/// # Errors
/// [`ChannelError::NeverSent`] where the client claims what was never sent, or a branch that nobody knows.
pub fn resume(
    claimed: Standing,
    branch: Branch,
    fork: Option<u64>,
    outbox: &Outbox,
) -> Result<Resumption, ChannelError> {
    let same = claimed.branch == branch;
    let never_sent = ChannelError::NeverSent { number: claimed.last, last: outbox.last() };
    let shared = if same { claimed.last } else { fork.ok_or(never_sent)?.min(claimed.last) };
    if shared > outbox.last() {
        return Err(never_sent);
    }
    let after = shared.max(outbox.first() - 1);
    Ok(if same { Resumption::Continue { after } } else { Resumption::Rewound { after } })
}

#[cfg(test)]
mod tests;
