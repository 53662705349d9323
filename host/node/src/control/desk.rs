//! The control task's state: the directory, the workers' ports, and who waits for which answer. Synchronous.

mod answering;
mod beside;
mod idling;
mod moving;
mod recovering;
mod replicating;
mod showing;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use ringside_core::directory::{self, Action, Directory, Ending, Limits, RequestId, SessionEntry};
use ringside_core::durable::object::Closed;
use ringside_core::ids::{GameName, Node, NodeId, SessionId, WorkerId};
use ringside_core::membership::{Seen, State, View};
use ringside_protocol::frame::Certificate;
use ringside_sandbox::Module;
use ringside_worker::command::Beside;
use ringside_worker::replication::Nodes;
use ringside_worker::{Command, Count, Create, Event, MovedSession};

use super::port::Port;
use super::{ControlError, Later, Message, Resolve, SessionName};
use crate::catalogue::Served;
use crate::chains::Chains;
use crate::cluster::versions;
use crate::cluster::wire::Message as PeerMessage;
use crate::durable::NodeLog;
pub(super) use answering::Asker;
use answering::Waiting;
pub use beside::Companion;

/// Who this node is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its number.
    pub node: u64,
    /// Its start, ms since 1970.
    pub generation: u64,
    /// When that was: the eras of its tickets count from then.
    pub started: Instant,
    /// What players expect of its workers.
    pub certificate: Certificate,
}

/// The way to other nodes; must not block. Answers whether the message waits to be sent.
pub type Outlet = Box<dyn FnMut(&Seen, PeerMessage) -> bool + Send>;

/// What a worker's sessions have come to.
type Counts = Vec<Count>;

/// A session, and the worker that does not have it.
type Absence = (SessionId, WorkerId);

struct WorkerPort {
    port: Port,
    last_busy_us: u64,
    last_read_us: u64,
    busy_permille: u64,
}

/// The control task's state.
pub struct Desk {
    directory: Directory,
    games: BTreeMap<GameName, Served>,
    workers: BTreeMap<WorkerId, WorkerPort>,
    waiting: HashMap<RequestId, Waiting>,
    /// How many of those are signals.
    signals_waiting: usize,
    /// How many of them are clients' who have opened nothing.
    resolves_waiting: usize,
    signals_dropped: u64,
    next_request: RequestId,
    identity: Identity,
    record_all: bool,
    draining: bool,
    /// Sessions that went to other nodes last, and to which.
    departed: VecDeque<(SessionId, Node)>,
    /// Workers that took new sessions until then.
    closed: Vec<WorkerId>,
    /// Whether it does not know the cluster yet that it is to join.
    joining: bool,
    peers: Option<Outlet>,
    view: Option<Arc<View>>,
    /// The eras of other nodes' tickets, as last heard.
    eras: BTreeMap<Node, u32>,
    load_us: Arc<AtomicU64>,
    /// Sessions that no worker's queue had room for, and the workers that they came from.
    homeless: Vec<(WorkerId, Box<MovedSession>)>,
    /// Workers answer here that they do not have a session that they were told to end.
    absences: Receiver<Absence>,
    absent: Sender<Absence>,
    /// Workers answer here what their sessions have come to.
    counts: Receiver<Counts>,
    counted: Sender<Counts>,
    /// Workers answer here whether they follow a session no more.
    unfollowings: Receiver<(SessionId, bool)>,
    unfollowed: Sender<(SessionId, bool)>,
    /// Modules that were served until lately, the newest last.
    former: VecDeque<Module>,
    /// Nodes of which it is being looked whether their processes have ended: no more than there are.
    knocking: BTreeSet<Node>,
    /// Where all nodes are reached, and which workers do not know yet.
    nodes: Nodes,
    uninformed: BTreeSet<WorkerId>,
    /// Sessions with another home whose workers had no room to be told.
    new_homes: BTreeSet<(WorkerId, SessionId)>,
    /// The way back to this task, for answers that come later.
    later: Option<Later>,
    /// Where sessions' leadership records are kept.
    chains: Option<Chains>,
    /// The log of what this run leads.
    log: Option<NodeLog>,
    /// Whether the sessions of this node's earlier runs are not here again yet: nobody is let in.
    recovering: bool,
    /// What it does about idle sessions, how many it has evicted, and how many went on here.
    idling: Option<idling::Idling>,
    evictions: u64,
    activations: u64,
    most_sessions: usize,
    /// Another run of this node, and which workers do not know yet what is so of it.
    companion: Option<Companion>,
    beside: Vec<(WorkerId, Beside)>,
    /// The last of those that is known to have ended.
    over: Option<Node>,
}

