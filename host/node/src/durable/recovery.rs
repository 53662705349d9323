//! What becomes of the durable sessions of runs of nodes that are gone: their logs are sealed, read, and each session goes
//! on here from its newest checkpoint and the entries after it, by the next record of its chain. A node takes over its own
//! earlier runs before anybody is let in; those of others, when they are gone for [`GONE`], the node that the ring names
//! for the log; and a successor of its own that it has ended, at its next look. A run that was believed to be gone and is not finds the seal, and begins another log: all are read, and the
//! newest must be sealed (`Recovery::is_fenced`). Two that try the same are settled by conditional create: the seal, and the record.
//!
//! **A log names what its run led, but not always all of it**: a node may be killed between a session's record and the object
//! that names it. So a session that somebody wants ([`Wanted`]) is looked after by its record as well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ringside_core::directory::Charter;
use ringside_core::durable::LogName;
use ringside_core::durable::object::{Checkpoint, Opened};
use ringside_core::durable::recovery::{self, Chain, Start};
use ringside_core::idle::evicted::Evicted;
use ringside_core::ids::{Epoch, ModuleHash, Node, Position, SessionId, WorkerId};
use ringside_core::leadership::newer;
use ringside_core::leadership::record::{Cause, ChainHome, Member, Record, Tier};
use ringside_core::log::Input;
use ringside_sandbox::{State, StateError};
use ringside_worker::durable::Restore;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::NodeLog;
use super::clearing::{Clearing, Done};
use super::logs::Logs;
use crate::catalogue::Catalogue;
use crate::chains::Chains;
use crate::control::{Control, ControlError, Recovering};
use crate::idle::{now_us, tier_of};
use crate::limits::WANTED;
use crate::store::{Store, StoreError, record_name};

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
    /// Who leads it cannot be known, so nobody does: whoever might would be the second, or go on without what came after.
    #[error("object {name} is needed to know who leads it, and it is missing: a log has entries of epoch {}", .epoch.number)]
    MissingRecord {
        /// The record that must have been.
        name: String,
        /// The epoch that it began.
        epoch: Epoch,
    },
    #[error("{0}")]
    OtherRelease(String),
    /// By its newest record, if it has one.
    #[error("{0}")]
    Lost(String, Option<Box<Record>>),
}

/// Where what a session goes on from was found.
struct Source {
    /// In the logs of this run, or by what it led last.
    run: Node,
    /// In the store, where nobody led it.
    asleep: Option<Asleep>,
}

/// A session that nobody led.
struct Asleep {
    /// Since when, µs since 1970: its time has gone on.
    at_us: u64,
    /// What the directory needs.
    charter: Bytes,
}

/// What became of a session.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It goes on here.
    Recovered,
    /// It is over, or another leads it or takes it over.
    LeftAlone,
}

/// A way to recovery for sessions that somebody wants and that are not over by their records; cheap to clone. Whoever wants
/// one asks again: what finds no room comes again.
#[derive(Clone)]
pub struct Wanted(mpsc::Sender<(SessionId, Node)>);

impl Wanted {
    /// A way to a recovery that is started later.
    pub fn queue() -> (Wanted, mpsc::Receiver<(SessionId, Node)>) {
        let (wanted, queue) = mpsc::channel(WANTED);
        (Wanted(wanted), queue)
    }

    /// Somebody wants the session of this record, its newest. Never waits.
    pub fn note(&self, newest: &Record) {
        let _ = self.0.try_send((newest.session.clone(), newest.leader.node));
    }
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
    pub async fn run(self, wanted: mpsc::Receiver<(SessionId, Node)>) {
        let done = Done::default();
        let clearing = Clearing { me: self.me, store: self.store.clone(), done: Arc::clone(&done) };
        tokio::join!(self.take_over_all(&done, wanted), clearing.run());
    }

