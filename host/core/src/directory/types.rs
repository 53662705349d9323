//! What goes into the directory and comes out of it.

use bytes::Bytes;
use ringside_protocol::limits::CRITERIA_BYTES;
use serde::{Deserialize, Serialize};

use super::Pace;
use super::message::{Message, Origin};
use crate::ids::{Epoch, GameName, ModuleHash, Node, NodeId, PlayerId, SessionId, SessionKey, WorkerId};
use crate::leadership::message as leadership;
use crate::leadership::record::{ChainHome, Member, PartitionPolicy, Terms, Tier};
use crate::placement::{Decision, Policy};

/// A caller's name for one of its requests; comes back in the answer.
pub type RequestId = u64;

/// What the directory has to know about a game.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GameFacts {
    /// The module that new sessions run.
    pub module: ModuleHash,
    /// How they are replicated.
    pub replicas: Replicas,
    /// Whether its sessions tick or answer at once.
    pub pace: Pace,
    /// Fewest players with which a match makes sense.
    pub min_players: u32,
    /// Seats of a session.
    pub max_players: u32,
    /// Whether seats that players left may be given to others once the match has begun.
    pub late_join: bool,
}

/// How the sessions of a game are replicated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// When reliable output may leave.
    pub tier: Tier,
    /// What a partition does to them.
    pub policy: PartitionPolicy,
    /// Followers that each should have, on nodes of their own.
    pub followers: usize,
}

impl Replicas {
    /// What a session promises by them. One without followers is volatile, whatever its game asks for.
    pub fn terms(&self, session: SessionId, is_recorded: bool) -> Terms {
        let Replicas { policy, followers, .. } = *self;
        Terms { session, tier: self.tier(), policy, followers, is_recorded }
    }

    /// Where the chain of such a session's records is.
    pub fn home(&self) -> ChainHome {
        ChainHome::of(self.tier(), self.policy)
    }

    fn tier(&self) -> Tier {
        if self.followers == 0 { Tier::Volatile } else { self.tier }
    }
}

/// Randomness for one new session, drawn by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// For a key, where the caller names none.
    pub key: u64,
    /// The incarnation.
    pub incarnation: u64,
}

/// A session to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The game.
    pub game: GameName,
    /// The caller's key; asking twice with one key gives one session. Without it, one is drawn.
    pub key: Option<SessionKey>,
    /// What the guest's `start` gets.
    pub config: Bytes,
    /// Whether its log is recorded.
    pub record: bool,
    /// The criteria under which find-or-create may fill it; `None` keeps it to those who know its key.
    pub listed: Option<String>,
    /// How its node is chosen.
    pub policy: Policy,
    /// Randomness for it.
    pub draw: Draw,
}

/// A player's wish for any session that fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Find {
    /// The game.
    pub game: GameName,
    /// Opaque to the directory: players with equal criteria meet.
    pub criteria: String,
    /// Who asks; the seat is kept for them until [`crate::limits::RESERVATION_US`] is over.
    pub player: PlayerId,
    /// Whether a session that has to be created is recorded.
    pub record: bool,
    /// Whether the player may have a session created.
    pub may_create: bool,
    /// Randomness for that session.
    pub draw: Draw,
}

/// Anybody's wish for the session with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The game.
    pub game: GameName,
    /// The key.
    pub key: SessionKey,
    /// Whether a session that has to be created is recorded.
    pub record: bool,
    /// Whether the session may be created if there is none.
    pub may_create: bool,
    /// Randomness for that session.
    pub draw: Draw,
}

/// Where a session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Which session.
    pub session: SessionId,
    /// The node that leads it.
    pub leader: Node,
    /// The worker there.
    pub worker: WorkerId,
    /// Since when.
    pub epoch: Epoch,
    /// Whether this request made it.
    pub created: bool,
}

/// Why a request got no session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Nobody pushed a game of that name.
    #[error("no game is called {0}")]
    UnknownGame(GameName),
    /// No live session has that key.
    #[error("game {0} has no live session with key {1}")]
    NoSuchSession(GameName, SessionKey),
    /// No session fits, and the player's token does not allow to create one.
    #[error("no session fits, and the token does not allow to create one")]
    MayNotCreate,
    /// The key belongs to a live session with another configuration.
    #[error("the key belongs to {0}, which was created with another configuration")]
    KeyTaken(SessionId),
    /// A node has [`Limits::sessions`] sessions, or a home its entries, and no other has room. Retry later.
    #[error("the node has its {0} sessions")]
    Full(usize),
    /// Too many requests wait. Retry later.
    #[error("too many requests wait for sessions to be created")]
    Busy,
    /// No node has a worker that takes sessions: all drain, or there is none. Retry later.
    #[error("no worker takes new sessions")]
    NoWorker,
    /// The node that the session is pinned to takes none, or is not in the cluster.
    #[error("node {0}, to which the session is pinned, takes no new sessions")]
    NotThere(NodeId),
    /// The session was lost with the node that led it. Whoever may create begins another.
    #[error("session {0} was lost: the node that led it is gone")]
    Lost(SessionId),
    /// Criteria longer than [`CRITERIA_BYTES`].
    #[error("criteria are longer than {} bytes", CRITERIA_BYTES)]
    CriteriaTooLong,
    /// The worker, or a node that had to be asked, did not answer in time. Retry later.
    #[error("no answer in time")]
    TimedOut,
    /// The session could not be created.
    #[error("{0}")]
    Failed(String),
}

