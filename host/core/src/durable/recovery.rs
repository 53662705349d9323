//! What a log of a run holds: read from its first object to its seal, folded into the tracks of its sessions. A damaged or
//! missing object is named, and loses no more than it held: a session whose entries were in it goes on from its checkpoint
//! and the entries before; one whose later checkpoint is there loses nothing. An increment whose base was in such an object
//! counts as if it were not there: the checkpoint before, and the entries since, are.
//!
//! When nobody needs a log any more an object after its seal says so ([`clearance`]), and all before the seal may be gone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::LogName;
use super::object::{Checkpoint, Closed, Content, Item, Object, ObjectError, Opened};
use crate::ids::{Epoch, Node, Position, SessionId};
use crate::leadership::lineage::Term;
use crate::leadership::record::{Cause, Record as Leadership, Tier};
use crate::log::Record;

/// Objects of a log that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The number of the first.
    pub first: u64,
    /// The number of the last: of what is missing there may be any number.
    pub last: u64,
    /// What is wrong with them.
    pub what: String,
}

/// What a log has of a session, of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Track {
    /// Its newest whole checkpoint.
    checkpoint: Option<Box<Checkpoint>>,
    /// Those after it, each an increment of the one before.
    increments: Vec<Checkpoint>,
    /// Entries after the whole one, by position: an epoch may have gone on elsewhere before the last of its checkpoints.
    entries: BTreeMap<Position, Record>,
    /// What there was before the whole one, for the same reason.
    former: Option<Box<Track>>,
}

impl Track {
    fn newest(&self) -> Option<Position> {
        self.increments.last().or(self.checkpoint.as_deref()).map(|checkpoint| checkpoint.position)
    }

    fn add(&mut self, entries: Vec<Record>) {
        let after = self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.position);
        let entries = entries.into_iter().filter(|entry| entry.position > after);
        self.entries.extend(entries.map(|entry| (entry.position, entry)));
    }

    fn restart(&mut self, checkpoint: Box<Checkpoint>) {
        if self.newest().is_none_or(|known| known <= checkpoint.position) {
            let entries = self.entries.split_off(&(checkpoint.position + 1));
            let mut former = std::mem::take(self);
            former.former = None;
            *self = Track { checkpoint: Some(checkpoint), entries, former: Some(Box::new(former)), ..Track::default() };
        }
    }

    fn extend(&mut self, base: Position, checkpoint: Checkpoint) {
        if self.newest() == Some(base) {
            self.increments.push(checkpoint);
        }
    }

    /// From where a session goes on, with no entry after `last`; none if the track does not begin.
    fn start(&self, last: Position) -> Option<Start> {
        let base = self.checkpoint.as_ref();
        if base.is_some_and(|checkpoint| checkpoint.position > last) {
            return self.former.as_ref()?.start(last);
        }
        if base.is_none() && !self.entries.contains_key(&1) {
            return None;
        }
        let increments = self.increments.iter().take_while(|checkpoint| checkpoint.position <= last);
        let increments: Vec<Checkpoint> = increments.cloned().collect();
        let mut end = increments.last().or(base.map(|base| &**base)).map_or(0, |checkpoint| checkpoint.position);
        // An increment that is not used says that there were entries before it.
        let is_cut = self.newest().is_some_and(|newest| newest > end);
        let mut log = Vec::new();
        for (position, entry) in self.entries.range(end + 1..) {
            if *position != end + 1 || *position > last {
                break;
            }
            end = *position;
            log.push(entry.clone());
        }
        let beyond = self.entries.last_key_value().map_or(end, |(position, _)| (*position).min(last));
        let lacks = (beyond > end || is_cut && end < last).then_some(end + 1);
        Some(Start { checkpoint: base.cloned(), increments, log, end, lacks })
    }
}

/// From where a session goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Its state; none: the log begins with its first entry.
    pub checkpoint: Option<Box<Checkpoint>>,
    /// What changed since, step by step.
    pub increments: Vec<Checkpoint>,
    /// The entries after these, without gaps.
    pub log: Vec<Record>,
    /// The position of the last.
    pub end: Position,
    /// The first entry that is missing, where later ones are there: something that was acknowledged is lost.
    pub lacks: Option<Position>,
}

impl Start {
    /// From a whole state, and no further.
    pub fn at(checkpoint: Box<Checkpoint>) -> Start {
        let end = checkpoint.position;
        Start { checkpoint: Some(checkpoint), increments: Vec::new(), log: Vec::new(), end, lacks: None }
    }

    /// Whether it has everything up to where an epoch begins.
    pub fn begins(&self, first: Position) -> bool {
        self.end + 1 >= first
    }

    /// Its checkpoints, the whole one first.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = &Checkpoint> {
        self.checkpoint.as_deref().into_iter().chain(&self.increments)
    }

    /// The last of them.
    pub fn newest(&self) -> Option<&Checkpoint> {
        self.checkpoints().next_back()
    }
}

