//! What a worker is told from outside its thread and what it tells: closed lists, no shared state. Nothing here blocks
//! a worker: answers go through callbacks, events into a bounded queue.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringside_core::durable::object::Item;
use ringside_core::ids::{Epoch, GameName, Incarnation, Node, PlayerId, Position, SessionId, SessionKey, WorkerId};
use ringside_core::leadership::chain::Request;
use ringside_core::leadership::leader::{ChainReply, MoveError};
use ringside_core::leadership::message::{Message, Party};
use ringside_core::leadership::record::{Member, Motive, Record};
use ringside_core::output::LogLevel;
use ringside_protocol::frame::{Certificate, Target};
use ringside_protocol::reason::Reason;
use ringside_sandbox::Module;

pub use crate::beside::{Beside, Pass, Passage};
use crate::durable::{Restore, Stored};
pub use crate::idle::{Idleness, NotEvicted, Resting};
use crate::peers::{News, Order, Peer};
use crate::recording::{PartHead, Piece};
use crate::relay::{RelayOrder, Relayed};
use crate::replication::{Done, Follow, Kept, Nodes, Promoted, ReplicationReport};
use crate::session::Session;

/// Called once with an answer, on the worker's thread: must not block. Dropped uncalled if the worker stops first.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// A session to be created.
pub struct Create {
    /// Its id, new.
    pub session: SessionId,
    /// The module that it runs.
    pub module: Module,
    /// What `start` gets.
    pub config: Bytes,
    /// Seed of its generator.
    pub seed: [u8; 32],
    /// Its leadership.
    pub epoch: Epoch,
    /// Whether its log is recorded.
    pub record: bool,
    /// In-sync followers that it should have, where its tier asks for any.
    pub followers: usize,
}

/// Where a player who asked is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The session.
    pub session: SessionId,
    /// The node that leads it.
    pub node: u64,
    /// Which run of it.
    pub generation: u64,
    /// The era of its tickets, as last heard.
    pub era: u32,
    /// The worker of that node.
    pub worker: WorkerId,
    /// Where that worker is reached.
    pub address: SocketAddr,
    /// The certificate to expect there.
    pub certificate: Certificate,
}

/// A session that a player comes back to, as they say: they were attached to it in this epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// Which session of its key.
    pub incarnation: Incarnation,
    /// The epoch, which names the run of the node that led it.
    pub epoch: Epoch,
}

/// Why a player is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, which says what a client does.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// What a session has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Which.
    pub session: SessionId,
    /// Player inputs that it has taken.
    pub inputs: u64,
    /// How long its calls took here, µs.
    pub call_us: u64,
}

