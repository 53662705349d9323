//! The network between players and workers: packets leave, meet their fate, and arrive.

use std::net::SocketAddr;

use super::{Happening, World};
use crate::scheduler::Micros;
use crate::worker::dialer::Packet;

impl World<'_> {
    pub(super) fn send_down(&mut self, at: Micros, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let owner = self.players.iter().position(|player| player.as_ref().is_some_and(|player| player.address == to));
        let Some(player) = owner else { return };
        let Some(process) = self.players[player].as_mut() else { return };
        for arrival in process.path.fate(at) {
            self.scheduler.at(arrival, Happening::AtPlayer(player, to, (from, bytes.clone())));
        }
    }

    pub(super) fn send_up(&mut self, player: usize, packets: Vec<Packet>) {
        let now = self.scheduler.now();
        let Some(process) = self.players[player].as_mut() else { return };
        for (to, bytes) in packets {
            let Some(worker) = self.posts.iter().position(|post| post.host.address == to) else { continue };
            for arrival in process.path.fate(now) {
                let packet = (process.address, bytes.clone());
                self.scheduler.at(arrival, Happening::AtWorker(worker, packet));
            }
        }
    }

    pub(super) fn packet_for(&mut self, player: usize, address: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        let mut sent = Vec::new();
        match self.players[player].as_mut().filter(|process| process.address == address) {
            Some(process) => process.handle_packet(now, from, bytes, &mut sent),
            None => return,
        }
        self.send_up(player, sent);
        self.drive(player);
    }
}
