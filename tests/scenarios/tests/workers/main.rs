//! Workers and clients over real sockets: what players see when guests fail, links fail, and peers mean ill.

#![allow(clippy::unwrap_used)]

mod bench;
mod bots;
mod chess_games;
mod exchange;
mod guests;
mod hostile;
mod links;
mod memory;
mod peers;
mod puppet;
mod raw;
mod replication;
mod seats;
mod stranger;