/// What a worker is told.
pub enum Command {
    /// Create a session; [`Event::Created`] follows.
    Create(Box<Create>),
    /// End a session; [`Event::Ended`] follows if it ends. Answers whether there was one: after that event where it ends,
    /// which waits for its followers or the store. No answer: it is led here no more, or too many wait for its end.
    End {
        /// Which.
        session: SessionId,
        /// Only if nobody sits in it or waits to be let in: whoever orders it may not have heard of the last who came.
        if_empty: bool,
        /// Why, for its players.
        reason: String,
        /// The answer.
        reply: Reply<bool>,
    },
    /// Say what is known of a session.
    Show {
        /// Which.
        session: SessionId,
        /// The answer; `None` where it is not here.
        reply: Reply<Option<Box<SessionReport>>>,
    },
    /// Say that turns are taken: another node wants to know whether this worker is alive.
    Ping {
        /// The answer.
        reply: Reply<()>,
    },
    /// Say what each session that is led here has come to.
    Counts {
        /// The answer.
        reply: Reply<Vec<Count>>,
    },
    /// Hand over what is recorded of a session so far; [`Event::Flushed`] follows it.
    Flush {
        /// Which; where it is not here (any longer), the event alone follows.
        session: SessionId,
        /// For the event.
        reply: Reply<()>,
    },
    /// Answers [`Event::Resolve`].
    Resolved {
        /// The request's number.
        request: u64,
        /// Where the session is, or why there is none.
        answer: Result<Resolved, Refusal>,
    },
    /// Take over a session that another worker of this node gave up.
    Adopt(Box<MovedSession>),
    /// A session that this worker gave up is led there now: its players are sent on.
    Departed(Resolved),
    /// Another session's signal.
    Signal {
        /// For the session of this game and key.
        game: GameName,
        /// Its key.
        key: SessionKey,
        /// `game/key` of the sender.
        source: String,
        /// What the guest gets.
        body: Bytes,
    },
    /// Something for a relayed player.
    Relayed {
        /// The relay's number.
        relay: u64,
        /// What.
        what: Relayed,
    },
    /// Something about workers of other nodes.
    Peers(Order),
    /// Where all nodes are reached from now on.
    Nodes(Nodes),
    /// Follow a session. Said again for one that is followed it changes nothing.
    Follow(Box<Follow>),
    /// Follow it no longer, unless it counts: its leader must take it out first. Answers whether it is not followed now.
    Unfollow {
        /// Which.
        session: SessionId,
        /// The answer.
        reply: Reply<bool>,
    },
    /// A worker follows a session that is led here, or is about to: it is told how to. Said again it changes nothing.
    Recruit {
        /// Which session.
        session: SessionId,
        /// Who.
        member: Member,
    },
    /// The session has another home, which knows nothing of it.
    NewHome {
        /// Which.
        session: SessionId,
    },
    /// A word of the session's home; answers [`Event::ToHome`].
    FromHome {
        /// Which session.
        session: SessionId,
        /// What it says.
        message: Box<Message>,
    },
    /// Answers [`Event::Chain`].
    Chain {
        /// Which session.
        session: SessionId,
        /// What the store said.
        reply: Box<ChainReply>,
    },
    /// The process of a run of a node has ended.
    Died(Node),
    /// Answers [`Event::Probe`], where somebody was reached; nobody answers where not.
    Reached {
        /// Which session asked.
        session: SessionId,
        /// Who is there.
        party: Party,
    },
    /// What came of a [`Job`](crate::replication::Job).
    Done(Done),
    /// The store has the log of durable sessions up to somewhere.
    Stored(Vec<Stored>),
    /// The log of the node wants a checkpoint of a durable session: [`Event::Log`] brings it.
    Checkpoint {
        /// Which.
        session: SessionId,
    },
    /// The log of the node was sealed: another run may take over what is durable, and nothing of it is stored any more.
    Sealed,
    /// The log of the node was opened anew after that.
    Reopened,
    /// Begin a session again; [`Event::Promoted`] follows, or [`Event::NotRestored`].
    Restore(Box<Restore>),
    /// When sessions are idle from now on.
    Idleness(Option<Idleness>),
    /// Evict a session: [`Event::Resting`] brings its state, for the store.
    Evict {
        /// Which.
        session: SessionId,
        /// Whether it is begun.
        reply: Reply<Result<(), NotEvicted>>,
    },
    /// The store has that: [`Event::Evicted`] follows, unless anything has happened since.
    Rested {
        /// Of which session.
        session: SessionId,
        /// Of which epoch.
        epoch: Epoch,
        /// After which entry.
        position: Position,
    },
    /// Give the lead of a session to one of its followers.
    Move {
        /// Which.
        session: SessionId,
        /// To whom: it must count.
        to: Member,
        /// Why: its history says so.
        motive: Motive,
        /// Whether it is begun.
        reply: Reply<Result<(), MoveRefused>>,
    },
    /// Serve new connections with another certificate.
    Certify {
        /// How connections are served: as before, but for the certificate.
        server: Arc<quinn_proto::ServerConfig>,
        /// SHA-256 of the certificate.
        certificate: Certificate,
    },
    /// Another run of this node is beside it, or is not any more.
    Beside(Beside),
    /// A checkpoint of a worker of the run before, by a [`Passage`].
    Passed {
        /// Which worker.
        from: WorkerId,
        /// The checkpoint, as a link would bring it.
        body: Bytes,
    },
    /// Tell every player that the node goes away and accept no further ones.
    GoAway(Reason),
    /// Stop: connections are closed, sessions dropped.
    Stop,
}

