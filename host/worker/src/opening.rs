//! Letting players in: from the open frame to a seat, a redirect or a refusal. Every path answers with exactly one
//! frame; everything that a silent or greedy peer could hold open has a deadline or a bound.

use std::time::{Duration, Instant};

use ringside_core::ids::{PlayerId, Position, SessionId, Slot};
use ringside_core::log::Input;
use ringside_core::output::Output;
use ringside_protocol::channel::{self, Resumption, Standing};
use ringside_protocol::frame::{
    Attached, Mode, Open, Refused, Resume, Rewound, Route, Seat as SeatFrame, ServerFrame, Target, VERSION, cut_reason,
};
use ringside_protocol::limits;
use ringside_protocol::reason::{Reaction, Reason};
use ringside_protocol::token::Capability;

use crate::command::{Event, Refusal, Resolved, Resumed};
use crate::connection::Stage;
use crate::endpoint::LinkId;
use crate::replication::Fork;
use crate::session::Ran;
use crate::worker::Worker;

/// What the client is told to wait before it tries again, where trying again helps.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Who was let so far.
struct Admitted {
    player: PlayerId,
    /// Whether they may have sessions created.
    may_create: bool,
    /// Until when, s.
    expires_s: u64,
    /// The session that their ticket names, and how often they were redirected by then.
    ticket: Option<(SessionId, u8)>,
}

/// A player at the door.
pub(crate) struct Guest {
    pub(crate) link: LinkId,
    pub(crate) open: Box<Open>,
    pub(crate) player: PlayerId,
    /// Redirects that brought them here.
    pub(crate) redirects: u8,
    pub(crate) expires_s: u64,
}

impl Worker {
    /// A connection's first frame.
    pub(crate) fn open(&mut self, now: Instant, link: LinkId, open: Box<Open>) {
        match self.admit_player(now, &open) {
            Ok(Admitted { player, may_create, expires_s, ticket }) => {
                let (session, redirects) = ticket.map_or((None, 0), |(session, count)| (Some(session), count));
                let guest = Guest { link, open, player, redirects, expires_s };
                self.place_player(now, guest, may_create, session);
            }
            Err((reason, message)) => self.refuse(now, link, reason, &message),
        }
    }

    /// Who it is, and the session that a ticket names.
    fn admit_player(&mut self, now: Instant, open: &Open) -> Result<Admitted, (Reason, String)> {
        let plain = |reason: Reason| (reason, reason.text().to_owned());
        if open.version != VERSION {
            let text = format!("this server speaks version {}, the client {}", VERSION, open.version);
            return Err((Reason::Version, text));
        }
        if let Some(reason) = self.going_away {
            return Err(plain(reason));
        }
        if open.mode == Mode::Standby && open.ticket.is_none() {
            let text = "to stand by is for who has the ticket that a session's leader gave for its follower";
            return Err((Reason::ModeUnsupported, text.into()));
        }
        let Some(ticket) = &open.ticket else {
            let now_s = self.unix_ms(now) / 1000;
            let claims = self.authority.admit(&open.token, &open.target, now_s)?;
            let may_create = claims.can(Capability::Create);
            let (player, expires_s) = (claims.player, claims.expires_s);
            return Ok(Admitted { player, may_create, expires_s, ticket: None });
        };
        let claims = self.authority.verify(&open.token).map_err(plain)?;
        let may_create = claims.can(Capability::Create);
        // The door that wrote the ticket found the token good by its own clock.
        claims.covers(&open.target).map_err(plain)?;
        let era = self.era(now);
        let ticket = self.authority.redeem_ticket(ticket, era).map_err(plain)?;
        if ticket.player != claims.player || ticket.session.game != *open.target.game() {
            return Err((Reason::TicketInvalid, "the ticket is another player's, or for another game".into()));
        }
        let (player, expires_s) = (claims.player, claims.expires_s);
        Ok(Admitted { player, may_create, expires_s, ticket: Some((ticket.session, ticket.redirects)) })
    }

