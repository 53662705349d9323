//! Alarms by name: each is set to one time or not at all, setting it again moves it, cancelling needs no time.

use std::collections::{BTreeMap, BTreeSet};

/// The alarms that are set.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    due: BTreeMap<T, u64>,
    order: BTreeSet<(u64, T)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { due: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<T: Ord + Clone> Timers<T> {
    /// Sets the alarm, or moves it.
    pub fn set(&mut self, at: u64, timer: T) {
        if let Some(before) = self.due.insert(timer.clone(), at) {
            self.order.remove(&(before, timer.clone()));
        }
        self.order.insert((at, timer));
    }

    /// Sets the alarm unless it is set.
    pub fn set_if_idle(&mut self, at: u64, timer: T) {
        if !self.due.contains_key(&timer) {
            self.set(at, timer);
        }
    }

    /// Takes the alarm away, if it is set.
    pub fn cancel(&mut self, timer: &T) {
        if let Some(at) = self.due.remove(timer) {
            self.order.remove(&(at, timer.clone()));
        }
    }

    /// The next time at which there is something to do.
    pub fn next(&self) -> Option<u64> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the next alarm that is due.
    pub fn pop(&mut self, now: u64) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.due.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_has_one_time() {
        let mut timers = Timers::default();
        timers.set(5, "a");
        timers.set(3, "b");
        timers.set(9, "a");
        timers.set_if_idle(1, "b");
        assert_eq!((timers.next(), timers.pop(2), timers.pop(5)), (Some(3), None, Some("b")));
        assert_eq!((timers.pop(8), timers.next()), (None, Some(9)));
        timers.cancel(&"a");
        timers.cancel(&"never");
        assert_eq!((timers.next(), timers.pop(100)), (None, None));
    }
}
