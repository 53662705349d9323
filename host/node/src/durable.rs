//! The log of this run's durable sessions: a task that writes what workers and the control task hand in, as
//! `ringside_core::durable::writer` decides, and tells workers what is stored. Where the store is away it goes on trying:
//! durable output waits meanwhile, and nothing else does. Where another node has sealed the log, every worker is told so
//! before another log is begun, and that it was begun after that, each in this order.

mod clearing;
mod logs;
pub mod recovery;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use ringside_core::durable::LogName;
use ringside_core::durable::object::{Closed, Item, Opened};
use ringside_core::durable::writer::{Output, Reply, Request, Writer};
use ringside_core::ids::{Node, SessionId, WorkerId};
use ringside_worker::Command;
use ringside_worker::durable::Stored;
use ringside_worker::shell::WorkerHandle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::logs::Logs;
use crate::limits::LOG_QUEUE;
use crate::store::Store;
use crate::workers::Handles;

/// How soon a worker that took nothing is told again.
const TELL_AGAIN: Duration = Duration::from_millis(20);
/// How many sessions are asked for a checkpoint in that time where all are to be written anew.
const ANEW: usize = 16;

enum Word {
    Workers(Handles),
    Items(WorkerId, Vec<Item>),
    Note(Item),
    Evicted(SessionId),
    Rewrite,
    Has(Vec<SessionId>, oneshot::Sender<bool>),
    Stop(oneshot::Sender<()>),
}

/// What was counted.
#[derive(Debug, Default)]
struct Counters {
    objects: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    left_out: AtomicU64,
    seals: AtomicU64,
    waiting_bytes: AtomicU64,
    is_away: AtomicU64,
}

/// The way to the log; cheap to clone.
#[derive(Clone)]
pub struct NodeLog {
    words: mpsc::Sender<Word>,
    counters: Arc<Counters>,
}

impl NodeLog {
    /// Starts the log of a run on the current runtime.
    pub fn start(store: Store, run: Node) -> NodeLog {
        let (words, queue) = mpsc::channel(LOG_QUEUE);
        let counters = Arc::<Counters>::default();
        let (answers, answered) = mpsc::unbounded_channel();
        let task = Task {
            store,
            writer: Writer::new(run, crate::random::u64()),
            counters: Arc::clone(&counters),
            workers: Handles::default(),
            places: HashMap::new(),
            untold: BTreeMap::new(),
            rewriting: VecDeque::new(),
            turns: 0,
            told: BTreeMap::new(),
            answers,
            is_asking: false,
            stopping: Vec::new(),
        };
        tokio::spawn(task.run(queue, answered));
        NodeLog { words, counters }
    }

    /// The workers that are told what is stored. Not for async code.
    pub fn serve(&self, workers: Handles) {
        let _ = self.words.blocking_send(Word::Workers(workers));
    }

    /// Takes what a worker hands on; waits where the queue is full. Not for async code.
    pub fn take(&self, worker: WorkerId, items: Vec<Item>) {
        let _ = self.words.blocking_send(Word::Items(worker, items));
    }

    /// Notes that this run leads a session. Never waits: what finds no room is not noted.
    pub fn opened(&self, opened: Opened) {
        let _ = self.words.try_send(Word::Note(Item::Opened(opened)));
    }

    /// Notes that this run leads a session no more.
    pub fn closed(&self, session: SessionId, why: Closed) {
        let _ = self.words.try_send(Word::Note(Item::Closed { session, why }));
    }

    /// Notes that a session that this run led is in the store, where nobody leads it.
    pub fn evicted(&self, session: SessionId) {
        let _ = self.words.try_send(Word::Evicted(session));
    }

    /// The checkpoints that it has are of a version that not everybody reads any more: all are written anew, a few at a time.
    /// Never waits: where there is no room they come with the sessions' next ones.
    pub fn rewrite(&self) {
        let _ = self.words.try_send(Word::Rewrite);
    }

    /// Whether this log has all that recovery of these sessions needs.
    pub async fn has(&self, sessions: Vec<SessionId>) -> bool {
        let (answer, answered) = oneshot::channel();
        self.words.send(Word::Has(sessions, answer)).await.is_ok() && answered.await.unwrap_or(false)
    }

    /// Returns when everything that was handed in is stored.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        if self.words.send(Word::Stop(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// What was counted, by name.
    pub fn counted(&self) -> Vec<(&'static str, u64)> {
        let Counters { objects, bytes, errors, left_out, seals, waiting_bytes, is_away } = &*self.counters;
        vec![
            ("ringside_log_objects_total", objects.load(Relaxed)),
            ("ringside_log_bytes_total", bytes.load(Relaxed)),
            ("ringside_log_errors_total", errors.load(Relaxed)),
            ("ringside_log_left_out_total", left_out.load(Relaxed)),
            ("ringside_log_seals_total", seals.load(Relaxed)),
            ("ringside_log_waiting_bytes", waiting_bytes.load(Relaxed)),
            ("ringside_log_store_away", is_away.load(Relaxed)),
        ]
    }
}