/// Why a session is not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefused {
    /// It is not led here.
    #[error("the session is not led by this worker (any longer)")]
    NotHere,
    /// The core refuses.
    #[error(transparent)]
    Leader(#[from] MoveError),
}

/// A session on its way to another worker: everything but its players' connections.
pub struct MovedSession(pub(crate) Box<Session>);

impl MovedSession {
    /// Which session.
    pub fn id(&self) -> &SessionId {
        &self.0.id
    }
}

impl std::fmt::Debug for MovedSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MovedSession({})", self.0.id)
    }
}

/// A reply on its way through the events, behind everything that was said before.
pub struct Flushed(pub(crate) Reply<()>);

impl Flushed {
    /// To be called by whoever handed on the events before it.
    pub fn done(self) {
        (self.0)(());
    }
}

impl std::fmt::Debug for Flushed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flushed")
    }
}

/// What a worker says.
#[derive(Debug)]
pub enum Event {
    /// A session was created, or why not.
    Created {
        /// Which.
        session: SessionId,
        /// The outcome.
        result: Result<(), String>,
    },
    /// A player is here whose session is not known here; [`Command::Resolved`] answers.
    Resolve {
        /// The request's number.
        request: u64,
        /// Who.
        player: PlayerId,
        /// What they asked for.
        target: Target,
        /// Whether their token allows to create a session.
        may_create: bool,
        /// Where they were attached before, if they come back.
        resumes: Option<Resumed>,
    },
    /// A player is to be relayed to another node; [`Event::Relayed`] and [`Command::Relayed`] follow.
    Relay(RelayOrder),
    /// Something from a relayed player.
    Relayed {
        /// The relay's number.
        relay: u64,
        /// What.
        what: Relayed,
    },
    /// A player has a seat.
    Joined {
        /// Where.
        session: SessionId,
        /// Who.
        player: PlayerId,
    },
    /// A player's stay is over.
    Left {
        /// Where.
        session: SessionId,
        /// Who.
        player: PlayerId,
    },
    /// The game refused a player, or there was no seat.
    Refused {
        /// Where.
        session: SessionId,
        /// Who.
        player: PlayerId,
    },
    /// A session is over.
    Ended {
        /// Which.
        session: SessionId,
        /// Why.
        reason: String,
        /// Its result, if the game finished it.
        outcome: Option<Bytes>,
    },
    /// A session overran its budget too often and must go to the penalty worker.
    Overran(Box<MovedSession>),
    /// A piece of a session's recording: frames in the order of the log. Sent only for recorded sessions.
    Recorded {
        /// Whose.
        session: SessionId,
        /// The frames; the first piece of the first part begins with the file's magic.
        piece: Piece,
    },
    /// A recorded session is led here from now on: the recording goes on in a part that begins with this, before any piece of it.
    Records(Box<PartHead>),
    /// What was asked for by [`Command::Flush`] has been said.
    Flushed(Flushed),
    /// A line of a guest's log.
    GuestLog {
        /// Whose.
        session: SessionId,
        /// How much it matters.
        level: LogLevel,
        /// The line.
        line: String,
    },
    /// An event that a guest emitted.
    GuestEvent {
        /// Whose.
        session: SessionId,
        /// Its bytes.
        body: Bytes,
    },
    /// A guest's fault, for the game's author: an entry was skipped.
    GuestFault {
        /// Whose.
        session: SessionId,
        /// The entry.
        position: Position,
        /// In words.
        message: String,
    },
    /// Something from or about a worker of another node.
    Peer {
        /// The worker.
        peer: Peer,
        /// What.
        news: News,
    },
    /// Something for the session's home, wherever that is; [`Command::FromHome`] answers.
    ToHome {
        /// Which session.
        session: SessionId,
        /// What is said.
        message: Box<Message>,
    },
    /// A question to the store about a session's chain of records; [`Command::Chain`] answers.
    Chain {
        /// Which session.
        session: SessionId,
        /// What is asked.
        request: Request,
    },
    /// Two other nodes are to try to reach a party; [`Command::Reached`] answers if one does, and [`Command::Died`] if its
    /// process has ended.
    Probe {
        /// For which session.
        session: SessionId,
        /// Whom.
        party: Party,
    },
    /// A session that was followed here is led here now.
    Promoted(Box<Promoted>),
    /// A part of a session's log is to be kept.
    Kept(Box<Kept>),
    /// A session that was led here is led by another worker now, and followed here.
    Deposed {
        /// Which.
        session: SessionId,
        /// By this record.
        by: Arc<Record>,
    },
    /// The record of a session that is led here is another one now.
    Record {
        /// Which session.
        session: SessionId,
        /// The record that counts.
        record: Arc<Record>,
    },
    /// Something for the log of the node, in order: entries and checkpoints of durable sessions.
    Log(Vec<Item>),
    /// A session cannot be begun again.
    NotRestored {
        /// Which.
        session: SessionId,
        /// Why.
        why: String,
    },
    /// Nobody has had anything to do with a session for a while, and nobody sits in it.
    Idle {
        /// Which.
        session: SessionId,
    },
    /// What the store is to have of a session before it is evicted; [`Command::Rested`] answers.
    Resting(Box<Resting>),
    /// A session that was led here is evicted: it is in the store until somebody asks for it.
    Evicted {
        /// Which.
        session: SessionId,
        /// By this record.
        record: Arc<Record>,
        /// In how long its next timer is due, if that is so soon that others may have found it due while it was led.
        due: Option<Duration>,
    },
    /// A guest's signal to another session.
    Signal {
        /// From whom, `game/key`.
        source: String,
        /// To whom, `game/key`.
        to: String,
        /// Its bytes.
        body: Bytes,
    },
}

