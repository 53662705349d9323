//! What nodes say to each other over their links. A version is agreed on in the hello
//! ([`super::links::VERSIONS`]).

use ringside_core::directory;
use ringside_core::ids::{GameName, ModuleHash, Node, SessionId, SessionKey, WorkerId};
use ringside_core::leadership::message::Party;
use ringside_core::membership;
use serde::{Deserialize, Serialize};

use crate::limits::ANSWER_BYTES;

/// The longest part of an answer, bytes: fits a frame, and leaves room for others between two parts.
pub const PART_BYTES: usize = 64 << 10;

/// A message between two nodes. Whom it is from is the link's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Between memberships: who is there.
    Member(membership::Message),
    /// Between directories.
    Directory {
        /// To this run: a later one must not take it.
        to: Node,
        /// What.
        message: Box<directory::Message>,
    },
    /// A signal of a session for one that the node leads.
    Signal {
        /// For the session of this game and key.
        game: GameName,
        /// Its key.
        key: SessionKey,
        /// `game/key` of the sender.
        source: String,
        /// What the guest gets.
        body: Vec<u8>,
    },
    /// A node tries to reach somebody by way of another: see [`Step`].
    Probe {
        /// How far it is.
        step: Step,
        /// Who wants to know of whom.
        probe: Box<Probe>,
    },
    /// A question on behalf of an operator, or of the node itself.
    Ask {
        /// The asker's number for it.
        number: u64,
        /// To this run: what is meant for an earlier one (to leave, say) a later one must not do.
        to: Node,
        /// What.
        ask: Ask,
    },
    /// A part of the answer to one.
    Answer {
        /// To which.
        number: u64,
        /// Counts the parts from 0.
        index: u32,
        /// The bytes.
        part: Vec<u8>,
        /// Whether it is the last.
        is_last: bool,
    },
}

/// Who is tried, and for whom. It goes along, so that nobody on the way has to remember anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The node whose worker follows a session and does not hear of somebody.
    pub prober: Node,
    /// That worker.
    pub worker: WorkerId,
    /// The session.
    pub session: SessionId,
    /// Of whom it does not hear.
    pub party: Party,
    /// The node where that is.
    pub target: Node,
}

/// How far a probe is: `prober ─Ask─► helper ─Try─► target ─There─► helper ─Reached─► prober`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Try the target.
    Ask,
    /// Are you there? A worker is asked itself: its node's word says nothing of it.
    Try,
    /// It is.
    There,
    /// It was reached.
    Reached,
}

/// A question. Answers are JSON ([`super::peers::Outcome`]) but for modules, which are their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// How are you, and whom do you see?
    Node,
    /// Which sessions do you lead?
    Sessions {
        /// Those that ended last instead.
        ended: bool,
    },
    /// What do you know of a session?
    Show(String),
    /// Why is a session where it is?
    Explain(String),
    /// Hand over what is recorded of a session.
    Flush(String),
    /// End a session if you lead it.
    End {
        /// Which.
        session: String,
        /// Why, for its players.
        reason: String,
    },
    /// Give the lead of a session to a node, if you have it.
    Move {
        /// Which.
        session: String,
        /// To which run of which node.
        to: Node,
    },
    /// End at once, as a crash would end you.
    Kill,
    /// Which games do you serve?
    Games,
    /// A module's bytes.
    Module(ModuleHash),
    /// I serve a new version: take it over, and answer when you serve it too.
    Pushed,
    /// Leave the cluster.
    Drain {
        /// How long matches may go on, ms.
        grace_ms: u64,
    },
    /// Hand over to a run of another program.
    Upgrade {
        /// Its path on your machine.
        binary: String,
    },
    /// Evict a session, if you lead it.
    Evict(String),
}

impl Ask {
    /// The longest answer, bytes. Beyond: the answer counts as none.
    pub fn answer_bytes(&self) -> usize {
        match self {
            Ask::Module(_) => ringside_core::limits::MODULE_BYTES,
            _ => ANSWER_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use ringside_golden::GoldenFile;

    use super::*;
    use crate::cluster::links::frame;

    /// Every message that this version has, with every variant of what it carries.
    const PUBLISHED: GoldenFile = GoldenFile {
        package_directory: env!("CARGO_MANIFEST_DIR"),
        name: "node-messages-2.hex",
        package: "ringside-node",
        version: "links::VERSIONS",
    };

    #[test]
    fn messages_of_the_published_version_are_written_and_read_as_they_were() {
        let decode = |bytes: &[u8]| frame::decode::<Message>(&bytes[4..]).unwrap();
        PUBLISHED.check_samples(|message| frame::encode(message).unwrap(), decode);
    }
}
