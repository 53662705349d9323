//! What players are promised, checked on what they saw: exactly once, the session guarantees over committed positions, and
//! that nothing committed is withdrawn. Pure: takes events, of a simulation, of real processes or of a cluster under
//! chaos, in the order in which each player saw them, and says what they mean. Knows of no clock and no node.

use std::collections::BTreeMap;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// A player's messages are applied once each.
    ExactlyOnce,
    /// … in the order of their numbers.
    MonotonicWrites,
    /// What was acknowledged as safe is in whatever is seen later.
    ReadYourWrites,
    /// What is seen later goes on from what was seen before, unless that was said to be withdrawn.
    MonotonicReads,
    /// What a player sends after it saw something committed comes after that.
    WritesFollowReads,
    /// What was said to be committed is never withdrawn, but by the fork that *superseded* names.
    NothingWithdrawn,
    /// What was acknowledged as safe is there at the end.
    NothingLost,
}

/// Something that a player did or saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It sent a message for the first time.
    Sent {
        /// Its number, counted by the player from 1.
        number: u64,
    },
    /// It got a view.
    Heard(Heard),
    /// Its messages up to a number are safe at the tier that the game asked for.
    Acknowledged {
        /// The number.
        number: u64,
    },
    /// What it saw after a position is withdrawn.
    Rewound {
        /// The position.
        to: u64,
    },
    /// Another branch goes on; what it saw after a position is that of a fork.
    Superseded {
        /// The position.
        to: u64,
    },
    /// At the end one of its messages is in the log.
    Settled {
        /// Its number.
        number: u64,
        /// Where.
        position: u64,
    },
    /// At the end these are all of its messages that are in the log.
    Ended {
        /// The last one's number.
        last: u64,
    },
}

/// A view, with what the simulation or the test's game puts into it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// After which entry.
    pub position: u64,
    /// Hash of the log up to there.
    pub hash: u64,
    /// An earlier position of the same log, and the hash there.
    pub before: Option<(u64, u64)>,
    /// Number of the player's last message that was applied.
    pub last: u64,
    /// How many of its messages were applied.
    pub count: u64,
    /// Nothing up to here is ever withdrawn.
    pub committed: u64,
}

/// How many views of a player are remembered to compare later ones with.
const REMEMBERED: usize = 256;

/// One player's history.
#[derive(Debug, Default)]
pub struct History {
    sent_after: BTreeMap<u64, u64>,
    seen: BTreeMap<u64, u64>,
    position: u64,
    committed: u64,
    safe: u64,
    was_superseded: bool,
    settled: Option<(u64, u64)>,
}

impl History {
    /// Takes an event; says of each promise that it bears upon whether it holds.
    pub fn handle(&mut self, event: &Event, check: &mut impl FnMut(Promise, bool, String)) {
        match *event {
            Event::Sent { number } => {
                self.sent_after.insert(number, self.committed);
            }
            Event::Heard(heard) => self.heard(&heard, check),
            Event::Acknowledged { number } => self.safe = self.safe.max(number),
            Event::Rewound { to } => {
                let committed = self.committed;
                check(
                    Promise::NothingWithdrawn,
                    to >= committed,
                    format!("rewound to {to}, {committed} was committed"),
                );
                self.forget(to);
            }
            Event::Superseded { to } => {
                self.was_superseded = true;
                self.forget(to);
                self.committed = self.committed.min(to);
                self.safe = 0;
                self.sent_after.values_mut().for_each(|after| *after = (*after).min(to));
            }
            Event::Settled { number, position } => self.settle(number, position, check),
            Event::Ended { last } => {
                let safe = self.safe;
                check(Promise::NothingLost, last >= safe, format!("{safe} was safe, the last one is {last}"));
            }
        }
    }

