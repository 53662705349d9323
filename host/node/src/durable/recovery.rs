//! What becomes of the durable sessions of runs of nodes that are gone: their logs are sealed, read, and each session goes
//! on here from its newest checkpoint and the entries after it, by the next record of its chain. A node takes over its own
//! earlier runs before anybody is let in; those of others, when they are gone for [`GONE`], the node that the ring names
//! for the log. A run that was believed to be gone and is not finds the seal, and begins another log: all are read, and the
//! newest must be sealed (`Recovery::is_fenced`). Two that try the same are settled by conditional create: the seal, and the record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ringside_core::directory::Charter;
use ringside_core::durable::LogName;
use ringside_core::durable::object::{Checkpoint, Opened};
use ringside_core::durable::recovery::{self, Chain, Start};
use ringside_core::ids::{Epoch, ModuleHash, Node, Position, SessionId, WorkerId};
use ringside_core::leadership::record::{Cause, ChainHome, Member, Record};
use ringside_core::log::Input;
use ringside_sandbox::{State, StateError};
use ringside_worker::durable::Restore;
use tokio::time::Instant;

use super::NodeLog;
use super::clearing::{Clearing, Done};
use super::logs::Logs;
use crate::catalogue::Catalogue;
use crate::chains::Chains;
use crate::control::{Control, ControlError, Recovering};
use crate::store::{Store, StoreError};

/// How long a run must not be seen before others take over its durable sessions.
pub const GONE: Duration = Duration::from_secs(10);
/// How often it is looked for such runs.
const LOOK: Duration = Duration::from_secs(2);
/// How long a node waits for a follower to lead what is not durable before it says that it was lost.
const LOST_AFTER: Duration = Duration::from_secs(6);

/// Why a session does not go on now.
#[derive(Debug, thiserror::Error)]
enum NotNow {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("a follower of it may come to lead it")]
    Followed,
    #[error("node {0}, which led it last, may be there")]
    Led(Node),
    #[error("the store has not said whether this node leads it")]
    Settling,
    #[error("its module: {0}")]
    Module(String),
    #[error("{0}")]
    OtherRelease(String),
    /// By its newest record, if it has one.
    #[error("{0}")]
    Lost(String, Option<Box<Record>>),
}

/// What became of a session.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It goes on here.
    Recovered,
    /// It is over, or another leads it or takes it over.
    LeftAlone,
}

/// What takes over.
pub struct Recovery {
    /// Who it is.
    pub me: Node,
    /// Where the logs are.
    pub store: Store,
    /// Where sessions go on.
    pub control: Control,
    /// What has their modules.
    pub catalogue: Arc<Catalogue>,
    /// Sessions of which the store has not said whether their record is made: at most as many as a node takes.
    pub settling: Arc<Mutex<BTreeSet<SessionId>>>,
    /// Where sessions' records are ended.
    pub chains: Chains,
    /// This run's own log.
    pub log: NodeLog,
    /// When it began to look.
    pub began: Instant,
}

impl Recovery {
    /// Takes over the earlier runs of this node, then, as long as it runs, those of nodes that are gone; and clears what nobody
    /// needs of their logs.
    pub async fn run(self) {
        let done = Done::default();
        let clearing = Clearing { me: self.me, store: self.store.clone(), done: Arc::clone(&done) };
        tokio::join!(self.take_over_all(&done), clearing.run());
    }

