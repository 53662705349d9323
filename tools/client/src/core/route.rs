//! Connections that come and go: tries and their pauses, redirects, the target of a move, and what each kind of end
//! means for the session.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringside_protocol::frame::{ClientFrame, Mode, Open, Place, Refused, Target, VERSION};
use ringside_protocol::limits;
use ringside_protocol::reason::{Reaction, Reason};
use ringside_protocol::resolve::Question;

use super::link::{Link, LinkId, Stage, Way};
use super::{Action, Core, Event, Phase, left};

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The server closed it with an application code.
    Closed(Reason, String),
    /// The network, or QUIC, ended it.
    Transport(String),
    /// The server is not who it should be.
    Untrusted(String),
}

impl Lost {
    /// What is known about it.
    pub(crate) fn text(self) -> String {
        match self {
            Lost::Closed(reason, text) if text.is_empty() => reason.to_string(),
            Lost::Closed(_, text) | Lost::Transport(text) | Lost::Untrusted(text) => text,
        }
    }
}

impl Core {
    /// A connection's handshake is done and its stream can be written.
    pub fn handle_connected(&mut self, now: Instant, id: LinkId) {
        // Whoever is reached is there, and may have much to do.
        if let Phase::Trying { deadline } = &mut self.phase
            && self.primary.as_ref().is_some_and(|link| link.id == id)
        {
            *deadline = (*deadline).max(now + limits::CLIENT_ATTACH_TIMEOUT);
        }
        let is_move = self.moving.as_ref().is_some_and(|link| link.id == id);
        let is_standby = self.standby.link.as_ref().is_some_and(|link| link.id == id);
        let target = self.current_target();
        let resume = self.seat.resume();
        let token = self.config.token.clone();
        let sent = self.seat.outbox.first() - 1;
        let has_ticket = self.link_mut(id).is_some_and(|link| link.way.ticket.is_some());
        // For one try: where relaying does not work either, the session may be reached directly by then.
        let asks_for_relay = !has_ticket && std::mem::take(&mut self.relay_next);
        let is_relayed = self.config.relay || asks_for_relay;
        let Some(link) = self.link_mut(id).filter(|link| link.stage == Stage::Connecting) else { return };
        // A move needs no resume token: the ticket is for this, and the token stays good for a lost connection.
        let resume = resume.map(|mut resume| {
            if is_move || is_standby {
                resume.token = Default::default();
            }
            resume
        });
        link.stage = Stage::Opening;
        // Whoever shows a ticket is where it was sent.
        let relay = is_relayed && link.way.ticket.is_none();
        link.resumed_after = resume.as_ref().map(|resume| resume.last_output);
        link.showed_resume_token = resume.as_ref().is_some_and(|resume| !resume.token.is_empty());
        link.sent = sent;
        let spent = link.showed_resume_token;
        let open = Open {
            version: VERSION,
            token,
            target,
            mode: if is_standby { Mode::Standby } else { Mode::Attach },
            resume,
            ticket: link.way.ticket.clone(),
            relay,
        };
        link.write(&ClientFrame::Open(Box::new(open)));
        if spent {
            self.seat.forget_resume_token();
        }
        if is_move {
            self.flush_messages();
        } else if let Phase::Trying { deadline } = &mut self.phase {
            *deadline = now + limits::CLIENT_ATTACH_TIMEOUT;
        }
    }

    /// A connection is gone, or could not be made.
    pub fn handle_lost(&mut self, now: Instant, id: LinkId, lost: Lost) {
        if self.moving.take_if(|link| link.id == id).is_some() {
            return self.standby.later(now);
        }
        if self.standby.link.take_if(|link| link.id == id).is_some() {
            return self.standby_failed(now, Reason::Closed);
        }
        if self.primary.as_ref().is_none_or(|link| link.id != id) {
            return;
        }
        if matches!(&lost, Lost::Closed(reason, _) if self.is_crossed(now, *reason)) {
            return self.lost_to(now, Reason::Closed, lost.text());
        }
        self.note_unreachable();
        let asked_in_vain = self.is_resolving() && !matches!(lost, Lost::Untrusted(_));
        self.primary = None;
        if asked_in_vain && self.knock(now) {
            return;
        }
        match lost {
            Lost::Untrusted(text) if self.seat.held.is_none() => self.fail(Reason::Unreachable, text),
            // The target may have taken over, and the old place said so, before the target's answer arrived.
            Lost::Closed(reason, text) if self.moving.is_some() => self.lost(now, reason, text),
            Lost::Closed(reason, text) if reason != Reason::Closed && reason.reaction() == Reaction::GiveUp => {
                self.end(reason, text);
            }
            Lost::Closed(reason, text) => self.lost(now, reason, Lost::Closed(reason, text).text()),
            lost => self.lost(now, Reason::Idle, lost.text()),
        }
    }

