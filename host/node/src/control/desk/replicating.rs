//! Replicated sessions: what the directory orders and workers say of them, carried between the two.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringside_core::directory::{Action, NotFollowed, Refusal, Replicas};
use ringside_core::durable::object::Closed;
use ringside_core::ids::{ModuleHash, Node, SessionId, WorkerId};
use ringside_core::leadership::message::Party;
use ringside_core::leadership::record::{ChainHome, Member, Record, Terms, Tier};
use ringside_core::membership::{Seen, State, View};
use ringside_core::routing::tickets::era;
use ringside_sandbox::Module;
use ringside_worker::replication::{Contacts, Follow, Nodes};
use ringside_worker::{Command, Create, Event};
use tokio::net::TcpStream;

use super::{Desk, Message, PeerMessage};
use crate::chains::NotBegun;
use crate::cluster::wire::{Probe, Step};
use crate::limits::FORMER_MODULES;

/// Nodes that try somebody for a worker of this one.
const HELPERS: usize = 2;
/// How long a machine may take to refuse a connection: what comes later helps nobody who is about to promote.
const KNOCK: Duration = Duration::from_millis(300);

/// Whether nobody is at the front door of a process, as its machine says.
async fn has_ended(door: SocketAddr) -> bool {
    let answer = tokio::time::timeout(KNOCK, TcpStream::connect(door)).await;
    matches!(answer, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

impl Desk {
    /// Does what the directory decided about a replicated session.
    pub(super) fn replicate(&mut self, now: u64, action: Action) {
        match action {
            Action::Follow { terms, module, leader, worker } => self.follow(now, terms, module, leader, worker),
            Action::Unfollow { session, worker } => {
                let (unfollowed, id) = (self.unfollowed.clone(), session.clone());
                let reply = Box::new(move |is_over| {
                    let _ = unfollowed.send((id, is_over));
                });
                // One that has too much to do is told again.
                let _ = self.send(worker, Command::Unfollow { session, reply });
            }
            Action::Recruit { session, worker, member } => {
                // Said again as long as the follower does not count.
                let _ = self.send(worker, Command::Recruit { session, member });
            }
            Action::NewHome { session, worker } => self.tell_new_home(worker, session),
            Action::FromHome { session, worker, message } => {
                // Leadership repeats what is not answered.
                let _ = self.send(worker, Command::FromHome { session, message });
            }
            _ => {}
        }
    }

    /// Tells the directory what a worker says of a replicated session.
    pub(super) fn handle_replication(&mut self, now: u64, worker: WorkerId, event: Event) {
        match event {
            Event::ToHome { session, message } => self.directory.handle_to_home(now, session, worker, *message),
            Event::Promoted(promoted) => {
                let session = &promoted.session;
                self.departed.retain(|(departed, _)| departed != session);
                self.directory.handle_promoted(now, session, worker, &promoted.record, &promoted.players);
                self.note_opened(session);
            }
            Event::Deposed { session, by } => {
                self.note_closed(&session, Closed::LedElsewhere);
                self.note_departed(&session, by.leader.node);
                self.directory.handle_deposed(now, &session, &by);
            }
            Event::Probe { session, party } => self.probe(worker, session, party),
            Event::Record { session, record } => self.directory.handle_record(now, &session, &record),
            _ => {}
        }
    }

    fn follow(&mut self, now: u64, terms: Terms, module: ModuleHash, leader: Member, worker: WorkerId) {
        let session = terms.session.clone();
        let follow = self.module(&session, module).map(|module| Follow { module, terms, leader });
        let is_told = follow.is_some_and(|follow| self.send(worker, Command::Follow(Box::new(follow))).is_ok());
        let result = if is_told { Ok(()) } else { Err(NotFollowed::NotYet) };
        self.directory.handle_followed(now, &session, result);
    }

    /// The module of a session, if this node has it: that of the version which is served, or of one that was lately.
    fn module(&self, session: &SessionId, hash: ModuleHash) -> Option<Module> {
        let served = self.games.get(&session.game).map(|served| &served.module);
        served.into_iter().chain(&self.former).find(|module| module.hash() == hash).cloned()
    }

    /// A version is served no more; sessions of it may be followed all the same.
    pub(super) fn keep_former(&mut self, module: Module) {
        self.former.push_back(module);
        if self.former.len() > FORMER_MODULES {
            self.former.pop_front();
        }
    }

    fn tell_new_home(&mut self, worker: WorkerId, session: SessionId) {
        if self.send(worker, Command::NewHome { session: session.clone() }).is_err() {
            self.new_homes.insert((worker, session));
        }
    }

    /// Where workers are reached may have changed: all of this node are told.
    pub(super) fn note_nodes(&mut self) {
        let Some(view) = &self.view else { return };
        let contacts = |seen: &Seen| Contacts {
            peers: seen.contact.peers.clone(),
            workers: seen.contact.workers.clone(),
            certificate: seen.contact.certificate,
            era: self.era_of(seen.node),
        };
        let mut nodes: BTreeMap<Node, Contacts> = view.nodes().map(|seen| (seen.node, contacts(seen))).collect();
        nodes.extend(self.companion.iter().map(|companion| (companion.node, companion.contacts.clone())));
        if *self.nodes != nodes {
            self.nodes = Arc::new(nodes);
            self.uninformed = self.workers.keys().copied().collect();
            self.inform();
        }
    }

    pub(super) fn era_of(&self, node: Node) -> u32 {
        match node == self.directory.me() {
            true => era(self.identity.started.elapsed().as_micros() as u64),
            false => self.eras.get(&node).copied().unwrap_or_default(),
        }
    }

    /// Tells workers what they had no room for before.
    pub(super) fn inform(&mut self) {
        for worker in std::mem::take(&mut self.uninformed) {
            let nodes: Nodes = Arc::clone(&self.nodes);
            if self.send(worker, Command::Nodes(nodes)).is_err() {
                self.uninformed.insert(worker);
            }
        }
        self.inform_beside();
        for (worker, session) in std::mem::take(&mut self.new_homes) {
            self.tell_new_home(worker, session);
        }
    }

    /// Tells the directory which sessions are followed no more.
    pub(super) fn hear_unfollowed(&mut self, now: u64) {
        while let Ok((session, is_over)) = self.unfollowings.try_recv() {
            self.directory.handle_unfollowed(now, &session, is_over);
        }
    }

    /// Has two other nodes try to reach somebody of whom a worker does not hear.
    fn probe(&mut self, worker: WorkerId, session: SessionId, party: Party) {
        let me = self.directory.me();
        let target = match party {
            Party::Member(member) => Some(member.node),
            Party::Home => self.directory.home_of(&session),
        };
        let (Some(target), Some(view)) = (target, self.view.clone()) else { return };
        if target == me {
            // Only the home can be here: nobody follows what another worker of this node leads.
            let _ = self.send(worker, Command::Reached { session, party });
            return;
        }
        self.knock(&view, target);
        let others = view.nodes().filter(|seen| seen.node != me && seen.node != target && seen.state == State::Active);
        let mut helpers: Vec<Node> = others.map(|seen| seen.node).collect();
        for _ in 0..HELPERS.min(helpers.len()) {
            let helper = helpers.swap_remove(crate::random::u64() as usize % helpers.len());
            let probe = Probe { prober: me, worker, session: session.clone(), party, target };
            self.tell(helper, PeerMessage::Probe { step: Step::Ask, probe: Box::new(probe) });
        }
    }

    /// Looks whether the process of a node that is not heard of has ended.
    fn knock(&mut self, view: &View, node: Node) {
        let seen = view.nodes().find(|seen| seen.node == node);
        if let Some((seen, later)) = seen.zip(self.later.clone())
            && self.knocking.insert(node)
        {
            let door = seen.contact.door;
            tokio::spawn(async move { later.say_surely(Message::Knocked(node, has_ended(door).await)).await });
        }
    }

    /// It was looked. Nobody is at the door of a process that has ended, on a machine that is there.
    pub(super) fn knocked(&mut self, node: Node, has_ended: bool) {
        self.knocking.remove(&node);
        if has_ended {
            let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
            // One that takes no commands hears it at the next probe.
            workers.into_iter().for_each(|worker| drop(self.send(worker, Command::Died(node))));
        }
    }

    /// Another node wants to know whether somebody is here: a worker answers itself.
    pub(super) fn tried(&mut self, helper: Node, probe: Box<Probe>) {
        let Party::Member(member) = probe.party else { return self.there(helper, probe) };
        let Some(later) = self.later.clone().filter(|_| member.node == self.directory.me()) else { return };
        let reply = Box::new(move |()| later.say(Message::There(helper, probe)));
        // One that takes no commands takes no turns either, as far as anybody can tell.
        let _ = self.send(member.worker, Command::Ping { reply });
    }

    /// Somebody is here.
    pub(super) fn there(&mut self, helper: Node, probe: Box<Probe>) {
        self.tell(helper, PeerMessage::Probe { step: Step::There, probe });
    }

    /// Another node has reached somebody.
    pub(super) fn reached(&mut self, probe: Probe) {
        let Probe { worker, session, party, .. } = probe;
        let _ = self.send(worker, Command::Reached { session, party });
    }

    /// Has a worker create a session; one whose records are in the store when its chain is begun.
    pub(super) fn create(&mut self, now: u64, worker: WorkerId, create: Create) {
        // Before anything of it: who reads the log knows what it was begun with.
        self.note_opened(&create.session);
        let chain = self.chains.clone().filter(|_| has_chain(&create)).zip(self.later.clone());
        let Some((chains, later)) = chain else { return self.create_on(now, worker, create) };
        let leader = Member { node: self.directory.me(), worker };
        let first = Record::first(create.session.clone(), leader);
        let durable = create.module.description().tier == Tier::Durable;
        let runtime = chains.runtime().clone();
        chains.begin(first, durable, move |begun| {
            runtime.spawn(async move { later.say_surely(Message::Begun(worker, Box::new(create), begun)).await });
        });
    }

    /// The chain of a session is begun, or not.
    pub(super) fn begun(&mut self, now: u64, worker: WorkerId, create: Create, begun: Result<(), NotBegun>) {
        let session = create.session.clone();
        match begun {
            // It took too long, and nobody waits for it any more: its key is free again.
            Ok(()) if !self.directory.leads(&session) => self.end_begun(&session),
            Ok(()) => self.create_on(now, worker, create),
            Err(NotBegun::Failed(why)) => {
                self.note_not_begun(&session);
                self.directory.handle_created(now, &session, worker, Err(why));
            }
            Err(NotBegun::Unsaid(why)) => {
                self.end_begun(&session);
                self.directory.handle_created(now, &session, worker, Err(why));
            }
            Err(NotBegun::Away(why)) => {
                tracing::debug!(%session, why, "a session is created later");
                self.directory.handle_not_created(now, &session, &Refusal::TimedOut);
            }
            Err(NotBegun::Open(other)) => {
                tracing::debug!(%session, %other, "another session of the key is not over");
                self.note_not_begun(&session);
                self.directory.handle_not_created(now, &session, &Refusal::TimedOut);
            }
        }
    }

    fn create_on(&mut self, now: u64, worker: WorkerId, create: Create) {
        let session = create.session.clone();
        if self.send(worker, Command::Create(Box::new(create))).is_err() {
            self.end_begun(&session);
            self.directory.handle_created(now, &session, worker, Err("the worker has too much to do".to_owned()));
        }
    }

    /// A session that was to be created is not, and its chain, if it has one, was begun by this node: that is over.
    fn end_begun(&mut self, session: &SessionId) {
        self.note_not_begun(session);
        if let Some(chains) = self.chains.as_ref().filter(|_| !self.directory.is_live(session)) {
            chains.end(session.clone(), Some(self.directory.me()));
        }
    }

    /// A session that was to be created is not.
    fn note_not_begun(&mut self, session: &SessionId) {
        // One that runs was ordered twice.
        if let Some(log) = self.log.as_ref().filter(|_| !self.directory.is_live(session)) {
            log.closed(session.clone(), Closed::Ended);
        }
    }
}

/// Whether a session's leadership records are in the store.
fn has_chain(create: &Create) -> bool {
    let description = create.module.description();
    let replicas =
        Replicas { tier: description.tier, policy: description.partition_policy, followers: create.followers };
    let is_kept = create.followers > 0 || description.tier == Tier::Durable;
    is_kept && replicas.terms(create.session.clone(), create.record).home() == ChainHome::Store
}
