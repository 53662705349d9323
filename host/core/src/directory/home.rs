//! This node as a home: one entry for each key that is its to keep, and how an entry comes to be.
//!
//! ```text
//!  wanted ──► Asking ──nobody leads it──► Placing ──led──► Known ──ended, or its node is gone──► (forgotten)
//!     │          └────────── somebody does ──────────────────▲
//!     └── everything is told, or the key was this home's before ──► Placing
//!
//!  Known ──its node is gone, and somebody follows it──► Awaited ──a follower leads it──► Known
//!                                                          └── nobody did in time ──► (forgotten)
//! ```
//!
//! **Only the home decides where a session goes**, and it decides only when it knows that nobody leads one of that key:
//! it has been told everything, or has asked everybody. A node that is ordered to lead checks that it has the same ring.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::{Cluster, Context, RESEND_US, Timer};
use super::copies::Copies;
use super::doors::REQUEST_US;
use super::inquiry::Inquiries;
use super::message::{Birth, Denial, Item, Lead, Message, Name, NotHosted, Origin, Want, hash_config, name_of};
use super::over::Over;
use super::term::{Mark, Part, SETTLE_US, Term};
use super::types::{Open, Placed, Refusal, Replicas};
use crate::ids::{Incarnation, Node, NodeId, SessionId};
use crate::leadership::message::Message as Words;
use crate::leadership::record::{ChainHome, Member};
use crate::leadership::{newer, wins};
use crate::limits;
use crate::placement::{self, ASSUMED_US, Decision, Loads, Policy, Unplaceable};
use crate::ring::{Position, Ring, RingDigest};

/// How long a session may take to be led somewhere once its home decided, µs: what a worker has, and some.
const PLACING_US: u64 = 12_000_000;
/// How often a verdict on duplicates is repeated, µs.
const VERDICT_US: u64 = 500_000;
/// How long after its leader's node is gone a session is not given up while a follower of it may come to lead it, µs: it
/// does within a second of its leader's death.
pub const SUCCESSION_US: u64 = 5_000_000;
/// The same where the record by which it leads is made in the store, µs: it does when the store answers, which may be away
/// for a while.
const STORED_SUCCESSION_US: u64 = 120_000_000;

/// How long a session of a game is not given up while a follower of it may come to lead it, µs.
pub(super) fn succession_us(replicas: &Replicas) -> u64 {
    match replicas.home() {
        ChainHome::Log => SUCCESSION_US,
        ChainHome::Store => STORED_SUCCESSION_US,
    }
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    door: Node,
    number: u64,
    /// When it came; its door gives it up [`REQUEST_US`] after it asked.
    since: u64,
    /// What may be created for it.
    birth: Option<Box<Birth>>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Create { is_drawn: bool },
}

#[derive(Debug)]
enum Phase {
    /// Others are asked for it; these have not answered. One that follows it may have: its leader is gone.
    Asking { pending: BTreeSet<Node>, first: Option<Node>, orphan: Option<SessionId> },
    /// A node was ordered to lead it.
    Placing(Box<Placing>),
    /// Somebody leads it. The mark says of which announcement that is known; `None`: from hearsay.
    Known { lead: Box<Lead>, mark: Option<Mark> },
    /// Its leader is gone, and a follower may come to lead it: for so long whoever asks waits for that.
    Awaited { session: SessionId },
}

#[derive(Debug)]
struct Placing {
    birth: Birth,
    decision: Box<Decision>,
    target: Node,
    refused: Vec<NodeId>,
    refusal: Option<Refusal>,
    until: u64,
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    waiting: Vec<Waiter>,
}

/// The entries of this node.
#[derive(Debug)]
pub(super) struct Home {
    entries: BTreeMap<Name, Entry>,
    waiting: usize,
    term: Term,
    inquiries: Inquiries,
    /// Entries that were this node's before the last change of the ring: what it tells the home after it.
    former: BTreeMap<Name, Lead>,
    /// Sessions that lost against another of their key and have not ended yet.
    losers: BTreeMap<(Name, Node), Lead>,
    over: Over,
    copies: Copies,
    loads: Loads,
    /// What was placed since the loads were reported, CPU µs a second.
    placed: Loads,
}

impl Home {
    pub fn new(now: u64) -> Home {
        Home {
            entries: BTreeMap::new(),
            waiting: 0,
            term: Term::new(now),
            inquiries: Inquiries::default(),
            former: BTreeMap::new(),
            losers: BTreeMap::new(),
            over: Over::default(),
            copies: Copies::default(),
            loads: Loads::new(),
            placed: Loads::new(),
        }
    }

    pub fn term(&self) -> &Term {
        &self.term
    }

    /// What is known of a name.
    pub fn known(&self, name: &Name) -> Option<&Lead> {
        match &self.entries.get(name)?.phase {
            Phase::Known { lead, .. } => Some(lead),
            _ => None,
        }
    }