    /// The last position that is known to be committed.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    fn forget(&mut self, to: u64) {
        self.position = self.position.min(to);
        self.seen.retain(|position, _| *position <= to);
    }

    fn heard(&mut self, heard: &Heard, check: &mut impl FnMut(Promise, bool, String)) {
        let seen = self.position;
        check(Promise::MonotonicReads, heard.position >= seen, format!("{} after {seen}", heard.position));
        for (position, hash) in heard.before.into_iter().chain([(heard.position, heard.hash)]) {
            if let Some(known) = self.seen.get(&position) {
                let promise =
                    if position <= self.committed { Promise::NothingWithdrawn } else { Promise::MonotonicReads };
                check(promise, *known == hash, format!("{position} was {known:x} and is {hash:x}"));
            }
        }
        check(Promise::ReadYourWrites, heard.last >= self.safe, format!("{} is safe, {} seen", self.safe, heard.last));
        let is_once = heard.count <= heard.last && (self.was_superseded || heard.count == heard.last);
        check(Promise::ExactlyOnce, is_once, format!("{} messages up to {}", heard.count, heard.last));
        self.position = self.position.max(heard.position);
        self.committed = self.committed.max(heard.committed);
        self.seen.insert(heard.position, heard.hash);
        if self.seen.len() > REMEMBERED {
            self.seen.pop_first();
        }
    }

    fn settle(&mut self, number: u64, position: u64, check: &mut impl FnMut(Promise, bool, String)) {
        if let Some((before, at)) = self.settled {
            let is_ordered = number > before && position > at;
            check(Promise::MonotonicWrites, is_ordered, format!("{before} at {at}, {number} at {position}"));
        }
        self.settled = Some((number, position));
        if let Some(after) = self.sent_after.get(&number) {
            check(Promise::WritesFollowReads, position > *after, format!("{number} at {position}, sent after {after}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(events: &[Event]) -> Vec<Promise> {
        let (mut history, mut broken) = (History::default(), Vec::new());
        for event in events {
            history.handle(event, &mut |promise, holds, _| {
                if !holds {
                    broken.push(promise);
                }
            });
        }
        broken
    }

    fn view(position: u64, hash: u64, committed: u64) -> Heard {
        Heard { position, hash, committed, last: 1, count: 1, before: None }
    }

    #[test]
    fn an_honest_history_keeps_every_promise() {
        let events = [
            Event::Sent { number: 1 },
            Event::Heard(view(5, 50, 3)),
            Event::Acknowledged { number: 1 },
            Event::Heard(view(7, 70, 5)),
            Event::Rewound { to: 6 },
            Event::Heard(Heard { before: Some((5, 50)), ..view(7, 71, 6) }),
            Event::Sent { number: 2 },
            Event::Settled { number: 1, position: 4 },
            Event::Settled { number: 2, position: 8 },
            Event::Ended { last: 2 },
        ];
        assert_eq!(broken(&events), []);
    }

    #[test]
    fn each_promise_can_be_broken() {
        let heard = |heard| Event::Heard(heard);
        let first = heard(view(5, 50, 5));
        let cases = [
            (Promise::ExactlyOnce, vec![heard(Heard { count: 2, ..view(5, 50, 3) })]),
            (Promise::ExactlyOnce, vec![heard(Heard { count: 0, ..view(5, 50, 3) })]),
            (Promise::ReadYourWrites, vec![Event::Acknowledged { number: 2 }, first.clone()]),
            (Promise::MonotonicReads, vec![first.clone(), heard(view(4, 40, 3))]),
            (Promise::MonotonicReads, vec![heard(view(5, 50, 3)), heard(view(5, 51, 3))]),
            (Promise::NothingWithdrawn, vec![first.clone(), heard(Heard { before: Some((5, 51)), ..view(9, 90, 5) })]),
            (Promise::NothingWithdrawn, vec![first.clone(), Event::Rewound { to: 4 }]),
            (
                Promise::WritesFollowReads,
                vec![first.clone(), Event::Sent { number: 1 }, Event::Settled { number: 1, position: 5 }],
            ),
            (
                Promise::MonotonicWrites,
                vec![Event::Settled { number: 1, position: 5 }, Event::Settled { number: 1, position: 6 }],
            ),
            (Promise::NothingLost, vec![Event::Acknowledged { number: 3 }, Event::Ended { last: 2 }]),
        ];
        for (promise, events) in cases {
            assert_eq!(broken(&events), [promise], "{events:?}");
        }
    }

    #[test]
    fn what_is_superseded_may_go() {
        let events = [
            Event::Sent { number: 1 },
            Event::Heard(view(5, 50, 5)),
            Event::Acknowledged { number: 1 },
            Event::Superseded { to: 3 },
            Event::Heard(Heard { last: 0, count: 0, ..view(5, 51, 3) }),
            Event::Ended { last: 0 },
        ];
        assert_eq!(broken(&events), []);
    }
}