    /// Attaches the player if the session is here, else asks the node.
    fn place_player(&mut self, now: Instant, guest: Guest, may_create: bool, ticket: Option<SessionId>) {
        let here = match (&ticket, &guest.open.target) {
            (Some(session), _) => self.index_of(session),
            (None, Target::Session { game, key }) => self.names.get(&(game.clone(), key.clone())).copied(),
            (None, Target::FindOrCreate { .. }) => None,
        };
        // Whoever comes to a follower waits there, whatever they come for: it may lead soon.
        let followed = match (&ticket, &guest.open.target) {
            (Some(session), _) => self.replication.get_mut(session).map(|following| following.id.clone()),
            _ => None,
        };
        match (here, followed) {
            (Some(session), _) => self.attach(now, guest, session),
            (None, Some(session)) => match self.at_successor(&session).filter(|_| guest.open.mode != Mode::Standby) {
                Some(place) => self.route_to(now, guest, &place),
                None => self.stand_by(now, guest, &session),
            },
            (None, None) if guest.open.mode == Mode::Standby => {
                self.refuse(now, guest.link, Reason::NotHere, "the session is not followed at this worker");
            }
            // Nor may one be that a ticket names: it has ended or moved since, or whoever sent the player knew it wrong.
            (None, None) => self.ask(now, guest, may_create),
        }
    }

    fn ask(&mut self, now: Instant, guest: Guest, may_create: bool) {
        let Guest { link, open, player, redirects, expires_s } = guest;
        if self.resolving.len() >= limits::UNATTACHED {
            self.refuse(now, link, Reason::Overloaded, "too many players wait for a session");
            return;
        }
        self.requests += 1;
        let request = self.requests;
        let target = open.target.clone();
        // Who comes back to a session wants that one: where it is lost, another is no help.
        let may_create = may_create && open.resume.is_none();
        let resumes = open.resume.as_ref().map(|resume| {
            let Resume { incarnation, branch, .. } = resume;
            Resumed { incarnation: *incarnation, epoch: branch.0 }
        });
        self.tell(Event::Resolve { request, player: player.clone(), target, may_create, resumes });
        self.resolving.insert(request, link);
        let Some(connection) = self.connection(link) else { return };
        connection.stage = Stage::Resolving { request, open, player, redirects, expires_s };
        self.endpoint.set_deadline(link, Some(now + limits::RESOLVE_TIMEOUT));
    }

    /// The node's answer to [`Worker::ask`].
    pub(crate) fn resolved(&mut self, now: Instant, request: u64, answer: Result<Resolved, Refusal>) {
        let Some(link) = self.resolving.remove(&request) else { return };
        let Some(connection) = self.connection(link) else { return };
        let stage = std::mem::replace(&mut connection.stage, Stage::Opening);
        let Stage::Resolving { open, player, redirects, expires_s, .. } = stage else {
            connection.stage = stage;
            return;
        };
        let guest = Guest { link, open, player, redirects, expires_s };
        let place = match answer {
            Ok(place) => place,
            Err(refusal) => return self.refuse(now, link, refusal.reason, &refusal.message),
        };
        let is_led_here =
            place.node == self.config.node && place.worker == self.config.worker && !self.is_beside(&place);
        match self.index_of(&place.session) {
            Some(session) if is_led_here => self.attach(now, guest, session),
            None if is_led_here => {
                self.refuse(now, link, Reason::NotHere, "the session ended while it was looked for");
            }
            _ => self.route_to(now, guest, &place),
        }
    }

    /// Lets those in who waited for the session, as long as it takes players and the socket need not be served.
    pub(crate) fn let_in(&mut self, now: Instant, session: usize) {
        while !self.must_wait(session) {
            let Some(link) = self.next_waiting(session) else { return };
            let Some(connection) = self.connection(link) else { continue };
            let stage = std::mem::replace(&mut connection.stage, Stage::Opening);
            match stage {
                Stage::Waiting { open, player, expires_s, .. } => {
                    self.attach(now, Guest { link, open, player, redirects: 0, expires_s }, session);
                }
                other => connection.stage = other,
            }
        }
    }

