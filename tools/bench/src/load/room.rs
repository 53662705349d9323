//! Rooms over QUIC datagrams: a task for each player reads what comes, one ticker sends for all, each player in its
//! own phase. The ordinary quinn server's rooms and Ringside's differ in how a player gets a seat.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use ringside_protocol::frame::{ALPN, ClientFrame, FrameDecoder, ServerFrame, WireFrame};

use super::dialect::Bot;
use super::door;
use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::identity::Door;
use crate::tls;
use crate::traffic::{INTERVAL, PHASES, PLAYERS, PLAYERS_A_SOCKET, Traffic};

static COUNTERS: Counters = Counters::new();
/// Players that ask for a seat at a time.
const AT_ONCE: usize = 32;

/// A player with a connection.
struct Seat {
    connection: Connection,
    bot: Arc<Bot>,
}

/// The ordinary quinn rooms' load. The server says a player's slot in the first byte of the stream.
pub async fn quinn(server: SocketAddr, traffic: Traffic) -> Result<(), BenchError> {
    let endpoints = endpoints(traffic.players(), tls::client(b"room")?)?;
    let enter = async move |player: usize| {
        let connection = connect(&endpoints[player / PLAYERS_A_SOCKET], server).await?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(BenchError::setup)?;
        send.write_all(&[0]).await.map_err(BenchError::setup)?;
        let mut slot = [0];
        receive.read_exact(&mut slot).await.map_err(BenchError::setup)?;
        tokio::spawn(hear(send, receive, FrameDecoder::default(), false));
        Ok(Seat { connection, bot: Arc::new(Bot::new(slot[0].into())) })
    };
    play(all_seats(traffic.players(), &enter).await?).await
}

/// Ringside's rooms' load.
pub async fn ringside(server: Door, traffic: Traffic) -> Result<(), BenchError> {
    let endpoints = endpoints(traffic.players(), tls::client(ALPN)?)?;
    let enter = async move |player: usize| {
        let connection = connect(&endpoints[player / PLAYERS_A_SOCKET], server.address).await?;
        let key = (player / PLAYERS).to_string();
        let open = door::open(&server, &format!("bot-{player}"), "arena", &key)?;
        let door::Inside { send, receive, decoder, slot } = door::enter(&connection, &open).await?;
        tokio::spawn(hear(send, receive, decoder, true));
        Ok(Seat { connection, bot: Arc::new(Bot::new(slot)) })
    };
    play(all_seats(traffic.players(), &enter).await?).await
}

/// Seats all players, [`AT_ONCE`] at a time.
async fn all_seats(
    players: usize,
    enter: &impl AsyncFn(usize) -> Result<Seat, BenchError>,
) -> Result<Vec<Seat>, BenchError> {
    let entering = futures_util::stream::iter((0..players).map(|player| enter(player)));
    entering.buffered(AT_ONCE).try_collect().await
}

async fn connect(endpoint: &Endpoint, server: SocketAddr) -> Result<Connection, BenchError> {
    let connecting = endpoint.connect(server, "localhost").map_err(BenchError::setup)?;
    connecting.await.map_err(BenchError::setup)
}

/// Enough endpoints for so many players.
fn endpoints(players: usize, config: quinn::ClientConfig) -> Result<Vec<Endpoint>, BenchError> {
    let endpoint = |_| {
        let mut endpoint = door::endpoint()?;
        endpoint.set_default_client_config(config.clone());
        Ok(endpoint)
    };
    (0..players.div_ceil(PLAYERS_A_SOCKET)).map(endpoint).collect()
}

/// Says that all are seated, and plays until the process ends or a connection is lost.
async fn play(seats: Vec<Seat>) -> Result<(), BenchError> {
    answer("", || COUNTERS.read());
    for seat in &seats {
        tokio::spawn(see(seat.connection.clone(), seat.bot.clone()));
    }
    let mut ticker = tokio::time::interval(INTERVAL / PHASES as u32);
    for round in 0.. {
        ticker.tick().await;
        for seat in seats.iter().skip(round % PHASES).step_by(PHASES) {
            let input = seat.bot.input();
            COUNTERS.count_sent(input.len());
            seat.connection.send_datagram(input).map_err(BenchError::setup)?;
        }
    }
    Ok(())
}

async fn see(connection: Connection, bot: Arc<Bot>) {
    while let Ok(datagram) = connection.read_datagram().await {
        COUNTERS.count_received(datagram.len());
        bot.received(&datagram);
    }
}

/// Reads what the game says reliably, and acknowledges it where the protocol wants that.
async fn hear(
    mut send: SendStream,
    mut receive: RecvStream,
    mut decoder: FrameDecoder<ServerFrame>,
    acknowledge: bool,
) -> Option<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = receive.read(&mut buffer).await.ok()??;
        let mut rest = &buffer[..length];
        let mut heard = None;
        while let Some(frame) = decoder.next(&mut rest).ok()? {
            if let ServerFrame::Message { number, .. } = frame {
                heard = Some(number);
            }
        }
        if let Some(up_to) = heard.filter(|_| acknowledge) {
            send.write_all(&ClientFrame::Acknowledge { up_to }.to_bytes()).await.ok()?;
        }
    }
}
