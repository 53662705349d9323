//! A connection as the player's protocol sees it: its stage, the one stream, what waits to be written, rates. State
//! only; `opening`, `inbound` and `outbound` are what the worker does with it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::StreamId;
use ringside_core::ids::{PlayerId, SessionId, Slot};
use ringside_core::leadership::record::Member;
use ringside_protocol::frame::{ClientFrame, FrameDecoder, Open, ServerFrame, WireFrame};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::view::ViewEncoder;

use crate::bucket::Bucket;
use crate::endpoint::LinkId;
use crate::relay::RelayState;

/// How long a player who was sent on may take: whoever has a connection there closes this one, and nobody is heard here.
pub(crate) const DEPARTING: Duration = limits::CLIENT_REACH_TIMEOUT.saturating_mul(2);

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The handshake is not done.
    Handshake,
    /// The open frame is awaited.
    Opening,
    /// The node is asked where the session is.
    Resolving { request: u64, open: Box<Open>, player: PlayerId, redirects: u8, expires_s: u64 },
    /// The session is here and takes nobody in at this moment: the player is let in when it does again.
    Waiting { session: usize, open: Box<Open>, player: PlayerId, expires_s: u64 },
    /// The session is followed here: the player is let in should it come to be led here.
    StandingBy { session: SessionId, open: Box<Open>, player: PlayerId, expires_s: u64 },
    /// A player plays.
    Attached { session: usize, slot: Slot, player: PlayerId, expires_s: u64 },
    /// Another node leads the session: what the player sends is passed on.
    Relaying(RelayState),
    /// The session went to another worker; its player is sent on, within [`DEPARTING`].
    Departing { session: SessionId, player: PlayerId, expires_s: u64 },
    /// The last frame is written; the connection is closed for this reason once the peer has it, or a while later.
    Closing { reason: Reason },
    /// Closed; only QUIC's own end is awaited.
    Closed,
}

pub(crate) struct Connection {
    pub(crate) link: LinkId,
    pub(crate) stage: Stage,
    /// Whom limits count it for.
    pub(crate) address: IpAddr,
    pub(crate) stream: Option<StreamId>,
    pub(crate) decoder: FrameDecoder<ClientFrame>,
    /// Bytes of the stream that were read and not decoded.
    pub(crate) unread: Bytes,
    /// Bytes of frames that the stream has not taken.
    pub(crate) out: BytesMut,
    /// Since when the stream takes nothing of them.
    pub(crate) stalled_since: Option<Instant>,
    /// Its stream waits until the entry that the last frame depends on is released.
    pub(crate) is_gated: bool,
    /// Where its session is about to go, as its player was told.
    pub(crate) announced: Option<Member>,
    /// The last output that was written.
    pub(crate) last_written: u64,
    /// The last input to be acknowledged.
    pub(crate) acknowledge: Option<u64>,
    pub(crate) view: ViewEncoder,
    pub(crate) view_sent: Instant,
    pub(crate) frames: Bucket,
    pub(crate) messages: Bucket,
    pub(crate) inputs: Bucket,
    pub(crate) datagrams: Bucket,
    /// How often it may ask where the follower is.
    pub(crate) questions: Bucket,
    /// Nothing that the peer says is heeded: it is of a branch that was left.
    pub(crate) is_ignored: bool,
    /// Whether it is on the list of those to be written.
    pub(crate) dirty: bool,
    /// Whether it has more to read than the last turn had time for.
    pub(crate) left_off: bool,
    /// Whether it counts as not attached yet.
    pub(crate) unattached: bool,
}

impl Connection {
    pub(crate) fn new(link: LinkId, address: IpAddr, now: Instant) -> Connection {
        let second = Duration::from_secs(1);
        Connection {
            link,
            stage: Stage::Handshake,
            address,
            stream: None,
            decoder: FrameDecoder::new(limits::OPEN_FRAME_BYTES),
            unread: Bytes::new(),
            out: BytesMut::new(),
            stalled_since: None,
            is_gated: false,
            announced: None,
            last_written: 0,
            acknowledge: None,
            view: ViewEncoder::new(),
            view_sent: now,
            frames: Bucket::new(limits::FRAME_RATE as u32, second),
            messages: Bucket::new(1, second),
            inputs: Bucket::new(1, second),
            datagrams: Bucket::new(limits::DATAGRAM_RATE as u32, second),
            questions: Bucket::new(1, second),
            is_ignored: false,
            dirty: false,
            left_off: false,
            unattached: false,
        }
    }

    /// The game's input rate holds from now on.
    pub(crate) fn set_input_rate(&mut self, rate: u32) {
        let burst = Duration::from_secs(limits::INPUT_BURST_FACTOR as u64);
        self.messages = Bucket::new(rate, burst);
        self.inputs = Bucket::new(rate, burst);
    }

    /// Lets go of everything that only an open connection needs.
    pub(crate) fn release(&mut self) {
        self.unread = Bytes::new();
        self.out = BytesMut::new();
        self.view = ViewEncoder::new();
        self.decoder = FrameDecoder::new(limits::OPEN_FRAME_BYTES);
    }

    /// Writes a frame to what leaves with the next flush.
    pub(crate) fn write(&mut self, frame: &ServerFrame) {
        frame.encode(&mut self.out);
    }

    /// The session and slot that it is attached to.
    pub(crate) fn attached(&self) -> Option<(usize, Slot)> {
        match self.stage {
            Stage::Attached { session, slot, .. } => Some((session, slot)),
            _ => None,
        }
    }

    /// The relay that it is the player's end of.
    pub(crate) fn relay(&self) -> Option<u64> {
        match &self.stage {
            Stage::Relaying(state) => Some(state.relay),
            _ => None,
        }
    }

    /// Whether as much as may be is under way to the leader.
    pub(crate) fn relay_is_full(&self) -> bool {
        matches!(&self.stage, Stage::Relaying(state) if state.is_full())
    }

    /// Whether nothing that it sends matters any longer.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Closing { .. } | Stage::Closed)
    }
}
