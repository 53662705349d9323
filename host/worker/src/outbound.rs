//! What players are sent: acknowledgements and reliable outputs on the stream, views and the guest's datagrams beside it.
//! Never queues a view: the newest waits in its encoder, at most one more is in QUIC's buffer.

use std::time::Instant;

use ringside_core::ids::Slot;
use ringside_protocol::datagram;
use ringside_protocol::frame::ServerFrame;
use ringside_protocol::tier::Tier;

use crate::arena::Arena;
use crate::connection::{Connection, Stage};
use crate::endpoint::{Endpoint, LinkId};
use crate::limits::STREAM_WAITING_BYTES;
use crate::session::Session;
use crate::transport::DATAGRAM_SEND_BYTES;
use crate::worker::Worker;

/// What views and datagrams are cut from.
pub(crate) type Chunks = Arena<{ 64 << 10 }>;

impl Worker {
    /// Writes every link on the list.
    pub(crate) fn write_links(&mut self, now: Instant) {
        let mut links = std::mem::take(&mut self.dirty);
        for link in links.drain(..) {
            self.write_link(now, link);
        }
        // Nothing marks a link while links are written, so the list that grew is the one that was taken.
        links.append(&mut self.dirty);
        self.dirty = links;
    }

    fn write_link(&mut self, now: Instant, link: LinkId) {
        let Worker { connections, sessions, endpoint, packets, views, .. } = self;
        let connection = connections.get_mut(link.index as usize).and_then(Option::as_mut);
        let Some(connection) = connection.filter(|connection| connection.link == link) else { return };
        connection.dirty = false;
        if matches!(connection.stage, Stage::Closed) {
            return;
        }
        if let Some((index, slot)) = connection.attached()
            && let Some(session) = sessions.get_mut(index).and_then(Option::as_mut)
        {
            // What the stream takes makes room for more: nothing else would bring the rest.
            while write_outputs(connection, session, slot, STREAM_WAITING_BYTES) {
                write_stream(now, connection, endpoint);
                if !connection.out.is_empty() {
                    break;
                }
            }
            let next = offer_view(now, connection, session, slot, views);
            // A lost output is found missing by the same timer, which then must not wait.
            if session.owes(slot) {
                endpoint.expect(link, None);
            } else if next.is_some() {
                endpoint.expect(link, next);
            }
        }
        write_stream(now, connection, endpoint);
        send_view(now, connection, endpoint, packets);
        if connection.relay().is_some() {
            self.confirm_relayed(link);
        }
    }

    /// Writes every output that a session's players have not been sent, at its end.
    pub(crate) fn write_all_outputs(&mut self, index: usize) {
        for seat in 0..self.sessions[index].as_ref().map_or(0, |session| session.seats.len()) {
            self.write_seat_outputs(index, Slot(seat as u16));
        }
    }

    /// Writes every output that a player has not been sent, at the end of their stay.
    pub(crate) fn write_seat_outputs(&mut self, index: usize, slot: Slot) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let seat = session.seats.get(usize::from(slot.0)).and_then(Option::as_ref);
        let Some(link) = seat.and_then(|seat| seat.link) else { return };
        let connection = self.connections.get_mut(link.index as usize).and_then(Option::as_mut);
        if let Some(connection) = connection.filter(|connection| connection.link == link) {
            write_outputs(connection, session, slot, usize::MAX);
        }
    }

    /// Sends a guest's datagram, unless the connection's buffer is full: then it is dropped and counted.
    pub(crate) fn send_datagram(&mut self, index: usize, link: LinkId, body: &[u8]) {
        let Worker { endpoint, packets, sessions, .. } = self;
        let Some(session) = sessions[index].as_mut() else { return };
        let Some(quic) = endpoint.link(link) else { return };
        datagram::encode_datagram(body, packets.room(body.len() + 1));
        let bytes = packets.cut().freeze();
        let length = bytes.len() as u64;
        match quic.datagrams().send(bytes, false) {
            Ok(()) => {
                session.usage.datagrams_out += 1;
                session.usage.bytes_out += length;
            }
            Err(_) => session.usage.dropped += 1,
        }
    }
}

