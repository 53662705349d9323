//! When timers of evicted sessions are due: an index in the store, one empty object a session, under the shard of its name
//! and the minute. Each shard is looked after by one node, the ring's owner of its name; should two look after one for a
//! while, both activate a session of which one succeeds, and the timer fires once, for its id is an entry of the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{GameName, SessionId, SessionKey};
use crate::limits::DUE_TIMERS;
use crate::ring::Position;

/// Shards of the index.
pub const SHARDS: u8 = 16;
/// A minute, µs.
const MINUTE_US: u64 = 60_000_000;
/// How often all minutes of a shard are listed, µs: for what was written late, by a node whose clock is late.
const ALL_US: u64 = 600_000_000;
/// How often it is tried to activate a session whose timer is due, µs.
const AGAIN_US: u64 = 2_000_000;
/// Sessions that are being activated at a time.
const AT_ONCE: usize = 32;

/// A timer of an evicted session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it is due, µs since 1970.
    pub at_us: u64,
    /// Whose.
    pub session: SessionId,
}

impl Due {
    /// The shard that it is in.
    pub fn shard(&self) -> u8 {
        (Position::of_key(&self.session.game, &self.session.key).0 >> 60) as u8
    }

    /// Its minute since 1970.
    pub fn minute(&self) -> u64 {
        self.at_us / MINUTE_US
    }

    /// The path of its object below the index, in parts.
    pub fn path(&self) -> [String; 3] {
        let SessionId { game, key, incarnation } = &self.session;
        let name = format!("{:020}@{game}@{key}@{:016x}", self.at_us, incarnation.0);
        [format!("{:02}", self.shard()), format!("{:012}", self.minute()), name]
    }

    /// One from the last part of its path; none if nobody wrote it.
    pub fn of_name(name: &str) -> Option<Due> {
        let mut parts = name.split('@');
        let at_us = parts.next()?.parse().ok()?;
        let (game, key): (GameName, SessionKey) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let incarnation = crate::ids::Incarnation(u64::from_str_radix(parts.next()?, 16).ok()?);
        parts.next().is_none().then_some(Due { at_us, session: SessionId { game, key, incarnation } })
    }
}

/// The name by which the ring says who looks after a shard.
pub fn owner_of(shard: u8) -> Position {
    Position(u64::from(shard) << 60 | 1 << 59)
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// List a shard: all minutes up to this one, or this one alone. Answered by [`Watch::handle_listed`].
    List {
        /// Which shard.
        shard: u8,
        /// The minute since 1970.
        minute: u64,
        /// Whether those before it, too.
        all: bool,
    },
    /// Have a session activated, then take its object away. Answered by [`Watch::handle_done`].
    Activate(Due),
}

#[derive(Debug, Default)]
struct Shard {
    /// When all of it was asked for last.
    all_at: Option<u64>,
}

/// What one node looks after. Driven with the time since 1970, µs.
#[derive(Debug)]
pub struct Watch {
    every_us: u64,
    shards: BTreeMap<u8, Shard>,
    known: BTreeSet<Due>,
    /// What is under way, and what failed until it is tried again.
    under_way: BTreeMap<Due, Option<u64>>,
    /// How many of those are under way.
    activating: usize,
    next_look: u64,
    orders: VecDeque<Order>,
}

impl Watch {
    /// One that looks so often, µs.
    pub fn new(every_us: u64) -> Watch {
        Watch {
            every_us,
            shards: BTreeMap::new(),
            known: BTreeSet::new(),
            under_way: BTreeMap::new(),
            activating: 0,
            next_look: 0,
            orders: VecDeque::new(),
        }
    }

    /// These shards are this node's to look after.
    pub fn handle_shards(&mut self, shards: &BTreeSet<u8>) {
        self.shards.retain(|shard, _| shards.contains(shard));
        self.known.retain(|due| shards.contains(&due.shard()));
        for shard in shards {
            self.shards.entry(*shard).or_insert_with(|| {
                self.next_look = 0;
                Shard::default()
            });
        }
    }

