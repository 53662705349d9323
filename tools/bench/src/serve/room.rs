//! Arena matches on an ordinary quinn server, written as one would write them: a task a connection reads inputs, a
//! ticker a room runs the rules natively and sends the view to all. Same rules, same datagrams, no isolation, no log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arena::world::World;
use bytes::{Bytes, BytesMut};
use quinn::{Connection, Endpoint, SendStream};
use ringside_guest::Slot;
use ringside_protocol::datagram::{ClientDatagram, FragmentHeader, ServerDatagram, ViewHead};
use ringside_protocol::frame::{ServerFrame, WireFrame};
use tokio::sync::mpsc;

use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::random::Random;
use crate::tls;
use crate::traffic::{INTERVAL, PLAYERS};

static COUNTERS: Counters = Counters::new();

type Match = Arc<Mutex<World<20>>>;

/// A player of a room.
struct Seat {
    connection: Connection,
    send: SendStream,
    views: u64,
    messages: u64,
}

/// Serves for ever.
pub async fn run() -> Result<(), BenchError> {
    let endpoint = Endpoint::server(tls::server(b"room")?, ([127, 0, 0, 1], 0).into()).map_err(BenchError::setup)?;
    answer(&endpoint.local_addr().map_err(BenchError::setup)?.to_string(), || COUNTERS.read());
    let (arrivals, arrived) = mpsc::channel(64);
    tokio::spawn(seat_players(arrived));
    while let Some(incoming) = endpoint.accept().await {
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            let connection = incoming.await.ok()?;
            let (send, mut receive) = connection.accept_bi().await.ok()?;
            receive.read_exact(&mut [0]).await.ok()?;
            arrivals.send((connection, send)).await.ok()
        });
    }
    Ok(())
}

/// Fills rooms in the order of arrival.
async fn seat_players(mut arrived: mpsc::Receiver<(Connection, SendStream)>) -> Option<()> {
    for number in 0.. {
        let world = Match::default();
        let mut random = Random::new(number);
        let mut seats = Vec::new();
        for slot in 0..PLAYERS {
            let (connection, mut send) = arrived.recv().await?;
            send.write_all(&[slot as u8]).await.ok()?;
            lock(&world).join(Slot(slot as u16), || random.unit());
            tokio::spawn(read_inputs(connection.clone(), Slot(slot as u16), world.clone()));
            seats.push(Seat { connection, send, views: 0, messages: 0 });
        }
        tokio::spawn(run_room(seats, world, random));
    }
    None
}

async fn read_inputs(connection: Connection, slot: Slot, world: Match) {
    while let Ok(datagram) = connection.read_datagram().await {
        COUNTERS.count_received(datagram.len());
        if let Ok(ClientDatagram::Input { body, .. }) = ClientDatagram::decode(datagram)
            && let Ok(input) = ringside_guest::decode(&body)
        {
            lock(&world).set_input(slot, input);
        }
    }
}

async fn run_room(mut seats: Vec<Seat>, world: Match, mut random: Random) -> Option<()> {
    let mut ticker = tokio::time::interval(INTERVAL);
    for tick in 1.. {
        ticker.tick().await;
        let (view, kills) = {
            let mut world = lock(&world);
            world.step(|| random.unit());
            (Bytes::from(ringside_guest::encode(&world.view())), world.take_kills())
        };
        for seat in &mut seats {
            for &(by, whom) in &kills {
                seat.messages += 1;
                let body = Bytes::from(ringside_guest::encode(&arena::Output::Kill { by, whom }));
                let frame = ServerFrame::Message { number: seat.messages, body };
                seat.send.write_all(&frame.to_bytes()).await.ok()?;
            }
            seat.views += 1;
            let datagram = fragment(seat.views, tick, view.clone());
            COUNTERS.count_sent(datagram.len());
            seat.connection.send_datagram(datagram).ok()?;
        }
    }
    None
}

/// A whole view as Ringside writes it, so that both sides' datagrams have the same size.
fn fragment(number: u64, tick: u64, body: Bytes) -> Bytes {
    let head = ViewHead { tick, committed_tick: tick, baseline: 0 };
    let header = FragmentHeader { number, index: 0, count: 1, head: Some(head) };
    let mut bytes = BytesMut::with_capacity(header.size() + body.len());
    ServerDatagram::ViewFragment { header, body }.encode(&mut bytes);
    bytes.freeze()
}

fn lock(world: &Match) -> MutexGuard<'_, World<20>> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}