    /// The answer to [`Action::Resolve`].
    pub fn handle_resolved(&mut self, now: Instant, id: LinkId, answer: Result<Place, Refused>) {
        if !self.is_resolving() || self.primary.as_ref().is_none_or(|link| link.id != id) {
            return;
        }
        match answer {
            Ok(place) => {
                self.resolved = true;
                self.primary = Some(self.connect(place.into()));
                self.phase = Phase::Trying { deadline: now + limits::CLIENT_REACH_TIMEOUT };
            }
            Err(refused) => self.refused(now, id, refused),
        }
    }

    fn is_resolving(&self) -> bool {
        self.primary.as_ref().is_some_and(|link| link.stage == Stage::Resolving)
    }

    /// The attachment or the try is over, for a reason that allows another.
    fn lost(&mut self, now: Instant, reason: Reason, cause: String) {
        if self.phase == Phase::Attached {
            self.fall_back();
        }
        if self.phase == Phase::Attached
            && let Some(target) = self.moving.take()
        {
            let patience = match target.stage {
                Stage::StandingBy => limits::CLIENT_FAILOVER,
                // It is there and answers soon, or it is gone as well.
                Stage::Connecting => limits::CLIENT_REACH_TIMEOUT,
                _ => limits::CLIENT_ATTACH_TIMEOUT,
            };
            // The move's target is the next try, on its way already; the application hears of it only if it fails.
            self.detach(now);
            self.moving_blind = true;
            self.phase = Phase::Trying { deadline: now + patience };
            self.primary = Some(target);
            return;
        }
        self.try_again(now, reason, cause);
    }

    /// Remembers that the place that a ticket leads to was not reached.
    pub(super) fn note_unreachable(&mut self) {
        self.knock_next |= self.is_resolving();
        let sent_on = |link: &Link| link.stage == Stage::Connecting && link.way.ticket.is_some();
        if matches!(self.phase, Phase::Trying { .. }) && self.primary.as_ref().is_some_and(sent_on) {
            self.relay_next = true;
        }
    }

    fn detach(&mut self, now: Instant) {
        self.detached_since = Some(now);
        self.acknowledge_at = None;
        let delivered = self.seat.rewind_to_delivered();
        self.events.withdraw_messages(delivered);
    }

    /// Drops the connection and comes back: for an application that knows of a change of network.
    pub fn reconnect(&mut self, now: Instant) {
        if self.phase == Phase::Attached && self.leave_by.is_none() {
            self.try_again(now, Reason::Closed, "asked to reconnect".into());
        }
    }

    /// Ends the current try, or attachment, and plans the next.
    pub(super) fn try_again(&mut self, now: Instant, reason: Reason, cause: String) {
        if self.leave_by.is_some() {
            // Coming back only to leave might join anew: the seat window does it.
            return self.finish(Reason::Left, Some(left()));
        }
        self.refusal = None;
        if self.phase == Phase::Attached {
            self.detach(now);
            self.events.push(Event::Disconnected { cause });
        } else if std::mem::take(&mut self.moving_blind) {
            self.events.push(Event::Disconnected { cause });
        }
        for link in [self.primary.take(), self.moving.take()].into_iter().flatten() {
            self.close_link(link, reason);
        }
        if reason.reaction() == Reaction::RefreshRoute {
            self.route = None;
        }
        self.redirects = 0;
        // What was answered did not lead there.
        self.knock_next |= std::mem::take(&mut self.resolved);
        self.phase = Phase::Waiting { until: now + self.retry.pause() };
    }

