//! A planned change of the leader, in phases, each of which may fail without harm up to the grant:
//!
//! | phase | is | ends |
//! |---|---|---|
//! | offer, checkpoint, catch up | the target follows and counts | before [`Command::Move`](crate::Command::Move) |
//! | warm up | a target that only keeps the log folds it | it has, or [`WARMING`] is over |
//! | announce | players are told where, connect there and wait | they have come, or [`ANNOUNCE`] is over |
//! | grant | after a tick that is about to run: inputs are held until the target has all of the log, then the record names it: the point of no return | the core's hold, after which it is tried again |
//! | switch | the target leads, and attaches those who wait | it says so |
//! | relay late arrivals | who comes to the source is sent on by its node | |
//! | release | the source follows, or is dismissed by the new leader's node | |

use std::time::{Duration, Instant};

use ringside_core::ids::SessionId;
use ringside_core::leadership::leader::MoveError;
use ringside_core::leadership::record::{Member, Motive};
use ringside_protocol::frame::ServerFrame;

use super::super::Phase;
use super::super::wire::Item;
use crate::command::MoveRefused;
use crate::connection::Stage;
use crate::endpoint::LinkId;
use crate::limits::{ANNOUNCE, GRANTS, WARMING};
use crate::worker::Worker;

/// A tick that is due within this is run before the grant: the time until the next one is there for the switch.
const TICK: Duration = Duration::from_millis(100);
/// How often it is looked whether a target has folded what it has.
const LOOK: Duration = Duration::from_millis(10);

/// A session that is about to go to one of its followers.
#[derive(Debug)]
pub(crate) struct Moving {
    to: Member,
    motive: Motive,
    /// Until when players may come there before it goes.
    until: Instant,
    /// Until when it is waited for a target that has to fold first.
    warm_by: Instant,
    /// Grants that came to nothing.
    tries: usize,
    is_granting: bool,
    /// The target was told once more, in this try, to fold.
    is_warming: bool,
    /// It waits for a tick, or has.
    is_timed: bool,
}

impl Moving {
    fn begin(now: Instant, to: Member, motive: Motive) -> Moving {
        Moving {
            to,
            motive,
            until: now + ANNOUNCE,
            warm_by: now + WARMING,
            tries: 0,
            is_granting: false,
            is_warming: false,
            is_timed: false,
        }
    }

    /// When something is due.
    pub fn next_wake(&self) -> Option<Instant> {
        (!self.is_granting).then_some(self.until)
    }

    /// The target has to fold first: whether that is waited for, until it is looked again.
    fn waits(&mut self, now: Instant) -> bool {
        self.until = now + LOOK;
        now < self.warm_by
    }

    /// A grant came to nothing: another is tried a little later, a few times.
    fn again(self, now: Instant) -> Option<Moving> {
        let tries = self.tries + 1;
        (tries < GRANTS).then(|| Moving {
            until: now + ANNOUNCE / 4,
            tries,
            is_granting: false,
            is_warming: false,
            is_timed: false,
            ..self
        })
    }
}

impl Worker {
    /// The lead of a session is to go to one of its followers: its players are told first.
    pub(crate) fn move_session(
        &mut self,
        now: Instant,
        session: &SessionId,
        to: Member,
        motive: Motive,
    ) -> Result<(), MoveRefused> {
        let index = self.index_of(session).ok_or(MoveRefused::NotHere)?;
        self.begin_lead(now, index);
        let lead = self.lead_mut(index).ok_or(MoveRefused::Leader(MoveError::NotInSync))?;
        if !lead.core.record().counts(to) {
            // Whoever asks again finds it in sync in a while.
            self.with_leader(now, index, |core, us| core.handle_wanted(us, to));
            self.flush_later(index);
            return Err(MoveRefused::Leader(MoveError::NotInSync));
        }
        if lead.moving.is_some() {
            return Err(MoveRefused::Leader(MoveError::Busy));
        }
        Phase::Announce.at_source(session, to);
        lead.moving = Some(Moving::begin(now, to, motive));
        let standing = lead.standing.get(&to).copied().unwrap_or(0);
        self.have_warmed(index, to);
        let links = self.attached_links(index);
        // Those who wait there anyway need not be told.
        let are_there = standing >= links.len() as u64;
        for &link in &links {
            match are_there {
                true => self.connection(link).into_iter().for_each(|connection| connection.announced = Some(to)),
                false => self.announce(link, session, to),
            }
        }
        if are_there {
            self.grant(now, index);
        }
        self.reschedule(index);
        Ok(())
    }

    fn attached_links(&self, index: usize) -> Vec<LinkId> {
        let seats = self.sessions[index].as_ref().map(|session| session.seats.iter().flatten());
        seats.into_iter().flatten().filter_map(|seat| seat.link).collect()
    }