impl Desk {
    /// A desk with these workers and no games. `record_all` records every session.
    pub fn new(identity: Identity, limits: Limits, record_all: bool, ports: BTreeMap<WorkerId, Port>) -> Desk {
        let node = Node { id: NodeId(identity.node), generation: identity.generation };
        let mut directory = Directory::new(node, limits);
        for (worker, port) in &ports {
            if !port.penalty {
                directory.handle_worker(*worker);
            }
        }
        let port = |port| WorkerPort { port, last_busy_us: 0, last_read_us: 0, busy_permille: 0 };
        let workers = ports.into_iter().map(|(id, each)| (id, port(each))).collect();
        let (absent, absences) = channel();
        let (counted, counts) = channel();
        let (unfollowed, unfollowings) = channel();
        Desk {
            directory,
            games: BTreeMap::new(),
            workers,
            waiting: HashMap::new(),
            signals_waiting: 0,
            resolves_waiting: 0,
            signals_dropped: 0,
            next_request: 0,
            identity,
            record_all,
            draining: false,
            departed: VecDeque::new(),
            closed: Vec::new(),
            joining: false,
            peers: None,
            view: None,
            eras: BTreeMap::new(),
            load_us: Arc::default(),
            homeless: Vec::new(),
            absences,
            absent,
            counts,
            counted,
            unfollowings,
            unfollowed,
            former: VecDeque::new(),
            nodes: Nodes::default(),
            uninformed: BTreeSet::new(),
            new_homes: BTreeSet::new(),
            later: None,
            knocking: BTreeSet::new(),
            chains: None,
            log: None,
            recovering: false,
            idling: None,
            evictions: 0,
            activations: 0,
            most_sessions: limits.sessions,
            companion: None,
            over: None,
            beside: Vec::new(),
        }
    }

    /// New sessions of a game run this version from now on, unless a newer one is served already.
    pub fn serve(&mut self, served: Served) {
        if served.replaces(self.games.get(&served.game)) {
            self.directory.handle_game(served.game.clone(), served.facts());
            if served.may_sleep {
                self.directory.handle_sleepers(served.game.clone());
            }
            if let Some(former) = self.games.insert(served.game.clone(), served) {
                self.keep_former(former.module);
            }
        }
    }

    /// Has it speak to other nodes. One that `joins` others takes nobody in before it sees itself among them: alone it
    /// would begin sessions that they have already.
    pub fn connect(&mut self, peers: Outlet, joins: bool) {
        (self.peers, self.joining) = (Some(peers), joins);
        self.directory.handle_lacks_games(joins);
    }

    /// How answers that come later reach it.
    pub fn reach_itself(&mut self, later: Later) {
        self.later = Some(later);
    }

    /// Has it begin sessions' chains of leadership records, where they are in the store.
    pub fn keep_chains(&mut self, chains: Chains) {
        self.chains = Some(chains);
    }

    /// Has it note what this run leads. Nobody is let in before its earlier runs' sessions are here again.
    pub fn keep_log(&mut self, log: NodeLog) {
        (self.log, self.recovering) = (Some(log), true);
    }

    /// Those are here, or there were none: who comes is let in.
    pub fn recovered(&mut self) {
        self.recovering = false;
    }

    /// Where it is to say what its workers use, CPU µs a second.
    pub fn report_to(&mut self, load_us: Arc<AtomicU64>) {
        self.load_us = load_us;
    }

