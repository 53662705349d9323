//! The control task: sole owner of the directory. Requests of the admin API and news of the workers come in over one
//! bounded queue; orders go out to the workers, answers back to whoever asked. Decides nothing that the directory can
//! decide, and never waits for a worker.

mod desk;
mod port;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ringside_core::directory::{self, Charter, Create, Placed, Refusal};
use ringside_core::ids::{
    Certificate, Epoch, GameName, Incarnation, Node, NodeId, PlayerId, Position, SessionId, SessionKey, WorkerId,
};
use ringside_core::leadership::record::{Member, Motive, Terms};
use ringside_core::membership::View;
use ringside_core::placement::Loads;
use ringside_core::rebalance::Going;
use ringside_protocol::frame::Target;
use ringside_protocol::reason::Reason;
use ringside_worker::command::NotEvicted;
use ringside_worker::durable::Restore;
use ringside_worker::{Event, Resolved};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::api::{DirectoryInfo, Explanation, SessionInfo, WorkerInfo};
use crate::catalogue::Served;
use crate::chains::NotBegun;
use crate::cluster::wire::Probe;
use crate::handover::messages::Cluster;
use crate::limits::{CONTROL_ANSWER, CONTROL_QUEUE, END_ANSWER};
use crate::pace::every;
pub use desk::{Companion, Desk, Identity, Outlet};
pub use port::{Port, Usage};

/// How often the workers' loads are read.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a worker that had too much to do is told again to begin a session.
const BUSY: Duration = Duration::from_millis(20);

/// Why a request was not answered with what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The directory refused; nothing changed.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The queue is full, or a worker did not answer; try again.
    #[error("the node has too much to do at the moment")]
    Overloaded,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
    /// The node has not found the cluster that it is to join; try again, or another node.
    #[error("the node is joining its cluster")]
    Joining,
    /// The node that leads the session cannot be seen; try again.
    #[error("node {0}, which leads the session, cannot be seen at the moment")]
    Gone(NodeId),
    /// There is no such session (any more).
    #[error("there is no live session {0}")]
    NoSuchSession(String),
}

/// What the node is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Live sessions.
    pub sessions: usize,
    /// Whether it takes no new sessions.
    pub draining: bool,
    /// Whether all nodes have told it what they lead since the ring changed last.
    pub settled: bool,
    /// Signals of guests that found no room.
    pub signals_dropped: u64,
    /// Sessions that it follows.
    pub followed: usize,
    /// Those of them that are about to be led here.
    pub arriving: usize,
    /// Sessions that are led here in which the run before counts, and need not.
    pub spare: usize,
    /// Sessions that it has evicted.
    pub evictions: u64,
    /// Sessions that were in the store and went on here.
    pub activations: u64,
    /// Its workers.
    pub workers: Vec<WorkerInfo>,
}

/// How far a session is on its way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveState {
    /// This node leads it.
    Led(Node),
    /// Its leader gives the lead away: ask again.
    Begun,
    /// The other node cannot take it yet, for this reason: ask again.
    Waits(&'static str),
    /// It cannot be moved.
    Refused(String),
}

/// Where a session is, and where its worker is reached.
pub type Opened = (Placed, SocketAddr);

/// An answer that comes back later.
pub type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// A session as a request names it; without an incarnation, the live one of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionName {
    /// The game.
    pub game: GameName,
    /// The key.
    pub key: SessionKey,
    /// Which of them.
    pub incarnation: Option<Incarnation>,
}

/// Whether a run of a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether it is.
    pub is_present: bool,
    /// Whether it is known to have ended: it was to succeed this run and was abandoned, or is the one that this one succeeds.
    pub is_over: bool,
    /// Whether its log is this node's to take over, if it is not. No other node's while a run of its own is there: that sees
    /// to it, or this is the run that is about to be the node. But one that may be unable to read it is helped.
    pub is_ours: bool,
}

/// A session that is about to begin again.
#[derive(Debug)]
pub struct Recovering {
    /// Which.
    pub session: SessionId,
    /// What it was begun with, if that is known.
    pub charter: Option<Charter>,
    /// Who led it.
    pub leader: Member,
}

/// A player whose session nobody leads.
pub struct Unfound {
    asker: desk::Asker,
    answer: Result<Resolved, ringside_worker::Refusal>,
}

/// What a client asks who has opened nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// Who.
    pub player: PlayerId,
    /// What for.
    pub target: Target,
    /// Whether a session may be created for it.
    pub may_create: bool,
}

