//! What a home has been told under its present ring. A change of the ring begins a new *term*: everybody is asked to
//! announce, and until all have, and a while has passed, a name that this node was not the home of before may be known
//! to others only.

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

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    run: u64,
    serial: u64,
    is_complete: bool,
}

/// The term of this node as a home.
#[derive(Debug)]
pub(super) struct Term {
    number: u64,
    began: u64,
    told: BTreeMap<Node, Told>,
    /// The rings since everything was settled last, the newest last. `None`: too many, or this node is new.
    former: Option<Vec<Arc<Ring>>>,
}

impl Term {
    /// Of a node that has just started: it has been no home before.
    pub fn new(now: u64) -> Term {
        Term { number: 0, began: now, told: BTreeMap::new(), former: None }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it began.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// The ring changed; `before` was it.
    pub fn begin(&mut self, cx: &mut Context<'_>, before: Option<Arc<Ring>>) {
        self.settle(cx);
        self.number += 1;
        self.began = cx.now;
        if let (Some(former), Some(before)) = (&mut self.former, before) {
            former.push(before);
            if former.len() > FORMER {
                self.former = None;
            }
        }
        for node in std::mem::take(&mut self.told).into_keys() {
            cx.timers.cancel(&Timer::Sync(node));
        }
        self.handle_present(cx);
    }

    /// Others are present, or are not any more.
    pub fn handle_present(&mut self, cx: &mut Context<'_>) {
        let gone: Vec<Node> = self.told.keys().filter(|node| !cx.cluster.present.contains(node)).copied().collect();
        for node in gone {
            self.told.remove(&node);
            cx.timers.cancel(&Timer::Sync(node));
        }
        let new: Vec<Node> = cx.cluster.present.iter().filter(|node| !self.told.contains_key(node)).copied().collect();
        for node in new {
            self.told.insert(node, Told::default());
            self.remind(cx, node);
        }
    }

    /// Asks a node to announce what it leads, unless it has.
    pub fn remind(&mut self, cx: &mut Context<'_>, node: Node) {
        if self.told.get(&node).is_some_and(|told| !told.is_complete) {
            cx.send(node, Message::Sync { ring: cx.cluster.digest(), term: self.number });
            if node != cx.me {
                cx.timers.set(cx.now + REMIND_US, Timer::Sync(node));
            }
        }
    }

    /// A part of an announcement has come.
    pub fn look_at(&mut self, from: Node, term: u64, run: u64, serial: u64) -> Part {
        let Some(told) = self.told.get_mut(&from).filter(|_| term == self.number) else { return Part::Stale };
        if run > told.run {
            *told = Told { run, serial: 0, is_complete: false };
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

    /// What marks an entry as told of by this node's announcement: term and run.
    pub fn mark(&self, from: Node) -> (u64, u64) {
        (self.number, self.told.get(&from).map_or(0, |told| told.run))
    }

    /// Whether everybody who is present has told everything.
    pub fn is_complete(&self) -> bool {
        self.told.values().all(|told| told.is_complete)
    }

    /// Whether this node must ask before it creates at this position.
    pub fn must_ask(&mut self, cx: &Context<'_>, position: Position) -> bool {
        if cx.cluster.present.len() == 1 {
            return false;
        }
        self.settle(cx);
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
