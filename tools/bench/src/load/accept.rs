//! Connections as fast as the server takes them: lanes that connect, ask one question, read the answer and close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use quinn::Endpoint;
use serde::{Deserialize, Serialize};

use ringside_protocol::frame::ALPN;

use super::door;
use super::slices::{Wishes, reply};
use crate::bench::BenchError;
use crate::identity::Door;
use crate::tls;

/// Connections under way at a time.
pub const LANES: usize = 16;
/// Players that come back in turn.
const PLAYERS: usize = 256;

/// What a slice brought.
#[derive(Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// Connections that got their answer.
    pub connections: u64,
    /// Connections that did not.
    pub failed: u64,
}

/// The ordinary quinn accept loop's load: requests as long as Ringside's open frames.
pub async fn quinn(server: SocketAddr) -> Result<(), BenchError> {
    let requests = Arc::new(vec![vec![0; 300]; LANES]);
    serve_slices(server, tls::client(b"accept")?, requests).await
}

/// Ringside's load: players of one session of the guest `echo` who come back again and again.
pub async fn ringside(server: Door) -> Result<(), BenchError> {
    let requests = (0..PLAYERS).map(|player| door::open(&server, &format!("player-{player}"), "echo", "0"));
    let requests = Arc::new(requests.collect::<Result<Vec<_>, _>>()?);
    serve_slices(server.address, tls::client(ALPN)?, requests).await
}

/// Works off the parent's slices; the lanes make the requests in turn.
async fn serve_slices(
    server: SocketAddr,
    config: quinn::ClientConfig,
    requests: Arc<Vec<Vec<u8>>>,
) -> Result<(), BenchError> {
    let mut wishes = Wishes::listen();
    while let Some(length) = wishes.next().await {
        // A fresh endpoint each slice: connections of the last one that still drain do not weigh on it.
        let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
        endpoint.set_default_client_config(config.clone());
        let until = Instant::now() + length;
        let good = Arc::new(AtomicU64::new(0));
        let bad = Arc::new(AtomicU64::new(0));
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let (endpoint, requests, good, bad) = (endpoint.clone(), requests.clone(), good.clone(), bad.clone());
                tokio::spawn(async move {
                    for request in requests.iter().skip(lane).step_by(LANES).cycle() {
                        if Instant::now() >= until {
                            break;
                        }
                        let outcome = ask(&endpoint, server, request).await;
                        if outcome.is_ok() { &good } else { &bad }.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        for lane in lanes {
            lane.await.map_err(BenchError::setup)?;
        }
        reply(&Accepted { connections: good.load(Relaxed), failed: bad.load(Relaxed) })?;
    }
    Ok(())
}

async fn ask(endpoint: &Endpoint, server: SocketAddr, request: &[u8]) -> Result<(), BenchError> {
    let connecting = endpoint.connect(server, "localhost").map_err(BenchError::setup)?;
    let connection = connecting.await.map_err(BenchError::setup)?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(BenchError::setup)?;
    send.write_all(request).await.map_err(BenchError::setup)?;
    let mut answer = [0; 1024];
    let answered = receive.read(&mut answer).await.map_err(BenchError::setup)?;
    connection.close(0u32.into(), b"");
    answered.map(|_| ()).ok_or_else(|| BenchError::Child("closed a stream without an answer".into()))
}
