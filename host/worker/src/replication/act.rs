//! What a worker does for sessions that are replicated: hands words to leaders and followers and does what they say.
//! A turn's words leave with the turn, all for one worker in one frame; heartbeats and acknowledgements as datagrams.

mod followed;
mod led;
mod moving;
mod updating;

pub(crate) use moving::Moving;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringside_core::ids::SessionId;
use ringside_core::leadership::LastRecords;
use ringside_core::leadership::message::{Append, Mark, Message, Party};
use ringside_core::leadership::record::Member;
use ringside_sandbox::State;

use super::arrivals::Arrivals;
use super::comparing::Comparison;
use super::job::{Done, Job, Outcome};
use super::wire::{self, Item, Word};
use super::{Clock, Following, Nodes, Unsent};
use crate::limits::PEER_FRAME_BYTES;
use crate::outlet::Outlet;
use crate::peers::{News, Peer};
use crate::timers::Timers;
use crate::worker::Worker;

/// What fits a datagram on any path, with room for QUIC's own.
const DATAGRAM_BYTES: usize = 1_100;
/// Bytes of entries in a word, unless one entry alone is larger.
const WORD_BYTES: usize = PEER_FRAME_BYTES / 4;

/// A worker's part in replication.
pub(crate) struct Replication {
    pub me: Member,
    pub clock: Clock,
    pub nodes: Nodes,
    followed: Vec<Option<Box<Following>>>,
    by_id: HashMap<SessionId, usize>,
    /// For how many of them arriving packets are handled at once.
    prompt: usize,
    /// When followers want their turn.
    schedule: Timers,
    /// Followers that have something to fold.
    work: VecDeque<usize>,
    unsent: Unsent,
    said: BTreeMap<Member, Vec<Item>>,
    jobs: VecDeque<Job>,
    arrivals: Arrivals,
    /// Of sessions of which it has nothing any more.
    pub last: LastRecords,
}

impl From<Peer> for Member {
    fn from(peer: Peer) -> Member {
        Member { node: peer.node, worker: peer.worker }
    }
}

impl From<Member> for Peer {
    fn from(member: Member) -> Peer {
        Peer { node: member.node, worker: member.worker }
    }
}

impl Replication {
    /// That of a worker which replicates nothing.
    pub fn new(me: Member, clock: Clock) -> Replication {
        Replication {
            me,
            clock,
            nodes: Arc::default(),
            followed: Vec::new(),
            by_id: HashMap::new(),
            prompt: 0,
            schedule: Timers::default(),
            work: VecDeque::new(),
            unsent: Unsent::default(),
            said: BTreeMap::new(),
            jobs: VecDeque::new(),
            arrivals: Arrivals::default(),
            last: LastRecords::default(),
        }
    }

