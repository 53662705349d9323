//! Sessions that nobody has anything to do with: a task that puts what workers give up into the store, begins again what is
//! asked for, and looks for timers that are due. Nothing here decides who leads: that is the record's to say, of which one
//! is made.

mod activation;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringside_core::directory::{Charter, Origin, Refusal};
use ringside_core::idle::due::{Due, Order, Watch};
use ringside_core::idle::evicted::{self, Evicted};
use ringside_core::idle::look_every_us;
use ringside_core::ids::{Node, SessionId, WorkerId};
use ringside_core::leadership::record::{Cause, Record, Tier};
use ringside_worker::Create;
use ringside_worker::command::Resting;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::catalogue::Catalogue;
use crate::control::{Control, ControlError, Message};
use crate::durable::recovery::Wanted;
use crate::limits::IDLE_QUEUE;
use crate::store::{Store, StoreError};

/// Sessions that are on their way into the store or out of it at a time; others wait in the queue.
const TASKS: usize = 64;
/// How long the shards that are this node's may be out of date.
const SHARDS: Duration = Duration::from_secs(1);

/// What the task is told.
pub enum Word {
    /// A worker gives a session up when the store has this.
    Rest(WorkerId, Box<Resting>, Bytes),
    /// A session is to begin, unless one of its key was evicted.
    Look(WorkerId, Box<Create>, Origin),
    /// A session was evicted by this record. In how long its next timer is due, if that is soon.
    Evicted(Arc<Record>, Option<Duration>),
    /// A session is over, for the run that led it; where its chain is in the store, it is not if another leads it by that.
    Ended(SessionId, Option<Node>),
}

/// The way to the task; cheap to clone.
#[derive(Clone)]
pub struct Idle(mpsc::Sender<Word>);

/// What the task works with.
pub struct Parts {
    /// Which run of which node this is.
    pub me: Node,
    /// Where sessions are.
    pub store: Store,
    /// Where they go on.
    pub control: Control,
    /// What has their modules.
    pub catalogue: Arc<Catalogue>,
    /// Whether timers could not be looked for when that was tried last: it is said once.
    pub is_away: AtomicBool,
    /// What looks after sessions that are not over and that nobody leads.
    pub wanted: Wanted,
}

impl Idle {
    /// A way to a task that is started later.
    pub fn queue() -> (Idle, mpsc::Receiver<Word>) {
        let (words, queue) = mpsc::channel(IDLE_QUEUE);
        (Idle(words), queue)
    }

    /// Tells the task something; gives it back where there is no room.
    pub fn say(&self, word: Word) -> Result<(), Box<Word>> {
        self.0.try_send(word).map_err(|error| Box::new(error.into_inner()))
    }
}

/// The time, µs since 1970.
pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// What came of an order.
enum Outcome {
    Listed(u8, Option<Vec<Due>>),
    Activated(Due, bool),
}

