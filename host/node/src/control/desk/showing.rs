//! What operators see of this node's sessions, and what they have done to them.

use std::collections::BTreeMap;

use ringside_core::directory::{Ended, SessionEntry};
use ringside_core::ids::{IdError, NodeId, SessionId, WorkerId};
use ringside_core::placement::{BOUND_PERCENT, Decision, Policy, Step, Verdict};
use ringside_core::ring::Position;
use ringside_worker::{Command, SessionReport};
use tokio::sync::oneshot;

use super::{Desk, WorkerPort};
use crate::api::{DirectoryEntry, DirectoryInfo, ExplainedStep, Explanation, SessionInfo, WorkerInfo};
use crate::control::{ControlError, Reply, SessionName, Status};

impl Desk {
    /// Live sessions, in order of game and key.
    pub(super) fn live(&self, now: u64) -> Vec<SessionInfo> {
        self.directory.sessions().map(|entry| self.live_one(now, entry)).collect()
    }

    /// Sessions that ended last, newest first.
    pub(super) fn over(&self, now: u64) -> Vec<SessionInfo> {
        self.directory.ended().map(|ended| self.over_one(now, ended)).collect()
    }

    /// What this node leads and follows, and what it knows as a home.
    pub(super) fn entries(&self, now: u64) -> DirectoryInfo {
        let entry = |session: &SessionId, node: NodeId, worker: WorkerId| DirectoryEntry {
            session: session.to_string(),
            node: node.to_string(),
            worker: worker.0,
        };
        let me = self.directory.me().id;
        DirectoryInfo {
            node: me.to_string(),
            ring: self.directory.ring().to_string(),
            settled: self.directory.is_settled(now),
            leads: self.directory.sessions().map(|led| entry(led.id, me, led.worker)).collect(),
            follows: self
                .directory
                .followed()
                .map(|(session, _, leader)| entry(session, leader.node.id, leader.worker))
                .collect(),
            keeps: self.directory.entries().map(|lead| entry(&lead.session, lead.leader.id, lead.worker)).collect(),
        }
    }

    pub(super) fn show(&mut self, now: u64, name: &SessionName, reply: Reply<SessionInfo>) {
        let Some(entry) = self.find(name) else {
            let ended = self.directory.ended().find(|ended| name.is(&ended.id)).map(|ended| self.over_one(now, ended));
            let _ = reply.send(ended.ok_or_else(|| ControlError::NoSuchSession(name.to_string())));
            return;
        };
        let (mut info, session, worker) = (self.live_one(now, entry), entry.id.clone(), entry.worker);
        // A full queue drops the order and with it the reply: the caller hears that the node is overloaded.
        let answer = Box::new(move |report: Option<Box<SessionReport>>| {
            info.detail = report.map(|report| (*report).into());
            let _ = reply.send(Ok(info));
        });
        let _ = self.send(worker, Command::Show { session, reply: answer });
    }

    /// Has the worker of a live session hand over its recording; that of one that ended was handed over before its
    /// end was heard of. Answers which session it is, where the directory knows.
    pub(super) fn flush(&mut self, name: &SessionName, reply: Reply<Option<SessionId>>) {
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

    pub(super) fn end(
        &mut self,
        now: u64,
        name: &SessionName,
        reason: String,
        reply: Reply<(SessionInfo, oneshot::Receiver<bool>)>,
    ) {
        let Some(entry) = self.find(name) else {
            let _ = reply.send(Err(ControlError::NoSuchSession(name.to_string())));
            return;
        };
        let (mut info, session, worker) = (self.live_one(now, entry), entry.id.clone(), entry.worker);
        info.reason = Some(reason.clone());
        let (ended, has_ended) = oneshot::channel();
        let answer = Box::new(move |was_there: bool| {
            let _ = ended.send(was_there);
        });
        let _ = reply.send(Ok((info, has_ended)));
        let _ = self.send(worker, Command::End { session, if_empty: false, reason, reply: answer });
    }

    pub(super) fn status(&self, now: u64) -> Status {
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
            signals_dropped: self.signals_dropped,
            followed: self.directory.followed().count(),
            arriving: self.directory.arriving().count(),
            spare: self.directory.spare(),
            evictions: self.evictions,
            activations: self.activations,
            settled: self.directory.is_settled(now),
            workers: self.workers.iter().map(worker).collect(),
        }
    }

