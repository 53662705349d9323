//! Another run of this node beside this one, for as long as a handover takes.

use bytes::Bytes;
use ringside_core::ids::{Node, WorkerId};
use ringside_worker::Command;
use ringside_worker::command::{Beside, Passage};
use ringside_worker::replication::Contacts;

use super::{Desk, Outlet, WorkerPort};
use crate::cluster::wire::Message as PeerMessage;
use crate::control::Port;
use crate::handover::messages::Cluster;

/// The other run.
pub struct Companion {
    /// Which.
    pub node: Node,
    /// Where its workers are.
    pub contacts: Contacts,
    /// The way to its directory; must not block. Whether the message waits to be sent.
    pub outlet: Box<dyn FnMut(&PeerMessage) -> bool + Send>,
    /// How checkpoints get to it otherwise than over links.
    pub passage: Option<Passage>,
    /// Whether it takes this run's sessions, or gives its own to this run.
    pub is_successor: bool,
}

impl Desk {
    /// Another run is beside this one from now on.
    pub(super) fn accompany(&mut self, now: u64, companion: Companion) {
        let (node, is_successor, passage) = (companion.node, companion.is_successor, companion.passage.clone());
        self.companion = Some(companion);
        self.directory.handle_companion(now, Some(node));
        self.note_nodes();
        self.tell_beside(match is_successor {
            true => Beside::Successor { node, passage },
            false => Beside::Predecessor(node),
        });
    }

    /// What its tickets must say.
    pub(super) fn note_companion_era(&mut self, era: u32) {
        if let Some(companion) = &mut self.companion
            && companion.contacts.era != era
        {
            companion.contacts.era = era;
            self.note_nodes();
        }
    }

    /// It has given everything, and is about to end.
    pub(super) fn spare(&mut self, node: Node) {
        if self.is_beside(node) {
            self.tell_beside(Beside::Spared(node));
        }
    }

    /// It is over, or is about to end as it should. A run that had begun to give everything away goes on as it was.
    pub(super) fn part(&mut self, now: u64, node: Node, is_over: bool) {
        let Some(companion) = self.companion.take_if(|companion| companion.node == node) else { return };
        // Sessions that it led are waited for: whoever follows them here is about to lead them.
        self.directory.handle_companion(now, None);
        self.note_nodes();
        self.tell_beside(if is_over { Beside::Over(node) } else { Beside::Leaves(node) });
        self.over = is_over.then_some(node).or(self.over);
        if companion.is_successor && self.draining {
            self.draining = false;
            std::mem::take(&mut self.closed).into_iter().for_each(|worker| self.directory.handle_worker(worker));
        }
    }

    /// All workers are told; one that has too much to do is told a second later.
    fn tell_beside(&mut self, what: Beside) {
        self.beside.extend(self.workers.keys().map(|worker| (*worker, what.clone())));
        self.inform();
    }

    /// Tells workers of the other run what they had no room for before.
    pub(super) fn inform_beside(&mut self) {
        for (worker, what) in std::mem::take(&mut self.beside) {
            if self.send(worker, Command::Beside(what.clone())).is_err() {
                self.beside.push((worker, what));
            }
        }
    }

    /// A checkpoint has come. A worker that has too much to do misses it, and is sent another over its link.
    pub(super) fn passed(&mut self, from: WorkerId, to: WorkerId, body: Bytes) {
        if self.send(to, Command::Passed { from, body }).is_err() {
            tracing::warn!(worker = %to, "a checkpoint was passed to a worker that does not take it");
        }
    }

    /// Whether a run is the one beside this one.
    pub(super) fn is_beside(&self, node: Node) -> bool {
        self.companion.as_ref().is_some_and(|companion| companion.node == node)
    }

    /// The cluster as this node sees it, for the other run.
    pub(super) fn cluster(&self) -> Cluster {
        let Some(view) = &self.view else { return Cluster::default() };
        let mut eras = self.eras.clone();
        let me = self.directory.me();
        eras.insert(me, self.era_of(me));
        Cluster::of(view, &eras)
    }

    /// A door beside the workers: players come to it first, and are sent on; it has no sessions.
    pub(super) fn open_door(&mut self, worker: WorkerId, port: Port) {
        self.workers.insert(worker, WorkerPort { port, last_busy_us: 0, last_read_us: 0, busy_permille: 0 });
        self.uninformed.insert(worker);
        self.inform();
    }

    /// Speaks to other nodes from now on: it is a member itself.
    pub(super) fn enter(&mut self, peers: Outlet) {
        self.connect(peers, false);
    }
}
