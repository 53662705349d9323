//! Rooms over QUIC datagrams: one task reads for each player, one ticker sends for all, each player in its own phase.
//! What the datagrams say is the business of a [`Dialect`].

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, Endpoint};

use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::tls;
use crate::traffic::{INTERVAL, PHASES, PLAYERS_A_SOCKET, Traffic};

static COUNTERS: Counters = Counters::new();

/// What one player's datagrams say.
pub trait Dialect: Send + Sync + 'static {
    /// The next input.
    fn input(&self) -> Bytes;
    /// Something came.
    fn received(&self, datagram: &Bytes);
}

/// A player with a connection.
pub struct Seat<D> {
    /// Over which it plays.
    pub connection: Connection,
    /// How it speaks.
    pub dialect: Arc<D>,
}

/// The ordinary quinn rooms' load.
pub async fn quinn(server: SocketAddr, traffic: Traffic) -> Result<(), BenchError> {
    let endpoints = endpoints(traffic.players(), tls::client(b"room")?)?;
    let mut seats = Vec::new();
    for player in 0..traffic.players() {
        let connecting =
            endpoints[player / PLAYERS_A_SOCKET].connect(server, "localhost").map_err(BenchError::setup)?;
        let connection = connecting.await.map_err(BenchError::setup)?;
        seats.push(Seat { connection, dialect: Arc::new(Silent(Bytes::from(vec![0; traffic.up]))) });
    }
    play(seats).await
}

/// Enough endpoints for so many players.
pub fn endpoints(players: usize, config: quinn::ClientConfig) -> Result<Vec<Endpoint>, BenchError> {
    let endpoint = |_| {
        let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
        endpoint.set_default_client_config(config.clone());
        Ok(endpoint)
    };
    (0..players.div_ceil(PLAYERS_A_SOCKET)).map(endpoint).collect()
}

/// Says that all are seated, and plays until the process ends or a connection is lost.
pub async fn play<D: Dialect>(seats: Vec<Seat<D>>) -> Result<(), BenchError> {
    answer("", &COUNTERS);
    for seat in &seats {
        tokio::spawn(listen(seat.connection.clone(), seat.dialect.clone()));
    }
    let mut ticker = tokio::time::interval(INTERVAL / PHASES as u32);
    for round in 0.. {
        ticker.tick().await;
        for seat in seats.iter().skip(round % PHASES).step_by(PHASES) {
            let input = seat.dialect.input();
            COUNTERS.count_sent(input.len());
            seat.connection.send_datagram(input).map_err(BenchError::setup)?;
        }
    }
    Ok(())
}

async fn listen<D: Dialect>(connection: Connection, dialect: Arc<D>) {
    while let Ok(datagram) = connection.read_datagram().await {
        COUNTERS.count_received(datagram.len());
        dialect.received(&datagram);
    }
}

/// Says always the same and does not listen.
struct Silent(Bytes);

impl Dialect for Silent {
    fn input(&self) -> Bytes {
        self.0.clone()
    }

    fn received(&self, _: &Bytes) {}
}