    /// The one who has waited longest, who waits no longer.
    fn next_waiting(&mut self, session: usize) -> Option<LinkId> {
        let links = self.waiting.get_mut(&session)?;
        let link = links.remove(0);
        if links.is_empty() {
            self.waiting.remove(&session);
        }
        Some(link)
    }

    /// Whether nobody can be let in at this moment.
    fn must_wait(&self, index: usize) -> bool {
        let session = self.sessions[index].as_ref();
        self.is_service_due() || session.is_some_and(|session| session.is_paused() || session.owes_leaves())
    }

    pub(crate) fn attach(&mut self, now: Instant, guest: Guest, index: usize) {
        if self.sessions[index].is_none() {
            self.refuse(now, guest.link, Reason::NoSuchSession, "the session is over");
            return;
        }
        if self.must_wait(index) {
            let Guest { link, open, player, expires_s, .. } = guest;
            self.waiting.entry(index).or_default().push(link);
            let until = now + limits::RESOLVE_TIMEOUT;
            if let Some(connection) = self.connection(link) {
                connection.stage = Stage::Waiting { session: index, open, player, expires_s };
            }
            self.endpoint.set_deadline(link, Some(until));
            self.reschedule(index);
            return;
        }
        if self.is_overtaken(index, &guest) {
            self.refuse(now, guest.link, Reason::Replaced, Reason::Replaced.text());
            return;
        }
        if let Err((reason, message)) = self.check_resume(now, &guest, index) {
            self.refuse(now, guest.link, reason, message);
            return;
        }
        let seated = match self.slot_of(index, &guest.player) {
            Some(slot) => Ok((slot, SeatFrame::Kept)),
            None => self.join(now, index, &guest.player).map(|slot| (slot, SeatFrame::New)),
        };
        match seated {
            Ok((slot, seat)) => self.seat(now, guest, index, slot, seat),
            Err((reason, message)) => {
                if let Some(session) = self.sessions[index].as_ref() {
                    let session = session.id.clone();
                    self.tell(Event::Refused { session, player: guest.player.clone() });
                }
                self.refuse(now, guest.link, reason, &message);
            }
        }
    }

    /// Whether a connection of the player that was made later is attached already, because the answer for this one took
    /// longer: the process behind it may be long gone.
    fn is_overtaken(&self, index: usize, guest: &Guest) -> bool {
        let attached = || {
            let slot = self.slot_of(index, &guest.player)?;
            self.sessions[index].as_ref()?.seats.get(usize::from(slot.0))?.as_ref()?.link
        };
        attached().is_some_and(|attached: LinkId| attached.is_newer_than(guest.link))
    }

    fn slot_of(&self, index: usize, player: &PlayerId) -> Option<Slot> {
        self.sessions[index].as_ref()?.slot_of(player.as_str())
    }

    /// Whether what the client brings to go on from is good here.
    fn check_resume(&mut self, now: Instant, guest: &Guest, index: usize) -> Result<(), (Reason, &'static str)> {
        let Some(resume) = &guest.open.resume else { return Ok(()) };
        let Some(id) = self.sessions[index].as_ref().map(|session| session.id.clone()) else { return Ok(()) };
        if resume.incarnation != id.incarnation {
            return Err((Reason::SessionEnded, "the session with this key is another one now"));
        }
        if !resume.token.is_empty() {
            let now_ms = self.unix_ms(now);
            match self.authority.redeem_resume(&resume.token, now_ms) {
                Ok(claims) if claims.player == guest.player && claims.session == id => {}
                _ => {
                    return Err((Reason::ResumeInvalid, "the resume token was used, has expired or belongs elsewhere"));
                }
            }
        }
        // Numbers of another stay mean nothing here, nor do messages that may follow this frame already.
        if self.joined(index, &guest.player) != Some(resume.joined) {
            return Err((Reason::SeatExpired, Reason::SeatExpired.text()));
        }
        Ok(())
    }

