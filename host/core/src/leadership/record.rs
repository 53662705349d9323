//! Leadership records: who leads a session, in which epoch, and which followers count. The records of a session are one
//! chain; each is valid only if the one before it entitles its maker ([`Record::entitles`]), so that whoever knows the
//! newest knows who may make the next.
//!
//! The chain has one of two homes ([`Terms::home`]):
//!
//! - **the store**, for consistent and durable sessions and everything that is evicted: numbered objects made by
//!   conditional create, so that of two who are entitled one makes the next ([`super::chain`]);
//! - **the log**, for the rest: a record is an entry that counts once every remaining member has acknowledged it. A
//!   candidate that asks all members of its newest record then meets, in at least one of them, whatever counted. The
//!   directory's entry is a copy: it helps who is cut off from the members, and decides nothing.
//!
//! **What the set promises.** Each follower that the newest record names has everything that was ever committed: a
//! promotion names only followers that were named before; a removal takes some away; and who is added has the log up to
//! the record that names it, while from the proposal on nothing is committed without it (the set that counts during a
//! change is the union of both).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use ringside_protocol::tier::{PartitionPolicy, Tier};

use super::lineage::Lineage;
use super::message::{Answer, Ask, Stand};
use super::newer;
use crate::ids::{Epoch, Node, Position, SessionId, WorkerId};
use crate::limits;

/// A worker of a run of a node: who leads or follows. Another run of the node is another member, for its memory is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Which run of which node.
    pub node: Node,
    /// Which of its workers.
    pub worker: WorkerId,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.worker)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Member {
    /// The epoch that this member takes after all that count up to `number`.
    pub fn epoch_after(&self, number: u64) -> Epoch {
        Epoch { number: number + 1, node: self.node.id.0, node_generation: self.node.generation }
    }

    /// Whether an epoch is of this member's node.
    pub fn owns(&self, epoch: Epoch) -> bool {
        Node::of_epoch(epoch) == self.node
    }
}

/// Where a session's chain of records is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainHome {
    /// Numbered objects.
    Store,
    /// Entries of the session's log.
    Log,
}

impl ChainHome {
    /// Of a session of this tier and policy: see [`Terms::home`].
    pub fn of(tier: Tier, policy: PartitionPolicy) -> ChainHome {
        let is_kept = tier == Tier::Replicated && policy == PartitionPolicy::Consistent;
        match tier == Tier::Durable || is_kept {
            true => ChainHome::Store,
            false => ChainHome::Log,
        }
    }
}

/// What does not change while a session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Which session.
    pub session: SessionId,
    /// When reliable output may leave.
    pub tier: Tier,
    /// What happens when the cluster is cut.
    pub policy: PartitionPolicy,
    /// In-sync followers that it should have.
    pub followers: usize,
    /// Whether whoever leads it records its log.
    pub is_recorded: bool,
}

impl Terms {
    /// Where the chain is. An *available* session that is *durable* has it in the store like every durable one: what
    /// two sides released as durable could not be undone, so there the store decides, and *available* decides nothing.
    /// A *volatile* session has followers only while it moves, and puts nothing into the store for that.
    pub fn home(&self) -> ChainHome {
        ChainHome::of(self.tier, self.policy)
    }

    /// Whether a follower may come to lead without a grant. Not where neither the store nor the game's consent keeps two
    /// sides of a cut from going on: such a session is lost with its leader, as its tier says.
    pub fn may_promote(&self) -> bool {
        self.home() == ChainHome::Store || self.policy == PartitionPolicy::Available
    }
}

/// Whether a session of a tier is safe though nobody of a node counts any longer, of these who do: somebody else has it all, or
/// the store has.
pub fn is_safe_without(node: Node, in_sync: &BTreeSet<Member>, tier: Tier) -> bool {
    tier == Tier::Durable || in_sync.iter().any(|who| who.node != node)
}

/// Why a record was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The session began.
    Created,
    /// A follower promoted itself, for the leader was gone.
    Promoted,
    /// The leader granted its place, because somebody ordered it.
    Granted,
    /// The leader took silent followers out.
    Removed,
    /// The leader took a follower in.
    Admitted,
    /// All members were gone; the log was read from the store up to the seal of the leader's node.
    Recovered {
        /// Number of the seal in the node's chain.
        seal: u64,
    },
    /// The cluster was cut and both sides went on; this one won over the other.
    Healed {
        /// The other's epoch, which is over.
        over: Epoch,
    },
    /// The leader heard of a newer epoch and found nobody who leads in it: it goes on in one above. Nothing is decided by
    /// that; should the two meet, they compare what they have.
    Raised,
    /// Nobody leads it: its state is in the store until somebody asks for it. One that names followers only hands the chain
    /// to the store ([`Record::next_home`]); its leader goes on.
    Evicted,
    /// Somebody asked for it.
    Activated,
    /// It is over. Nothing follows.
    Ended,
    /// The leader granted its place, for its node leaves.
    Drained,
    /// The same, for the ring names another node since it changed.
    Rebalanced,
    /// The same, for its node carries more than its bound.
    Relieved,
}

