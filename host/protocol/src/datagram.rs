//! Datagrams: inputs and views that may be lost, each with a compact header of its own, since they are what a server
//! sends and takes most of. Encoding writes into the caller's buffer and allocates nothing; decoding shares the
//! packet's bytes.

use bytes::{Buf, BufMut, Bytes};

use crate::limits::{DATAGRAM_BODY_BYTES, VIEW_BYTES, VIEW_FRAGMENTS};
use crate::varint::{self, VarintError};

/// What QUIC lets a datagram carry at least, at the start of a connection, bytes.
pub const SMALLEST_MAX_DATAGRAM: usize = 1162;
/// Longest header of an input datagram, bytes.
pub const INPUT_HEADER_BYTES: usize = 1 + 2 * varint::MAX_BYTES;
/// Longest header of a view fragment, bytes: at most 12 until a session is 2²⁸ ticks old (51 days at 60 Hz), as long
/// as baseline and committed tick are less than 128 behind.
pub const FRAGMENT_HEADER_BYTES: usize = 2 + 4 * varint::MAX_BYTES;

const INPUT: u8 = 0x01;
const VIEW_ACKNOWLEDGE: u8 = 0x02;
const VIEW: u8 = 0x10;
const VIEW_FIRST: u8 = 0x14;
const VIEW_FURTHER: u8 = 0x18;
const FLAG_LAG: u8 = 0x01;
const FLAG_BASELINE: u8 = 0x02;
const DATAGRAM: u8 = 0x20;

/// Why a packet's bytes are not a datagram of this protocol: a countable cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DatagramError {
    /// There is nothing in it.
    #[error("an empty datagram")]
    Empty,
    /// Its first byte means nothing (in this direction).
    #[error("a datagram of unknown kind {0:#04x}")]
    UnknownKind(u8),
    /// Its header is cut short, not in shortest form, or contradicts itself.
    #[error("a {0} datagram's header is malformed")]
    Header(&'static str),
    /// It carries more than it may.
    #[error("a {0} datagram that is too long")]
    TooLong(&'static str),
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientDatagram {
    /// An input that may be lost.
    Input {
        /// Counts the client's datagrams from 1, so that one that arrives twice is taken once.
        number: u64,
        /// The newest view that the client has; 0 for none.
        view_acknowledged: u64,
        /// What the guest gets, at most [`DATAGRAM_BODY_BYTES`].
        body: Bytes,
    },
    /// The newest view that the client has, where no input is at hand to say so.
    ViewAcknowledge {
        /// Its number.
        view: u64,
    },
}

impl ClientDatagram {
    /// Appends the datagram to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            ClientDatagram::Input { number, view_acknowledged, body } => {
                encode_input(*number, *view_acknowledged, body, out);
            }
            ClientDatagram::ViewAcknowledge { view } => {
                out.put_u8(VIEW_ACKNOWLEDGE);
                varint::put(out, *view);
            }
        }
    }

    /// A datagram from exactly its bytes, which the body shares.
    ///
    /// # Errors
    /// [`DatagramError`].
    pub fn decode(mut bytes: Bytes) -> Result<ClientDatagram, DatagramError> {
        match take_kind(&mut bytes)? {
            INPUT => {
                let number = take(&mut bytes, "input")?;
                let view_acknowledged = take(&mut bytes, "input")?;
                if bytes.len() > DATAGRAM_BODY_BYTES {
                    return Err(DatagramError::TooLong("input"));
                }
                Ok(ClientDatagram::Input { number, view_acknowledged, body: bytes })
            }
            VIEW_ACKNOWLEDGE => {
                let view = take(&mut bytes, "view acknowledge")?;
                if bytes.is_empty() {
                    Ok(ClientDatagram::ViewAcknowledge { view })
                } else {
                    Err(DatagramError::TooLong("view acknowledge"))
                }
            }
            kind => Err(DatagramError::UnknownKind(kind)),
        }
    }
}

/// Appends an input datagram to `out`.
pub fn encode_input(number: u64, view_acknowledged: u64, body: &[u8], out: &mut impl BufMut) {
    out.put_u8(INPUT);
    varint::put(out, number);
    varint::put(out, view_acknowledged);
    out.put_slice(body);
}

/// What the first fragment of a view says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewHead {
    /// The tick that it shows.
    pub tick: u64,
    /// The last committed tick, at most `tick`; what is newer is provisional.
    pub committed_tick: u64,
    /// The number of the view that it is a delta against, less than its own; 0 for a view in full.
    pub baseline: u64,
}

/// A fragment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentHeader {
    /// Counts a connection's views from 1.
    pub number: u64,
    /// Which fragment, from 0.
    pub index: u8,
    /// How many there are, at most [`VIEW_FRAGMENTS`].
    pub count: u8,
    /// About the view; in fragment 0 and no other.
    pub head: Option<ViewHead>,
}

