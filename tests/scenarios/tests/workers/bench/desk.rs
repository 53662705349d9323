//! The node's side of the workers: the directory decides, this carries it out.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use ringside_core::directory::{
    Action, Create, Directory, Draw, Ending, Find, GameFacts, Limits, Open, Origin, Pace, Placed, Refusal, Replicas,
    RequestId,
};
use ringside_core::ids::{GameName, Node, NodeId, SessionId, SessionKey, WorkerId};
use ringside_core::placement::Policy;
use ringside_core::routing::tickets::era;
use ringside_protocol::frame::{Certificate, Target};
use ringside_protocol::reason::Reason;
use ringside_sandbox::Module;
use ringside_worker::shell::WorkerHandle;
use ringside_worker::{Command, Event, Resolved};
use tokio::sync::oneshot;

/// Index of the worker that takes sessions away from the first.
const PENALTY: usize = 1;

enum Waiting {
    Test(oneshot::Sender<Result<Placed, Refusal>>),
    Worker(WorkerId, u64),
}

/// Who is where.
pub struct Desk {
    directory: Directory,
    handles: Vec<WorkerHandle>,
    certificate: Certificate,
    modules: HashMap<GameName, Module>,
    waiting: HashMap<RequestId, Waiting>,
    requests: RequestId,
    started: Instant,
}

impl Desk {
    pub fn new(handles: Vec<WorkerHandle>, certificate: Certificate, started: Instant) -> Desk {
        let mut directory = Directory::new(Node { id: NodeId(1), generation: 1 }, Limits { sessions: 1024 });
        directory.handle_worker(WorkerId(0));
        let (modules, waiting) = (HashMap::new(), HashMap::new());
        Desk { directory, handles, certificate, modules, waiting, requests: 0, started }
    }

    /// The workers serve another certificate.
    pub fn certify(&mut self, certificate: Certificate) {
        self.certificate = certificate;
    }

    pub fn serve(&mut self, module: &Module) {
        let description = module.description();
        let facts = GameFacts {
            module: module.hash(),
            replicas: Replicas::default(),
            pace: if description.tick_rate > 0 { Pace::Ticking } else { Pace::Prompt },
            min_players: description.min_players,
            max_players: description.max_players,
            late_join: description.late_join,
        };
        let game: GameName = description.name.clone();
        self.directory.handle_game(game.clone(), facts);
        self.modules.insert(game, module.clone());
    }

    pub fn create(
        &mut self,
        game: GameName,
        key: SessionKey,
        config: Bytes,
        record: bool,
    ) -> oneshot::Receiver<Result<Placed, Refusal>> {
        let (sender, receiver) = oneshot::channel();
        let request = self.request(Waiting::Test(sender));
        let create =
            Create { game, key: Some(key), config, record, listed: None, policy: Policy::Ring, draw: draw(request) };
        self.directory.handle_create(self.now_us(), request, create);
        self.act();
        receiver
    }

    /// Which worker leads a session.
    pub fn worker_of(&self, session: &SessionId) -> Option<usize> {
        let entry = self.directory.get(&session.game, &session.key)?;
        (entry.id == session).then_some(usize::from(entry.worker.0))
    }

    /// Takes what a worker said.
    pub fn handle(&mut self, worker: WorkerId, event: Event) {
        let now = self.now_us();
        match event {
            Event::Created { session, result } => self.directory.handle_created(now, &session, worker, result),
            Event::Resolve { request, player, target, may_create, .. } => {
                let request = self.request(Waiting::Worker(worker, request));
                let draw = draw(request);
                match target {
                    Target::Session { game, key } => {
                        let open = Open { game, key, record: false, may_create, draw };
                        self.directory.handle_open(now, request, open);
                    }
                    Target::FindOrCreate { game, criteria } => {
                        let find = Find { game, criteria, player, record: false, may_create, draw };
                        self.directory.handle_find(now, request, find);
                    }
                }
            }
            Event::Joined { session, player } => self.directory.handle_joined(now, &session, &player),
            Event::Left { session, player } => self.directory.handle_left(now, &session, &player),
            Event::Refused { session, player } => self.directory.handle_refused(now, &session, &player),
            Event::Ended { session, reason, .. } => self.directory.handle_ended(now, &session, reason),
            Event::Overran(moved) => {
                let place = self.place(moved.id().clone(), WorkerId(PENALTY as u8));
                self.directory.handle_moved(now, &place.session, place.worker);
                self.send(PENALTY, Command::Adopt(moved));
                self.send(usize::from(worker.0), Command::Departed(place));
            }
            _ => {}
        }
        self.act();
    }

    /// Stops the workers.
    pub fn stop(&self) {
        for handle in &self.handles {
            let _ = handle.send(Command::Stop);
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.directory.poll_action() {
            match action {
                // It has no store.
                Action::Create { session, origin: Origin::Evicted, .. } => {
                    let refusal = Refusal::NoSuchSession(session.game.clone(), session.key.clone());
                    let now = self.now_us();
                    self.directory.handle_not_created(now, &session, &refusal);
                }
                Action::Create { session, worker, epoch, config, record, .. } => {
                    let module = self.modules[&session.game].clone();
                    let create =
                        ringside_worker::Create { session, module, config, seed: [9; 32], epoch, record, followers: 0 };
                    self.send(usize::from(worker.0), Command::Create(Box::new(create)));
                }
                Action::End { session, worker, why } => {
                    let (if_empty, reason, reply) = (why == Ending::Empty, why.to_string(), Box::new(|_| {}));
                    self.send(usize::from(worker.0), Command::End { session, if_empty, reason, reply });
                }
                Action::Answer { request, answer } => self.answer(request, answer),
                other => panic!("a node alone speaks to nobody, and nothing is followed: {other:?}"),
            }
        }
    }

    fn answer(&mut self, request: RequestId, answer: Result<Placed, Refusal>) {
        match self.waiting.remove(&request) {
            // Nobody waits any longer: the test is over.
            Some(Waiting::Test(sender)) => drop(sender.send(answer)),
            Some(Waiting::Worker(worker, request)) => {
                let answer = answer.map(|placed| self.place(placed.session, placed.worker)).map_err(|refusal| {
                    let reason = match refusal {
                        Refusal::UnknownGame(_) => Reason::NoSuchGame,
                        Refusal::NoSuchSession(..) => Reason::NoSuchSession,
                        Refusal::MayNotCreate => Reason::TokenForbids,
                        _ => Reason::StartFailed,
                    };
                    ringside_worker::Refusal { reason, message: refusal.to_string() }
                });
                self.send(usize::from(worker.0), Command::Resolved { request, answer });
            }
            None => {}
        }
    }

    fn place(&self, session: SessionId, worker: WorkerId) -> Resolved {
        let address = self.handles[usize::from(worker.0)].address();
        let era = era(self.now_us());
        Resolved { session, node: 1, generation: 1, era, worker, address, certificate: self.certificate }
    }

    fn send(&self, worker: usize, command: Command) {
        assert!(self.handles[worker].send(command).is_ok(), "the worker's queue is full, or it has stopped");
    }

    fn request(&mut self, waiting: Waiting) -> RequestId {
        self.requests += 1;
        self.waiting.insert(self.requests, waiting);
        self.requests
    }

    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }
}

fn draw(request: RequestId) -> Draw {
    Draw { key: request, incarnation: request }
}
