//! Where sessions are, for whoever asked: the directory's answers become addresses.

use std::net::SocketAddr;

use bytes::Bytes;
use ringside_core::directory::{Draw, Find, Open, Placed, Refusal, RequestId};
use ringside_core::ids::{Epoch, GameName, Node, SessionId, SessionKey, WorkerId};
use ringside_core::routing::tickets::era;
use ringside_protocol::frame::Target;
use ringside_protocol::reason::Reason;
use ringside_worker::replication::Contacts;
use ringside_worker::{Command, Resolved, Resumed};

use super::{Desk, Identity};
use crate::cluster::wire::Message as PeerMessage;
use crate::control::{ControlError, Reply, Resolve, Unfound};
use crate::limits::{RESOLVES, SIGNALS};

/// Who waits for an answer of the directory.
pub(super) enum Waiting {
    /// An operator.
    Admin(Reply<(Placed, SocketAddr)>),
    /// A player; and where they were attached before.
    Player(Asker, Option<Resumed>),
    /// A signal on its way to whoever leads its target.
    Signal(Box<Signal>),
}

/// Through whom a player asks.
pub(in crate::control) enum Asker {
    /// A worker, in its request of that number.
    Worker(WorkerId, u64),
    /// Nobody: it is a client who has opened nothing.
    Client(Reply<Result<Resolved, ringside_worker::Refusal>>),
}

/// A guest's signal.
pub(super) struct Signal {
    game: GameName,
    key: SessionKey,
    source: String,
    body: Bytes,
}

impl Desk {
    pub(super) fn answer(&mut self, request: RequestId, answer: Result<Placed, Refusal>) {
        match self.waiting.remove(&request) {
            Some(Waiting::Admin(reply)) => {
                let answer = answer.map_err(ControlError::from).and_then(|placed| {
                    let place = self.place(&placed).ok_or(ControlError::Gone(placed.leader.id))?;
                    Ok((placed, place.address))
                });
                let _ = reply.send(answer);
            }
            Some(Waiting::Player(asker, resumes)) => {
                let unfound = match &answer {
                    Err(Refusal::NoSuchSession(game, key)) => Some((game.clone(), key.clone())),
                    Err(Refusal::Lost(session)) => Some((session.game.clone(), session.key.clone())),
                    _ => None,
                };
                let answer = self.resolved(answer, resumes);
                match unfound {
                    Some((game, key)) => self.look_for(game, key, Unfound { asker, answer }),
                    None => self.told(asker, answer),
                }
            }
            Some(Waiting::Signal(signal)) => {
                self.signals_waiting -= 1;
                if let Ok(placed) = answer {
                    self.pass_on(&placed, *signal);
                }
            }
            None => {}
        }
    }

