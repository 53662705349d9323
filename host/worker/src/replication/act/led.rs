//! What the leaders of this worker's sessions ask for: words, releases, the end of a leadership.

use std::sync::Arc;
use std::time::Instant;

use ringside_core::ids::{PlayerId, Position, SessionId, Slot, StateHash};
use ringside_core::leadership::leader::ChainReply;
use ringside_core::leadership::message::{Append, Mark, Message, Output, Party, Release};
use ringside_core::leadership::record::{Member, Record};
use ringside_core::leadership::{Follower, Leader};
use ringside_core::recording::{About, EndReason};
use ringside_protocol::frame::{Place, ServerFrame};
use ringside_protocol::reason::Reason;

use super::super::comparing::Comparison;
use super::super::following::Remains;
use super::super::job::Job;
use super::super::wire::{CheckpointHead, Item, Word};
use super::super::{Branches, Following, Freed, Kept, Lead, Phase};
use crate::command::{Event, Resolved};
use crate::connection::{DEPARTING, Stage};
use crate::endpoint::LinkId;
use crate::worker::Worker;

impl Worker {
    /// Does something with a session's leader, and what it says.
    pub(crate) fn with_leader(&mut self, now: Instant, index: usize, act: impl FnOnce(&mut Leader, u64)) {
        let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) else { return };
        session.with_leader(now, act);
        self.obey_leader(now, index);
    }

    /// The same, where it changes nothing of the session unless the leader says so: a heartbeat is due, or was answered.
    pub(crate) fn with_leader_beside(&mut self, now: Instant, index: usize, act: impl FnOnce(&mut Leader, u64)) {
        let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) else { return };
        session.with_leader(now, act);
        let is_beside = self.do_as_told(now, index) && !self.look_after(now, index);
        match is_beside {
            true => self.reschedule_leader(index),
            false => self.reschedule(index),
        }
    }

    /// Nothing is due but words to followers.
    pub(crate) fn beat(&mut self, now: Instant, index: usize) {
        let gathers =
            |worker: &mut Worker| worker.lead_mut(index).is_some_and(|lead| lead.is_gathered && lead.has_unsent());
        let gathered = gathers(self);
        self.with_leader_beside(now, index, |_, _| ());
        if gathered && !gathers(self) {
            // In place of the heartbeat: what others have gathered leaves with it.
            self.replication.unsent.hurry(now);
        }
        self.flush_if_needed(index);
    }

    /// Its entries are to be sent when the turn ends, if it has any, or its leader holds something back that may kill the process.
    pub(crate) fn flush_if_needed(&mut self, index: usize) {
        if self.lead_mut(index).is_some_and(|lead| lead.has_to_flush()) {
            self.flush_later(index);
        }
    }

    /// Its entries are to be sent when the turn ends.
    pub(crate) fn flush_later(&mut self, index: usize) {
        let lead = self.lead_mut(index);
        if lead.is_some_and(|lead| !std::mem::replace(&mut lead.is_unflushed, true)) {
            self.replication.unsent.push(index);
        }
    }

    /// Does what a leader said, until it says nothing more.
    pub(crate) fn obey_leader(&mut self, now: Instant, index: usize) {
        self.do_as_told(now, index);
        self.look_after(now, index);
        self.reschedule(index);
    }

    /// Answers whether all of that were words to followers.
    fn do_as_told(&mut self, now: Instant, index: usize) -> bool {
        let mut are_words = true;
        while let Some(output) = self.sessions.get_mut(index).and_then(Option::as_mut).and_then(|session| {
            let lead = session.lead.as_mut()?;
            lead.todo.pop_front()
        }) {
            match output {
                Output::Send { to: Party::Member(to), message } => self.send_to_follower(now, index, to, message),
                output => {
                    are_words = false;
                    self.obey_one(now, index, output);
                }
            }
        }
        // It may have waited for a follower.
        self.hand_on_checkpoint(index);
        are_words
    }

    fn obey_one(&mut self, now: Instant, index: usize, output: Output) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let id = session.id.clone();
        match output {
            Output::Send { to: Party::Home, message } => {
                self.tell(Event::ToHome { session: id, message: Box::new(message) });
            }
            Output::Chain(request) => self.tell(Event::Chain { session: id, request }),
            Output::Probe(party) => self.tell(Event::Probe { session: id, party }),
            Output::Release(release) => self.release(now, index, release),
            Output::Paused(is_paused) => {
                if let Some(lead) = &mut session.lead {
                    lead.is_paused = is_paused;
                }
                let frame = if is_paused { ServerFrame::Paused } else { ServerFrame::Resumed };
                self.tell_players(index, &frame);
            }
            Output::Degraded(is_degraded) => {
                tracing::debug!(session = %id, is_degraded, "whether nobody else has what is appended");
            }
            Output::Count { since } => {
                let inputs = session.lead.as_ref().map_or(0, |lead| lead.inputs_after(since));
                tracing::info!(session = %id, fork = since, inputs, "another branch of the session is met");
                self.with_leader(now, index, |core, us| core.handle_counted(us, since, inputs));
            }
            // What was held back is taken up when it is looked after.
            Output::MoveFailed => self.move_failed(now, index),
            Output::Evicted(record) => self.evicted(now, index, record),
            Output::NotEvicted => tracing::debug!(session = %id, "the session is not evicted"),
            Output::Renewed(record) => {
                tracing::info!(session = %id, %record.leader, ?record.cause, "the session goes on in a new epoch");
                session.enter_epoch(&record);
                if let Some(lead) = &mut session.lead {
                    // Checkpoints of the epoch before that are on their way are not heeded any more.
                    lead.sending.clear();
                }
                self.record_anew(now, index);
                // In the log of this node nothing of the epoch counts before a checkpoint.
                self.checkpoint(now, &id);
                self.flush_later(index);
            }
            Output::Deposed => self.depose(now, index, None),
            Output::Superseded { by, fork } => {
                tracing::warn!(session = %id, fork, leader = %by.leader, "another branch of the session goes on");
                self.keep_branch(index, &by, fork);
                self.tell_branches(index, by.leader);
                self.depose(now, index, Some(by));
            }
            // Said already, put into the log already, or a follower's.
            Output::Send { .. }
            | Output::Record(_)
            | Output::Keep { .. }
            | Output::Truncate { .. }
            | Output::Lead(_)
            | Output::Counts(_)
            | Output::Diverged { .. } => {}
        }
    }

    /// The branch that is led here has lost: whoever leads the other one is told what its players may come with.
    fn tell_branches(&mut self, index: usize, winner: Member) {
        let Some(session) = self.sessions[index].as_ref() else { return };
        let Some(lead) = &session.lead else { return };
        let (session, branches) = (session.id.clone(), lead.branches.clone());
        self.say(winner, Item::Branches { session, branches });
    }

    /// Another branch than the one that is led here has lost: its players may come here, or to a follower later.
    pub(super) fn learn_branches(&mut self, from: Member, index: usize, lost: &Branches) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(lead) = &mut session.lead else { return };
        if !lead.branches.learn(lost) {
            return;
        }
        let (id, branches, linked) = (session.id.clone(), lead.branches.clone(), lead.linked.clone());
        for member in linked.into_iter().filter(|member| *member != from) {
            self.say(member, Item::Branches { session: id.clone(), branches: branches.clone() });
        }
    }

    /// The branch that is led here has lost: its log is kept from its beginning, or else from the last checkpoint on.
    fn keep_branch(&mut self, index: usize, by: &Record, fork: Position) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(lead) = &session.lead else { return };
        let (id, end) = (session.id.clone(), session.fold.position());
        let epoch = lead.core.record().epoch;
        let (base, records) = match lead.entries(&session.log, 0, end) {
            Some(whole) => (None, whole),
            None => (session.checkpoint.clone(), session.log.clone()),
        };
        let about = About::Fork { fork, by: by.epoch, leader: by.leader };
        let kept = Kept::new((id, epoch), about, &mut session.fold, base, records, []);
        self.tell(Event::Kept(Box::new(kept)));
    }

    /// A follower's fold came to other outputs: the leader's side is kept as well, once a checkpoint.
    pub(super) fn keep_divergence(&mut self, id: &SessionId, at: (Position, StateHash, StateHash)) {
        let Some(index) = self.index_of(id) else { return };
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(lead) = &mut session.lead else { return };
        let since = session.checkpoint.as_ref().map_or(0, |state| state.position());
        if lead.diverged_since.replace(since) == Some(since) {
            return;
        }
        let (position, leader, follower) = at;
        let about = About::Diverged { position, leader, follower, is_leader: true };
        let (base, records) = (session.checkpoint.clone(), session.log.clone());
        let epoch = lead.core.record().epoch;
        let kept = Kept::new((id.clone(), epoch), about, &mut session.fold, base, records, []);
        self.tell(Event::Kept(Box::new(kept)));
    }

    /// Followers that count are told of a state that is compared.
    pub(crate) fn hand_on_comparison(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(lead) = session.lead.as_mut() else { return };
        let (id, said, followers) = (&session.id, lead.compared.take_said(), &lead.core.record().in_sync);
        let item = |said| match said {
            Comparison::Begins(position) => Item::Comparing { session: id.clone(), position },
            Comparison::Is(Mark { position, hash }) => Item::Compared { session: id.clone(), position, hash },
        };
        let items: Vec<(Member, Item)> =
            said.into_iter().flat_map(|said| followers.iter().map(move |who| (*who, item(said)))).collect();
        items.into_iter().for_each(|(who, item)| self.say(who, item));
    }

    /// Says something to a follower; a batch with its entries. Who lacks entries that are not kept any more is sent a
    /// checkpoint beside it.
    fn send_to_follower(&mut self, now: Instant, index: usize, to: Member, message: Message) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(lead) = &mut session.lead else { return };
        let mut word = Word { session: session.id.clone(), message, entries: Vec::new() };
        if let Message::Append(append) = &mut word.message {
            // Whoever gets it without a link is spared the log before it.
            let begins_with_checkpoint = append.from == 0
                && append.to > 0
                && self.companion.passage_to(to).is_some()
                && session.checkpoint.as_ref().is_some_and(|state| state.position() > 0);
            match lead.entries(&session.log, append.from, append.to).filter(|_| !begins_with_checkpoint) {
                Some(entries) => word.entries = entries,
                None => {
                    *append = Append { to: append.from, ..append.clone() };
                    lead.core.handle_unsent(lead.us(now), to);
                    self.begin_checkpoint(now, index, to);
                }
            }
        }
        let Some(lead) = self.lead_mut(index) else { return };
        if !lead.linked.contains(&to)
            && self.link(now, &word.session, to)
            && let Some(lead) = self.lead_mut(index)
        {
            lead.linked.insert(to);
        }
        let introduces = match &word.message {
            Message::Lead { .. } => true,
            Message::Append(append) => append.record.is_some() || append.from == 0,
            _ => false,
        };
        let id = introduces.then(|| word.session.clone());
        self.say(to, Item::Word(word));
        if let Some((id, lead)) = id.zip(self.lead_mut(index)) {
            let (branches, changes) = (lead.branches.clone(), lead.history.clone());
            self.say(to, Item::Branches { session: id.clone(), branches });
            if !changes.is_empty() {
                self.say(to, Item::History { session: id, changes });
            }
        }
    }

    /// A session is to have followers, be it for a moment.
    pub(crate) fn begin_lead(&mut self, now: Instant, index: usize) {
        let own = (self.replication.me, self.replication.clock);
        if let Some(session) = self.sessions[index].as_mut().filter(|session| session.lead.is_none()) {
            session.begin_lead(now, own);
            self.obey_leader(now, index);
        }
    }

    pub(crate) fn lead_mut(&mut self, index: usize) -> Option<&mut Lead> {
        self.sessions.get_mut(index)?.as_mut()?.lead.as_deref_mut()
    }

    fn begin_checkpoint(&mut self, now: Instant, index: usize, to: Member) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(lead) = &mut session.lead else { return };
        let Some(state) = session.checkpoint.clone() else { return };
        // One that did not get there is sent by the other way.
        let is_first = !lead.sending.contains_key(&to);
        if !lead.sends_checkpoint(now, to) {
            return;
        }
        let head = CheckpointHead {
            session: session.id.clone(),
            position: state.position(),
            lineage: lead.core.record().lineage.clone(),
            branches: lead.branches.clone(),
        };
        Phase::Checkpoint.at_source(&session.id, to);
        lead.updated.insert(to, state.position());
        let passage = self.companion.passage_to(to).filter(|_| is_first).cloned();
        let passage = passage.map(|passage| (self.replication.me.worker, passage));
        self.replication.jobs.push_back(Job::encode(to, head, None, state, passage));
    }

    /// A checkpoint is encoded: it leaves behind everything else.
    pub(super) fn send_checkpoint(&mut self, to: Member, session: &SessionId, body: bytes::Bytes) {
        let sent = self.peers.as_mut().map(|peers| peers.send_long(to.into(), body));
        if !matches!(sent, Some(Ok(()))) {
            tracing::debug!(%session, %to, ?sent, "a checkpoint is not sent at this moment");
            // The next batch that lacks entries tries again.
            if let Some(lead) = self.index_of(session).and_then(|index| self.lead_mut(index)) {
                lead.sending.remove(&to);
                lead.updated.remove(&to);
            }
        }
    }

    /// What waited for entries up to a position may leave.
    fn release(&mut self, now: Instant, index: usize, release: Release) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(lead) = &mut session.lead else { return };
        let mut freed = Vec::new();
        lead.gates.open(release, &mut freed);
        for one in freed {
            self.free(index, one);
        }
        self.finish_if_released(now, index);
    }

    fn free(&mut self, index: usize, freed: Freed) {
        match freed {
            Freed::News(event) => self.tell(event),
            Freed::Link(link) => {
                if let Some(connection) = self.connection(link) {
                    connection.is_gated = false;
                }
                self.mark(link);
            }
            Freed::Input(position, input) => {
                let Some(seat) = self.seat_at(index, input.slot, position) else { return };
                seat.released_input = seat.released_input.max(input.number);
                let (link, up_to) = (seat.link, seat.released_input);
                let Some(link) = link else { return };
                self.acknowledge_input(link, up_to);
                if let (Some(cause), Some(connection)) = (input.rejected, self.connection(link)) {
                    connection.write(&ServerFrame::Rejected { number: input.number, cause });
                }
            }
            Freed::Output(position, slot, number) => {
                let Some(seat) = self.seat_at(index, slot, position) else { return };
                seat.released_output = seat.released_output.max(number);
                seat.link.into_iter().for_each(|link| self.mark(link));
            }
        }
    }

    /// A slot's seat, if it is that of who had it at a position.
    fn seat_at(&mut self, index: usize, slot: Slot, position: u64) -> Option<&mut crate::session::Seat> {
        let session = self.sessions[index].as_mut()?;
        let joined = session.fold.slot(slot)?.joined;
        session.seat_mut(slot).filter(|_| joined <= position)
    }

    /// What follows from what a leader said: players who waited for it to take inputs again go on, the node hears of
    /// another record. Answers whether there was something of that.
    fn look_after(&mut self, now: Instant, index: usize) -> bool {
        let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) else { return true };
        let Some(lead) = &mut session.lead else { return true };
        let is_stopped = !lead.takes_inputs();
        let was_stopped = std::mem::replace(&mut lead.was_stopped, is_stopped);
        let number = (lead.core.record().epoch, lead.core.record().number);
        let is_news = lead.told.replace(number) != Some(number);
        if is_news {
            let (session, record) = (session.id.clone(), Arc::clone(lead.core.record()));
            lead.note_phases(&session);
            let first = record.in_sync.first().copied();
            lead.standing.retain(|member, _| record.counts(*member));
            // Of one that asks for none they are told when it is about to move there.
            let keeps_followers = lead.terms.followers > 0;
            if std::mem::replace(&mut lead.first, first) != first && (keeps_followers || self.keeps(first)) {
                self.tell_follower(index);
            }
            self.tell(Event::Record { session, record });
            // Who has come to count may lack a checkpoint that was taken before.
            self.update_followers(index);
        }
        if was_stopped && !is_stopped {
            self.go_on_with(now, index);
        }
        let mut is_over = false;
        if let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut)
            && let Some(linked) = session.rest_lead(now)
        {
            is_over = true;
            let id = session.id.clone();
            self.unlink(now, &id, linked);
        }
        is_news || is_over || was_stopped != is_stopped
    }

    /// What was recorded is of one branch, and this one went on: a part of its own says so.
    fn record_anew(&mut self, now: Instant, index: usize) {
        let Some(mut session) = self.sessions[index].take_if(|session| session.recording.is_some()) else { return };
        self.finish_recording(now, &mut session, EndReason::GoesOn);
        self.sessions[index] = Some(session);
        self.begin_part(index);
    }

    /// The recording of a session goes on here.
    pub(super) fn begin_part(&mut self, index: usize) {
        let Some(session) = self.sessions[index].as_mut() else { return };
        let part = Box::new(session.record_from_here());
        if !self.tell_if_room(Event::Records(part)) {
            self.end_recording(index);
        }
    }

    /// A session that was led here is led by another: it is followed, and its players are sent on.
    fn depose(&mut self, now: Instant, index: usize, superseded: Option<Arc<Record>>) {
        let Some(mut session) = self.take(index) else { return };
        self.replication.unsent.forget(index);
        let Some(lead) = session.lead.take() else { return };
        let links = self.empty_seats(now, &mut session);
        for link in self.waiting.remove(&index).unwrap_or_default() {
            self.refuse(now, link, Reason::NotHere, "the session is led by another worker");
        }
        let (end, own) = (lead.core.end(), lead.core.record().lineage.clone());
        let (id, module) = (session.id.clone(), session.fold.module().clone());
        let us = lead.us(now);
        let (branches, history, terms, linked) = (lead.branches, lead.history, lead.terms, lead.linked);
        let core = lead.core.into_follower(us);
        let by = superseded.or_else(|| core.record().cloned());
        if let Some(by) = &by {
            Phase::Switch.at_source(&id, by.leader);
        }
        let has_all = by.as_ref().is_none_or(|by| by.lineage.common(Position::MAX, &own, end) == end);
        let reason = if has_all { EndReason::GoesOn } else { EndReason::Forked };
        self.finish_recording(now, &mut session, reason);
        let (fold, base, log, rebuild) = session.into_parts();
        // One that was being rebuilt folds its log anew.
        let fold = rebuild.is_none().then_some(fold);
        let remains = Remains { fold, restore: None, base, log, branches, history };
        let clock = self.replication.clock;
        let mut following = Following::new(id.clone(), module, terms, (core, clock), remains, now);
        following.linked = linked;
        // Who was on a branch that is over asks where the session is: what would be said to the other leader at once, in a move, has
        // numbers of that branch.
        let place = by.as_ref().filter(|_| has_all).and_then(|record| self.resolve_member(&id, record.leader));
        let leader = by.as_ref().map(|record| record.leader);
        self.send_players_on(now, links, &id, (leader, place));
        if let Some(by) = by {
            tracing::info!(session = %id, leader = %by.leader, cause = ?by.cause, "the session is led by another worker");
            self.tell(Event::Deposed { session: id, by });
        }
        self.follow(now, Box::new(following));
    }

    /// Where a member is reached by players.
    pub(crate) fn resolve_member(&self, session: &SessionId, member: Member) -> Option<Resolved> {
        let contacts = self.replication.nodes.get(&member.node)?;
        Some(Resolved {
            session: session.clone(),
            node: member.node.id.0,
            generation: member.node.generation,
            era: contacts.era,
            worker: member.worker,
            address: *contacts.workers.get(usize::from(member.worker.0))?,
            certificate: contacts.certificate,
        })
    }

    /// Where the first follower of a session waits, for a player.
    pub(crate) fn follower_place(&mut self, index: usize, player: &PlayerId, expires_s: u64) -> Option<Place> {
        let session = self.sessions[index].as_ref()?;
        let first = *session.lead.as_ref()?.core.record().in_sync.first()?;
        let place = self.resolve_member(&session.id.clone(), first)?;
        Some(self.place(&place, player, 0, expires_s))
    }

    /// A session is led here no more: what its followers are told is the node's to say.
    pub(crate) fn forget_lead(&mut self, now: Instant, index: usize, id: &SessionId, lead: Lead) {
        self.config.epochs.forget(lead.core.seen());
        self.replication.unsent.forget(index);
        self.unlink(now, id, lead.linked);
    }

    /// A worker follows a session that is led here.
    pub(crate) fn recruit(&mut self, now: Instant, session: &SessionId, member: Member) {
        if let Some(index) = self.index_of(session) {
            Phase::Offer.at_source(session, member);
            self.begin_lead(now, index);
            self.with_leader(now, index, |core, us| core.handle_recruit(us, member));
            self.flush_later(index);
        }
    }

    /// A session has another home.
    pub(crate) fn new_home(&mut self, now: Instant, session: &SessionId) {
        if let Some(index) = self.index_of(session) {
            self.with_leader(now, index, Leader::handle_home);
        }
    }

    /// The home says something.
    pub(crate) fn hear_home(&mut self, now: Instant, session: SessionId, message: Message) {
        self.hear(now, Party::Home, Word { session, message, entries: Vec::new() });
    }

    /// The store has answered.
    pub(crate) fn hear_chain(&mut self, now: Instant, session: &SessionId, reply: ChainReply) {
        if let Some(index) = self.index_of(session) {
            self.with_leader(now, index, |core, us| core.handle_chain(us, reply));
        } else {
            self.with_following(now, session, |core, us| core.handle_chain(us, reply));
        }
    }

    /// Another node has reached somebody.
    pub(crate) fn reached(&mut self, now: Instant, session: &SessionId, party: Party) {
        self.with_following(now, session, |core, us| core.handle_reached(us, party));
    }

    fn with_following(&mut self, now: Instant, session: &SessionId, act: impl FnOnce(&mut Follower, u64)) {
        if let Some(at) = self.replication.index_of(session) {
            self.with_follower(now, at, |following| following.with_core(now, act));
        }
    }

    /// Sends players to where their session is, or to a front door if that is not known.
    fn send_players_on(
        &mut self,
        now: Instant,
        links: Vec<LinkId>,
        id: &SessionId,
        (leader, place): (Option<Member>, Option<Resolved>),
    ) {
        for link in links {
            let Some(connection) = self.connection(link) else { continue };
            let Stage::Attached { player, expires_s, .. } = std::mem::replace(&mut connection.stage, Stage::Closed)
            else {
                continue;
            };
            connection.is_gated = false;
            // Who was told before is there already.
            let is_told = leader.is_some() && connection.announced == leader;
            let Some(place) = &place else {
                connection.stage = Stage::Closing { reason: Reason::NotHere };
                self.detach(now, link, Reason::NotHere, "the session is led by another worker");
                continue;
            };
            let target = self.place(place, &player, 0, expires_s);
            if let Some(connection) = self.connection(link) {
                connection.stage = Stage::Departing { session: id.clone(), player, expires_s };
                if !is_told {
                    connection.write(&ServerFrame::Moving(target));
                }
            }
            // The client closes once it is attached there.
            self.endpoint.set_deadline(link, Some(now + DEPARTING));
            self.mark(link);
        }
    }
}
