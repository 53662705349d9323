//! The worker: a turn, and what a turn is made of. Holds connections and sessions together, since nothing on a
//! player's way may cross a thread or wait for a lock. Split by what is done: `opening` lets players in, `inbound`
//! takes frames and datagrams, `running` drives sessions, `outbound` writes frames and views, `peering` serves workers of
//! other nodes.
//!
//! Drive it so: [`Worker::handle_datagram`] for what arrived, [`Worker::handle_command`] for what was said, then
//! [`Worker::turn`] until it answers [`Turn::Done`], [`Worker::poll_event`] until it is empty, and again at
//! [`Worker::next_wake`].

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use quinn_proto as quic;
use ringside_core::ids::{GameName, Node, NodeId, SessionId, SessionKey, WorkerId};
use ringside_core::leadership::leader::NodeLog;
use ringside_core::leadership::record::Member;
use ringside_core::output::Output;
use ringside_core::recording::EndReason;
use ringside_core::routing::tickets;
use ringside_protocol::frame::Certificate;
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;

use crate::accounting::Counters;
use crate::authority::Authority;
use crate::beside::Companion;
use crate::command::{Command, Count, Event, Flushed};
use crate::connection::Connection;
use crate::endpoint::{Endpoint, LinkId, LinkLimits};
use crate::idle::Idleness;
use crate::limits::{EVENT_BYTES, EVENTS, HANDSHAKES, SESSIONS};
use crate::outbound::Chunks;
use crate::outlet::Outlet;
use crate::peers::Peers;
use crate::receive::Datagram;
use crate::replication::{Clock, Epochs, Replication};
use crate::session::{CostOf, Session};
use crate::timers::Timers;
use crate::transport::DATAGRAM_SEND_BYTES;

/// Handshake work of a turn.
pub const HANDSHAKE_SHARE: Duration = Duration::from_micros(500);
/// How long a turn may go on before the socket is served again.
pub const SERVICE_INTERVAL: Duration = Duration::from_millis(1);
/// Between two looks at all sessions for what counters say of them.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Ticking workers wake on a grid of this width.
pub const PHASE: Duration = Duration::from_millis(2);
/// A ticking worker sleeps no longer than this, so that acknowledgements are not late.
pub const LONGEST_SLEEP: Duration = Duration::from_millis(10);
/// For how long packets are handled at once that may belong to the switch of a leader: a tick, and a grant.
const HURRY: Duration = Duration::from_millis(200);

/// Who a worker is and what it tells its players.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its node.
    pub node: u64,
    /// Which run of it.
    pub generation: u64,
    /// When that run began: the eras of its tickets count from then.
    pub node_started: Instant,
    /// Its number in the node.
    pub worker: WorkerId,
    /// SHA-256 of the certificate that all workers of the node serve.
    pub certificate: Certificate,
    /// Epochs of sessions that the node's workers have forgotten.
    pub epochs: Epochs,
    /// How long a seat is kept without a connection.
    pub seat_window: Duration,
    /// Whether it takes the sessions that overran their budgets; then it gives none away.
    pub penalty: bool,
    /// Sessions at a time.
    pub sessions: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one address at a time.
    pub connections_per_address: usize,
    /// What a call counts for: what it was measured to cost. A simulation goes by the input, so that a run depends on no
    /// real clock.
    pub cost_of: CostOf,
    /// Real time of a turn for what is done in slices: rebuilds, by a record at least, and hashes. None makes it a record a
    /// turn.
    pub slice: Duration,
    /// Milliseconds since 1970 at `started`: tokens speak of days, everything else of this clock.
    pub started_ms: u64,
    /// When the worker was made.
    pub started: Instant,
}

impl WorkerConfig {
    /// A worker with the ordinary limits.
    pub fn new(node: u64, worker: WorkerId, certificate: Certificate, started_ms: u64, started: Instant) -> Self {
        WorkerConfig {
            node,
            generation: 0,
            node_started: started,
            worker,
            certificate,
            epochs: Epochs::default(),
            seat_window: limits::SEAT_WINDOW,
            penalty: false,
            sessions: SESSIONS,
            connections: limits::CONNECTIONS,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
            cost_of: |_, cost| *cost,
            slice: Duration::from_micros(ringside_core::limits::SLICE_US),
            started_ms,
            started,
        }
    }
}

