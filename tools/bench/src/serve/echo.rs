//! An echo on an ordinary quinn server: a task a stream sends back what it reads.

use quinn::{Endpoint, RecvStream, SendStream};

use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::tls;

static COUNTERS: Counters = Counters::new();

/// Serves for ever.
pub async fn run() -> Result<(), BenchError> {
    let endpoint = Endpoint::server(tls::server(b"echo")?, ([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
    answer(&endpoint.local_addr().map_err(BenchError::setup)?.to_string(), || COUNTERS.read());
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        tokio::spawn(async move {
            while let Ok((send, receive)) = connection.accept_bi().await {
                tokio::spawn(echo(send, receive));
            }
        });
    }
    Ok(())
}

async fn echo(mut send: SendStream, mut receive: RecvStream) {
    let mut buffer = [0; 4096];
    while let Ok(Some(length)) = receive.read(&mut buffer).await {
        COUNTERS.count_received(length);
        if send.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        COUNTERS.count_sent(length);
    }
}
