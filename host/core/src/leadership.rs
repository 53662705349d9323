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
//! | [`suspect`] | inputs that may kill a process |
//! | [`healing`] | which of two branches goes on |
//! | [`last`] | what whoever was away is told by those who have nothing of the session any more |
//! | [`message`] | what members say, and what the shell is asked to do |
//!
//! # Driving it
//!
//! A worker has for each session a [`Leader`] or a [`Follower`]; the directory of the session's home has a
//! [`record::Copy`] of its newest record. Every `now` is µs of the worker's own clock, which counts from boot and goes on
//! while the machine sleeps, read once a turn and never before the turn began. Messages may be lost, doubled and late; all
//! of a turn to one worker are one frame.
//!
//! Each turn, for each session: `handle_turn(now)`; then what came, in any order; a leader then [`Leader::handle_flush`];
//! then `poll` until it is empty, **doing each output before the next is polled**. A turn is due at `next_timeout` at the
//! latest. What the core says is good for the turn in which it says it: an output that waits in a queue until a later turn
//! is one that was released without a right.
//!
//! | what happens | to the leader | to the follower |
//! |---|---|---|
//! | a turn, or a timeout | [`Leader::handle_turn`] | [`Follower::handle_turn`] |
//! | a frame of a member, or of the home | [`Leader::handle_message`] | [`Follower::handle_message`], entries at hand |
//! | an entry was applied and is to be logged | [`Leader::handle_append`]: its position, or keep the input | |
//! | a player sends what [`Leader::is_suspicious`] | [`Leader::handle_suspect`]; it runs when [`Leader::next_suspect`] says so | |
//! | the turn's entries are in the log | [`Leader::handle_flush`] | |
//! | an entry that came is kept | | [`Follower::handle_entry`] |
//! | the fold came to a hash | [`Leader::handle_mark`] | [`Follower::handle_applied`] |
//! | the object of the log's chain exists | [`Leader::handle_stored`] | |
//! | the log of its node was sealed; opened anew | [`Leader::handle_node_log`] | |
//! | the store answered [`Output::Chain`](message::Output::Chain) | [`Leader::handle_chain`] | [`Follower::handle_chain`] |
//! | another node reached a party | | [`Follower::handle_reached`] |
//! | the process of a run of a node has ended | | [`Follower::handle_died`] |
//! | placement names a follower | [`Leader::handle_recruit`] | |
//! | the ring gave the session another home | [`Leader::handle_home`] | |
//! | the session is to move | [`Leader::handle_move`] | |
//! | it is idle, and its state is in the store | [`Leader::handle_evict`] | |
//! | one that was told says that it has nothing of the session | [`Leader::handle_absent`] | |
//! | it is over, or followed no more | [`last::LastRecords::end`] with [`Leader::last_record`] | [`last::LastRecords::let_go`] |
//! | a client shows a newer epoch that the cluster sealed | [`Leader::handle_seen`] | |
//! | a batch was asked for that is not kept any more | [`Leader::handle_unsent`] | |
//! | a checkpoint was restored | | [`Follower::handle_checkpoint`] |
//! | no node is there that could follow | [`Leader::handle_lonely`] | |
//! | a player's stay is over | [`Leader::handle_left`] | |
//! | somebody tells the home; a candidate asks it | [`record::Copy::told`]; [`record::Copy::answer`] | |
//!
//! | output | what the shell does | only after |
//! |---|---|---|
//! | `Send` | writes the message; with an `Append` the entries after `from` up to `to` | an `Ack`: its entries are in the log that a promotion would use |
//! | `Chain` | conditional create, or a listing; whatever comes of it is answered | |
//! | `Probe` | has two other nodes try to reach the party | |
//! | `Record` | puts the record into the log at its position, before any other entry | |
//! | `Release` | lets reliable outputs and acknowledgements up to `up_to` leave, naming `tier`; views carry `committed` | at the tier *durable*: `handle_stored` said so; that is the core's care |
//! | `Paused`, `Degraded` | tells players and operators; paused, no view leaves | |
//! | `Count` | counts player inputs in the log after a position: `handle_counted` in the same turn | |
//! | `MoveFailed` | appends the inputs that were held back | |
//! | `Evicted` | forgets the session | |
//! | `NotEvicted` | as `MoveFailed` | |
//! | `Renewed` | takes the new epoch in all that it says to players; nothing else changes | its `Record` |
//! | `Deposed` | `into_follower`; keeps the log, closes players with the new leader's address | |
//! | `Superseded` | keeps the log after `fork` as a fork, sends players `superseded`; then as `Deposed` | the fork is kept |
//! | `Keep` | adds these entries of the frame to the log | |
//! | `Truncate` | forgets entries after a position; the fold goes back to a checkpoint at or before it | |
//! | `Lead` | [`Leader::promoted`]; tells players `rewound` first if it is not complete | the fold has applied all of the log |
//! | `Counts` | shows it; one that does not count and is spoken to by nobody may be dropped | |
//! | `Diverged` | saves the log and both states, reports it; begins anew once it does not count | |
//!
//! **What is kept where.** The leader's shell keeps the log from the last checkpoint that every follower has, reliable
//! outputs that are not released, inputs held back for a move, and for durable sessions what the store has not. The
//! follower's keeps the log from its checkpoint, the fold, and the last state that it can go back to. Neither keeps anything
//! of leadership across the end of its process: a node that begins again is another [`record::Member`], and counts only when
//! it has been admitted anew.

pub mod chain;
pub mod follower;
pub mod healing;
pub mod last;
pub mod leader;
pub mod lineage;
pub mod message;
pub mod record;
pub mod suspect;
pub mod timing;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, SessionId};

pub use follower::Follower;
pub use last::LastRecords;
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
