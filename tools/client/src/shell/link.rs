//! One connection's task: the handshake, the stream both ways, datagrams in. It tells the core what happens and takes
//! orders; it never decides.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use ringside_protocol::frame::Certificate;
use ringside_protocol::reason::Reason;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use crate::core::{LinkId, Lost};

/// How long what was written may take to leave before a connection closes anyway.
const CLOSE_GRACE: Duration = Duration::from_millis(500);
/// How often it is looked whether anything came, be it the server's keep-alive alone.
const LOOK: Duration = Duration::from_millis(500);

/// What the core wants of a connection.
#[derive(Debug)]
pub(super) enum Order {
    Write(Bytes),
    Close(Reason),
}

/// Runs a connection to its end, and tells the core unless the core has ended it.
pub(super) async fn run(
    shared: Arc<Shared>,
    id: LinkId,
    address: SocketAddr,
    certificate: Option<Certificate>,
    mut orders: UnboundedReceiver<Order>,
) {
    let ended = match connect(&shared, id, address, certificate, &mut orders).await {
        Ok(Some(link)) => link.serve(&shared, id, orders).await,
        Ok(None) => None,
        Err(lost) => Some(lost),
    };
    shared.lock().links.remove(&id);
    if let Some(lost) = ended {
        shared.run(|core| core.handle_lost(Instant::now(), id, lost));
    }
}

/// The handshake and the stream; `None` where the core closed the connection meanwhile.
async fn connect(
    shared: &Arc<Shared>,
    id: LinkId,
    address: SocketAddr,
    certificate: Option<Certificate>,
    orders: &mut UnboundedReceiver<Order>,
) -> Result<Option<Link>, Lost> {
    let opening = async {
        let connection = shared.dialer.dial(address, certificate)?.await.map_err(lost)?;
        let (send, receive) = connection.open_bi().await.map_err(lost)?;
        Ok(Link { connection, send, receive, pending: VecDeque::new() })
    };
    let link = tokio::select! {
        link = opening => link?,
        // Nothing is written before the handshake: this is a close, or the end of the client.
        _ = orders.recv() => return Ok(None),
    };
    let known = shared.lock().links.get_mut(&id).map(|handle| handle.connection = Some(link.connection.clone()));
    if known.is_none() {
        link.connection.close(code(Reason::Closed), b"");
        return Ok(None);
    }
    shared.run(|core| core.handle_connected(Instant::now(), id));
    Ok(Some(link))
}

struct Link {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    pending: VecDeque<Bytes>,
}

impl Link {
    /// Carries bytes both ways; `None` where the core closed the connection.
    async fn serve(mut self, shared: &Arc<Shared>, id: LinkId, mut orders: UnboundedReceiver<Order>) -> Option<Lost> {
        let (mut look, mut came) = (tokio::time::interval(LOOK), 0);
        loop {
            let writing = self.pending.front().cloned();
            tokio::select! {
                _ = look.tick() => {
                    let received = self.connection.stats().udp_rx.datagrams;
                    if std::mem::replace(&mut came, received) != received {
                        shared.run(|core| core.handle_alive(Instant::now(), id));
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Write(bytes)) => self.pending.push_back(bytes),
                    Some(Order::Close(reason)) => {
                        self.close(reason).await;
                        return None;
                    }
                    None => return None,
                },
                written = write(&mut self.send, writing) => match written {
                    Ok(count) => self.written(count),
                    Err(lost) => return Some(self.why(lost).await),
                },
                chunk = self.receive.read_chunk(usize::MAX, true) => match chunk {
                    Ok(Some(chunk)) => {
                        shared.run(|core| core.handle_stream(Instant::now(), id, &chunk.bytes));
                    }
                    Ok(None) => return Some(self.why(Lost::Transport("the server ended the stream".into())).await),
                    Err(error) => return Some(self.why(Lost::Transport(error.to_string())).await),
                },
                datagram = self.connection.read_datagram() => match datagram {
                    Ok(bytes) => shared.run(|core| core.handle_datagram(Instant::now(), id, bytes)),
                    Err(error) => {
                        self.read_rest(shared, id).await;
                        return Some(lost(error));
                    }
                },
            }
        }
    }

    fn written(&mut self, count: usize) {
        if let Some(first) = self.pending.front_mut() {
            first.advance(count.min(first.len()));
            if first.is_empty() {
                self.pending.pop_front();
            }
        }
    }

    /// A connection that ends may have left frames unread, the reason among them.
    async fn read_rest(&mut self, shared: &Arc<Shared>, id: LinkId) {
        while let Ok(Some(chunk)) = self.receive.read_chunk(usize::MAX, true).await {
            shared.run(|core| core.handle_stream(Instant::now(), id, &chunk.bytes));
        }
    }

    /// A stream that fails is often a connection that closes: its code says more.
    async fn why(&self, otherwise: Lost) -> Lost {
        match tokio::time::timeout(CLOSE_GRACE, self.connection.closed()).await {
            Ok(error) => lost(error),
            Err(_) => {
                self.connection.close(code(Reason::Closed), b"");
                otherwise
            }
        }
    }

    /// Writes what is left, and closes.
    async fn close(mut self, reason: Reason) {
        let rest = async {
            while let Some(bytes) = self.pending.pop_front() {
                if self.send.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_GRACE, rest).await;
        self.connection.close(code(reason), b"");
    }
}

/// Writes some of `bytes`; never done where there are none.
async fn write(send: &mut SendStream, bytes: Option<Bytes>) -> Result<usize, Lost> {
    match bytes {
        Some(bytes) => send.write(&bytes).await.map_err(|error| Lost::Transport(error.to_string())),
        None => std::future::pending().await,
    }
}

fn code(reason: Reason) -> VarInt {
    VarInt::from_u32(u32::from(reason.code()))
}

/// How a connection ended, in the core's words.
pub(super) fn lost(error: ConnectionError) -> Lost {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let reason = u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX);
            let text = String::from_utf8_lossy(&close.reason).into_owned();
            Lost::Closed(Reason::from_code(reason), text)
        }
        ConnectionError::TransportError(error) if is_certificate_alert(error.code) => {
            Lost::Untrusted(error.to_string())
        }
        other => Lost::Transport(other.to_string()),
    }
}

/// Whether it is a TLS alert of this side about the server's certificate (bad_certificate to unknown_ca).
fn is_certificate_alert(code: quinn::TransportErrorCode) -> bool {
    let alert = u64::from(code).checked_sub(0x100);
    alert.is_some_and(|alert| (42..=48).contains(&alert))
}