/// What the control task is told.
pub enum Message {
    /// A worker said something.
    Event(WorkerId, Event),
    /// A game's version is served from now on.
    Game(Served),
    /// Everything that others serve was heard of.
    GamesKnown,
    /// Somebody wants a session created.
    Create(Box<Create>, Reply<(Placed, SocketAddr)>),
    /// Somebody wants to see a session.
    Show(SessionName, Reply<SessionInfo>),
    /// Somebody wants everything that is recorded of a session so far to be with the recorder.
    Flush(SessionName, Reply<Option<SessionId>>),
    /// Somebody wants a session ended.
    End(SessionName, String, Reply<(SessionInfo, oneshot::Receiver<bool>)>),
    /// A session is to be led by another node, for a reason; asked again until it is.
    Move(SessionName, Node, Motive, Reply<MoveState>),
    /// What is to go to other nodes by itself now, at most so many sessions?
    Wave(usize, Reply<Vec<Going>>),
    /// A session of a wave is led where it was to go, or is not.
    Given(SessionId, bool),
    /// Somebody wants to know where a session goes when it leaves this node, if not to these.
    Elsewhere(SessionName, Vec<NodeId>, Reply<Option<Node>>),
    /// Somebody wants the list of live sessions.
    Sessions(Reply<Vec<SessionInfo>>),
    /// Somebody wants the list of ended sessions.
    Ended(Reply<Vec<SessionInfo>>),
    /// Somebody wants to see what the directory knows.
    Entries(Reply<DirectoryInfo>),
    /// Somebody wants to know how the node is.
    Status(Reply<Status>),
    /// Somebody wants to know why a session is here.
    Explain(SessionName, Reply<Explanation>),
    /// A client wants to know where a session is before it opens anything.
    Resolve(Box<Resolve>, Reply<Result<Resolved, ringside_worker::Refusal>>),
    /// All sessions are to end, for this reason.
    EndAll(String),
    /// The cluster is another one.
    View(Arc<View>),
    /// What the nodes' sessions cost.
    Loads(Loads),
    /// The workers serve another certificate from now on.
    Certified(Certificate),
    /// The eras of the nodes' tickets.
    Eras(BTreeMap<Node, u32>),
    /// Another node's directory said something.
    Directory(Node, Box<directory::Message>),
    /// A signal from a session of another node.
    Signal {
        /// For the session of this game and key.
        game: GameName,
        /// Its key.
        key: SessionKey,
        /// `game/key` of the sender.
        source: String,
        /// What the guest gets.
        body: Bytes,
    },
    /// The chain of a session that a worker is to create was begun, or not.
    Begun(WorkerId, Box<ringside_worker::Create>, Result<(), NotBegun>),
    /// Which runs of nodes are there, and whose logs are this node's to take over.
    Presence(Vec<Node>, Reply<Vec<Presence>>),
    /// A session is about to begin again here: on which worker, and what it promises.
    Recover(Box<Recovering>, Reply<(WorkerId, Terms)>),
    /// Its worker is to begin it; it comes back where that has too much to do.
    Restore(WorkerId, Box<Restore>, Reply<Result<(), Box<Restore>>>),
    /// It does not begin again here.
    NotRecovered(SessionId),
    /// The sessions of this node's earlier runs are here again.
    Recovered,
    /// Somebody wants a session evicted; asked again until it is.
    Evict(SessionName, Reply<Result<(), NotEvicted>>),
    /// The store has the state of a session that is to be evicted.
    Rested {
        /// The worker that leads it.
        worker: WorkerId,
        /// Which.
        session: SessionId,
        /// Of which epoch its state is.
        epoch: Epoch,
        /// After which entry.
        position: Position,
    },
    /// No session of the key of one that is to be created was evicted.
    Anew(WorkerId, Box<ringside_worker::Create>),
    /// The same, and none is to be created.
    NotAsleep(SessionId),
    /// What was to be created under the first id goes on as a session that was evicted.
    Activate(SessionId, Box<Charter>, Reply<(WorkerId, Terms)>),
    /// It does not.
    NotActivated {
        /// What was to be created.
        birth: SessionId,
        /// What was evicted.
        session: SessionId,
        /// Why.
        why: String,
    },
    /// What was to be created is a session that was evicted, and in a version that this node does not read.
    NotReadable {
        /// What was to be created.
        birth: SessionId,
        /// Why.
        why: String,
    },
    /// Somebody wants the session with a key, wherever it is led or has to go on; none is created.
    Open(GameName, SessionKey, Reply<Opened>),
    /// Which shards of the index of timers are this node's to look after.
    Shards(Reply<BTreeSet<u8>>),
    /// A session was lost with the node that led it; in words.
    Lost(SessionId, String),
    /// Whether a player's session that nobody leads is about to go on from the store.
    Looked(Box<Unfound>, bool),
    /// Another node wants to know whether a party of this one is there.
    Try(Node, Box<Probe>),
    /// It is.
    There(Node, Box<Probe>),
    /// Another node has reached a party that a worker of this one does not hear of.
    Reached(Box<Probe>),
    /// It was looked whether a node's process has ended; whether it has.
    Knocked(Node, bool),
    /// No new sessions from now on.
    Drain,
    /// Another run of this node is beside it.
    Companion(Box<Companion>),
    /// What the other run's tickets must say.
    CompanionEra(u32),
    /// A checkpoint of a worker of the other run, for a worker of this one.
    Passed {
        /// That worker.
        from: WorkerId,
        /// This one.
        to: WorkerId,
        /// The checkpoint.
        body: Bytes,
    },
    /// The other run is about to end: nobody of it need count where a session is safe without.
    Spare(Node),
    /// The other run is over, or about to end as it should.
    Parted {
        /// Which.
        node: Node,
        /// Whether it is over.
        is_over: bool,
    },
    /// The other run is to know the cluster.
    Cluster(Reply<Cluster>),
    /// A worker that has no sessions lets players in as well.
    Door(WorkerId, Port),
    /// This run is a member of the cluster from now on.
    Enter(Outlet),
}

