//! A session's leader: what it may append, what may leave when, who counts, and when it is over.
//!
//! Owns: output commit (a reliable output leaves when its inputs are safe at the session's tier), the right to release,
//! the removal and admission of followers, the grant of a planned promotion, and the end of leadership. Never promotes
//! itself: that is the follower's part.
//!
//! ```text
//!            handle_move            its end acknowledged
//!   leading ────────────► holding ──────────────────────► granting ──► over (granted: a follower now)
//!    │  ▲ ◄── HOLD_US ─────┘            the record is made
//!    │  │ a new epoch above both
//!    │  └──────── claiming ◄── somebody leads in a newer epoch, and this one had gone on without it
//!    │  └──────── yielding ◄── somebody of a lesser epoch had accepted more ──► over (superseded)
//!    ├──────────────────────── a newer record that it may not contradict ─────► over (deposed)
//!    └── handle_evict ──► resting ──── the record is made in the store ───────► over (evicted)
//! ```
//!
//! Drive it so, once a turn: [`Leader::handle_turn`] first, with a clock that was read in this turn; then messages,
//! appends, stored positions; then [`Leader::handle_flush`]; then [`Leader::poll`] until it is empty. What it says may be
//! released may leave in the same turn only. A packet of an epoch that is over finds nobody: when it says
//! [`Output::Deposed`] or [`Output::Superseded`] turn it into a follower at once.

mod change;
mod fence;
mod meeting;
mod peer;
mod release;
mod resting;
mod suspects;
mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::chain::{Chain, Settled};
use super::follower::Follower;
use super::message::{Ack, Answer, Append, Ask, Mark, Message, Output, Party, Promotion, Release, Stand};
use super::record::{Cause, ChainHome, Member, Motive, Record, Terms, is_safe_without};
use super::timing::{PAUSE_US, RIGHT_US, STALL_US, WANTED_US, next_beat};
use crate::ids::{Epoch, Node, Position};
use crate::limits;
pub use change::MoveError;
use fence::Fence;
pub use fence::NodeLog;
use meeting::Rival;
use peer::Peer;
use suspects::Caution;
pub use suspects::Turn as SuspectTurn;
use telling::Reminder;

/// Where a leader is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Leading,
    /// Inputs wait until `to` has all of the log.
    Holding {
        to: Member,
        motive: Motive,
        until: u64,
    },
    /// The record that grants `to` the lead is being made: nothing is appended or released until it is settled.
    Granting {
        since: u64,
    },
    /// Somebody leads in a newer epoch; stopped until it is settled who goes on.
    Claiming,
    /// Somebody who had accepted more goes on; stopped until its new epoch is heard of.
    Yielding,
    /// The session is being evicted.
    Resting(resting::Step),
    Over,
}

/// Why nothing is appended now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// A move is about to be granted, or the session to be evicted: keep the input until it is, or fails.
    #[error("the session is about to move")]
    Moving,
    /// It is being settled who goes on: keep the input.
    #[error("it is being settled who leads")]
    Unsettled,
    /// It does not lead any more.
    #[error("leadership is over")]
    Over,
}

/// How far a follower is behind its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Which.
    pub follower: Member,
    /// Entries that its log lacks.
    pub entries: u64,
    /// Entries that its fold lacks.
    pub unfolded: u64,
    /// How long ago the newest thing was sent that it has acknowledged, µs; none while it has acknowledged nothing of this epoch.
    /// Heartbeats are acknowledged as well: a follower that lacks nothing is not late.
    pub late_us: Option<u64>,
}

