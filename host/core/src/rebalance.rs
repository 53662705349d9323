//! Which sessions of a node go to other nodes by themselves, and where: after a change of the ring those that it gives to a
//! node that came, and from a node that carries too much as many as bring it below its bound. Nothing else moves: a node
//! that goes takes no session from those that stay, and a session that went past a full home stays where it is.
//!
//! **A newcomer** is a node that came to the ring, or came back with another weight. A session that was led here before it came goes to the first newcomer
//! that precedes this node in the ring's order from its position, if that has room: where it would have been placed, had
//! all been there from the beginning. When all that is to go there has gone, the newcomer is one no longer.
//!
//! **Relief.** A node whose every reading of [`OVER_US`] was above what it may carry (`placement`), and above
//! [`AMPLE_US`], gives sessions away, those that are farthest from their homes first, until its mean load is below
//! [`ROOM_PERCENT`] of that.
//!
//! **Why nothing oscillates.** Whoever takes a session must have room for all of its cost below [`ROOM_PERCENT`] of what it
//! may carry, and what was sent there lately counts as long as its reports may lack it. So with equal weights each move of a
//! relief is from a node above 1.25 times the mean to one that stays below 1.15 times: the sum of the squares of all loads
//! falls with each, and none falls for ever. A newcomer is filled to where it need not be relieved. And a session that came
//! here from another node less than [`STAYS_US`] ago stays.
//!
//! Drive it so: [`Rebalance::handle_ring`] and, once a second, [`Rebalance::handle_loads`] with what is so;
//! [`Rebalance::wave`] for what is to go now; [`Rebalance::handle_given`] for each of those when it went, or did not.

#[cfg(test)]
mod properties;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::directory::{SETTLE_US, SUCCESSION_US};
use crate::ids::{Node, NodeId, SessionId};
use crate::leadership::record::Motive;
use crate::placement::{self, Loads};
use crate::ring::{Position, Ring};

/// How long after the last change of the ring nothing is moved because of it, µs: until homes need not ask any more before
/// they create, and then whoever follows a session whose leader is gone has come to lead it, had the store to answer.
pub const SETTLED_US: u64 = SETTLE_US + SUCCESSION_US;
/// How long a session stays that came here from another node, µs: as long as the seats of players who lost it on the way are kept.
pub const STAYS_US: u64 = 30_000_000;
/// How long every reading of this node's load must be above its bound before it is relieved, µs: a checkpoint, an upload or
/// a crowd that comes in does not last as long.
pub const OVER_US: u64 = 10_000_000;
/// A node with no more load than that is not relieved, however little others have, CPU µs a second: a fifth of a core. Its
/// matches have the processor when they want it, and would be moved for nothing.
pub const AMPLE_US: u64 = 200_000;
/// How far a node that takes sessions may be filled, and one that is relieved is emptied, in percent of what it may carry:
/// 1.15 times its share where it may carry 1.25 times.
pub const ROOM_PERCENT: u64 = 92;
/// Until then the loads that are heard of may lack a session that has gone, µs: a reading is of a second, it is taken and
/// said once a second, gossip takes one more at most, and the session may have been half a second on its way.
const REPORTED_US: u64 = 5_000_000;
/// A session that nobody was heard to have given away goes no more, µs: longer than any try.
const GOING_US: u64 = 60_000_000;
/// How long a session stays that was not taken, µs; twice and three times as long after further tries.
const REFUSED_US: u64 = 30_000_000;
/// Tries after which it stays for good, as far as this change is concerned.
const TRIES: u64 = 3;
/// A newcomer to which nothing went for so long, though some should, has no room for it and is one no longer, µs.
const FULL_US: u64 = 60_000_000;

