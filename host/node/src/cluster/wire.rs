//! What nodes say to each other over their links. A version is agreed on in the hello; this is version 1.

use ringside_core::directory;
use ringside_core::ids::{GameName, ModuleHash, Node, SessionKey};
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