/// The way to the control task of what it has set going itself: holds it up neither when it is full nor when it ends.
#[derive(Clone)]
pub struct Later(mpsc::WeakSender<Message>);

impl Later {
    /// Says something; what finds no room is lost.
    fn say(&self, message: Message) {
        if let Some(messages) = self.0.upgrade() {
            let _ = messages.try_send(message);
        }
    }

    /// Says something that must not be lost, as long as there is a control task.
    async fn say_surely(&self, message: Message) {
        if let Some(messages) = self.0.upgrade() {
            let _ = messages.send(message).await;
        }
    }
}

/// The way to the control task; cheap to clone.
#[derive(Clone)]
pub struct Control {
    messages: mpsc::Sender<Message>,
    load_us: Arc<AtomicU64>,
}

impl Control {
    /// A queue for a control task that is started later with [`run`]: workers are started in between and already
    /// need it.
    pub fn queue(load_us: Arc<AtomicU64>) -> (Control, mpsc::Receiver<Message>) {
        let (messages, queue) = mpsc::channel(CONTROL_QUEUE);
        (Control { messages, load_us }, queue)
    }

    /// The way in for the task itself.
    pub fn later(&self) -> Later {
        Later(self.messages.downgrade())
    }

    /// What the node's workers used lately, CPU µs a second.
    pub fn load_us(&self) -> u64 {
        self.load_us.load(Ordering::Relaxed)
    }

    /// The workers serve another certificate from now on.
    pub async fn certified(&self, certificate: Certificate) {
        let _ = self.messages.send(Message::Certified(certificate)).await;
    }

    /// The eras of the nodes' tickets.
    pub async fn eras(&self, eras: BTreeMap<Node, u32>) {
        let _ = self.messages.send(Message::Eras(eras)).await;
    }

    /// The cluster is another one.
    pub async fn view(&self, view: Arc<View>) {
        let _ = self.messages.send(Message::View(view)).await;
    }

    /// What the nodes' sessions cost.
    pub async fn loads(&self, loads: Loads) {
        let _ = self.messages.send(Message::Loads(loads)).await;
    }

    /// Hands in what another node said; waits where the queue is full.
    pub async fn heard(&self, message: Message) {
        let _ = self.messages.send(message).await;
    }