    async fn take_over_all(&self, done: &Done, mut queue: mpsc::Receiver<(SessionId, Node)>) {
        self.own(done).await;
        self.control.recovered().await;
        let mut unseen: BTreeMap<Node, Instant> = BTreeMap::new();
        let mut said = BTreeSet::new();
        let (mut wanted, mut unseen_leaders) = (BTreeMap::new(), BTreeMap::new());
        loop {
            tokio::time::sleep(LOOK).await;
            take_wanted(&mut queue, &mut wanted);
            self.take_over_wanted(&mut wanted, &mut unseen_leaders).await;
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
                if self.is_former(run) || presence.is_over || presence.is_ours && since.elapsed() >= GONE {
                    gone.insert(run, logs);
                }
            }
            let runs = self.not_cleared(done, gone).await;
            self.take_over_runs(runs, done, &mut said).await;
        }
    }

    /// The later runs of a node first: what they have of a session tells whether its newest record is there.
    async fn take_over_runs(&self, runs: Vec<Node>, done: &Done, said: &mut BTreeSet<LogName>) {
        let mut unknown = BTreeSet::new();
        for run in runs.into_iter().rev() {
            self.take_over(run, done, said, &mut unknown).await;
        }
    }

    /// Of sessions that somebody wants those whose leader's run is gone go on here, or are over. No log need name them.
    async fn take_over_wanted(&self, wanted: &mut BTreeMap<SessionId, Node>, unseen: &mut BTreeMap<Node, Instant>) {
        let leaders: BTreeSet<Node> = wanted.values().copied().collect();
        let Ok(presence) = self.control.presence(leaders.iter().copied().collect()).await else { return };
        let seen = leaders.into_iter().zip(presence);
        let absent: BTreeMap<Node, bool> =
            seen.filter(|(_, presence)| !presence.is_present).map(|(run, presence)| (run, presence.is_over)).collect();
        // Who leads one is there: that it is not found yet is another matter.
        wanted.retain(|_, leader| absent.contains_key(leader));
        unseen.retain(|run, _| absent.contains_key(run));
        let mut gone = BTreeSet::new();
        for (run, is_over) in absent {
            let since = *unseen.entry(run).or_insert_with(Instant::now);
            if self.is_former(run) || is_over || since.elapsed() >= GONE {
                gone.insert(run);
            }
        }
        let mut logs = Logs::new(self.store.clone());
        let due: Vec<(SessionId, Node)> = wanted.extract_if(.., |_, leader| gone.contains(leader)).collect();
        for (session, run) in due {
            match self.recover_wanted(&mut logs, run, &session).await {
                Ok(Outcome::Recovered) => {
                    tracing::info!(%session, %run, "a durable session that somebody wants goes on here")
                }
                Ok(Outcome::LeftAlone) => {}
                Err(NotNow::Lost(why, by)) => self.lose(session, run, why, by),
                Err(why) => tracing::warn!(%session, %run, %why, "a durable session goes on when it is wanted again"),
            }
        }
    }

    /// Has one of them go on that no log names. With one that a log of the run names it goes on as with all of that run; what was
    /// not durable is lost with its leader, as its tier says.
    async fn recover_wanted(&self, logs: &mut Logs, run: Node, session: &SessionId) -> Result<Outcome, NotNow> {
        let is_named = |logs: &Logs| logs.of(run).any(|(_, log)| log.opened(session).is_some() || log.has_any(session));
        for sealed_by in [None, Some(self.me)] {
            logs.read(run, sealed_by).await?;
            if is_named(logs) {
                return Ok(Outcome::LeftAlone);
            }
            let is_durable = self.tier_of(session).await? == Some(Tier::Durable);
            let newest = self.store.newest_record(session).await?.filter(|newest| newest.leader.node == run);
            let Some(newest) = newest.filter(|_| is_durable) else { return Ok(Outcome::LeftAlone) };
            self.is_newest(logs, &newest).await?;
        }
        self.recover(logs, run, session, None).await
    }

    /// The tier of a session that no log names: it was evicted once, or has just begun and is as its game's sessions are now.
    async fn tier_of(&self, session: &SessionId) -> Result<Option<Tier>, StoreError> {
        let states = self.store.states_of(session).await?;
        Ok(tier_of(&states).or_else(|| self.catalogue.tier(&session.game)))
    }

    /// Whether no log of a later run of the node has more of a session than its newest record knows.
    async fn is_newest(&self, logs: &mut Logs, record: &Record) -> Result<(), NotNow> {
        let leader = record.leader.node;
        let is_later = |run: &Node| run.id == leader.id && run.generation > leader.generation;
        let runs: BTreeSet<Node> = self.store.logs().await?.into_iter().map(|log| log.run).filter(is_later).collect();
        for run in runs {
            logs.read(run, None).await?;
            knows_newest(logs, run, record)?;
        }
        Ok(())
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
        let runs = self.not_cleared(done, runs).await;
        self.take_over_runs(runs, done, &mut BTreeSet::new()).await;
    }

    /// Takes over a run; its logs are done with when nothing of them is left to be tried again. Of some sessions it is `unknown`
    /// who leads them: their newest records are missing.
    async fn take_over(&self, run: Node, done: &Done, said: &mut BTreeSet<LogName>, unknown: &mut BTreeSet<SessionId>) {
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
            if unknown.contains(&session) {
                waits += 1;
                continue;
            }
            match self.recover(&mut logs, run, &session, opened).await {
                Ok(Outcome::Recovered) => recovered.push(session),
                Ok(Outcome::LeftAlone) => {}
                Err(NotNow::Lost(why, by)) => self.lose(session, run, why, by),
                Err(why) => {
                    waits += 1;
                    if let NotNow::MissingRecord { .. } = why {
                        tracing::error!(%session, %run, %why, "a durable session does not go on");
                        unknown.insert(session);
                        continue;
                    }
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
        knows_newest(logs, run, &record)?;
        if !self.is_fenced(logs, &record).await? {
            logs.forget(leader);
            return Err(NotNow::Led(leader));
        }
        if presence.iter().skip(1).any(|presence| presence.is_present) {
            return Err(NotNow::Followed);
        }
        let (start, state, asleep) = loop {
            let Some((start, Source { run: from, asleep })) = self.start(logs, run, &record).await? else {
                return Err(NotNow::Lost(recovery::Lost::NoBeginning.to_string(), Some(Box::new(record))));
            };
            // A later run that led it has it all: it goes on with that one's log. What the run that led it last has nothing of is in
            // an earlier one's, which nobody may take over, for that run may be there.
            if from != run && leader != run {
                return Ok(Outcome::LeftAlone);
            }
            match state_of(&start).await {
                Ok(state) => break (start, state, asleep),
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
        let charter = opened.map(|opened| opened.charter).or_else(|| Some(asleep.as_ref()?.charter.clone()));
        let charter = charter.and_then(|charter| match Charter::decode(&charter) {
            Ok(charter) => Some(charter),
            Err(error) => {
                tracing::error!(%session, %error, "what it was begun with cannot be read: it goes on by what its game is now");
                None
            }
        });
        let slept =
            asleep.map_or(Duration::ZERO, |asleep| Duration::from_micros(now_us().saturating_sub(asleep.at_us)));
        self.go_on(session, charter, record, (start, state, slept), seal).await
    }

    /// From where a session goes on that a run led, and whose log that is. One that was evicted before goes on from there, if the
    /// run had not written more.
    async fn start(&self, logs: &mut Logs, run: Node, record: &Record) -> Result<Option<(Start, Source)>, NotNow> {
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
                return Some((start, Source { run: Node::of_epoch(epoch), asleep: None }));
            }
            let is_useless = |at: &Checkpoint| logs.is_distrusted(&record.session, at.epoch, at.position);
            let is_it = |state: &Checkpoint| state.epoch == epoch && state.position <= last && !is_useless(state);
            let states = states.iter().filter(|state| is_it(&state.checkpoint));
            let Evicted { checkpoint, charter, at_us, .. } =
                states.max_by_key(|state| state.checkpoint.position)?.clone();
            Some((Start::at(Box::new(checkpoint)), Source { run, asleep: Some(Asleep { at_us, charter }) }))
        });
        Ok(start.ok())
    }

    /// Makes the record by which this node leads a session, and has a worker begin it.
    async fn go_on(
        &self,
        session: &SessionId,
        charter: Option<Charter>,
        record: Record,
        (start, state, slept): (Start, Option<Arc<State>>, Duration),
        seal: u64,
    ) -> Result<Outcome, NotNow> {
        let module = module_of(state.as_deref(), &start);
        let no_start = "its log does not begin with a start";
        let module = module.ok_or_else(|| NotNow::Lost(no_start.to_owned(), Some(Box::new(record.clone()))))?;
        let module = self.catalogue.ready(module).await.map_err(|error| NotNow::Module(error.to_string()))?;
        let recovering = Recovering { session: session.clone(), charter, leader: record.leader };
        let (worker, terms) = self.control.recover(recovering).await?;
        let me = Member { node: self.me, worker };
        let epoch = me.epoch_after(record.epoch.number);
        let cause = (Cause::Recovered { seal }, ChainHome::Store);
        let next = record.succeeded(me, epoch, BTreeSet::new(), start.end, cause);
        let made = self.store.try_record(&next).await;
        let restore = Box::new(Restore { module, terms, record: Arc::new(next), state, start, slept });
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

/// Whether what is taken for a session's newest record is that, as far as the logs of a run tell: nothing of an epoch is in a log
/// before its record was made.
fn knows_newest(logs: &Logs, run: Node, record: &Record) -> Result<(), NotNow> {
    let later = logs.of(run).filter_map(|(_, log)| log.newest_epoch(&record.session)).max();
    match later.filter(|epoch| newer(*epoch, record.epoch)) {
        Some(epoch) => Err(NotNow::MissingRecord { name: record_name(&record.session, record.number + 1), epoch }),
        None => Ok(()),
    }
}

/// Takes what waits, as far as there is room.
fn take_wanted(queue: &mut mpsc::Receiver<(SessionId, Node)>, wanted: &mut BTreeMap<SessionId, Node>) {
    while let Ok((session, leader)) = queue.try_recv() {
        if wanted.len() < WANTED || wanted.contains_key(&session) {
            wanted.insert(session, leader);
        }
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

#[cfg(test)]
mod tests {
    use ringside_core::ids::NodeId;
    use ringside_golden::GoldenFile;

    use super::*;

    #[test]
    fn sessions_beyond_the_bound_are_looked_after_when_they_are_asked_for_again() {
        let leader = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
        let newest = |key: usize| Record::first(format!("echo/{key}@0000000000000001").parse().unwrap(), leader);
        let ((asks, mut queue), mut wanted) = (Wanted::queue(), BTreeMap::new());
        (0..=WANTED).for_each(|key| asks.note(&newest(key)));
        take_wanted(&mut queue, &mut wanted);
        assert_eq!(wanted.len(), WANTED, "nobody waits for room");
        asks.note(&newest(WANTED));
        take_wanted(&mut queue, &mut wanted);
        assert!(wanted.len() == WANTED && !wanted.contains_key(&newest(WANTED).session));
        wanted.pop_first();
        asks.note(&newest(WANTED));
        take_wanted(&mut queue, &mut wanted);
        assert!(wanted.contains_key(&newest(WANTED).session));
    }

    /// What logs and evicted states say of sessions' beginnings, in all formats that were published.
    const CHARTERS: GoldenFile = GoldenFile {
        package_directory: env!("CARGO_MANIFEST_DIR"),
        name: "charters-1.hex",
        package: "ringside-node",
        version: "ringside_core::durable::object::FORMAT",
    };

    #[test]
    fn charters_of_the_published_format_are_written_and_read_as_they_were() {
        CHARTERS.check_samples(|charter: &Charter| charter.encode().to_vec(), |bytes| Charter::decode(bytes).unwrap());
    }
}