impl Event {
    /// Bytes of what it carries: what its queue holds beside its items.
    pub(crate) fn body_bytes(&self) -> usize {
        match self {
            Event::Recorded { piece, .. } => piece.frames.len(),
            Event::Kept(kept) => kept.size_bytes(),
            Event::GuestLog { line, .. } => line.len(),
            Event::GuestEvent { body, .. } | Event::Signal { body, .. } => body.len(),
            Event::GuestFault { message, .. } => message.len(),
            Event::Peer { news, .. } => news.body_bytes(),
            Event::Resting(resting) => resting.checkpoint.state.len(),
            Event::Log(items) => items.iter().map(Item::weight).sum(),
            Event::Ended { outcome, .. } => outcome.as_ref().map_or(0, Bytes::len),
            _ => 0,
        }
    }
}

/// What a worker knows of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionReport {
    /// Which.
    pub session: SessionId,
    /// Hash of its module, in hexadecimal.
    pub module: String,
    /// Its leadership.
    pub epoch: Epoch,
    /// The last entry of its log.
    pub position: Position,
    /// Its tick.
    pub tick: u64,
    /// Session time, µs.
    pub time_us: u64,
    /// Why it stands still, if it does.
    pub pause: Option<Pause>,
    /// The row of statistics that the guest wrote.
    pub stats: Bytes,
    /// Guest memory, bytes.
    pub memory_bytes: usize,
    /// What it used and did.
    pub usage: crate::accounting::Usage,
    /// Its players.
    pub players: Vec<PlayerReport>,
    /// How it is replicated, if it is.
    pub replication: Option<Box<ReplicationReport>>,
}

/// Why a session stands still: it takes no inputs, or its players see nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// A call trapped or ran away: the state before it is built again.
    Rebuilding,
    /// It is about to go to another node, or into the store.
    Moving,
    /// It is being settled who leads it.
    Unsettled,
    /// It is consistent, and who is to have its log has not answered for so long that another may lead it by now.
    CutOff,
    /// As much is appended as may be before followers or the store have it.
    Unreleased,
}

/// What a worker knows of a player in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerReport {
    /// The slot.
    pub slot: u16,
    /// Who.
    pub player: PlayerId,
    /// Whether a connection is attached.
    pub connected: bool,
    /// Messages of the player so far.
    pub last_input: u64,
    /// Reliable outputs that the player has not acknowledged.
    pub unacknowledged: usize,
}
