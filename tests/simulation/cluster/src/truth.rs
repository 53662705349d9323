//! What really is, which no node knows: who leads what, what was taken, who gave way to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringside_core::directory::Name;
use ringside_core::ids::{Epoch, Node, SessionId, WorkerId};
use ringside_core::membership::ViewDigest;
use ringside_core::ring::{Ring, RingDigest};
use ringside_core::routing::tickets::Stamp;
use ringside_simulation_kit::scheduler::Micros;

/// A session that somebody leads, or is about to.
#[derive(Debug, Clone)]
pub struct Led {
    /// On which machine.
    pub slot: usize,
    /// On which worker.
    pub worker: WorkerId,
    /// In which epoch.
    pub epoch: Epoch,
    /// Since when.
    pub since: Micros,
    /// By whose order.
    pub home: Node,
    /// Whether its worker has it.
    pub is_live: bool,
    /// Since when nobody is in it.
    pub empty_since: Micros,
}

/// What really is.
#[derive(Debug, Default)]
pub struct Truth {
    /// Every session that is led, by name, leader and id.
    pub led: BTreeMap<Name, BTreeMap<(Node, SessionId), Led>>,
    /// Every session that ever began, and who led it in which epoch.
    pub begun: BTreeMap<(SessionId, Epoch), Node>,
    /// Every session that ever was.
    pub ever: BTreeSet<SessionId>,
    /// When each was ordered first, if that was another node's order.
    pub ordered: BTreeMap<SessionId, Micros>,
    /// Who gave way to whom.
    pub gave_way: BTreeMap<SessionId, SessionId>,
    /// Tickets that were taken.
    pub taken: BTreeSet<(Node, Stamp)>,
    /// Every ring that anybody had.
    pub rings: BTreeMap<RingDigest, Arc<Ring>>,
    /// What each view's ring was.
    pub views: BTreeMap<ViewDigest, RingDigest>,
}

impl Truth {
    /// A session of a leader.
    pub fn get(&self, name: &Name, leader: Node, session: &SessionId) -> Option<&Led> {
        self.led.get(name)?.get(&(leader, session.clone()))
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, name: &Name, leader: Node, session: &SessionId) -> Option<&mut Led> {
        self.led.get_mut(name)?.get_mut(&(leader, session.clone()))
    }

    /// A session is over.
    pub fn ended(&mut self, name: &Name, leader: Node, session: &SessionId) {
        if let Some(all) = self.led.get_mut(name) {
            all.remove(&(leader, session.clone()));
            if all.is_empty() {
                self.led.remove(name);
            }
        }
    }

    /// A process is over, and all that it led.
    pub fn died(&mut self, leader: Node, slot: usize) {
        self.led.retain(|_, all| {
            // A copy of a node may have its very number and generation.
            all.retain(|(node, _), led| *node != leader || led.slot != slot);
            !all.is_empty()
        });
    }

    /// A session gives way to another. Whether that one has not given way to it, be it through others.
    pub fn gives_way(&mut self, session: &SessionId, winner: &SessionId) -> bool {
        self.gave_way.insert(session.clone(), winner.clone());
        let mut at = winner;
        for _ in 0..self.gave_way.len() {
            match self.gave_way.get(at) {
                None => return true,
                Some(next) if next == session => return false,
                Some(next) => at = next,
            }
        }
        false
    }

    /// Whose a name is by a ring.
    pub fn home(&self, ring: RingDigest, name: &Name) -> Option<Node> {
        let position = ringside_core::ring::Position::of_key(&name.0, &name.1);
        self.rings.get(&ring)?.home(position).map(|member| member.node)
    }
}
