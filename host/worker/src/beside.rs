//! Two runs of one node beside each other, for as long as a handover takes: the one that ends gives its sessions to the
//! one that begins. They are linked although they share a number, and what was given is followed where it came from, so
//! that it goes on there should the successor not last.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringside_core::ids::{Node, SessionId, WorkerId};
use ringside_core::leadership::Leader;
use ringside_core::leadership::record::Member;
use ringside_core::routing::{self, Arrival};
use ringside_protocol::frame::ServerFrame;
use ringside_protocol::reason::Reason;

use crate::command::Resolved;
use crate::opening::Guest;
use crate::replication::{Job, Lead};
use crate::worker::Worker;

/// A checkpoint on its way from a worker of this run to one of the successor's, and what is sent of it.
pub type Pass = dyn Fn(WorkerId, WorkerId, &[u8]) -> bool + Send + Sync;

/// How checkpoints get to the other run without a link. Called beside the worker's thread; may take a millisecond for each
/// megabyte. Answers whether a checkpoint is on its way: else it goes over the link.
#[derive(Clone)]
pub struct Passage(pub Arc<Pass>);

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passage")
    }
}

/// What a worker is told of another run of its node.
#[derive(Debug, Clone)]
pub enum Beside {
    /// It was here before, and gives its sessions to this run.
    Predecessor(Node),
    /// It takes this run's sessions.
    Successor {
        /// Which.
        node: Node,
        /// How checkpoints get there, if otherwise than over links.
        passage: Option<Passage>,
    },
    /// It ends soon: where a session is safe without it, it is not to count any longer. Records in the store take a while, in
    /// which it is there and acknowledges: nobody waits for one that is gone.
    Spared(Node),
    /// It is about to end, as it should: nobody of it is to count any longer.
    Leaves(Node),
    /// It is over: what it led may go on at its followers here.
    Over(Node),
}

/// The other run of a worker's node.
#[derive(Debug, Default)]
pub(crate) struct Companion {
    /// Where what is promoted here came from, and is to be followed.
    predecessor: Option<Node>,
    /// Where what was led here is led now.
    successor: Option<Node>,
    /// How checkpoints get there.
    passage: Option<Passage>,
}

impl Companion {
    /// How checkpoints get to a member otherwise than over a link.
    pub fn passage_to(&self, member: Member) -> Option<&Passage> {
        self.passage.as_ref().filter(|_| Some(member.node) == self.successor)
    }
}

impl Worker {
    /// Something is so of another run of this node.
    pub(crate) fn beside(&mut self, now: Instant, what: Beside) {
        let begins_beside = matches!(what, Beside::Predecessor(_));
        let companion = match what {
            Beside::Predecessor(node) => {
                self.companion = Companion { predecessor: Some(node), ..Companion::default() };
                Some(node)
            }
            Beside::Successor { node, passage } => {
                self.companion = Companion { predecessor: None, successor: Some(node), passage };
                Some(node)
            }
            Beside::Spared(node) => {
                let now_us = self.replication.clock.us(now);
                return self.let_go_of(now, node, |lead| lead.core.can_spare(now_us, node));
            }
            Beside::Leaves(node) => {
                self.companion = Companion::default();
                self.let_go_of(now, node, |_| true);
                None
            }
            Beside::Over(node) => {
                self.companion = Companion::default();
                self.release_followed(now, node);
                None
            }
        };
        if let Some(peers) = &mut self.peers {
            peers.beside(companion, begins_beside);
        }
    }

    /// Nobody of a node is to count any longer in those sessions that are led here and of which this holds.
    fn let_go_of(&mut self, now: Instant, node: Node, is_it: impl Fn(&Lead) -> bool) {
        for index in 0..self.sessions.len() {
            if self.lead_mut(index).is_some_and(|lead| is_it(lead)) {
                self.with_leader(now, index, |core, us| core.handle_unkept(us, node));
                self.flush_later(index);
            }
        }
    }

    /// A checkpoint of the run before has come without a link. It is checked like any other.
    pub(crate) fn checkpoint_passed(&mut self, from: WorkerId, body: Bytes) {
        if let Some(node) = self.companion.predecessor {
            self.replication.job(Job::decode(Member { node, worker: from }, None, body, true));
        }
    }

    /// A session that came from the run before is followed there, until that one ends: it goes on there should this one
    /// not last.
    ///
    /// Before the leader's first turn, in which it would let go of whom nobody asks for.
    pub(crate) fn keep_predecessor(&self, core: &mut Leader) {
        let Some(node) = self.companion.predecessor else { return };
        if let Some(former) = core.record().in_sync.iter().find(|who| who.node == node).copied() {
            core.handle_kept(former);
        }
    }

    /// Whether somebody is sent to the other run of this node.
    pub(crate) fn is_beside(&self, place: &Resolved) -> bool {
        let Companion { predecessor, successor, .. } = &self.companion;
        let is_it = |node: &Node| (node.id.0, node.generation) == (place.node, place.generation);
        predecessor.iter().chain(successor).any(is_it)
    }

    /// Whether a session's followers are kept though it asks for none.
    pub(crate) fn keeps(&self, member: Option<Member>) -> bool {
        member.is_some_and(|member| Some(member.node) == self.companion.predecessor)
    }

    /// Where a session is that is followed here, if that is the successor of this run: whoever comes for it goes there.
    pub(crate) fn at_successor(&mut self, session: &SessionId) -> Option<Resolved> {
        let successor = self.companion.successor?;
        let leader = self.replication.get_mut(session)?.core.record()?.leader;
        (leader.node == successor).then(|| self.resolve_member(session, leader)).flatten()
    }

    /// Sends somebody to where their session is.
    pub(crate) fn route_to(&mut self, now: Instant, guest: Guest, place: &Resolved) {
        let arrival = Arrival { redirects: guest.redirects, wants_relay: guest.open.relay };
        match routing::route(false, arrival) {
            routing::Route::Redirect { redirects } => {
                let place = self.place(place, &guest.player, redirects, guest.expires_s);
                self.last_frame(now, guest.link, &ServerFrame::Redirect(place), Reason::NotHere);
            }
            routing::Route::Relay { redirects } => {
                let place = self.place(place, &guest.player, redirects, guest.expires_s);
                self.begin_relay(now, guest.link, place, guest.open, guest.player);
            }
            routing::Route::Here | routing::Route::NotHere => {
                self.refuse(now, guest.link, Reason::NotHere, "the session is not at this worker (any longer)");
            }
        }
    }
}
