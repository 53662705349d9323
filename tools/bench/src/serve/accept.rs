//! An accept loop on an ordinary quinn server: handshake, one request and one answer on a stream.

use quinn::Endpoint;

use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::tls;

static COUNTERS: Counters = Counters::new();
/// Largest request, bytes.
const REQUEST: usize = 1024;
/// The answer's size, about that of an attachment, bytes.
const ANSWER: [u8; 128] = [0; 128];

/// Serves for ever; with `retry`, only addresses that have shown that they are theirs.
pub async fn run(retry: bool) -> Result<(), BenchError> {
    let endpoint = Endpoint::server(tls::server(b"accept")?, ([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
    answer(&endpoint.local_addr().map_err(BenchError::setup)?.to_string(), || COUNTERS.read());
    while let Some(incoming) = endpoint.accept().await {
        if retry && !incoming.remote_address_validated() {
            // Where no Retry can be sent the client tries again.
            let _ = incoming.retry();
            continue;
        }
        tokio::spawn(async move {
            let connection = incoming.await.ok()?;
            let (mut send, mut receive) = connection.accept_bi().await.ok()?;
            let mut request = [0; REQUEST];
            let length = receive.read(&mut request).await.ok()??;
            COUNTERS.count_received(length);
            send.write_all(&ANSWER).await.ok()?;
            COUNTERS.count_sent(ANSWER.len());
            connection.closed().await;
            Some(())
        });
    }
    Ok(())
}
