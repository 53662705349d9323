//! A worker's peers within its turn: when they are read, how much, where what they say goes.

use std::time::Instant;

use crate::command::Event;
use crate::limits::{EVENT_BYTES, EVENTS, PEER_TURN_BYTES};
use crate::outlet::Outlet;
use crate::peers::{LinkError, News, Order, Peers, PeersConfig, SendError};
use crate::receive::Datagram;
use crate::worker::Worker;

impl Worker {
    /// Gives it an endpoint for peers, once: [`Worker::handle_peer_datagram`] and [`Worker::send_to_peers`] serve it.
    pub fn open_to_peers(&mut self, config: PeersConfig) {
        self.peers = Some(Box::new(Peers::new(config)));
    }

    /// Takes a datagram of the peers' socket in.
    pub fn handle_peer_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        if let Some(peers) = &mut self.peers {
            peers.handle_datagram(now, datagram);
        }
    }

    /// Whether there is no link to a peer, none is to be made and nobody else's begins.
    pub fn is_alone(&self) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.is_idle())
    }

    /// What peers sent: after players, who wait for nothing longer than a frame, and before sessions run, so that what peers
    /// acknowledge or ask for counts in this turn and its packets. A bounded number of bytes a turn: a checkpoint that
    /// comes in takes as many turns as it needs, with due sessions between. Where the node does not take what was read
    /// before, only datagrams are read, so that nobody is taken for silent: with all else peers are held back by QUIC's windows.
    pub(crate) fn read_peers(&mut self, outlet: &mut dyn Outlet) -> bool {
        let has_room = self.has_room_for_peers();
        let Some(peers) = self.peers.as_mut() else { return false };
        let now = outlet.now();
        let more = match has_room {
            true => peers.read(now, PEER_TURN_BYTES),
            false => {
                peers.read_datagrams(now, PEER_TURN_BYTES);
                false
            }
        };
        self.hand_on_news(now);
        more
    }

    /// Peers' news take half of the queue at most, and leave the rest to players' and guests'.
    pub(crate) fn has_room_for_peers(&self) -> bool {
        self.events.len() < EVENTS / 4 && self.event_bytes < EVENT_BYTES / 4
    }

    fn hand_on_news(&mut self, now: Instant) {
        while let Some((peer, news)) = self.peers.as_mut().and_then(|peers| peers.poll_news()) {
            let may_be_lost = matches!(news, News::Datagram(_)) && !self.has_room_for_peers();
            if !self.hear_peer(now, peer, &news) && !may_be_lost {
                self.tell(Event::Peer { peer, news });
            }
        }
    }

    /// Sends what peers are to get: after [`Worker::turn`], so that a turn's frames leave with it. The outlet is that of the
    /// peers' socket.
    pub fn send_to_peers(&mut self, outlet: &mut dyn Outlet) {
        if let Some(peers) = &mut self.peers {
            peers.send(outlet);
        }
    }

    pub(crate) fn handle_order(&mut self, now: Instant, order: Order) {
        let peers = self.peers.as_mut();
        match order {
            Order::Link { session, peer, address, reply } => {
                reply(peers.map_or(Err(LinkError::Stopped), |peers| peers.link(now, session, peer, address)));
            }
            Order::Unlink { session, peer } => {
                peers.into_iter().for_each(|peers| peers.unlink(now, &session, peer));
            }
            Order::Frame { peer, body, reply } => {
                reply(peers.map_or(Err(SendError::NotLinked), |peers| peers.send_frame(now, peer, &body)));
            }
            Order::Datagram { peer, body, reply } => {
                reply(peers.map_or(Err(SendError::NotLinked), |peers| peers.send_datagram(peer, body)));
            }
            Order::Long { peer, body, reply } => {
                reply(peers.map_or(Err(SendError::NotLinked), |peers| peers.send_long(peer, body)));
            }
        }
        self.hand_on_news(now);
    }
}
