//! The host's half of a session's state: everything that is not in the guest's memory and globals and yet decides what
//! the fold does next. Serialized in a fixed order (postcard of the fields in their order), hashed with the guest's half.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use ringside_core::ids::{PlayerId, Position, SessionTime, Slot, StateHash};
use ringside_core::limits;
use ringside_core::output::Output;
use ringside_core::random::Generator;
use ringside_protocol::channel::Outbox;

/// A joined player.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SlotState {
    /// The slot.
    pub slot: Slot,
    /// Who has it.
    pub player: PlayerId,
    /// After which record the player joined.
    pub joined: Position,
    /// Number of the last reliable message that was folded (or skipped); 0 before any.
    pub last_input: u64,
    /// Reliable outputs that the player has not acknowledged.
    pub outputs: Outbox,
    /// A message did not fit: the player gets none any more, and `Leave` follows.
    pub too_slow: bool,
    /// What the player may see; empty before the guest has written it.
    #[serde(with = "as_bytes")]
    view: Vec<u8>,
    /// After which record the view was written; 0 if never.
    pub view_position: Position,
}

impl SlotState {
    /// The newest view, if the guest has written one.
    pub fn view(&self) -> Option<&[u8]> {
        (self.view_position > 0).then_some(&self.view)
    }

    pub(crate) fn set_view(&mut self, view: &[u8], position: Position) {
        self.view.clear();
        self.view.extend_from_slice(view);
        self.view_position = position;
    }
}

/// Bytes written in one piece; the default writes a vector item by item.
mod as_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Bytes::deserialize(deserializer).map(Vec::from)
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The guest finished it, with this result.
    Finished(Bytes),
    /// The host ended it, for this reason.
    Ended(String),
    /// The guest refused its configuration: it never began.
    Refused(String),
}

/// Armed timers: by when they are due, ties by their ids.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "SavedTimers", into = "SavedTimers")]
pub(crate) struct Timers {
    last: u64,
    due: BTreeSet<(SessionTime, u64)>,
    by_id: BTreeMap<u64, SessionTime>,
}

#[derive(Serialize, Deserialize)]
struct SavedTimers {
    last: u64,
    due: Vec<(SessionTime, u64)>,
}

impl From<SavedTimers> for Timers {
    fn from(saved: SavedTimers) -> Self {
        let by_id = saved.due.iter().map(|&(due, id)| (id, due)).collect();
        Timers { last: saved.last, due: saved.due.into_iter().collect(), by_id }
    }
}

impl From<Timers> for SavedTimers {
    fn from(timers: Timers) -> Self {
        SavedTimers { last: timers.last, due: timers.due.into_iter().collect() }
    }
}

impl Timers {
    /// Arms a timer; `None` when there are as many as there may be.
    pub(crate) fn arm(&mut self, due: SessionTime) -> Option<u64> {
        if self.due.len() >= limits::TIMERS {
            return None;
        }
        self.last += 1;
        self.due.insert((due, self.last));
        self.by_id.insert(self.last, due);
        Some(self.last)
    }

    /// Disarms a timer; answers whether it was armed.
    pub(crate) fn disarm(&mut self, id: u64) -> bool {
        self.by_id.remove(&id).is_some_and(|due| self.due.remove(&(due, id)))
    }

    /// The timer that is due next.
    pub(crate) fn next(&self) -> Option<(u64, SessionTime)> {
        self.due.first().map(|&(due, id)| (id, due))
    }

    /// Whether what was read is what could have been written.
    fn is_sound(&self) -> bool {
        self.due.len() <= limits::TIMERS
            && self.due.len() == self.by_id.len()
            && self.by_id.last_key_value().is_none_or(|(id, _)| *id <= self.last)
            && self.last < u64::MAX >> 1
    }

    pub(crate) fn is_due(&self, id: u64, now: SessionTime) -> bool {
        self.by_id.get(&id).is_some_and(|&due| due <= now)
    }
}

/// The one host struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HostState {
    pub(crate) position: Position,
    pub(crate) time_us: SessionTime,
    pub(crate) tick: u64,
    pub(crate) generator: Generator,
    pub(crate) timers: Timers,
    pub(crate) slots: Vec<Option<SlotState>>,
    pub(crate) stats: Bytes,
    pub(crate) outputs: [u8; 32],
    pub(crate) ending: Option<Ending>,
}

