//! The client as a state machine: no I/O, no clock, no threads, no engine's types.
//!
//! Feed it with `handle_*(now, ..)`, then drain [`Core::poll_action`] and [`Core::poll_event`], and call
//! [`Core::handle_timeout`] at [`Core::next_wake`]. In any order; draining after each call keeps latency low.
//!
//! ```text
//! start ──► trying ──Attached──► attached ──lost──► waiting ──pause──► trying ...
//!             │ ▲                   │ Moving: a second link to the target; messages go to both until it answers
//!   Redirect ─┘ └─ Refused(retry)   └─ Detached, Finished, leave ──► done
//!
//! A try begins at a door, or, where the shell can resolve, with the question where the session is led.
//! ```

mod event;
mod frames;
mod link;
mod retry;
mod route;
mod seat;
mod standby;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ringside_protocol::datagram::{ClientDatagram, encode_input};
use ringside_protocol::frame::{Certificate, ClientFrame, Target};
use ringside_protocol::ids::IdError;
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::resolve::Question;

pub use event::{Arrival, Attachment, Event};
pub use link::LinkId;
pub use route::Lost;

use event::Events;
use link::{Link, Way};
use retry::Retry;
use seat::Seat;
use standby::Standby;

/// What a client wants and how it may go about it.
#[derive(Clone)]
pub struct Config {
    /// The session token.
    pub token: String,
    /// What to be attached to.
    pub target: Target,
    /// Where to begin: front doors or workers, with the certificate to expect if it is not left to the shell.
    pub doors: Vec<(SocketAddr, Option<Certificate>)>,
    /// Whether to ask to be relayed.
    pub relay: bool,
    /// Whether the shell can ask a node where the session is led ([`Action::Resolve`]) before a door is tried.
    pub resolve: bool,
    /// Whether to keep a connection to the session's follower, where there is one.
    pub standby: bool,
    /// Seed of the pauses between tries.
    pub seed: u64,
    /// How long to try without being attached before giving up.
    pub give_up_after: Duration,
}

/// The token is a secret: only its length is shown.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("token", &format_args!("{} bytes", self.token.len()))
            .field("target", &self.target)
            .field("doors", &self.doors)
            .field("relay", &self.relay)
            .field("resolve", &self.resolve)
            .finish_non_exhaustive()
    }
}

/// Something that the shell has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a connection, and its one stream; then [`Core::handle_connected`] or [`Core::handle_lost`].
    Connect {
        /// Its name.
        link: LinkId,
        /// Where to.
        address: SocketAddr,
        /// The certificate to expect; `None` leaves it to the shell's own trust.
        certificate: Option<Certificate>,
    },
    /// Ask where the session is led; then [`Core::handle_resolved`] or [`Core::handle_lost`].
    Resolve {
        /// The name of the question, as of a connection.
        link: LinkId,
        /// What to ask.
        question: Box<Question>,
    },
    /// Write to the connection's stream.
    Write {
        /// Which.
        link: LinkId,
        /// What.
        bytes: Bytes,
    },
    /// Send a datagram; it may be dropped.
    Datagram {
        /// Which connection.
        link: LinkId,
        /// What.
        bytes: Bytes,
    },
    /// Close the connection after what was written; nothing more is heard of it.
    Close {
        /// Which.
        link: LinkId,
        /// With which code.
        reason: Reason,
    },
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The server has not confirmed the messages before it: wait for events, then try again.
    #[error("too many messages wait for their confirmation")]
    Full,
    /// It is longer than the protocol allows.
    #[error("{0} bytes are too long")]
    TooLong(usize),
    /// The client is out of the session.
    #[error("the client is not in the session any longer")]
    Done,
    /// There is no connection at the moment; only datagrams answer this.
    #[error("there is no connection at the moment")]
    NotAttached,
}

/// What the client is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `primary` is on its way to an attachment.
    Trying { deadline: Instant },
    /// `primary` is attached.
    Attached,
    /// A pause before the next try.
    Waiting { until: Instant },
    /// It is over.
    Done,
}

/// The client.
#[derive(Debug)]
pub struct Core {
    config: Config,
    phase: Phase,
    seat: Seat,
    primary: Option<Link>,
    /// The target of an announced move.
    moving: Option<Link>,
    /// What waits at the session's follower.
    standby: Standby,
    /// Whether the application was told last that the session is paused.
    is_paused: bool,
    /// Where two of its connections crossed, and until when the server may say that the one put the other out.
    crossed: Option<(SocketAddr, Instant)>,
    /// The old place of a move went away before the target answered; `primary` is that target.
    moving_blind: bool,
    /// Where the session was last, or is said to be.
    route: Option<Way>,
    next_door: usize,
    /// Where it was redirected to could not be reached: ask the next door to relay.
    relay_next: bool,
    /// The last question where the session is led was not answered: the next try knocks at a door itself.
    knock_next: bool,
    /// Whether the place of the current try was answered to such a question.
    resolved: bool,
    /// Whether the last answer was that the session is not there.
    was_not_there: bool,
    /// Why the last try was refused, if it was: told where the client gives up.
    refusal: Option<(Reason, String)>,
    redirects: usize,
    retry: Retry,
    next_link: u32,
    /// Since when there is no attachment.
    detached_since: Option<Instant>,
    acknowledge_at: Option<Instant>,
    leave_by: Option<Instant>,
    actions: VecDeque<Action>,
    events: Events,
}