    /// When something is due if nothing arrives before; at once where something is to be folded.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let scheduled = [self.schedule.next(), self.unsent.next_wake()].into_iter().flatten().min();
        if self.work.is_empty() { scheduled } else { Some(now) }
    }

    /// Sessions that are followed.
    pub fn followed(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are sessions that are followed, and all of them tick, so that their leaders keep to the grid as well, and
    /// count this worker: nobody waits until it has caught up.
    pub fn follows_ticking(&self) -> bool {
        !self.by_id.is_empty() && self.prompt == 0
    }

    /// A session is followed from now on, or counts this worker, or does not any more.
    fn note_prompt(&mut self, at: usize) {
        let Some(following) = self.followed.get_mut(at).and_then(Option::as_deref_mut) else { return };
        let is_prompt = following.wants_packets();
        let before = std::mem::replace(&mut following.is_prompt, is_prompt);
        self.prompt = self.prompt + usize::from(following.is_prompt) - usize::from(before);
    }

    /// A session that is followed.
    pub fn get_mut(&mut self, session: &SessionId) -> Option<&mut Following> {
        let at = self.index_of(session)?;
        self.followed.get_mut(at)?.as_deref_mut()
    }

    /// Something is to be done beside the worker.
    pub fn job(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// What a checkpoint that came may be an increment of.
    fn base_of(&self, body: &[u8]) -> Option<Arc<State>> {
        let (head, _) = wire::open_checkpoint(body).ok()?;
        self.followed.get(self.index_of(&head.session)?)?.as_ref()?.newest_base()
    }

    pub(crate) fn index_of(&self, session: &SessionId) -> Option<usize> {
        self.by_id.get(session).copied()
    }
}

impl Worker {
    /// Something to be done beside the worker, whose outcome is [`Command::Done`](crate::Command::Done).
    pub fn poll_job(&mut self) -> Option<Job> {
        self.replication.jobs.pop_front()
    }

    /// What came of a job.
    pub(crate) fn job_done(&mut self, now: Instant, Done(outcome): Done) {
        match outcome {
            Outcome::Encoded { to, head, body } => self.send_checkpoint(to, &head.session, body),
            Outcome::Kept { epoch, head, base, state } => self.checkpoint_encoded(epoch, head, (base, state)),
            Outcome::Rested { epoch, head, state } => self.resting_encoded(now, epoch, head, state),
            Outcome::Passed { to, head } => {
                tracing::debug!(session = %head.session, %to, position = head.position, "a checkpoint goes without a link");
            }
            Outcome::Decoded { from, head, state, is_passed } => {
                crate::accounting::add(&self.counters.checkpoints_passed, u64::from(is_passed));
                self.take_checkpoint(now, from, head, state);
            }
            Outcome::Unreadable { from, session, why } => self.unreadable(from, session, why),
        }
    }

    /// Something came from a peer. Answers whether it was about sessions; else it is the node's.
    pub(crate) fn hear_peer(&mut self, now: Instant, peer: Peer, news: &News) -> bool {
        let from = Member::from(peer);
        match news {
            News::Frame(body) | News::Datagram(body) if wire::is_ours(body) => match wire::items(body) {
                Ok(items) => items.into_iter().for_each(|item| self.take_item(now, from, item)),
                Err(error) => tracing::error!(%peer, %error, "words of another worker are not understood"),
            },
            News::Long { stream, part, last } => {
                let Ok(whole) = self.replication.arrivals.take(from, *stream, part, *last) else { return false };
                self.replication
                    .jobs
                    .extend(whole.map(|body| Job::decode(from, self.replication.base_of(&body), body, false)));
            }
            News::Down { .. } => {
                self.replication.arrivals.forget(from);
                return false;
            }
            _ => return false,
        }
        true
    }

    fn take_item(&mut self, now: Instant, from: Member, item: Item<&[u8]>) {
        match item {
            Item::Word(word) => self.hear(now, Party::Member(from), word),
            Item::Standing { session, players } => self.have_come(now, from, &session, players),
            Item::Branches { session, branches } => {
                if let Some(following) = self.replication.get_mut(&session) {
                    following.take_branches(from, branches);
                } else if let Some(index) = self.index_of(&session) {
                    self.learn_branches(from, index, &branches);
                }
            }
            Item::History { session, changes } => {
                if let Some(following) = self.replication.get_mut(&session) {
                    following.take_history(from, changes);
                }
            }
            Item::Diverged { session, position, leader, follower } => {
                self.keep_divergence(&session, (position, leader, follower));
            }
            Item::Comparing { session, position } => {
                self.take_comparison(now, from, &session, Comparison::Begins(position));
            }
            Item::Compared { session, position, hash } => {
                self.take_comparison(now, from, &session, Comparison::Is(Mark { position, hash }));
            }
            Item::Warm { session } => self.warm(now, &session),
            Item::Lacks { session } => self.lacks(from, &session),
            Item::Absent { session } => {
                if let Some(index) = self.index_of(&session) {
                    self.with_leader(now, index, |core, _| core.handle_absent(from));
                }
            }
        }
    }

    /// A word about a session.
    pub(crate) fn hear(&mut self, now: Instant, from: Party, word: Word<&[u8]>) {
        let Word { session, message, entries } = word;
        if let Some(index) = self.index_of(&session) {
            match message {
                Message::Ack(_) => {
                    self.with_leader_beside(now, index, |core, us| core.handle_message(us, from, message));
                }
                message => self.with_leader(now, index, |core, us| core.handle_message(us, from, message)),
            }
            // It may have been introduced by this, and wait for entries.
            self.flush_if_needed(index);
        } else if let Some(at) = self.replication.index_of(&session) {
            if !matches!(&message, Message::Append(append) if append.record.is_none()) {
                // Who leads, or what the leader holds back until this worker knows of it: players wait for that.
                self.hurry(now);
            }
            self.with_follower(now, at, |following| following.hear(now, from, message, entries));
        } else if let Party::Member(from) = from {
            self.answer_absent(from, session, &message);
        }
    }

    /// A word about a session of which this worker has nothing.
    fn answer_absent(&mut self, from: Member, session: SessionId, message: &Message) {
        if let Some(message) = self.replication.last.answer(self.replication.me, &session, message) {
            if let Message::Lead { record, .. } = &message {
                // It may be of an epoch that was begun to be told.
                self.config.epochs.forget(record.epoch.number);
            }
            self.say(from, Item::Word(Word { session, message, entries: Vec::new() }));
        } else if let Message::Lead { .. } = message {
            self.say(from, Item::Absent { session });
        }
    }

    /// The end of a turn: what was appended in it is sent, or gathered, and what others are to hear is put into frames.
    pub(crate) fn replicate(&mut self, outlet: &mut dyn Outlet) {
        let now = outlet.now();
        while let Some(at) = self.replication.schedule.pop_due(now) {
            self.with_follower(now, at as usize, |following| following.with_core(now, |_, _| ()));
        }
        let leaving = self.take_unsent(now);
        self.hand_on_entries(&leaving);
        for index in leaving {
            if let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) {
                session.flush_leader(now);
                self.obey_leader(now, index);
            }
        }
        self.send_words(now);
    }

    /// Whose entries leave now: of this turn, where somebody waits for them, and what was gathered for long enough.
    fn take_unsent(&mut self, now: Instant) -> Vec<usize> {
        let mut leaving = self.replication.unsent.take_turn();
        leaving.retain(|&index| {
            if self.lead_mut(index).is_some_and(|lead| lead.is_due(now)) {
                self.with_leader(now, index, |_, _| ());
            }
            let session = self.sessions.get_mut(index).and_then(Option::as_mut);
            let Some(session) = session else { return false };
            // Whoever plays in it or ends it waits to hear that it is over.
            let is_over = session.fold.ending().is_some();
            let Some(lead) = session.lead.as_mut() else { return false };
            lead.is_unflushed = false;
            let may_gather = !is_over && lead.may_gather(now);
            if may_gather && lead.has_unsent() && !std::mem::replace(&mut lead.is_gathered, true) {
                self.replication.unsent.gather(now, index);
            }
            !may_gather
        });
        for index in self.replication.unsent.take_due(now) {
            if let Some(lead) = self.lead_mut(index) {
                lead.is_gathered = false;
                leaving.push(index);
            }
        }
        leaving
    }

    /// Folds for each follower that has something to fold, until the turn is over. Answers whether more is to be folded.
    pub(crate) fn follow_some(&mut self, outlet: &mut dyn Outlet) -> bool {
        let slice = self.config.slice;
        for _ in 0..self.replication.work.len() {
            let Some(at) = self.replication.work.pop_front() else { break };
            self.fold_some(outlet.now(), at, slice);
            if self.is_turn_over(outlet) {
                break;
            }
        }
        !self.replication.work.is_empty()
    }

    /// Says something to a member: it leaves with the turn.
    fn say(&mut self, to: Member, item: Item) {
        self.replication.said.entry(to).or_default().push(item);
    }

    fn send_words(&mut self, now: Instant) {
        for (to, items) in std::mem::take(&mut self.replication.said) {
            // In this order: what is held back is told after the entries before it.
            let (mut frame, mut news, mut newest, mut datagram) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let (light, heavy): (Vec<Item>, Vec<Item>) = items.into_iter().partition(is_light);
            light.iter().for_each(|item| self.put_item(now, to, &mut datagram, item, DATAGRAM_BYTES));
            for item in heavy.into_iter().flat_map(cut) {
                let body = match &item {
                    item if item.is_newest() => &mut newest,
                    item if item.is_news() => &mut news,
                    _ => &mut frame,
                };
                self.put_item(now, to, body, &item, PEER_FRAME_BYTES);
            }
            self.send_body(now, to, &mut frame, PEER_FRAME_BYTES);
            self.send_body(now, to, &mut news, PEER_FRAME_BYTES);
            self.send_body(now, to, &mut newest, PEER_FRAME_BYTES);
            self.send_body(now, to, &mut datagram, DATAGRAM_BYTES);
        }
    }

    /// Puts an item into a body that has room for so many bytes; a full one is sent before.
    fn put_item(&mut self, now: Instant, to: Member, body: &mut Vec<u8>, item: &Item, room: usize) {
        if body.is_empty() {
            wire::begin(body);
        }
        let before = body.len();
        wire::append(body, item);
        if body.len() > room && before > wire::MAGIC.len() + 1 {
            let rest = body.split_off(before);
            self.send_body(now, to, body, room);
            wire::begin(body);
            body.extend_from_slice(&rest);
        }
    }

    fn send_body(&mut self, now: Instant, to: Member, body: &mut Vec<u8>, room: usize) {
        let body = Bytes::from(std::mem::take(body));
        let Some(peers) = self.peers.as_mut().filter(|_| !body.is_empty()) else { return };
        // What does not get through is said again: heartbeats and batches repeat themselves.
        let is_datagram = room == DATAGRAM_BYTES && body.len() <= DATAGRAM_BYTES;
        let sent = match is_datagram {
            true => peers.send_datagram(to.into(), body),
            false => peers.send_frame(now, to.into(), &body),
        };
        if let Err(error) = sent {
            tracing::trace!(%to, %error, "words are not sent");
        }
    }

    /// Links a session to a member, once. Where the member cannot be reached yet it is tried with the next word.
    fn link(&mut self, now: Instant, session: &SessionId, member: Member) -> bool {
        let contacts = self.replication.nodes.get(&member.node);
        let address = contacts.and_then(|contacts| contacts.peer(member.worker));
        let (Some(peers), Some(address)) = (&mut self.peers, address) else { return false };
        match peers.link(now, session.clone(), member.into(), address) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%session, %member, %error, "no link to a member");
                false
            }
        }
    }

    fn unlink(&mut self, now: Instant, session: &SessionId, members: impl IntoIterator<Item = Member>) {
        if let Some(peers) = &mut self.peers {
            members.into_iter().for_each(|member| peers.unlink(now, session, member.into()));
        }
    }
}