/// Why nothing is left of a durable session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No log of a run that led it has a checkpoint or its beginning.
    #[error("neither a checkpoint nor the beginning of its log is there")]
    NoBeginning,
}

/// A log, as far as it was read.
#[derive(Debug, Default)]
pub struct Chain {
    tracks: BTreeMap<SessionId, BTreeMap<Epoch, Track>>,
    open: BTreeMap<SessionId, Opened>,
    ended: BTreeSet<SessionId>,
    damage: Vec<Damage>,
    /// Checkpoints that were found to be of no use, though their objects are undamaged.
    useless: BTreeSet<(SessionId, Epoch, Position)>,
    first: u64,
    next: u64,
    sealed_by: Option<Node>,
    is_cleared: bool,
    is_of_other_release: bool,
}

impl Chain {
    /// Of a log whose first object has this number, read without these checkpoints, as if they had never been.
    pub fn beginning(first: u64, useless: BTreeSet<(SessionId, Epoch, Position)>) -> Chain {
        Chain { useless, next: first, ..Chain::default() }
    }

    /// Takes the next object that is there; numbers between the last and this one are missing.
    pub fn handle_object(&mut self, run: Node, number: u64, bytes: &[u8]) {
        if self.sealed_by.is_some() {
            match Object::read(run, number, bytes) {
                // Nothing is ever written behind a seal: whoever made that one did not see how far the log is.
                Ok(Object { content: Content::Items(_), .. }) => self.sealed_by = None,
                Ok(object) if number == self.next && clears(&object) => {
                    // Whatever is left of it is of no use.
                    self.tracks.clear();
                    self.open.clear();
                    self.ended.clear();
                    (self.is_cleared, self.first) = (true, number);
                    return;
                }
                _ => return,
            }
        }
        let next = self.next.max(1);
        if next < number {
            self.damage.push(Damage { first: next, last: number - 1, what: "it is missing".to_owned() });
        }
        self.next = number + 1;
        let object = match Object::read(run, number, bytes) {
            Ok(object) => object,
            Err(error) => {
                self.is_of_other_release |= matches!(error, ObjectError::OtherRelease { .. });
                return self.damage.push(Damage { first: number, last: number, what: error.to_string() });
            }
        };
        self.first = self.first.max(object.first);
        match object.content {
            Content::Items(items) => items.into_iter().for_each(|item| self.take(item)),
            Content::Seal { by } => self.sealed_by = Some(by),
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Roster(all) => self.open = all.into_iter().map(|one| (one.session.clone(), one)).collect(),
            Item::Opened(opened) => _ = self.open.insert(opened.session.clone(), opened),
            Item::Closed { session, why } => {
                self.open.remove(&session);
                if why == Closed::Ended {
                    self.tracks.remove(&session);
                    self.ended.insert(session);
                }
            }
            Item::Entries { session, epoch, entries } => self.track(session, epoch).add(entries),
            Item::Checkpoint(checkpoint) | Item::Increment { checkpoint, .. } if self.is_useless(&checkpoint) => {}
            Item::Checkpoint(checkpoint) => {
                self.track(checkpoint.session.clone(), checkpoint.epoch).restart(checkpoint);
            }
            Item::Increment { base, checkpoint } => {
                self.track(checkpoint.session.clone(), checkpoint.epoch).extend(base, *checkpoint);
            }
        }
    }

    fn is_useless(&self, checkpoint: &Checkpoint) -> bool {
        !self.useless.is_empty()
            && self.useless.contains(&(checkpoint.session.clone(), checkpoint.epoch, checkpoint.position))
    }

    fn track(&mut self, session: SessionId, epoch: Epoch) -> &mut Track {
        self.tracks.entry(session).or_default().entry(epoch).or_default()
    }

    /// Who sealed it, if anybody has.
    pub fn sealed_by(&self) -> Option<Node> {
        self.sealed_by
    }

    /// Whether nobody needs anything of it any more, but its seal: what it held may be gone ([`clearance`]).
    pub fn is_cleared(&self) -> bool {
        self.is_cleared
    }

    /// Whether it may be cleared as far as it can be read: what is damaged an operator may mend, and what another release has
    /// written may hold anything.
    pub fn is_whole(&self) -> bool {
        !self.is_of_other_release && self.damage().next().is_none()
    }

    /// Whether it has something of an epoch of a session. Once it is sealed, nothing of that epoch is ever released any more.
    pub fn has(&self, session: &SessionId, epoch: Epoch) -> bool {
        self.tracks.get(session).is_some_and(|epochs| epochs.contains_key(&epoch))
    }

    /// The newest epoch of a session of which it has something.
    pub fn newest_epoch(&self, session: &SessionId) -> Option<Epoch> {
        self.tracks.get(session)?.keys().next_back().copied()
    }