    /// Takes a message; `now` in µs.
    pub fn handle(&mut self, now: u64, message: Message) {
        match message {
            Message::Event(worker, event) => self.handle_event(now, worker, event),
            Message::Game(served) => self.serve(served),
            Message::GamesKnown => self.directory.handle_lacks_games(false),
            Message::Create(_, reply) if self.joining || self.recovering => {
                let _ = reply.send(Err(ControlError::Joining));
            }
            Message::Create(create, reply) => {
                let request = self.request(Waiting::Admin(reply));
                let record = create.record || self.record_all;
                self.directory.handle_create(now, request, directory::Create { record, ..*create });
            }
            Message::Show(name, reply) => self.show(now, &name, reply),
            Message::Flush(name, reply) => self.flush(&name, reply),
            Message::End(name, reason, reply) => self.end(now, &name, reason, reply),
            Message::Move(name, to, motive, reply) => self.move_session(now, &name, (to, motive), reply),
            Message::Wave(at_most, reply) => self.wave(now, at_most, reply),
            Message::Given(session, is_there) => self.directory.handle_given(now, &session, is_there),
            Message::Elsewhere(name, tried, reply) => self.elsewhere(&name, &tried, reply),
            Message::Sessions(reply) => {
                let _ = reply.send(Ok(self.live(now)));
            }
            Message::Ended(reply) => {
                let _ = reply.send(Ok(self.over(now)));
            }
            Message::Status(reply) => {
                let _ = reply.send(Ok(self.status(now)));
            }
            Message::Entries(reply) => {
                let _ = reply.send(Ok(self.entries(now)));
            }
            Message::Explain(name, reply) => self.explain(&name, reply),
            Message::Resolve(resolve, reply) => self.resolve_in_advance(now, *resolve, reply),
            Message::EndAll(reason) => self.end_all(&reason),
            Message::View(view) => self.handle_view(now, view),
            Message::Loads(loads) => self.directory.handle_loads(now, loads),
            Message::Eras(eras) => {
                self.eras = eras;
                self.note_nodes();
            }
            Message::Certified(certificate) => self.identity.certificate = certificate,
            Message::Directory(from, message) => self.directory.handle_message(now, from, *message),
            Message::Signal { game, key, source, body } => self.take_signal(game, key, source, body),
            Message::Begun(worker, create, begun) => self.begun(now, worker, *create, begun),
            Message::Presence(runs, reply) => {
                let _ = reply.send(Ok(self.presence(&runs)));
            }
            Message::Recover(recovering, reply) => self.recover(now, *recovering, reply),
            Message::Restore(worker, restore, reply) => self.restore(worker, restore, reply),
            Message::NotRecovered(session) => self.not_recovered(now, &session),
            Message::Recovered => self.recovered(),
            Message::Evict(name, reply) => self.evict(&name, reply),
            Message::Rested { worker, session, epoch, position } => self.rested(worker, session, epoch, position),
            Message::Anew(worker, create) => self.create(now, worker, *create),
            Message::NotAsleep(birth) => self.not_asleep(now, &birth),
            Message::Activate(birth, charter, reply) => self.activate(now, &birth, *charter, reply),
            Message::NotActivated { birth, session, why } => self.not_activated(now, &birth, &session, why),
            Message::NotReadable { birth, why } => self.not_readable(now, &birth, why),
            Message::Open(game, key, reply) => self.open(now, game, key, reply),
            Message::Shards(reply) => _ = reply.send(Ok(self.shards())),
            Message::Lost(session, reason) => self.directory.handle_lost(now, session, reason),
            Message::Looked(unfound, is_open) => self.looked(*unfound, is_open),
            Message::Try(helper, probe) => self.tried(helper, probe),
            Message::There(helper, probe) => self.there(helper, probe),
            Message::Reached(probe) => self.reached(*probe),
            Message::Knocked(node, has_ended) => self.knocked(node, has_ended),
            Message::Drain => self.drain(),
            Message::Companion(companion) => self.accompany(now, *companion),
            Message::CompanionEra(era) => self.note_companion_era(era),
            Message::Passed { from, to, body } => self.passed(from, to, body),
            Message::Spare(node) => self.spare(node),
            Message::Parted { node, is_over } => self.part(now, node, is_over),
            Message::Cluster(reply) => _ = reply.send(Ok(self.cluster())),
            Message::Door(worker, port) => self.open_door(worker, port),
            Message::Enter(peers) => self.enter(peers),
        }
        self.act(now);
    }

    /// When [`Desk::handle_timeout`] wants to be called, µs.
    pub fn next_timeout(&self) -> Option<u64> {
        self.directory.next_timeout()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Ok((session, worker)) = self.absences.try_recv() {
            self.directory.handle_absent(&session, worker);
        }
        self.hear_unfollowed(now);
        self.directory.handle_timeout(now);
        self.act(now);
    }

