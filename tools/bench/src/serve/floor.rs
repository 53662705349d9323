//! The floor: one thread that receives, opens, seals and sends in batches, every 10 ms, with the datagrams of rooms.
//! Each packet is `peer (4 bytes) | counter (8 bytes) | sealed body | tag (16 bytes)`, about what QUIC adds.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::batch::{BATCH, Batch};
use crate::bench::BenchError;
use crate::child::{Counters, answer};
use crate::traffic::{INTERVAL, Traffic};

/// Bytes before the sealed body.
const HEADER: usize = 12;
/// Between two rounds.
const ROUND: Duration = Duration::from_millis(10);

static COUNTERS: Counters = Counters::new();

/// The key that both sides use; its secrecy is not what is measured.
pub fn key() -> Result<LessSafeKey, BenchError> {
    UnboundKey::new(&AES_128_GCM, &[7; 16]).map(LessSafeKey::new).map_err(BenchError::setup)
}

/// Writes a packet for `peer` with a body of `length` bytes; says how long the packet is.
pub fn seal(key: &LessSafeKey, buffer: &mut [u8], peer: u32, counter: u64, length: usize) -> usize {
    buffer[..4].copy_from_slice(&peer.to_le_bytes());
    buffer[4..HEADER].copy_from_slice(&counter.to_le_bytes());
    let (header, body) = buffer.split_at_mut(HEADER);
    let Ok(tag) = key.seal_in_place_separate_tag(nonce(counter), Aad::from(&*header), &mut body[..length]) else {
        return 0;
    };
    body[length..length + tag.as_ref().len()].copy_from_slice(tag.as_ref());
    HEADER + length + tag.as_ref().len()
}

/// Opens a packet in place; says whose it is and how long its body was.
pub fn open(key: &LessSafeKey, packet: &mut [u8]) -> Option<(u32, usize)> {
    let (header, body) = packet.split_at_mut_checked(HEADER)?;
    let peer = u32::from_le_bytes(header[..4].try_into().ok()?);
    let counter = u64::from_le_bytes(header[4..].try_into().ok()?);
    let body = key.open_in_place(nonce(counter), Aad::from(&*header), body).ok()?;
    Some((peer, body.len()))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Serves for ever.
pub fn run(traffic: Traffic) -> Result<(), BenchError> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(BenchError::setup)?;
    socket.set_nonblocking(true).map_err(BenchError::setup)?;
    let key = key()?;
    answer(&socket.local_addr().map_err(BenchError::setup)?.to_string(), || COUNTERS.read());
    let mut peers: Vec<Option<SocketAddr>> = vec![None; traffic.players()];
    let (mut arrived, mut out) = (Batch::new(), Batch::new());
    let rounds = (INTERVAL.as_millis() / ROUND.as_millis()) as usize;
    let mut next = Instant::now();
    for round in 0u64.. {
        receive(&socket, &key, &mut arrived, &mut peers)?;
        let phase = (round as usize) % rounds;
        for (peer, address) in peers.iter().enumerate().skip(phase).step_by(rounds) {
            let Some(address) = address else { continue };
            COUNTERS.count_sent(traffic.down);
            out.push(&socket, *address, |buffer| seal(&key, buffer, peer as u32, round, traffic.down))
                .map_err(BenchError::Process)?;
        }
        out.send(&socket).map_err(BenchError::Process)?;
        next += ROUND;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn receive(
    socket: &UdpSocket,
    key: &LessSafeKey,
    arrived: &mut Batch,
    peers: &mut [Option<SocketAddr>],
) -> Result<(), BenchError> {
    loop {
        let count = arrived.receive(socket).map_err(BenchError::Process)?;
        for (from, packet) in arrived.datagrams() {
            let Some((peer, length)) = open(key, packet) else { continue };
            COUNTERS.count_received(length);
            if let Some(address) = peers.get_mut(peer as usize) {
                *address = Some(from);
            }
        }
        if count < BATCH {
            return Ok(());
        }
    }
}
