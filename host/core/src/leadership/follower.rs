//! A session's follower: what it has, what it promises, whom it suspects, and how it comes to lead.
//!
//! Owns: the promise that goes with each acknowledgement, suspicion, the candidate's questions and answers, and what a log
//! keeps when another leader goes on. Never appends anything.
//!
//! ```text
//!             nothing heard for SUSPICION      nobody reached the leader within PROBE
//!  following ─────────────────────────► suspecting ─────────────────────────► standing
//!     ▲  ◄──────── heard, or reached ───────┘                                    │ the promise is over, and every
//!     │  ◄──────── heard, reached, or a newer record ────────────────────────────┤ member has answered or is gone
//!     │                                                                          ▼
//!     └──────────── another made the next record ─────────────────── making ──► over (it leads)
//! ```
//!
//! Drive it so, once a turn: [`Follower::handle_turn`] first, with a clock that was read in this turn; then messages, with
//! their entries at hand; then [`Follower::poll`] until it is empty. An acknowledgement must leave after its entries are
//! kept. A follower that nobody counts and nobody leads waits for ever: its shell drops it when the home knows better.

mod candidate;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::chain::{Chain, Settled};
use super::leader::ChainReply;
use super::lineage::Lineage;
use super::message::{Ack, Append, Mark, Message, Output, Party, Promotion};
use super::newer;
use super::record::{ChainHome, Member, Record, Terms};
use super::suspect::{Remembered, Suspect, Suspects};
use super::timing::{HEARTBEAT_US, PROBE_US, PROMISE_US, RIGHT_US, STALL_US};
use crate::ids::{Epoch, Node, Position};
use crate::limits;
use crate::log::Input;
use candidate::Round;

#[derive(Debug)]
enum Phase {
    Following,
    /// Others try to reach the leader since then.
    Suspecting(u64),
    Standing(Round),
    /// Its record is being made in the store: until it is settled, nothing of the epoch before is heard.
    Making(Promotion),
    Over,
}

/// The candidate that was answered *yes*: nothing of an older epoch than its own is accepted until it leads, withdraws,
/// or was not heard of for [`PROMISE_US`].
#[derive(Debug)]
struct Bound {
    to: Member,
    epoch: Epoch,
    heard_at: u64,
}

/// A session's follower.
#[derive(Debug)]
pub struct Follower {
    me: Member,
    terms: Terms,
    record: Option<Arc<Record>>,
    lineage: Lineage,
    end: Position,
    applied: Position,
    committed: Position,
    /// The epoch that it follows.
    epoch: Option<Epoch>,
    stamp_us: Option<u64>,
    /// The newest epoch that anything came of: nothing of an older one is accepted.
    fence: Option<Epoch>,
    /// The greatest number of an epoch that it has seen, candidates' included.
    seen: u64,
    /// When the leader itself was heard last, if ever. Only this is told to candidates: what others say of a leader's life
    /// must not come back as what one has heard, or it never dies.
    direct_at: Option<u64>,
    /// When silence began to count: heard, reached by others, or this worker's own stall.
    heard_at: u64,
    promised_until: u64,
    last_turn: u64,
    /// When it had stood still last.
    woke_at: Option<u64>,
    phase: Phase,
    bound: Option<Bound>,
    /// It granted the lead, and tells whom it granted it to until that one leads.
    is_granter: bool,
    next_grant: u64,
    marks: BTreeMap<Position, Mark>,
    leader_mark: Option<Mark>,
    has_diverged: bool,
    counts: bool,
    /// It followed, or led; one that was begun anew has nothing, whatever a record says of its worker.
    has_log: bool,
    /// A run of a node that is known to be over, by other means than its silence.
    over: Option<Node>,
    /// A run of a node whose process is known to have ended.
    died: Option<Node>,
    remembered: Remembered,
    chain: Chain,
    outputs: VecDeque<Output>,
}

impl Follower {
    /// One that has nothing yet, or a checkpoint ([`Follower::handle_checkpoint`]). Never in place of one that counts: a
    /// record that counts a worker says that it has the log. A follower that is to be begun anew stays until it has said
    /// [`Output::Counts`]`(false)`.
    pub fn new(now: u64, me: Member, terms: Terms) -> Follower {
        Follower {
            me,
            terms,
            record: None,
            lineage: Lineage::default(),
            end: 0,
            applied: 0,
            committed: 0,
            epoch: None,
            stamp_us: None,
            fence: None,
            seen: 0,
            direct_at: None,
            heard_at: now,
            promised_until: now + PROMISE_US,
            last_turn: now,
            woke_at: None,
            phase: Phase::Following,
            bound: None,
            is_granter: false,
            next_grant: now,
            marks: BTreeMap::new(),
            leader_mark: None,
            has_diverged: false,
            counts: false,
            has_log: false,
            over: None,
            died: None,
            remembered: Remembered::default(),
            chain: Chain::default(),
            outputs: VecDeque::new(),
        }
    }