    /// Reads what the workers have used and tells the directory; offers sessions again that found no room.
    pub fn read_loads(&mut self, now: u64) {
        for (from, moved) in std::mem::take(&mut self.homeless) {
            self.punish(now, from, moved);
        }
        self.inform();
        self.act(now);
        let mut load_us = 0_u64;
        for (id, worker) in &mut self.workers {
            let busy_us = (worker.port.usage)().busy_us;
            let elapsed = now.saturating_sub(worker.last_read_us).max(1);
            let used = busy_us.saturating_sub(worker.last_busy_us);
            let per_second = u128::from(used) * 1_000_000 / u128::from(elapsed);
            let per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
            (worker.last_busy_us, worker.last_read_us) = (busy_us, now);
            worker.busy_permille = per_second / 1000;
            load_us = load_us.saturating_add(per_second);
            self.directory.handle_load(*id, per_second);
        }
        self.load_us.store(load_us, Ordering::Relaxed);
        self.count(now);
        self.say_idleness();
    }

    /// Tells the directory what the sessions had come to a second ago, and asks anew: what counts where two sessions of a
    /// key are settled, and where some go to other nodes, and so nowhere but among several.
    fn count(&mut self, now: u64) {
        while let Ok(counts) = self.counts.try_recv() {
            for Count { session, inputs, call_us } in counts {
                self.directory.handle_inputs(&session, inputs);
                self.directory.handle_calls(now, &session, call_us);
            }
        }
        if self.view.as_ref().is_none_or(|view| view.nodes().count() < 2) {
            return;
        }
        for worker in self.workers.values_mut() {
            let counted = self.counted.clone();
            let reply = Box::new(move |counts| {
                let _ = counted.send(counts);
            });
            // One that has too much to do is asked again a second later.
            let _ = (worker.port.send)(Command::Counts { reply });
        }
    }

    fn handle_event(&mut self, now: u64, worker: WorkerId, event: Event) {
        match event {
            Event::Created { session, result } => {
                if result.is_err() {
                    self.note_closed(&session, Closed::Ended);
                }
                self.directory.handle_created(now, &session, worker, result);
            }
            Event::Resolve { request, player, target, may_create, resumes } => {
                let asker = Asker::Worker(worker, request);
                self.resolve(now, asker, resumes, Resolve { player, target, may_create });
            }
            Event::Joined { session, player } => self.directory.handle_joined(now, &session, &player),
            Event::Left { session, player } => self.directory.handle_left(now, &session, &player),
            Event::Refused { session, player } => self.directory.handle_refused(now, &session, &player),
            Event::Ended { session, reason, .. } => {
                self.note_closed(&session, Closed::Ended);
                self.note_over(&session);
                self.directory.handle_ended(now, &session, reason);
            }
            Event::NotRestored { session, why } => {
                tracing::error!(%session, why, "a session cannot go on from the store");
                self.not_recovered(now, &session);
                self.directory.handle_created(now, &session, worker, Err(why.clone()));
                if let Some(chains) = &self.chains {
                    chains.end(session.clone(), Some(self.directory.me()));
                }
                self.directory.handle_lost(now, session, format!("it was in the store and cannot go on: {why}"));
            }
            Event::Idle { session } => self.idles(worker, session),
            Event::Resting(resting) => self.rest(worker, resting),
            Event::Evicted { session, record, due } => self.evicted(now, &session, record, due),
            Event::Overran(moved) => self.punish(now, worker, moved),
            Event::Signal { source, to, body } => self.signal(now, source, &to, body),
            Event::ToHome { .. }
            | Event::Promoted(_)
            | Event::Deposed { .. }
            | Event::Record { .. }
            | Event::Probe { .. } => {
                self.handle_replication(now, worker, event);
            }
            // The forwarding thread keeps these for the recorder and the log.
            Event::Recorded { .. }
            | Event::Records(_)
            | Event::Kept(_)
            | Event::Flushed(_)
            | Event::Relay(_)
            | Event::Relayed { .. }
            | Event::Peer { .. }
            | Event::Chain { .. }
            | Event::Log(_)
            | Event::GuestLog { .. }
            | Event::GuestEvent { .. }
            | Event::GuestFault { .. } => {}
        }
    }

