//! One connection: what it was opened for, how far it has come, and its bytes each way. Decides nothing about the
//! session.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use ringside_protocol::frame::{Certificate, ClientFrame, FrameDecoder, Opaque, Place, ServerFrame, WireFrame};
use ringside_protocol::view::ViewDecoder;

use super::seat::Reached;

/// A connection's name between core and shell; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// Where to connect to, and what to show there.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub address: SocketAddr,
    /// The certificate to expect; `None` leaves it to the shell's own trust.
    pub certificate: Option<Certificate>,
    pub ticket: Option<Opaque>,
}

impl From<Place> for Way {
    fn from(place: Place) -> Self {
        Way { address: place.address, certificate: Some(place.certificate_sha256), ticket: Some(place.ticket) }
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is a question where the session is led: a connection follows.
    Resolving,
    /// The handshake is not done.
    Connecting,
    /// `open` is on its way.
    Opening,
    /// The session is followed there: should that worker come to lead it, `Attached` follows.
    StandingBy,
    /// The answer was `Attached` with another branch: `Rewound` comes next, and nothing is sent before it.
    AwaitingRewound(Reached),
    /// Messages flow.
    Attached,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub id: LinkId,
    pub way: Way,
    pub stage: Stage,
    pub decoder: FrameDecoder<ServerFrame>,
    pub views: ViewDecoder,
    /// The view that the server was last told of.
    pub view_told: u64,
    /// The newest view came again: tell once more.
    pub view_repeated: bool,
    /// The last message that was written to it.
    pub sent: u64,
    /// The last output that its `open` named, if that resumed anything.
    pub resumed_after: Option<u64>,
    /// Whether messages were written before the answer to `open`.
    pub wrote_early: bool,
    /// Whether its `open` showed a resume token.
    pub showed_resume_token: bool,
    /// Bytes for its stream that the shell has not taken.
    pub out: BytesMut,
}

impl Link {
    pub fn new(id: LinkId, way: Way) -> Self {
        Link {
            id,
            way,
            stage: Stage::Connecting,
            decoder: FrameDecoder::default(),
            views: ViewDecoder::new(),
            view_told: 0,
            view_repeated: false,
            sent: 0,
            resumed_after: None,
            wrote_early: false,
            showed_resume_token: false,
            out: BytesMut::new(),
        }
    }

    pub fn write(&mut self, frame: &ClientFrame) {
        frame.encode(&mut self.out);
    }

    /// Writes a message, unless it was written before.
    pub fn write_message(&mut self, number: u64, body: &Bytes) {
        if number > self.sent {
            self.write(&ClientFrame::Message { number, body: body.clone() });
            self.sent = number;
            self.wrote_early |= self.stage == Stage::Opening;
        }
    }

    pub fn take_out(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    /// Whether messages may be written to it.
    pub fn is_attached(&self) -> bool {
        self.stage == Stage::Attached
    }
}
