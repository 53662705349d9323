//! Connections as fast as the server takes them: lanes that connect, ask one question, read the answer and close.
//! Ringside's players come back again and again, each time with the token that they had or, where asked, a fresh one.

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
const PLAYERS: u64 = 256;

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
    serve_slices(server, tls::client(b"accept")?, |_| Ok(vec![0; 300])).await
}

/// Ringside's load: players of one session of the guest `echo`.
pub async fn ringside(server: Door, fresh: bool) -> Result<(), BenchError> {
    let address = server.address;
    let token =
        move |number: u64| server.token(&format!("player-{}", number % PLAYERS), if fresh { number } else { 0 });
    let again: Vec<String> = (0..PLAYERS).map(&token).collect::<Result<_, _>>()?;
    let request = move |number: u64| {
        let token = if fresh { token(number)? } else { again[(number % PLAYERS) as usize].clone() };
        door::open_with(token, "echo", "0", false)
    };
    serve_slices(address, tls::client(ALPN)?, request).await
}

/// Works off the parent's slices; the lanes make the requests, which are numbered, in turn.
async fn serve_slices(
    server: SocketAddr,
    config: quinn::ClientConfig,
    request: impl Fn(u64) -> Result<Vec<u8>, BenchError> + Send + Sync + 'static,
) -> Result<(), BenchError> {
    let (request, next) = (Arc::new(request), Arc::new(AtomicU64::new(0)));
    let mut wishes = Wishes::listen();
    while let Some(length) = wishes.next().await {
        // A fresh endpoint each slice: connections of the last one that still drain do not weigh on it.
        let mut endpoint = door::endpoint()?;
        endpoint.set_default_client_config(config.clone());
        let until = Instant::now() + length;
        let good = Arc::new(AtomicU64::new(0));
        let bad = Arc::new(AtomicU64::new(0));
        let lanes: Vec<_> = (0..LANES)
            .map(|_| {
                let (endpoint, request, next) = (endpoint.clone(), request.clone(), next.clone());
                let (good, bad) = (good.clone(), bad.clone());
                tokio::spawn(async move {
                    while Instant::now() < until {
                        let outcome = match request(next.fetch_add(1, Relaxed)) {
                            Ok(request) => ask(&endpoint, server, &request).await,
                            Err(error) => Err(error),
                        };
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