    /// Finds the place for a player.
    pub(super) fn resolve(&mut self, now: u64, asker: Asker, resumes: Option<Resumed>, resolve: Resolve) {
        let Resolve { player, target, may_create } = resolve;
        if self.joining || self.recovering {
            // It does not know its cluster yet, or what its earlier runs led.
            let message = ControlError::Joining.to_string();
            return self.told(asker, Err(ringside_worker::Refusal { reason: Reason::Overloaded, message }));
        }
        let waiting = self.request(Waiting::Player(asker, resumes));
        let draw = Draw { key: crate::random::u64(), incarnation: crate::random::u64() };
        let record = self.record_all;
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

    /// The same for a client who has opened nothing.
    pub(super) fn resolve_in_advance(
        &mut self,
        now: u64,
        resolve: Resolve,
        reply: Reply<Result<Resolved, ringside_worker::Refusal>>,
    ) {
        if self.resolves_waiting >= RESOLVES {
            let _ = reply.send(Err(ControlError::Overloaded));
            return;
        }
        self.resolves_waiting += 1;
        self.resolve(now, Asker::Client(reply), None, resolve);
    }

    pub(super) fn told(&mut self, asker: Asker, answer: Result<Resolved, ringside_worker::Refusal>) {
        match asker {
            // A worker that takes nothing answers its player itself when that one's time is over.
            Asker::Worker(worker, request) => _ = self.send(worker, Command::Resolved { request, answer }),
            Asker::Client(reply) => {
                self.resolves_waiting -= 1;
                let _ = reply.send(Ok(answer));
            }
        }
    }

    /// Where a player is to go, or what they are told instead.
    fn resolved(
        &self,
        answer: Result<Placed, Refusal>,
        resumes: Option<Resumed>,
    ) -> Result<Resolved, ringside_worker::Refusal> {
        let placed = answer.map_err(|refusal| refused(&self.lost(refusal, resumes)))?;
        self.place(&placed).ok_or_else(|| gone(&placed))
    }

    /// What a player is told who comes back to a session that is not there: that it was lost, if the run of the node that
    /// led it is not there either. Its home knows nothing of it where it was lost with that very node.
    fn lost(&self, refusal: Refusal, resumes: Option<Resumed>) -> Refusal {
        match (refusal, resumes) {
            (Refusal::NoSuchSession(game, key), Some(Resumed { incarnation, epoch })) if !self.is_present(epoch) => {
                Refusal::Lost(SessionId { game, key, incarnation })
            }
            (refusal, _) => refusal,
        }
    }

    /// Whether the run of a node that led in an epoch is there.
    fn is_present(&self, epoch: Epoch) -> bool {
        let node = Node::of_epoch(epoch);
        node == self.directory.me() || self.is_beside(node) || self.view.as_ref().is_some_and(|view| view.has(node))
    }

    /// Where players find a session; `None` if its leader is not to be seen (any longer).
    fn place(&self, placed: &Placed) -> Option<Resolved> {
        if placed.leader == self.directory.me() {
            return self.place_here(placed.session.clone(), placed.worker);
        }
        if let Some(companion) = self.companion.as_ref().filter(|companion| companion.node == placed.leader) {
            let Contacts { workers, certificate, era, .. } = &companion.contacts;
            return Some(Resolved {
                session: placed.session.clone(),
                node: placed.leader.id.0,
                generation: placed.leader.generation,
                era: *era,
                worker: placed.worker,
                address: *workers.get(usize::from(placed.worker.0))?,
                certificate: *certificate,
            });
        }
        let seen = self.view.as_ref()?.node(placed.leader.id).filter(|seen| seen.node == placed.leader)?;
        Some(Resolved {
            session: placed.session.clone(),
            node: placed.leader.id.0,
            generation: placed.leader.generation,
            era: self.eras.get(&placed.leader).copied().unwrap_or_default(),
            worker: placed.worker,
            address: seen.contact.worker(placed.worker)?,
            certificate: seen.contact.certificate,
        })
    }

    /// The place of a session on a worker of this node.
    pub(super) fn place_here(&self, session: SessionId, worker: WorkerId) -> Option<Resolved> {
        let address = self.workers.get(&worker)?.port.address;
        let Identity { node, generation, started, certificate } = self.identity;
        let era = era(started.elapsed().as_micros() as u64);
        Some(Resolved { session, node, generation, era, worker, address, certificate })
    }

    /// Passes a guest's signal on: to a session here at once, to another through its home. One that nobody leads is
    /// dropped.
    pub(super) fn signal(&mut self, now: u64, source: String, to: &str, body: Bytes) {
        let name = to.split_once('/').and_then(|(game, key)| Some((game.parse().ok()?, key.parse().ok()?)));
        let Some((game, key)) = name else { return };
        if self.directory.get(&game, &key).is_some() {
            return self.take_signal(game, key, source, body);
        }
        if self.signals_waiting >= SIGNALS {
            // A guest is told nothing of its signals: whoever floods loses its own, and no player's request.
            self.signals_dropped += 1;
            return;
        }
        self.signals_waiting += 1;
        let open = Open { game: game.clone(), key: key.clone(), record: false, may_create: false, draw: no_draw() };
        let request = self.request(Waiting::Signal(Box::new(Signal { game, key, source, body })));
        self.directory.handle_open(now, request, open);
    }

    /// Gives a signal to the session here that it is for.
    pub(super) fn take_signal(&mut self, game: GameName, key: SessionKey, source: String, body: Bytes) {
        let Some(worker) = self.directory.get(&game, &key).map(|entry| entry.worker) else { return };
        let to = format!("{game}/{key}");
        if self.send(worker, Command::Signal { game, key, source, body }).is_err() {
            tracing::warn!(to, "a signal was dropped: the worker has too much to do");
        }
    }

    fn pass_on(&mut self, placed: &Placed, signal: Signal) {
        let Signal { game, key, source, body } = signal;
        if placed.leader == self.directory.me() {
            self.take_signal(game, key, source, body);
        } else {
            self.tell(placed.leader, PeerMessage::Signal { game, key, source, body: body.to_vec() });
        }
    }
}

/// For who creates nothing. A session that was evicted is looked for under a name of its own.
pub(super) fn no_draw() -> Draw {
    Draw { key: 0, incarnation: crate::random::u64() }
}

/// What a player is told whose session's leader cannot be seen: to look again.
fn gone(placed: &Placed) -> ringside_worker::Refusal {
    let message = ControlError::Gone(placed.leader.id).to_string();
    ringside_worker::Refusal { reason: Reason::Unreachable, message }
}

/// What a player is told who is not let in.
fn refused(refusal: &Refusal) -> ringside_worker::Refusal {
    let reason = match refusal {
        Refusal::UnknownGame(_) => Reason::NoSuchGame,
        Refusal::NoSuchSession(..) | Refusal::Lost(_) => Reason::NoSuchSession,
        Refusal::MayNotCreate => Reason::TokenForbids,
        Refusal::KeyTaken(_) | Refusal::Failed(_) => Reason::StartFailed,
        Refusal::CriteriaTooLong => Reason::TooLarge,
        Refusal::Full(_) | Refusal::Busy => Reason::Overloaded,
        Refusal::NoWorker | Refusal::NotThere(_) => Reason::Draining,
        Refusal::TimedOut => Reason::Unreachable,
    };
    ringside_worker::Refusal { reason, message: refusal.to_string() }
}