impl Cause {
    /// Whether the leader granted its place, for whatever reason.
    pub fn is_grant(self) -> bool {
        matches!(self, Cause::Granted | Cause::Drained | Cause::Rebalanced | Cause::Relieved)
    }
}

/// Why a leader gives its place to a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motive {
    /// Somebody ordered it.
    Order,
    /// Its node leaves.
    Drain,
    /// The ring names another node since it changed.
    Ring,
    /// Its node carries more than its bound.
    Load,
}

impl From<Motive> for Cause {
    fn from(motive: Motive) -> Cause {
        match motive {
            Motive::Order => Cause::Granted,
            Motive::Drain => Cause::Drained,
            Motive::Ring => Cause::Rebalanced,
            Motive::Load => Cause::Relieved,
        }
    }
}

/// A leadership record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of which session.
    pub session: SessionId,
    /// Its place in the chain, from 1.
    pub number: u64,
    /// The leader's epoch.
    pub epoch: Epoch,
    /// Who leads.
    pub leader: Member,
    /// The followers that count. Never the leader.
    pub in_sync: BTreeSet<Member>,
    /// Where the log stood: whoever the record adds has it up to there. In a chain in the log, its own position.
    pub position: Position,
    /// Why it was made.
    pub cause: Cause,
    /// Who appended what before.
    pub lineage: Lineage,
}

/// Why a record may not follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Not the next number, or of another session.
    #[error("it is not the next of this chain")]
    NotNext,
    /// The leader is named as its own follower, two followers are on one node, or there are too many.
    #[error("its in-sync set is malformed")]
    MalformedSet,
    /// The epoch is not newer where it must be, not the same where it must be, or of another node than the leader.
    #[error("its epoch does not follow")]
    Epoch,
    /// The maker is neither the leader nor a follower that counts, or does not do what such a one may.
    #[error("its maker is not entitled")]
    NotEntitled,
    /// It counts a follower that the record before it does not count.
    #[error("it counts a follower that did not count")]
    NotInSync,
    /// The session is over.
    #[error("the session is over")]
    Over,
}

impl Record {
    /// The first of a chain.
    pub fn first(session: SessionId, leader: Member) -> Record {
        let epoch = leader.node.first_epoch();
        let lineage = Lineage::new(epoch);
        let in_sync = BTreeSet::new();
        Record { session, number: 1, epoch, leader, in_sync, position: 0, cause: Cause::Created, lineage }
    }

    /// Whether `who` counts as a follower.
    pub fn counts(&self, who: Member) -> bool {
        self.in_sync.contains(&who)
    }

    /// Whether `who` leads or counts.
    pub fn names(&self, who: Member) -> bool {
        self.leader == who || self.counts(who)
    }

