//! Messages that come back, sent at their intended times whatever the answers do (open loop), and timed from then.
//! The sender spins on a core of its own: a timer's granularity would be most of what it measured.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::{RecvStream, SendStream};
use ringside_protocol::frame::{ALPN, ClientFrame, FrameDecoder, ServerFrame, WireFrame};
use serde::{Deserialize, Serialize};

use super::door;
use super::slices::{Wishes, reply};
use crate::bench::BenchError;
use crate::identity::Door;
use crate::statistics::quantile;
use crate::tls;

/// Connections that take turns.
pub const LANES: usize = 8;
/// Bytes of a message.
pub const BODY: usize = 64;
/// Messages of a lane between two acknowledgements of what came.
const ACKNOWLEDGE_EVERY: u64 = 4;
/// How long the last answers of a slice are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long messages took in a slice.
#[derive(Debug, Serialize, Deserialize)]
pub struct Latencies {
    /// Half took at most so long, µs.
    pub p50: f64,
    /// 99 of 100 took at most so long, µs.
    pub p99: f64,
    /// How many came back.
    pub answered: usize,
    /// How many were sent.
    pub sent: usize,
}

/// How messages are written to a stream.
trait Wire: Send + 'static {
    /// The bytes that carry the next message.
    fn encode(&mut self, body: &[u8; BODY]) -> Vec<u8>;
}

/// How messages are found in a stream.
trait Unwire: Send + 'static {
    /// Takes bytes from the stream, and calls `message` for each message that is complete.
    fn decode(&mut self, bytes: &[u8], message: &mut dyn FnMut(&[u8])) -> Result<(), BenchError>;
}

/// One connection's stream.
struct Lane<W> {
    send: SendStream,
    wire: W,
}

/// Messages that came back, with how long they took, µs.
type Answers = Arc<Mutex<Vec<f64>>>;

/// The ordinary quinn echo's load.
pub async fn quinn(server: SocketAddr, interval: Duration) -> Result<(), BenchError> {
    let mut endpoint = door::endpoint()?;
    endpoint.set_default_client_config(tls::client(b"echo")?);
    let clock = Instant::now();
    let answers = Answers::default();
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        let connecting = endpoint.connect(server, "localhost").map_err(BenchError::setup)?;
        let connection = connecting.await.map_err(BenchError::setup)?;
        let (send, receive) = connection.open_bi().await.map_err(BenchError::setup)?;
        tokio::spawn(listen(receive, Plain::default(), answers.clone(), clock));
        lanes.push(Lane { send, wire: Plain::default() });
    }
    serve_slices(lanes, answers, clock, interval).await
}

/// Which session of the guest `echo` the lanes enter, and how.
#[derive(clap::Args, Debug, Clone)]
pub struct Seat {
    /// The session's key.
    #[arg(long, default_value = "0")]
    key: String,
    /// Ask to be relayed.
    #[arg(long)]
    relay: bool,
}

/// The load of Ringside with the guest `echo`.
pub async fn ringside(server: Door, seat: Seat, interval: Duration) -> Result<(), BenchError> {
    let mut endpoint = door::endpoint()?;
    endpoint.set_default_client_config(tls::client(ALPN)?);
    let clock = Instant::now();
    let answers = Answers::default();
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let connecting = endpoint.connect(server.address, "localhost").map_err(BenchError::setup)?;
        let connection = connecting.await.map_err(BenchError::setup)?;
        let token = server.token(&format!("lane-{lane}"), 0)?;
        let open = door::open_with(token, "echo", &seat.key, seat.relay)?;
        let door::Inside { send, receive, decoder, .. } = door::enter(&connection, &open).await?;
        let heard = Arc::new(AtomicU64::new(0));
        tokio::spawn(listen(receive, Incoming { decoder, heard: heard.clone() }, answers.clone(), clock));
        lanes.push(Lane { send, wire: Outgoing { sent: 0, heard } });
    }
    serve_slices(lanes, answers, clock, interval).await
}

/// Reads answers until the stream ends.
async fn listen(mut receive: RecvStream, mut wire: impl Unwire, answers: Answers, clock: Instant) {
    let mut buffer = [0; 4096];
    while let Ok(Some(length)) = receive.read(&mut buffer).await {
        let now = clock.elapsed();
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = wire.decode(&buffer[..length], &mut |body| {
            if let Some(intended) = body.first_chunk::<8>() {
                let intended = Duration::from_nanos(u64::from_le_bytes(*intended));
                answers.push(now.saturating_sub(intended).as_secs_f64() * 1e6);
            }
        });
        if let Err(error) = outcome {
            eprintln!("load: {error}");
            return;
        }
    }
}