    /// Moves a session that overran its budget to the penalty worker; where that one takes nothing, it goes back.
    fn punish(&mut self, now: u64, from: WorkerId, moved: Box<MovedSession>) {
        let session = moved.id().clone();
        let penalty = self.workers.iter().find(|(_, worker)| worker.port.penalty).map(|(id, _)| *id);
        let mut command = Box::new(Command::Adopt(moved));
        for worker in penalty.into_iter().chain([from]) {
            match self.send(worker, *command) {
                Ok(()) => {
                    self.directory.handle_moved(now, &session, worker);
                    if let Some(place) = self.place_here(session, worker) {
                        // Should it not get through, the players ask a front door when their time is over.
                        let _ = self.send(from, Command::Departed(place));
                    }
                    return;
                }
                Err(back) => command = back,
            }
        }
        let Command::Adopt(moved) = *command else { return };
        tracing::error!(%session, "no worker has room for it at the moment: it is offered again");
        self.homeless.push((from, moved));
    }

    /// The cluster is another one.
    fn handle_view(&mut self, now: u64, view: Arc<View>) {
        let own = view.node(NodeId(self.identity.node)).map(|seen| seen.state);
        self.joining &= own == Some(State::Joining);
        // Before the directory: whoever comes to follow is sent what it reads.
        if versions::go_by(&view, NodeId(self.identity.node)) {
            self.log.iter().for_each(NodeLog::rewrite);
        }
        self.directory.handle_view(now, &view);
        self.view = Some(view);
        self.note_nodes();
    }

    /// Speaks to a run of another node; whoever is not there hears nothing.
    fn tell(&mut self, to: Node, message: PeerMessage) {
        if let Some(companion) = self.companion.as_mut().filter(|companion| companion.node == to) {
            let _ = (companion.outlet)(&message);
            return;
        }
        let seen = self.view.as_ref().and_then(|view| view.node(to.id)).filter(|seen| seen.node == to);
        if let (Some(peers), Some(seen)) = (&mut self.peers, seen) {
            // A message that finds no room is lost, as any may be: the directories repeat what is not answered.
            let _ = peers(seen, message);
        }
    }

    /// Does what the directory decided.
    fn act(&mut self, now: u64) {
        while let Some(action) = self.directory.poll_action() {
            match action {
                Action::Create { session, worker, epoch, config, record, followers, origin } => {
                    let Some(module) = self.games.get(&session.game).map(|served| served.module.clone()) else {
                        let gone = Err("the game is not served any more".to_owned());
                        self.directory.handle_created(now, &session, worker, gone);
                        continue;
                    };
                    let seed = crate::random::bytes();
                    let create = Create { session, module, config, seed, epoch, record, followers };
                    self.look_first(now, worker, create, origin);
                }
                Action::End { session, worker, why } => {
                    let (id, absent, gone) = (session.clone(), self.absent.clone(), (session.clone(), worker));
                    let reply = Box::new(move |was_there: bool| {
                        if !was_there {
                            let _ = absent.send(gone);
                        }
                    });
                    let (if_empty, reason) = (why == Ending::Empty, why.to_string());
                    if self.send(worker, Command::End { session, if_empty, reason, reply }).is_err() {
                        tracing::warn!(session = %id, %worker, "the worker is too busy to end a session: it is told again");
                    }
                }
                Action::Answer { request, answer } => self.answer(request, answer),
                Action::Send { to, message } => self.tell(to, PeerMessage::Directory { to, message }),
                Action::Follow { .. }
                | Action::Unfollow { .. }
                | Action::Recruit { .. }
                | Action::NewHome { .. }
                | Action::FromHome { .. } => self.replicate(now, action),
            }
        }
    }

    fn find(&self, name: &SessionName) -> Option<SessionEntry<'_>> {
        self.directory.get(&name.game, &name.key).filter(|entry| name.is(entry.id))
    }

    fn request(&mut self, waiting: Waiting) -> RequestId {
        self.next_request += 1;
        self.waiting.insert(self.next_request, waiting);
        self.next_request
    }

    /// Tells a worker; gives the command back where it takes none.
    fn send(&mut self, worker: WorkerId, command: Command) -> Result<(), Box<Command>> {
        match self.workers.get_mut(&worker) {
            Some(worker) => (worker.port.send)(command),
            None => Err(Box::new(command)),
        }
    }
}
