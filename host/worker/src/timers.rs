//! Deadlines, at most one a key: a binary heap that knows where each key stands, so that moving a deadline neither
//! leaves a stale entry behind nor allocates. Bounded by the number of keys.

use std::time::Instant;

/// Where a key without a deadline stands.
const ABSENT: u32 = u32::MAX;

/// Deadlines by small keys.
#[derive(Debug, Default)]
pub struct Timers {
    heap: Vec<(Instant, u32)>,
    places: Vec<u32>,
}

impl Timers {
    /// Sets, moves or (with `None`) removes the deadline of a key.
    pub fn set(&mut self, key: u32, deadline: Option<Instant>) {
        let index = key as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, ABSENT);
        }
        match (self.places[index], deadline) {
            (ABSENT, None) => {}
            (ABSENT, Some(deadline)) => {
                self.heap.push((deadline, key));
                self.rise(self.heap.len() - 1);
            }
            (place, None) => self.remove(place as usize),
            (place, Some(deadline)) => {
                let place = place as usize;
                let before = self.heap[place].0;
                self.heap[place].0 = deadline;
                if deadline < before { self.rise(place) } else { self.sink(place) }
            }
        }
    }

    /// The deadline of a key.
    pub fn get(&self, key: u32) -> Option<Instant> {
        let place = *self.places.get(key as usize)?;
        (place != ABSENT).then(|| self.heap[place as usize].0)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(deadline, _)| deadline)
    }

    /// Removes and answers a key whose deadline has come, the earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let &(deadline, key) = self.heap.first()?;
        if deadline > now {
            return None;
        }
        self.remove(0);
        Some(key)
    }

    fn remove(&mut self, place: usize) {
        let (_, key) = self.heap.swap_remove(place);
        self.places[key as usize] = ABSENT;
        if place < self.heap.len() {
            self.sink(place);
            self.rise(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                break;
            }
            self.heap.swap(parent, place);
            self.settle(place);
            place = parent;
        }
        self.settle(place);
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(mut child) = (left < self.heap.len()).then_some(left) else { break };
            if left + 1 < self.heap.len() && self.heap[left + 1] < self.heap[left] {
                child = left + 1;
            }
            if self.heap[place] <= self.heap[child] {
                break;
            }
            self.heap.swap(place, child);
            self.settle(place);
            place = child;
        }
        self.settle(place);
    }

    fn settle(&mut self, place: usize) {
        self.places[self.heap[place].1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_map_searched_for_its_earliest(
            steps in proptest::collection::vec((0..20_u32, proptest::option::of(0..50_u64), any::<bool>()), 0..200),
        ) {
            let start = Instant::now();
            let mut timers = Timers::default();
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for (key, offset, pop) in steps {
                if pop {
                    let now = start + Duration::from_millis(offset.unwrap_or(0));
                    let expected = model.iter().map(|(&key, &at)| (at, key)).min().filter(|&(at, _)| at <= now);
                    prop_assert_eq!(timers.pop_due(now), expected.map(|(_, key)| key));
                    if let Some((_, key)) = expected {
                        model.remove(&key);
                    }
                } else {
                    let deadline = offset.map(|offset| start + Duration::from_millis(offset));
                    timers.set(key, deadline);
                    match deadline {
                        Some(deadline) => { model.insert(key, deadline); }
                        None => { model.remove(&key); }
                    }
                }
                prop_assert_eq!(timers.next(), model.values().min().copied());
                prop_assert_eq!(timers.get(key), model.get(&key).copied());
            }
        }
    }
}
