//! What a home has been told, and by whom. Each leader announces to it in *terms*: a change of the ring begins a new
//! one with everybody, and so does a node's return with that node. Until all have told everything, and a while has
//! passed, a name that this node was not the home of before may be known to others only; and a node that was away may
//! lead anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Context, Timer};
use super::message::Message;
use crate::ids::Node;
use crate::ring::{Position, Ring};

/// How long after a change of its ring a home asks before it creates under a name that is new to it, µs, even if
/// everybody has announced: there may be nodes that it does not see yet.
pub const SETTLE_US: u64 = 5_000_000;
/// How often a node that has not announced all is reminded, µs.
const REMIND_US: u64 = 500_000;
/// Rings that are compared with; more changes than this within one unsettled time, and every name is asked for.
const FORMER: usize = 8;

/// When, and how, something was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    term: u64,
    /// In which announcement; `None`: in an answer.
    run: Option<u64>,
}

/// What came of a part of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It is new: take it, then say so with [`Term::took`].
    New,
    /// It is known: acknowledge it again.
    Known,
    /// It is of another time, or out of order.
    Stale,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    term: u64,
    run: u64,
    serial: u64,
    is_complete: bool,
    /// Whether it was away, or there for the first time: what it leads was never told.
    is_new: bool,
}

/// The terms of this node as a home.
#[derive(Debug)]
pub(super) struct Term {
    /// The last term of any.
    last: u64,
    /// When the ring changed last.
    began: u64,
    told: BTreeMap<Node, Told>,
    /// The rings since everything was settled last, the newest last. `None`: too many, or this node is new.
    former: Option<Vec<Arc<Ring>>>,
}

impl Term {
    /// Of a node that has just started: it has been no home before.
    pub fn new(now: u64) -> Term {
        Term { last: 0, began: now, told: BTreeMap::new(), former: None }
    }

    /// When the ring changed last.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// The ring changed; `before` was it.
    pub fn begin(&mut self, cx: &mut Context<'_>, before: Option<Arc<Ring>>) {
        self.settle(cx);
        self.began = cx.now;
        if let (Some(former), Some(before)) = (&mut self.former, before) {
            former.push(before);
            if former.len() > FORMER {
                self.former = None;
            }
        }
        self.handle_gone(cx);
        let told: Vec<(Node, bool)> =
            self.told.iter().map(|(node, told)| (*node, told.is_new && !told.is_complete)).collect();
        told.into_iter().for_each(|(node, is_new)| self.expect(cx, node, is_new));
        self.handle_present(cx);
    }

    /// Others are present, or are not any more.
    pub fn handle_present(&mut self, cx: &mut Context<'_>) {
        self.handle_gone(cx);
        let new: Vec<Node> = cx.cluster.present.iter().filter(|node| !self.told.contains_key(node)).copied().collect();
        new.into_iter().for_each(|node| self.expect(cx, node, true));
    }

    fn handle_gone(&mut self, cx: &mut Context<'_>) {
        let gone: Vec<Node> = self.told.keys().filter(|node| !cx.cluster.present.contains(node)).copied().collect();
        for node in gone {
            self.told.remove(&node);
            cx.timers.cancel(&Timer::Sync(node));
        }
    }

    /// A term with a node begins.
    fn expect(&mut self, cx: &mut Context<'_>, node: Node, is_new: bool) {
        self.last += 1;
        self.told.insert(node, Told { term: self.last, run: 0, serial: 0, is_complete: false, is_new });
        self.remind(cx, node);
    }

    /// Asks a node to announce what it leads, unless it has.
    pub fn remind(&mut self, cx: &mut Context<'_>, node: Node) {
        if let Some(told) = self.told.get(&node).filter(|told| !told.is_complete) {
            cx.send(node, Message::Sync { ring: cx.cluster.digest(), term: told.term });
            if node != cx.me {
                cx.timers.set(cx.now + REMIND_US, Timer::Sync(node));
            }
        }
    }

    /// A part of an announcement has come.
    pub fn look_at(&mut self, from: Node, term: u64, run: u64, serial: u64) -> Part {
        let Some(told) = self.told.get_mut(&from).filter(|told| term == told.term) else { return Part::Stale };
        if run > told.run {
            *told = Told { run, serial: 0, is_complete: false, ..*told };
        }
        match (run == told.run).then_some(told.serial) {
            Some(last) if serial == last + 1 => Part::New,
            Some(last) if serial <= last => Part::Known,
            _ => Part::Stale,
        }
    }

    /// A new part was taken. Whether with it everything is told that was not before.
    pub fn took(&mut self, cx: &mut Context<'_>, from: Node, is_complete: bool) -> bool {
        let Some(told) = self.told.get_mut(&from) else { return false };
        told.serial += 1;
        if is_complete {
            cx.timers.cancel(&Timer::Sync(from));
        }
        is_complete && !std::mem::replace(&mut told.is_complete, true)
    }

    /// What marks an entry as told of by a node's announcement.
    pub fn mark(&self, from: Node) -> Mark {
        self.told.get(&from).map_or(Mark { term: 0, run: None }, |told| Mark { term: told.term, run: Some(told.run) })
    }

    /// What marks an entry as told of by a node beside its announcement, in an answer.
    pub fn mark_answer(&self, from: Node) -> Mark {
        Mark { run: None, ..self.mark(from) }
    }

    /// Whether a mark is of the term that is on with a node.
    pub fn is_present(&self, from: Node, mark: Mark) -> bool {
        self.told.get(&from).is_some_and(|told| told.term == mark.term)
    }

    /// Whether a node that has told everything stands by what it said under a mark: in this announcement, or in an
    /// answer of this term (had that been over since, the announcement would have said so).
    pub fn stands(&self, from: Node, mark: Mark) -> bool {
        self.is_present(from, mark) && mark.run.is_none_or(|run| Some(run) == self.mark(from).run)
    }

    /// Whether everybody who is present has told everything.
    pub fn is_complete(&self) -> bool {
        self.told.values().all(|told| told.is_complete)
    }

    /// Whether a node has told everything that it leads.
    pub fn has_told_all(&self, node: Node) -> bool {
        self.told.get(&node).is_some_and(|told| told.is_complete)
    }

    /// Whether this node must ask before it creates at this position.
    pub fn must_ask(&mut self, cx: &Context<'_>, position: Position) -> bool {
        if cx.cluster.present.len() == 1 {
            return false;
        }
        self.settle(cx);
        if self.told.values().any(|told| told.is_new && !told.is_complete) {
            return true;
        }
        let here = |ring: &Ring| ring.home(position).map(|member| (member.node, member.stay));
        let now = here(&cx.cluster.ring);
        self.former.as_ref().is_none_or(|former| former.iter().any(|ring| here(ring) != now))
    }

    /// Who had this position before the last change.
    pub fn previous(&self, position: Position) -> Option<Node> {
        self.former.as_ref()?.last()?.home(position).map(|member| member.node)
    }

    /// Whether names need not be asked for any more.
    pub fn is_settled(&self, now: u64) -> bool {
        self.is_complete() && now >= self.began.saturating_add(SETTLE_US)
    }

    fn settle(&mut self, cx: &Context<'_>) {
        if self.is_settled(cx.now) {
            self.former = Some(Vec::new());
        }
    }
}