/// Whether a turn has done everything that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Everything.
    Done,
    /// The socket wants to be served first; call again.
    More,
}

/// How full a worker's queues and tables are, each of which has a bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Events that the node has not taken.
    pub events: usize,
    /// Bytes of their bodies.
    pub event_bytes: usize,
    /// Sessions that are followed.
    pub followed: usize,
    /// Connections that wait for the node to say where their session is.
    pub resolving: usize,
    /// Connections that wait for a paused session.
    pub waiting: usize,
    /// Sessions given away whose players wait to hear where to.
    pub departed: usize,
    /// Connections that are relayed to another node.
    pub relayed: usize,
    /// Connections that are not attached yet.
    pub unattached: usize,
    /// Handshakes under way.
    pub handshakes: usize,
    /// Connections, those closing included.
    pub connections: usize,
    /// Bytes of frames that wait for a stream, the most of any connection.
    pub frame_bytes: usize,
    /// Bytes of datagrams that wait for packets, the most of any connection.
    pub datagram_bytes: usize,
    /// Handshakes of peers under way, those that this worker began not counted.
    pub peer_handshakes: usize,
    /// Connections with peers, those closing included.
    pub peer_connections: usize,
    /// Peers that are linked or dialed.
    pub peers: usize,
    /// Bytes of frames that wait for a peer's stream, the most of any.
    pub peer_frame_bytes: usize,
}

/// One core's share of a node.
pub struct Worker {
    pub(crate) config: WorkerConfig,
    pub(crate) endpoint: Endpoint,
    pub(crate) peers: Option<Box<Peers>>,
    pub(crate) replication: Replication,
    pub(crate) companion: Companion,
    pub(crate) idleness: Option<Idleness>,
    pub(crate) connections: Vec<Option<Connection>>,
    pub(crate) dirty: Vec<LinkId>,
    pub(crate) sessions: Vec<Option<Box<Session>>>,
    pub(crate) names: HashMap<(GameName, SessionKey), usize>,
    pub(crate) by_id: HashMap<SessionId, usize>,
    pub(crate) schedule: Timers,
    /// Sessions with something that is done in slices, each once.
    pub(crate) working: VecDeque<usize>,
    pub(crate) resolving: HashMap<u64, LinkId>,
    pub(crate) departed: HashMap<SessionId, Vec<LinkId>>,
    pub(crate) relays: HashMap<u64, LinkId>,
    pub(crate) waiting: HashMap<usize, Vec<LinkId>>,
    pub(crate) unattached: usize,
    /// Until when packets are handled at once, because the lead of a session goes from here, or comes.
    hurries_until: Option<Instant>,
    pub(crate) unattached_by: HashMap<IpAddr, usize>,
    pub(crate) prompt_sessions: usize,
    pub(crate) live_sessions: usize,
    pub(crate) created: u64,
    pub(crate) requests: u64,
    pub(crate) node_log: NodeLog,
    pub(crate) authority: Authority,
    pub(crate) events: VecDeque<Event>,
    pub(crate) event_bytes: usize,
    pub(crate) counters: Arc<Counters>,
    pub(crate) going_away: Option<Reason>,
    pub(crate) stopped: bool,
    pub(crate) outputs: Vec<Output>,
    pub(crate) packets: Chunks,
    pub(crate) views: Chunks,
    pub(crate) serviced: Instant,
    /// Real time of guests' calls since.
    pub(crate) spent: Duration,
    /// Which part of its work the next turn begins with.
    first_part: usize,
    /// When sessions are looked at next for what counters say of them.
    next_look: Instant,
}

