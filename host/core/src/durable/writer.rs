//! The log of this run of a node: which object is made when, what is stored, and what may be deleted.
//!
//! ```text
//!            due              made, or its bytes are there
//!   idle ──────────► creating ─────────────────────────────► idle
//!                     │ ▲  │ "it is there already"
//!          an error ──┘ │  └──► reading ──► its own: made
//!      tried again after a pause      ├──► nothing there: creating
//!                       └─────────────┤
//!                                     └──► anybody else's: sealed
//! ```
//!
//! **Sealed**, the run may begin another log ([`Writer::handle_reopen`]), whose first object lists what it leads. What comes
//! of durable sessions until that exists is of epochs that are fenced, and goes nowhere.
//!
//! One object at a time; what comes meanwhile is the next. An answer is never believed but for the bytes: an error may
//! hide a success, so the same create is tried again, and if something is there already it is read and compared.
//!
//! **A hole** is what the log lacks of a session: entries before a promotion, or entries that found no room. Nothing of the
//! session counts as stored until a checkpoint after the hole is, which the writer asks for ([`Output::Checkpoint`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::LogName;
use super::object::{Checkpoint, Closed, Content, Item, Object, Opened};
use crate::ids::{Epoch, Node, Position, SessionId};
use crate::leadership::record::Tier;
use crate::limits::{
    LOG_BACKLOG_BYTES, LOG_DEPARTED, LOG_HELD_OBJECTS, LOG_ITEM_BYTES, LOG_OBJECT_BYTES, LOG_ROSTER_OBJECTS,
};

/// The pause after the first error, µs; it doubles with each.
pub const FIRST_PAUSE_US: u64 = 50_000;
/// The longest pause, µs.
pub const LONGEST_PAUSE_US: u64 = 2_000_000;
/// How long a question may take before it counts as failed, µs.
pub const ANSWER_US: u64 = 10_000_000;
/// How long notes of what is not durable wait for something to go with, µs: they must not cost a write each.
pub const NOTES_US: u64 = 500_000;
/// How long after a session was led here last it is first asked whether its next leader has it in the store, and how long
/// after that again, µs.
pub const DEPARTED_US: u64 = 60_000_000;
/// Of how many sessions at a time that is asked.
const ASKED: usize = 256;
/// How long after its first error the store counts as away, µs.
pub const AWAY_US: u64 = 1_000_000;

/// Sealed again so soon after it was opened anew, a log is opened later each time, µs: who seals it cannot be reached, and will
/// do so again.
pub const CALM_US: u64 = 60_000_000;
/// By how much later at first, µs; twice as much each time.
pub const FIRST_REOPEN_US: u64 = 1_000_000;
/// And at most, µs.
pub const LONGEST_REOPEN_US: u64 = 30_000_000;

/// What the store is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Make the object of this number, unless there is one.
    Create {
        /// Its number.
        number: u64,
        /// Its bytes.
        object: Bytes,
    },
    /// The object of this number.
    Read {
        /// Its number.
        number: u64,
    },
}

/// What the store said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was made.
    Created,
    /// There is one of that number.
    Exists,
    /// This is there.
    Found(Bytes),
    /// Nothing is there.
    Missing,
    /// It failed, and that says nothing.
    Failed,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask the store; whatever comes of it: [`Writer::handle_reply`] with this number.
    Ask(u64, Request),
    /// The store has a session's log up to here.
    Stored {
        /// Which session.
        session: SessionId,
        /// In which epoch.
        epoch: Epoch,
        /// Up to where.
        position: Position,
    },
    /// A checkpoint of this session is wanted, for its log has a hole, or holds up what may be deleted.
    Checkpoint(SessionId),
    /// Objects of lesser numbers may be deleted: the store has one that says so, so that nobody misses them.
    Forget {
        /// The first that stays.
        first: u64,
    },
    /// Others lead these sessions now, and what this log has of them holds up what may be deleted, each from this object on:
    /// those that begin in another log, or in none, are not needed here any more ([`Writer::handle_settled`]).
    Departed(Vec<(SessionId, u64)>),
    /// The store does not answer, or does again.
    Away(bool),
    /// Another may take over: nothing is stored any more, until the shell has told whoever leads something, and then says so
    /// ([`Writer::handle_reopen`]).
    Sealed,
    /// Another log was begun. It takes what is of epochs that begin from now on.
    Reopened,
}

