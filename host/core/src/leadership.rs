//! Who leads: the only place that compares epochs, and everything that decides who may lead a session, who counts as its
//! follower, and what may leave when.
//!
//! Whoever has seen a newer epoch of a session accepts nothing of an older one. Two sessions of one key come to be when
//! a cluster was cut in two, or changed faster than the nodes agreed on it; the same answer is found on every node
//! ([`wins`]).
//!
//! | file | owns |
//! |---|---|
//! | [`timing`] | every length of time, and the inequalities between them |
//! | [`record`] | who may make the next record of a session's chain |
//! | [`chain`] | adding to a chain in the store |
//! | [`lineage`] | what two logs have in common |
//! | [`leader`] | output commit, the right to release, the in-sync set, the grant, the end of leadership |
//! | [`follower`] | promises, suspicion, promotion |
//! | [`healing`] | which of two branches goes on |
//! | [`message`] | what members say, and what the shell is asked to do |
//!
//! # Driving it
//!
//! A worker has for each session a [`Leader`] or a [`Follower`]; the directory of the session's home has a
//! [`record::Copy`] of its newest record and answers candidates from it ([`message::Stand::Tells`]). Each turn the shell
//! reads its clock (µs since boot, which goes on while the machine sleeps), calls `handle_turn`, hands over what came,
//! and takes [`message::Output`]s until there are none. All messages of a turn to one worker are one frame; they may be
//! lost, doubled and late. A [`Leader`] becomes a [`Follower`] and the other way round only as an output says.

pub mod chain;
pub mod follower;
pub mod healing;
pub mod leader;
pub mod lineage;
pub mod message;
pub mod record;
pub mod timing;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, SessionId};

pub use follower::Follower;
pub use leader::Leader;

/// Whether `epoch` is newer than `than`. Epochs count promotions; where two nodes count alike, node and generation
/// decide, so that two leaders never share one.
pub fn newer(epoch: Epoch, than: Epoch) -> bool {
    epoch > than
}

/// What somebody who leads says for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What they lead.
    pub session: SessionId,
    /// Since when.
    pub epoch: Epoch,
    /// Player inputs accepted since the two lines parted; since the start, for sessions that never were one.
    pub inputs: u64,
}

/// Whether `this` goes on and `other` ends. Total: of two different claims exactly one wins, whoever asks.
///
/// Of one session the newer epoch wins. Of two sessions of a key the one with more player inputs; of equals the
/// greater epoch, and then the greater incarnation.
pub fn wins(this: &Claim, other: &Claim) -> bool {
    let (mine, theirs) = (this.session.incarnation, other.session.incarnation);
    if mine == theirs {
        return newer(this.epoch, other.epoch);
    }
    (this.inputs, this.epoch, mine) > (other.inputs, other.epoch, theirs)
}

#[cfg(test)]
mod tests;
