//! What players send: QUIC's events, the stream's frames, datagrams. Takes what is within the rates and leaves the rest
//! unread or drops it; closes a connection that breaks the protocol, with the reason.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{ConnectionError, Dir, Event as QuicEvent, StreamEvent, StreamId};
use ringside_core::ids::Slot;
use ringside_core::log::{Input, LeaveReason};
use ringside_protocol::datagram::ClientDatagram;
use ringside_protocol::frame::{ClientFrame, ServerFrame};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;

use crate::accounting::add;
use crate::connection::{Connection, Stage};
use crate::endpoint::{LinkId, address_group};
use crate::outlet::Outlet;
use crate::session::Ran;
use crate::worker::Worker;

/// Bytes that are read off the stream at a time.
const CHUNK_BYTES: usize = 16 << 10;
/// What is to be written has left by so long after it was decided.
const WRITTEN_WITHIN: Duration = Duration::from_millis(10);

/// Whether to go on with a connection's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Read on.
    On,
    /// Not now.
    Later,
}

impl Worker {
    /// Reads every link that has something, as long as the socket need not be served. Answers whether links wait.
    pub(crate) fn read_links(&mut self, outlet: &mut dyn Outlet) -> bool {
        while let Some(link) = self.endpoint.next_ready() {
            let now = outlet.now();
            self.read_link(now, link);
            if self.is_turn_over(outlet) {
                return self.endpoint.has_ready();
            }
        }
        false
    }

    fn read_link(&mut self, now: Instant, link: LinkId) {
        self.know(now, link);
        if self.connection(link).is_some_and(|connection| std::mem::take(&mut connection.left_off)) {
            self.read_stream(now, link);
            self.read_datagrams(now, link);
        }
        while let Some(event) = self.endpoint.poll(link) {
            match event {
                QuicEvent::Connected => self.connected(now, link),
                QuicEvent::ConnectionLost { reason } => self.lost(now, link, &reason),
                QuicEvent::Stream(StreamEvent::Opened { dir: Dir::Bi }) => self.stream_opened(now, link),
                QuicEvent::Stream(StreamEvent::Readable { .. }) => self.read_stream(now, link),
                QuicEvent::Stream(StreamEvent::Finished { .. }) => self.all_acknowledged(now, link),
                QuicEvent::Stream(StreamEvent::Stopped { .. }) => self.broken(now, link),
                QuicEvent::DatagramReceived => self.read_datagrams(now, link),
                QuicEvent::Stream(_) => self.mark(link),
                QuicEvent::HandshakeDataReady | QuicEvent::DatagramsUnblocked => {}
            }
        }
        // After what arrived: a worker that was late does not blame its peers.
        if self.endpoint.deadline(link).is_some_and(|deadline| deadline <= now) {
            self.deadline_came(now, link);
        }
        // Acknowledged packets make room for what waits.
        let waits = |connection: &mut Connection| !connection.out.is_empty() || connection.view.is_pending();
        if self.connection(link).is_some_and(waits) {
            self.mark(link);
        }
    }

    /// Makes the entry of a link that is new.
    fn know(&mut self, now: Instant, link: LinkId) {
        let index = link.index as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        if self.connections[index].as_ref().is_none_or(|connection| connection.link != link) {
            let address = self.endpoint.peek(link).map(|quic| address_group(quic.remote_address().ip()));
            let address = address.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
            self.connections[index] = Some(Connection::new(link, address, now));
        }
    }

    fn connected(&mut self, now: Instant, link: LinkId) {
        let Some(connection) = self.connection(link) else { return };
        connection.stage = Stage::Opening;
        let address = connection.address;
        self.set_attached_count(link, true);
        self.endpoint.probe(link, limits::KEEP_ALIVE);
        let of_address = self.unattached_by.get(&address).copied().unwrap_or(0);
        if self.unattached > limits::UNATTACHED {
            self.close(now, link, Reason::Overloaded);
        } else if of_address > limits::UNATTACHED_PER_ADDRESS {
            self.close(now, link, Reason::AddressLimit);
        } else {
            self.endpoint.set_deadline(link, Some(now + limits::OPEN_TIMEOUT));
        }
    }

