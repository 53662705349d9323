//! Takes whatever comes over a stream, and says when it has all of it: what a link carries that carries nothing else.

use quinn::Endpoint;

use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::tls;

static COUNTERS: Counters = Counters::new();

/// Serves for ever.
pub async fn run() -> Result<(), BenchError> {
    let endpoint = Endpoint::server(tls::server(b"sink")?, ([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
    answer(&endpoint.local_addr().map_err(BenchError::setup)?.to_string(), || COUNTERS.read());
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await.ok()?;
            let (mut send, mut receive) = connection.accept_bi().await.ok()?;
            while let Some(chunk) = receive.read_chunk(usize::MAX, true).await.ok()? {
                COUNTERS.count_received(chunk.bytes.len());
            }
            send.write_all(&[1]).await.ok()?;
            send.finish().ok()?;
            connection.closed().await;
            Some(())
        });
    }
    Ok(())
}
