//! Messages that come back, sent at their intended times whatever the answers do (open loop), and timed from then.
//! The sender spins on a core of its own: a timer's granularity would be most of what it measured.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::{Endpoint, RecvStream, SendStream};
use serde::{Deserialize, Serialize};

use super::slices::{Wishes, reply};
use crate::bench::BenchError;
use crate::statistics::quantile;
use crate::tls;

/// Connections that take turns.
pub const LANES: usize = 8;
/// Bytes of a message.
pub const BODY: usize = 64;
/// Time between two messages, all lanes together.
const INTERVAL: Duration = Duration::from_micros(1250);
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

/// How messages are written to and found in a stream.
pub trait Wire: Send + 'static {
    /// The bytes that carry the next message.
    fn encode(&mut self, body: &[u8; BODY]) -> Vec<u8>;
}

/// How messages are found in a stream.
pub trait Unwire: Send + 'static {
    /// Takes bytes from the stream, and calls `message` for each message that is complete. What it returns is written
    /// to the stream (acknowledgements, where the protocol has them).
    fn decode(&mut self, bytes: &[u8], message: &mut dyn FnMut(&[u8])) -> Result<(), BenchError>;
}

/// One connection's stream.
pub struct Lane<W> {
    /// Written to.
    pub send: SendStream,
    /// In this form.
    pub wire: W,
}

/// Messages that came back, with how long they took, µs.
pub type Answers = Arc<Mutex<Vec<f64>>>;

/// The ordinary quinn echo's load.
pub async fn quinn(server: SocketAddr) -> Result<(), BenchError> {
    let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
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
    serve_slices(lanes, answers, clock).await
}

/// Reads answers until the stream ends.
pub async fn listen(mut receive: RecvStream, mut wire: impl Unwire, answers: Answers, clock: Instant) {
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
pub async fn serve_slices<W: Wire>(
    mut lanes: Vec<Lane<W>>,
    answers: Answers,
    clock: Instant,
) -> Result<(), BenchError> {
    let mut wishes = Wishes::listen();
    while let Some(length) = wishes.next().await {
        answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let sent = send_for(&mut lanes, length, clock).await?;
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

async fn send_for<W: Wire>(lanes: &mut [Lane<W>], length: Duration, clock: Instant) -> Result<usize, BenchError> {
    let start = clock.elapsed();
    let count = (length.as_nanos() / INTERVAL.as_nanos()) as usize;
    for number in 0..count {
        let intended = start + INTERVAL * number as u32;
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
