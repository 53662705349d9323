//! Relaying: for a player whose session another node leads and who cannot, or does not want to, connect there. The
//! worker passes the stream's bytes and the datagrams on between its connection and the node, which has a connection to
//! the leader. It reads nothing of them: the leader enforces the protocol.
//!
//! Bytes each way are bounded by credit: whoever was handed bytes says when they are gone, and only so many are under
//! way. Datagrams that find no room are dropped, as on any network.

use std::time::Instant;

use bytes::Bytes;
use ringside_core::ids::PlayerId;
use ringside_protocol::frame::{Open, Place};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;

use crate::command::Event;
use crate::connection::Stage;
use crate::endpoint::LinkId;
use crate::worker::Worker;

/// What passes a relay, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relayed {
    /// Bytes of the stream; the receiver answers [`Relayed::Took`] when they are gone.
    Stream(Bytes),
    /// So many bytes of the stream are gone.
    Took(usize),
    /// A datagram.
    Datagram(Bytes),
    /// The connection on the speaker's side is over.
    Closed(Reason),
}

/// A player to be relayed.
#[derive(Debug)]
pub struct RelayOrder {
    /// The relay's number.
    pub relay: u64,
    /// Where the leader is, with a ticket.
    pub place: Place,
    /// What the player asked.
    pub open: Box<Open>,
    /// Who.
    pub player: PlayerId,
}

/// A connection's share of a relay.
#[derive(Debug)]
pub(crate) struct RelayState {
    pub(crate) relay: u64,
    /// Bytes of the player's that the node has not confirmed.
    ahead: usize,
    /// Bytes for the player that were confirmed to the node.
    confirmed: u64,
    /// Bytes for the player that came from the node.
    taken: u64,
}

impl RelayState {
    /// Whether as much as may be is under way.
    pub(crate) fn is_full(&self) -> bool {
        self.ahead >= limits::RELAY_BYTES
    }
}

impl Worker {
    /// Begins to relay a player to a place.
    pub(crate) fn begin_relay(&mut self, now: Instant, link: LinkId, place: Place, open: Box<Open>, player: PlayerId) {
        if self.relays.len() >= limits::RELAYS {
            self.refuse(now, link, Reason::Overloaded, "too many players are relayed by this worker");
            return;
        }
        self.requests += 1;
        let relay = self.requests;
        let Some(connection) = self.connection(link) else { return };
        connection.stage = Stage::Relaying(RelayState { relay, ahead: 0, confirmed: 0, taken: 0 });
        self.relays.insert(relay, link);
        self.set_attached_count(link, false);
        self.tell(Event::Relay(RelayOrder { relay, place, open, player }));
        self.endpoint.set_deadline(link, Some(now + limits::KEEP_ALIVE));
        // What the client sent behind its open frame.
        self.read_stream(now, link);
    }

    /// What comes from the leader.
    pub(crate) fn relayed(&mut self, now: Instant, relay: u64, what: Relayed) {
        let Some(&link) = self.relays.get(&relay) else { return };
        let Some(connection) = self.connection(link) else { return };
        match what {
            Relayed::Stream(bytes) => {
                let Stage::Relaying(state) = &mut connection.stage else { return };
                state.taken += bytes.len() as u64;
                connection.out.extend_from_slice(&bytes);
                self.mark(link);
            }
            Relayed::Took(bytes) => {
                let Stage::Relaying(state) = &mut connection.stage else { return };
                state.ahead = state.ahead.saturating_sub(bytes);
                self.read_stream(now, link);
            }
            Relayed::Datagram(bytes) => {
                if let Some(quic) = self.endpoint.link(link) {
                    // The newest counts: older ones make room.
                    let _ = quic.datagrams().send(bytes, true);
                }
            }
            Relayed::Closed(reason) => {
                // The leader's last frame is written before.
                connection.stage = Stage::Closing { reason };
                self.relays.remove(&relay);
                self.counters.ends.count(reason);
                self.endpoint.set_deadline(link, Some(now + ringside_protocol::limits::CLOSING_TIMEOUT));
                self.mark(link);
            }
        }
    }

    /// Passes on what was read of a relayed player's stream.
    pub(crate) fn pass_stream(&mut self, link: LinkId) {
        let Some(connection) = self.connection(link) else { return };
        let unread = std::mem::take(&mut connection.unread);
        let Stage::Relaying(state) = &mut connection.stage else { return };
        let relay = state.relay;
        state.ahead += unread.len();
        if !unread.is_empty() {
            self.tell(Event::Relayed { relay, what: Relayed::Stream(unread) });
        }
    }

    /// Passes on a relayed player's datagram.
    pub(crate) fn pass_datagram(&mut self, relay: u64, bytes: Bytes) {
        self.tell_if_room(Event::Relayed { relay, what: Relayed::Datagram(bytes) });
    }

    /// Tells the node what the player's stream has taken.
    pub(crate) fn confirm_relayed(&mut self, link: LinkId) {
        let Some(connection) = self.connection(link) else { return };
        let waiting = connection.out.len() as u64;
        let Stage::Relaying(state) = &mut connection.stage else { return };
        let gone = state.taken.saturating_sub(waiting);
        let news = gone.saturating_sub(state.confirmed);
        state.confirmed = state.confirmed.max(gone);
        let relay = state.relay;
        if news > 0 {
            self.tell(Event::Relayed { relay, what: Relayed::Took(news as usize) });
        }
    }

    /// A relayed player's connection is over.
    pub(crate) fn end_relay(&mut self, relay: u64, reason: Reason) {
        if self.relays.remove(&relay).is_some() {
            self.tell(Event::Relayed { relay, what: Relayed::Closed(reason) });
        }
    }
}