    /// What a shard has. Beyond [`DUE_TIMERS`] the latest wait for a later look.
    pub fn handle_listed(&mut self, listed: impl IntoIterator<Item = Due>) {
        let new = listed
            .into_iter()
            .filter(|due| self.shards.contains_key(&due.shard()) && !self.under_way.contains_key(due));
        self.known.extend(new);
        while self.known.len() > DUE_TIMERS
            && let Some(late) = self.known.pop_last()
        {
            self.handle_not_listed(late.shard());
        }
    }

    /// Whether a shard could not be listed: it is listed whole at the next look.
    pub fn handle_not_listed(&mut self, shard: u8) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.all_at = None;
        }
    }

    /// A session was activated, or is over, and its object is gone; or not.
    pub fn handle_done(&mut self, now: u64, due: &Due, is_done: bool) {
        if self.under_way.get(due) == Some(&None) {
            self.activating -= 1;
        }
        match is_done {
            true => _ = self.under_way.remove(due),
            false => _ = self.under_way.insert(due.clone(), Some(now + AGAIN_US)),
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: u64) {
        // The clock may be set back.
        if now >= self.next_look || self.next_look > now + self.every_us {
            self.next_look = now + self.every_us;
            let minute = now / MINUTE_US;
            for (number, shard) in &mut self.shards {
                let all = shard.all_at.is_none_or(|at| now >= at + ALL_US);
                if all {
                    shard.all_at = Some(now);
                }
                self.orders.push_back(Order::List { shard: *number, minute, all });
                // Before it begins.
                if (now + 2 * self.every_us) / MINUTE_US > minute {
                    self.orders.push_back(Order::List { shard: *number, minute: minute + 1, all: false });
                }
            }
        }
        // Those that failed come last: some may never go on, and keep no other waiting.
        while self.has_room()
            && let Some(due) = self.known.first().filter(|due| due.at_us <= now).cloned()
        {
            self.known.remove(&due);
            self.activate(due);
        }
        let left = AT_ONCE.saturating_sub(self.activating);
        let mut again: Vec<(u64, Due)> = (self.under_way.iter())
            .filter_map(|(due, at)| at.filter(|at| *at <= now).map(|at| (at, due.clone())))
            .collect();
        again.sort();
        for (_, due) in again.into_iter().take(left) {
            self.activate(due);
        }
    }

    fn has_room(&self) -> bool {
        self.activating < AT_ONCE && self.under_way.len() < DUE_TIMERS
    }

    fn activate(&mut self, due: Due) {
        self.under_way.insert(due.clone(), None);
        self.activating += 1;
        self.orders.push_back(Order::Activate(due));
    }

    /// When that wants to be called.
    pub fn next_timeout(&self) -> u64 {
        let again = self.under_way.values().flatten().min().copied().filter(|_| self.activating < AT_ONCE);
        let due = self.known.first().map(|due| due.at_us).filter(|_| self.has_room());
        again.into_iter().chain(due).chain([self.next_look]).min().unwrap_or(self.next_look)
    }

    /// What is to be done.
    pub fn poll(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(key: &str, at_us: u64) -> Due {
        Due { at_us, session: format!("lobby/{key}@0000000000000007").parse().unwrap() }
    }

    fn orders(watch: &mut Watch) -> Vec<Order> {
        std::iter::from_fn(|| watch.poll()).collect()
    }

    fn watch(due: &Due) -> Watch {
        let mut watch = Watch::new(1_000_000);
        watch.handle_shards(&[due.shard()].into());
        watch
    }

    #[test]
    fn an_object_is_named_so_that_it_is_found_and_read_back() {
        let one = due("a-b_c", 1_800_000_123_456_789);
        let [shard, minute, name] = one.path();
        assert_eq!((shard.parse(), minute.as_str()), (Ok(one.shard()), "000030000002"));
        assert_eq!(Due::of_name(&name), Some(one));
        for wrong in ["", "5", "x@lobby@a@7", "5@lobby@a", "5@lobby@a@7@8", "5@LOBBY!@a@7"] {
            assert_eq!(Due::of_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_due_is_activated_once_and_again_where_that_failed() {
        let (now, one) = (90 * MINUTE_US, due("a", 90 * MINUTE_US + 500_000));
        let mut watch = watch(&one);
        watch.handle_timeout(now);
        assert_eq!(orders(&mut watch), [Order::List { shard: one.shard(), minute: 90, all: true }]);
        watch.handle_listed([one.clone()]);
        assert_eq!(watch.next_timeout(), one.at_us);
        watch.handle_timeout(one.at_us - 1);
        assert_eq!(orders(&mut watch), []);
        watch.handle_timeout(one.at_us);
        assert_eq!(orders(&mut watch), [Order::Activate(one.clone())]);
        watch.handle_listed([one.clone()]);
        watch.handle_timeout(one.at_us + 1);
        assert_eq!(orders(&mut watch), [], "it is under way");
        watch.handle_done(one.at_us + 2, &one, false);
        watch.handle_timeout(one.at_us + 2 + AGAIN_US);
        assert!(orders(&mut watch).contains(&Order::Activate(one.clone())));
        watch.handle_done(one.at_us + 3 + AGAIN_US, &one, true);
        watch.handle_timeout(one.at_us + 4 + AGAIN_US);
        assert_eq!(orders(&mut watch), []);
    }

    #[test]
    fn a_shard_is_listed_whole_when_it_comes_and_now_and_then_and_the_next_minute_before_it_begins() {
        let one = due("a", 0);
        let mut watch = watch(&one);
        let shard = one.shard();
        let begin = 100 * MINUTE_US;
        let mut alls = Vec::new();
        for second in 0..700 {
            watch.handle_timeout(begin + second * 1_000_000);
            for order in orders(&mut watch) {
                let Order::List { minute, all, .. } = order else { panic!("{order:?}") };
                if all {
                    alls.push(second);
                }
                let is_next = second % 60 >= 58;
                assert!(minute == 100 + second / 60 || is_next && minute == 101 + second / 60, "{second}: {minute}");
            }
        }
        assert_eq!(alls, [0, 600]);
        watch.handle_not_listed(shard);
        watch.handle_timeout(begin + 701_000_000);
        assert!(orders(&mut watch).iter().any(|order| matches!(order, Order::List { all: true, .. })));
        watch.handle_shards(&[].into());
        watch.handle_timeout(begin + 702_000_000);
        assert_eq!(orders(&mut watch), [], "it is another's");
    }

    #[test]
    fn no_more_than_a_bound_are_remembered_and_fewer_activated_at_once() {
        let first = due("a", 0);
        let mut watch = watch(&first);
        let same = (0..).map(|number| due(&format!("k{number}"), number)).filter(|due| due.shard() == first.shard());
        let all: Vec<Due> = same.take(DUE_TIMERS + 10).collect();
        watch.handle_listed(all.clone());
        assert_eq!(watch.known.len(), DUE_TIMERS);
        assert_eq!(watch.known.first(), all.first(), "the earliest stay");
        watch.handle_timeout(u64::MAX / 2);
        let activated = |order: &Order| matches!(order, Order::Activate(_));
        assert_eq!(orders(&mut watch).iter().filter(|order| activated(order)).count(), AT_ONCE);
    }

    #[test]
    fn those_that_never_go_on_keep_no_other_waiting() {
        let first = due("a", 0);
        let mut watch = watch(&first);
        let same = (0..).map(|number| due(&format!("k{number}"), number)).filter(|due| due.shard() == first.shard());
        let all: Vec<Due> = same.take(2 * AT_ONCE + 1).collect();
        watch.handle_listed(all.clone());
        let (mut now, mut tried) = (MINUTE_US, BTreeSet::new());
        for _ in 0..10 {
            now += AGAIN_US;
            watch.handle_timeout(now);
            let begun: Vec<Due> = orders(&mut watch)
                .into_iter()
                .filter_map(|order| match order {
                    Order::Activate(due) => Some(due),
                    Order::List { .. } => None,
                })
                .collect();
            assert!(begun.len() <= AT_ONCE);
            begun.iter().for_each(|due| watch.handle_done(now, due, false));
            tried.extend(begun);
        }
        assert_eq!(tried, all.into_iter().collect());
    }
}