/// A session that this node leads, as far as it matters here.
#[derive(Debug, Clone)]
pub struct Led<'a> {
    /// Which.
    pub session: &'a SessionId,
    /// Where on the ring it lies.
    pub position: Position,
    /// Since when it is led here, µs.
    pub since_us: u64,
    /// Whether it was led elsewhere before: it is not moved again so soon.
    pub was_moved: bool,
    /// Whether it stays whatever the ring says: it is pinned, has not begun, or is about to end.
    pub stays: bool,
    /// How long its calls took lately, µs a second: its share of the node's load.
    pub calls_us: u64,
}

impl Led<'_> {
    /// When it has been here for long enough.
    fn may_go_at(&self) -> u64 {
        if self.was_moved { self.since_us.saturating_add(STAYS_US) } else { 0 }
    }
}

/// A session that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Going {
    /// Which.
    pub session: SessionId,
    /// Where.
    pub to: Node,
    /// Why.
    pub motive: Motive,
}

/// One that is on its way.
#[derive(Debug)]
struct Begun {
    to: NodeId,
    cost_us: u64,
    at: u64,
    /// Whether it is there.
    is_there: bool,
}

/// One that was not taken.
#[derive(Debug)]
struct Refused {
    tries: u64,
    until: u64,
}

/// What goes away from one node.
#[derive(Debug)]
pub struct Rebalance {
    me: NodeId,
    ring: Option<Arc<Ring>>,
    changed_us: u64,
    /// Which nodes came, and when.
    newcomers: BTreeMap<NodeId, u64>,
    /// When something went to one last.
    progress_us: u64,
    loads: Loads,
    /// Readings of this node's load above its bound since there was one that is not.
    over: VecDeque<(u64, u64)>,
    /// How much is to go until this node is relieved, CPU µs a second.
    excess_us: u64,
    begun: BTreeMap<SessionId, Begun>,
    refused: BTreeMap<SessionId, Refused>,
}