/// What the driver must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Have `worker` create the session, then call [`super::Directory::handle_created`].
    Create {
        /// Its id, new.
        session: SessionId,
        /// Where.
        worker: WorkerId,
        /// The epoch in which this node leads it.
        epoch: Epoch,
        /// What `start` gets.
        config: Bytes,
        /// Whether to record it.
        record: bool,
        /// Followers that it should have.
        followers: usize,
        /// What is to be looked for in the store first. One that is there goes on ([`super::Directory::handle_activating`]);
        /// where one is wanted and there is none, call [`super::Directory::handle_not_created`].
        origin: Origin,
    },
    /// Have `worker` follow a session, then call [`super::Directory::handle_followed`]. Comes again, and then changes
    /// nothing that is as it should be.
    Follow {
        /// What the session promises, and which it is.
        terms: Terms,
        /// The module that it runs.
        module: ModuleHash,
        /// Who leads it.
        leader: Member,
        /// Where it is to be followed.
        worker: WorkerId,
    },
    /// Have `worker` follow a session no longer, then call [`super::Directory::handle_unfollowed`]. Comes again until
    /// it does not.
    Unfollow {
        /// Which.
        session: SessionId,
        /// Where it is followed.
        worker: WorkerId,
    },
    /// Tell `worker` that somebody follows a session that it leads. Comes again.
    Recruit {
        /// Which session.
        session: SessionId,
        /// The worker that leads it.
        worker: WorkerId,
        /// Who follows it.
        member: Member,
    },
    /// Tell `worker` that a session that it leads has another home.
    NewHome {
        /// Which.
        session: SessionId,
        /// The worker that leads it.
        worker: WorkerId,
    },
    /// Tell `worker` what a session's home says.
    FromHome {
        /// Of which session.
        session: SessionId,
        /// The worker that spoke to the home.
        worker: WorkerId,
        /// What it says.
        message: Box<leadership::Message>,
    },
    /// Have `worker` end a session that nobody waits for any more. Comes again until [`super::Directory::handle_ended`]
    /// or, where the worker has no such session, [`super::Directory::handle_absent`] is called.
    End {
        /// Which.
        session: SessionId,
        /// Where.
        worker: WorkerId,
        /// Why.
        why: Ending,
    },
    /// Send a message to another node's directory.
    Send {
        /// To which run of which node: a later run must not get it.
        to: Node,
        /// What.
        message: Box<Message>,
    },
    /// Tell the requester.
    Answer {
        /// Which request.
        request: RequestId,
        /// What became of it.
        answer: Result<Placed, Refusal>,
    },
}

/// Why the directory ends a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// It was made for a player who asked for any, and nobody is in it.
    #[error("nobody is in it")]
    Empty,
    /// It was given up before the worker had created it.
    #[error("it was created too late")]
    TooLate,
    /// Another session of its key goes on: the cluster was cut in two, or changed faster than its nodes agreed.
    #[error("superseded by {0}")]
    Superseded(SessionId),
}

/// Who may meet: one game, equal criteria.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListKey {
    /// The game.
    pub game: GameName,
    /// Opaque.
    pub criteria: String,
}

/// The directory's own bounds (those of its lists are in [`crate::limits`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at a time, with those that are being ended. Beyond: [`Refusal::Full`].
    pub sessions: usize,
}

/// A live session as listings show it.
#[derive(Debug, Clone, Copy)]
pub struct SessionEntry<'a> {
    /// Which.
    pub id: &'a SessionId,
    /// Where.
    pub worker: WorkerId,
    /// When its creation began, µs.
    pub created_us: u64,
    /// Whether the worker has confirmed it.
    pub live: bool,
    /// Players with a seat.
    pub players: usize,
    /// Seats kept for players who have not come yet.
    pub reserved: usize,
    /// Seats in all.
    pub seats: u32,
    /// Whether its log is recorded.
    pub record: bool,
    /// Followers that it should have.
    pub followers: usize,
    /// Why it is on this node.
    pub decision: &'a Decision,
}

/// A session that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: SessionId,
    /// When, µs.
    pub ended_us: u64,
    /// Why, for people.
    pub reason: String,
}