impl Core {
    /// A client that has done nothing; [`Core::start`] begins.
    pub fn new(config: Config) -> Self {
        let standby = Standby::new(config.standby);
        Core {
            retry: Retry::new(config.seed),
            config,
            phase: Phase::Done,
            seat: Seat::new(),
            primary: None,
            moving: None,
            crossed: None,
            standby,
            is_paused: false,
            moving_blind: false,
            route: None,
            next_door: 0,
            relay_next: false,
            knock_next: false,
            resolved: false,
            was_not_there: false,
            refusal: None,
            redirects: 0,
            next_link: 0,
            detached_since: None,
            acknowledge_at: None,
            leave_by: None,
            actions: VecDeque::new(),
            events: Events::default(),
        }
    }

    /// Begins the first try.
    pub fn start(&mut self, now: Instant) {
        self.detached_since = Some(now);
        self.begin_try(now);
    }

    /// Takes a message and answers its number; numbers before the first [`Event::Attached`] may change then.
    ///
    /// # Errors
    /// [`SendError`]; the message was not taken.
    pub fn send(&mut self, body: Bytes) -> Result<u64, SendError> {
        if self.phase == Phase::Done || self.leave_by.is_some() {
            return Err(SendError::Done);
        }
        if body.len() > limits::MESSAGE_BYTES {
            return Err(SendError::TooLong(body.len()));
        }
        let number = self.seat.push(&body).map_err(|_| SendError::Full)?;
        self.flush_messages();
        Ok(number)
    }

    /// Sends a datagram, now or never; it carries the acknowledgement of the newest view.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent.
    pub fn send_datagram(&mut self, body: &[u8]) -> Result<(), SendError> {
        if self.phase == Phase::Done || self.leave_by.is_some() {
            return Err(SendError::Done);
        }
        if body.len() > limits::DATAGRAM_BODY_BYTES {
            return Err(SendError::TooLong(body.len()));
        }
        if !self.primary.as_ref().is_some_and(Link::is_attached) {
            return Err(SendError::NotAttached);
        }
        self.seat.datagram = self.seat.datagram.saturating_add(1);
        let number = self.seat.datagram;
        for link in [&mut self.primary, &mut self.moving].into_iter().flatten() {
            if matches!(link.stage, link::Stage::Connecting | link::Stage::StandingBy) {
                continue;
            }
            let mut bytes = BytesMut::with_capacity(body.len() + 12);
            encode_input(number, link.views.newest(), body, &mut bytes);
            link.view_told = link.views.newest();
            link.view_repeated = false;
            self.actions.push_back(Action::Datagram { link: link.id, bytes: bytes.freeze() });
        }
        if self.seat.untold() == 0 {
            self.acknowledge_at = None;
        }
        Ok(())
    }

    /// Leaves the session: messages that were taken go first, then the player's seat is given up. The last event
    /// follows within [`limits::LEAVE_TIMEOUT`].
    pub fn leave(&mut self, now: Instant) {
        if self.phase == Phase::Done || self.leave_by.is_some() {
            return;
        }
        self.leave_by = Some(now + limits::LEAVE_TIMEOUT);
        if self.seat.held.is_none() {
            self.finish(Reason::Left, Some(left()));
            return;
        }
        self.write_leave();
    }

    /// Closes every connection without leaving: the seat is kept for the seat window.
    pub fn close(&mut self) {
        self.finish(Reason::Closed, None);
    }

    /// A newer session token for later tries.
    pub fn set_token(&mut self, token: String) {
        self.config.token = token;
    }

    /// Whether messages flow at the moment.
    pub fn is_attached(&self) -> bool {
        self.phase == Phase::Attached
    }

    /// Whether a connection waits at the session's follower, so that the end of its leader costs little.
    pub fn is_standing_by(&self) -> bool {
        self.standby.is_standing()
    }

    /// Whether the last event was put out, or the client was closed.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Messages that the session has not said that it has.
    pub fn unacknowledged(&self) -> usize {
        self.seat.unacknowledged()
    }

    /// Datagrams that were dropped because the application did not take them.
    pub fn dropped_datagrams(&self) -> u64 {
        self.events.dropped_datagrams
    }