impl HostState {
    pub(crate) fn new() -> Self {
        HostState {
            position: 0,
            time_us: 0,
            tick: 0,
            generator: Generator::new([0; 32]),
            timers: Timers::default(),
            slots: Vec::new(),
            stats: Bytes::new(),
            outputs: [0; 32],
            ending: None,
        }
    }

    /// Whether what was read is what could have been written.
    pub(crate) fn is_sound(&self) -> bool {
        let sound = |(index, slot): (usize, &Option<SlotState>)| {
            slot.as_ref().is_none_or(|state| {
                usize::from(state.slot.0) == index
                    && state.view.len() <= limits::GUEST_VALUE_BYTES
                    && state.last_input < u64::MAX >> 1
            })
        };
        self.slots.len() <= limits::SLOTS
            && !matches!(self.slots.last(), Some(None))
            && self.slots.iter().enumerate().all(sound)
            && self.timers.is_sound()
            && self.stats.len() <= limits::STATS_BYTES
            && self.position.max(self.tick) < u64::MAX >> 1
            && (self.position > 0 || self.slots.is_empty())
    }

    pub(crate) fn slot(&self, slot: Slot) -> Option<&SlotState> {
        self.slots.get(usize::from(slot.0))?.as_ref()
    }

    pub(crate) fn slot_mut(&mut self, slot: Slot) -> Option<&mut SlotState> {
        self.slots.get_mut(usize::from(slot.0))?.as_mut()
    }

    pub(crate) fn joined(&self) -> impl Iterator<Item = &SlotState> {
        self.slots.iter().flatten()
    }

    /// The lowest slot below `most` that nobody has.
    pub(crate) fn free_slot(&self, most: usize) -> Option<Slot> {
        let taken = self.slots.iter().take(most).position(Option::is_none);
        let index = taken.unwrap_or(self.slots.len());
        (index < most.min(limits::SLOTS)).then_some(Slot(index as u16))
    }

    pub(crate) fn take_slot(&mut self, slot: Slot, player: PlayerId) {
        let index = usize::from(slot.0);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(SlotState {
            slot,
            player,
            joined: self.position,
            last_input: 0,
            outputs: Outbox::new(limits::UNACKNOWLEDGED_MESSAGES, limits::UNACKNOWLEDGED_BYTES),
            too_slow: false,
            view: Vec::new(),
            view_position: 0,
        });
    }

    pub(crate) fn free(&mut self, slot: Slot) {
        if let Some(taken) = self.slots.get_mut(usize::from(slot.0)) {
            *taken = None;
        }
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
    }

    pub(crate) fn output_hash(&self) -> StateHash {
        StateHash(self.outputs)
    }

    /// Takes an entry's outputs into the running hash. Chained by entry, so that it does not depend on batches.
    pub(crate) fn hash_outputs(&mut self, outputs: &[Output]) {
        if outputs.is_empty() {
            return;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.outputs);
        hasher.update(&self.position.to_le_bytes());
        for output in outputs {
            self.hash_output(&mut hasher, output);
        }
        self.outputs = *hasher.finalize().as_bytes();
    }

    fn hash_output(&self, hasher: &mut blake3::Hasher, output: &Output) {
        let mut item = |tag: u8, number: u64, bytes: &[u8]| {
            hasher.update(&[tag]);
            hasher.update(&number.to_le_bytes());
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        match output {
            Output::Send { slot, number, body } => {
                item(1, u64::from(slot.0), &number.to_le_bytes());
                item(1, 0, body);
            }
            Output::Datagram { slot, body } => item(2, u64::from(slot.0), body),
            Output::View { slot } => {
                item(3, u64::from(slot.0), self.slot(*slot).map_or(&[], |state| state.view.as_slice()));
            }
            Output::Stats => item(4, 0, &self.stats),
            Output::Event { body } => item(5, 0, body),
            Output::Log { level, line } => item(6, *level as u64, line.as_bytes()),
            Output::Signal { session, body } => {
                item(7, 0, session.as_bytes());
                item(7, 1, body);
            }
            Output::Kick { slot, reason } => item(8, u64::from(slot.0), reason.as_bytes()),
            Output::TooSlow { slot } => item(9, u64::from(slot.0), &[]),
            Output::JoinRefused { slot, reason } => item(10, u64::from(slot.0), reason.as_bytes()),
            Output::StartRefused { reason } => item(11, 0, reason.as_bytes()),
            Output::Finish { outcome } => item(12, 0, outcome),
        }
    }
}
