//! Sessions: created, run when something is due, rebuilt after a fault, given away, ended. What a guest put out is
//! handed on here; writing it to players is `outbound`.

use std::time::Instant;

use bytes::Bytes;
use ringside_core::ids::{GameName, SessionKey, Slot};
use ringside_core::limits;
use ringside_core::log::{Input, LeaveReason, SkipCause};
use ringside_core::output::Output;
use ringside_core::recording::EndReason;
use ringside_protocol::frame::ServerFrame;
use ringside_protocol::limits::RESOLVE_TIMEOUT;
use ringside_protocol::reason::Reason;
use ringside_sandbox::Ending;

use crate::accounting::{add, class_of};
use crate::command::{Create, Event, MovedSession, Resolved};
use crate::connection::{DEPARTING, Stage};
use crate::endpoint::LinkId;
use crate::limits::EVENTS;
use crate::outlet::Outlet;
use crate::session::{OwedLeave, Ran, Session};
use crate::worker::Worker;

impl Worker {
    pub(crate) fn create(&mut self, now: Instant, create: Create) {
        let id = create.session.clone();
        let record = create.record;
        let refused = self.going_away.map(|reason| reason.text().to_owned());
        let most = self.config.sessions;
        let full = (self.live_sessions >= most).then(|| format!("the worker has its {most} sessions"));
        let taken = self.names.contains_key(&(id.game.clone(), id.key.clone()));
        let taken = taken.then(|| format!("{}/{} is running already", id.game, id.key));
        if let Some(why) = refused.or(full).or(taken) {
            self.tell(Event::Created { session: id, result: Err(why) });
            return;
        }
        let rate = create.module.description().tick_rate;
        let first = if rate == 0 { now } else { self.first_tick(now, std::time::Duration::from_secs(1) / rate) };
        let mut outputs = std::mem::take(&mut self.outputs);
        let leads = (self.replication.me, self.replication.clock);
        let started = Session::start(create, now, first, self.config.cost_of, leads, &mut outputs);
        self.outputs = outputs;
        match started {
            Err(why) => {
                self.outputs.clear();
                self.tell(Event::Created { session: id, result: Err(why) });
            }
            Ok(session) => {
                tracing::debug!(session = %id, record, "session created");
                let is_unconfirmed = session.is_unconfirmed;
                let index = self.put(Box::new(session));
                if !is_unconfirmed {
                    self.tell(Event::Created { session: id, result: Ok(()) });
                }
                self.fence_if_sealed(now, index);
                self.after_run(now, index, Ran::Applied);
            }
        }
    }

    /// Whoever had a session created is told, unless they were.
    pub(crate) fn confirm(&mut self, index: usize) {
        if let Some(session) = self.sessions[index].as_mut()
            && std::mem::take(&mut session.is_unconfirmed)
        {
            let session = session.id.clone();
            self.tell(Event::Created { session, result: Ok(()) });
        }
    }

