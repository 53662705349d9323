//! What peers send: QUIC's events, greetings, frames, datagrams and parts of what is long. Closes with a reason who breaks
//! the protocol.

use std::time::Instant;

use quinn_proto as quic;
use quinn_proto::{ConnectionError, Dir, Event, ReadError, StreamEvent, StreamId};

use super::talk::{LongIn, Talk};
use super::{NEWS_BYTES, Peers};
use crate::endpoint::LinkId;
use crate::limits::{PEER_GREETING, PEER_LONG_BYTES};
use crate::peers::frame::{Frame, FrameError, Greeting, VERSIONS};
use crate::peers::{End, News, tls};

/// Bytes that are read off a stream at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// What a stream had.
enum Read {
    Bytes(bytes::Bytes),
    Nothing,
    End,
    Broken,
}

impl Peers {
    pub(super) fn read_link(&mut self, now: Instant, link: LinkId, budget: &mut usize) {
        if self.talk(link).is_none() && self.endpoint.peek(link).is_some_and(|quic| !quic.is_closed()) {
            self.keep(Talk::accepted(link));
        }
        let left_off = self.talk(link).is_some_and(|talk| std::mem::take(&mut talk.left_off));
        if left_off {
            self.read_all(now, link, budget);
        }
        while let Some(event) = self.endpoint.poll(link) {
            match event {
                Event::Connected => self.connected(now, link),
                Event::ConnectionLost { reason } => {
                    // What came before the end counts.
                    self.read_all(now, link, budget);
                    self.lost(now, link, &reason);
                }
                Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => self.stream_opened(now, link),
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => self.longs_opened(link),
                Event::Stream(StreamEvent::Stopped { .. }) => self.mark(link),
                Event::Stream(StreamEvent::Readable { .. }) | Event::DatagramReceived => {}
                Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramsUnblocked => {}
            }
        }
        // Once more: what is long may have begun meanwhile.
        if *budget > 0 {
            self.read_all(now, link, budget);
        }
        // After what arrived: a worker that was late does not blame its peers.
        let is_late = self.endpoint.deadline(link).is_some_and(|deadline| deadline <= now);
        if is_late && self.talk(link).is_some_and(|talk| talk.peer.is_none()) {
            self.close(now, link, End::Silent, None);
        }
        // Acknowledged packets make room for what waits.
        if self.talk(link).is_some_and(|talk| !talk.out.is_empty() || !talk.longs_out.is_empty()) {
            self.mark(link);
        }
    }

    fn read_all(&mut self, now: Instant, link: LinkId, budget: &mut usize) {
        self.read_datagrams_of(link, budget);
        self.read_frames(now, link, budget);
        self.read_longs(now, link, budget);
        if *budget == 0
            && let Some(talk) = self.talk(link)
        {
            talk.left_off = true;
            self.endpoint.mark_ready(link);
        }
    }

    fn connected(&mut self, now: Instant, link: LinkId) {
        self.endpoint.set_deadline(link, Some(now + PEER_GREETING));
        let Some((peer, dial)) = self.talk(link).and_then(|talk| talk.dialed) else { return };
        if !self.shows(link, &tls::node_name(&self.domain, peer.node.id)) {
            self.close(now, link, End::Certificate, None);
            return;
        }
        let stream = self.endpoint.link(link).and_then(|quic| quic.streams().open(Dir::Bi));
        if let Some(talk) = self.talk(link) {
            talk.stream = stream;
        }
        let hello = self.greeting(peer, dial);
        self.say(link, &Frame::Hello(hello));
    }

    fn shows(&self, link: LinkId, name: &str) -> bool {
        let identity = self.endpoint.peek(link).and_then(|quic| quic.crypto_session().peer_identity());
        tls::shows(identity, name)
    }

    fn lost(&mut self, now: Instant, link: LinkId, reason: &ConnectionError) {
        // Alerts of TLS come as codes of 0x100 and more: bad certificates and protocols.
        let alert = |code: u64| (0x100..0x200).contains(&code);
        let (end, by_peer, detail) = match reason {
            ConnectionError::ApplicationClosed(close) => {
                let said = String::from_utf8_lossy(&close.reason);
                let end = End::from_code(close.error_code.into_inner());
                (end, true, said.chars().filter(|letter| !letter.is_control()).collect())
            }
            ConnectionError::TransportError(error) if alert(error.code.into()) => {
                self.counts.refused += 1;
                (End::OtherCluster, false, End::OtherCluster.text().to_owned())
            }
            ConnectionError::ConnectionClosed(close) if alert(close.error_code.into()) => {
                (End::OtherCluster, true, End::OtherCluster.text().to_owned())
            }
            other => (End::Unreachable, false, other.to_string()),
        };
        self.gone(now, link, end, by_peer, detail);
    }

    fn stream_opened(&mut self, now: Instant, link: LinkId) {
        let stream = self.endpoint.link(link).and_then(|quic| quic.streams().accept(Dir::Bi));
        match self.talk(link) {
            Some(talk) if talk.dialed.is_none() && talk.stream.is_none() => talk.stream = stream,
            Some(_) => self.close(now, link, End::Malformed, None),
            None => {}
        }
    }

    fn longs_opened(&mut self, link: LinkId) {
        while let Some(stream) = self.endpoint.link(link).and_then(|quic| quic.streams().accept(Dir::Uni)) {
            if let Some(talk) = self.talk(link) {
                talk.longs_in.push_back(LongIn { stream, bytes: 0 });
            }
        }
    }