/// Runs the task, as long as anybody may tell it something.
pub async fn run(parts: Parts, mut queue: mpsc::Receiver<Word>, idle_after: Option<Duration>) {
    let parts = Arc::new(parts);
    let places = Arc::new(Semaphore::new(TASKS));
    let idle_after_us = idle_after.map_or(ringside_core::idle::IDLE_AFTER_US, |after| after.as_micros() as u64);
    let mut watch = Watch::new(look_every_us(idle_after_us));
    let (outcomes, mut came) = mpsc::unbounded_channel();
    let mut asked = None;
    loop {
        if asked.is_none_or(|at: tokio::time::Instant| at.elapsed() >= SHARDS) {
            asked = Some(tokio::time::Instant::now());
            // A control task that has too much to do says so a moment later.
            if let Ok(shards) = parts.control.shards().await {
                watch.handle_shards(&shards);
            }
        }
        watch.handle_timeout(now_us());
        while let Some(order) = watch.poll() {
            let (parts, outcomes) = (Arc::clone(&parts), outcomes.clone());
            tokio::spawn(async move {
                let _ = outcomes.send(parts.obey(order).await);
            });
        }
        let wait = Duration::from_micros(watch.next_timeout().saturating_sub(now_us())).min(SHARDS);
        tokio::select! {
            word = queue.recv() => {
                let Some(word) = word else { return };
                let (parts, places) = (Arc::clone(&parts), Arc::clone(&places));
                // The queue holds what has no place yet.
                let Ok(place) = places.acquire_owned().await else { return };
                tokio::spawn(async move {
                    parts.handle(word, place).await;
                });
            }
            Some(outcome) = came.recv() => match outcome {
                Outcome::Listed(_, Some(due)) => watch.handle_listed(due),
                Outcome::Listed(shard, None) => watch.handle_not_listed(shard),
                Outcome::Activated(due, is_done) => watch.handle_done(now_us(), &due, is_done),
            },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Parts {
    async fn handle(&self, word: Word, place: OwnedSemaphorePermit) {
        match word {
            Word::Rest(worker, resting, charter) => self.rest(worker, *resting, charter).await,
            Word::Look(worker, create, origin) => self.look(worker, create, origin, place).await,
            Word::Evicted(record, due) => {
                if let Some(due) = due {
                    // Whoever found it due as it was led still has taken it out of the index.
                    let due = Due { at_us: now_us() + due.as_micros() as u64, session: record.session.clone() };
                    if let Err(error) = self.store.put_due(&due).await {
                        tracing::warn!(session = %due.session, %error, "a timer of an evicted session may not be seen");
                    }
                }
                // Older states are of no use to anybody. A newer one may be there by now.
                let Some(name) = evicted::name_by(&record) else { return };
                if let Err(error) = self.store.forget_evicted(&record.session, ..name).await {
                    tracing::warn!(session = %record.session, %error, "older states of an evicted session are left");
                }
            }
            Word::Ended(session, by) => self.ended(&session, by).await,
        }
    }

    /// Puts a session's state into the store, and when its timer is due: both before the record that evicts it.
    async fn rest(&self, worker: WorkerId, resting: Resting, charter: Bytes) {
        let Resting { checkpoint, timer } = resting;
        let at_us = now_us();
        let due_us = timer.map(|timer| at_us.saturating_add(timer.as_micros() as u64));
        let (session, epoch, position) = (checkpoint.session.clone(), checkpoint.epoch, checkpoint.position);
        let evicted = Evicted { charter, checkpoint, at_us, due_us };
        let put = async {
            if let Some(at_us) = due_us {
                self.store.put_due(&Due { at_us, session: session.clone() }).await?;
            }
            self.store.put_evicted(&evicted).await
        };
        match put.await {
            Ok(()) => self.control.heard(Message::Rested { worker, session, epoch, position }).await,
            Err(error) => {
                tracing::warn!(%session, %error, "an idle session stays in memory: the store does not take it")
            }
        }
    }

    /// A session is over: what the store has of it is deleted, and its chain, if it has one there, says so.
    async fn ended(&self, session: &SessionId, by: Option<Node>) {
        let done = async {
            if !self.store.end_chain(session, by).await? {
                // It goes on elsewhere.
                return Ok(());
            }
            let states = self.store.states_of(session).await?;
            for at_us in states.iter().filter_map(|state| state.due_us) {
                self.store.forget_due(&Due { at_us, session: session.clone() }).await?;
            }
            self.store.forget_evicted(session, ..).await
        };
        if let Err(error) = done.await {
            tracing::warn!(%session, %error, "the store still has something of a session that is over");
        }
    }

    async fn obey(&self, order: Order) -> Outcome {
        match order {
            Order::List { shard, minute, all } => match self.store.due(shard, minute, all).await {
                Ok(due) => {
                    if self.is_away.swap(false, Relaxed) {
                        tracing::info!("timers of evicted sessions are seen again");
                    }
                    Outcome::Listed(shard, Some(due))
                }
                Err(error) => {
                    match self.is_away.swap(true, Relaxed) {
                        false => {
                            tracing::warn!(shard, %error, "timers of evicted sessions are not seen: they are looked for again")
                        }
                        true => tracing::debug!(shard, %error, "nor are these"),
                    }
                    Outcome::Listed(shard, None)
                }
            },
            Order::Activate(due) => {
                let is_done = self.wake(&due).await;
                Outcome::Activated(due, is_done)
            }
        }
    }

    /// Whether a session that nobody leads is over. A durable one that is not goes on when its leader is found to be gone; others
    /// were lost with theirs.
    async fn is_over(&self, session: &SessionId) -> bool {
        let is_open = async {
            let newest = self.store.newest_record(session).await?;
            let Some(open) = newest.filter(|newest| newest.cause != Cause::Ended) else { return Ok(false) };
            if open.is_at_rest() {
                return Ok(true);
            }
            let is_durable = tier_of(&self.store.states_of(session).await?).is_some_and(is_kept);
            if is_durable {
                self.wanted.note(&open);
            }
            Ok::<bool, StoreError>(is_durable)
        };
        match is_open.await {
            Ok(is_open) => !is_open,
            Err(error) => {
                tracing::debug!(%session, %error, "whether it is over is asked again");
                false
            }
        }
    }

    /// Has a session go on whose timer is due, wherever. Whether that is done.
    async fn wake(&self, due: &Due) -> bool {
        let SessionId { game, key, .. } = due.session.clone();
        match self.control.open(game, key).await {
            Ok(_) => {}
            Err(ControlError::Refused(Refusal::NoSuchSession(..) | Refusal::Lost(_))) => {
                if !self.is_over(&due.session).await {
                    return false;
                }
            }
            Err(error) => {
                tracing::debug!(session = %due.session, %error, "a session whose timer is due is asked for again");
                return false;
            }
        }
        match self.store.forget_due(due).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(session = %due.session, %error, "a timer that is over is taken out of the index later");
                false
            }
        }
    }
}

/// The tier of a session of which the store has these states, by the newest.
pub(crate) fn tier_of(states: &[Evicted]) -> Option<Tier> {
    let newest = states.iter().max_by_key(|state| state.checkpoint.position)?;
    Some(Charter::decode(&newest.charter).ok()?.terms().tier)
}

/// Whether what the store has of a session is of use to recovery while it is led.
fn is_kept(tier: Tier) -> bool {
    tier == Tier::Durable
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ringside_core::idle::due;
    use ringside_core::ids::NodeId;
    use ringside_core::leadership::record::Member;
    use ringside_sandbox::{Sandbox, SandboxConfig};

    use super::*;

    fn parts() -> Parts {
        let store = Store::memory();
        let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(1) }).expect("a sandbox");
        Parts {
            me: Node { id: NodeId(1), generation: 1 },
            store: store.clone(),
            control: Control::queue(Arc::default()).0,
            catalogue: Arc::new(Catalogue::new(sandbox, store)),
            is_away: AtomicBool::default(),
            wanted: Wanted::queue().0,
        }
    }

    fn begun() -> Record {
        let leader = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
        Record::first("tally/a@0000000000000001".parse().expect("a session"), leader)
    }

    /// Whoever looked for it found its session led, and took it out.
    #[tokio::test]
    async fn a_timer_that_is_due_as_its_session_is_evicted_is_in_the_index_again() {
        let parts = parts();
        let evicted = Arc::new(begun().with_set(BTreeSet::new(), 5, Cause::Evicted));
        for (due, count) in [(None, 0), (Some(Duration::ZERO), 1)] {
            let place = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("a place");
            parts.handle(Word::Evicted(Arc::clone(&evicted), due), place).await;
            let mut found = 0;
            for shard in 0..due::SHARDS {
                found += parts.store.due(shard, u64::MAX, true).await.expect("a list").len();
            }
            assert_eq!(found, count);
        }
    }

    #[tokio::test]
    async fn a_session_that_nobody_leads_is_over_unless_it_may_go_on() {
        let (parts, first) = (parts(), begun());
        assert!(parts.is_over(&first.session).await, "there is none");
        parts.store.put_record(&first).await.expect("a record");
        assert!(parts.is_over(&first.session).await, "what was not durable was lost with its leader");
        let evicted = first.with_set(BTreeSet::new(), 5, Cause::Evicted);
        parts.store.put_record(&evicted).await.expect("a record");
        assert!(!parts.is_over(&first.session).await, "it is in the store");
        parts.store.put_record(&evicted.ended(5)).await.expect("a record");
        assert!(parts.is_over(&first.session).await);
    }

    #[test]
    fn words_beyond_the_bound_come_back() {
        let (idle, mut queue) = Idle::queue();
        let over = || Word::Ended("lobby/a@0000000000000001".parse().expect("a session"), None);
        for _ in 0..IDLE_QUEUE {
            assert!(idle.say(over()).is_ok());
        }
        assert!(matches!(idle.say(over()).map_err(|back| *back), Err(Word::Ended(..))));
        assert!(queue.try_recv().is_ok());
        assert!(idle.say(over()).is_ok());
    }
}
