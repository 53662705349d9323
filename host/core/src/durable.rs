//! What outlives a whole cluster: the logs of durable sessions in the store. No I/O: the shell asks the store and hands in
//! what it said.
//!
//! **A run of a node has one log**: a chain of numbered objects without gaps, each made by conditional create, one at a
//! time; what comes while one is on its way is the next ([`writer`]). Durable output leaves when the object that holds its
//! entries exists. Whoever takes a run's sessions over makes the next number as a *seal*: from then on the run can write
//! nothing, and so can release nothing durable. A run that was only cut off finds the seal, fences what it led, and begins
//! another log whose numbers go on ([`LogName`]): what is led in an epoch that begins after that goes there
//! ([`Leader::handle_node_log`](crate::leadership::Leader::handle_node_log) says why that is safe).
//!
//! ```text
//!   1 entries of a, b │ 2 checkpoint of a, entries of b │ 3 list of all, entries │ … │ n seal
//!     └── may be deleted when a list and a checkpoint of every session came after it ──┘
//! ```
//!
//! What another run leads now is kept until it begins in that one's log, and a log that was taken over until all of it does:
//! then it is deleted but for its seal ([`recovery::needs`]).
//!
//! | file | owns |
//! |---|---|
//! | [`object`] | what an object holds, and its bytes |
//! | [`writer`] | the chain of this run: what is written when, what is stored, what may be deleted |
//! | [`recovery`] | what a sealed chain holds: from where each session goes on, or why it is lost |
//!
//! **What it keeps.** A session's track in a chain is a checkpoint and the entries after it, of one epoch; one that began
//! in this run needs no checkpoint. A leader that was promoted begins its track with a checkpoint: what came before is in
//! the chain of who led before. So a session that was led by several runs is found by going back along the lineage of its
//! newest record ([`recovery::start`]): the newest track that can be used holds everything that was released as durable,
//! for a leader releases nothing of its own before its checkpoint is stored, and stores none that a follower which counts is
//! not as far as: whoever is promoted goes on at or after it.

use std::fmt;
use std::str::FromStr;

use crate::ids::Node;

pub mod object;
pub mod recovery;
pub mod writer;

#[cfg(test)]
mod model;

/// One of the logs of a run: `<node>.<generation>`, and of those that were begun after a seal `<node>.<generation>.<first>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName {
    /// Whose.
    pub run: Node,
    /// The number of its first object.
    pub first: u64,
}

impl LogName {
    /// The first of a run.
    pub fn first_of(run: Node) -> LogName {
        LogName { run, first: 1 }
    }

    /// The one that its run begins when it finds object `seal` to be a seal.
    pub fn after(self, seal: u64) -> LogName {
        LogName { first: seal + 1, ..self }
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first {
            1 => write!(f, "{}", self.run),
            first => write!(f, "{}.{first}", self.run),
        }
    }
}

/// That no log has such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no log has this name")]
pub struct NoLogName;

impl FromStr for LogName {
    type Err = NoLogName;

    fn from_str(name: &str) -> Result<LogName, NoLogName> {
        let mut parts = name.split('.');
        let (Some(id), Some(generation), first, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(NoLogName);
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| NoLogName);
        let run = Node { id: id.parse().map_err(|_| NoLogName)?, generation: number(generation)? };
        Ok(LogName { run, first: first.map_or(Ok(1), number)? })
    }
}
