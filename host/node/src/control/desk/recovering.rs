//! What the log of this run is told of its sessions, and sessions that begin again from the log of a run that is gone.

use ringside_core::directory::NotFollowed;
use ringside_core::durable::object::{Closed, Opened};
use ringside_core::ids::{GameName, Node, SessionId, SessionKey, WorkerId};
use ringside_core::leadership::record::{Terms, Tier};
use ringside_core::ring::Position;
use ringside_protocol::reason::Reason;
use ringside_worker::Command;
use ringside_worker::durable::Restore;

use super::{Desk, Message};
use crate::control::{ControlError, Presence, Recovering, Reply, Unfound};

impl Desk {
    /// This run leads a session.
    pub(super) fn note_opened(&mut self, session: &SessionId) {
        let (Some(log), Some(charter)) = (&self.log, self.directory.charter(session)) else { return };
        let (tier, charter) = (charter.facts.replicas.tier, charter.encode());
        log.opened(Opened { session: session.clone(), tier, charter });
    }

    /// It does so no more.
    pub(super) fn note_closed(&mut self, session: &SessionId, why: Closed) {
        let Some(log) = &self.log else { return };
        let has_chain = self.directory.charter(session).is_some_and(|charter| {
            let terms = charter.terms();
            terms.tier == Tier::Durable
        });
        log.closed(session.clone(), why);
        if let (Closed::Ended, true, Some(chains)) = (why, has_chain, &self.chains) {
            chains.end(session.clone(), Some(self.directory.me()));
        }
    }

    /// Which runs are there, and whose logs are this node's to take over.
    pub(super) fn presence(&self, runs: &[Node]) -> Vec<Presence> {
        let me = self.directory.me();
        let presence = |run: &Node| Presence {
            is_present: *run == me || self.is_beside(*run) || self.view.as_ref().is_some_and(|view| view.has(*run)),
            is_over: self.over == Some(*run),
            is_ours: match self.view.as_ref().and_then(|view| Some((view, view.node(run.id)?.node))) {
                // What it may be unable to read of an earlier run of its own, another takes over.
                Some((view, later))
                    if run.id != me.id && run.generation < later.generation && !view.reads_all(run.id) =>
                {
                    self.heir(*run) == Some(me)
                }
                Some(_) => run.id == me.id,
                None => self.heir(*run) == Some(me),
            },
        };
        runs.iter().map(presence).collect()
    }

    /// Who takes over a run that is gone: the home of its log's name, or the next on the ring that reads whatever may be in it.
    fn heir(&self, run: Node) -> Option<Node> {
        let (game, key) = ("log".parse::<GameName>().ok()?, run.to_string().parse::<SessionKey>().ok()?);
        let view = self.view.as_ref()?;
        let mut heirs = view.ring().successors(Position::of_key(&game, &key));
        heirs.find(|member| view.reads_all(member.node.id)).map(|member| member.node)
    }

    /// A session is about to begin again here.
    pub(super) fn recover(&mut self, now: u64, recovering: Recovering, reply: Reply<(WorkerId, Terms)>) {
        let Recovering { session, charter, leader } = recovering;
        let chosen = self.directory.handle_recovering(now, &session, charter, leader);
        if chosen.is_ok() {
            // Before anything of it: who takes this run over looks for it here.
            self.note_opened(&session);
        }
        let _ = reply.send(chosen.map_err(ControlError::from));
    }

    /// Its worker begins it.
    pub(super) fn restore(&mut self, worker: WorkerId, restore: Box<Restore>, reply: Reply<Result<(), Box<Restore>>>) {
        let sent = self.send(worker, Command::Restore(restore)).map_err(|back| match *back {
            Command::Restore(restore) => Some(restore),
            _ => None,
        });
        let answer = match sent {
            Ok(()) => Ok(Ok(())),
            Err(Some(restore)) => Ok(Err(restore)),
            Err(None) => Err(ControlError::Overloaded),
        };
        let _ = reply.send(answer);
    }

    /// It does not begin again here.
    pub(super) fn not_recovered(&mut self, now: u64, session: &SessionId) {
        self.note_closed(session, Closed::LedElsewhere);
        self.directory.handle_followed(now, session, Err(NotFollowed::NotYet));
    }

    /// Nobody leads a player's session. One that is durable and not over goes on from the store before long: the player is
    /// to ask again.
    pub(super) fn look_for(&mut self, game: GameName, key: SessionKey, unfound: Unfound) {
        let tier = self.games.get(&game).map(|served| served.module.description().tier);
        let way = self.chains.clone().zip(self.later.clone()).filter(|_| tier == Some(Tier::Durable));
        let Some((chains, later)) = way else { return self.told(unfound.asker, unfound.answer) };
        let runtime = chains.runtime().clone();
        runtime.spawn(async move {
            // A store that does not answer may have it.
            let is_open = chains.is_open(game, key).await.unwrap_or(true);
            later.say_surely(Message::Looked(Box::new(unfound), is_open)).await;
        });
    }

    /// Whether it is.
    pub(super) fn looked(&mut self, unfound: Unfound, is_open: bool) {
        let Unfound { asker, mut answer } = unfound;
        if is_open {
            let message = "the session is about to go on from the store".to_owned();
            answer = Err(ringside_worker::Refusal { reason: Reason::Unreachable, message });
        }
        self.told(asker, answer);
    }
}
