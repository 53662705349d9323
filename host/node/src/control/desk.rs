//! The control task's state: the directory, the workers' ports, and who waits for which answer. Synchronous.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use ringside_core::directory::{
    Action, Create, Directory, Draw, Find, Limits, Open, Placed, Refusal, RequestId, SessionEntry,
};
use ringside_core::ids::{Epoch, GameName, SessionId, WorkerId};
use ringside_protocol::frame::Target;
use ringside_protocol::reason::Reason;
use ringside_worker::{Command, Event, MovedSession, Resolved, SessionReport};

use super::port::Port;
use super::{ControlError, Message, Reply, SessionName, Status};
use crate::api::{SessionInfo, WorkerInfo};
use crate::catalogue::Served;

/// Who this node is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its number.
    pub node: u64,
    /// Its start, ms since 1970.
    pub generation: u64,
}

/// Who waits for an answer of the directory.
enum Waiting {
    Admin(Reply<(Placed, SocketAddr)>),
    Worker(WorkerId, u64),
}

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
    next_request: RequestId,
    identity: Identity,
    record_all: bool,
    draining: bool,
    /// Sessions that no worker's queue had room for, and the workers that they came from.
    homeless: Vec<(WorkerId, Box<MovedSession>)>,
    /// Workers answer here that they do not have a session that they were told to end.
    absences: Receiver<Absence>,
    absent: Sender<Absence>,
}

impl Desk {
    /// A desk with these workers and no games. `record_all` records every session.
    pub fn new(identity: Identity, limits: Limits, record_all: bool, ports: BTreeMap<WorkerId, Port>) -> Desk {
        let mut directory = Directory::new(limits);
        for (worker, port) in &ports {
            if !port.penalty {
                directory.handle_worker(*worker);
            }
        }
        let port = |port| WorkerPort { port, last_busy_us: 0, last_read_us: 0, busy_permille: 0 };
        let workers = ports.into_iter().map(|(id, each)| (id, port(each))).collect();
        let (absent, absences) = channel();
        Desk {
            directory,
            games: BTreeMap::new(),
            workers,
            waiting: HashMap::new(),
            next_request: 0,
            identity,
            record_all,
            draining: false,
            homeless: Vec::new(),
            absences,
            absent,
        }
    }

    /// New sessions of a game run this version from now on, unless a newer one is served already.
    pub fn serve(&mut self, served: Served) {
        if served.replaces(self.games.get(&served.game)) {
            self.directory.handle_game(served.game.clone(), served.facts());
            self.games.insert(served.game.clone(), served);
        }
    }