    /// Whether it has anything of a session, beside that it was about to begin.
    pub fn has_any(&self, session: &SessionId) -> bool {
        self.tracks.contains_key(session)
    }

    /// The number after the last that was taken.
    pub fn next_number(&self) -> u64 {
        self.next.max(1)
    }

    /// Whether there are objects in it that are not damaged, and cannot be read here. What is in them another node may read.
    pub fn is_of_other_release(&self) -> bool {
        self.is_of_other_release
    }

    /// What is wrong with it, but for objects that were not needed any more.
    pub fn damage(&self) -> impl Iterator<Item = Damage> {
        let is_needed = |damage: &&Damage| damage.last >= self.first;
        let needed = self.damage.iter().filter(is_needed);
        needed.map(|damage| Damage { first: damage.first.max(self.first), ..damage.clone() })
    }

    /// The durable sessions of which it has something, or which the run said that it leads.
    pub fn durable(&self) -> BTreeSet<&SessionId> {
        let open = self.open.values().filter(|opened| opened.tier == Tier::Durable).map(|opened| &opened.session);
        self.tracks.keys().chain(open).collect()
    }

    /// The other sessions that the run led at the end: their logs were nowhere else than in memory.
    pub fn others(&self) -> impl Iterator<Item = &Opened> {
        self.open.values().filter(|opened| opened.tier != Tier::Durable)
    }

    /// What the run said of a session that it leads.
    pub fn opened(&self, session: &SessionId) -> Option<&Opened> {
        self.open.get(session)
    }

    /// Durable sessions that ended in it.
    pub fn ended(&self) -> impl Iterator<Item = &SessionId> {
        self.ended.iter()
    }

    /// From where a session goes on that was led by this run in an epoch, with no entry after `last`.
    pub fn start(&self, session: &SessionId, epoch: Epoch, last: Position) -> Option<Start> {
        self.tracks.get(session)?.get(&epoch)?.start(last)
    }
}

/// From where a session goes on, by its newest record and the logs of the runs that led it: the newest track that begins. One
/// that ends before its epoch did begin is taken only if no older one has more. Of a track of an epoch that another followed,
/// entries after that one's beginning never were. `track` answers what the log of an epoch's run has of it, and whose that is.
///
/// # Errors
/// [`Lost`].
pub fn start<T>(
    record: &Leadership,
    mut track: impl FnMut(Epoch, Position) -> Option<(Start, T)>,
) -> Result<(Start, T), Lost> {
    let (mut last, mut most) = (Position::MAX, None::<(Start, T)>);
    for Term { epoch, first } in record.lineage.terms().iter().rev() {
        if let Some(found) = track(*epoch, last) {
            if found.0.begins(*first) {
                return Ok(most.filter(|most| most.0.end >= found.0.end).unwrap_or(found));
            }
            if most.as_ref().is_none_or(|most| most.0.end < found.0.end) {
                most = Some(found);
            }
        }
        last = last.min(first.saturating_sub(1));
    }
    most.ok_or(Lost::NoBeginning)
}

/// Names an object that could not be read for the operator.
pub fn unreadable(log: LogName, damage: &Damage) -> String {
    let Damage { first, last, what } = damage;
    match first == last {
        true => format!("object {first} of the log of node {log}: {what}"),
        false => format!("objects {first} to {last} of the log of node {log}: {what}"),
    }
}

/// An object's bytes that seal a log.
pub fn seal(run: Node, number: u64, maker: u64, by: Node) -> Bytes {
    Object { run, number, maker, first: 0, content: Content::Seal { by } }.encode()
}

/// An object's bytes that, after the seal of a log, say that nothing before the seal is needed any more: a second seal. The
/// first stays for ever.
pub fn clearance(run: Node, number: u64, maker: u64, by: Node) -> Bytes {
    Object { run, number, maker, first: number.saturating_sub(1), content: Content::Seal { by } }.encode()
}

/// Whether an object is one that says that nothing before the one before it, which is a seal, is needed.
pub fn is_clearance(run: Node, number: u64, bytes: &[u8]) -> bool {
    Object::read(run, number, bytes).is_ok_and(|object| clears(&object))
}

fn clears(object: &Object) -> bool {
    // Two seals in a row are two who thought that there was none.
    let says_so = object.first > 0 && object.number.checked_sub(1) == Some(object.first);
    says_so && matches!(object.content, Content::Seal { .. })
}

/// Whether a log that is sealed may be needed for a session's sake, by the newest record of the session. It is not when the
/// session is over or in the store, nor when it begins in another log as whoever leads it by that record began with it
/// there (`has_beginning`): whoever looks for it goes no further back than to that ([`start`]).
pub fn needs(newest: Option<&Leadership>, has_beginning: bool) -> bool {
    newest.is_some_and(|record| record.cause != Cause::Ended && !record.is_at_rest() && !has_beginning)
}

#[cfg(test)]
mod tests;