/// A durable session in this log.
#[derive(Debug)]
struct Track {
    epoch: Epoch,
    /// The last position that was taken.
    taken: Position,
    /// The log lacks something up to here.
    hole: Option<Position>,
    /// The last position in objects that exist, whatever lacks before.
    reached: Position,
    /// The object of its newest whole checkpoint: increments are in later ones, and need it.
    checkpoint: Option<u64>,
    /// The newest checkpoint that was taken, whole or not: the one that an increment may follow.
    newest: Option<Position>,
    /// Objects that hold entries after the newest that is stored, and the last position in each.
    objects: VecDeque<(u64, Position)>,
    /// The first object that recovery needs as long as this track has no checkpoint: that of the epoch before.
    former: Option<u64>,
    /// Whether a checkpoint was asked for and has not come.
    is_asked: bool,
}

impl Track {
    fn new(epoch: Epoch, before: Position) -> Track {
        Track {
            epoch,
            taken: before,
            hole: (before > 0).then_some(before),
            reached: before,
            checkpoint: None,
            newest: None,
            objects: VecDeque::new(),
            former: None,
            is_asked: false,
        }
    }

    /// Of the next epoch: what the log has of the one before is not this track's.
    fn next(&self, epoch: Epoch, before: Position) -> Track {
        Track { former: self.first(), ..Track::new(epoch, before) }
    }

    /// The first object that its recovery needs; none if it needs nothing of this log.
    fn first(&self) -> Option<u64> {
        let entries = self.objects.front().map(|(number, _)| *number);
        self.checkpoint.into_iter().chain(entries).chain(self.former).min()
    }
}

/// What this log has of a session that another leads now.
#[derive(Debug)]
struct Departed {
    /// The first object that its recovery may need.
    first: u64,
    /// When it is asked whether that is so.
    due: u64,
}

/// An object on its way.
#[derive(Debug)]
struct Flight {
    number: u64,
    /// The first object that is needed, as it says.
    first: u64,
    object: Bytes,
    content: Vec<Item>,
    asked: Request,
    /// Until when an answer is waited for, or when it is asked again.
    due: u64,
    waits: bool,
    question: u64,
}

/// Whether the log takes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Sealed,
    /// The first object of another log is on its way.
    Reopening,
}

/// The writer of this run's log.
#[derive(Debug)]
pub struct Writer {
    log: LogName,
    maker: u64,
    next: u64,
    first: u64,
    /// As objects in the store say.
    said_first: u64,
    roster_at: u64,
    open: BTreeMap<SessionId, Opened>,
    tracks: BTreeMap<SessionId, Track>,
    /// Sessions that others lead now, of which this log may have what nobody else has.
    departed: BTreeMap<SessionId, Departed>,
    /// The first object of those for which there was no room among them: nothing from there on is ever forgotten.
    crowded_out: Option<u64>,
    backlog: VecDeque<Item>,
    backlog_bytes: usize,
    /// When what waits is written at the latest.
    due: Option<u64>,
    flight: Option<Flight>,
    pause_us: u64,
    failing_since: Option<u64>,
    is_away: bool,
    phase: Phase,
    /// When another log was begun last, and how long it took to be begun after the seal.
    reopened: Option<(u64, u64)>,
    questions: u64,
    outputs: VecDeque<Output>,
    /// Sessions whose entries found no room: a checkpoint is asked for when there is some.
    unasked: BTreeSet<SessionId>,
    /// What was left out for want of room.
    left_out: u64,
}

impl Writer {
    /// Of a run whose log is empty. `maker` is drawn at random.
    pub fn new(run: Node, maker: u64) -> Writer {
        Writer {
            log: LogName::first_of(run),
            maker,
            next: 1,
            first: 1,
            said_first: 1,
            roster_at: 0,
            open: BTreeMap::new(),
            tracks: BTreeMap::new(),
            departed: BTreeMap::new(),
            crowded_out: None,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            due: None,
            flight: None,
            pause_us: FIRST_PAUSE_US,
            failing_since: None,
            is_away: false,
            phase: Phase::Open,
            reopened: None,
            questions: 0,
            outputs: VecDeque::new(),
            unasked: BTreeSet::new(),
            left_out: 0,
        }
    }