    /// Since when a player has been in a session.
    fn joined(&self, index: usize, player: &PlayerId) -> Option<Position> {
        let session = self.sessions[index].as_ref()?;
        Some(session.fold.slot(session.slot_of(player.as_str())?)?.joined)
    }

    /// A new seat for a player.
    fn join(&mut self, now: Instant, index: usize, player: &PlayerId) -> Result<Slot, (Reason, String)> {
        let gone = || (Reason::NoSuchSession, "the session is over".to_owned());
        let session = self.sessions[index].as_mut().ok_or_else(gone)?;
        let full = (Reason::SessionFull, "every seat is taken".to_owned());
        let slot = session.fold.free_slot().ok_or(full)?;
        session.take_seat(slot, now);
        let mut outputs = std::mem::take(&mut self.outputs);
        let ran = session.run(now, Input::Join { slot, player: player.clone() }, &mut outputs);
        let refused = outputs.iter().find_map(|output| match output {
            Output::JoinRefused { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        let seated = match (ran, refused) {
            (Ran::Applied, None) => Ok(slot),
            (Ran::Applied, Some(reason)) => Err((Reason::JoinRefused, reason)),
            (Ran::Skipped(_), _) => Err((Reason::JoinRefused, "the game failed when the player joined".to_owned())),
            (Ran::Refused, _) => Err(gone()),
        };
        if seated.is_err() {
            session.free_seat(slot);
        }
        let id = session.id.clone();
        if seated.is_ok() {
            self.tell(Event::Joined { session: id, player: player.clone() });
        }
        self.outputs = outputs;
        self.after_run(now, index, ran);
        seated
    }

    /// Attaches a connection to a seat.
    fn seat(&mut self, now: Instant, guest: Guest, index: usize, slot: Slot, seat: SeatFrame) {
        let Guest { link, open, player, expires_s, .. } = guest;
        let Some(session) = self.sessions[index].as_mut() else {
            // The call that let the player in has ended or moved the session: the node knows which.
            self.refuse(now, link, Reason::NotHere, "the session went away while the player joined");
            return;
        };
        let branch = session.branch();
        let Some(state) = session.fold.slot(slot) else {
            self.refuse(now, link, Reason::Kicked, "the game kicked the player at once");
            return;
        };
        let (joined, acknowledged) = (state.joined, state.outputs.first() - 1);
        let claimed = match &open.resume {
            Some(Resume { branch, last_output, .. }) => Standing { branch: *branch, last: *last_output },
            None => Standing { branch, last: acknowledged },
        };
        let fork = session.fork(claimed.branch, state);
        let kept = fork.map(|fork| fork.kept.last_output);
        let (after, rewound) = match channel::resume(claimed, branch, kept, &state.outputs) {
            Ok(Resumption::Continue { after }) => (after, None),
            Ok(Resumption::Rewound { after }) => (after, fork),
            Err(error) => {
                self.refuse(now, link, Reason::ResumeImpossible, &error.to_string());
                return;
            }
        };
        if after > acknowledged {
            let ran = session.run(now, Input::Acknowledge { slot, up_to: after }, &mut self.outputs);
            self.after_run(now, index, ran);
        }
        self.replace(now, index, slot, link);
        let now_ms = self.unix_ms(now);
        let follower = self.follower_place(index, &player, expires_s);
        let Some(session) = self.sessions[index].as_mut() else { return };
        let id = session.id.clone();
        let resume_token = self.authority.resume_token(&player, &id, slot, now_ms);
        let description = session.fold.module().description();
        let last_datagram =
            session.seats.get(usize::from(slot.0)).and_then(Option::as_ref).map_or(0, |seat| seat.last_datagram);
        let attached = Attached {
            session: id,
            player: player.clone(),
            slot,
            mode: Mode::Attach,
            seat,
            joined,
            branch,
            epoch: session.epoch,
            node: self.config.node,
            worker: self.config.worker,
            route: Route::Direct,
            last_input: session.fold.slot(slot).map_or(0, |state| state.last_input),
            last_output: after,
            last_datagram,
            resume_token,
            tick_rate: description.tick_rate,
            view_rate: description.view_rate,
            input_rate: description.input_rate,
            tier: description.tier,
            tick: session.fold.tick(),
            seat_window_ms: self.config.seat_window.as_millis() as u32,
            paused: session.pause().is_some(),
            follower,
        };
        let input_rate = description.input_rate;
        let mut rejections = Vec::new();
        if let Some(seat) = session.seat_mut(slot) {
            seat.attach(now, link);
            if open.resume.is_some() {
                rejections.extend(seat.rejections());
            }
        }
        self.set_attached_count(link, false);
        if let Some(connection) = self.connection(link) {
            connection.stage = Stage::Attached { session: index, slot, player, expires_s };
            connection.last_written = after;
            connection.set_input_rate(input_rate);
            connection.decoder.set_limit(limits::CLIENT_FRAME_BYTES);
            connection.write(&ServerFrame::Attached(Box::new(attached)));
            if let Some(Fork { tick, kept }) = rewound {
                // What came with the open has numbers of another branch. Whoever wrote it makes another connection.
                connection.is_ignored = !connection.unread.is_empty();
                let (last_input, last_output) = (kept.last_input, kept.last_output);
                connection.write(&ServerFrame::Rewound(Rewound { branch, tick, last_input, last_output }));
            }
            rejections.iter().for_each(|frame| connection.write(frame));
        }
        self.gate(index, link);
        crate::accounting::add(&self.counters.players, 1);
        self.endpoint.set_deadline(link, Some(now + limits::KEEP_ALIVE));
        self.mark(link);
        self.reschedule(index);
        // What the client sent behind its open frame.
        self.read_stream(now, link);
    }

    /// The newest attached connection of a player wins.
    fn replace(&mut self, now: Instant, index: usize, slot: Slot, newer: LinkId) {
        let older = self.sessions[index].as_mut().and_then(|session| session.seat_mut(slot)?.link.take());
        if let Some(older) = older.filter(|&older| older != newer) {
            self.detach(now, older, Reason::Replaced, Reason::Replaced.text());
        }
    }

    /// Ends a connection's attachment with a reason; the seat is the caller's business.
    pub(crate) fn detach(&mut self, now: Instant, link: LinkId, reason: Reason, message: &str) {
        self.last_frame(now, link, &ServerFrame::Detached { reason, message: cut_reason(message) }, reason);
    }

    /// Refuses a player.
    pub(crate) fn refuse(&mut self, now: Instant, link: LinkId, cause: Reason, message: &str) {
        let retry = cause.reaction() == Reaction::Retry;
        let retry_after_ms = if retry { RETRY_AFTER.as_millis() as u32 } else { 0 };
        self.last_frame(
            now,
            link,
            &ServerFrame::Refused(Refused { cause, message: cut_reason(message), retry_after_ms }),
            cause,
        );
    }

    /// Writes a connection's last frame, gives it a while to be acknowledged, then closes for `reason`.
    pub(crate) fn last_frame(&mut self, now: Instant, link: LinkId, frame: &ServerFrame, reason: Reason) {
        let Some(connection) = self.connection(link) else { return };
        let was_attached = connection.attached().is_some();
        connection.write(frame);
        let stage = std::mem::replace(&mut connection.stage, Stage::Closing { reason });
        self.stop_waiting(link, &stage);
        self.counters.ends.count(reason);
        if was_attached {
            let players = &self.counters.players;
            players.store(
                players.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(1),
                std::sync::atomic::Ordering::Relaxed,
            );
        }
        self.set_attached_count(link, false);
        self.endpoint.set_deadline(link, Some(now + limits::CLOSING_TIMEOUT));
        self.mark(link);
    }
}
