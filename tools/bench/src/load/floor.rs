//! Rooms over bare UDP: every player sends its inputs in its own phase.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use crate::batch::{BATCH, Batch};
use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::machine::load_socket;
use crate::serve::floor::{key, open, seal};
use crate::traffic::{INTERVAL, PHASES, PLAYERS_A_SOCKET, Traffic};

static COUNTERS: Counters = Counters::new();

/// Sends and receives for ever.
pub fn run(server: SocketAddr, traffic: Traffic) -> Result<(), BenchError> {
    let players = traffic.players();
    let sockets: Vec<UdpSocket> = (0..players.div_ceil(PLAYERS_A_SOCKET))
        .map(|_| load_socket())
        .collect::<Result<_, _>>()
        .map_err(BenchError::setup)?;
    let key = key()?;
    answer("", || COUNTERS.read());
    let (mut arrived, mut out) = (Batch::new(), Batch::new());
    let mut next = Instant::now();
    for round in 0u64.. {
        for (at, socket) in sockets.iter().enumerate() {
            let seats = at * PLAYERS_A_SOCKET..players.min((at + 1) * PLAYERS_A_SOCKET);
            for peer in seats.skip(round as usize % PHASES).step_by(PHASES) {
                COUNTERS.count_sent(traffic.up);
                out.push(socket, server, |buffer| seal(&key, buffer, peer as u32, round, traffic.up))
                    .map_err(BenchError::Process)?;
            }
            out.send(socket).map_err(BenchError::Process)?;
            loop {
                let count = arrived.receive(socket).map_err(BenchError::Process)?;
                for (_, packet) in arrived.datagrams() {
                    if let Some((_, length)) = open(&key, packet) {
                        COUNTERS.count_received(length);
                    }
                }
                if count < BATCH {
                    break;
                }
            }
        }
        next += INTERVAL / PHASES as u32;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