/// A session's leader.
#[derive(Debug)]
pub struct Leader {
    me: Member,
    terms: Terms,
    /// The newest record that counts.
    record: Arc<Record>,
    /// Records that were made after it and do not count yet, oldest first.
    pending: Vec<Arc<Record>>,
    phase: Phase,
    end: Position,
    stored: Position,
    committed: Position,
    /// Where its log ended when it came to lead: whoever led before may have committed all of that.
    inherited: Position,
    /// The last checkpoint that went to the store: what came before it may be gone there.
    checkpoint: Position,
    released: Option<Release>,
    peers: BTreeMap<Member, Peer>,
    /// Who counted, and is not known to have heard of the record that ended it.
    former: BTreeMap<Member, Reminder>,
    /// If the home is not known to have the record that counts.
    home: Option<Reminder>,
    /// Who is to count though there are enough, and until when: it is to lead.
    wanted: Option<(Member, u64)>,
    /// A run of a node that is about to be gone: none of it is to count.
    leaving: Option<Node>,
    mark: Option<Mark>,
    /// When its epoch began.
    began: u64,
    /// Acknowledgements of what was sent earlier give no right.
    confirmed_from: u64,
    /// The turn before the last stall, if the store has not confirmed the epoch since; matters where no follower can.
    doubtful_since: Option<u64>,
    last_turn: u64,
    next_beat: u64,
    /// The greatest number of an epoch that was seen.
    seen: u64,
    rival: Option<Rival>,
    chain: Chain,
    is_paused: bool,
    is_degraded: bool,
    /// Whether the log of its node takes what is of this epoch.
    fence: Fence,
    /// When it was sealed last.
    sealed_at: u64,
    /// When the store has confirmed last that this leader leads: it took something of the log or its record, or has no newer
    /// one. Or when the first was appended that the store does not have.
    confirmed_at: u64,
    /// What may kill a process.
    caution: Caution,
    /// After which entry it is being evicted.
    resting_at: Position,
    outputs: VecDeque<Output>,
}

impl Leader {
    /// Of a session that begins. Its first record is in its chain already, or is the directory's order to begin it.
    pub fn create(now: u64, me: Member, terms: Terms) -> Leader {
        let record = Arc::new(Record::first(terms.session.clone(), me));
        let mut leader = Leader::new(now, me, terms, record, 0);
        leader.tell_home();
        leader.note_degraded();
        leader
    }

    /// Of a follower that was promoted.
    pub fn promoted(now: u64, me: Member, terms: Terms, promotion: Promotion) -> Leader {
        let caution = Caution::after(now, &promotion);
        let Promotion { record, end, committed, former, has_stalled, .. } = promotion;
        let mut leader = Leader { caution, ..Leader::new(now, me, terms, record, end) };
        leader.committed = committed;
        leader.stored = committed;
        leader.tell_former(former);
        if leader.terms.home() == ChainHome::Log {
            leader.end += 1;
            leader.outputs.push_back(Output::Record(leader.record.clone()));
        }
        leader.tell_home();
        leader.note_degraded();
        if has_stalled {
            leader.began = now.saturating_sub(RIGHT_US + PAUSE_US);
            leader.note_pause(now);
        }
        leader
    }

    /// Of a session that ran without followers up to `end`, by this record that nobody else knows better: it is to have
    /// some now. Where the record is another worker's, the session came from there, and an epoch of this one's begins.
    pub fn resumed(now: u64, me: Member, terms: Terms, record: Arc<Record>, end: Position) -> Leader {
        debug_assert!(terms.home() == ChainHome::Log && record.in_sync.is_empty());
        let mut leader = if record.leader == me {
            Leader::new(now, me, terms, record, end)
        } else {
            let epoch = me.epoch_after(record.epoch.number);
            let next = record.succeeded(me, epoch, BTreeSet::new(), end, (Cause::Raised, ChainHome::Log));
            let mut leader = Leader::new(now, me, terms, Arc::new(next), end + 1);
            leader.outputs.push_back(Output::Record(leader.record.clone()));
            leader
        };
        (leader.stored, leader.committed) = (leader.end, leader.end);
        leader.tell_home();
        leader.note_degraded();
        leader.release(now);
        leader
    }

    /// Whether somebody follows, nothing is being settled, and nobody has more to come than a batch: that what was appended is
    /// sent a little later holds nothing up but its own release.
    pub fn is_calm(&self) -> bool {
        let is_settled = self.pending.is_empty() && self.rival.is_none() && self.wanted.is_none() && !self.is_fenced();
        let is_leading = self.phase == Phase::Leading && self.caution.is_idle();
        let is_followed = !self.peers.is_empty() && self.peers.values().all(|peer| peer.is_near(self.end));
        is_settled && is_leading && is_followed
    }

