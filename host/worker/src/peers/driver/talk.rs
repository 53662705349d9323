//! What is said on one connection: the frames that wait for its stream, the long things under way, and what has come in
//! of both.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use quinn_proto as quic;
use quinn_proto::{Dir, StreamId};

use crate::endpoint::LinkId;
use crate::limits::{PEER_FRAME_BYTES, PEER_LONG_BYTES, PEER_LONGS, PEER_QUEUE_BYTES};
use crate::peers::frame::{Decoder, Frame, HEAD_BYTES, encode};
use crate::peers::{Peer, SendError};

/// What is long leaves behind every frame.
const LONG_PRIORITY: i32 = -1;

/// A connection.
pub(super) struct Talk {
    pub link: LinkId,
    /// Whom this worker dialed, and its dial's number.
    pub dialed: Option<(Peer, u64)>,
    /// Whom it is with, once it is up.
    pub peer: Option<Peer>,
    pub stream: Option<StreamId>,
    pub decoder: Decoder,
    pub out: BytesMut,
    pub longs_out: Vec<LongOut>,
    pub longs_in: VecDeque<LongIn>,
    /// Reading left off: what waits is not announced again.
    pub left_off: bool,
    pub unwritten: bool,
}

/// Something long that leaves.
pub(super) struct LongOut {
    pub stream: StreamId,
    pub rest: Bytes,
}

/// Something long that comes in.
pub(super) struct LongIn {
    pub stream: StreamId,
    pub bytes: usize,
}

impl Talk {
    pub fn accepted(link: LinkId) -> Talk {
        Talk {
            link,
            dialed: None,
            peer: None,
            stream: None,
            decoder: Decoder::default(),
            out: BytesMut::new(),
            longs_out: Vec::new(),
            longs_in: VecDeque::new(),
            left_off: false,
            unwritten: false,
        }
    }

    pub fn dialing(link: LinkId, peer: Peer, dial: u64) -> Talk {
        Talk { dialed: Some((peer, dial)), ..Talk::accepted(link) }
    }

    /// Bytes of frames that wait for the stream.
    pub fn waiting_bytes(&self) -> usize {
        self.out.len()
    }

    /// Puts a frame behind those that wait.
    pub fn send_frame(&mut self, quic: &mut quic::Connection, body: &Bytes) -> Result<(), SendError> {
        if body.len() > PEER_FRAME_BYTES {
            return Err(SendError::TooLong);
        }
        let fits = |talk: &Talk| talk.out.len() + HEAD_BYTES + body.len() <= PEER_QUEUE_BYTES;
        if !fits(self) {
            self.write_frames(quic);
        }
        if !fits(self) {
            return Err(SendError::TooSlow);
        }
        encode(&Frame::Body(body.clone()), &mut self.out);
        Ok(())
    }

    /// Begins to send something long.
    pub fn send_long(&mut self, quic: &mut quic::Connection, body: Bytes) -> Result<(), SendError> {
        if body.len() > PEER_LONG_BYTES {
            return Err(SendError::TooLong);
        }
        if self.longs_out.len() >= PEER_LONGS {
            return Err(SendError::Busy);
        }
        let stream = quic.streams().open(Dir::Uni).ok_or(SendError::Busy)?;
        // It was just opened.
        let _ = quic.send_stream(stream).set_priority(LONG_PRIORITY);
        self.longs_out.push(LongOut { stream, rest: body });
        Ok(())
    }

    /// Gives QUIC what it takes of the frames that wait.
    pub fn write_frames(&mut self, quic: &mut quic::Connection) {
        let Some(id) = self.stream else { return };
        let mut stream = quic.send_stream(id);
        while !self.out.is_empty() {
            match stream.write(&self.out) {
                Ok(written) => drop(self.out.split_to(written)),
                Err(quic::WriteError::Blocked) => return,
                // The peer stopped the stream, or the connection is over: reading hears of it.
                Err(_) => self.out.clear(),
            }
        }
    }

    /// The same for what is long.
    pub fn write_longs(&mut self, quic: &mut quic::Connection) {
        self.longs_out.retain_mut(|long| {
            let mut stream = quic.send_stream(long.stream);
            while !long.rest.is_empty() {
                match stream.write_chunks(std::slice::from_mut(&mut long.rest)) {
                    Ok(_) => {}
                    Err(quic::WriteError::Blocked) => return true,
                    // The peer wants no more of it.
                    Err(_) => return false,
                }
            }
            // It fails only where the stream is over already.
            let _ = stream.finish();
            false
        });
    }
}
