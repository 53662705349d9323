//! The ring: which node is a name's home, and in which order the others come. A pure function of the members, the same
//! on every node that has the same view, whatever order it learnt of them in.
//!
//! Each member has points on a circle of 64 bits, as many as its weight says; a name belongs to the member of the first
//! point at or after it. A member that joins takes names from others and gives none; one that leaves gives its own away
//! and moves no other: no assignment moves fewer.

mod hash;
#[cfg(test)]
mod properties;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{GameName, Node, NodeId, SessionKey};

/// Version of the hash and of the points; part of every digest, so that nodes that differ in it never agree by chance.
pub const VERSION: u64 = 1;
/// Points of a member of [`Weight::NORMAL`]: the largest of ten then owns 1.1 times its share, of fifty 1.15 times.
const POINTS: u32 = 256;

/// A place on the circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position(pub u64);

impl Position {
    /// Where all sessions of a key have their home: the incarnation does not enter.
    pub fn of_key(game: &GameName, key: &SessionKey) -> Position {
        hash::key(game, key)
    }

    /// Where the open sessions with these criteria are listed.
    pub fn of_list(game: &GameName, criteria: &str) -> Position {
        hash::list(game, criteria)
    }
}

/// How much of the cluster a node takes, in percent of an ordinary node: 1 to 1600.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Weight(u16);

impl Weight {
    /// An ordinary node.
    pub const NORMAL: Weight = Weight(100);

    /// So many percent; `None` outside 1 to 1600.
    pub fn percent(percent: u16) -> Option<Weight> {
        (1..=1600).contains(&percent).then_some(Weight(percent))
    }

    /// In percent.
    pub fn get(self) -> u16 {
        self.0
    }

    fn points(self) -> u32 {
        (u32::from(self.0) * POINTS).div_ceil(100)
    }
}

impl Default for Weight {
    fn default() -> Self {
        Weight::NORMAL
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Weight::percent(u16::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("a weight is 1 to 1600 percent"))
    }
}

/// What fails together: a rack, a data centre. At most 32 bytes; empty where the operator named none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Zone(String);

impl Zone {
    /// The zone of this name; `None` if it is too long.
    pub fn new(name: impl Into<String>) -> Option<Zone> {
        let name = name.into();
        (name.len() <= 32).then_some(Zone(name))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Zone::new(String::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("the zone is too long"))
    }
}

/// A node with a place on the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which node, in which run: one that restarted remembers nothing of its homes, so it makes another ring.
    pub node: Node,
    /// Which stay of that run: one that was taken for gone has lost its homes to others, so it makes another ring.
    pub stay: u32,
    /// How much it takes.
    pub weight: Weight,
    /// Where it is.
    pub zone: Zone,
}

/// Names a ring: version, members, generations, stays, weights and zones. Equal digests, equal owners.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RingDigest(pub u64);

impl fmt::Display for RingDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RingDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ring {self}")
    }
}

/// The ring of a view.
#[derive(Clone)]
pub struct Ring {
    digest: RingDigest,
    /// In order of their ids.
    members: Vec<Member>,
    /// Ascending.
    points: Vec<u64>,
    /// The member of each point, an index into `members`.
    owners: Vec<u16>,
    /// For each value of a position's leading bits, the first point at or after the least such position.
    index: Vec<u32>,
    shift: u32,
}