/// Whether an item may be lost and brings nothing: a heartbeat or an acknowledgement.
fn is_light(item: &Item) -> bool {
    match item {
        Item::Word(Word { message: Message::Append(append), entries, .. }) => {
            entries.is_empty() && append.record.is_none()
        }
        Item::Word(Word { message: Message::Ack(_), .. }) => true,
        _ => false,
    }
}

/// An item in parts that fit frames.
fn cut(item: Item) -> Vec<Item> {
    match item {
        Item::Word(word) => cut_word(word).into_iter().map(Item::Word).collect(),
        item => vec![item],
    }
}

/// A batch in words that fit frames.
fn cut_word(word: Word) -> Vec<Word> {
    let Message::Append(append) = &word.message else { return vec![word] };
    let weight = |entry: &ringside_core::log::Record| 64 + body_bytes(&entry.input);
    if word.entries.iter().map(weight).sum::<usize>() <= WORD_BYTES {
        return vec![word];
    }
    let append = append.clone();
    let (mut words, mut entries, mut bytes, mut from) = (Vec::new(), Vec::new(), 0, append.from);
    let mut close = |entries: &mut Vec<ringside_core::log::Record>, from: &mut u64| {
        let to = *from + entries.len() as u64;
        let part = Append { from: *from, to, ..append.clone() };
        let (session, message) = (word.session.clone(), Message::Append(part));
        words.push(Word { session, message, entries: std::mem::take(entries) });
        *from = to;
    };
    for entry in word.entries {
        let more = weight(&entry);
        if bytes + more > WORD_BYTES && !entries.is_empty() {
            close(&mut entries, &mut from);
            bytes = 0;
        }
        bytes += more;
        entries.push(entry);
    }
    close(&mut entries, &mut from);
    words
}

fn body_bytes(input: &ringside_core::log::Input) -> usize {
    use ringside_core::log::Input;
    match input {
        Input::Start { config: body, .. }
        | Input::Message { body, .. }
        | Input::Datagram { body, .. }
        | Input::Signal { body, .. } => body.len(),
        Input::Leadership { .. } => 1_024,
        _ => 0,
    }
}