impl FragmentHeader {
    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        let mut size = 1 + varint::size(self.number);
        size += match (self.index, self.count) {
            (0, 1) => 0,
            (0, _) => 1,
            _ => 2,
        };
        if let Some(head) = &self.head {
            size += varint::size(head.tick);
            size += head.lag().map_or(0, varint::size);
            size += head.back(self.number).map_or(0, varint::size);
        }
        size
    }

    /// Appends it to `out`; the fragment's bytes follow.
    pub fn encode(&self, out: &mut impl BufMut) {
        let kind = match (self.index, self.count) {
            (0, 1) => VIEW,
            (0, _) => VIEW_FIRST,
            _ => VIEW_FURTHER,
        };
        let head = self.head.filter(|_| self.index == 0);
        let lag = head.and_then(|head| head.lag());
        let back = head.and_then(|head| head.back(self.number));
        let flags = lag.map_or(0, |_| FLAG_LAG) | back.map_or(0, |_| FLAG_BASELINE);
        out.put_u8(kind | flags);
        varint::put(out, self.number);
        if kind == VIEW_FURTHER {
            out.put_u8(self.index);
        }
        if kind != VIEW {
            out.put_u8(self.count);
        }
        if let Some(head) = head {
            varint::put(out, head.tick);
        }
        [lag, back].into_iter().flatten().for_each(|value| varint::put(out, value));
    }

    fn decode(kind: u8, bytes: &mut Bytes) -> Result<FragmentHeader, DatagramError> {
        let malformed = DatagramError::Header("view");
        let number = take(bytes, "view")?;
        let (index, count) = match kind & !(FLAG_LAG | FLAG_BASELINE) {
            VIEW => (0, 1),
            VIEW_FIRST => (0, take_byte(bytes)?),
            _ => (take_byte(bytes)?, take_byte(bytes)?),
        };
        let further = kind & !(FLAG_LAG | FLAG_BASELINE) == VIEW_FURTHER;
        if number == 0 || further != (index > 0) || index >= count || usize::from(count) > VIEW_FRAGMENTS {
            return Err(malformed);
        }
        if kind & !(FLAG_LAG | FLAG_BASELINE) == VIEW_FIRST && count == 1 {
            return Err(malformed);
        }
        if further {
            return if kind == VIEW_FURTHER {
                Ok(FragmentHeader { number, index, count, head: None })
            } else {
                Err(malformed)
            };
        }
        let tick = take(bytes, "view")?;
        let lag = take_optional(bytes, kind & FLAG_LAG != 0)?;
        let back = take_optional(bytes, kind & FLAG_BASELINE != 0)?;
        let committed_tick = tick.checked_sub(lag).ok_or(malformed)?;
        let baseline = match back {
            0 => 0,
            back => number.checked_sub(back).filter(|&baseline| baseline > 0).ok_or(malformed)?,
        };
        Ok(FragmentHeader { number, index, count, head: Some(ViewHead { tick, committed_tick, baseline }) })
    }
}

impl ViewHead {
    /// How far the committed tick is behind, where it is.
    fn lag(&self) -> Option<u64> {
        Some(self.tick.saturating_sub(self.committed_tick)).filter(|&lag| lag > 0)
    }

    /// How far the baseline is behind view `number`, where there is one.
    fn back(&self, number: u64) -> Option<u64> {
        Some(number.saturating_sub(self.baseline)).filter(|&back| self.baseline > 0 && back > 0)
    }
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerDatagram {
    /// A part of a view, or all of it.
    ViewFragment {
        /// Which part of which view.
        header: FragmentHeader,
        /// Its bytes.
        body: Bytes,
    },
    /// A guest's datagram.
    Datagram {
        /// What the client gets, at most [`DATAGRAM_BODY_BYTES`].
        body: Bytes,
    },
}

impl ServerDatagram {
    /// Appends the datagram to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            ServerDatagram::ViewFragment { header, body } => {
                header.encode(out);
                out.put_slice(body);
            }
            ServerDatagram::Datagram { body } => encode_datagram(body, out),
        }
    }

    /// A datagram from exactly its bytes, which the body shares.
    ///
    /// # Errors
    /// [`DatagramError`].
    pub fn decode(mut bytes: Bytes) -> Result<ServerDatagram, DatagramError> {
        match take_kind(&mut bytes)? {
            kind @ VIEW..=0x1b => {
                let header = FragmentHeader::decode(kind, &mut bytes)?;
                if bytes.len() > VIEW_BYTES {
                    return Err(DatagramError::TooLong("view"));
                }
                Ok(ServerDatagram::ViewFragment { header, body: bytes })
            }
            DATAGRAM if bytes.len() > DATAGRAM_BODY_BYTES => Err(DatagramError::TooLong("guest")),
            DATAGRAM => Ok(ServerDatagram::Datagram { body: bytes }),
            kind => Err(DatagramError::UnknownKind(kind)),
        }
    }
}

/// Appends a guest's datagram to `out`.
pub fn encode_datagram(body: &[u8], out: &mut impl BufMut) {
    out.put_u8(DATAGRAM);
    out.put_slice(body);
}

fn take_kind(bytes: &mut Bytes) -> Result<u8, DatagramError> {
    if bytes.is_empty() { Err(DatagramError::Empty) } else { Ok(bytes.get_u8()) }
}

fn take_byte(bytes: &mut Bytes) -> Result<u8, DatagramError> {
    if bytes.is_empty() { Err(DatagramError::Header("view")) } else { Ok(bytes.get_u8()) }
}

fn take(bytes: &mut Bytes, kind: &'static str) -> Result<u64, DatagramError> {
    varint::take(bytes).map_err(|_: VarintError| DatagramError::Header(kind))
}

/// A field that is there only where it is not zero.
fn take_optional(bytes: &mut Bytes, present: bool) -> Result<u64, DatagramError> {
    match present {
        false => Ok(0),
        true => match take(bytes, "view")? {
            0 => Err(DatagramError::Header("view")),
            value => Ok(value),
        },
    }
}

#[cfg(test)]
mod tests;