    /// One that led until now, and gave way to the leader of a record: it has promised as if it had just acknowledged.
    pub(super) fn after(
        now: u64,
        me: Member,
        terms: Terms,
        (record, lineage): (Arc<Record>, Lineage),
        (end, committed): (Position, Position),
        seen: u64,
    ) -> Follower {
        let is_granter = record.cause.is_grant() && record.counts(me);
        let counts = record.counts(me);
        let seen = seen.max(record.epoch.number);
        let mut follower = Follower {
            record: Some(record),
            lineage,
            end,
            applied: end,
            committed,
            seen,
            is_granter,
            counts,
            has_log: true,
            ..Follower::new(now, me, terms)
        };
        if counts {
            follower.outputs.push_back(Output::Counts(true));
        }
        follower.tell_granted(now);
        follower
    }

    /// The same, which knew as a leader what is never to run.
    pub(super) fn remembering(mut self, killers: Vec<Suspect>) -> Follower {
        self.remembered = Remembered::of(killers);
        self
    }

    /// The same on a node whose run has had epochs up to this number in sessions that it has forgotten. It may have led this
    /// one among them: an epoch is of a run of a node, and none is begun twice.
    pub fn after_epochs(mut self, number: u64) -> Follower {
        self.seen = self.seen.max(number);
        self
    }

    /// The greatest number of an epoch that it has seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Who it is.
    pub fn me(&self) -> Member {
        self.me
    }

    /// The newest record that it knows.
    pub fn record(&self) -> Option<&Arc<Record>> {
        self.record.as_ref()
    }

    /// The record that the session is over, for one whose log says so.
    pub fn last_record(&self) -> Option<Arc<Record>> {
        self.record.as_ref().map(|record| Arc::new(record.ended(self.end)))
    }

    /// Where its log ends.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Up to where it knows that nothing is ever withdrawn.
    pub fn committed(&self) -> Position {
        self.committed
    }

    /// Until when it has promised not to promote, by its own clock.
    pub fn promised_until(&self) -> u64 {
        self.promised_until
    }

    /// The lineage of its log.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Whether it knows of a newer epoch than a record's: what that says is of a branch that is over.
    pub fn knows_newer(&self, record: &Record) -> bool {
        self.record.as_ref().is_some_and(|known| newer(known.epoch, record.epoch))
    }

    /// Up to where its log is of the branch that a record goes on.
    pub(super) fn common_with(&self, record: &Record) -> Position {
        self.lineage.common(self.end, &record.lineage, self.end)
    }

    /// Whether it followed that branch last. One that followed another since gave up what that one did not have, and has it
    /// no more for those who count it yet.
    pub(super) fn is_of(&self, record: &Record) -> bool {
        self.lineage.newest().is_some_and(|newest| record.lineage.terms().iter().any(|term| term.epoch == newest))
    }

    /// Entries after a position never were.
    pub(super) fn truncate(&mut self, to: Position) {
        if to < self.end {
            self.end = to;
            self.applied = self.applied.min(to);
            self.marks.retain(|position, _| *position <= to);
            self.outputs.push_back(Output::Truncate { to });
        }
        self.committed = self.committed.min(to);
    }

    /// Whether the newest record that it knows counts it.
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// A turn begins, or it is time. Must come before anything else of the turn, with a clock read in this turn.
    ///
    /// A turn that comes [`STALL_US`] after the last one is one of a worker that stood still: what it did not hear it may
    /// not have listened to, so its silence begins anew.
    pub fn handle_turn(&mut self, now: u64) {
        if now >= self.last_turn + STALL_US {
            self.woke_at = Some(now);
            self.forgive(now);
        }
        self.last_turn = now;
        if self.is_over() {
            return;
        }
        if self.chain.next_timeout().is_some_and(|due| due <= now) {
            self.chain.handle_timeout(now);
        }
        if self.bound.as_ref().is_some_and(|bound| now >= bound.heard_at + PROMISE_US) {
            self.bound = None;
        }
        self.tell_granted(now);
        self.watch(now);
    }

