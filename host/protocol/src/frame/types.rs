//! The frames' types. Bounded text and opaque bytes are checked while they are read, so that a frame that decoded is
//! within its limits.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::hex;
use crate::ids::{Branch, Epoch, GameName, IdError, Incarnation, PlayerId, SessionId, SessionKey, Slot, WorkerId};
use crate::limits;
use crate::reason::Reason;
use crate::tier::Tier;

/// Bytes that only their maker understands: a ticket or a resume token, at most [`limits::TICKET_BYTES`].
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Opaque(Bytes);

impl Opaque {
    /// The bytes as a ticket or token; `None` where they are too long.
    pub fn new(bytes: impl Into<Bytes>) -> Option<Opaque> {
        let bytes = bytes.into();
        (bytes.len() <= limits::TICKET_BYTES).then_some(Opaque(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none: a resume token that the client no longer has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Tickets and tokens are secrets: only their length is shown.
impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}

/// In hexadecimal: for JSON.
impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl FromStr for Opaque {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Opaque, IdError> {
        let wrong = || IdError::new("ticket", text, "at most 512 bytes in hexadecimal");
        hex::decode(text).and_then(Opaque::new).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Opaque::new(Bytes::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("opaque bytes too long"))
    }
}

/// SHA-256 of a certificate's DER form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Certificate(pub [u8; 32]);

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Certificate {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Certificate, IdError> {
        let wrong = || IdError::new("certificate hash", text, "64 hexadecimal digits");
        hex::decode32(text).map(Certificate).ok_or_else(wrong)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({self})")
    }
}

/// Where a worker is to be found, whom to expect there, and what to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its advertised address.
    pub address: SocketAddr,
    /// The certificate to expect.
    pub certificate_sha256: Certificate,
    /// A single-use ticket, good at that worker only.
    pub ticket: Opaque,
}

/// What a client wants to be attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The running session of a key, or a new one if the node's policy allows.
    Session {
        /// Its game.
        game: GameName,
        /// Its key.
        key: SessionKey,
    },
    /// Any open session of the game with these criteria, or a new one.
    FindOrCreate {
        /// The game.
        game: GameName,
        /// Those who give the same text meet; at most [`limits::CRITERIA_BYTES`].
        #[serde(deserialize_with = "criteria")]
        criteria: String,
    },
}

impl Target {
    /// The game that it names.
    pub fn game(&self) -> &GameName {
        match self {
            Target::Session { game, .. } | Target::FindOrCreate { game, .. } => game,
        }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// It is the player; the newest of a player wins.
    #[default]
    Attach,
    /// It waits at a follower and never counts as the player.
    Standby,
}

/// What a returning client has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The newest resume token; empty where it was used and the answer never came.
    pub token: Opaque,
    /// Which session of its key it was attached to.
    pub incarnation: Incarnation,
    /// Which of the player's stays in the session its numbers belong to, as [`Attached::joined`] said.
    pub joined: u64,
    /// The branch that its numbers belong to.
    pub branch: Branch,
    /// The last message that it has.
    pub last_output: u64,
}

/// A client's first frame.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// [`super::VERSION`].
    pub version: u16,
    /// The session token, at most [`limits::TOKEN_BYTES`].
    #[serde(deserialize_with = "token")]
    pub token: String,
    /// What it wants.
    pub target: Target,
    /// What the connection is for.
    pub mode: Mode,
    /// What it has, if it was attached before.
    pub resume: Option<Resume>,
    /// The ticket that led it here.
    pub ticket: Option<Opaque>,
    /// Whether it wants to be relayed rather than redirected.
    pub relay: bool,
}

/// The token is a secret: only its length is shown.
impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("version", &self.version)
            .field("token_bytes", &self.token.len())
            .field("target", &self.target)
            .field("mode", &self.mode)
            .field("resume", &self.resume)
            .field("ticket", &self.ticket)
            .field("relay", &self.relay)
            .finish()
    }
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientFrame {
    /// The first frame, once.
    Open(Box<Open>),
    /// A message; numbers count from 1 without gaps.
    Message {
        /// Its number.
        number: u64,
        /// What the guest gets, at most [`limits::MESSAGE_BYTES`].
        body: Bytes,
    },
    /// It has every message up to this number.
    Acknowledge {
        /// The last one.
        up_to: u64,
    },
    /// The player leaves.
    Leave,
    /// Where may a further connection stand by? The ticket of the last answer is used or old.
    AskFollower,
}

/// How a client reaches the session's leader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Route {
    /// The worker that answers leads the session.
    #[default]
    Direct,
    /// The node that answers passes everything on.
    Relayed,
}

/// Whose seat an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Seat {
    /// The player has just joined: both numberings begin.
    New,
    /// The player was there before: numberings go on.
    Kept,
}

