//! A chain of records in the store, as one who adds to it sees it: make the next number by conditional create, then look
//! for the newest and give way to a higher one.
//!
//! Every answer to a create is doubtful. An error may hide a success; "it is there already" may speak of one's own try
//! before; and a number that was cleaned away can be made again by whoever slept long enough. So no answer is believed:
//! after each the newest record is read, and that alone says who made what. A try that was begun is never given up, for
//! it may still arrive: until the store has said what became of it, its maker behaves as if it were and were not made.

use std::collections::VecDeque;
use std::sync::Arc;

use super::record::Record;
use super::timing::STORE_US;

/// What the store is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Make this record's number, unless there is one. Whatever comes of it: [`Chain::handle_created`].
    Create(Arc<Record>),
    /// The record with the highest number: [`Chain::handle_newest`].
    Newest,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The record is the newest of its chain.
    Made(Arc<Record>),
    /// Another one is, of this number or a higher one.
    Overtaken(Arc<Record>),
    /// Nothing was to be made; this is the newest.
    Read(Option<Arc<Record>>),
}

/// One maker's view of a chain.
#[derive(Debug, Default)]
pub struct Chain {
    attempt: Option<Arc<Record>>,
    /// Waits for an answer until then, or to try again.
    due: Option<u64>,
    is_listing: bool,
    requests: VecDeque<Request>,
}

impl Chain {
    /// Whether a record is being made.
    pub fn is_making(&self) -> bool {
        self.attempt.is_some()
    }

    /// Whether this record is. Others may have read it before the store has told its maker what became of it.
    pub fn makes(&self, record: &Record) -> bool {
        self.attempt.as_deref() == Some(record)
    }

    /// Makes a record. One at a time: another try must be settled first.
    pub fn make(&mut self, now: u64, record: Arc<Record>) {
        debug_assert!(self.attempt.is_none(), "a try is settled before the next begins");
        self.attempt = Some(record);
        self.create(now);
    }

    /// Reads the newest record, unless that is under way.
    pub fn read(&mut self, now: u64) {
        if !self.is_listing && self.attempt.is_none() {
            self.list(now);
        }
    }

    fn create(&mut self, now: u64) {
        if let Some(record) = &self.attempt {
            self.requests.push_back(Request::Create(record.clone()));
            (self.is_listing, self.due) = (false, Some(now + STORE_US));
        }
    }

    fn list(&mut self, now: u64) {
        self.requests.push_back(Request::Newest);
        (self.is_listing, self.due) = (true, Some(now + STORE_US));
    }

    /// A create was answered, with whatever. The chain is read.
    pub fn handle_created(&mut self, now: u64) {
        if self.attempt.is_some() && !self.is_listing {
            self.list(now);
        }
    }

    /// The newest record; an error of the store is no answer, and is not reported.
    pub fn handle_newest(&mut self, now: u64, newest: Option<Arc<Record>>) -> Option<Settled> {
        if !self.is_listing {
            return None;
        }
        let Some(mine) = self.attempt.clone() else {
            (self.is_listing, self.due) = (false, None);
            return Some(Settled::Read(newest));
        };
        match newest {
            Some(newest) if newest.number >= mine.number => {
                (self.attempt, self.is_listing, self.due) = (None, false, None);
                Some(if newest == mine { Settled::Made(newest) } else { Settled::Overtaken(newest) })
            }
            // It was not made, or not yet: once more, the same.
            _ => {
                self.create(now);
                None
            }
        }
    }

    /// When [`Chain::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<u64> {
        self.due
    }

    /// Asks again what was not answered.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.due.is_some_and(|due| due <= now) {
            self.list(now);
        }
    }

    /// What to ask the store.
    pub fn poll(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Node, NodeId, WorkerId};
    use crate::leadership::record::{Cause, Member};

    fn records() -> [Arc<Record>; 3] {
        let leader = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
        let first = Record::first("arena/a@0000000000000001".parse().unwrap(), leader);
        let second = first.with_set([].into(), 5, Cause::Removed);
        let third = second.with_set([].into(), 6, Cause::Removed);
        [first, second, third].map(Arc::new)
    }

    #[test]
    fn a_record_is_made_when_it_is_the_newest_whatever_the_answer_was() {
        let [first, second, _] = records();
        let mut chain = Chain::default();
        chain.make(0, second.clone());
        assert_eq!(chain.poll(), Some(Request::Create(second.clone())));
        chain.handle_created(1);
        assert_eq!(chain.poll(), Some(Request::Newest));
        assert_eq!(chain.handle_newest(2, Some(first)), None, "it was said to be made, and is not there");
        assert_eq!(chain.poll(), Some(Request::Create(second.clone())));
        chain.handle_created(3);
        assert_eq!(chain.handle_newest(4, Some(second.clone())), Some(Settled::Made(second)));
        assert!(!chain.is_making());
    }

    #[test]
    fn a_number_that_was_cleaned_away_is_not_made_again() {
        let [_, second, third] = records();
        let mut chain = Chain::default();
        chain.make(0, second);
        chain.handle_created(1);
        assert_eq!(chain.handle_newest(2, Some(third.clone())), Some(Settled::Overtaken(third)));
    }

    #[test]
    fn silence_is_asked_again_and_a_late_answer_to_nothing_is_none() {
        let [first, second, _] = records();
        let mut chain = Chain::default();
        chain.read(0);
        chain.read(0);
        assert_eq!((chain.poll(), chain.poll()), (Some(Request::Newest), None));
        chain.handle_timeout(STORE_US - 1);
        assert_eq!(chain.poll(), None);
        chain.handle_timeout(STORE_US);
        assert_eq!(chain.poll(), Some(Request::Newest));
        assert_eq!(chain.handle_newest(STORE_US, Some(first.clone())), Some(Settled::Read(Some(first.clone()))));
        assert_eq!(chain.handle_newest(STORE_US, Some(first)), None);
        chain.make(STORE_US, second);
        chain.poll();
        chain.handle_timeout(3 * STORE_US);
        assert_eq!(chain.poll(), Some(Request::Newest), "a create that nobody answers is looked for");
    }
}
