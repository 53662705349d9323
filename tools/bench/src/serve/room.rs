//! Rooms on an ordinary quinn server: a task a connection reads inputs, a ticker a room sends views. It runs no game,
//! so it is cheaper than a real one.

use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Endpoint};

use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::tls;
use crate::traffic::{INTERVAL, PLAYERS, Traffic};

static COUNTERS: Counters = Counters::new();

/// Serves for ever.
pub async fn run(traffic: Traffic) -> Result<(), BenchError> {
    let endpoint = Endpoint::server(tls::server(b"room")?, ([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
    answer(&endpoint.local_addr().map_err(BenchError::setup)?.to_string(), &COUNTERS);
    let mut room = Vec::new();
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        tokio::spawn(read_inputs(connection.clone()));
        room.push(connection);
        if room.len() == PLAYERS {
            tokio::spawn(send_views(std::mem::take(&mut room), traffic.down));
        }
    }
    Ok(())
}

async fn read_inputs(connection: Connection) {
    while let Ok(input) = connection.read_datagram().await {
        COUNTERS.count_received(input.len());
    }
}

async fn send_views(room: Vec<Connection>, length: usize) {
    let mut ticker = tokio::time::interval(INTERVAL.max(Duration::from_millis(1)));
    let view = Bytes::from(vec![0; length]);
    loop {
        ticker.tick().await;
        for connection in &room {
            if connection.send_datagram(view.clone()).is_err() {
                return;
            }
            COUNTERS.count_sent(length);
        }
    }
}