/// The answer to an open frame that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The session.
    pub session: SessionId,
    /// Who the client is.
    pub player: PlayerId,
    /// Its slot.
    pub slot: Slot,
    /// What the connection is for.
    pub mode: Mode,
    /// Whether the player has just joined.
    pub seat: Seat,
    /// The position in the log after which the player joined: it tells one stay in the session from another.
    pub joined: u64,
    /// The branch that numbers belong to. If the client named another, `Rewound` is the next frame.
    pub branch: Branch,
    /// The leader's epoch; a client that has seen a greater one accepts nothing of this connection.
    pub epoch: Epoch,
    /// The node that answers.
    pub node: u64,
    /// The worker that answers.
    pub worker: WorkerId,
    /// How it is reached.
    pub route: Route,
    /// The last message of this player that the session has.
    pub last_input: u64,
    /// Messages to this player go on after this number: what the client said that it has, or the last one that it
    /// ever acknowledged, whichever is later.
    pub last_output: u64,
    /// The greatest number of an input datagram that the session has of this player: the client counts on from there.
    pub last_datagram: u64,
    /// The token for the next return; single use.
    pub resume_token: Opaque,
    /// Ticks a second; 0 for an event-driven game.
    pub tick_rate: u32,
    /// Views a second at most.
    pub view_rate: u32,
    /// Messages and datagrams a second that are taken.
    pub input_rate: u32,
    /// The tier at which the game wants inputs retired.
    pub tier: Tier,
    /// The tick that the session is at.
    pub tick: u64,
    /// How long a seat is kept without a connection, ms.
    pub seat_window_ms: u32,
    /// Whether the session is paused at the moment.
    pub paused: bool,
    /// Where the first follower waits, if there is one.
    pub follower: Option<Place>,
}

/// The answer to an open frame that failed. The connection is closed after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub cause: Reason,
    /// The same for people, at most [`limits::REASON_BYTES`].
    #[serde(deserialize_with = "reason_text")]
    pub message: String,
    /// When to try again at the earliest, ms; 0 leaves it to the client.
    pub retry_after_ms: u32,
}

/// The session's log ends before what the client saw: everything later is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewound {
    /// The branch that goes on.
    pub branch: Branch,
    /// The tick that it goes on from.
    pub tick: u64,
    /// The last message of this player that was kept.
    pub last_input: u64,
    /// The last message to this player that was kept.
    pub last_output: u64,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// The client is attached. The first frame, unless `Redirect` or `Refused` is.
    Attached(Box<Attached>),
    /// The session is elsewhere; the server closes after it.
    Redirect(Place),
    /// The client is not attached; the server closes after it.
    Refused(Refused),
    /// A message; numbers count from 1 without gaps.
    Message {
        /// Its number.
        number: u64,
        /// What the client gets, at most 64 KiB.
        body: Bytes,
    },
    /// The session has every message up to this number, as safe as the tier says.
    Acknowledge {
        /// The last one.
        up_to: u64,
        /// The tier that it reached.
        tier: Tier,
    },
    /// A message was taken and had no effect.
    Rejected {
        /// Its number.
        number: u64,
        /// Why.
        cause: Reason,
    },
    /// What was newer is withdrawn. Only directly after `Attached`.
    Rewound(Rewound),
    /// The session stands still for the moment.
    Paused,
    /// The session goes on.
    Resumed,
    /// The session is about to go on at another worker: connect there, and send to both.
    Moving(Place),
    /// The worker will close soon; nobody knows yet where the session goes on.
    GoingAway {
        /// Why.
        reason: Reason,
    },
    /// The attachment is over; the server closes after it.
    Detached {
        /// Why.
        reason: Reason,
        /// The game's or operator's words, at most [`limits::REASON_BYTES`]; may be empty.
        #[serde(deserialize_with = "reason_text")]
        message: String,
    },
    /// The session is over; the server closes after it.
    Finished {
        /// What the game said at the end.
        outcome: Bytes,
    },
    /// Where the session's first follower waits from now on, if there is one; also the answer to
    /// [`ClientFrame::AskFollower`].
    Follower(Option<Place>),
    /// The session is followed here: should it come to be led here, `Attached` follows, as if the client had opened just
    /// then. Until then the connection counts for nothing.
    StandingBy {
        /// The epoch that is followed, as far as it is known.
        epoch: Option<Epoch>,
    },
}

/// Cuts `text` to [`limits::REASON_BYTES`] at the end of a character.
pub fn cut_reason(text: &str) -> String {
    let mut end = text.len().min(limits::REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D, limit: usize) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > limit {
        return Err(serde::de::Error::custom("text too long"));
    }
    Ok(text)
}

fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    bounded(deserializer, limits::TOKEN_BYTES)
}

fn criteria<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    bounded(deserializer, limits::CRITERIA_BYTES)
}

fn reason_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    bounded(deserializer, limits::REASON_BYTES)
}