    /// A message has come. The entries that a batch brings must be at hand until the outputs are done.
    pub fn handle_message(&mut self, now: u64, from: Party, message: Message) {
        if self.is_over() {
            return;
        }
        match (from, message) {
            (from, Message::Lead { record, end }) => self.introduced(now, from, Arc::new(*record), end),
            (Party::Member(from), Message::Append(append)) => self.appended(now, from, append),
            (Party::Member(from), Message::Suspects(suspects)) => self.suspected(from, suspects),
            (_, Message::Ask(ask)) => self.asked(now, ask),
            (from, Message::Answer(answer)) => self.answered(now, from, answer),
            (Party::Member(from), Message::Withdraw(epoch))
                if self.bound.as_ref().is_some_and(|bound| bound.to == from && bound.epoch <= epoch) =>
            {
                self.bound = None;
            }
            // It speaks of an epoch in which it led.
            (Party::Member(from), Message::Claim { record, .. }) => self.correct(from, record.epoch),
            _ => {}
        }
    }

    /// A leader says that it leads, or somebody that another does.
    fn introduced(&mut self, now: u64, from: Party, record: Arc<Record>, end: Option<Position>) {
        if let (Party::Member(from), Some(known)) = (from, &self.record)
            && newer(known.epoch, record.epoch)
        {
            return self.correct(from, record.epoch);
        }
        self.learn(now, record.clone());
        let is_leader = from == Party::Member(record.leader);
        if let (true, Some(end), false) = (is_leader, end, self.is_over() || self.is_deaf_to(record.epoch)) {
            self.join(&record, end);
            self.heard(now);
            self.acknowledge(record.leader);
        }
    }

    /// Whether nothing of an epoch is accepted now.
    fn is_deaf_to(&self, epoch: Epoch) -> bool {
        let is_bound = self.bound.as_ref().is_some_and(|bound| newer(bound.epoch, epoch));
        let is_making = matches!(&self.phase, Phase::Making(promotion) if newer(promotion.record.epoch, epoch));
        let is_fenced = self.fence.is_some_and(|fence| newer(fence, epoch));
        is_bound || is_making || is_fenced || self.record.as_ref().is_some_and(|record| newer(record.epoch, epoch))
    }

    /// Tells somebody who speaks of an older epoch that there is a newer one.
    fn correct(&mut self, who: Member, epoch: Epoch) {
        if let Some(record) = &self.record
            && newer(record.epoch, epoch)
        {
            let message = Message::Lead { record: Box::new((**record).clone()), end: None };
            self.send(Party::Member(who), message);
        }
    }

    /// Follows another epoch: entries that its leader does not have never were.
    fn join(&mut self, record: &Record, leaders_end: Position) {
        if self.epoch == Some(record.epoch) {
            return;
        }
        let common = self.lineage.common(self.end, &record.lineage, leaders_end);
        self.truncate(common);
        self.lineage = record.lineage.clone();
        (self.epoch, self.stamp_us, self.leader_mark) = (Some(record.epoch), None, None);
        (self.is_granter, self.has_log) = (false, true);
    }

    fn appended(&mut self, now: u64, from: Member, append: Append) {
        if self.is_deaf_to(append.epoch) {
            return self.correct(from, append.epoch);
        }
        self.fence = Some(append.epoch);
        self.seen = self.seen.max(append.epoch.number);
        if self.epoch != Some(append.epoch) {
            // The answer names the epoch that it follows, and is an invitation to be introduced to this one.
            return self.acknowledge(from);
        }
        if let Some(record) = append.record {
            self.learn(now, Arc::new(*record));
        }
        if append.from <= self.end && append.to > self.end {
            self.outputs.push_back(Output::Keep { from: self.end + 1, to: append.to });
            self.end = append.to;
        }
        self.committed = self.committed.max(append.committed.min(self.end));
        self.stamp_us = self.stamp_us.max(Some(append.stamp_us));
        if let Some(mark) = append.mark {
            self.leader_mark = Some(mark);
            self.compare();
        }
        self.heard(now);
        self.acknowledge(from);
    }

    /// What the leader holds back. One that does not follow its epoch yet is introduced first, and told again.
    fn suspected(&mut self, from: Member, suspects: Suspects) {
        let (epoch, number) = (suspects.epoch, suspects.number);
        if self.is_deaf_to(epoch) {
            return self.correct(from, epoch);
        }
        if self.epoch == Some(epoch) {
            self.remembered.take(suspects);
            self.send(Party::Member(from), Message::Suspected { epoch, number });
        }
    }