    /// All that is known.
    pub fn all_known(&self) -> impl Iterator<Item = &Lead> {
        self.entries.values().filter_map(|entry| match &entry.phase {
            Phase::Known { lead, .. } => Some(&**lead),
            _ => None,
        })
    }

    /// Entries, known or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Duplicates that are not settled.
    pub fn unsettled(&self) -> usize {
        self.losers.len()
    }

    /// The nodes' loads, CPU µs a second.
    pub fn handle_loads(&mut self, loads: Loads) {
        self.loads = loads;
        self.placed.clear();
    }

    /// A request. Its ring was compared already. `orphan`: what this node itself follows of that name without a leader.
    pub fn handle_ask(
        &mut self,
        cx: &mut Context<'_>,
        (door, number): (Node, u64),
        want: Want,
        orphan: Option<SessionId>,
    ) {
        let since = cx.now;
        let waiter = match want {
            Want::Find(_) => return,
            Want::Open(open) => {
                // One that may not be created may have been evicted.
                let may_sleep = cx.sleepers.contains(&open.game);
                let birth = (open.may_create || may_sleep).then(|| Box::new(birth_of(&open)));
                (name_of_open(&open), Waiter { door, number, since, birth, kind: Kind::Open })
            }
            Want::Create { birth, is_drawn } => {
                let name = name_of(&birth.session);
                (name, Waiter { door, number, since, birth: Some(Box::new(birth)), kind: Kind::Create { is_drawn } })
            }
        };
        let (name, waiter) = waiter;
        if let Some(entry) = self.entries.get_mut(&name) {
            match &entry.phase {
                Phase::Known { lead, .. } if lead.is_live => waiter.answer_with(cx, lead),
                _ => self.wait(cx, &name, waiter),
            }
            return;
        }
        let position = Position::of_key(&name.0, &name.1);
        if let Some(session) = orphan.filter(|session| !self.over.is_lost(session)) {
            if self.has_room(cx, &waiter) {
                self.waiting += 1;
                let phase = Phase::Awaited { session: session.clone() };
                self.entries.insert(name.clone(), Entry { phase, waiting: vec![waiter] });
                self.await_follower(cx, &name, session);
            }
        } else if self.term.must_ask(cx, position) {
            if self.has_room(cx, &waiter) {
                self.begin_asking(cx, name, vec![waiter]);
            }
        } else if waiter.birth.is_none() {
            let refusal = self.absent(&name);
            waiter.refuse(cx, refusal);
        } else if self.has_room(cx, &waiter) {
            self.begin_placing(cx, name, vec![waiter]);
        }
    }

    /// Whether there is room for one more entry; says so where there is none.
    fn has_room(&self, cx: &mut Context<'_>, waiter: &Waiter) -> bool {
        let refusal = match self.entries.len() {
            len if len >= limits::HOME_ENTRIES => Refusal::Full(limits::HOME_ENTRIES),
            _ if self.waiting >= limits::HOME_WAITING => Refusal::Busy,
            _ => return true,
        };
        waiter.refuse(cx, refusal);
        false
    }