    /// Something to do for the shell.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        [&mut self.primary, &mut self.moving, &mut self.standby.link]
            .into_iter()
            .flatten()
            .find_map(|link| link.take_out().map(|bytes| Action::Write { link: link.id, bytes }))
    }

    /// Something for the application. Taking a message is what acknowledges it.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        let event = self.events.pop()?;
        if let Event::Message { number, .. } = event {
            let untold = self.seat.deliver(number);
            if untold >= limits::CLIENT_ACKNOWLEDGE_EVERY as u64 {
                self.acknowledge();
            } else {
                self.acknowledge_soon(now);
            }
        }
        Some(event)
    }

    /// Whether [`Core::poll_event`] would answer something.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// When to call [`Core::handle_timeout`] at the latest.
    pub fn next_wake(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Done => return None,
            Phase::Trying { deadline } => Some(deadline),
            Phase::Waiting { until } => Some(until),
            Phase::Attached => self.standby.next_wake(),
        };
        let give_up = self.detached_since.map(|since| since + self.config.give_up_after);
        [phase, give_up, self.acknowledge_at, self.leave_by].into_iter().flatten().min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.phase == Phase::Done {
            return;
        }
        if due(self.leave_by) {
            self.finish(Reason::Left, Some(left()));
            return;
        }
        if due(self.detached_since.map(|since| since + self.config.give_up_after)) {
            let unreachable = || (Reason::Unreachable, "not attached for too long".into());
            let (reason, message) = self.refusal.take().unwrap_or_else(unreachable);
            self.fail(reason, message);
            return;
        }
        if due(self.acknowledge_at) {
            self.acknowledge();
        }
        match self.phase {
            Phase::Trying { deadline } if deadline <= now => {
                self.note_unreachable();
                self.try_again(now, Reason::Closed, "no answer".into());
            }
            Phase::Waiting { until } if until <= now => self.begin_try(now),
            Phase::Attached => self.keep_standby(now),
            _ => {}
        }
    }

    /// Writes what was taken and not yet written, to every connection that may have it.
    fn flush_messages(&mut self) {
        for link in [&mut self.primary, &mut self.moving].into_iter().flatten() {
            let early = link.stage == link::Stage::Opening && link.way.ticket.is_some() && link.resumed_after.is_some();
            let move_target = early && self.phase == Phase::Attached;
            if link.is_attached() || move_target {
                self.seat.outbox.after(link.sent).for_each(|(number, body)| link.write_message(number, body));
            }
        }
    }

    fn write_leave(&mut self) {
        self.flush_messages();
        for link in [&mut self.primary, &mut self.moving].into_iter().flatten() {
            if link.is_attached() {
                link.write(&ClientFrame::Leave);
            }
        }
    }

    fn acknowledge_soon(&mut self, now: Instant) {
        let at = now + limits::CLIENT_ACKNOWLEDGE_DELAY;
        self.acknowledge_at = Some(self.acknowledge_at.map_or(at, |before| before.min(at)));
    }

    /// Tells the server which messages and which view the client has, as far as there is news.
    fn acknowledge(&mut self) {
        self.acknowledge_at = None;
        let Some(link) = self.primary.as_mut().filter(|link| link.is_attached()) else { return };
        if let Some(up_to) = self.seat.tell() {
            link.write(&ClientFrame::Acknowledge { up_to });
        }
        let view = link.views.newest();
        if view > link.view_told || link.view_repeated {
            link.view_told = view;
            link.view_repeated = false;
            let mut bytes = BytesMut::with_capacity(12);
            ClientDatagram::ViewAcknowledge { view }.encode(&mut bytes);
            self.actions.push_back(Action::Datagram { link: link.id, bytes: bytes.freeze() });
        }
    }

    fn fail(&mut self, reason: Reason, message: String) {
        self.finish(Reason::Closed, Some(Event::Failed { reason, message }));
    }

    /// Nothing happens after this.
    fn finish(&mut self, reason: Reason, event: Option<Event>) {
        if self.phase == Phase::Done {
            return;
        }
        for link in [self.primary.take(), self.moving.take(), self.standby.link.take()].into_iter().flatten() {
            self.close_link(link, reason);
        }
        self.phase = Phase::Done;
        self.acknowledge_at = None;
        self.detached_since = None;
        event.into_iter().for_each(|event| self.events.push(event));
    }

    fn close_link(&mut self, mut link: Link, reason: Reason) {
        if let Some(bytes) = link.take_out() {
            self.actions.push_back(Action::Write { link: link.id, bytes });
        }
        self.actions.push_back(Action::Close { link: link.id, reason });
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        [&mut self.primary, &mut self.moving, &mut self.standby.link].into_iter().flatten().find(|link| link.id == id)
    }
}

fn left() -> Event {
    Event::Detached { reason: Reason::Left, message: String::new() }
}

/// A target as people write it: `game/key`, or `game?criteria` for find-or-create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetText(pub Target);

impl FromStr for TargetText {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Some((game, key)) = text.split_once('/').filter(|(game, _)| !game.contains('?')) {
            return Ok(TargetText(Target::Session { game: game.parse()?, key: key.parse()? }));
        }
        let (game, criteria) = text.split_once('?').unwrap_or((text, ""));
        if criteria.len() > limits::CRITERIA_BYTES {
            return Err(IdError::new("criteria", criteria, "at most 256 bytes"));
        }
        Ok(TargetText(Target::FindOrCreate { game: game.parse()?, criteria: criteria.to_owned() }))
    }
}

impl fmt::Display for TargetText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Session { game, key } => write!(f, "{game}/{key}"),
            Target::FindOrCreate { game, criteria } => write!(f, "{game}?{criteria}"),
        }
    }
}

#[cfg(test)]
mod tests;