    /// A player is told where the session is about to go.
    fn announce(&mut self, link: LinkId, session: &SessionId, to: Member) {
        let Some(Stage::Attached { player, expires_s, .. }) = self.connection(link).map(|it| &it.stage) else { return };
        let (player, expires_s) = (player.clone(), *expires_s);
        let Some(place) = self.resolve_member(session, to) else { return };
        let place = self.place(&place, &player, 0, expires_s);
        if let Some(connection) = self.connection(link) {
            connection.announced = Some(to);
            connection.write(&ServerFrame::Moving(place));
        }
        self.mark(link);
    }

    /// So many players have come to a target.
    pub(super) fn have_come(&mut self, now: Instant, at: Member, session: &SessionId, players: u64) {
        let Some(index) = self.index_of(session) else { return };
        let expected = self.attached_links(index).len() as u64;
        let Some(lead) = self.lead_mut(index) else { return };
        lead.standing.insert(at, players);
        let is_it = lead.moving.as_ref().is_some_and(|moving| moving.to == at);
        if is_it && players >= expected {
            self.grant(now, index);
        }
    }

    /// Those who have not come had their time.
    pub(crate) fn grant_if_due(&mut self, now: Instant, index: usize) {
        let due = self.lead_mut(index).and_then(|lead| lead.moving.as_ref()?.next_wake());
        if due.is_some_and(|due| due <= now) {
            self.grant(now, index);
        }
    }

    fn grant(&mut self, now: Instant, index: usize) {
        let Some(to) = self.lead_mut(index).and_then(|lead| Some(lead.moving.as_ref()?.to)) else { return };
        let is_cold = self.is_cold(now, index, to);
        let tick = self.sessions[index].as_ref().and_then(|session| session.tick_within(now, TICK));
        let Some(moving) = self.lead_mut(index).and_then(|lead| lead.moving.as_mut()) else { return };
        if moving.is_granting {
            return;
        }
        if is_cold && moving.waits(now) {
            // What it was told at the beginning may be over.
            if !std::mem::replace(&mut moving.is_warming, true) {
                self.have_warmed(index, to);
            }
            return self.reschedule(index);
        }
        if let Some(tick) = tick.filter(|_| !moving.is_timed) {
            (moving.until, moving.is_timed) = (tick, true);
            self.have_warmed(index, to);
            return self.reschedule(index);
        }
        moving.is_granting = true;
        let (to, motive) = (moving.to, moving.motive);
        self.hurry(now);
        if let Some(session) = self.sessions[index].as_ref() {
            Phase::Grant.at_source(&session.id, to);
        }
        let mut begun = Ok(());
        self.with_leader(now, index, |core, us| begun = core.handle_move(us, to, motive));
        if begun.is_err() {
            self.move_failed(now, index);
        }
        if self.sessions.get(index).is_some_and(Option::is_some) {
            self.flush_later(index);
        }
    }

    /// A grant came to nothing: another is tried a little later, a few times.
    pub(super) fn move_failed(&mut self, now: Instant, index: usize) {
        let Some(lead) = self.lead_mut(index) else { return };
        let Some(moving) = lead.moving.take() else { return };
        let to = moving.to;
        lead.moving = moving.again(now);
        let is_given_up = lead.moving.is_none();
        if let Some(session) = self.sessions[index].as_ref().filter(|_| is_given_up) {
            tracing::warn!(session = %session.id, %to, "the session was not moved: its follower does not catch up");
        }
        self.reschedule(index);
    }

    /// Players wait at a session that is followed here: its leader may wait for them.
    pub(crate) fn say_standing(&mut self, session: &SessionId) {
        let Some(following) = self.replication.get_mut(session) else { return };
        let players = following.standbys.count();
        let Some(leader) = following.core.record().map(|record| record.leader) else { return };
        if players > 0 {
            Phase::Announce.at_target(session);
        }
        self.say(leader, Item::Standing { session: session.clone(), players });
    }
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{Node, NodeId, WorkerId};

    use super::*;

    #[test]
    fn a_move_waits_for_players_for_its_time_and_is_tried_a_few_times() {
        let now = Instant::now();
        let to = Member { node: Node { id: NodeId(2), generation: 1 }, worker: WorkerId(0) };
        let mut moving = Moving::begin(now, to, Motive::Order);
        assert_eq!(moving.next_wake(), Some(now + ANNOUNCE));
        moving.is_granting = true;
        assert_eq!(moving.next_wake(), None, "the core decides");
        for _ in 1..GRANTS {
            moving = moving.again(now).expect("another try");
            assert_eq!(moving.next_wake(), Some(now + ANNOUNCE / 4));
        }
        assert!(moving.again(now).is_none());
    }

    #[test]
    fn a_target_that_has_to_fold_first_is_waited_for_and_not_for_ever() {
        let now = Instant::now();
        let to = Member { node: Node { id: NodeId(2), generation: 1 }, worker: WorkerId(0) };
        let mut moving = Moving::begin(now, to, Motive::Order);
        assert!(moving.waits(now + WARMING - LOOK));
        assert_eq!(moving.next_wake(), Some(now + WARMING));
        assert!(!moving.waits(now + WARMING));
    }
}