/// Works off the parent's slices.
async fn serve_slices<W: Wire>(
    mut lanes: Vec<Lane<W>>,
    answers: Answers,
    clock: Instant,
    interval: Duration,
) -> Result<(), BenchError> {
    let mut wishes = Wishes::listen();
    while let Some(length) = wishes.next().await {
        answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let sent = send_for(&mut lanes, length, clock, interval).await?;
        let deadline = Instant::now() + PATIENCE;
        let answered = || answers.lock().unwrap_or_else(PoisonError::into_inner).len();
        while answered() < sent && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        let taken = std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
        let answered = taken.len();
        reply(&Latencies { p50: quantile(taken.clone(), 0.5), p99: quantile(taken, 0.99), answered, sent })?;
    }
    Ok(())
}

async fn send_for<W: Wire>(
    lanes: &mut [Lane<W>],
    length: Duration,
    clock: Instant,
    interval: Duration,
) -> Result<usize, BenchError> {
    let start = clock.elapsed();
    let count = (length.as_nanos() / interval.as_nanos().max(1)) as usize;
    for number in 0..count {
        let intended = start + interval * number as u32;
        while clock.elapsed() < intended {
            tokio::task::yield_now().await;
        }
        let mut body = [0; BODY];
        body[..8].copy_from_slice(&(intended.as_nanos() as u64).to_le_bytes());
        let lane = &mut lanes[number % LANES];
        let bytes = lane.wire.encode(&body);
        lane.send.write_all(&bytes).await.map_err(BenchError::setup)?;
    }
    Ok(count)
}

/// Messages of one size, one after the other.
#[derive(Default)]
struct Plain(Vec<u8>);

impl Wire for Plain {
    fn encode(&mut self, body: &[u8; BODY]) -> Vec<u8> {
        body.to_vec()
    }
}

impl Unwire for Plain {
    fn decode(&mut self, bytes: &[u8], message: &mut dyn FnMut(&[u8])) -> Result<(), BenchError> {
        self.0.extend_from_slice(bytes);
        let whole = self.0.len() - self.0.len() % BODY;
        self.0.drain(..whole).as_slice().chunks(BODY).for_each(message);
        Ok(())
    }
}

/// Messages to the guest `echo`; acknowledgements ride on them.
struct Outgoing {
    sent: u64,
    heard: Arc<AtomicU64>,
}

impl Wire for Outgoing {
    fn encode(&mut self, body: &[u8; BODY]) -> Vec<u8> {
        self.sent += 1;
        let body = ringside_guest::encode(&ringside_guest::Bytes(body.to_vec()));
        let mut bytes = ClientFrame::Message { number: self.sent, body: body.into() }.to_bytes();
        if self.sent.is_multiple_of(ACKNOWLEDGE_EVERY) {
            ClientFrame::Acknowledge { up_to: self.heard.load(Relaxed) }.encode(&mut bytes);
        }
        bytes.to_vec()
    }
}

/// Messages from the guest `echo`.
struct Incoming {
    decoder: FrameDecoder<ServerFrame>,
    heard: Arc<AtomicU64>,
}

impl Unwire for Incoming {
    fn decode(&mut self, mut bytes: &[u8], message: &mut dyn FnMut(&[u8])) -> Result<(), BenchError> {
        while let Some(frame) = self.decoder.next(&mut bytes).map_err(BenchError::setup)? {
            if let ServerFrame::Message { number, body } = frame {
                self.heard.store(number, Relaxed);
                let reply: echo::Reply = ringside_guest::decode(&body).map_err(BenchError::setup)?;
                message(&reply.body.0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_messages_are_found_however_the_stream_is_cut() {
        let mut wire = Plain::default();
        let bytes = [Plain::default().encode(&[1; BODY]), Plain::default().encode(&[2; BODY])].concat();
        let mut found = Vec::new();
        for piece in bytes.chunks(50) {
            wire.decode(piece, &mut |message| found.push(message.to_vec())).unwrap();
        }
        assert_eq!(found, [[1; BODY], [2; BODY]]);
    }

    #[test]
    fn replies_are_unwrapped_and_acknowledged_with_a_later_message() {
        let heard = Arc::new(AtomicU64::new(0));
        let mut incoming = Incoming { decoder: FrameDecoder::default(), heard: heard.clone() };
        let mut outgoing = Outgoing { sent: 0, heard };
        let reply = echo::Reply { number: 7, hash: 1, body: ringside_guest::Bytes(vec![9; BODY]) };
        let frame = ServerFrame::Message { number: 7, body: ringside_guest::encode(&reply).into() };
        let mut found = Vec::new();
        incoming.decode(&frame.to_bytes(), &mut |message| found.push(message.to_vec())).unwrap();
        assert_eq!(found, [[9; BODY]]);
        let mut frames = Vec::new();
        let mut decoder = FrameDecoder::<ClientFrame>::default();
        for _ in 0..ACKNOWLEDGE_EVERY {
            let bytes = outgoing.encode(&[3; BODY]);
            let mut rest = &bytes[..];
            while let Some(frame) = decoder.next(&mut rest).unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames.last(), Some(&ClientFrame::Acknowledge { up_to: 7 }));
        assert_eq!(frames.len() as u64, ACKNOWLEDGE_EVERY + 1);
    }
}