impl Rebalance {
    /// Of a node that knows no ring yet.
    pub fn new(me: NodeId) -> Rebalance {
        Rebalance {
            me,
            ring: None,
            changed_us: 0,
            newcomers: BTreeMap::new(),
            progress_us: 0,
            loads: Loads::new(),
            over: VecDeque::new(),
            excess_us: 0,
            begun: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// The ring as it is. Whoever is on the first that is heard of was there before.
    pub fn handle_ring(&mut self, now: u64, ring: &Arc<Ring>) {
        let before = self.ring.replace(Arc::clone(ring));
        let Some(before) = before.filter(|before| before.digest() != ring.digest()) else { return };
        self.changed_us = now;
        self.newcomers.retain(|id, _| ring.member(*id).is_some());
        for member in ring.members() {
            // Another run of a node that was there until now has the same names: it is replaced, and has its sessions.
            let was_there = before.member(member.node.id).is_some_and(|was| was.weight == member.weight);
            if !was_there && member.node.id != self.me {
                self.newcomers.insert(member.node.id, now);
            }
        }
        // Shares are others now.
        self.over.clear();
        self.excess_us = 0;
        self.refused.clear();
    }

    /// The nodes' loads, CPU µs a second, once a second.
    pub fn handle_loads(&mut self, now: u64, loads: &Loads) {
        self.loads.clone_from(loads);
        self.begun.retain(|_, begun| match begun.is_there {
            true => now < begun.at.saturating_add(REPORTED_US),
            false => now < begun.at.saturating_add(GOING_US),
        });
        let load_us = loads.get(&self.me).copied().unwrap_or(0);
        let bound_us = self.ring.as_ref().and_then(|ring| placement::capacities(ring, loads).get(&self.me).copied());
        match bound_us {
            Some(bound_us) if load_us > bound_us.max(AMPLE_US) => {
                self.over.push_back((now, load_us));
                // A second's reading each: what came before the last of them that cover the time.
                while self.over.get(1).is_some_and(|(at, _)| at.saturating_add(OVER_US) <= now) {
                    self.over.pop_front();
                }
            }
            _ => self.over.clear(),
        }
    }

    /// Whether there may be something to give away, if what is led here allows it.
    pub fn is_pending(&self, now: u64) -> bool {
        self.has_settled(now) && (!self.newcomers.is_empty() || self.is_over(now) || self.excess_us > 0)
    }

    /// What is to go now, at most so many sessions, of those that are led here.
    pub fn wave<'a>(&mut self, now: u64, at_most: usize, led: impl IntoIterator<Item = Led<'a>>) -> Vec<Going> {
        let Some(ring) = self.ring.clone().filter(|ring| ring.member(self.me).is_some()) else { return Vec::new() };
        if !self.is_pending(now) {
            return Vec::new();
        }
        let mut led: Vec<Led<'a>> = led.into_iter().collect();
        let costs = Costs::of(self.loads.get(&self.me).copied().unwrap_or(0), &led);
        led.retain(|one| !one.stays && !self.is_going(one.session));
        let mut wave = Vec::new();
        self.fill_newcomers(now, at_most, (&ring, &costs, &led), &mut wave);
        self.relieve(now, at_most, (&ring, &costs, led), &mut wave);
        wave
    }

    /// What a wave had was taken, or not.
    pub fn handle_given(&mut self, now: u64, session: &SessionId, is_there: bool) {
        if is_there {
            self.refused.remove(session);
            if let Some(begun) = self.begun.get_mut(session) {
                (begun.is_there, begun.at) = (true, now);
            }
            return;
        }
        if self.begun.remove(session).is_some() {
            let refused = self.refused.entry(session.clone()).or_insert(Refused { tries: 0, until: 0 });
            refused.tries += 1;
            refused.until = match refused.tries {
                TRIES.. => u64::MAX,
                tries => now.saturating_add(tries * REFUSED_US),
            };
        }
    }

    fn has_settled(&self, now: u64) -> bool {
        now >= self.changed_us.saturating_add(SETTLED_US)
    }

    fn is_over(&self, now: u64) -> bool {
        self.over.front().is_some_and(|(since, _)| since.saturating_add(OVER_US) <= now)
    }

    fn is_going(&self, session: &SessionId) -> bool {
        self.begun.get(session).is_some_and(|begun| !begun.is_there)
    }

    fn fill_newcomers(
        &mut self,
        now: u64,
        at_most: usize,
        (ring, costs, led): (&Arc<Ring>, &Costs, &[Led<'_>]),
        wave: &mut Vec<Going>,
    ) {
        if self.newcomers.is_empty() {
            return;
        }
        let mut rooms = self.rooms(ring);
        let (mut waits, mut is_done) = (false, true);
        for one in led {
            let precede = ring.successors(one.position).take_while(|member| member.node.id != self.me);
            let came = |id: &NodeId| self.newcomers.get(id).is_some_and(|came| one.since_us < *came);
            let mut choices = precede.filter(|member| came(&member.node.id)).peekable();
            let may_go_at = self.refused.get(one.session).map_or(0, |refused| refused.until);
            if choices.peek().is_none() || may_go_at == u64::MAX {
                continue;
            }
            is_done = false;
            if now < one.may_go_at().max(may_go_at) || wave.len() >= at_most {
                waits = true;
                continue;
            }
            let cost_us = costs.of_one(one);
            let to = choices.find(|member| rooms.take(member.node.id, cost_us)).map(|member| member.node);
            if let Some(to) = to {
                self.begin(now, one.session, to, cost_us, Motive::Ring, wave);
            }
        }
        let is_going = self.begun.values().any(|begun| !begun.is_there);
        if !wave.is_empty() || waits || is_going {
            self.progress_us = now;
        }
        if is_done && !is_going || now >= self.progress_us.max(self.changed_us + SETTLED_US).saturating_add(FULL_US) {
            self.newcomers.clear();
            self.refused.clear();
        }
    }

    fn relieve(
        &mut self,
        now: u64,
        at_most: usize,
        (ring, costs, led): (&Arc<Ring>, &Costs, Vec<Led<'_>>),
        wave: &mut Vec<Going>,
    ) {
        if self.is_over(now) {
            let mean_us = self.over.iter().map(|(_, load_us)| load_us).sum::<u64>() / self.over.len() as u64;
            let bound_us = placement::capacities(ring, &self.loads).get(&self.me).copied().unwrap_or(u64::MAX);
            self.excess_us = mean_us.saturating_sub(room_us(bound_us));
            // What goes now is seen in readings after it.
            self.over.clear();
        }
        if self.excess_us == 0 {
            return;
        }
        let mut rooms = self.rooms(ring);
        let from_home = |one: &Led<'_>| ring.successors(one.position).take_while(|it| it.node.id != self.me).count();
        let mut led: Vec<(usize, Led<'_>)> = led.into_iter().map(|one| (from_home(&one), one)).collect();
        led.sort_by_key(|(steps, one)| (Reverse(*steps), one.position));
        for (_, one) in led {
            if wave.len() >= at_most {
                return;
            }
            let cost_us = costs.of_one(&one);
            let refused_until = self.refused.get(one.session).map_or(0, |refused| refused.until);
            if now < one.may_go_at().max(refused_until) || self.is_going(one.session) {
                continue;
            }
            let mut others = ring.successors(one.position).filter(|member| member.node.id != self.me);
            if let Some(to) = others.find(|member| rooms.take(member.node.id, cost_us)).map(|member| member.node) {
                self.begin(now, one.session, to, cost_us, Motive::Load, wave);
                self.excess_us = self.excess_us.saturating_sub(cost_us);
                if self.excess_us == 0 {
                    return;
                }
            }
        }
        // Nothing else may go: whether that was enough is seen later.
        self.excess_us = 0;
    }

    fn begin(&mut self, at: u64, session: &SessionId, to: Node, cost_us: u64, motive: Motive, wave: &mut Vec<Going>) {
        self.begun.insert(session.clone(), Begun { to: to.id, cost_us, at, is_there: false });
        wave.push(Going { session: session.clone(), to, motive });
    }

    /// How much each node may still take, with what was sent there lately.
    fn rooms(&self, ring: &Ring) -> Rooms {
        let mut loads = self.loads.clone();
        for begun in self.begun.values() {
            let load_us = loads.entry(begun.to).or_default();
            *load_us = load_us.saturating_add(begun.cost_us);
        }
        let bounds = placement::capacities(ring, &self.loads);
        let left = |(id, bound_us): (NodeId, u64)| {
            (id, room_us(bound_us).saturating_sub(loads.get(&id).copied().unwrap_or(0)))
        };
        Rooms(bounds.into_iter().map(left).collect())
    }
}

/// Up to where a node is filled that may carry so much.
fn room_us(bound_us: u64) -> u64 {
    u64::try_from(u128::from(bound_us) * u128::from(ROOM_PERCENT) / 100).unwrap_or(u64::MAX)
}

/// How much nodes may take, CPU µs a second.
struct Rooms(Loads);

impl Rooms {
    /// Whether a node has room for that; it has less then.
    fn take(&mut self, node: NodeId, cost_us: u64) -> bool {
        let Some(left) = self.0.get_mut(&node).filter(|left| **left >= cost_us) else { return false };
        *left -= cost_us;
        true
    }
}

/// What sessions cost: the node's load in proportion to how long their calls take. What is spent on their players goes with
/// that better than by heads, and what is spent on sessions that are followed here counts as theirs: rather too much than
/// too little.
struct Costs {
    load_us: u64,
    calls_us: u64,
}

impl Costs {
    fn of(load_us: u64, led: &[Led<'_>]) -> Costs {
        // Each counts for one at least: one that does nothing costs something, too.
        let calls_us = led.iter().fold(0_u64, |sum, one| sum.saturating_add(one.calls_us.max(1)));
        Costs { load_us, calls_us: calls_us.max(1) }
    }

    fn of_one(&self, one: &Led<'_>) -> u64 {
        let share = u128::from(self.load_us) * u128::from(one.calls_us.max(1)) / u128::from(self.calls_us);
        u64::try_from(share).unwrap_or(u64::MAX).max(1)
    }
}
