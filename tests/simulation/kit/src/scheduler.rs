//! Virtual time: events by when they are due, those of one instant in the order in which they were put in. Knows
//! nothing of what the events are; never reads a clock, so that a run takes as long as it takes and is the same always.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A point of virtual time: µs since the run began.
pub type Micros = u64;

/// Events that are still to come, and the time now.
#[derive(Debug)]
pub struct Scheduler<E> {
    now: Micros,
    order: u64,
    queue: BinaryHeap<Reverse<Due<E>>>,
}

/// An event and when it is due; compared by that alone.
#[derive(Debug)]
struct Due<E> {
    at: Micros,
    order: u64,
    event: E,
}

impl<E> Default for Scheduler<E> {
    fn default() -> Self {
        Scheduler { now: 0, order: 0, queue: BinaryHeap::new() }
    }
}

impl<E> Scheduler<E> {
    /// The time now.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Puts an event in. One that is due in the past comes now, after what is due now already.
    pub fn at(&mut self, at: Micros, event: E) {
        self.order += 1;
        self.queue.push(Reverse(Due { at: at.max(self.now), order: self.order, event }));
    }

    /// Puts an event in that is due after a while.
    pub fn after(&mut self, delay: Micros, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// The next event, if it is due before `end`; the time is then that event's.
    pub fn pop_before(&mut self, end: Micros) -> Option<E> {
        if self.queue.peek()?.0.at >= end {
            return None;
        }
        let Reverse(due) = self.queue.pop()?;
        self.now = due.at;
        Some(due.event)
    }

    /// Events that are still to come.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no event is still to come.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Due<E> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_come_by_time_then_in_the_order_they_were_put_in(times in proptest::collection::vec(0..20_u64, 0..100)) {
            let mut scheduler = Scheduler::default();
            for (order, &at) in times.iter().enumerate() {
                scheduler.at(at, (at, order));
            }
            let mut expected: Vec<_> = times.iter().copied().enumerate().map(|(order, at)| (at, order)).collect();
            expected.sort_unstable();
            for event in expected {
                prop_assert_eq!(scheduler.pop_before(20), Some(event));
                prop_assert_eq!(scheduler.now(), event.0);
            }
            prop_assert!(scheduler.is_empty());
        }
    }

    #[test]
    fn the_past_is_now_and_the_end_is_not_reached() {
        let mut scheduler = Scheduler::default();
        scheduler.after(10, "first");
        assert_eq!(scheduler.pop_before(10), None);
        assert_eq!(scheduler.pop_before(11), Some("first"));
        scheduler.at(3, "late");
        assert_eq!((scheduler.pop_before(11), scheduler.now()), (Some("late"), 10));
        assert_eq!((scheduler.len(), scheduler.pop_before(11)), (0, None));
    }
}