    /// Whether [`Leader::handle_flush`] has more to say than what a heartbeat says anyway.
    pub fn has_to_flush(&self) -> bool {
        self.has_unsent() || !self.caution.is_idle()
    }

    /// Whether there are entries that were not sent to somebody who follows.
    pub fn has_unsent(&self) -> bool {
        self.peers.values().any(|peer| peer.sent < self.end)
    }

    /// Whether nobody follows, nobody is to, and nobody is to be told anything: where the session asks for no followers, it
    /// may go on without a leader, and [`Leader::resumed`] later.
    pub fn is_alone(&self, now: u64) -> bool {
        let is_idle = self.pending.is_empty() && self.rival.is_none() && self.phase == Phase::Leading;
        let is_unheard = self.former.is_empty() && self.home.is_none();
        let is_wanted = self.wanted.is_some_and(|(_, until)| now < until);
        is_idle && is_unheard && !is_wanted && self.record.in_sync.is_empty() && self.peers.is_empty()
    }

    fn new(now: u64, me: Member, terms: Terms, record: Arc<Record>, end: Position) -> Leader {
        let peers = record.in_sync.iter().map(|who| (*who, Peer::new(now))).collect();
        Leader {
            me,
            terms,
            seen: record.epoch.number,
            record,
            pending: Vec::new(),
            phase: Phase::Leading,
            end,
            stored: 0,
            committed: 0,
            inherited: end,
            checkpoint: 0,
            released: None,
            peers,
            former: BTreeMap::new(),
            home: None,
            wanted: None,
            leaving: None,
            mark: None,
            began: now,
            confirmed_from: now,
            doubtful_since: None,
            last_turn: now,
            next_beat: now,
            rival: None,
            chain: Chain::default(),
            is_paused: false,
            is_degraded: false,
            fence: Fence::Open,
            sealed_at: now,
            confirmed_at: now,
            caution: Caution::default(),
            resting_at: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    /// The newest record that counts.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Where its log ends.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Up to where nothing is ever withdrawn.
    pub fn committed(&self) -> Position {
        self.committed
    }

    /// The first position that its epoch may append.
    pub fn first(&self) -> Position {
        self.record.lineage.terms().last().map_or(1, |term| term.first)
    }

    /// A checkpoint goes to the store, which every follower that counts has come to ([`Leader::replicated`]): nobody comes to
    /// count who has less.
    pub fn handle_checkpoint(&mut self, position: Position) {
        self.checkpoint = self.checkpoint.max(position);
    }

    /// Records in its log that do not count yet.
    pub fn pending_records(&self) -> usize {
        self.pending.len()
    }

    /// Whether nobody else has what is appended now, against the session's tier.
    pub fn is_degraded(&self) -> bool {
        self.is_degraded
    }

    /// The greatest number of an epoch that it has seen.
    pub fn seen(&self) -> u64 {
        self.seen.max(self.record.epoch.number)
    }

    /// Whether it leads no more.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// How far each follower is behind.
    pub fn lags(&self, now: u64) -> impl Iterator<Item = Lag> + '_ {
        self.peers.iter().map(move |(who, peer)| Lag {
            follower: *who,
            entries: self.end.saturating_sub(peer.received),
            unfolded: self.end.saturating_sub(peer.applied),
            late_us: peer.stamp_us.map(|stamp| now.saturating_sub(stamp)),
        })
    }

    /// A turn begins, or it is time. Must come before anything else of the turn, with a clock read in this turn.
    ///
    /// A turn that comes [`STALL_US`] after the last one is one of a worker that stood still: what was sent before it
    /// gives no right any more, and silence says nothing, for nobody was listened to.
    pub fn handle_turn(&mut self, now: u64) {
        if now >= self.last_turn + STALL_US {
            self.confirmed_from = now;
            let is_in_store = self.terms.home() == ChainHome::Store;
            self.doubtful_since = self.doubtful_since.or(is_in_store.then_some(self.last_turn));
            let since = self.last_turn;
            self.peers.values_mut().for_each(|peer| peer.excuse(now, since));
            self.next_beat = now;
        }
        self.last_turn = now;
        if self.is_over() {
            return;
        }
        if self.chain.next_timeout().is_some_and(|due| due <= now) {
            self.chain.handle_timeout(now);
        }
        if self.is_in_doubt(now) {
            self.chain.read(now);
        }
        self.end_hold(now);
        self.go_on_fenced(now);
        self.go_on_resting(now);
        self.pursue_rival(now);
        if now >= self.next_beat {
            self.next_beat = next_beat(now);
            self.beat(now);
        }
        self.change_set(now);
        self.release(now);
        self.note_pause(now);
    }

    /// Appends an entry: its position. What [`Leader::poll`] has must be done before, for it may hold a record that comes
    /// first.
    ///
    /// # Errors
    /// [`NotNow`], and what to do with the input meanwhile.
    pub fn handle_append(&mut self, now: u64) -> Result<Position, NotNow> {
        self.may_append()?;
        Ok(self.append(now))
    }

    /// Whether an entry would be appended now: to be asked before an input is applied.
    ///
    /// # Errors
    /// As [`Leader::handle_append`].
    pub fn may_append(&self) -> Result<(), NotNow> {
        match self.phase {
            Phase::Leading if self.is_fenced() => Err(NotNow::Unsettled),
            Phase::Leading => Ok(()),
            Phase::Holding { .. } | Phase::Granting { .. } | Phase::Resting(_) => Err(NotNow::Moving),
            Phase::Claiming | Phase::Yielding => Err(NotNow::Unsettled),
            Phase::Over => Err(NotNow::Over),
        }
    }

    fn append(&mut self, now: u64) -> Position {
        self.peers.values_mut().for_each(|peer| peer.behind(now, self.end));
        if self.stored >= self.end {
            self.confirmed_at = now;
        }
        self.end += 1;
        self.end
    }

    /// The turn's entries are appended: they are sent, and what needs nobody is released.
    pub fn handle_flush(&mut self, now: u64) {
        if self.is_over() || self.phase == Phase::Claiming {
            return;
        }
        let behind: Vec<Member> =
            self.peers.iter().filter(|(_, peer)| peer.is_behind(now, self.end)).map(|(who, _)| *who).collect();
        behind.into_iter().for_each(|who| self.send_entries(now, who));
        self.flush_suspects(now);
        self.release(now);
    }

    /// The store has this node's log up to a position.
    pub fn handle_stored(&mut self, now: u64, position: Position) {
        if self.is_fenced() {
            return;
        }
        self.stored = self.stored.max(position.min(self.end));
        self.confirmed_at = now;
        self.release(now);
    }

    /// The fold came to a hash, for followers to compare.
    pub fn handle_mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// Somebody should follow, and is introduced at once: after a promotion players wait for it. Beyond
    /// [`limits::FOLLOWERS`], the leader and former members included: ignored.
    pub fn handle_recruit(&mut self, now: u64, who: Member) {
        let is_new = who != self.me && !self.peers.contains_key(&who);
        if is_new && self.peers.len() < limits::FOLLOWERS && !self.is_over() {
            self.peers.insert(who, Peer::new(now));
            self.correct(who);
        }
    }

    /// Entries for somebody are not kept any more, and were not sent: what follows the checkpoint that is, is sent when
    /// that is acknowledged.
    pub fn handle_unsent(&mut self, now: u64, who: Member) {
        if let Some(peer) = self.peers.get_mut(&who) {
            peer.unsent(now);
        }
    }

    /// Somebody is to count beside those that the session asks for, because it is to lead soon: for [`WANTED_US`], or until
    /// it does. Who is too many then is taken out.
    pub fn handle_wanted(&mut self, now: u64, who: Member) {
        self.wanted = Some((who, now + WANTED_US));
        self.change_set(now);
    }

    /// Somebody is to count until it is let go of ([`Leader::handle_unkept`]): it led before, and leads again should this
    /// process not last.
    pub fn handle_kept(&mut self, who: Member) {
        self.wanted = Some((who, u64::MAX));
    }

    /// Whether somebody is kept, and counts.
    pub(super) fn keeps(&self) -> bool {
        self.wanted.is_some_and(|(who, until)| until == u64::MAX && self.record.counts(who))
    }

    /// Those of a node's run need not count any longer, and are about to be gone.
    pub fn handle_unkept(&mut self, now: u64, node: Node) {
        self.wanted.take_if(|(who, _)| who.node == node);
        self.leaving = Some(node);
        self.change_set(now);
    }

    /// Whether somebody of a node counts who need not: the store has it all, or somebody else who counts and is heard of.
    pub fn can_spare(&self, now: u64, node: Node) -> bool {
        let is_heard = |who: &&Member| self.peers.get(who).is_some_and(|peer| !peer.is_silent(now, self.end));
        let in_sync = self.record.in_sync.iter().filter(|who| who.node == node || is_heard(who)).copied().collect();
        self.record.in_sync.iter().any(|who| who.node == node) && is_safe_without(node, &in_sync, self.terms.tier)
    }

    /// A message has come.
    pub fn handle_message(&mut self, now: u64, from: Party, message: Message) {
        if self.is_over() {
            return;
        }
        match (from, message) {
            (Party::Member(from), Message::Ack(ack)) => self.acknowledged(now, from, &ack),
            (Party::Member(from), Message::Suspected { epoch, number }) if epoch == self.record.epoch => {
                self.suspects_known(now, from, number);
            }
            (_, Message::Ask(ask)) => self.asked(now, ask),
            (Party::Member(from), Message::Append(append)) if self.is_stale(append.epoch) => self.correct(from),
            (Party::Member(from), Message::Lead { record, .. }) if self.record.is_newer(&record) => self.correct(from),
            (from, Message::Lead { record, .. }) => {
                if from == Party::Home {
                    self.home_has(record.epoch, record.number);
                }
                self.met(now, Arc::new(*record));
            }
            (_, Message::Answer(Answer { record: Some(record), .. })) => self.met(now, Arc::new(*record)),
            (Party::Member(from), Message::Claim { claim, record, end }) => {
                self.claimed(now, from, claim, Arc::new(*record), end);
            }
            (_, Message::Yield { winner, loser }) => self.yielded(now, &winner, &loser),
            _ => {}
        }
        self.release(now);
    }

    fn is_stale(&self, epoch: Epoch) -> bool {
        super::newer(self.record.epoch, epoch)
    }

    /// Somebody speaks of an epoch that is over.
    fn correct(&mut self, who: Member) {
        if self.phase == Phase::Claiming {
            return;
        }
        let message = self.introduction();
        self.send(who, message);
    }

    fn acknowledged(&mut self, now: u64, from: Member, ack: &Ack) {
        self.heard_of_record(from, ack);
        if ack.epoch != self.record.epoch {
            // It follows another epoch; if that is a newer one its leader will say so.
            if self.is_stale(ack.epoch)
                && let Some(peer) = self.peers.get_mut(&from)
            {
                peer.is_introduced = false;
            }
            return;
        }
        match self.peers.contains_key(&from) {
            true => {}
            // It was taken out, and has not heard so.
            false if ack.has_diverged && ack.record < self.record.number => self.correct(from),
            false if ack.has_diverged => {}
            // One of the record before, which has most of the log.
            false => self.handle_recruit(now, from),
        }
        let end = self.end;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.acknowledged(now, ack, end);
        }
        self.count_records();
        self.try_grant(now);
        self.go_on_resting(now);
        self.change_set(now);
    }