    /// Leader and followers.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        std::iter::once(self.leader).chain(self.in_sync.iter().copied())
    }

    /// Whether this one is newer: by epoch, and within one by number. (Two records of one number are of two epochs.)
    pub fn is_newer(&self, than: &Record) -> bool {
        newer(self.epoch, than.epoch) || self.epoch == than.epoch && self.number > than.number
    }

    /// Whether nobody leads the session by this record, until somebody asks for it.
    pub fn is_at_rest(&self) -> bool {
        self.cause == Cause::Evicted && self.in_sync.is_empty()
    }

    /// Where the next record of the chain is made.
    pub fn next_home(&self, terms: &Terms) -> ChainHome {
        if self.cause == Cause::Evicted { ChainHome::Store } else { terms.home() }
    }

    /// The next record of the same leader and epoch, with another set.
    pub fn with_set(&self, in_sync: BTreeSet<Member>, position: Position, cause: Cause) -> Record {
        Record { number: self.number + 1, in_sync, position, cause, ..self.clone() }
    }

    /// The next record, of another epoch: its leader's log ends at `end`. The chain's home decides what its position is.
    pub fn succeeded(
        &self,
        leader: Member,
        epoch: Epoch,
        in_sync: BTreeSet<Member>,
        end: Position,
        (cause, home): (Cause, ChainHome),
    ) -> Record {
        let mut lineage = self.lineage.clone();
        lineage.begin(epoch, end);
        let position = end + u64::from(home == ChainHome::Log);
        Record {
            session: self.session.clone(),
            number: self.number + 1,
            epoch,
            leader,
            in_sync,
            position,
            cause,
            lineage,
        }
    }

    /// The last record of the chain: the session is over at a position, and counts nobody.
    pub fn ended(&self, position: Position) -> Record {
        self.with_set(BTreeSet::new(), position, Cause::Ended)
    }

    /// Whether this record entitles the maker of `next` to make it.
    ///
    /// # Errors
    /// Why it does not.
    pub fn entitles(&self, next: &Record) -> Result<(), Denied> {
        if self.session != next.session || next.number != self.number + 1 {
            return Err(Denied::NotNext);
        }
        if self.cause == Cause::Ended {
            return Err(Denied::Over);
        }
        next.check_set()?;
        if !next.leader.owns(next.epoch) || next.lineage.newest() != Some(next.epoch) {
            return Err(Denied::Epoch);
        }
        let is_same = next.epoch == self.epoch && next.leader == self.leader;
        let is_next = next.epoch.number > self.epoch.number;
        let counted = |who: &Member| self.names(*who);
        match next.cause {
            Cause::Created => Err(Denied::NotEntitled),
            Cause::Removed if !next.in_sync.is_subset(&self.in_sync) => Err(Denied::NotInSync),
            Cause::Admitted if !self.in_sync.is_subset(&next.in_sync) => Err(Denied::NotEntitled),
            Cause::Removed | Cause::Admitted | Cause::Evicted | Cause::Ended => {
                if is_same {
                    Ok(())
                } else {
                    Err(Denied::Epoch)
                }
            }
            Cause::Promoted | Cause::Granted | Cause::Drained | Cause::Rebalanced | Cause::Relieved => {
                if !self.counts(next.leader) {
                    return Err(Denied::NotEntitled);
                }
                if !next.in_sync.iter().all(counted) {
                    return Err(Denied::NotInSync);
                }
                if is_next { Ok(()) } else { Err(Denied::Epoch) }
            }
            Cause::Healed { .. } | Cause::Raised => {
                let over = match next.cause {
                    Cause::Healed { over } => over.number,
                    _ => 0,
                };
                if next.leader != self.leader {
                    return Err(Denied::NotEntitled);
                }
                if !next.in_sync.is_subset(&self.in_sync) {
                    return Err(Denied::NotInSync);
                }
                if is_next && next.epoch.number > over { Ok(()) } else { Err(Denied::Epoch) }
            }
            // That the seal is there is the store's to say.
            Cause::Recovered { .. } if !next.in_sync.is_empty() => Err(Denied::NotInSync),
            Cause::Activated if !self.is_at_rest() => Err(Denied::NotEntitled),
            Cause::Activated if !next.in_sync.is_empty() => Err(Denied::NotInSync),
            Cause::Recovered { .. } | Cause::Activated => {
                if is_next {
                    Ok(())
                } else {
                    Err(Denied::Epoch)
                }
            }
        }
    }

    fn check_set(&self) -> Result<(), Denied> {
        // Followers share no node: two of one would die together, and a node's epochs would be taken by two of them.
        let nodes: BTreeSet<_> = self.in_sync.iter().map(|who| who.node.id).collect();
        let is_good =
            !self.counts(self.leader) && nodes.len() == self.in_sync.len() && self.in_sync.len() <= limits::FOLLOWERS;
        if is_good { Ok(()) } else { Err(Denied::MalformedSet) }
    }
}

/// The home's copy of a session's newest record, in its directory entry.
#[derive(Debug, Clone, Default)]
pub struct Copy(Option<std::sync::Arc<Record>>);

impl Copy {
    /// Somebody told a record: kept if it is newer. Whether it was.
    pub fn offer(&mut self, record: &std::sync::Arc<Record>) -> bool {
        let is_newer = self.0.as_ref().is_none_or(|known| record.is_newer(known));
        if is_newer {
            self.0 = Some(record.clone());
        }
        is_newer
    }

    /// A leader, or a follower that is not sure, told a record: what the home has then, which is the answer
    /// ([`super::message::Message::Lead`] without an end). A leader repeats itself until it comes.
    pub fn told(&mut self, record: &std::sync::Arc<Record>) -> std::sync::Arc<Record> {
        self.offer(record);
        self.0.as_ref().unwrap_or(record).clone()
    }

    /// What a candidate is told. The home has no say, only what it was told last.
    pub fn answer(&self, ask: &Ask) -> Answer {
        let record = self.0.as_ref().map(|record| Box::new(Record::clone(record)));
        let number = record.as_ref().map_or(0, |record| record.epoch.number);
        Answer { asked: ask.epoch, number, record, stand: Stand::Tells, stamp_us: ask.stamp_us }
    }

    /// The newest that it was told.
    pub fn newest(&self) -> Option<&std::sync::Arc<Record>> {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests;