    /// Connects to where the session was, at first and every second time; else to the next front door.
    pub(super) fn begin_try(&mut self, now: Instant) {
        let by_route = self.retry.tries() % 2 == 1 && !self.relay_next;
        self.phase = Phase::Trying { deadline: now + limits::CLIENT_ATTACH_TIMEOUT };
        if let Some(way) = self.route.clone().filter(|_| by_route) {
            // It was there a moment ago, and answers soon or is gone.
            self.phase = Phase::Trying { deadline: now + limits::CLIENT_REACH_TIMEOUT };
            self.primary = Some(self.connect(way));
            return;
        }
        // Who is to be relayed must be let in by a door; who comes back is asked there what they have.
        let must_knock = self.config.relay || self.relay_next || self.knock_next || self.seat.held.is_some();
        if self.config.resolve && !must_knock {
            return self.resolve();
        }
        if !self.knock(now) {
            self.fail(Reason::Unreachable, "no address to connect to".into());
        }
    }

    /// Connects to the next door; answers whether there is any.
    fn knock(&mut self, now: Instant) -> bool {
        self.knock_next = false;
        let Some(way) = self.door() else { return false };
        self.primary = Some(self.connect(way));
        self.phase = Phase::Trying { deadline: now + self.patience_at_door() };
        true
    }

    /// How long a door has to be reached: the machine of one of several may be gone, and the next knows as much. Once all
    /// were tried they have longer, for then the network is slow or they have much to do.
    fn patience_at_door(&self) -> Duration {
        match self.config.doors.len() {
            0 | 1 => limits::CLIENT_ATTACH_TIMEOUT,
            doors => {
                let rounds = (self.retry.tries() / doors as u32).min(10);
                (limits::CLIENT_REACH_TIMEOUT * (1 << rounds)).min(limits::CLIENT_ATTACH_TIMEOUT)
            }
        }
    }

    fn resolve(&mut self) {
        let Some(way) =
            self.config.doors.first().map(|&(address, certificate)| Way { address, certificate, ticket: None })
        else {
            return self.fail(Reason::Unreachable, "no address to connect to".into());
        };
        let question = Question::new(self.config.token.clone(), self.current_target());
        let mut link = Link::new(self.next_id(), way);
        link.stage = Stage::Resolving;
        self.actions.push_back(Action::Resolve { link: link.id, question: Box::new(question) });
        self.primary = Some(link);
    }

    fn door(&mut self) -> Option<Way> {
        let count = self.config.doors.len();
        let &(address, certificate) = self.config.doors.get(self.next_door % count.max(1))?;
        self.next_door += 1;
        Some(Way { address, certificate, ticket: None })
    }