    /// A candidate asks: the leader is there.
    fn asked(&mut self, now: u64, ask: Ask) {
        self.seen = self.seen.max(ask.epoch.number);
        let candidate = ask.candidate;
        let is_newer = ask.record.is_newer(&self.record) && ask.record.epoch != self.record.epoch;
        if is_newer && !self.raises(&ask.record) {
            return self.met(now, Arc::new(*ask.record));
        }
        let record = Some(Box::new((*self.record).clone()));
        let answer =
            Answer { asked: ask.epoch, number: self.seen, record, stand: Stand::Lives, stamp_us: ask.stamp_us };
        self.send(candidate, Message::Answer(answer));
    }

    /// The store has answered.
    pub fn handle_chain(&mut self, now: u64, reply: ChainReply) {
        let settled = match reply {
            ChainReply::Created => {
                self.chain.handle_created(now);
                None
            }
            ChainReply::Newest(newest) => self.chain.handle_newest(now, newest),
        };
        if self.is_over() {
            return;
        }
        match settled {
            Some(Settled::Made(record)) => self.made(now, record),
            Some(Settled::Overtaken(record)) => self.overtaken(now, record),
            Some(Settled::Read(Some(record))) if record.epoch == self.record.epoch => {
                if record.number >= self.record.number {
                    self.confirmed(now);
                }
            }
            Some(Settled::Read(Some(record))) => self.met(now, record),
            Some(Settled::Read(None)) | None => {}
        }
        self.release(now);
    }