    pub(crate) fn put(&mut self, session: Box<Session>) -> usize {
        let name = (session.id.game.clone(), session.id.key.clone());
        self.prompt_sessions += usize::from(session.is_prompt());
        self.live_sessions += 1;
        let free = self.sessions.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.sessions.push(None);
            self.sessions.len() - 1
        });
        self.by_id.insert(session.id.clone(), index);
        self.sessions[index] = Some(session);
        self.names.insert(name, index);
        index
    }

    pub(crate) fn take(&mut self, index: usize) -> Option<Box<Session>> {
        let session = self.sessions.get_mut(index)?.take()?;
        self.by_id.remove(&session.id);
        // Another incarnation may have come here meanwhile.
        let name = (session.id.game.clone(), session.id.key.clone());
        if self.names.get(&name) == Some(&index) {
            self.names.remove(&name);
        }
        self.prompt_sessions -= usize::from(session.is_prompt());
        self.live_sessions -= 1;
        self.schedule.set(index as u32, None);
        self.working.retain(|&other| other != index);
        Some(session)
    }

    /// Runs what is due, as long as the socket need not be served. Answers whether more is due.
    pub(crate) fn run_due(&mut self, outlet: &mut dyn Outlet) -> bool {
        let begun = outlet.now();
        while let Some(index) = self.schedule.pop_due(begun) {
            let now = outlet.now();
            self.run_session(now, index as usize);
            if self.is_turn_over(outlet) {
                break;
            }
        }
        let now = outlet.now();
        self.schedule.next().is_some_and(|next| next <= now)
    }

    /// One due thing of a session each: a tick, a leave, a timer, an expired seat, as long as the socket need not be
    /// served; then who waits to be let in, views and checkpoints. What remains is due when others had their turn.
    fn run_session(&mut self, now: Instant, index: usize) {
        if self.sessions[index].as_ref().is_some_and(|session| session.waits_for_its_leader_alone(now)) {
            return self.beat(now, index);
        }
        let window = self.config.seat_window;
        // Ticks that leave time for nothing else take turns with the rest.
        let had_tick = self.sessions[index].as_mut().is_some_and(|session| std::mem::take(&mut session.rest_waits));
        if !had_tick {
            self.run_tick(now, index);
        }
        self.leave_owed(now, index);
        if !self.is_service_due()
            && let Some(session) = self.sessions[index].as_mut()
            && let Some(ran) = session.run_due_timer(now, &mut self.outputs)
        {
            self.after_run(now, index, ran);
        }
        let expired = self.sessions[index].as_ref().and_then(|session| session.expired_seat(now, window));
        if let Some(slot) = expired {
            let reason = Reason::SeatExpired;
            self.leave(now, index, slot, LeaveReason::TimedOut, reason, reason.text());
        }
        if self.sessions[index].is_some() && !self.is_service_due() {
            self.run_suspect(now, index);
        }
        self.let_in(now, index);
        if had_tick && !self.is_service_due() {
            self.run_tick(now, index);
        }
        self.flush_later(index);
        self.grant_if_due(now, index);
        let Some(session) = self.sessions[index].as_mut() else { return };
        session.checkpoint_if_due(now);
        self.hand_on_checkpoint(index);
        self.go_on_with_checkpoint(index);
        self.hand_on_recording(now, index);
        self.mark_views(now, index);
        self.say_idle(now, index);
        self.schedule_wake(index, Some(now));
    }

    /// A checkpoint may have been taken: its state is hashed in slices, followers are told what is compared, and have it if
    /// they do not fold themselves.
    pub(crate) fn go_on_with_checkpoint(&mut self, index: usize) {
        if self.sessions[index].as_ref().is_some_and(|session| session.has_long_work()) {
            self.work_on(index);
        }
        self.hand_on_comparison(index);
        self.update_followers(index);
    }

    fn run_tick(&mut self, now: Instant, index: usize) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let late = session.tick_lateness(now);
        if let Some(ran) = session.run_due_tick(now, &mut self.outputs) {
            add(&self.counters.lateness[class_of(late)], 1);
            self.after_run(now, index, ran);
            let is_service_due = self.is_service_due();
            if let Some(session) = self.sessions[index].as_mut() {
                session.rest_waits = is_service_due;
            }
        }
    }

    /// Hands on the recording's next piece, if it is time to.
    fn hand_on_recording(&mut self, now: Instant, index: usize) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        if let Some(piece) = session.recorded_lately(now) {
            let session = session.id.clone();
            if !self.tell_if_room(Event::Recorded { session, piece }) {
                self.end_recording(index);
            }
        }
    }

    /// A piece of a recording found no room: what comes after it would not follow, so the recording ends before it.
    pub(crate) fn end_recording(&mut self, index: usize) {
        if let Some(session) = self.sessions[index].as_mut() {
            session.recording = None;
            tracing::warn!(session = %session.id, "the recording ends here: the node does not keep up");
        }
    }

    /// The last piece of what a session recorded here, if it did, goes to the recorder; it says why it is the last.
    pub(crate) fn finish_recording(&mut self, now: Instant, session: &mut Session, reason: EndReason) {
        if let Some(piece) = session.finish_recording(now, reason) {
            self.tell(Event::Recorded { session: session.id.clone(), piece });
        }
    }

    /// Puts the players whose views may leave on the list.
    fn mark_views(&mut self, now: Instant, index: usize) {
        for seat in 0..self.sessions[index].as_ref().map_or(0, |session| session.seats.len()) {
            let seat = self.sessions[index].as_ref().and_then(|session| session.seats[seat].as_ref());
            let due = seat.filter(|seat| seat.view_due && seat.next_view <= now).and_then(|seat| seat.link);
            if let Some(link) = due {
                self.mark(link);
            }
        }
    }

    /// Sets when a session is looked at next.
    pub(crate) fn reschedule(&mut self, index: usize) {
        self.schedule_wake(index, None);
    }

    /// The same, where views that were due by `written` are on the list of this turn.
    fn schedule_wake(&mut self, index: usize, written: Option<Instant>) {
        let window = self.config.seat_window;
        let session = self.sessions.get(index).and_then(Option::as_ref);
        let let_in = || (self.waiting.contains_key(&index) && !self.is_paused(index)).then_some(self.serviced);
        let idle_at = session.and_then(|session| session.idle_at(self.serviced, self.idleness));
        let wake = session.and_then(|session| session.next_wake(window, written, idle_at));
        let wake = wake.into_iter().chain(let_in()).min();
        if let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) {
            session.own_wake = wake;
        }
        self.place_wake(index, written);
    }

    /// The same, where nothing changed but what its leader waits for.
    pub(crate) fn reschedule_leader(&mut self, index: usize) {
        self.place_wake(index, None);
    }

    fn place_wake(&mut self, index: usize, written: Option<Instant>) {
        let session = self.sessions.get(index).and_then(Option::as_ref);
        let wake = session.and_then(|session| [session.own_wake, session.leader_wake()].into_iter().flatten().min());
        // What was due long ago is not due before what came due since: sessions take turns. One that waits for its turn
        // keeps its place.
        let place = self.schedule.get(index as u32);
        let earliest = written.unwrap_or_else(|| place.map_or(self.serviced, |place| place.min(self.serviced)));
        self.schedule.set(index as u32, wake.map(|wake| wake.max(earliest)));
    }

    /// Hands on what an entry put out, and does what its outcome asks for.
    pub(crate) fn after_run(&mut self, now: Instant, index: usize, ran: Ran) {
        add(&self.counters.calls, 1);
        if let Some(session) = self.sessions[index].as_mut() {
            self.spent += session.take_spent();
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            self.hand_on(now, index, output);
        }
        // What handing on ran has used the other buffer, and emptied it.
        self.outputs = outputs;
        self.flush_later(index);
        let Some(session) = self.sessions[index].as_mut() else { return };
        if let Ran::Skipped(cause) = ran {
            add(&self.counters.skipped, 1);
            let position = session.fold.position();
            let why = match cause {
                SkipCause::Suspect => "the process that led the session died when it was about to run",
                _ => session.fold.last_fault().unwrap_or("no details"),
            };
            let message = format!("skipped ({cause:?}): {why}");
            let (id, often) = (session.id.clone(), session.has_failed_too_often(now));
            self.tell_if_room(Event::GuestFault { session: id, position, message });
            if often {
                let why = format!("{} faults within a minute", limits::TRAPS);
                self.end_session(now, index, &why);
                return;
            }
            if self.sessions[index].as_ref().is_some_and(|session| session.is_rebuilding()) {
                self.tell_players(index, &ServerFrame::Paused);
                self.work_on(index);
            }
        }
        let Some(session) = self.sessions[index].as_mut() else { return };
        if let Some(ending) = session.fold.ending().cloned() {
            self.finish(now, index, &ending);
            return;
        }
        if session.take_over_budget() {
            add(&self.counters.overruns, 1);
            // One that others follow stays where they know it to be.
            let may_go = !self.config.penalty && session.lead.is_none() && !session.is_paused();
            if may_go && session.take_overrun_too_often(now) {
                self.give_away(now, index);
                return;
            }
        }
        self.reschedule(index);
    }

    fn hand_on(&mut self, now: Instant, index: usize, output: Output) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        match output {
            Output::Send { slot, body, .. } => {
                session.usage.messages_out += 1;
                session.usage.bytes_out += body.len() as u64;
                if let Some(link) = session.seat_mut(slot).and_then(|seat| seat.link) {
                    self.mark(link);
                }
            }
            Output::View { slot } => {
                if let Some(seat) = session.seat_mut(slot) {
                    seat.view_due = true;
                    if let Some(link) = seat.link.filter(|_| seat.next_view <= now) {
                        self.mark(link);
                    }
                }
            }
            Output::Datagram { slot, body } => {
                if let Some(link) = session.seat_mut(slot).and_then(|seat| seat.link) {
                    self.send_datagram(index, link, &body);
                }
            }
            Output::Kick { slot, reason } => {
                self.leave(now, index, slot, LeaveReason::Kicked, Reason::Kicked, &reason);
            }
            Output::TooSlow { slot } => {
                let reason = Reason::TooSlow;
                self.leave(now, index, slot, LeaveReason::TooSlow, reason, reason.text());
            }
            Output::Log { level, line } => {
                let session = session.id.clone();
                self.tell_news(now, index, Event::GuestLog { session, level, line });
            }
            Output::Event { body } => {
                let session = session.id.clone();
                self.tell_news(now, index, Event::GuestEvent { session, body });
            }
            Output::Signal { session: to, body } => {
                let source = format!("{}/{}", session.id.game, session.id.key);
                self.tell_news(now, index, Event::Signal { source, to, body });
            }
            // Statistics are a register; refusals and endings are read off the state.
            Output::Stats | Output::JoinRefused { .. } | Output::StartRefused { .. } | Output::Finish { .. } => {}
        }
    }

    /// Tells the node what a guest says, within the session's rate.
    fn tell_news(&mut self, now: Instant, index: usize, event: Event) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let allowed = session.news.take(now);
        let position = session.fold.position();
        // A line of its log is for its author, and promises nothing.
        if let (true, Some(lead)) = (allowed && !matches!(event, Event::GuestLog { .. }), &mut session.lead)
            && lead.gates.waiting_news() < EVENTS
        {
            return lead.gates.news(position, event);
        }
        if !(allowed && self.tell_if_room(event))
            && let Some(session) = self.sessions[index].as_mut()
        {
            session.usage.news_dropped += 1;
        }
    }

    /// Ends a player's stay; if the session is paused or the socket wants to be served, as soon as that is over.
    pub(crate) fn leave(
        &mut self,
        now: Instant,
        index: usize,
        slot: Slot,
        why: LeaveReason,
        reason: Reason,
        message: &str,
    ) {
        let is_service_due = self.is_service_due();
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(player) = session.fold.slot(slot).map(|state| state.player.clone()) else { return };
        let is_early = why == LeaveReason::Left && session.suspects.holds(slot);
        if session.is_paused() || is_service_due || is_early {
            session.owe_leave(OwedLeave { slot, why, reason, message: message.to_owned() });
            self.reschedule(index);
            return;
        }
        // With the slot goes what it was told last.
        self.write_seat_outputs(index, slot);
        let Some(session) = self.sessions[index].as_mut() else { return };
        let mut outputs = Vec::new();
        let ran = session.run(now, Input::Leave { slot, reason: why }, &mut outputs);
        if ran == Ran::Refused {
            return;
        }
        let link = session.free_seat(slot);
        let id = session.id.clone();
        if let Some(link) = link {
            self.gate(index, link);
            self.detach(now, link, reason, message);
        }
        self.tell(Event::Left { session: id, player });
        let before = std::mem::replace(&mut self.outputs, outputs);
        self.after_run(now, index, ran);
        self.outputs = before;
    }

    /// Lets those go whose leave is owed, as long as the socket need not be served.
    fn leave_owed(&mut self, now: Instant, index: usize) {
        while !self.is_service_due() {
            let owed = self.sessions[index].as_mut().and_then(|session| session.take_owed_leave());
            let Some(OwedLeave { slot, why, reason, message }) = owed else { return };
            self.leave(now, index, slot, why, reason, &message);
        }
    }

    pub(crate) fn signal(&mut self, now: Instant, game: GameName, key: SessionKey, source: String, body: Bytes) {
        let Some(&index) = self.names.get(&(game, key)) else { return };
        let Some(session) = self.sessions[index].as_mut() else { return };
        let ran = session.run(now, Input::Signal { source, body }, &mut self.outputs);
        self.after_run(now, index, ran);
    }

    /// Puts a session on the list of those that have something to be done in slices.
    fn work_on(&mut self, index: usize) {
        if !self.working.contains(&index) {
            self.working.push_back(index);
        }
    }

    /// Works for a slice for the session whose turn it is. Answers whether work remains.
    pub(crate) fn work_some(&mut self, outlet: &mut dyn Outlet) -> bool {
        let Some(index) = self.working.pop_front() else { return false };
        let now = outlet.now();
        let Some(session) = self.sessions[index].as_mut() else { return !self.working.is_empty() };
        let worked = session.work(now, self.config.slice);
        self.spent += session.take_spent();
        if session.has_long_work() && worked.is_ok() {
            self.work_on(index);
        }
        match worked {
            // What is recorded has waited for the hash.
            Ok(false) => {
                self.hand_on_recording(now, index);
                self.hand_on_comparison(index);
            }
            Ok(true) => {
                self.tell_players(index, &ServerFrame::Resumed);
                self.go_on_with(now, index);
            }
            Err(error) => {
                let why = format!("the session cannot be rebuilt: {error}");
                if let Some(session) = &self.sessions[index] {
                    tracing::error!(session = %session.id, %error, "a rebuild failed");
                }
                self.end_session(now, index, &why);
            }
        }
        !self.working.is_empty()
    }

    /// A session takes inputs again.
    pub(crate) fn go_on_with(&mut self, now: Instant, index: usize) {
        self.leave_owed(now, index);
        self.let_in(now, index);
        self.take_up(now, index);
        self.reschedule(index);
    }

    /// A connection's stream waits until all that its session has appended is released.
    pub(crate) fn gate(&mut self, index: usize, link: LinkId) {
        let Worker { sessions, connections, .. } = self;
        let Some(session) = sessions[index].as_mut() else { return };
        let position = session.end();
        let Some(lead) = session.lead.as_mut().filter(|lead| !lead.gates.is_released(position)) else { return };
        let connection = connections.get_mut(link.index as usize).and_then(Option::as_mut);
        if let Some(connection) = connection.filter(|connection| connection.link == link) {
            connection.is_gated = true;
            lead.gates.link(position, link);
            self.flush_later(index);
        }
    }

    /// Reads on where a pause had left players' streams unread.
    pub(crate) fn take_up(&mut self, now: Instant, index: usize) {
        let seats = self.sessions[index].as_ref().map_or(0, |session| session.seats.len());
        for seat in 0..seats {
            let link = self.sessions[index].as_ref().and_then(|session| session.seats[seat].as_ref()?.link);
            if let Some(link) = link {
                self.read_stream(now, link);
            }
        }
    }

    pub(crate) fn tell_players(&mut self, index: usize, frame: &ServerFrame) {
        let seats = self.sessions[index].as_ref().map_or(0, |session| session.seats.len());
        for seat in 0..seats {
            let link = self.sessions[index].as_ref().and_then(|session| session.seats[seat].as_ref()?.link);
            if let Some(connection) = link.and_then(|link| self.connection(link)) {
                connection.write(frame);
                let link = connection.link;
                self.mark(link);
            }
        }
    }

    /// Whether nobody sits in a session or waits to be let in.
    pub(crate) fn is_empty(&self, index: usize) -> bool {
        let is_awaited = self.waiting.get(&index).is_some_and(|links| !links.is_empty());
        !is_awaited && self.sessions[index].as_ref().is_some_and(|session| session.is_empty())
    }

    /// Ends a session by the host's decision.
    pub(crate) fn end_session(&mut self, now: Instant, index: usize, why: &str) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        // A paused session takes no entry: it ends all the same.
        session.run(now, Input::End { reason: why.to_owned() }, &mut self.outputs);
        self.outputs.clear();
        self.flush_later(index);
        let ending = Ending::Ended(why.to_owned());
        match self.sessions[index].as_ref().is_some_and(|session| session.fold.ending().is_some()) {
            true => self.finish(now, index, &ending),
            false => self.finish_now(now, index, &ending),
        }
    }

    /// A session is over: everybody is told, once that is safe.
    fn finish(&mut self, now: Instant, index: usize, ending: &Ending) {
        let Some(session) = self.sessions[index].as_ref() else { return };
        if session.lead.as_ref().is_some_and(|lead| lead.waits()) {
            self.reschedule(index);
            return;
        }
        self.finish_now(now, index, ending);
    }

    /// A release may have made an end safe.
    pub(crate) fn finish_if_released(&mut self, now: Instant, index: usize) {
        let ending = self.sessions[index].as_ref().and_then(|session| session.fold.ending().cloned());
        if let Some(ending) = ending {
            self.finish(now, index, &ending);
        }
    }

    /// Tells everybody that a session is over and lets go of it.
    fn finish_now(&mut self, now: Instant, index: usize, ending: &Ending) {
        self.write_all_outputs(index);
        let Some(mut session) = self.take(index) else { return };
        if let Some(lead) = session.lead.take() {
            self.replication.last.end(&lead.terms, lead.core.last_record(), |since| lead.inputs_after(since));
            self.forget_lead(now, index, &session.id, *lead);
        }
        let (why, outcome) = match ending {
            Ending::Finished(outcome) => ("finished".to_owned(), Some(outcome.clone())),
            Ending::Ended(why) | Ending::Refused(why) => (why.clone(), None),
        };
        for link in session.seats.iter().flatten().filter_map(|seat| seat.link) {
            match &outcome {
                Some(outcome) => {
                    let last = ServerFrame::Finished { outcome: outcome.clone() };
                    self.last_frame(now, link, &last, Reason::SessionEnded);
                }
                None => self.detach(now, link, Reason::SessionEnded, &why),
            }
        }
        for link in self.waiting.remove(&index).unwrap_or_default() {
            self.refuse(now, link, Reason::NoSuchSession, "the session is over");
        }
        let id = session.id.clone();
        if session.is_unconfirmed {
            self.tell(Event::Created { session: id.clone(), result: Ok(()) });
        }
        self.finish_recording(now, &mut session, EndReason::SessionEnded);
        self.tell(Event::Ended { session: id, reason: why, outcome });
        session.has_ended();
    }

    /// Gives a session that overran its budget too often to the penalty worker.
    fn give_away(&mut self, now: Instant, index: usize) {
        let Some(mut session) = self.take(index) else { return };
        let id = session.id.clone();
        let links = self.empty_seats(now, &mut session);
        for link in self.waiting.remove(&index).unwrap_or_default() {
            self.refuse(now, link, Reason::NotHere, "the session moved to another worker");
        }
        for &link in &links {
            if let Some(connection) = self.connection(link)
                && let Stage::Attached { player, expires_s, .. } =
                    std::mem::replace(&mut connection.stage, Stage::Closed)
            {
                connection.stage = Stage::Departing { session: id.clone(), player, expires_s };
            }
            // Should the node never say where the session went, the player asks a front door again.
            self.endpoint.set_deadline(link, Some(now + RESOLVE_TIMEOUT));
        }
        // Also where nobody plays: those who come while it is on its way find it gone and ask again.
        if !links.is_empty() {
            self.departed.insert(id, links);
        }
        self.tell(Event::Overran(Box::new(MovedSession(session))));
    }

    /// Nobody is attached to a session's seats any more; answers who was.
    pub(crate) fn empty_seats(&self, now: Instant, session: &mut Session) -> Vec<LinkId> {
        let mut links = Vec::new();
        for seat in session.seats.iter_mut().flatten() {
            seat.away_since = now;
            links.extend(seat.link.take());
        }
        let players = &self.counters.players;
        let before = players.load(std::sync::atomic::Ordering::Relaxed);
        players.store(before.saturating_sub(links.len() as u64), std::sync::atomic::Ordering::Relaxed);
        links
    }

    /// Takes over a session of another worker of this node.
    pub(crate) fn adopt(&mut self, now: Instant, moved: MovedSession) {
        let most = self.config.sessions;
        let full = self.live_sessions >= most;
        let has_long_work = moved.0.has_long_work();
        let index = self.put(moved.0);
        if has_long_work {
            self.work_on(index);
        }
        if full {
            self.end_session(now, index, &format!("the worker that it moved to has its {most} sessions"));
        }
        self.reschedule(index);
    }

    /// Sends the players of a session that was given away to where it is.
    pub(crate) fn send_on(&mut self, now: Instant, place: &Resolved) {
        let links = self.departed.remove(&place.session).unwrap_or_default();
        for link in links {
            let Some(connection) = self.connection(link) else { continue };
            let Stage::Departing { player, expires_s, .. } = &connection.stage else { continue };
            let (player, expires_s) = (player.clone(), *expires_s);
            let target = self.place(place, &player, 0, expires_s);
            if let Some(connection) = self.connection(link) {
                connection.write(&ServerFrame::Moving(target));
            }
            // The client closes once it is attached there.
            self.endpoint.set_deadline(link, Some(now + DEPARTING));
            self.mark(link);
        }
    }
}