impl Worker {
    /// A worker without sessions.
    pub fn new(
        config: WorkerConfig,
        endpoint: Arc<quic::EndpointConfig>,
        server: Arc<quic::ServerConfig>,
        authority: Authority,
        unfragmented: bool,
    ) -> Worker {
        let links = LinkLimits {
            connections: config.connections,
            per_address: config.connections_per_address,
            handshakes: HANDSHAKES,
            handshake: limits::HANDSHAKE_TIMEOUT,
        };
        let node = Node { id: NodeId(config.node), generation: config.generation };
        let me = Member { node, worker: config.worker };
        Worker {
            replication: Replication::new(me, Clock::new(config.started)),
            endpoint: Endpoint::new(endpoint, server, links, unfragmented),
            peers: None,
            companion: Companion::default(),
            idleness: None,
            connections: Vec::new(),
            dirty: Vec::new(),
            sessions: Vec::new(),
            names: HashMap::new(),
            by_id: HashMap::new(),
            schedule: Timers::default(),
            working: VecDeque::new(),
            resolving: HashMap::new(),
            departed: HashMap::new(),
            relays: HashMap::new(),
            waiting: HashMap::new(),
            unattached: 0,
            hurries_until: None,
            unattached_by: HashMap::new(),
            prompt_sessions: 0,
            live_sessions: 0,
            created: 0,
            requests: 0,
            node_log: NodeLog::default(),
            authority,
            events: VecDeque::new(),
            event_bytes: 0,
            counters: Arc::new(Counters::default()),
            going_away: None,
            stopped: false,
            outputs: Vec::new(),
            packets: Chunks::new(),
            views: Chunks::new(),
            serviced: config.started,
            spent: Duration::ZERO,
            first_part: 0,
            next_look: config.started,
            config,
        }
    }

    /// Its counters, for other threads.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// How full its queues and tables are.
    pub fn held(&mut self) -> Held {
        let links: Vec<LinkId> = self.connections.iter().flatten().map(|connection| connection.link).collect();
        let unsent = links.iter().filter_map(|&link| Some(self.endpoint.link(link)?.datagrams().send_buffer_space()));
        let least_space = unsent.min().unwrap_or(DATAGRAM_SEND_BYTES);
        let peers = self.peers.as_ref().map(|peers| peers.held()).unwrap_or_default();
        Held {
            peer_handshakes: peers.handshakes,
            peer_connections: peers.connections,
            peers: peers.peers,
            followed: self.replication.followed(),
            peer_frame_bytes: peers.frame_bytes,
            events: self.events.len(),
            event_bytes: self.event_bytes,
            resolving: self.resolving.len(),
            waiting: self.waiting.values().map(Vec::len).sum(),
            departed: self.departed.len(),
            relayed: self.relays.len(),
            unattached: self.unattached,
            handshakes: self.endpoint.handshakes(),
            connections: self.endpoint.open_links(),
            frame_bytes: self.connections.iter().flatten().map(|connection| connection.out.len()).max().unwrap_or(0),
            datagram_bytes: DATAGRAM_SEND_BYTES.saturating_sub(least_space),
        }
    }