impl Ring {
    /// The ring of these members, in any order. Of two with one id the later run and stay is taken.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Ring {
        let mut members: Vec<Member> = members.into_iter().collect();
        members.sort_by_key(|member| (member.node.id, std::cmp::Reverse((member.node.generation, member.stay))));
        members.dedup_by_key(|member| member.node.id);
        members.truncate(usize::from(u16::MAX));
        let mut points: Vec<(u64, u16)> = (0_u16..)
            .zip(&members)
            .flat_map(|(owner, member)| {
                (0..member.weight.points()).map(move |number| (hash::point(member.node.id, number), owner))
            })
            .collect();
        // Members are in order of their ids, so points that coincide go to the smaller id everywhere.
        points.sort_unstable();
        points.dedup_by_key(|(position, _)| *position);
        let bits = (points.len() * 2).next_power_of_two().trailing_zeros().max(1);
        let shift = u64::BITS - bits;
        let mut index = Vec::with_capacity(1 << bits);
        let mut next = 0;
        for leading in 0..1_u64 << bits {
            while points.get(next as usize).is_some_and(|(position, _)| *position < leading << shift) {
                next += 1;
            }
            index.push(next);
        }
        let digest = digest(&members);
        let (points, owners) = points.into_iter().unzip();
        Ring { digest, members, points, owners, index, shift }
    }

    /// Names the ring.
    pub fn digest(&self) -> RingDigest {
        self.digest
    }

    /// Its members, in order of their ids.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this id.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.binary_search_by_key(&id, |member| member.node.id).ok().map(|at| &self.members[at])
    }

    /// Whose the position is; `None` on an empty ring.
    pub fn home(&self, position: Position) -> Option<&Member> {
        let owner = *self.owners.get(self.first_point(position))?;
        self.members.get(usize::from(owner))
    }

    /// All members, each once, in the order in which their points follow the position: the home first.
    pub fn successors(&self, position: Position) -> impl Iterator<Item = &Member> {
        let start = self.first_point(position);
        let mut seen = vec![false; self.members.len()];
        let mut left = seen.len();
        let mut owners = self.owners[start..].iter().chain(&self.owners[..start]);
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let owner = owners.find(|owner| !seen[usize::from(**owner)])?;
            seen[usize::from(*owner)] = true;
            left -= 1;
            self.members.get(usize::from(*owner))
        })
    }

    /// All points of the circle with whose they are, in order: for tools and comparisons.
    pub fn points(&self) -> impl Iterator<Item = (u64, NodeId)> {
        let owner = |owner: &u16| self.members.get(usize::from(*owner)).map(|member| member.node.id);
        self.points.iter().zip(&self.owners).filter_map(move |(point, at)| Some((*point, owner(at)?)))
    }

    /// Where the followers of a session go whose leader is on `leader`: the next distinct nodes, those in other zones
    /// first, each zone once before any comes again.
    pub fn followers(&self, position: Position, leader: NodeId, count: usize) -> Vec<NodeId> {
        let mut left: Vec<&Member> = self.successors(position).filter(|member| member.node.id != leader).collect();
        let mut zones: Vec<&Zone> = self.member(leader).map(|member| &member.zone).into_iter().collect();
        let mut chosen = Vec::new();
        while chosen.len() < count && !left.is_empty() {
            let at = match left.iter().position(|member| !zones.contains(&&member.zone)) {
                Some(at) => at,
                // Every zone has one: the next round, or the leader's own zone where there is no other.
                None => {
                    zones.clear();
                    0
                }
            };
            let member = left.remove(at);
            zones.push(&member.zone);
            chosen.push(member.node.id);
        }
        chosen
    }

    /// The first point at or after the position, in the sense of the circle. Out of range only where there is none.
    fn first_point(&self, position: Position) -> usize {
        let mut at = self.index[(position.0 >> self.shift) as usize] as usize;
        while self.points.get(at).is_some_and(|point| *point < position.0) {
            at += 1;
        }
        if at == self.points.len() { 0 } else { at }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("digest", &self.digest).field("members", &self.members).finish_non_exhaustive()
    }
}

fn digest(members: &[Member]) -> RingDigest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&VERSION.to_le_bytes());
    for Member { node, stay, weight, zone } in members {
        hasher.update(&node.id.0.to_le_bytes());
        hasher.update(&node.generation.to_le_bytes());
        hasher.update(&stay.to_le_bytes());
        hasher.update(&weight.0.to_le_bytes());
        hasher.update(&[zone.0.len() as u8]);
        hasher.update(zone.0.as_bytes());
    }
    let mut leading = [0; 8];
    leading.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    RingDigest(u64::from_le_bytes(leading))
}