    async fn take_over_all(&self, done: &Done) {
        self.own(done).await;
        self.control.recovered().await;
        let mut unseen: BTreeMap<Node, Instant> = BTreeMap::new();
        let mut said = BTreeSet::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(runs) = self.unfinished(done, |run| run != self.me).await else { continue };
            unseen.retain(|run, _| runs.contains_key(run));
            let Ok(presence) = self.control.presence(runs.keys().copied().collect()).await else { continue };
            let mut gone = BTreeMap::new();
            for ((run, logs), presence) in runs.into_iter().zip(presence) {
                if presence.is_present {
                    unseen.remove(&run);
                    continue;
                }
                let since = *unseen.entry(run).or_insert_with(Instant::now);
                if self.is_former(run) || presence.is_ours && since.elapsed() >= GONE {
                    gone.insert(run, logs);
                }
            }
            for run in self.not_cleared(done, gone).await {
                self.take_over(run, done, &mut said).await;
            }
        }
    }

    fn is_former(&self, run: Node) -> bool {
        run.id == self.me.id && run.generation < self.me.generation
    }

    /// Runs that have logs with which recovery is not done, and these logs.
    async fn unfinished(
        &self,
        done: &Done,
        is_it: impl Fn(Node) -> bool,
    ) -> Result<BTreeMap<Node, Vec<LogName>>, StoreError> {
        let logs = self.store.logs().await?;
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut runs: BTreeMap<Node, Vec<LogName>> = BTreeMap::new();
        for log in logs.into_iter().filter(|log| is_it(log.run) && !done.has(log)) {
            runs.entry(log.run).or_default().push(log);
        }
        Ok(runs)
    }

    /// Which of these runs have logs that are not cleared: with the others recovery is done. Most runs that ever were are.
    async fn not_cleared(&self, done: &Done, mut runs: BTreeMap<Node, Vec<LogName>>) -> Vec<Node> {
        let cleared = Logs::cleared(&self.store, runs.values().flatten().copied().collect()).await;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.cleared.extend(cleared);
        runs.retain(|_, logs| !logs.iter().all(|log| done.has(log)));
        runs.into_keys().collect()
    }

    async fn own(&self, done: &Done) {
        let runs = match self.unfinished(done, |run| self.is_former(run)).await {
            Ok(runs) => runs,
            Err(error) => return tracing::error!(%error, "the logs of this node's earlier runs are looked for later"),
        };
        let mut said = BTreeSet::new();
        for run in self.not_cleared(done, runs).await {
            self.take_over(run, done, &mut said).await;
        }
    }

    /// Takes over a run; its logs are done with when nothing of them is left to be tried again.
    async fn take_over(&self, run: Node, done: &Done, said: &mut BTreeSet<LogName>) {
        let mut logs = Logs::new(self.store.clone());
        if let Err(error) = logs.read(run, Some(self.me)).await {
            return tracing::warn!(%run, %error, "the log of a run that is gone is read again");
        }
        let names: Vec<LogName> = logs.of(run).map(|(name, _)| *name).collect();
        if let Some((name, log)) = logs.newest(run)
            && said.insert(*name)
        {
            self.say_what_is_lost(run, log);
            for (name, damage) in logs.of(run).flat_map(|(name, log)| log.damage().map(move |damage| (name, damage))) {
                tracing::error!("{}", recovery::unreadable(*name, &damage));
            }
        }
        let mut sessions: BTreeMap<SessionId, Option<Opened>> = BTreeMap::new();
        let are_done = done.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, log) in logs.of(run).filter(|(name, _)| !are_done.has(name)) {
            for session in log.ended().filter(|session| session.incarnation.0 != 0) {
                self.chains.end(session.clone(), Some(run));
            }
            for session in log.durable() {
                let known = sessions.entry(session.clone()).or_default();
                *known = log.opened(session).cloned().or(known.take());
            }
        }
        let (mut recovered, mut waits) = (Vec::new(), 0);
        if logs.of(run).any(|(_, log)| log.damage().next().is_some()) {
            match self.unnamed(run, &sessions).await {
                Ok(unnamed) => sessions.extend(unnamed.into_iter().map(|session| (session, None))),
                Err(error) => {
                    waits += 1;
                    tracing::warn!(%run, %error, "what was in damaged objects is looked for again");
                }
            }
        }
        for (session, opened) in sessions {
            match self.recover(&mut logs, run, &session, opened).await {
                Ok(Outcome::Recovered) => recovered.push(session),
                Ok(Outcome::LeftAlone) => {}
                Err(NotNow::Lost(why, by)) => self.lose(session, run, why, by),
                Err(why) => {
                    waits += 1;
                    tracing::warn!(%session, %run, %why, "a durable session goes on later");
                }
            }
        }
        if !recovered.is_empty() {
            tracing::info!(%run, sessions = recovered.len(), "durable sessions of a run that is gone go on here");
        }
        if waits == 0 {
            done.lock().unwrap_or_else(PoisonError::into_inner).taken_over.extend(names);
        }
    }

    /// Ends the chain of a session that was found to be lost by this record, for whoever wants the key to have another one;
    /// not if somebody leads it by now, who has found more of it. Others go on meanwhile.
    fn lose(&self, session: SessionId, run: Node, why: String, by: Option<Box<Record>>) {
        let (store, control, settling) = (self.store.clone(), self.control.clone(), Arc::clone(&self.settling));
        settling.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone());
        tokio::spawn(async move {
            let is_over = match by {
                Some(record) => store.settle_record(&record.ended(record.position)).await.unwrap_or(true),
                None => true,
            };
            if is_over {
                tracing::error!(%session, %run, why, "a durable session cannot go on");
                control.lost(session.clone(), format!("it was durable and cannot go on: {why}")).await;
            }
            settling.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
        });
    }

    /// Sessions that the run led by their records, and of which nothing is left in its log: all of it was in objects that are
    /// damaged or missing.
    async fn unnamed(
        &self,
        run: Node,
        named: &BTreeMap<SessionId, Option<Opened>>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut unnamed = Vec::new();
        for session in self.store.recorded().await? {
            if named.contains_key(&session) {
                continue;
            }
            match self.store.newest_record(&session).await {
                Ok(Some(record)) if record.leader.node == run && record.cause != Cause::Ended => unnamed.push(session),
                Ok(_) => {}
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::error!(%session, %error, "who leads it is not known")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(unnamed)
    }

    /// Sessions of the run whose logs were nowhere but in memory: those that nobody comes to lead were lost with it.
    fn say_what_is_lost(&self, run: Node, log: &Chain) {
        let others: Vec<Opened> = log.others().cloned().collect();
        let control = self.control.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOST_AFTER).await;
            for Opened { session, tier, .. } in others {
                if !control.is_led(&session).await {
                    tracing::warn!(%session, %tier, %run, "lost with the node that led it");
                    control
                        .lost(session, format!("lost: it was {tier}, and node {} that led it is gone", run.id))
                        .await;
                }
            }
        });
    }

    /// Whether nothing is released any more by the leader of a record that was read before this is asked: its epoch is in a
    /// log that is sealed, or the newest object of all of the run's logs is a seal. A log that was begun after a seal takes
    /// only what is of epochs that begin after that.
    async fn is_fenced(&self, logs: &Logs, record: &Record) -> Result<bool, StoreError> {
        let run = record.leader.node;
        let has = |log: &Chain| log.sealed_by().is_some() && log.has(&record.session, record.epoch);
        if logs.of(run).any(|(_, log)| has(log)) {
            return Ok(true);
        }
        let Some((name, log)) = logs.newest(run).filter(|(_, log)| log.sealed_by().is_some()) else { return Ok(false) };
        let next = log.next_number();
        Ok(self.store.log_object(name.after(next - 1), next).await?.is_none())
    }

    /// Has a session go on here, if it is this run's to give.
    async fn recover(
        &self,
        logs: &mut Logs,
        run: Node,
        session: &SessionId,
        opened: Option<Opened>,
    ) -> Result<Outcome, NotNow> {
        if self.settling.lock().unwrap_or_else(PoisonError::into_inner).contains(session) {
            return Err(NotNow::Settling);
        }
        let Some(record) = self.store.newest_record(session).await? else {
            if !logs.of(run).any(|(_, log)| log.has_any(session)) {
                // It was about to begin.
                return Ok(Outcome::LeftAlone);
            }
            return Err(NotNow::Lost("it has no leadership record".to_owned(), None));
        };
        // Nobody leads one that was evicted, until somebody asks for it.
        if record.cause == Cause::Ended || record.is_at_rest() {
            return Ok(Outcome::LeftAlone);
        }
        let leader = record.leader.node;
        let members: Vec<Node> = record.members().map(|member| member.node).collect();
        let presence = self.control.presence(members).await?;
        if leader != run {
            if presence[0].is_present {
                return Ok(Outcome::LeftAlone);
            }
            // A node that has just begun sees nobody. Whoever seals the log of one that is there takes its sessions from it.
            let may_seal = leader.id == self.me.id || self.began.elapsed() >= GONE;
            logs.read(leader, Some(self.me).filter(|_| may_seal)).await?;
        }
        if !self.is_fenced(logs, &record).await? {
            logs.forget(leader);
            return Err(NotNow::Led(leader));
        }
        if presence.iter().skip(1).any(|presence| presence.is_present) {
            return Err(NotNow::Followed);
        }
        let (start, state) = loop {
            let Some((start, from)) = self.start(logs, run, &record).await? else {
                return Err(NotNow::Lost(recovery::Lost::NoBeginning.to_string(), Some(Box::new(record))));
            };
            // A later run that led it has it all: it goes on with that one's log. What the run that led it last has nothing of is in
            // an earlier one's, which nobody may take over, for that run may be there.
            if from != run && leader != run {
                return Ok(Outcome::LeftAlone);
            }
            match state_of(&start).await {
                Ok(state) => break (start, state),
                // It is whole, and what came before may be deleted already.
                Err((.., error @ StateError::Version { .. })) => return Err(NotNow::OtherRelease(error.to_string())),
                Err((epoch, position, error)) => {
                    tracing::error!(%session, %run, position, %error, "a checkpoint is of no use: the one before is taken");
                    logs.distrust(session, epoch, position);
                }
            }
        };
        if let Some(position) = start.lacks {
            tracing::error!(%session, position, end = start.end, "entries are missing: the session goes on without what came after");
        }
        let seal = logs.newest(run).map_or(0, |(_, log)| log.next_number() - 1);
        self.go_on(session, opened, record, (start, state), seal).await
    }

    /// From where a session goes on that a run led, and whose log that is. One that was evicted before goes on from there, if the
    /// run had not written more.
    async fn start(&self, logs: &mut Logs, run: Node, record: &Record) -> Result<Option<(Start, Node)>, NotNow> {
        let runs: BTreeSet<Node> = record.lineage.terms().iter().map(|term| Node::of_epoch(term.epoch)).collect();
        // Who led it before wrote nothing of it any more when another began to: that log needs no seal.
        for run in runs {
            logs.read(run, None).await?;
            if let Some((name, _)) = logs.of(run).find(|(_, log)| log.is_of_other_release()) {
                return Err(NotNow::OtherRelease(format!("the log of node {name} has objects of another release")));
            }
        }
        let states = self.store.states_of(&record.session).await?;
        let start = recovery::start(record, |epoch, last| {
            if let Some(start) = logs.start(&record.session, epoch, last) {
                return Some((start, Node::of_epoch(epoch)));
            }
            let is_useless = |at: &Checkpoint| logs.is_distrusted(&record.session, at.epoch, at.position);
            let is_it = |state: &Checkpoint| state.epoch == epoch && state.position <= last && !is_useless(state);
            let state = states.iter().map(|state| &state.checkpoint).filter(|state| is_it(state));
            let checkpoint = Box::new(state.max_by_key(|state| state.position)?.clone());
            Some((Start::at(checkpoint), run))
        });
        Ok(start.ok())
    }

    /// Makes the record by which this node leads a session, and has a worker begin it.
    async fn go_on(
        &self,
        session: &SessionId,
        opened: Option<Opened>,
        record: Record,
        (start, state): (Start, Option<Arc<State>>),
        seal: u64,
    ) -> Result<Outcome, NotNow> {
        let module = module_of(state.as_deref(), &start);
        let no_start = "its log does not begin with a start";
        let module = module.ok_or_else(|| NotNow::Lost(no_start.to_owned(), Some(Box::new(record.clone()))))?;
        let module = self.catalogue.ready(module).await.map_err(|error| NotNow::Module(error.to_string()))?;
        let charter = opened.and_then(|opened| postcard::from_bytes::<Charter>(&opened.charter).ok());
        let recovering = Recovering { session: session.clone(), charter, leader: record.leader };
        let (worker, terms) = self.control.recover(recovering).await?;
        let me = Member { node: self.me, worker };
        let epoch = me.epoch_after(record.epoch.number);
        let cause = (Cause::Recovered { seal }, ChainHome::Store);
        let next = record.succeeded(me, epoch, BTreeSet::new(), start.end, cause);
        let made = self.store.try_record(&next).await;
        let restore = Box::new(Restore { module, terms, record: Arc::new(next), state, start, slept: Duration::ZERO });
        match made {
            Ok(true) => self.control.restore(worker, restore).await?,
            Ok(false) => {
                self.control.not_recovered(session.clone()).await;
                return Ok(Outcome::LeftAlone);
            }
            Err(error) => {
                self.settle(worker, restore);
                return Err(error.into());
            }
        }
        Ok(Outcome::Recovered)
    }

    /// The store may have made the record by which this node leads a session. Others go on meanwhile.
    fn settle(&self, worker: WorkerId, restore: Box<Restore>) {
        let session = restore.record.session.clone();
        let (store, control, settling) = (self.store.clone(), self.control.clone(), Arc::clone(&self.settling));
        settling.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone());
        tokio::spawn(async move {
            let made = store.settle_record(&restore.record).await;
            if let Err(error) = &made {
                tracing::error!(%session, %error, "who leads the session is not known");
            }
            if !made.unwrap_or(false) {
                control.not_recovered(session.clone()).await;
            } else if let Err(error) = control.restore(worker, restore).await {
                tracing::debug!(%session, %error, "the session does not begin again: this node ends");
            }
            settling.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
        });
    }
}