/// Encodes the acknowledgement and outputs that are not written yet, as far as `room` goes. Answers whether some remain.
fn write_outputs(connection: &mut Connection, session: &Session, slot: Slot, room: usize) -> bool {
    if let Some(up_to) = connection.acknowledge.take() {
        let tier = session.lead.as_ref().map_or(Tier::Volatile, |lead| lead.gates.release().tier);
        connection.write(&ServerFrame::Acknowledge { up_to, tier });
    }
    let Some(state) = session.fold.slot(slot) else { return false };
    let seat = session.seats.get(usize::from(slot.0)).and_then(Option::as_ref);
    // What is not released yet waits; but at the end of a stay the stream waits as a whole.
    let waits = session.lead.is_some() && room != usize::MAX;
    let last = if waits { seat.map_or(0, |seat| seat.released_output) } else { u64::MAX };
    for (number, body) in state.outputs.after(connection.last_written).take_while(|(number, _)| *number <= last) {
        if connection.out.len() >= room {
            return true;
        }
        let frame = ServerFrame::Message { number, body: body.clone() };
        connection.write(&frame);
        connection.last_written = number;
    }
    false
}

/// Hands the newest view to the encoder, if it was written and the view rate allows it. Answers by when the next leaves, if
/// the game ticks.
fn offer_view(
    now: Instant,
    connection: &mut Connection,
    session: &mut Session,
    slot: Slot,
    arena: &mut Chunks,
) -> Option<Instant> {
    let interval = session.view_interval();
    let tick = session.fold.tick();
    let seat = session.seats.get_mut(usize::from(slot.0)).and_then(Option::as_mut)?;
    let is_paused = session.lead.as_ref().is_some_and(|lead| lead.is_paused);
    if !seat.view_due || seat.next_view > now || is_paused {
        return None;
    }
    seat.view_due = false;
    let view = session.fold.view(slot)?;
    let next_view = if std::mem::take(&mut seat.is_first_view) { now } else { now + interval };
    seat.next_view = next_view;
    let body = arena.copy(view);
    session.usage.datagrams_out += 1;
    session.usage.bytes_out += body.len() as u64;
    // Volatile: what is applied is committed.
    let committed = session.lead.as_ref().map_or(tick, |lead| lead.gates.committed_tick());
    // The guest's views are bounded by the same number as the encoder's.
    let _ = connection.view.offer(body, tick, committed);
    session.view_after(next_view)
}

fn write_stream(now: Instant, connection: &mut Connection, endpoint: &mut Endpoint) {
    let Some(stream) = connection.stream else { return };
    let closing = matches!(connection.stage, Stage::Closing { .. });
    if connection.is_gated || connection.out.is_empty() && !closing {
        return;
    }
    let Some(quic) = endpoint.link(connection.link) else { return };
    let mut stream = quic.send_stream(stream);
    let before = connection.out.len();
    while !connection.out.is_empty() {
        match stream.write(&connection.out) {
            Ok(written) => drop(connection.out.split_to(written)),
            Err(quinn_proto::WriteError::Blocked) => break,
            // The peer stopped the stream or it is closed: `inbound` hears of it.
            Err(_) => {
                connection.out.clear();
                return;
            }
        }
    }
    if connection.out.is_empty() {
        connection.stalled_since = None;
        if closing {
            // Finishing twice is an error that means nothing.
            let _ = stream.finish();
        }
    } else if connection.out.len() < before || connection.stalled_since.is_none() {
        connection.stalled_since = Some(now);
    }
}

/// Sends what fits of the pending view.
fn send_view(now: Instant, connection: &mut Connection, endpoint: &mut Endpoint, arena: &mut Chunks) {
    if !connection.view.is_pending() {
        return;
    }
    let Some(quic) = endpoint.link(connection.link) else { return };
    let mut datagrams = quic.datagrams();
    let Some(most) = datagrams.max_size() else { return };
    // One view may wait in QUIC's buffer while the next is written: more would queue what nobody wants any longer.
    if DATAGRAM_SEND_BYTES.saturating_sub(datagrams.send_buffer_space()) > most {
        return;
    }
    loop {
        match connection.view.next_fragment(most, arena.room(most)) {
            Ok(true) => {
                if datagrams.send(arena.cut().freeze(), true).is_err() {
                    return;
                }
            }
            Ok(false) => break,
            Err(_) => return,
        }
    }
    connection.view_sent = now;
}