    pub(super) fn drain(&mut self) {
        self.draining = true;
        let open = self.directory.workers().iter().filter(|(_, load)| load.accepts);
        let open: Vec<WorkerId> = open.map(|(worker, _)| worker).collect();
        open.iter().for_each(|worker| self.directory.handle_worker_closed(*worker));
        self.closed.extend(open);
    }

    /// Ends all sessions: the node leaves.
    pub(super) fn end_all(&mut self, reason: &str) {
        let all: Vec<(SessionId, WorkerId)> =
            self.directory.sessions().map(|entry| (entry.id.clone(), entry.worker)).collect();
        for (session, worker) in all {
            // Whoever orders this asks again for those that a full queue did not take.
            let _ = self.send(
                worker,
                Command::End { session, if_empty: false, reason: reason.to_owned(), reply: Box::new(|_| {}) },
            );
        }
    }

    /// Why a session is on this node.
    pub(super) fn explain(&self, name: &SessionName, reply: Reply<Explanation>) {
        let explained = self.find(name).map(|entry| explanation(self.node(), &entry));
        let _ = reply.send(explained.ok_or_else(|| ControlError::NoSuchSession(name.to_string())));
    }

    fn node(&self) -> NodeId {
        NodeId(self.identity.node)
    }

    fn live_one(&self, now: u64, entry: SessionEntry<'_>) -> SessionInfo {
        SessionInfo {
            session: entry.id.to_string(),
            game: entry.id.game.to_string(),
            key: entry.id.key.to_string(),
            node: self.node().to_string(),
            state: if entry.live { "live" } else { "creating" }.to_owned(),
            worker: Some(entry.worker.0),
            players: entry.players,
            seats: entry.seats,
            reserved: entry.reserved,
            age_s: now.saturating_sub(entry.created_us) / 1_000_000,
            timer_in_s: None,
            record: entry.record,
            reason: None,
            detail: None,
        }
    }

    fn over_one(&self, now: u64, ended: &Ended) -> SessionInfo {
        SessionInfo {
            session: ended.id.to_string(),
            game: ended.id.game.to_string(),
            key: ended.id.key.to_string(),
            node: self.node().to_string(),
            state: "ended".to_owned(),
            worker: None,
            players: 0,
            seats: 0,
            reserved: 0,
            age_s: now.saturating_sub(ended.ended_us) / 1_000_000,
            timer_in_s: None,
            record: false,
            reason: Some(ended.reason.clone()),
            detail: None,
        }
    }
}

impl SessionName {
    /// Whether it means this session.
    pub fn is(&self, id: &SessionId) -> bool {
        self.game == id.game
            && self.key == id.key
            && self.incarnation.is_none_or(|incarnation| incarnation == id.incarnation)
    }
}

/// `game/key` or `game/key@incarnation`.
impl std::str::FromStr for SessionName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.contains('@') {
            let id: SessionId = text.parse()?;
            return Ok(SessionName { game: id.game, key: id.key, incarnation: Some(id.incarnation) });
        }
        let (game, key) = text.split_once('/').unwrap_or((text, ""));
        Ok(SessionName { game: game.parse()?, key: key.parse()?, incarnation: None })
    }
}

impl std::fmt::Display for SessionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.game, self.key)?;
        self.incarnation.map_or(Ok(()), |incarnation| write!(f, "@{:016x}", incarnation.0))
    }
}

fn explanation(node: NodeId, entry: &SessionEntry<'_>) -> Explanation {
    let Decision { position, ring, policy, total_us, total_weight, steps } = entry.decision;
    Explanation {
        session: entry.id.to_string(),
        node: node.to_string(),
        worker: entry.worker.0,
        position: text_of(*position),
        ring: ring.to_string(),
        policy: match policy {
            Policy::Ring => "ring".to_owned(),
            Policy::Pinned(node) => format!("pinned to node {node}"),
        },
        bound_percent: BOUND_PERCENT,
        total_us: *total_us,
        total_weight: *total_weight,
        steps: steps.iter().map(explained_step).collect(),
    }
}

fn text_of(Position(position): Position) -> String {
    format!("{position:016x}")
}

fn explained_step(step: &Step) -> ExplainedStep {
    let verdict = match step.verdict {
        Verdict::Chosen => "chosen",
        Verdict::Loaded => "loaded",
        Verdict::Refused => "refused",
    };
    ExplainedStep {
        node: step.node.to_string(),
        load_us: step.load_us,
        capacity_us: step.capacity_us,
        verdict: verdict.to_owned(),
    }
}