    fn wait(&mut self, cx: &mut Context<'_>, name: &Name, waiter: Waiter) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if entry.waiting.iter().any(|other| (other.door, other.number) == (waiter.door, waiter.number)) {
            return;
        }
        // Nobody listens for the answer to one that was given up.
        let before = entry.waiting.len();
        entry.waiting.retain(|other| other.since.saturating_add(REQUEST_US) > waiter.since);
        self.waiting -= before - entry.waiting.len();
        if self.waiting >= limits::HOME_WAITING {
            waiter.refuse(cx, Refusal::Busy);
            return;
        }
        self.waiting += 1;
        entry.waiting.push(waiter);
    }

    /// Why there is no session with that name.
    fn absent(&self, name: &Name) -> Refusal {
        match self.over.lost(name) {
            Some(session) => Refusal::Lost(session.clone()),
            None => Refusal::NoSuchSession(name.0.clone(), name.1.clone()),
        }
    }

    /// Whether a session has ended, be it that somebody still says that it is led.
    pub fn has_ended(&self, session: &SessionId) -> bool {
        self.over.has_ended(session)
    }

    // Asking.

    fn begin_asking(&mut self, cx: &mut Context<'_>, name: Name, waiting: Vec<Waiter>) {
        let position = Position::of_key(&name.0, &name.1);
        let others = || cx.cluster.present.iter().filter(|node| **node != cx.me).copied();
        let first = self.term.previous(position).filter(|node| others().any(|other| other == *node));
        let pending: BTreeSet<Node> = others().collect();
        self.waiting += waiting.len();
        cx.timers.set(cx.now.saturating_add(PLACING_US), Timer::Placing(name.clone()));
        let asked: Vec<Node> = first.map_or_else(|| pending.iter().copied().collect(), |first| vec![first]);
        self.entries.insert(name.clone(), Entry { phase: Phase::Asking { pending, first, orphan: None }, waiting });
        for node in asked {
            self.inquiries.ask(cx, node, &name);
        }
        self.conclude(cx, &name);
    }

    /// A node answered a question.
    pub fn handle_told(&mut self, cx: &mut Context<'_>, from: Node, number: u64, ring: RingDigest, known: Vec<Lead>) {
        for (name, lead) in self.inquiries.handle_told(cx, from, number, ring, known) {
            self.told(cx, from, &name, lead);
        }
    }

    fn told(&mut self, cx: &mut Context<'_>, from: Node, name: &Name, lead: Option<Lead>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let Phase::Asking { pending, first, orphan } = &mut entry.phase else { return };
        pending.remove(&from);
        let lead = lead.filter(|lead| !self.over.has_ended(&lead.session));
        // A leader that has told everything has not told of this: it says itself, when it is asked, whether it leads it by now.
        let lead = lead.filter(|lead| lead.leader == from || !self.term.has_told_all(lead.leader));
        let (lead, lost) = match lead {
            Some(lead) if cx.cluster.present.contains(&lead.leader) => (Some(lead), None),
            lead => (None, lead),
        };
        // Told of by one who follows it: any other leaves out whose leader it does not see.
        let lost = lost.map(|lead| lead.session).filter(|session| !self.over.is_lost(session));
        *orphan = orphan.take().or(lost);
        if let Some(lead) = lead {
            // What a leader says of itself is as good as an announcement; what another one says must be confirmed.
            let mark = (lead.leader == from).then(|| self.term.mark_answer(from));
            self.know(cx, name, lead, mark);
            return;
        }
        if *first == Some(from) {
            self.ask_all(cx, name);
        }
        self.conclude(cx, name);
    }

    /// The one who was asked first does not know, or is silent: everybody is asked.
    fn ask_all(&mut self, cx: &mut Context<'_>, name: &Name) {
        let Some(Entry { phase: Phase::Asking { pending, first, .. }, .. }) = self.entries.get_mut(name) else {
            return;
        };
        if let Some(first) = first.take() {
            for node in pending.iter().filter(|node| **node != first) {
                self.inquiries.ask(cx, *node, name);
            }
        }
    }

    /// Whether everybody has answered that they know of nothing; then what is wanted may begin.
    fn conclude(&mut self, cx: &mut Context<'_>, name: &Name) {
        let Some(entry) = self.entries.get(name) else { return };
        match &entry.phase {
            Phase::Asking { pending, orphan: None, .. } if pending.is_empty() => {}
            Phase::Asking { pending, orphan: Some(session), .. } if pending.is_empty() => {
                let session = session.clone();
                return self.await_follower(cx, name, session);
            }
            _ => return,
        }
        let waiting = self.remove(cx, name);
        if waiting.iter().any(|waiter| waiter.birth.is_some()) {
            self.begin_placing(cx, name.clone(), waiting);
        } else {
            let refusal = self.absent(name);
            waiting.iter().for_each(|waiter| waiter.refuse(cx, refusal.clone()));
        }
    }

    /// A node did not answer.
    pub fn inquiry_due(&mut self, cx: &mut Context<'_>, node: Node) {
        for name in self.inquiries.handle_timeout(cx, node) {
            let first = self.entries.get(&name).map(|entry| &entry.phase);
            if matches!(first, Some(Phase::Asking { first: Some(first), .. }) if *first == node) {
                self.ask_all(cx, &name);
            }
        }
    }

    // Placing.

    fn begin_placing(&mut self, cx: &mut Context<'_>, name: Name, waiting: Vec<Waiter>) {
        let births = || waiting.iter().filter_map(|waiter| waiter.birth.as_deref());
        let creates = births().find(|birth| birth.origin != Origin::Evicted);
        let Some(birth) = creates.or_else(|| births().next()).cloned() else { return };
        self.waiting += waiting.len();
        let until = cx.now.saturating_add(PLACING_US);
        // A target is set by what follows.
        self.entries.insert(
            name.clone(),
            Entry { phase: Phase::Asking { pending: BTreeSet::new(), first: None, orphan: None }, waiting },
        );
        self.place(cx, &name, birth, Vec::new(), None, until);
    }

    /// The nodes' loads, with what was placed since they were reported.
    fn loads_now(&self) -> Loads {
        let mut loads = self.loads.clone();
        for (node, placed) in &self.placed {
            let load = loads.entry(*node).or_default();
            *load = load.saturating_add(*placed);
        }
        loads
    }

    /// Where a session of this node that is to leave it would be placed, if not on these.
    pub fn elsewhere(&mut self, cluster: &Cluster, me: NodeId, name: &Name, tried: &[NodeId]) -> Option<Node> {
        let ring = match cluster.ring.member(me) {
            None => Arc::clone(&cluster.ring),
            Some(_) => Arc::new(Ring::new(cluster.ring.members().iter().filter(|it| it.node.id != me).cloned())),
        };
        let position = Position::of_key(&name.0, &name.1);
        let placed = placement::place(&ring, position, Policy::Ring, &self.loads_now(), tried);
        let target = ring.member(placed.ok()?.node()?)?.node;
        *self.placed.entry(target.id).or_default() += ASSUMED_US;
        Some(target)
    }

    /// Decides where a session goes, and orders it.
    fn place(
        &mut self,
        cx: &mut Context<'_>,
        name: &Name,
        birth: Birth,
        refused: Vec<NodeId>,
        refusal: Option<Refusal>,
        until: u64,
    ) {
        let position = Position::of_key(&name.0, &name.1);
        let loads = self.loads_now();
        let decided = placement::place(&cx.cluster.ring, position, birth.policy, &loads, &refused);
        let target = decided.as_ref().ok().and_then(Decision::node).and_then(|id| cx.cluster.ring.member(id));
        let (Ok(decision), Some(target)) = (&decided, target.map(|member| member.node)) else {
            let why = match decided {
                Err(Unplaceable::Pinned(node)) => Refusal::NotThere(node),
                _ => refusal.unwrap_or(Refusal::NoWorker),
            };
            self.give_up(cx, name, &why);
            return;
        };
        *self.placed.entry(target.id).or_default() += ASSUMED_US;
        let decision = Box::new(decision.clone());
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.phase = Phase::Placing(Box::new(Placing { birth, decision, target, refused, refusal, until }));
        self.order(cx, name);
    }

    /// Orders the target to lead, or repeats it.
    fn order(&mut self, cx: &mut Context<'_>, name: &Name) {
        let Some(Entry { phase: Phase::Placing(placing), .. }) = self.entries.get(name) else { return };
        let (birth, decision) = (Box::new(placing.birth.clone()), placing.decision.clone());
        cx.send(placing.target, Message::Host { ring: cx.cluster.digest(), birth, decision });
        let at = if placing.target == cx.me { placing.until } else { placing.until.min(cx.now + RESEND_US) };
        cx.timers.set(at, Timer::Placing(name.clone()));
    }

    /// The order, or a question, was not answered.
    pub fn placing_due(&mut self, cx: &mut Context<'_>, name: &Name) {
        match self.entries.get(name).map(|entry| &entry.phase) {
            // Should it be led after all, its leader announces it.
            Some(Phase::Placing(placing)) if placing.until <= cx.now => self.give_up(cx, name, &Refusal::TimedOut),
            Some(Phase::Placing(_)) => self.order(cx, name),
            // Somebody does not answer and is not gone.
            Some(Phase::Asking { .. }) => self.give_up(cx, name, &Refusal::TimedOut),
            Some(Phase::Awaited { session }) => {
                let session = session.clone();
                self.lose(cx, name, session);
            }
            Some(Phase::Known { .. }) | None => {}
        }
    }

    /// The target answered.
    pub fn handle_hosted(
        &mut self,
        cx: &mut Context<'_>,
        from: Node,
        session: &SessionId,
        answer: Result<Box<Lead>, NotHosted>,
    ) {
        let name = name_of(session);
        let Some(Entry { phase: Phase::Placing(placing), .. }) = self.entries.get_mut(&name) else { return };
        if placing.target != from || placing.birth.session_at(from) != *session {
            return;
        }
        match answer {
            Ok(lead) => {
                let mark = self.term.mark_answer(from);
                self.know(cx, &name, *lead, Some(mark));
            }
            // It is asked again.
            Err(NotHosted::OtherRing(_)) => {}
            Err(NotHosted::NoRoom(refusal)) => {
                let (birth, until) = (placing.birth.clone(), placing.until);
                let mut refused = std::mem::take(&mut placing.refused);
                refused.push(from.id);
                self.place(cx, &name, birth, refused, Some(refusal), until);
            }
            Err(NotHosted::Failed(refusal)) if placing.birth.origin == Origin::Evicted => {
                let is_nowhere = matches!(refusal, Refusal::NoSuchSession(..));
                let refusal = if is_nowhere { self.absent(&name) } else { refusal };
                self.not_from_store(cx, name, refusal);
            }
            Err(NotHosted::Failed(refusal)) => self.give_up(cx, &name, &refusal),
            Err(NotHosted::Ended) => {
                let refusal = Refusal::Failed("it ended as soon as it began".to_owned());
                self.give_up(cx, &name, &refusal);
            }
        }
    }

    /// No session of that name comes from the store, be it that there is none, be it that this cannot be said now: whoever may
    /// create has one begun, where it is looked for again.
    fn not_from_store(&mut self, cx: &mut Context<'_>, name: Name, refusal: Refusal) {
        let waiting = self.remove(cx, &name);
        let creates = |waiter: &Waiter| waiter.birth.as_deref().is_some_and(|birth| birth.origin != Origin::Evicted);
        let (creators, others): (Vec<Waiter>, Vec<Waiter>) = waiting.into_iter().partition(creates);
        others.iter().for_each(|waiter| waiter.refuse(cx, refusal.clone()));
        self.begin_placing(cx, name, creators);
    }

    /// There will be no session of that name.
    fn give_up(&mut self, cx: &mut Context<'_>, name: &Name, why: &Refusal) {
        match self.entries.get(name).map(|entry| &entry.phase) {
            Some(Phase::Known { lead, .. }) => self.copies.forget(&lead.session),
            Some(Phase::Awaited { session }) => self.copies.forget(session),
            _ => {}
        }
        for waiter in self.remove(cx, name) {
            waiter.refuse(cx, why.clone());
        }
    }

    // Knowing.

    /// Somebody leads the session of a name.
    fn know(&mut self, cx: &mut Context<'_>, name: &Name, lead: Lead, mark: Option<Mark>) {
        let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry {
            phase: Phase::Asking { pending: BTreeSet::new(), first: None, orphan: None },
            waiting: Vec::new(),
        });
        cx.timers.cancel(&Timer::Placing(name.clone()));
        self.losers.remove(&(name.clone(), lead.leader));
        cx.timers.cancel(&Timer::Superseded(name.clone(), lead.leader));
        if lead.is_live {
            self.waiting -= entry.waiting.len();
            std::mem::take(&mut entry.waiting).iter().for_each(|waiter| waiter.answer_with(cx, &lead));
        }
        entry.phase = Phase::Known { lead: Box::new(lead), mark };
    }

    /// A leader announces one of its sessions. Whether it was taken: a full table takes no further ones.
    fn announced(&mut self, cx: &mut Context<'_>, from: Node, lead: Lead) -> bool {
        let name = name_of(&lead.session);
        self.over.find(&lead.session);
        let mark = Some(self.term.mark(from));
        match self.entries.get(&name).map(|entry| &entry.phase) {
            None if self.entries.len() >= limits::HOME_ENTRIES => return false,
            Some(Phase::Known { lead: known, .. })
                if known.session == lead.session
                    && known.leader != from
                    && cx.cluster.present.contains(&known.leader) =>
            {
                // Of one session the newer epoch counts; leadership settles between the two, here nothing is ended.
                if newer(lead.epoch, known.epoch) {
                    self.know(cx, &name, lead, mark);
                }
            }
            Some(Phase::Known { lead: known, .. })
                if known.leader != from && cx.cluster.present.contains(&known.leader) =>
            {
                let known = (**known).clone();
                self.settle(cx, &name, known, lead, mark);
            }
            // The order is still on its way to its end.
            Some(Phase::Placing(placing)) if placing.birth.is(&lead) && !lead.is_live => {}
            _ => self.know(cx, &name, lead, mark),
        }
        true
    }

    /// Two lead one key: one goes on.
    fn settle(&mut self, cx: &mut Context<'_>, name: &Name, known: Lead, lead: Lead, mark: Option<Mark>) {
        if !self.is_confirmed(name) {
            // It is known from before this term or from hearsay, and may be over: no verdict in its favour. If it is
            // not over, its leader says so, and then the two are compared.
            return self.know(cx, name, lead, mark);
        }
        let loser = if wins(&lead.claim(), &known.claim()) {
            self.know(cx, name, lead, mark);
            known
        } else {
            lead
        };
        let (leader, session) = (loser.leader, loser.session.clone());
        let key = (name.clone(), leader);
        if self.losers.contains_key(&key) || self.losers.len() < limits::DUPLICATES {
            self.losers.insert(key, loser);
            self.supersede(cx, name, leader);
        } else if let Some(winner) = self.known(name).map(Lead::claim) {
            // Its end is announced after this: to wait for room here might be to wait for that.
            cx.send(leader, Message::Superseded { session, winner });
        }
    }

    /// Whether the leader itself said so in this term.
    fn is_confirmed(&self, name: &Name) -> bool {
        match self.entries.get(name).map(|entry| &entry.phase) {
            Some(Phase::Known { lead, mark: Some(mark) }) => self.term.is_present(lead.leader, *mark),
            _ => false,
        }
    }

    /// Tells a leader that another session of the key goes on.
    pub fn supersede(&mut self, cx: &mut Context<'_>, name: &Name, leader: Node) {
        let Some(loser) = self.losers.get(&(name.clone(), leader)) else { return };
        let session = loser.session.clone();
        let Some(winner) = self.known(name).map(Lead::claim) else { return };
        cx.send(leader, Message::Superseded { session, winner });
        cx.timers.set(cx.now + VERDICT_US, Timer::Superseded(name.clone(), leader));
    }

    /// A session has ended, says who led it: if another leads it by now, that was a branch.
    fn ended(&mut self, cx: &mut Context<'_>, from: Node, session: &SessionId) {
        if !self.is_led_by_another(from, session) {
            self.over.remember(cx.now, session, false);
            self.led_no_more(cx, from, session, &Refusal::Failed("it ended as soon as it began".to_owned()));
        }
    }

    fn is_led_by_another(&self, than: Node, session: &SessionId) -> bool {
        self.known(&name_of(session)).is_some_and(|lead| lead.session == *session && lead.leader != than)
    }

    /// A node does not lead a session any more. Another may.
    fn led_no_more(&mut self, cx: &mut Context<'_>, from: Node, session: &SessionId, why: &Refusal) {
        let name = name_of(session);
        let loser = (name.clone(), from);
        if self.losers.get(&loser).is_some_and(|lead| lead.session == *session) {
            self.losers.remove(&loser);
            cx.timers.cancel(&Timer::Superseded(name.clone(), from));
        }
        let phase = self.entries.get(&name).map(|entry| &entry.phase);
        let is_awaited = matches!(phase, Some(Phase::Awaited { session: awaited }) if awaited == session);
        if self.is_led_by_another(from, session) || is_awaited && !self.over.has_ended(session) {
            return;
        }
        let is_it = match phase {
            Some(Phase::Known { lead, .. }) => lead.session == *session,
            Some(Phase::Placing(placing)) => placing.target == from && placing.birth.session_at(from) == *session,
            _ => is_awaited,
        };
        self.copies.forget(session);
        if is_it {
            self.give_up(cx, &name, why);
            self.reinstate(cx, &name);
        }
    }

    /// The one that went on is over: one that was to give way goes on in its place.
    fn reinstate(&mut self, cx: &mut Context<'_>, name: &Name) {
        let next = self.losers.keys().find(|(other, _)| other == name).cloned();
        if let Some(key) = next
            && let Some(lead) = self.losers.remove(&key)
        {
            let mark = Some(self.term.mark(lead.leader));
            self.know(cx, name, lead, mark);
        }
    }

    /// A part of an announcement.
    pub fn handle_announce(
        &mut self,
        cx: &mut Context<'_>,
        from: Node,
        (term, run, serial): (u64, u64, u64),
        items: &[Item],
        is_complete: bool,
    ) -> Announced {
        match self.term.look_at(from, term, run, serial) {
            Part::Stale => return Announced::Ignored,
            Part::Known => {
                cx.send(from, Message::Acknowledge { term, run, serial });
                return Announced::Ignored;
            }
            Part::New => {}
        }
        for item in items {
            match item {
                Item::Led(lead) if lead.leader == from => {
                    let is_ours = cx.cluster.home_of(&name_of(&lead.session)) == Some(cx.me);
                    if is_ours && !self.announced(cx, from, (**lead).clone()) {
                        // It comes again, and by then there may be room.
                        return Announced::Ignored;
                    }
                }
                Item::Led(_) => {}
                Item::Ended(session) => self.ended(cx, from, session),
                Item::Evicted(session) => self.led_no_more(cx, from, session, &Refusal::TimedOut),
            }
        }
        let completed = self.term.took(cx, from, is_complete);
        if completed {
            self.drop_untold(cx, from);
        }
        cx.send(from, Message::Acknowledge { term, run, serial });
        if completed { Announced::Completed } else { Announced::Taken }
    }

    /// A leader has told everything: what it did not tell of, it does not lead.
    fn drop_untold(&mut self, cx: &mut Context<'_>, from: Node) {
        let untold = |entry: &Entry| match &entry.phase {
            Phase::Known { lead, mark } => lead.leader == from && mark.is_none_or(|mark| !self.term.stands(from, mark)),
            _ => false,
        };
        let names: Vec<Name> =
            self.entries.iter().filter(|(_, entry)| untold(entry)).map(|(name, _)| name.clone()).collect();
        for name in names {
            if self.awaits(cx, &name, from) {
                continue;
            }
            let refusal = Refusal::NoSuchSession(name.0.clone(), name.1.clone());
            self.give_up(cx, &name, &refusal);
            self.reinstate(cx, &name);
        }
    }

    // Sessions that outlive their leader.

    /// A leader, or a follower, says something. The answer, if there is one.
    pub fn handle_words(&mut self, cx: &Context<'_>, session: &SessionId, words: Words) -> Option<Words> {
        if cx.cluster.home_of(&name_of(session)) != Some(cx.me) || self.over.has_ended(session) {
            return None;
        }
        if self.copies.len() >= limits::RECORD_COPIES {
            let entries = &self.entries;
            self.copies.retain(|session| entries.contains_key(&name_of(session)));
        }
        self.copies.handle(session, words)
    }

    /// Who leads a session, for one who follows it: `None` if nobody does, an error if that may change.
    pub fn leader_of(&self, session: &SessionId) -> Result<Option<Member>, ()> {
        match self.entries.get(&name_of(session)).map(|entry| &entry.phase) {
            Some(Phase::Known { lead, .. }) if lead.session == *session => {
                Ok(Some(Member { node: lead.leader, worker: lead.worker }))
            }
            Some(Phase::Asking { .. } | Phase::Awaited { .. }) => Err(()),
            // Another one of the key goes on, or it was lost.
            _ if self.term.is_complete() => Ok(None),
            _ => Err(()),
        }
    }

    /// The copies of its sessions' records.
    pub fn copies(&self) -> &Copies {
        &self.copies
    }

    /// A leader is gone, or leads no more. Whether another may come to lead the session.
    fn awaits(&mut self, cx: &mut Context<'_>, name: &Name, leader: Node) -> bool {
        let Some(session) = self.known(name).map(|lead| lead.session.clone()) else { return false };
        let goes_on = self.copies.may_go_on_without(cx, &session, leader);
        if goes_on {
            self.await_follower(cx, name, session);
        }
        goes_on
    }

    fn await_follower(&mut self, cx: &mut Context<'_>, name: &Name, session: SessionId) {
        let patience = cx.games.get(&name.0).map_or(SUCCESSION_US, |facts| succession_us(&facts.replicas));
        self.await_successor(cx, name, session, patience);
    }

    fn await_successor(&mut self, cx: &mut Context<'_>, name: &Name, session: SessionId, patience: u64) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.phase = Phase::Awaited { session };
            cx.timers.set(cx.now.saturating_add(patience), Timer::Placing(name.clone()));
        }
    }

    /// A session is over with its leader.
    fn lose(&mut self, cx: &mut Context<'_>, name: &Name, session: SessionId) {
        self.over.remember(cx.now, &session, true);
        self.give_up(cx, name, &Refusal::Lost(session));
        self.reinstate(cx, name);
    }

    // Questions of others.

    /// Another home asks. Answers what it knows of the names as their home before.
    pub fn former(&self, now: u64, name: &Name) -> Option<&Lead> {
        let is_fresh = now < self.term.began().saturating_add(SETTLE_US);
        self.former.get(name).filter(|_| is_fresh)
    }

    // Changes of the cluster.

    /// The ring, or who is present, changed.
    pub fn handle_cluster(&mut self, cx: &mut Context<'_>, before: &Cluster, is_first: bool) {
        let ring_changed = before.digest() != cx.cluster.digest() || is_first;
        let gone: Vec<Node> = before.present.difference(&cx.cluster.present).copied().collect();
        for node in &gone {
            self.handle_gone(cx, *node);
        }
        if !ring_changed {
            self.term.handle_present(cx);
            let new: Vec<Node> = cx.cluster.present.difference(&before.present).copied().collect();
            self.repeat_questions(cx, &gone, &new);
            return;
        }
        self.inquiries.clear(cx);
        self.term.begin(cx, (!is_first).then(|| before.ring.clone()));
        self.former.clear();
        let names: Vec<Name> = self.entries.keys().cloned().collect();
        for name in names {
            if cx.cluster.home_of(&name) == Some(cx.me) {
                self.go_on(cx, name);
            } else {
                self.hand_over(cx, &name);
            }
        }
        self.copies.retain(|session| cx.cluster.home_of(&name_of(session)) == Some(cx.me));
        let lost: Vec<_> =
            self.losers.keys().filter(|(name, _)| cx.cluster.home_of(name) != Some(cx.me)).cloned().collect();
        for (name, leader) in lost {
            self.losers.remove(&(name.clone(), leader));
            cx.timers.cancel(&Timer::Superseded(name, leader));
        }
    }

    /// An entry that stays this node's under the new ring.
    fn go_on(&mut self, cx: &mut Context<'_>, name: Name) {
        let Some(entry) = self.entries.get_mut(&name) else { return };
        match &mut entry.phase {
            Phase::Known { .. } | Phase::Awaited { .. } => {}
            Phase::Asking { .. } => {
                let waiting = self.remove(cx, &name);
                self.begin_asking(cx, name, waiting);
            }
            Phase::Placing(placing) if cx.cluster.present.contains(&placing.target) => self.order(cx, &name),
            Phase::Placing(_) => self.place_elsewhere(cx, &name),
        }
    }

    /// The node that was to lead a session is gone. It may lead it all the same; what begins elsewhere is another.
    fn place_elsewhere(&mut self, cx: &mut Context<'_>, name: &Name) {
        let Some(Entry { phase: Phase::Placing(placing), .. }) = self.entries.get_mut(name) else { return };
        let (birth, until) = (placing.birth.clone(), placing.until);
        let (refused, refusal) = (std::mem::take(&mut placing.refused), placing.refusal.take());
        self.place(cx, name, birth, refused, refusal, until);
    }

    /// An entry that is another node's from now on: who waits asks there.
    fn hand_over(&mut self, cx: &mut Context<'_>, name: &Name) {
        let Some(entry) = self.entries.remove(name) else { return };
        self.waiting -= entry.waiting.len();
        cx.timers.cancel(&Timer::Placing(name.clone()));
        for waiter in &entry.waiting {
            waiter.deny(cx, Denial::OtherRing(cx.cluster.digest()));
        }
        if let Phase::Known { lead, .. } = entry.phase {
            self.former.insert(name.clone(), *lead);
        }
    }

    /// A node is gone, and what it led with it.
    fn handle_gone(&mut self, cx: &mut Context<'_>, node: Node) {
        self.inquiries.handle_gone(cx, node);
        self.former.retain(|_, lead| lead.leader != node);
        let losers: Vec<_> = self.losers.keys().filter(|(_, leader)| *leader == node).cloned().collect();
        for (name, leader) in losers {
            self.losers.remove(&(name.clone(), leader));
            cx.timers.cancel(&Timer::Superseded(name, leader));
        }
        // One that begins anew joins first: a run that is on the ring as the one before leaves it has taken over from that,
        // and says in a moment what it leads.
        let is_succeeded =
            cx.cluster.ring.member(node.id).is_some_and(|member| member.node.generation > node.generation);
        let led = |entry: &Entry| matches!(&entry.phase, Phase::Known { lead, .. } if lead.leader == node);
        let names: Vec<Name> =
            self.entries.iter().filter(|(_, entry)| led(entry)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(session) = self.known(&name).map(|lead| lead.session.clone()) else { continue };
            match self.awaits(cx, &name, node) {
                true => {}
                false if is_succeeded => self.await_successor(cx, &name, session, SUCCESSION_US),
                false => self.lose(cx, &name, session),
            }
        }
    }

    /// Who is gone need not answer; who is new must.
    fn repeat_questions(&mut self, cx: &mut Context<'_>, gone: &[Node], new: &[Node]) {
        let names: Vec<Name> = self.entries.keys().cloned().collect();
        for name in names {
            match self.entries.get_mut(&name).map(|entry| &mut entry.phase) {
                Some(Phase::Asking { pending, .. }) => {
                    pending.retain(|node| !gone.contains(node));
                    pending.extend(new);
                    self.ask_all(cx, &name);
                    new.iter().for_each(|node| self.inquiries.ask(cx, *node, &name));
                    self.conclude(cx, &name);
                }
                Some(Phase::Placing(placing)) if gone.contains(&placing.target) => self.place_elsewhere(cx, &name),
                _ => {}
            }
        }
    }

    /// A node did not announce everything yet.
    pub fn remind(&mut self, cx: &mut Context<'_>, node: Node) {
        self.term.remind(cx, node);
    }

    fn remove(&mut self, cx: &mut Context<'_>, name: &Name) -> Vec<Waiter> {
        cx.timers.cancel(&Timer::Placing(name.clone()));
        let waiting = self.entries.remove(name).map(|entry| entry.waiting).unwrap_or_default();
        self.waiting -= waiting.len();
        waiting
    }
}