    /// Takes a message; `now` in µs.
    pub fn handle(&mut self, now: u64, message: Message) {
        match message {
            Message::Event(worker, event) => self.handle_event(now, worker, event),
            Message::Game(served) => self.serve(served),
            Message::Create(create, reply) => {
                let request = self.request(Waiting::Admin(reply));
                let record = create.record || self.record_all;
                self.directory.handle_create(now, request, Create { record, ..*create });
            }
            Message::Show(name, reply) => self.show(now, &name, reply),
            Message::Flush(name, reply) => self.flush(&name, reply),
            Message::End(name, reason, reply) => self.end(now, &name, reason, reply),
            Message::Sessions(reply) => {
                let sessions = self.directory.sessions().map(|entry| live(now, entry)).collect();
                let _ = reply.send(Ok(sessions));
            }
            Message::Ended(reply) => {
                let _ = reply.send(Ok(self.directory.ended().map(|ended| over(now, ended)).collect()));
            }
            Message::Status(reply) => {
                let _ = reply.send(Ok(self.status()));
            }
            Message::Drain => self.drain(),
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
        self.directory.handle_timeout(now);
        self.act(now);
    }

    /// Reads what the workers have used and tells the directory; offers sessions again that found no room.
    pub fn read_loads(&mut self, now: u64) {
        for (from, moved) in std::mem::take(&mut self.homeless) {
            self.punish(now, from, moved);
        }
        self.act(now);
        for (id, worker) in &mut self.workers {
            let busy_us = (worker.port.usage)().busy_us;
            let elapsed = now.saturating_sub(worker.last_read_us).max(1);
            let used = busy_us.saturating_sub(worker.last_busy_us);
            let per_second = u128::from(used) * 1_000_000 / u128::from(elapsed);
            let per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
            (worker.last_busy_us, worker.last_read_us) = (busy_us, now);
            worker.busy_permille = per_second / 1000;
            self.directory.handle_load(*id, per_second);
        }
    }

    fn handle_event(&mut self, now: u64, worker: WorkerId, event: Event) {
        match event {
            Event::Created { session, result } => self.directory.handle_created(now, &session, worker, result),
            Event::Resolve { request, player, target, may_create } => {
                let draw = Draw { key: crate::random::u64(), incarnation: crate::random::u64() };
                let record = self.record_all;
                let waiting = self.request(Waiting::Worker(worker, request));
                match target {
                    Target::Session { game, key } => {
                        self.directory.handle_open(now, waiting, Open { game, key, record, may_create, draw });
                    }
                    Target::FindOrCreate { game, criteria } => {
                        let find = Find { game, criteria, player, record, may_create, draw };
                        self.directory.handle_find(now, waiting, find);
                    }
                }
            }
            Event::Joined { session, player } => self.directory.handle_joined(&session, &player),
            Event::Left { session, player } => self.directory.handle_left(now, &session, &player),
            Event::Refused { session, player } => self.directory.handle_refused(now, &session, &player),
            Event::Ended { session, reason, .. } => self.directory.handle_ended(now, &session, reason),
            Event::Overran(moved) => self.punish(now, worker, moved),
            Event::Signal { source, to, body } => self.signal(source, &to, body),
            // The forwarding thread keeps these for the recorder and the log.
            Event::Recorded { .. }
            | Event::Flushed(_)
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
                    let place = self.place(session, worker);
                    if let Some(place) = place {
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

    /// Passes a guest's signal on; one to a session that is not here is dropped.
    fn signal(&mut self, source: String, to: &str, body: bytes::Bytes) {
        let name = to.split_once('/').and_then(|(game, key)| Some((game.parse().ok()?, key.parse().ok()?)));
        let Some((game, key)) = name else { return };
        let Some(worker) = self.directory.get(&game, &key).map(|entry| entry.worker) else { return };
        if self.send(worker, Command::Signal { game, key, source, body }).is_err() {
            tracing::warn!(to, "a signal was dropped: the worker has too much to do");
        }
    }

    fn place(&self, session: SessionId, worker: WorkerId) -> Option<Resolved> {
        Some(Resolved { session, worker, address: self.workers.get(&worker)?.port.address })
    }

    /// Does what the directory decided.
    fn act(&mut self, now: u64) {
        while let Some(action) = self.directory.poll_action() {
            match action {
                Action::Create { session, worker, config, record } => {
                    self.create(now, session, worker, config, record);
                }
                Action::End { session, worker } => {
                    let (id, absent, gone) = (session.clone(), self.absent.clone(), (session.clone(), worker));
                    let reply = Box::new(move |was_there: bool| {
                        if !was_there {
                            let _ = absent.send(gone);
                        }
                    });
                    let reason = "nobody is in it".to_owned();
                    if self.send(worker, Command::End { session, reason, reply }).is_err() {
                        tracing::warn!(session = %id, %worker, "the worker is too busy to end a session: it is told again");
                    }
                }
                Action::Answer { request, answer } => self.answer(request, answer),
            }
        }
    }

    fn create(&mut self, now: u64, session: SessionId, worker: WorkerId, config: bytes::Bytes, record: bool) {
        let Some(module) = self.games.get(&session.game).map(|served| served.module.clone()) else {
            let gone = Err("the game is not served any more".to_owned());
            return self.directory.handle_created(now, &session, worker, gone);
        };
        let Identity { node, generation } = self.identity;
        let epoch = Epoch { number: 1, node, node_generation: generation };
        let seed = crate::random::bytes();
        let create = ringside_worker::Create { session: session.clone(), module, config, seed, epoch, record };
        if self.send(worker, Command::Create(Box::new(create))).is_err() {
            self.directory.handle_created(now, &session, worker, Err("the worker has too much to do".to_owned()));
        }
    }

    fn answer(&mut self, request: RequestId, answer: Result<Placed, Refusal>) {
        let answer = answer.and_then(|placed| {
            let place = self.place(placed.session.clone(), placed.worker).ok_or(Refusal::NoWorker)?;
            Ok((placed, place))
        });
        match self.waiting.remove(&request) {
            Some(Waiting::Admin(reply)) => {
                let answer = answer.map(|(placed, place)| (placed, place.address));
                let _ = reply.send(answer.map_err(ControlError::from));
            }
            // A worker that takes nothing answers its player itself when that one's time is over.
            Some(Waiting::Worker(worker, request)) => {
                let answer = answer.map(|(_, place)| place).map_err(|refusal| refused(&refusal));
                let _ = self.send(worker, Command::Resolved { request, answer });
            }
            None => {}
        }
    }

    fn show(&mut self, now: u64, name: &SessionName, reply: Reply<SessionInfo>) {
        let Some(entry) = self.find(name) else {
            let ended = self.directory.ended().find(|ended| name.is(&ended.id)).map(|ended| over(now, ended));
            let _ = reply.send(ended.ok_or_else(|| ControlError::NoSuchSession(name.to_string())));
            return;
        };
        let (mut info, session, worker) = (live(now, entry), entry.id.clone(), entry.worker);
        // A full queue drops the order and with it the reply: the caller hears that the node is overloaded.
        let answer = Box::new(move |report: Option<Box<SessionReport>>| {
            info.detail = report.map(|report| (*report).into());
            let _ = reply.send(Ok(info));
        });
        let _ = self.send(worker, Command::Show { session, reply: answer });
    }

    /// Has the worker of a live session hand over its recording; that of one that ended was handed over before its
    /// end was heard of. Answers which session it is, where the directory knows.
    fn flush(&mut self, name: &SessionName, reply: Reply<Option<SessionId>>) {
        let Some(entry) = self.find(name) else {
            let ended = self.directory.ended().find(|ended| name.is(&ended.id)).map(|ended| ended.id.clone());
            let _ = reply.send(Ok(ended));
            return;
        };
        let (session, worker) = (entry.id.clone(), entry.worker);
        let id = session.clone();
        let answer = Box::new(move |()| {
            let _ = reply.send(Ok(Some(id)));
        });
        let _ = self.send(worker, Command::Flush { session, reply: answer });
    }

    fn end(&mut self, now: u64, name: &SessionName, reason: String, reply: Reply<SessionInfo>) {
        let Some(entry) = self.find(name) else {
            let _ = reply.send(Err(ControlError::NoSuchSession(name.to_string())));
            return;
        };
        let (mut info, session, worker) = (live(now, entry), entry.id.clone(), entry.worker);
        info.reason = Some(reason.clone());
        let missing = ControlError::NoSuchSession(session.to_string());
        let answer = Box::new(move |was_there: bool| {
            info.state = "ended".to_owned();
            let _ = reply.send(if was_there { Ok(info) } else { Err(missing) });
        });
        let _ = self.send(worker, Command::End { session, reason, reply: answer });
    }

    fn status(&self) -> Status {
        let loads: BTreeMap<WorkerId, _> = self.directory.workers().iter().collect();
        let worker = |(id, worker): (&WorkerId, &WorkerPort)| WorkerInfo {
            worker: id.0,
            address: worker.port.address,
            penalty: worker.port.penalty,
            ticking: loads.get(id).map_or(0, |load| load.ticking),
            prompt: loads.get(id).map_or(0, |load| load.prompt),
            busy_permille: worker.busy_permille,
            counters: (worker.port.usage)().counters,
        };
        Status {
            sessions: self.directory.sessions().count(),
            draining: self.draining,
            workers: self.workers.iter().map(worker).collect(),
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        for worker in self.workers.keys() {
            self.directory.handle_worker_closed(*worker);
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

/// What a player is told who is not let in.
fn refused(refusal: &Refusal) -> ringside_worker::Refusal {
    let reason = match refusal {
        Refusal::UnknownGame(_) => Reason::NoSuchGame,
        Refusal::NoSuchSession(..) => Reason::NoSuchSession,
        Refusal::MayNotCreate => Reason::TokenForbids,
        Refusal::KeyTaken(_) | Refusal::Failed(_) => Reason::StartFailed,
        Refusal::CriteriaTooLong => Reason::TooLarge,
        Refusal::Full(_) | Refusal::Busy => Reason::Overloaded,
        Refusal::NoWorker => Reason::Draining,
        Refusal::TimedOut => Reason::Unreachable,
    };
    ringside_worker::Refusal { reason, message: refusal.to_string() }
}

impl SessionName {
    /// Whether it means this session.
    pub fn is(&self, id: &SessionId) -> bool {
        self.game == id.game
            && self.key == id.key
            && self.incarnation.is_none_or(|incarnation| incarnation == id.incarnation)
    }
}

impl std::fmt::Display for SessionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.game, self.key)?;
        self.incarnation.map_or(Ok(()), |incarnation| write!(f, "@{:016x}", incarnation.0))
    }
}

fn live(now: u64, entry: SessionEntry<'_>) -> SessionInfo {
    SessionInfo {
        session: entry.id.to_string(),
        game: entry.id.game.to_string(),
        key: entry.id.key.to_string(),
        state: if entry.live { "live" } else { "creating" }.to_owned(),
        worker: Some(entry.worker.0),
        players: entry.players,
        seats: entry.seats,
        reserved: entry.reserved,
        age_s: now.saturating_sub(entry.created_us) / 1_000_000,
        record: entry.record,
        reason: None,
        detail: None,
    }
}

fn over(now: u64, ended: &ringside_core::directory::Ended) -> SessionInfo {
    SessionInfo {
        session: ended.id.to_string(),
        game: ended.id.game.to_string(),
        key: ended.id.key.to_string(),
        state: "ended".to_owned(),
        worker: None,
        players: 0,
        seats: 0,
        reserved: 0,
        age_s: now.saturating_sub(ended.ended_us) / 1_000_000,
        record: false,
        reason: Some(ended.reason.clone()),
        detail: None,
    }
}