    /// An entry is in its log: what its leader has survived is not suspect any more.
    pub fn handle_entry(&mut self, input: &Input) {
        self.remembered.entered(input);
    }

    fn acknowledge(&mut self, to: Member) {
        let (Some(epoch), Some(record)) = (self.epoch, &self.record) else { return };
        let ack = Ack {
            epoch,
            stamp_us: self.stamp_us,
            received: self.end,
            applied: self.applied,
            record: if record.epoch == epoch { record.number } else { 0 },
            has_diverged: self.has_diverged,
        };
        self.send(Party::Member(to), Message::Ack(ack));
    }

    /// The leader was heard of directly: the acknowledgement that follows promises.
    fn heard(&mut self, now: u64) {
        self.direct_at = Some(now);
        self.forgive(now);
        self.stop_standing();
    }

    fn forgive(&mut self, now: u64) {
        self.heard_at = self.heard_at.max(now);
        self.promised_until = self.promised_until.max(now + PROMISE_US);
    }

    /// A record was heard of, from whomever.
    fn learn(&mut self, now: u64, record: Arc<Record>) {
        self.seen = self.seen.max(record.epoch.number);
        if self.chain.makes(&record) {
            // Its own, which somebody has read before the store told its maker: it leads by it when the store does.
            return;
        }
        let (is_newer, is_another) = match &self.record {
            Some(known) => (record.is_newer(known), newer(record.epoch, known.epoch)),
            None => (true, true),
        };
        if is_newer {
            if is_another {
                // Its leader has the time that any leader has to be heard of.
                self.stop_standing();
                self.forgive(now);
                self.bound.take_if(|bound| record.epoch >= bound.epoch);
            }
            let counts = record.counts(self.me);
            self.record = Some(record);
            if counts != self.counts {
                self.counts = counts;
                self.outputs.push_back(Output::Counts(counts));
            }
        }
        self.take_up(now);
    }

    /// It was granted the lead, and has all of the log that goes with it.
    fn take_up(&mut self, now: u64) {
        let Some(record) = self.record.clone() else { return };
        let end = record.position - u64::from(self.terms.home() == ChainHome::Log && record.position > 0);
        let follows_source = record.lineage.before_newest() == self.epoch && self.epoch.is_some();
        let is_granted = record.leader == self.me && record.cause.is_grant() && follows_source;
        if is_granted && self.end == end && self.bound.is_none() && matches!(self.phase, Phase::Following) {
            let former = record.in_sync.clone();
            // The source has released nothing since this position.
            self.lead(self.promotion(now, record, true, former));
        }
    }

    /// What it goes on with by a record, as it is now. The leader before is the one of the newest record that it knows.
    fn promotion(&self, now: u64, record: Arc<Record>, is_complete: bool, former: BTreeSet<Member>) -> Promotion {
        let (end, committed) = (self.end, self.committed);
        let (has_stalled, has_died) = (self.has_stalled(now), self.has_leader_died());
        let killers = self.remembered.killers(has_died);
        Promotion { record, end, committed, is_complete, former, has_stalled, has_died, killers }
    }

    /// Whether it stood still a short while ago.
    pub(super) fn has_stalled(&self, now: u64) -> bool {
        self.woke_at.is_some_and(|at| now < at + RIGHT_US)
    }

    fn lead(&mut self, promotion: Promotion) {
        self.phase = Phase::Over;
        self.outputs.push_back(Output::Lead(promotion));
    }

    /// The source of a move tells the target that it leads, until it does.
    fn tell_granted(&mut self, now: u64) {
        if let (true, Some(record)) = (self.is_granter && now >= self.next_grant, self.record.clone()) {
            self.next_grant = now + HEARTBEAT_US;
            let message = Message::Lead { record: Box::new((*record).clone()), end: None };
            self.send(Party::Member(record.leader), message);
        }
    }