    /// Counts a connection among those that are not attached, or no longer.
    pub(crate) fn set_attached_count(&mut self, link: LinkId, unattached: bool) {
        let Some(connection) = self.connection(link) else { return };
        if std::mem::replace(&mut connection.unattached, unattached) == unattached {
            return;
        }
        let address = connection.address;
        if unattached {
            self.unattached += 1;
            *self.unattached_by.entry(address).or_default() += 1;
        } else {
            self.unattached -= 1;
            if let Some(count) = self.unattached_by.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    self.unattached_by.remove(&address);
                }
            }
        }
    }

    /// What a connection is told when its time has run out.
    fn deadline_came(&mut self, now: Instant, link: LinkId) {
        self.endpoint.set_deadline(link, None);
        let Some(connection) = self.connection(link) else { return };
        match &connection.stage {
            Stage::Handshake | Stage::Opening => self.close(now, link, Reason::OpenTimeout),
            Stage::Resolving { .. } => self.refuse(now, link, Reason::Unreachable, "nobody knows in time where it is"),
            Stage::Waiting { .. } => self.refuse(now, link, Reason::Unreachable, "the session is paused for too long"),
            Stage::Attached { .. } => self.keep_alive(now, link),
            Stage::StandingBy { .. } => {}
            Stage::Relaying(_) => self.keep_relaying(now, link),
            Stage::Departing { .. } => self.close(now, link, Reason::Moved),
            &Stage::Closing { reason } => self.close(now, link, reason),
            Stage::Closed => {}
        }
    }

    /// Looks after an attached connection: repeats the newest view, takes up a stream that was left unread, gives up
    /// a peer that takes nothing.
    fn keep_alive(&mut self, now: Instant, link: LinkId) {
        let Some(connection) = self.connection(link) else { return };
        let stalled = connection.stalled_since.is_some_and(|since| now >= since + limits::WRITE_STALL_TIMEOUT);
        if stalled {
            self.close(now, link, Reason::TooSlow);
            return;
        }
        // It left a little after the look that had it written, half a second ago.
        let sent = connection.view_sent.checked_sub(WRITTEN_WITHIN).unwrap_or(connection.view_sent);
        if now >= sent + limits::KEEP_ALIVE && connection.view.repeat() {
            connection.view_sent = now;
            self.mark(link);
        }
        self.endpoint.set_deadline(link, Some(now + limits::KEEP_ALIVE));
        self.read_stream(now, link);
    }

    fn stream_opened(&mut self, now: Instant, link: LinkId) {
        let Some(quic) = self.endpoint.link(link) else { return };
        let Some(stream) = quic.streams().accept(Dir::Bi) else { return };
        match self.connection(link) {
            Some(connection) if connection.stream.is_none() => {
                connection.stream = Some(stream);
                self.read_stream(now, link);
            }
            _ => self.close(now, link, Reason::Protocol),
        }
    }

    /// Decodes frames as long as there are any and the connection may go on.
    pub(crate) fn read_stream(&mut self, now: Instant, link: LinkId) {
        loop {
            let Some(connection) = self.connection(link) else { return };
            if connection.is_over() || connection.is_ignored || matches!(connection.stage, Stage::Departing { .. }) {
                return;
            }
            let waits = !matches!(connection.stage, Stage::Opening | Stage::Attached { .. } | Stage::Relaying(_));
            let waits = waits || connection.relay_is_full();
            let Some(stream) = connection.stream.filter(|_| !waits) else { return };
            if connection.unread.is_empty() && !self.read_chunk(now, link, stream) {
                return;
            }
            let relaying = self.connection(link).is_some_and(|connection| connection.relay().is_some());
            if relaying {
                self.pass_stream(link);
            } else if self.take_frames(now, link) == Flow::Later {
                return;
            }
        }
    }

    /// Reads some bytes into the connection's unread; answers whether there were any.
    fn read_chunk(&mut self, now: Instant, link: LinkId, stream: StreamId) -> bool {
        let Some(quic) = self.endpoint.link(link) else { return false };
        let mut stream = quic.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return false };
        let chunk = chunks.next(CHUNK_BYTES);
        let _ = chunks.finalize();
        match chunk {
            Ok(Some(chunk)) => {
                if let Some(connection) = self.connection(link) {
                    connection.unread = chunk.bytes;
                }
                true
            }
            Err(quinn_proto::ReadError::Blocked) => false,
            Ok(None) | Err(quinn_proto::ReadError::Reset(_)) => {
                self.broken(now, link);
                false
            }
        }
    }

    /// A stream that was ended, reset or stopped ends the attachment.
    fn broken(&mut self, now: Instant, link: LinkId) {
        let over = self.connection(link).is_none_or(|connection| connection.is_over());
        if !over {
            self.close(now, link, Reason::Protocol);
        }
    }

    fn take_frames(&mut self, now: Instant, link: LinkId) -> Flow {
        loop {
            let Some(connection) = self.connection(link) else { return Flow::Later };
            let unread = connection.unread.clone();
            let mut rest: &[u8] = &unread;
            if connection.frames.ready_at(now) > now || connection.messages.ready_at(now) > now {
                let ready = connection.frames.ready_at(now).max(connection.messages.ready_at(now));
                self.endpoint.set_deadline(link, Some(ready));
                return Flow::Later;
            }
            if rest.is_empty() {
                return Flow::On;
            }
            let attached = connection.attached();
            if attached.is_some_and(|(index, slot)| self.is_deaf(now, index, slot)) || self.leaves_off(link) {
                return Flow::Later;
            }
            let Some(connection) = self.connection(link) else { return Flow::Later };
            let next = connection.decoder.next(&mut rest);
            connection.unread = unread.slice(unread.len() - rest.len()..);
            match next {
                Ok(Some(frame)) => {
                    connection.frames.take(now);
                    self.handle_frame(now, link, frame);
                }
                Ok(None) => return Flow::On,
                Err(error) => {
                    let reason = if error.is_too_large() { Reason::TooLarge } else { Reason::Protocol };
                    self.close(now, link, reason);
                    return Flow::Later;
                }
            }
            let Some(connection) = self.connection(link) else { return Flow::Later };
            if !matches!(connection.stage, Stage::Attached { .. }) {
                return Flow::Later;
            }
        }
    }

    /// Whether a session takes nothing of a player at this moment.
    fn is_deaf(&self, now: Instant, session: usize, slot: Slot) -> bool {
        let session = self.sessions.get(session).and_then(Option::as_ref);
        session
            .is_some_and(|session| session.is_paused() || session.is_leaving(slot) || session.holds_too_much(now, slot))
    }

    /// Whether reading ends here because the socket wants to be served; then it goes on with the next turn.
    fn leaves_off(&mut self, link: LinkId) -> bool {
        let leaves_off = self.is_service_due();
        if leaves_off {
            if let Some(connection) = self.connection(link) {
                connection.left_off = true;
            }
            self.endpoint.mark_ready(link);
        }
        leaves_off
    }

    pub(crate) fn is_paused(&self, session: usize) -> bool {
        self.sessions.get(session).and_then(Option::as_ref).is_some_and(|session| session.is_paused())
    }

    fn handle_frame(&mut self, now: Instant, link: LinkId, frame: ClientFrame) {
        let Some(connection) = self.connection(link) else { return };
        match (&connection.stage, frame) {
            (Stage::Opening, ClientFrame::Open(open)) => self.open(now, link, open),
            (Stage::Attached { session, slot, .. }, frame) => {
                let (session, slot) = (*session, *slot);
                self.handle_player_frame(now, link, session, slot, frame);
            }
            _ => self.close(now, link, Reason::Protocol),
        }
    }

    fn handle_player_frame(&mut self, now: Instant, link: LinkId, index: usize, slot: Slot, frame: ClientFrame) {
        match frame {
            ClientFrame::Open(_) => self.close(now, link, Reason::Protocol),
            ClientFrame::Message { number, body } => self.message(now, link, (index, slot), number, body),
            ClientFrame::Acknowledge { up_to } => self.acknowledge(now, link, (index, slot), up_to),
            ClientFrame::Leave => {
                let reason = Reason::Left;
                self.leave(now, index, slot, LeaveReason::Left, reason, reason.text());
            }
            // One that asks more often gets no answer, and asks again.
            ClientFrame::AskFollower => {
                if self.connection(link).is_some_and(|connection| connection.questions.take(now)) {
                    self.answer_follower(link, index);
                }
            }
        }
    }

    fn message(&mut self, now: Instant, link: LinkId, (index, slot): (usize, Slot), number: u64, body: Bytes) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(last) = session.fold.slot(slot).map(|state| state.last_input) else { return };
        if number <= last {
            let seat = session.seat_mut(slot).map_or(0, |seat| seat.released_input);
            let up_to = if session.lead.is_some() { last.min(seat) } else { last };
            if up_to > 0 {
                self.acknowledge_input(link, up_to);
            }
            return;
        }
        let waits = session.suspects.last(slot);
        if waits.is_some_and(|waits| number <= waits) {
            // It came on another connection already, and is answered when it has run.
            return;
        }
        if number != waits.unwrap_or(last) + 1 {
            self.close(now, link, Reason::Protocol);
            return;
        }
        session.usage.messages_in += 1;
        session.usage.bytes_in += body.len() as u64;
        if let Some(connection) = self.connection(link) {
            connection.messages.take(now);
        }
        let Some(session) = self.sessions[index].as_mut() else { return };
        if session.is_suspicious(now, slot) {
            session.hold_back(now, slot, number, body);
            self.flush_later(index);
            self.reschedule(index);
            return;
        }
        let ran = session.run(now, Input::Message { slot, number, body }, &mut self.outputs);
        self.message_ran(now, index, (slot, number), ran);
    }

    /// A player's message is an entry, or could not become one.
    pub(crate) fn message_ran(&mut self, now: Instant, index: usize, (slot, number): (Slot, u64), ran: Ran) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let rejected = match ran {
            Ran::Skipped(cause) => Some(crate::session::rejection(cause)),
            Ran::Applied | Ran::Refused => None,
        };
        if let (Some(cause), Some(seat)) = (rejected, session.seat_mut(slot)) {
            seat.reject(number, cause);
        }
        let position = session.fold.position();
        let link = session.seat_mut(slot).and_then(|seat| seat.link);
        match (ran, &mut session.lead, link) {
            (Ran::Refused, _, _) | (_, None, None) => {}
            (_, Some(lead), _) => lead.acknowledge_later(position, slot, number, rejected),
            (_, None, Some(link)) => {
                self.acknowledge_input(link, number);
                if let (Some(cause), Some(connection)) = (rejected, self.connection(link)) {
                    connection.write(&ServerFrame::Rejected { number, cause });
                }
            }
        }
        self.after_run(now, index, ran);
    }

    pub(crate) fn acknowledge_input(&mut self, link: LinkId, number: u64) {
        if let Some(connection) = self.connection(link) {
            connection.acknowledge = Some(connection.acknowledge.map_or(number, |before| before.max(number)));
        }
        self.mark(link);
    }

    fn acknowledge(&mut self, now: Instant, link: LinkId, (index, slot): (usize, Slot), up_to: u64) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(state) = session.fold.slot(slot) else { return };
        if up_to > state.outputs.last() {
            self.close(now, link, Reason::Protocol);
            return;
        }
        if up_to >= state.outputs.first() {
            let ran = session.run(now, Input::Acknowledge { slot, up_to }, &mut self.outputs);
            self.after_run(now, index, ran);
        }
    }

    fn read_datagrams(&mut self, now: Instant, link: LinkId) {
        while !self.leaves_off(link) {
            let Some(bytes) = self.endpoint.link(link).and_then(|quic| quic.datagrams().recv()) else { return };
            let Some(connection) = self.connection(link) else { return };
            if !connection.datagrams.take(now) {
                add(&self.counters.inputs_dropped, 1);
                continue;
            }
            if let Some(relay) = connection.relay() {
                self.pass_datagram(relay, bytes);
                continue;
            }
            let Some((index, slot)) = connection.attached() else { continue };
            match ClientDatagram::decode(bytes) {
                Ok(ClientDatagram::ViewAcknowledge { view }) => {
                    connection.view.acknowledge(view);
                }
                Ok(ClientDatagram::Input { number, view_acknowledged, body }) => {
                    connection.view.acknowledge(view_acknowledged);
                    let allowed = connection.inputs.take(now);
                    self.datagram(now, (index, slot), allowed, number, &body);
                }
                Err(_) => add(&self.counters.malformed_datagrams, 1),
            }
        }
    }

    fn datagram(&mut self, now: Instant, (index, slot): (usize, Slot), allowed: bool, number: u64, body: &[u8]) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(seat) = session.seat_mut(slot) else { return };
        if number <= seat.last_datagram {
            return;
        }
        seat.last_datagram = number;
        if !allowed || session.is_paused() || session.is_leaving(slot) {
            session.usage.dropped += 1;
            add(&self.counters.inputs_dropped, 1);
            return;
        }
        session.usage.datagrams_in += 1;
        session.usage.bytes_in += body.len() as u64;
        let body = session.keep(body);
        let ran = session.run(now, Input::Datagram { slot, body }, &mut self.outputs);
        self.after_run(now, index, ran);
    }

    /// Everything that was written is acknowledged: a connection that only waited for that is closed.
    fn all_acknowledged(&mut self, now: Instant, link: LinkId) {
        if let Some(&mut Connection { stage: Stage::Closing { reason }, .. }) = self.connection(link) {
            self.close(now, link, reason);
        }
    }

    /// Closes a connection with a reason; its player's seat is kept.
    pub(crate) fn close(&mut self, now: Instant, link: LinkId, reason: Reason) {
        if self.connection(link).is_some_and(|connection| !connection.is_over()) {
            self.counters.ends.count(reason);
        }
        self.endpoint.close(now, link, u32::from(reason.code()), reason.text());
        self.forget(now, link);
    }

    /// QUIC says that a connection is over.
    fn lost(&mut self, now: Instant, link: LinkId, why: &ConnectionError) {
        let reason = match why {
            ConnectionError::TimedOut => Some(Reason::Idle),
            // QUIC itself found the peer out.
            ConnectionError::TransportError(_) => Some(Reason::Protocol),
            _ => None,
        };
        let over = self.connection(link).is_none_or(|connection| connection.is_over());
        if let Some(reason) = reason.filter(|_| !over) {
            self.counters.ends.count(reason);
        }
        self.forget(now, link);
    }

    /// Lets go of what a connection held: its seat waits for the player from now on.
    fn forget(&mut self, now: Instant, link: LinkId) {
        self.set_attached_count(link, false);
        let Some(connection) = self.connection(link) else { return };
        connection.release();
        match std::mem::replace(&mut connection.stage, Stage::Closed) {
            Stage::Attached { session, slot, .. } => {
                let seat = self.sessions[session].as_mut().and_then(|session| session.seat_mut(slot));
                if let Some(seat) = seat.filter(|seat| seat.link == Some(link)) {
                    seat.link = None;
                    seat.away_since = now;
                }
                let players = &self.counters.players;
                let before = players.load(std::sync::atomic::Ordering::Relaxed);
                players.store(before.saturating_sub(1), std::sync::atomic::Ordering::Relaxed);
                self.reschedule(session);
            }
            stage => self.stop_waiting(link, &stage),
        }
    }

    /// Looks after a relayed connection: gives up a peer that takes nothing.
    fn keep_relaying(&mut self, now: Instant, link: LinkId) {
        let Some(connection) = self.connection(link) else { return };
        if connection.stalled_since.is_some_and(|since| now >= since + limits::WRITE_STALL_TIMEOUT) {
            self.close(now, link, Reason::TooSlow);
            return;
        }
        self.endpoint.set_deadline(link, Some(now + limits::KEEP_ALIVE));
    }

    /// Takes a connection that leaves this stage off the list on which it waited for an answer.
    pub(crate) fn stop_waiting(&mut self, link: LinkId, stage: &Stage) {
        match stage {
            Stage::Resolving { request, .. } => {
                self.resolving.remove(request);
            }
            Stage::Waiting { session, .. } => strike(&mut self.waiting, session, link),
            Stage::Relaying(state) => self.end_relay(state.relay, Reason::Closed),
            Stage::Departing { session, .. } => strike(&mut self.departed, session, link),
            Stage::StandingBy { session, .. } => self.strike_standby(session, link),
            _ => {}
        }
    }
}

/// Takes a link off one of the lists, and the list away with its last.
fn strike<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<LinkId>>, key: &K, link: LinkId) {
    if let Some(links) = lists.get_mut(key) {
        links.retain(|&other| other != link);
        if links.is_empty() {
            lists.remove(key);
        }
    }
}