    /// Why a session is on this node.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn explain(&self, name: SessionName) -> Result<Explanation, ControlError> {
        self.ask(|reply| Message::Explain(name, reply)).await
    }

    /// Where a client who asks in advance is to go.
    ///
    /// # Errors
    /// Why there is no such place, as a worker would say it.
    pub async fn resolve(&self, resolve: Resolve) -> Result<Resolved, ringside_worker::Refusal> {
        match self.ask(|reply| Message::Resolve(Box::new(resolve), reply)).await {
            Ok(answer) => answer,
            Err(error) => {
                let reason = if error == ControlError::Stopping { Reason::Stopping } else { Reason::Overloaded };
                Err(ringside_worker::Refusal { reason, message: error.to_string() })
            }
        }
    }

    /// Ends all sessions.
    pub async fn end_all(&self, reason: String) {
        let _ = self.messages.send(Message::EndAll(reason)).await;
    }

    /// Hands in what a worker said; waits where the queue is full. Not for async code.
    pub fn event(&self, worker: WorkerId, event: Event) {
        let _ = self.messages.blocking_send(Message::Event(worker, event));
    }

    /// A game's version is served from now on.
    ///
    /// # Errors
    /// [`ControlError::Overloaded`] or [`ControlError::Stopping`].
    pub async fn game(&self, served: Served) -> Result<(), ControlError> {
        self.messages.send(Message::Game(served)).await.map_err(|_| ControlError::Stopping)
    }

    /// Everything that others serve was heard of: what is unknown now is served nowhere.
    pub async fn games_known(&self) {
        let _ = self.messages.send(Message::GamesKnown).await;
    }

    /// Creates a session; answers where it is.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn create(&self, create: Create) -> Result<(Placed, SocketAddr), ControlError> {
        self.ask(|reply| Message::Create(Box::new(create), reply)).await
    }

    /// A session with what its worker knows of it, or one that ended lately.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn session(&self, name: SessionName) -> Result<SessionInfo, ControlError> {
        self.ask(|reply| Message::Show(name, reply)).await
    }

    /// Returns when everything that is recorded of a session so far is with the recorder; answers which session it
    /// is, unless it ended too long ago to be remembered.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn flush(&self, name: SessionName) -> Result<Option<SessionId>, ControlError> {
        self.ask(|reply| Message::Flush(name, reply)).await
    }

    /// Ends a session. Answers when it has ended, or that it is `ending` where its followers or the store are waited for.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn end(&self, name: SessionName, reason: String) -> Result<SessionInfo, ControlError> {
        let (info, ended) = self.ask(|reply| Message::End(name, reason, reply)).await?;
        let state = match tokio::time::timeout(END_ANSWER, ended).await {
            Ok(Ok(true)) => "ended",
            Ok(Ok(false)) => return Err(ControlError::NoSuchSession(info.session)),
            // Its worker did not take the order, or does not lead the session any more.
            Ok(Err(_)) => return Err(ControlError::Overloaded),
            Err(_) => "ending",
        };
        Ok(SessionInfo { state: state.to_owned(), ..info })
    }

    /// Has a session led by another node, one step further: to be called again until it is.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn move_session(&self, name: SessionName, to: Node, motive: Motive) -> Result<MoveState, ControlError> {
        self.ask(|reply| Message::Move(name, to, motive, reply)).await
    }

    /// What is to go to other nodes by itself now, at most so many sessions; [`Control::given`] for each.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn wave(&self, at_most: usize) -> Result<Vec<Going>, ControlError> {
        self.ask(|reply| Message::Wave(at_most, reply)).await
    }

    /// A session of a wave is led where it was to go, or is not.
    pub async fn given(&self, session: SessionId, is_there: bool) {
        let _ = self.messages.send(Message::Given(session, is_there)).await;
    }

    /// Where a session goes when it leaves this node, if not to these.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn elsewhere(&self, name: SessionName, tried: Vec<NodeId>) -> Result<Option<Node>, ControlError> {
        self.ask(|reply| Message::Elsewhere(name, tried, reply)).await
    }

    /// Live sessions, in order of game and key.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, ControlError> {
        self.ask(Message::Sessions).await
    }

    /// Sessions that ended last, newest first.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn ended(&self) -> Result<Vec<SessionInfo>, ControlError> {
        self.ask(Message::Ended).await
    }

    /// What the directory knows.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn entries(&self) -> Result<DirectoryInfo, ControlError> {
        self.ask(Message::Entries).await
    }

    /// How the node is.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn status(&self) -> Result<Status, ControlError> {
        self.ask(Message::Status).await
    }

    /// Which runs of nodes are there.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn presence(&self, runs: Vec<Node>) -> Result<Vec<Presence>, ControlError> {
        self.ask(|reply| Message::Presence(runs, reply)).await
    }

    /// A session is about to begin again here: on which worker, and what it promises.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn recover(&self, recovering: Recovering) -> Result<(WorkerId, Terms), ControlError> {
        self.ask(|reply| Message::Recover(Box::new(recovering), reply)).await
    }

    /// Has a worker begin a session again, by a record that is made: however much is to do, for given up it would be led by
    /// nobody.
    ///
    /// # Errors
    /// [`ControlError::Stopping`].
    pub async fn restore(&self, worker: WorkerId, mut restore: Box<Restore>) -> Result<(), ControlError> {
        loop {
            let (reply, answer) = oneshot::channel();
            let sent = self.messages.send(Message::Restore(worker, restore, reply)).await;
            sent.map_err(|_| ControlError::Stopping)?;
            match answer.await.unwrap_or(Err(ControlError::Stopping))? {
                Ok(()) => return Ok(()),
                Err(back) => restore = back,
            }
            tokio::time::sleep(BUSY).await;
        }
    }

    /// A session does not begin again here.
    pub async fn not_recovered(&self, session: SessionId) {
        let _ = self.messages.send(Message::NotRecovered(session)).await;
    }

    /// Has a session evicted, if it is idle: to be called again until there is none.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn evict(&self, name: SessionName) -> Result<Result<(), NotEvicted>, ControlError> {
        self.ask(|reply| Message::Evict(name, reply)).await
    }

    /// What was to be created as `birth` goes on as a session that was evicted: on which worker, and what it promises.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn activate(&self, birth: SessionId, charter: Charter) -> Result<(WorkerId, Terms), ControlError> {
        self.ask(|reply| Message::Activate(birth, Box::new(charter), reply)).await
    }

    /// The session with a key, wherever it is led or has to go on.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn open(&self, game: GameName, key: SessionKey) -> Result<Opened, ControlError> {
        self.ask(|reply| Message::Open(game, key, reply)).await
    }

    /// The shards of the index of timers that are this node's to look after.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn shards(&self) -> Result<BTreeSet<u8>, ControlError> {
        self.ask(Message::Shards).await
    }

    /// The sessions of this node's earlier runs are here again: players may come.
    pub async fn recovered(&self) {
        let _ = self.messages.send(Message::Recovered).await;
    }

    /// A session was lost.
    pub async fn lost(&self, session: SessionId, reason: String) {
        let _ = self.messages.send(Message::Lost(session, reason)).await;
    }

    /// Whether a session is led somewhere.
    pub async fn is_led(&self, session: &SessionId) -> bool {
        let SessionId { game, key, incarnation } = session.clone();
        let name = SessionName { game: game.clone(), key: key.clone(), incarnation: Some(incarnation) };
        if self.session(name).await.is_ok_and(|shown| shown.state == "live") {
            return true;
        }
        let Ok(player) = "recovery".parse::<PlayerId>() else { return true };
        loop {
            let target = Target::Session { game: game.clone(), key: key.clone() };
            match self.resolve(Resolve { player: player.clone(), target, may_create: false }).await {
                Ok(found) => return found.session == *session,
                Err(refusal) if refusal.reason == Reason::NoSuchSession => return false,
                Err(refusal) if refusal.reason == Reason::Stopping => return true,
                // It cannot be said at the moment.
                Err(_) => tokio::time::sleep(LOAD_INTERVAL).await,
            }
        }
    }

    /// The cluster as this node sees it, for another run of it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn cluster(&self) -> Result<Cluster, ControlError> {
        self.ask(Message::Cluster).await
    }

    /// No new sessions from now on.
    pub async fn drain(&self) {
        let _ = self.messages.send(Message::Drain).await;
    }

    /// Returns when the task has ended: it does while nobody lets go of it only if it broke.
    pub async fn broken(&self) {
        self.messages.closed().await;
    }

    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.messages.try_send(message(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ControlError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ControlError::Stopping,
        })?;
        match tokio::time::timeout(CONTROL_ANSWER, answer).await {
            Ok(Ok(answer)) => answer,
            // The task dropped the reply: the worker that should have answered is gone or overloaded.
            Ok(Err(_)) | Err(_) => Err(ControlError::Overloaded),
        }
    }
}

/// Runs the control task until every [`Control`] is gone.
pub async fn run(mut desk: Desk, mut queue: mpsc::Receiver<Message>) {
    let start = Instant::now();
    let now = || start.elapsed().as_micros() as u64;
    let mut load = every(LOAD_INTERVAL);
    loop {
        let due = desk.next_timeout().map(|due| start + Duration::from_micros(due));
        tokio::select! {
            message = queue.recv() => match message {
                Some(message) => desk.handle(now(), message),
                None => return,
            },
            () = sleep_until(due) => desk.handle_timeout(now()),
            _ = load.tick() => desk.read_loads(now()),
        }
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