    pub(super) fn read_datagrams_of(&mut self, link: LinkId, budget: &mut usize) {
        let Some(peer) = self.talk(link).and_then(|talk| talk.peer) else { return };
        while *budget > 0
            && let Some(body) = self.endpoint.link(link).and_then(|quic| quic.datagrams().recv())
        {
            *budget = budget.saturating_sub(body.len() + NEWS_BYTES);
            self.news.push_back((peer, News::Datagram(body)));
        }
    }

    fn read_frames(&mut self, now: Instant, link: LinkId, budget: &mut usize) {
        while *budget > 0 {
            let Some(talk) = self.talk(link) else { return };
            match talk.decoder.next_frame() {
                Ok(Some(frame)) => {
                    *budget = budget.saturating_sub(NEWS_BYTES);
                    self.handle_frame(now, link, frame);
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    let end = if matches!(error, FrameError::TooLong(_)) { End::TooLong } else { End::Malformed };
                    self.close(now, link, end, None);
                    return;
                }
            }
            let Some(stream) = talk.stream else { return };
            match self.read_stream(link, stream) {
                Read::Bytes(bytes) => {
                    *budget = budget.saturating_sub(bytes.len());
                    if let Some(talk) = self.talk(link) {
                        talk.decoder.push(&bytes);
                    }
                }
                Read::Nothing => return,
                // A link ends with its connection, never with its stream.
                Read::End | Read::Broken => {
                    self.close(now, link, End::Malformed, None);
                    return;
                }
            }
        }
    }

    /// Parts of what is long, of each in turn.
    fn read_longs(&mut self, now: Instant, link: LinkId, budget: &mut usize) {
        let Some(peer) = self.talk(link).and_then(|talk| talk.peer) else { return };
        let mut silent = 0;
        while *budget > 0 {
            let Some(talk) = self.talk(link) else { return };
            if silent >= talk.longs_in.len() {
                return;
            }
            let Some(mut long) = talk.longs_in.pop_front() else { return };
            let (part, last) = match self.read_stream(link, long.stream) {
                Read::Bytes(part) => (part, false),
                Read::End => (bytes::Bytes::new(), true),
                Read::Nothing => {
                    silent += 1;
                    if let Some(talk) = self.talk(link) {
                        talk.longs_in.push_back(long);
                    }
                    continue;
                }
                Read::Broken => {
                    self.close(now, link, End::Malformed, None);
                    return;
                }
            };
            silent = 0;
            long.bytes += part.len();
            if long.bytes > PEER_LONG_BYTES {
                self.close(now, link, End::TooLong, None);
                return;
            }
            *budget = budget.saturating_sub(part.len() + NEWS_BYTES);
            self.news.push_back((peer, News::Long { stream: long.stream.index(), part, last }));
            if !last && let Some(talk) = self.talk(link) {
                talk.longs_in.push_back(long);
            }
        }
    }

    fn read_stream(&mut self, link: LinkId, stream: StreamId) -> Read {
        let Some(quic) = self.endpoint.link(link) else { return Read::Nothing };
        let mut stream: quic::RecvStream<'_> = quic.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return Read::Nothing };
        let chunk = chunks.next(CHUNK_BYTES);
        let _ = chunks.finalize();
        match chunk {
            Ok(Some(chunk)) => Read::Bytes(chunk.bytes),
            Ok(None) => Read::End,
            Err(ReadError::Blocked) => Read::Nothing,
            Err(ReadError::Reset(_)) => Read::Broken,
        }
    }

    fn handle_frame(&mut self, now: Instant, link: LinkId, frame: Frame) {
        let Some(talk) = self.talk(link) else { return };
        match (frame, talk.dialed) {
            (Frame::Hello(hello), None) => self.greeted(now, link, &hello),
            (Frame::Welcome(welcome), Some(_)) => match self.links.welcomed(now, link.to_bits(), &welcome) {
                Ok(_) => self.act(now),
                Err(end) => self.refuse(now, link, end, &welcome),
            },
            (Frame::Body(body), _) if let Some(peer) = talk.peer => {
                self.counts.frames_in += 1;
                self.news.push_back((peer, News::Frame(body)));
            }
            (Frame::Done, _) => {
                self.links.heard_done(link.to_bits());
                self.act(now);
            }
            _ => self.close(now, link, End::Malformed, None),
        }
    }

    fn greeted(&mut self, now: Instant, link: LinkId, hello: &Greeting) {
        let shown = self.shows(link, &tls::node_name(&self.domain, hello.from.node.id));
        match self.links.greeted(now, link.to_bits(), hello, shown) {
            Ok(_) => {
                let welcome = self.greeting(hello.from, hello.dial);
                self.say(link, &Frame::Welcome(welcome));
                self.act(now);
            }
            Err(end) => self.refuse(now, link, end, hello),
        }
    }

    fn refuse(&mut self, now: Instant, link: LinkId, end: End, said: &Greeting) {
        let detail = (end == End::Version).then(|| {
            let (ours, theirs) = (VERSIONS, said.versions);
            format!(
                "it speaks versions {} to {}, this worker {} to {}: run adjacent releases",
                ours.0, ours.1, theirs.0, theirs.1
            )
        });
        self.close(now, link, end, detail);
    }
}