    /// Whether the log is sealed, and no other is open yet.
    pub fn is_sealed(&self) -> bool {
        self.phase != Phase::Open
    }

    /// The log that is written, or was until it was sealed.
    pub fn log(&self) -> LogName {
        self.log
    }

    /// Whether everything that was handed in is stored.
    pub fn is_idle(&self) -> bool {
        self.is_sealed() || self.flight.is_none() && self.backlog.is_empty()
    }

    /// The number of the next object.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.backlog_bytes
    }

    /// Batches of entries and checkpoints that were left out for want of room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Something happened. Order matters, within a session.
    pub fn handle_item(&mut self, now: u64, item: Item) {
        // Whom the run leads is known while nothing is written, too: the first object of the next log lists them.
        match &item {
            Item::Opened(opened) => _ = self.open.insert(opened.session.clone(), opened.clone()),
            Item::Closed { session, .. } => _ = self.open.remove(session),
            _ => {}
        }
        if self.is_sealed() {
            return;
        }
        let is_urgent = match &item {
            // Who takes this run over looks for what it says that it leads.
            Item::Opened(opened) => opened.tier == Tier::Durable,
            Item::Closed { session, why } => {
                self.unasked.remove(session);
                let track = self.tracks.remove(session);
                match (why, &track) {
                    (Closed::Ended, _) => _ = self.departed.remove(session),
                    // What is not stored yet will be in later objects.
                    (Closed::LedElsewhere, Some(track)) => {
                        let first = track.first().unwrap_or(self.next);
                        self.hold(now, session.clone(), first);
                    }
                    (Closed::LedElsewhere, None) => {}
                }
                track.is_some()
            }
            Item::Entries { session, epoch, entries } => {
                let (Some(head), Some(last)) = (entries.first(), entries.last()) else { return };
                let (session, before, to) = (session.clone(), head.position.saturating_sub(1), last.position);
                if !self.takes_entries(&session, *epoch, before, to, item.weight()) {
                    return;
                }
                true
            }
            Item::Checkpoint(checkpoint) => {
                if !self.takes_checkpoint(checkpoint, None, item.weight()) {
                    return;
                }
                true
            }
            Item::Increment { base, checkpoint } => {
                if !self.takes_checkpoint(checkpoint, Some(*base), item.weight()) {
                    return;
                }
                true
            }
            Item::Roster(_) => return,
        };
        self.backlog_bytes += item.weight();
        self.backlog.push_back(item);
        let due = if is_urgent { now } else { now.saturating_add(NOTES_US) };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
        self.write(now);
    }

    /// Whoever leads something knows of the seal: another log is begun, at once or after a pause. Until it is
    /// ([`Output::Reopened`]) nothing is stored.
    pub fn handle_reopen(&mut self, now: u64) {
        if self.phase != Phase::Sealed {
            return;
        }
        let pause = match self.reopened {
            Some((at, pause)) if now < at.saturating_add(CALM_US) => {
                (2 * pause).clamp(FIRST_REOPEN_US, LONGEST_REOPEN_US)
            }
            _ => 0,
        };
        self.reopened = Some((now.saturating_add(pause), pause));
        (self.phase, self.due) = (Phase::Reopening, Some(now.saturating_add(pause)));
        self.log = self.log.after(self.next);
        (self.next, self.first, self.said_first) = (self.log.first, self.log.first, self.log.first);
        self.tracks.clear();
        self.departed.clear();
        self.crowded_out = None;
        self.unasked.clear();
        self.write(now);
    }

    /// Another leads it now. What this log has of it is needed until that one's has its beginning; nobody says when that is.
    fn hold(&mut self, now: u64, session: SessionId, first: u64) {
        if self.departed.len() >= LOG_DEPARTED {
            self.crowded_out = Some(self.crowded_out.map_or(first, |before| before.min(first)));
            return;
        }
        self.departed.insert(session, Departed { first, due: now.saturating_add(DEPARTED_US) });
    }

    /// A session is in the store as who activates it needs it. Nobody needs what this log has of it.
    pub fn handle_evicted(&mut self, now: u64, session: SessionId) {
        self.tracks.remove(&session);
        self.departed.remove(&session);
        self.handle_item(now, closed(session, false));
    }

    /// Nobody needs what this log has of a session that others lead, from this object on ([`Output::Departed`]). It may have
    /// been here again since that was asked, and the log may be another one.
    pub fn handle_settled(&mut self, log: LogName, session: &SessionId, first: u64) {
        if log == self.log && self.departed.get(session).is_some_and(|departed| departed.first == first) {
            self.departed.remove(session);
        }
    }

    /// Whether there is room for entries; where there is none, or they do not follow what was taken, a hole begins.
    fn takes_entries(
        &mut self,
        session: &SessionId,
        epoch: Epoch,
        before: Position,
        to: Position,
        bytes: usize,
    ) -> bool {
        let is_full = self.backlog_bytes + bytes > LOG_BACKLOG_BYTES;
        let track = track(&mut self.tracks, &mut self.departed, session, (epoch, before));
        if crate::leadership::newer(track.epoch, epoch) {
            return false;
        }
        if track.epoch != epoch {
            *track = track.next(epoch, before);
        }
        if before > track.taken {
            track.hole = Some(before);
        }
        track.taken = track.taken.max(to);
        if is_full {
            track.hole = Some(track.taken);
            self.unasked.insert(session.clone());
            self.left_out += 1;
            return false;
        }
        if track.hole.is_some() && !std::mem::replace(&mut track.is_asked, true) {
            self.outputs.push_back(Output::Checkpoint(session.clone()));
        }
        true
    }

    /// Whether there is room for a checkpoint, and the log has what it is an increment of; where not, a whole one is asked
    /// for.
    fn takes_checkpoint(&mut self, checkpoint: &Checkpoint, base: Option<Position>, bytes: usize) -> bool {
        let Checkpoint { session, epoch, position, .. } = checkpoint;
        let is_full = self.backlog_bytes > 0 && self.backlog_bytes + bytes > LOG_BACKLOG_BYTES;
        let track = track(&mut self.tracks, &mut self.departed, session, (*epoch, *position));
        if track.epoch != *epoch {
            if crate::leadership::newer(track.epoch, *epoch) {
                return false;
            }
            *track = track.next(*epoch, *position);
        }
        if base.is_some() && track.newest != base {
            self.left_out += 1;
            if !std::mem::replace(&mut track.is_asked, true) {
                self.outputs.push_back(Output::Checkpoint(session.clone()));
            }
            return false;
        }
        track.is_asked = false;
        if is_full || bytes > LOG_ITEM_BYTES {
            self.left_out += 1;
            if is_full {
                self.unasked.insert(session.clone());
            }
            return false;
        }
        track.taken = track.taken.max(*position);
        track.newest = Some(*position);
        true
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: u64) {
        if let Some(flight) = &mut self.flight
            && flight.due <= now
        {
            match flight.waits {
                true => self.failed(now),
                false => self.ask(now),
            }
        }
        self.write(now);
    }

    /// When [`Writer::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<u64> {
        match &self.flight {
            _ if self.phase == Phase::Sealed => None,
            Some(flight) => Some(flight.due),
            None => self.due,
        }
    }

    /// What to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The store answered a question. Answers to former ones mean nothing.
    pub fn handle_reply(&mut self, now: u64, question: u64, reply: Reply) {
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.question == question) else { return };
        match (&flight.asked, reply) {
            (Request::Create { .. }, Reply::Created) => self.made(now),
            (Request::Create { .. }, Reply::Exists) => {
                flight.asked = Request::Read { number: flight.number };
                self.ask(now);
            }
            (Request::Read { .. }, Reply::Found(bytes)) if bytes == flight.object => self.made(now),
            (Request::Read { .. }, Reply::Found(_)) => {
                self.next = flight.number;
                (self.phase, self.flight, self.due) = (Phase::Sealed, None, None);
                self.backlog.clear();
                self.backlog_bytes = 0;
                self.outputs.push_back(Output::Sealed);
            }
            (Request::Read { .. }, Reply::Missing) => {
                flight.asked = Request::Create { number: flight.number, object: flight.object.clone() };
                self.failed(now);
            }
            _ => self.failed(now),
        }
        self.write(now);
    }

    fn failed(&mut self, now: u64) {
        let Some(flight) = &mut self.flight else { return };
        (flight.waits, flight.due) = (false, now.saturating_add(self.pause_us));
        self.pause_us = (self.pause_us * 2).min(LONGEST_PAUSE_US);
        let since = *self.failing_since.get_or_insert(now);
        if !self.is_away && now >= since.saturating_add(AWAY_US) {
            self.is_away = true;
            self.outputs.push_back(Output::Away(true));
        }
    }

    fn ask(&mut self, now: u64) {
        let Some(flight) = &mut self.flight else { return };
        self.questions += 1;
        (flight.question, flight.waits, flight.due) = (self.questions, true, now.saturating_add(ANSWER_US));
        self.outputs.push_back(Output::Ask(self.questions, flight.asked.clone()));
    }

    /// Begins the next object, if something is due and none is on its way.
    fn write(&mut self, now: u64) {
        if self.phase == Phase::Sealed || self.flight.is_some() || self.due.is_none_or(|due| due > now) {
            return;
        }
        let (mut items, mut bytes) = (Vec::new(), 0);
        if self.phase == Phase::Reopening || self.next >= self.roster_at + LOG_ROSTER_OBJECTS {
            self.roster_at = self.next;
            let roster = Item::Roster(self.open.values().cloned().collect());
            bytes += roster.weight();
            items.push(roster);
        }
        while let Some(item) = self.backlog.front() {
            let weight = item.weight();
            if !items.is_empty() && bytes + weight > LOG_OBJECT_BYTES {
                break;
            }
            bytes += weight;
            self.backlog_bytes -= weight;
            items.extend(self.backlog.pop_front());
        }
        self.due = (!self.backlog.is_empty()).then_some(now);
        let (run, number, maker, first) = (self.log.run, self.next, self.maker, self.first);
        let object = Object { run, number, maker, first, content: Content::Items(items) };
        let bytes = object.encode();
        let Content::Items(content) = object.content else { return };
        let asked = Request::Create { number, object: bytes.clone() };
        self.flight =
            Some(Flight { number, first, object: bytes, content, asked, due: now, waits: false, question: 0 });
        self.ask(now);
    }

    /// The object on its way exists.
    fn made(&mut self, now: u64) {
        let Some(flight) = self.flight.take() else { return };
        (self.pause_us, self.failing_since) = (FIRST_PAUSE_US, None);
        if std::mem::take(&mut self.is_away) {
            self.outputs.push_back(Output::Away(false));
        }
        self.next = flight.number + 1;
        if flight.first > self.said_first {
            self.said_first = flight.first;
            self.outputs.push_back(Output::Forget { first: flight.first });
        }
        if self.phase == Phase::Reopening {
            self.phase = Phase::Open;
            self.outputs.push_back(Output::Reopened);
        }
        let has_roster = matches!(flight.content.first(), Some(Item::Roster(_)));
        for item in flight.content {
            match item {
                Item::Entries { session, epoch, entries } => {
                    let to = entries.last().map_or(0, |last| last.position);
                    self.stored_entries(flight.number, &session, epoch, to);
                }
                Item::Checkpoint(checkpoint) => self.stored_checkpoint(flight.number, &checkpoint, true),
                Item::Increment { checkpoint, .. } => self.stored_checkpoint(flight.number, &checkpoint, false),
                _ => {}
            }
        }
        if has_roster {
            self.forget(now, flight.number);
        }
        if self.backlog_bytes <= LOG_BACKLOG_BYTES / 2 {
            for session in std::mem::take(&mut self.unasked) {
                if let Some(track) = self.tracks.get_mut(&session) {
                    track.is_asked = true;
                    self.outputs.push_back(Output::Checkpoint(session));
                }
            }
        }
        self.write(now);
    }

    fn stored_entries(&mut self, number: u64, session: &SessionId, epoch: Epoch, to: Position) {
        let Some(track) = self.tracks.get_mut(session).filter(|track| track.epoch == epoch) else { return };
        track.reached = track.reached.max(to);
        match track.objects.back_mut() {
            Some((last, end)) if *last == number => *end = to.max(*end),
            _ => track.objects.push_back((number, to)),
        }
        if track.hole.is_none() {
            self.outputs.push_back(Output::Stored { session: session.clone(), epoch, position: track.reached });
        }
    }

    fn stored_checkpoint(&mut self, number: u64, checkpoint: &Checkpoint, is_whole: bool) {
        let Checkpoint { session, epoch, position, .. } = checkpoint;
        let Some(track) = self.tracks.get_mut(session).filter(|track| track.epoch == *epoch) else { return };
        if is_whole {
            track.checkpoint = Some(number);
        }
        if track.hole.is_some_and(|hole| hole > *position) {
            // It is of before what lacks: another is needed.
            if !std::mem::replace(&mut track.is_asked, true) {
                self.outputs.push_back(Output::Checkpoint(session.clone()));
            }
            return;
        }
        (track.hole, track.former) = (None, None);
        track.reached = track.reached.max(*position);
        while track.objects.front().is_some_and(|(_, to)| to <= position) {
            track.objects.pop_front();
        }
        let (epoch, position) = (track.epoch, track.reached);
        self.outputs.push_back(Output::Stored { session: session.clone(), epoch, position });
    }

    /// A list of all sessions is in the object of this number: what is before it and before what recovery needs may go when
    /// the next object has said so.
    fn forget(&mut self, now: u64, roster: u64) {
        let departed = self.departed.values().map(|departed| departed.first).chain(self.crowded_out);
        let first = self.tracks.values().filter_map(Track::first).chain(departed).min().unwrap_or(roster).min(roster);
        let mut due: Vec<_> = self.departed.iter_mut().filter(|(_, departed)| departed.due <= now).collect();
        due.sort_by_key(|(_, departed)| departed.due);
        let asked: Vec<(SessionId, u64)> = due
            .into_iter()
            .take(ASKED)
            .map(|(session, departed)| {
                departed.due = now.saturating_add(DEPARTED_US);
                (session.clone(), departed.first)
            })
            .collect();
        if !asked.is_empty() {
            self.outputs.push_back(Output::Departed(asked));
        }
        self.first = self.first.max(first);
        for (session, track) in &mut self.tracks {
            let holds_up = track.first().is_some_and(|first| first + LOG_HELD_OBJECTS < roster);
            if holds_up && !std::mem::replace(&mut track.is_asked, true) {
                self.outputs.push_back(Output::Checkpoint(session.clone()));
            }
        }
    }

    /// A checkpoint that was asked for could not be taken: it is asked for again when something happens.
    pub fn handle_no_checkpoint(&mut self, session: &SessionId) {
        if let Some(track) = self.tracks.get_mut(session) {
            track.is_asked = false;
        }
    }

    /// The durable sessions of this log, with the object that recovery of each begins with.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, Option<u64>)> {
        self.tracks.iter().map(|(session, track)| (session, track.first()))
    }
}

/// A session's track; a new one goes on from what there is of it here, where it was led before.
fn track<'a>(
    tracks: &'a mut BTreeMap<SessionId, Track>,
    departed: &mut BTreeMap<SessionId, Departed>,
    session: &SessionId,
    (epoch, before): (Epoch, Position),
) -> &'a mut Track {
    tracks.entry(session.clone()).or_insert_with(|| {
        let former = departed.remove(session).map(|departed| departed.first);
        Track { former, ..Track::new(epoch, before) }
    })
}

/// What a closing session is noted as.
pub fn closed(session: SessionId, has_ended: bool) -> Item {
    let why = if has_ended { Closed::Ended } else { Closed::LedElsewhere };
    Item::Closed { session, why }
}

#[cfg(test)]
mod tests;