    /// Heartbeats, and introductions to who does not follow yet.
    fn beat(&mut self, now: u64) {
        if self.phase == Phase::Claiming {
            // It has seen a newer epoch, and says nothing under its own any more.
            return;
        }
        let silent: Vec<Member> = (self.peers.iter())
            .filter(|(who, peer)| (peer.has_diverged || peer.is_lost(now)) && !self.counted().any(|it| it == *who))
            .map(|(who, _)| *who)
            .collect();
        self.peers.retain(|who, _| !silent.contains(who));
        let word = self.caution.word();
        let all: Vec<(Member, bool, Option<u64>)> =
            (self.peers.iter()).map(|(who, peer)| (*who, peer.is_introduced, peer.is_told_until(now, word))).collect();
        for (who, is_introduced, is_told_until) in all {
            match is_told_until {
                Some(until) => self.next_beat = self.next_beat.min(until),
                None if is_introduced => self.send_entries(now, who),
                None => self.correct(who),
            }
        }
        self.tell_suspects(now);
        self.remind(now);
    }

    fn introduction(&self) -> Message {
        Message::Lead { record: Box::new(Record::clone(self.told())), end: Some(self.end) }
    }

    fn send_entries(&mut self, now: u64, who: Member) {
        let (epoch, end, committed, newest) = (self.record.epoch, self.end, self.committed, self.told().clone());
        let mark = self.mark;
        let Some(peer) = self.peers.get_mut(&who) else { return };
        let (from, to) = peer.next(now, end);
        let record = (peer.record < newest.number).then(|| Box::new((*newest).clone()));
        let append = Append { epoch, stamp_us: now, from, to, committed, record, mark };
        self.send(who, Message::Append(append));
    }