/// What became of a part of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// It was known, or means nothing any more, or there was no room.
    Ignored,
    /// It was new.
    Taken,
    /// It was new, and the last that was missing.
    Completed,
}

impl Waiter {
    /// Answers with the session that is led.
    fn answer_with(&self, cx: &mut Context<'_>, lead: &Lead) {
        let birth = self.birth.as_deref();
        let is_its_own = birth.is_some_and(|birth| birth.is(lead));
        let is_taken = match (self.kind, birth) {
            (Kind::Create { .. }, _) if is_its_own => false,
            (Kind::Create { is_drawn: true }, _) => true,
            (Kind::Create { is_drawn: false }, Some(birth)) => hash_config(&birth.config) != lead.config,
            _ => false,
        };
        if is_taken {
            return self.refuse(cx, Refusal::KeyTaken(lead.session.clone()));
        }
        let placed = placed(lead, is_its_own);
        if lead.leader == cx.me {
            cx.out.expected.push_back(lead.session.clone());
        }
        cx.send(self.door, Message::Answer { number: self.number, answer: Ok(Box::new(placed)) });
    }

    fn refuse(&self, cx: &mut Context<'_>, refusal: Refusal) {
        self.deny(cx, Denial::Refused(refusal));
    }

    fn deny(&self, cx: &mut Context<'_>, denial: Denial) {
        cx.send(self.door, Message::Answer { number: self.number, answer: Err(denial) });
    }
}

/// Where a session is.
pub(super) fn placed(lead: &Lead, created: bool) -> Placed {
    let Lead { session, leader, worker, epoch, .. } = lead.clone();
    Placed { session, leader, worker, epoch, created }
}

fn name_of_open(open: &Open) -> Name {
    (open.game.clone(), open.key.clone())
}

fn birth_of(open: &Open) -> Birth {
    let incarnation = Incarnation(open.draw.incarnation);
    Birth {
        session: SessionId { game: open.game.clone(), key: open.key.clone(), incarnation },
        config: bytes::Bytes::new(),
        record: open.record,
        listed: None,
        // Made for a player who came, not by somebody who will look after it.
        ends_when_empty: true,
        policy: placement::Policy::Ring,
        origin: if open.may_create { Origin::Named } else { Origin::Evicted },
    }
}