/// What came of a question that a task of its own has asked.
enum Answer {
    Store(u64, Reply),
    /// What a log has of a session, from an object on, nobody needs.
    Settled(LogName, SessionId, u64),
    /// All sessions that were asked about have been looked at.
    Asked,
}

struct Task {
    store: Store,
    writer: Writer,
    counters: Arc<Counters>,
    workers: Handles,
    places: HashMap<SessionId, WorkerId>,
    /// What workers had no room to be told.
    untold: BTreeMap<SessionId, Stored>,
    /// Sessions whose checkpoints are to be written anew.
    rewriting: VecDeque<SessionId>,
    /// How often the log was sealed or begun anew: it is sealed where that is odd.
    turns: u64,
    /// How many of those turns each worker has been told.
    told: BTreeMap<usize, u64>,
    answers: mpsc::UnboundedSender<Answer>,
    /// Whether it is being asked what others need of the log.
    is_asking: bool,
    stopping: Vec<oneshot::Sender<()>>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Word>, mut answered: mpsc::UnboundedReceiver<Answer>) {
        // Times are subtracted: it begins well above zero.
        let start = Instant::now();
        let now = || start.elapsed().as_micros() as u64 + 1_000_000;
        let mut is_open = true;
        while is_open || !self.writer.is_idle() {
            let due = self.writer.next_timeout();
            let due = due.map(|due| start + Duration::from_micros(due.saturating_sub(1_000_000)));
            let has_more = !self.untold.is_empty() || !self.rewriting.is_empty() || !self.all_told();
            let again = has_more.then(|| Instant::now() + TELL_AGAIN);
            tokio::select! {
                word = queue.recv(), if is_open => match word {
                    Some(word) => self.handle(now(), word),
                    None => is_open = false,
                },
                Some(answer) = answered.recv() => match answer {
                    Answer::Store(question, reply) => self.writer.handle_reply(now(), question, reply),
                    Answer::Settled(log, session, first) => self.writer.handle_settled(log, &session, first),
                    Answer::Asked => self.is_asking = false,
                },
                () = sleep_until(due) => self.writer.handle_timeout(now()),
                () = sleep_until(again) => self.write_anew(),
            }
            self.act(now());
        }
    }

    fn handle(&mut self, now: u64, word: Word) {
        match word {
            Word::Workers(workers) => self.workers = workers,
            Word::Items(worker, items) => {
                for item in items {
                    if let Item::Entries { session, .. } = &item {
                        self.places.insert(session.clone(), worker);
                    }
                    if let Item::Checkpoint(checkpoint) = &item {
                        self.places.insert(checkpoint.session.clone(), worker);
                    }
                    self.writer.handle_item(now, item);
                }
            }
            Word::Note(item) => {
                if let Item::Closed { session, .. } = &item {
                    self.places.remove(session);
                    self.untold.remove(session);
                }
                self.writer.handle_item(now, item);
            }
            Word::Evicted(session) => {
                self.places.remove(&session);
                self.untold.remove(&session);
                self.writer.handle_evicted(now, session);
            }
            Word::Rewrite => {
                let written = self.writer.sessions().filter(|(_, first)| first.is_some());
                self.rewriting = written.map(|(session, _)| session.clone()).collect();
            }
            Word::Has(sessions, answer) => {
                let known: BTreeMap<&SessionId, Option<u64>> = self.writer.sessions().collect();
                let has = |session: &SessionId| known.get(session).is_some_and(Option::is_some);
                let _ = answer.send(sessions.iter().all(has));
            }
            Word::Stop(done) => self.stopping.push(done),
        }
    }

    fn act(&mut self, now: u64) {
        self.act_on_outputs();
        self.tell_turns();
        if self.writer.is_sealed() && self.all_told() {
            self.writer.handle_reopen(now);
            self.act_on_outputs();
        }
        self.tell();
        self.counters.left_out.store(self.writer.left_out(), Relaxed);
        self.counters.waiting_bytes.store(self.writer.waiting_bytes() as u64, Relaxed);
        if self.writer.is_idle() && self.untold.is_empty() {
            for done in self.stopping.drain(..) {
                let _ = done.send(());
            }
        }
    }

    fn act_on_outputs(&mut self) {
        while let Some(output) = self.writer.poll() {
            match output {
                Output::Ask(question, request) => self.ask(question, request),
                Output::Stored { session, epoch, position } => {
                    self.untold.insert(session.clone(), Stored { session, epoch, position });
                }
                Output::Checkpoint(session) if !self.asks_for_checkpoint(&session) => {
                    self.writer.handle_no_checkpoint(&session);
                }
                Output::Checkpoint(_) => {}
                Output::Forget { first } => {
                    let (store, log) = (self.store.clone(), self.writer.log());
                    tokio::spawn(async move {
                        if let Err(error) = store.forget_log(log, first).await {
                            tracing::warn!(%error, "what the log needs no more is deleted later");
                        }
                    });
                }
                Output::Departed(sessions) => self.ask_who_needs(sessions),
                Output::Away(is_away) => {
                    self.counters.is_away.store(u64::from(is_away), Relaxed);
                    match is_away {
                        true => {
                            tracing::error!("the store does not take the log: durable sessions wait, the others go on")
                        }
                        false => tracing::info!("the store takes the log again"),
                    }
                }
                Output::Sealed => {
                    self.counters.seals.fetch_add(1, Relaxed);
                    tracing::error!(
                        log = %self.writer.log(),
                        "others believed that this node was gone and sealed its log: durable sessions wait until another \
                         log is begun, and go on there unless another node has taken them over"
                    );
                    // Where it was sealed before the other log was open they know.
                    self.turns += 1 - self.turns % 2;
                }
                Output::Reopened => {
                    tracing::info!(log = %self.writer.log(), "another log was begun: durable sessions go on");
                    self.turns += 1;
                }
            }
        }
    }

    /// Has a session's worker take a whole checkpoint. Whether it was told so.
    fn asks_for_checkpoint(&self, session: &SessionId) -> bool {
        let sent = self.worker(session).map(|worker| worker.send(Command::Checkpoint { session: session.clone() }));
        matches!(sent, Some(Ok(())))
    }

    fn write_anew(&mut self) {
        for _ in 0..ANEW.min(self.rewriting.len()) {
            let Some(session) = self.rewriting.pop_front() else { return };
            // Of one that has gone elsewhere nothing more is written here.
            if self.places.contains_key(&session) && !self.asks_for_checkpoint(&session) {
                return self.rewriting.push_front(session);
            }
        }
    }

    /// Tells workers, each in order, how the log has turned.
    fn tell_turns(&mut self) {
        if self.all_told() {
            return;
        }
        let workers = self.handles().clone();
        for (at, worker) in workers.iter().enumerate() {
            let told = self.told.entry(at).or_default();
            while *told < self.turns {
                let turn = if told.is_multiple_of(2) { Command::Sealed } else { Command::Reopened };
                if worker.send(turn).is_err() {
                    break;
                }
                *told += 1;
            }
        }
    }

    fn all_told(&self) -> bool {
        // As with most runs of nodes, for ever.
        if self.turns == 0 {
            return true;
        }
        let workers = self.handles().len();
        (0..workers).all(|at| self.told.get(&at).copied().unwrap_or_default() == self.turns)
    }

    fn handles(&self) -> MutexGuard<'_, Vec<WorkerHandle>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self, session: &SessionId) -> Option<WorkerHandle> {
        self.handles().get(usize::from(self.places.get(session)?.0)).cloned()
    }

    /// Tells workers what is stored, all of one in one command.
    fn tell(&mut self) {
        let mut by_worker: BTreeMap<WorkerId, Vec<Stored>> = BTreeMap::new();
        for (session, stored) in std::mem::take(&mut self.untold) {
            if let Some(worker) = self.places.get(&session) {
                by_worker.entry(*worker).or_default().push(stored);
            }
        }
        for (worker, stored) in by_worker {
            let Some(handle) = self.handles().get(usize::from(worker.0)).cloned() else { continue };
            if handle.send(Command::Stored(stored.clone())).is_err() && !self.writer.is_sealed() {
                self.untold.extend(stored.into_iter().map(|stored| (stored.session.clone(), stored)));
            }
        }
    }

    /// One question at a time: the writer asks again.
    fn ask_who_needs(&mut self, sessions: Vec<(SessionId, u64)>) {
        if std::mem::replace(&mut self.is_asking, true) {
            return;
        }
        let (store, log, answers) = (self.store.clone(), self.writer.log(), self.answers.clone());
        tokio::spawn(async move {
            let mut logs = Logs::new(store);
            for (session, first) in sessions {
                match logs.needs(log, &session).await {
                    Ok(true) => {
                        tracing::debug!(%session, "this log is needed for the sake of a session that another leads")
                    }
                    Ok(false) => _ = answers.send(Answer::Settled(log, session, first)),
                    Err(error) => {
                        tracing::warn!(%session, %error, "whether the log is needed is asked again");
                        break;
                    }
                }
            }
            let _ = answers.send(Answer::Asked);
        });
    }

    fn ask(&self, question: u64, request: Request) {
        let (store, log, answers, counters) =
            (self.store.clone(), self.writer.log(), self.answers.clone(), Arc::clone(&self.counters));
        tokio::spawn(async move {
            let reply = match request {
                Request::Create { number, object } => {
                    let bytes = object.len() as u64;
                    store.put_log(log, number, object).await.map(|is_made| {
                        counters.objects.fetch_add(1, Relaxed);
                        counters.bytes.fetch_add(bytes, Relaxed);
                        if is_made { Reply::Created } else { Reply::Exists }
                    })
                }
                Request::Read { number } => {
                    store.log_object(log, number).await.map(|found| found.map_or(Reply::Missing, Reply::Found))
                }
            };
            let reply = reply.unwrap_or_else(|error| {
                counters.errors.fetch_add(1, Relaxed);
                tracing::warn!(%error, "the log is tried again");
                Reply::Failed
            });
            let _ = answers.send(Answer::Store(question, reply));
        });
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