    /// Takes a datagram in.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.endpoint.handle_datagram(now, datagram);
    }

    /// New connections are served with this from now on.
    pub fn set_server_config(&mut self, server: Arc<quic::ServerConfig>, certificate: Certificate) {
        self.endpoint.set_server_config(server);
        self.config.certificate = certificate;
    }

    /// Does what it is told.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Create(create) => self.create(now, *create),
            Command::End { session, if_empty, reason, reply } => {
                let Some(index) = self.index_of(&session) else { return reply(false) };
                if if_empty && !self.is_empty(index) {
                    return reply(true);
                }
                if let Some(session) = self.sessions[index].as_mut() {
                    session.tell_end(reply);
                }
                self.end_session(now, index, &reason);
            }
            Command::Show { session, reply } => {
                let index = self.index_of(&session);
                let shown = index.and_then(|index| self.sessions[index].as_ref());
                reply(shown.map(|session| Box::new(session.report(now))));
            }
            Command::Ping { reply } => reply(()),
            Command::Counts { reply } => {
                let count = |session: &Session| Count {
                    session: session.id.clone(),
                    inputs: session.inputs(),
                    call_us: session.usage.call_us,
                };
                reply(self.sessions.iter().flatten().map(|session| count(session)).collect());
            }
            Command::Flush { session, reply } => {
                let found = self.index_of(&session).and_then(|index| self.sessions[index].as_mut());
                if let Some(piece) = found.and_then(|found| found.recorded(true)) {
                    self.tell(Event::Recorded { session, piece });
                }
                self.tell(Event::Flushed(Flushed(reply)));
            }
            Command::Resolved { request, answer } => self.resolved(now, request, answer),
            Command::Adopt(moved) => self.adopt(now, *moved),
            Command::Departed(place) => self.send_on(now, &place),
            Command::Relayed { relay, what } => self.relayed(now, relay, what),
            Command::Signal { game, key, source, body } => self.signal(now, game, key, source, body),
            Command::Certify { server, certificate } => self.set_server_config(server, certificate),
            Command::Peers(order) => self.handle_order(now, order),
            Command::Nodes(nodes) => self.note_nodes(now, nodes),
            Command::Died(node) => self.note_died(now, node),
            Command::Follow(follow) => self.begin_following(now, *follow),
            Command::Unfollow { session, reply } => reply(self.stop_following(now, &session)),
            Command::Recruit { session, member } => self.recruit(now, &session, member),
            Command::NewHome { session } => self.new_home(now, &session),
            Command::FromHome { session, message } => self.hear_home(now, session, *message),
            Command::Chain { session, reply } => self.hear_chain(now, &session, *reply),
            Command::Reached { session, party } => self.reached(now, &session, party),
            Command::Done(done) => self.job_done(now, done),
            Command::Stored(stored) => self.stored(now, stored),
            Command::Checkpoint { session } => self.checkpoint(now, &session),
            Command::Sealed => self.node_log_is(now, NodeLog::Sealed),
            Command::Reopened => self.node_log_is(now, NodeLog::Reopened),
            Command::Restore(restore) => self.restore(now, *restore),
            Command::Move { session, to, motive, reply } => reply(self.move_session(now, &session, to, motive)),
            Command::Idleness(idleness) => self.set_idleness(idleness),
            Command::Evict { session, reply } => reply(self.evict(now, &session)),
            Command::Rested { session, epoch, position } => self.rested(now, &session, epoch, position),
            Command::Beside(what) => self.beside(now, what),
            Command::Passed { from, body } => self.checkpoint_passed(from, body),
            Command::GoAway(reason) => self.go_away(reason),
            Command::Stop => self.stop(now),
        }
    }

    /// What it has to tell, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.event_bytes -= event.body_bytes();
        Some(event)
    }

    /// Whether it was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// One turn: links' data, due sessions, a slice of what is long, handshakes, packets. The socket is served between calls
    /// into guests once a millisecond has passed: then the answer is [`Turn::More`].
    pub fn turn(&mut self, outlet: &mut dyn Outlet) -> Turn {
        let now = outlet.now();
        self.serviced = now;
        self.spent = Duration::ZERO;
        self.hurries_until.take_if(|until| *until <= now);
        self.endpoint.handle_timeouts(now);
        let more = self.go_on(outlet);
        self.replicate(outlet);
        let now = outlet.now();
        self.write_links(now);
        let share_begun = now;
        while self.endpoint.has_waiting() && outlet.now() - share_begun < HANDSHAKE_SHARE {
            self.endpoint.admit(share_begun, outlet);
        }
        let now = outlet.now();
        self.endpoint.flush(now, outlet);
        self.spent = Duration::ZERO;
        self.count(now);
        if more { Turn::More } else { Turn::Done }
    }

    /// Links' data, due sessions, a slice of what is long. Where one of them takes all the time until the socket is served,
    /// the next turn begins with what comes after it: none keeps another from its turn. Answers whether more is to be done.
    fn go_on(&mut self, outlet: &mut dyn Outlet) -> bool {
        const READ_PEERS: usize = 1;
        const PARTS: [fn(&mut Worker, &mut dyn Outlet) -> bool; 5] =
            [Worker::read_links, Worker::read_peers, Worker::run_due, Worker::work_some, Worker::follow_some];
        let first = std::mem::take(&mut self.first_part);
        let mut more = false;
        for part in (first..PARTS.len()).chain(0..first) {
            if part == READ_PEERS && self.peers.is_none() {
                continue;
            }
            more |= PARTS[part](self, outlet);
            if self.is_turn_over(outlet) {
                self.first_part = (part + 1) % PARTS.len();
                return true;
            }
        }
        more
    }

    /// Whether guests ran for so long that the socket is to be served before the next call.
    pub(crate) fn is_service_due(&self) -> bool {
        self.spent >= SERVICE_INTERVAL
    }

    /// The same for everything that a turn does.
    pub(crate) fn is_turn_over(&self, outlet: &mut dyn Outlet) -> bool {
        self.is_service_due() || outlet.now().saturating_duration_since(self.serviced) >= SERVICE_INTERVAL
    }

    /// When the next turn is due, if nothing arrives before. At once where handshakes or slices wait.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.endpoint.has_waiting() || self.endpoint.has_ready() || !self.working.is_empty() {
            return Some(now);
        }
        let peers = self.peers.as_ref();
        // Held back, they wait for the node.
        if peers.is_some_and(|peers| peers.has_work()) && self.has_room_for_peers() {
            return Some(now);
        }
        let peers = peers.and_then(|peers| peers.next_timeout());
        let replication = self.replication.next_wake(now);
        let wake = [self.endpoint.next_timeout(), self.schedule.next(), peers, replication].into_iter().flatten().min();
        if self.is_prompt() { wake } else { Some(self.on_grid(now, wake)) }
    }

    /// Whether arriving packets are handled at once: on a worker with a session that answers at once, and on one that leads
    /// none, unless all that it follows tick, is letting somebody in, or gives or takes the lead of a session.
    pub fn is_prompt(&self) -> bool {
        let is_free = self.live_sessions == 0 && !self.replication.follows_ticking();
        self.prompt_sessions > 0 || is_free || self.unattached > 0 || self.hurries_until.is_some()
    }

    /// The lead of a session goes from here, or comes: no word of that waits for the grid.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.hurries_until = Some(now + HURRY);
    }

    /// The first instant of the grid at which what wakes it is due.
    fn on_grid(&self, now: Instant, wake: Option<Instant>) -> Instant {
        let latest = now + LONGEST_SLEEP;
        let wake = wake.map_or(latest, |wake| wake.min(latest));
        self.phase_from(wake).max(now)
    }

    /// The first phase of the grid from an instant on.
    pub(crate) fn phase_from(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.config.started).as_nanos();
        self.config.started + Duration::from_nanos((since.div_ceil(PHASE.as_nanos()) * PHASE.as_nanos()) as u64)
    }

    /// Milliseconds since 1970.
    /// The era of the node's tickets.
    pub(crate) fn era(&self, now: Instant) -> u32 {
        tickets::era(now.saturating_duration_since(self.config.node_started).as_micros() as u64)
    }

    pub(crate) fn unix_ms(&self, now: Instant) -> u64 {
        self.config.started_ms + now.saturating_duration_since(self.config.started).as_millis() as u64
    }

    pub(crate) fn index_of(&self, session: &SessionId) -> Option<usize> {
        self.by_id.get(session).copied()
    }

    pub(crate) fn connection(&mut self, link: LinkId) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(link.index as usize)?.as_mut()?;
        (connection.link == link).then_some(connection)
    }

    /// Puts a connection on the list of those to be written.
    pub(crate) fn mark(&mut self, link: LinkId) {
        if let Some(connection) = self.connection(link)
            && !std::mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push(link);
        }
    }

    /// Tells the node something that it must hear.
    pub(crate) fn tell(&mut self, event: Event) {
        self.event_bytes += event.body_bytes();
        self.events.push_back(event);
    }

    /// Tells the node something that may be lost.
    pub(crate) fn tell_if_room(&mut self, event: Event) -> bool {
        let room = self.events.len() < EVENTS && self.event_bytes + event.body_bytes() <= EVENT_BYTES;
        if room {
            self.tell(event);
        } else {
            crate::accounting::add(&self.counters.events_lost, 1);
        }
        room
    }

    /// A ticking session's first tick: the grid's phases are given out in turn.
    pub(crate) fn first_tick(&mut self, now: Instant, period: Duration) -> Instant {
        let phases = (period.as_nanos() / PHASE.as_nanos()).max(1) as u64;
        let offset = PHASE * (self.created % phases) as u32;
        self.created += 1;
        let since = now.saturating_duration_since(self.config.started).as_nanos();
        let periods = since / period.as_nanos().max(1);
        let mut first = self.config.started + Duration::from_nanos((periods * period.as_nanos()) as u64) + offset;
        while first <= now {
            first += period;
        }
        first
    }

    fn count(&mut self, now: Instant) {
        if now >= self.next_look {
            self.next_look = now + LOOK_INTERVAL;
            let (degraded, lag, late_us) = self.replication_lag(now);
            self.counters.degraded.store(degraded, Relaxed);
            self.counters.follower_lag.store(lag, Relaxed);
            self.counters.follower_late_us.store(late_us, Relaxed);
        }
        let counts = self.endpoint.counts();
        let counters = &self.counters;
        counters.turns.fetch_add(1, Relaxed);
        counters.packets_in.store(counts.received, Relaxed);
        counters.packets_out.store(counts.transmitted, Relaxed);
        counters.bytes_out.store(counts.transmitted_bytes, Relaxed);
        counters.accepted.store(counts.accepted, Relaxed);
        counters.retried.store(counts.retried, Relaxed);
        counters.refused.store(counts.refused, Relaxed);
        counters.handshakes_dropped.store(counts.dropped, Relaxed);
        counters.connections.store(self.endpoint.open_links() as u64, Relaxed);
        counters.sessions.store(self.live_sessions as u64, Relaxed);
        if let Some(counts) = self.peers.as_ref().filter(|peers| !peers.is_idle()).map(|peers| peers.counts()) {
            counters.peers.store(counts.up, Relaxed);
            counters.peer_frames_in.store(counts.frames_in, Relaxed);
            counters.peer_frames_out.store(counts.frames_out, Relaxed);
            counters.peer_bytes_out.store(counts.bytes_out, Relaxed);
            counters.peers_refused.store(counts.refused, Relaxed);
        }
    }

    /// Sessions that are degraded; of followers that count, the most entries that the log of one lacks, and how late the latest
    /// is, µs.
    fn replication_lag(&self, now: Instant) -> (u64, u64, u64) {
        let led = self.sessions.iter().flatten().filter_map(|session| session.lead.as_ref());
        led.fold((0, 0, 0), |(degraded, most, latest), lead| {
            let (record, now) = (lead.core.record(), lead.us(now));
            let lags = lead.core.lags(now).filter(|lag| record.counts(lag.follower));
            let (most, latest) = lags.fold((most, latest), |(most, latest), lag| {
                (most.max(lag.entries), latest.max(lag.late_us.unwrap_or(0)))
            });
            (degraded + u64::from(lead.core.is_degraded()), most, latest)
        })
    }

    fn go_away(&mut self, reason: Reason) {
        self.going_away = Some(reason);
        let attached: Vec<LinkId> = self.connections.iter().flatten().map(|connection| connection.link).collect();
        for link in attached {
            if let Some(connection) = self.connection(link).filter(|connection| connection.attached().is_some()) {
                connection.write(&ringside_protocol::frame::ServerFrame::GoingAway { reason });
                self.mark(link);
            }
        }
    }

    fn stop(&mut self, now: Instant) {
        let reason = self.going_away.unwrap_or(Reason::Stopping);
        for index in 0..self.sessions.len() {
            if let Some(mut session) = self.sessions[index].take() {
                self.finish_recording(now, &mut session, EndReason::WorkerStopped);
            }
        }
        self.names.clear();
        self.by_id.clear();
        let links: Vec<LinkId> = self.connections.iter().flatten().map(|connection| connection.link).collect();
        for link in links {
            self.endpoint.close(now, link, u32::from(reason.code()), reason.text());
        }
        if let Some(peers) = &mut self.peers {
            peers.stop(now);
        }
        self.stopped = true;
    }

    /// Where the worker tells its players to go instead of here, with a ticket that says how often they were sent on.
    pub(crate) fn place(
        &mut self,
        to: &crate::command::Resolved,
        player: &ringside_core::ids::PlayerId,
        redirects: u8,
        token_expires_s: u64,
    ) -> ringside_protocol::frame::Place {
        let ticket = self.authority.ticket(player, to, redirects, token_expires_s);
        let address: SocketAddr = to.address;
        ringside_protocol::frame::Place { address, certificate_sha256: to.certificate, ticket }
    }
}