    /// What its fold came to at the last positions, oldest first.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        self.marks.values().copied()
    }

    /// Its fold is at a position, and came to a hash.
    pub fn handle_applied(&mut self, mark: Mark) {
        if mark.position > self.end {
            return;
        }
        self.applied = self.applied.max(mark.position);
        self.marks.insert(mark.position, mark);
        if self.marks.len() > limits::MARKS {
            self.marks.pop_first();
        }
        self.compare();
    }

    /// Its fold is not kept up: what it could fold from is a state at a position.
    pub fn handle_unfolded(&mut self, position: Position) {
        self.applied = position.min(self.end);
    }

    /// The leader's fold and its own at one position. One that differs says so and never stands: which of the two is
    /// wrong is not known, but the leader's is what players saw.
    fn compare(&mut self) {
        let Some(leader) = self.leader_mark else { return };
        let Some(own) = self.marks.get(&leader.position).copied() else { return };
        if own.hash != leader.hash {
            self.handle_difference(leader, own);
        }
    }

    /// Its fold and the leader's were found to differ, in what marks do not show.
    pub fn handle_difference(&mut self, leader: Mark, own: Mark) {
        if !self.has_diverged {
            self.has_diverged = true;
            self.outputs.push_back(Output::Diverged { leader, own });
        }
    }

    /// Whether a checkpoint at a position, by a leader of this lineage, is of use: it is beyond the log, and of no older leader
    /// than is heeded now. That one may have stood still and know of nothing that was acknowledged to a later one since.
    pub fn wants_checkpoint(&self, position: Position, lineage: &Lineage) -> bool {
        let is_heeded = lineage.newest().is_some_and(|epoch| !self.is_deaf_to(epoch));
        position > self.end && is_heeded && !self.is_over()
    }

    /// A checkpoint of the leader's that is wanted ([`Follower::wants_checkpoint`]) was restored: the log begins after it. One
    /// of the leader that is followed already is acknowledged; after one of an earlier epoch this follower waits to be introduced.
    pub fn handle_checkpoint(&mut self, now: u64, position: Position, lineage: Lineage) {
        let leader = self.record.as_ref().map(|record| record.leader);
        let is_of_leader = self.epoch.is_some() && lineage.newest() == self.epoch;
        (self.end, self.applied, self.lineage) = (position, position, lineage);
        self.has_diverged = false;
        self.marks.clear();
        match leader.filter(|_| is_of_leader) {
            Some(leader) => {
                self.forgive(now);
                self.acknowledge(leader);
            }
            None => self.epoch = None,
        }
    }

    /// What it has cannot be folded or is not there any more: it must not count, and says so until it is taken out.
    pub fn handle_lost(&mut self) {
        self.has_diverged = true;
    }

    /// Whether what it has is of no use, and it counts no more: then it is begun anew, if it is asked for again.
    pub fn is_of_no_use(&self) -> bool {
        self.has_diverged && !self.counts()
    }

    /// A run of a node is over for certain: what it led may be led by this one, whatever the game's policy says.
    pub fn handle_over(&mut self, node: Node) {
        self.over = Some(node);
    }

    /// The process of a run of a node has ended, as its machine says, or a later run of the node. Who is only silent may
    /// be there yet: what it was about to run did not end it.
    pub fn handle_died(&mut self, node: Node) {
        self.died = Some(node);
    }

    /// Whether the leader's process is known to have ended.
    fn has_leader_died(&self) -> bool {
        let leader = self.record.as_ref().map(|record| record.leader.node);
        leader.is_some() && (leader == self.died || leader == self.over)
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
        match settled {
            Some(Settled::Made(record)) => self.made(now, &record),
            Some(Settled::Overtaken(record)) => {
                if matches!(self.phase, Phase::Making(_)) {
                    self.phase = Phase::Following;
                    self.forgive(now);
                }
                self.learn(now, record);
            }
            Some(Settled::Read(record)) => {
                record.into_iter().for_each(|record| self.learn(now, record));
                self.note_read(now);
            }
            None => {}
        }
    }

    fn made(&mut self, now: u64, record: &Arc<Record>) {
        match std::mem::replace(&mut self.phase, Phase::Following) {
            Phase::Making(Promotion { record: made, end, committed, is_complete, former, .. }) if made == *record => {
                self.lead(Promotion { end, committed, ..self.promotion(now, made, is_complete, former) });
            }
            other => self.phase = other,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    fn send(&mut self, to: Party, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    /// When [`Follower::handle_turn`] is due at the latest.
    pub fn next_timeout(&self) -> Option<u64> {
        let pulse = match self.phase {
            Phase::Over => return None,
            Phase::Following if !self.is_granter => (self.last_turn + PROBE_US).min(self.suspects_at()),
            _ => self.last_turn + HEARTBEAT_US,
        };
        Some(pulse.max(self.last_turn + 1).min(self.chain.next_timeout().unwrap_or(u64::MAX)))
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.chain.poll().map(Output::Chain))
    }
}