/// The state that a session goes on from; or which of its checkpoints is of no use, and why.
async fn state_of(start: &Start) -> Result<Option<Arc<State>>, (Epoch, Position, StateError)> {
    let steps: Vec<(Epoch, Position, Bytes)> =
        start.checkpoints().map(|step| (step.epoch, step.position, step.state.clone())).collect();
    let Some((epoch, first, _)) = steps.first().cloned() else { return Ok(None) };
    let compose = move || {
        let mut state: Option<State> = None;
        for (epoch, position, bytes) in steps {
            let next = State::decode_after(state.as_ref(), &bytes).map_err(|error| (epoch, position, error))?;
            if next.position() != position {
                return Err((epoch, position, StateError::Content("it is of another position")));
            }
            state = Some(next);
        }
        Ok(state.map(Arc::new))
    };
    let composed = tokio::task::spawn_blocking(compose).await;
    composed.unwrap_or(Err((epoch, first, StateError::Content("it could not be looked at"))))
}

/// The module that a session runs.
fn module_of(state: Option<&State>, start: &Start) -> Option<ModuleHash> {
    let begun = || match start.log.first().map(|entry| &entry.input) {
        Some(Input::Start { module, .. }) => Some(*module),
        _ => None,
    };
    state.map(State::module).or_else(begun)
}
