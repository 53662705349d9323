//! What waits for a release: acknowledgements, reliable outputs and news of entries that are not safe yet at their
//! session's tier, and connections whose stream waits as a whole. All in the order of the log; bounded by the log's own
//! bound ([`limits::UNRELEASED_ENTRIES`](crate::limits::UNRELEASED_ENTRIES)) and the guest's outbox.

use std::collections::VecDeque;

use ringside_core::ids::{Position, Slot};
use ringside_core::leadership::message::Release;
use ringside_protocol::reason::Reason;
use ringside_protocol::tier::Tier;

use crate::command::Event;
use crate::endpoint::LinkId;

/// A player's message that waits to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Input {
    pub slot: Slot,
    pub number: u64,
    /// Why it had no effect, if so.
    pub rejected: Option<Reason>,
}

/// Something that may leave now.
#[derive(Debug)]
pub(crate) enum Freed {
    /// Acknowledge a message, if the slot's player is who it was at this position.
    Input(Position, Input),
    /// Outputs to a slot up to this number may leave, with the same condition.
    Output(Position, Slot, u64),
    /// Tell the node.
    News(Event),
    /// A connection's stream may be written.
    Link(LinkId),
}

/// What waits.
#[derive(Debug)]
pub(crate) struct Gates {
    release: Release,
    inputs: VecDeque<(Position, Input)>,
    outputs: VecDeque<(Position, (Slot, u64))>,
    news: VecDeque<(Position, Event)>,
    links: VecDeque<(Position, LinkId)>,
    /// The tick after each entry that was one, as far as it is not committed.
    ticks: VecDeque<(Position, u64)>,
    committed_tick: u64,
}

impl Gates {
    /// Nothing waits; what was committed reaches up to here, and may have left long ago.
    pub fn new(committed: Position, committed_tick: u64) -> Gates {
        Gates {
            release: Release { up_to: committed, tier: Tier::Volatile, committed },
            inputs: VecDeque::new(),
            outputs: VecDeque::new(),
            news: VecDeque::new(),
            links: VecDeque::new(),
            ticks: VecDeque::new(),
            committed_tick,
        }
    }

    /// What may leave.
    pub fn release(&self) -> Release {
        self.release
    }

    /// The last tick that is never withdrawn.
    pub fn committed_tick(&self) -> u64 {
        self.committed_tick
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty() && self.news.is_empty() && self.links.is_empty()
    }

    /// Whether what depends on an entry may leave.
    pub fn is_released(&self, position: Position) -> bool {
        position <= self.release.up_to
    }

    /// A message was appended.
    pub fn input(&mut self, position: Position, input: Input) {
        self.inputs.push_back((position, input));
    }

    /// A reliable output was put out.
    pub fn output(&mut self, position: Position, slot: Slot, number: u64) {
        match self.outputs.back_mut() {
            // A burst to one player is one item.
            Some((at, (to, last))) if *at == position && *to == slot => *last = number,
            _ => self.outputs.push_back((position, (slot, number))),
        }
    }

    /// The node is to hear something.
    pub fn news(&mut self, position: Position, event: Event) {
        self.news.push_back((position, event));
    }

    /// News that wait.
    pub fn waiting_news(&self) -> usize {
        self.news.len()
    }

    /// A connection's stream waits for an entry.
    pub fn link(&mut self, position: Position, link: LinkId) {
        self.links.push_back((position, link));
    }

    /// A tick was appended.
    pub fn tick(&mut self, position: Position, tick: u64) {
        self.ticks.push_back((position, tick));
    }

    /// The core released; what that frees is appended to `freed`, in order of each kind.
    pub fn open(&mut self, release: Release, freed: &mut Vec<Freed>) {
        self.release = release;
        let up_to = release.up_to;
        while let Some((position, input)) = next(&mut self.inputs, up_to) {
            freed.push(Freed::Input(position, input));
        }
        while let Some((position, (slot, number))) = next(&mut self.outputs, up_to) {
            freed.push(Freed::Output(position, slot, number));
        }
        while let Some((_, event)) = next(&mut self.news, up_to) {
            freed.push(Freed::News(event));
        }
        while let Some((_, link)) = next(&mut self.links, up_to) {
            freed.push(Freed::Link(link));
        }
        while let Some((_, tick)) = next(&mut self.ticks, release.committed) {
            self.committed_tick = tick;
        }
    }
}

/// The next of what waited for an entry up to here.
fn next<T>(queue: &mut VecDeque<(Position, T)>, up_to: Position) -> Option<(Position, T)> {
    let is_due = queue.front().is_some_and(|(position, _)| *position <= up_to);
    is_due.then(|| queue.pop_front()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(up_to: Position, committed: Position) -> Release {
        Release { up_to, tier: Tier::Replicated, committed }
    }

    #[test]
    fn what_an_entry_caused_leaves_when_the_entry_is_released_and_not_before() {
        let mut gates = Gates::new(0, 0);
        let input = |number| Input { slot: Slot(0), number, rejected: None };
        gates.input(3, input(1));
        gates.output(3, Slot(0), 1);
        gates.output(3, Slot(0), 2);
        gates.tick(4, 1);
        gates.output(5, Slot(1), 1);
        gates.input(5, input(2));
        let mut freed = Vec::new();
        gates.open(release(2, 2), &mut freed);
        assert!(freed.is_empty());
        gates.open(release(4, 3), &mut freed);
        assert!(matches!(freed[..], [Freed::Input(3, Input { number: 1, .. }), Freed::Output(3, Slot(0), 2)]));
        assert_eq!(gates.committed_tick(), 0, "released, and not committed: the session is degraded");
        freed.clear();
        gates.open(release(9, 9), &mut freed);
        assert!(matches!(freed[..], [Freed::Input(5, Input { number: 2, .. }), Freed::Output(5, Slot(1), 1)]));
        assert_eq!(gates.committed_tick(), 1);
    }
}
