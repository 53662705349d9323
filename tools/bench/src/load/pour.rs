//! So many bytes over one QUIC connection, as fast as it takes them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quinn::Endpoint;

use crate::bench::BenchError;
use crate::{player, tls};

/// Bytes of one write.
const PIECE: usize = 64 << 10;

/// Sends them; answers how long it took until the other end had all of them, the handshake left out.
pub fn run(server: SocketAddr, bytes: u64) -> Result<Duration, BenchError> {
    player::runtime()?.block_on(async {
        let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
        endpoint.set_default_client_config(tls::client(b"sink")?);
        let connection = endpoint.connect(server, "localhost").map_err(BenchError::setup)?;
        let connection = connection.await.map_err(BenchError::setup)?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(BenchError::setup)?;
        let piece = vec![7; PIECE];
        let begun = Instant::now();
        let mut left = bytes;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            send.write_all(&piece[..length]).await.map_err(BenchError::setup)?;
            left -= length as u64;
        }
        send.finish().map_err(BenchError::setup)?;
        receive.read_to_end(1).await.map_err(BenchError::setup)?;
        Ok(begun.elapsed())
    })
}