    fn send(&mut self, to: Member, message: Message) {
        self.outputs.push_back(Output::Send { to: Party::Member(to), message });
    }

    /// When [`Leader::handle_turn`] is due at the latest.
    pub fn next_timeout(&self) -> Option<u64> {
        if self.is_over() { None } else { Some(self.next_beat.min(self.chain.next_timeout().unwrap_or(u64::MAX))) }
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.chain.poll().map(Output::Chain))
    }

    /// It led, and does not any more: it follows whoever does.
    pub fn into_follower(self, now: u64) -> Follower {
        let by = self.rival.map(|rival| rival.record).unwrap_or_else(|| self.record.clone());
        let lineage = self.record.lineage.clone();
        let killers = self.caution.into_killers();
        let follower = Follower::after(now, self.me, self.terms, (by, lineage), (self.end, self.committed), self.seen);
        follower.remembering(killers)
    }

    /// Whoever counts: named by the record that counts or by one that may come to. Some are named twice.
    fn counted(&self) -> impl Iterator<Item = &Member> {
        self.pending.iter().chain([&self.record]).flat_map(|record| &record.in_sync)
    }

    /// Whether nobody counts.
    fn counts_nobody(&self) -> bool {
        self.counted().next().is_none()
    }

    /// The record that the session is over.
    pub fn last_record(&self) -> Record {
        self.newest().ended(self.end)
    }

    fn newest(&self) -> &Arc<Record> {
        self.pending.last().unwrap_or(&self.record)
    }

    /// What others are told: in the log a record must be told to come to count, in the store it is none before it is made.
    fn told(&self) -> &Arc<Record> {
        match self.terms.home() {
            ChainHome::Log => self.newest(),
            ChainHome::Store => &self.record,
        }
    }
}

/// What the store said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainReply {
    /// A create was answered, well or not.
    Created,
    /// The record with the highest number.
    Newest(Option<Arc<Record>>),
}