    fn next_id(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link - 1)
    }

    pub(super) fn connect(&mut self, way: Way) -> Link {
        let id = self.next_id();
        self.actions.push_back(Action::Connect { link: id, address: way.address, certificate: way.certificate });
        Link::new(id, way)
    }

    /// Once attached, the session that was found, not another that fits.
    fn current_target(&self) -> Target {
        match &self.seat.held {
            Some(held) => Target::Session { game: held.session.game.clone(), key: held.session.key.clone() },
            None => self.config.target.clone(),
        }
    }

    pub(super) fn redirected(&mut self, now: Instant, id: LinkId, place: Place) {
        if let Some(link) = self.moving.take_if(|link| link.id == id) {
            self.close_link(link, Reason::Closed);
            self.moving = Some(self.connect(place.into()));
            return;
        }
        if self.standby.link.as_ref().is_some_and(|link| link.id == id) {
            return self.standby_failed(now, Reason::Closed);
        }
        self.redirects += 1;
        if self.redirects > limits::CLIENT_REDIRECTS {
            self.route = None;
            self.relay_next = true;
            self.try_again(now, Reason::Closed, "redirected in a circle".into());
            return;
        }
        if let Some(link) = self.primary.take() {
            self.close_link(link, Reason::Closed);
        }
        let link = self.connect(place.into());
        self.primary = Some(link);
        self.phase = Phase::Trying { deadline: now + limits::CLIENT_REACH_TIMEOUT };
    }

    pub(super) fn refused(&mut self, now: Instant, id: LinkId, refused: Refused) {
        if let Some(link) = self.moving.take_if(|link| link.id == id) {
            self.close_link(link, Reason::Closed);
            return self.standby.later(now);
        }
        if self.standby.link.as_ref().is_some_and(|link| link.id == id) {
            return self.standby_failed(now, Reason::Closed);
        }
        let resumed = self.primary.as_ref().is_some_and(|link| link.resumed_after.is_some());
        let showed_token = self.primary.as_ref().is_some_and(|link| link.showed_resume_token);
        if (refused.cause == Reason::ResumeInvalid && showed_token) || (refused.cause == Reason::SeatExpired && resumed)
        {
            if refused.cause == Reason::SeatExpired {
                self.seat.forget_stay();
            }
            return self.ask_for_less(now);
        }
        // Where another try helps, a door may have the room that whoever was asked has not.
        self.knock_next |= self.is_resolving();
        let is_not_there = refused.cause == Reason::NotHere;
        // Twice in a row: the nodes do not agree on where it is, or a circle came to its end.
        self.relay_next |= std::mem::replace(&mut self.was_not_there, is_not_there) && is_not_there;
        let message = if refused.message.is_empty() { refused.cause.to_string() } else { refused.message };
        match refused.cause.reaction() {
            Reaction::Retry | Reaction::RefreshRoute => {
                self.try_again(now, refused.cause, String::new());
                self.refusal = Some((refused.cause, message));
                let earliest = now + Duration::from_millis(u64::from(refused.retry_after_ms));
                if let Phase::Waiting { until } = &mut self.phase {
                    *until = (*until).max(earliest);
                }
            }
            Reaction::CorrectInput | Reaction::GiveUp => {
                self.fail(refused.cause, message);
            }
        }
    }

    /// At once, at the same place, without what was refused: the session token says who this is.
    fn ask_for_less(&mut self, now: Instant) {
        let Some(refused) = self.primary.take() else { return };
        let way = Way { ticket: None, ..refused.way.clone() };
        self.close_link(refused, Reason::Closed);
        self.primary = Some(self.connect(way));
        self.phase = Phase::Trying { deadline: now + limits::CLIENT_ATTACH_TIMEOUT };
    }

    /// The session is about to go on elsewhere: a second connection, which takes over when it is attached.
    pub(super) fn move_announced(&mut self, place: Place) {
        if let Some(link) = self.moving.take() {
            self.close_link(link, Reason::Closed);
        }
        // What waits there, or is about to, is the target: of two connections there each would put the other out.
        let is_there = |link: &mut Link| link.way.address == place.address;
        self.moving = self.standby.link.take_if(is_there).or_else(|| Some(self.connect(place.into())));
        self.standby.give_way();
    }

    /// The server's last word about this attachment.
    pub(super) fn end(&mut self, reason: Reason, message: String) {
        let event = match self.seat.held {
            Some(_) => Event::Detached { reason, message },
            None => {
                let message = if message.is_empty() { reason.to_string() } else { message };
                Event::Failed { reason, message }
            }
        };
        self.finish(Reason::Closed, Some(event));
    }

    /// Whether a connection was replaced by another of this client's, which it closed because this one was attached.
    fn is_crossed(&mut self, now: Instant, reason: Reason) -> bool {
        let address = self.primary.as_ref().map(|link| link.way.address);
        let is_it = |&mut (at, until): &mut (SocketAddr, Instant)| Some(at) == address && now < until;
        reason == Reason::Replaced && self.crossed.take_if(is_it).is_some()
    }

    pub(super) fn detached(&mut self, now: Instant, reason: Reason, message: String) {
        if self.is_crossed(now, reason) {
            return self.lost_to(now, Reason::Closed, message);
        }
        if self.moving.is_some() && matches!(reason, Reason::Replaced | Reason::Moved) {
            return self.lost_to(now, reason, message);
        }
        match reason.reaction() {
            Reaction::GiveUp | Reaction::CorrectInput => self.end(reason, message),
            Reaction::Retry | Reaction::RefreshRoute => {
                let cause = if message.is_empty() { reason.to_string() } else { message };
                if reason.reaction() == Reaction::RefreshRoute {
                    self.route = None;
                }
                self.lost_to(now, reason, cause);
            }
        }
    }

    pub(super) fn lost_to(&mut self, now: Instant, reason: Reason, cause: String) {
        if let Some(link) = self.primary.take() {
            self.close_link(link, Reason::Closed);
        }
        self.lost(now, reason, cause);
    }
}
