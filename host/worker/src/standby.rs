//! Connections that wait at a follower: they count for nothing until the session is led here, and then are attached as if
//! they had been opened just then. Also where clients of a leader are told to wait.

use std::time::Instant;

use ringside_core::ids::SessionId;
use ringside_protocol::frame::{Place, ServerFrame};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;

use crate::connection::Stage;
use crate::endpoint::LinkId;
use crate::limits::STANDBYS;
use crate::opening::Guest;
use crate::worker::Worker;

/// The connections that wait at a follower.
#[derive(Debug, Default)]
pub(crate) struct Standbys(Vec<LinkId>);

impl Standbys {
    /// One more, if there is room.
    fn add(&mut self, link: LinkId) -> bool {
        let has_room = self.0.len() < STANDBYS;
        if has_room {
            self.0.push(link);
        }
        has_room
    }

    /// All of them.
    fn links(&self) -> Vec<LinkId> {
        self.0.clone()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Worker {
    /// A player waits at a session that is followed here.
    pub(crate) fn stand_by(&mut self, now: Instant, guest: Guest, session: &SessionId) {
        let Guest { link, open, player, expires_s, .. } = guest;
        let Some(following) = self.replication.get_mut(session) else {
            return self.refuse(now, link, Reason::NotHere, "the session is not followed at this worker (any longer)");
        };
        if !following.standbys.add(link) {
            return self.refuse(now, link, Reason::Overloaded, "too many players wait at this follower");
        }
        let epoch = following.core.record().map(|record| record.epoch);
        self.set_attached_count(link, false);
        if let Some(connection) = self.connection(link) {
            connection.stage = Stage::StandingBy { session: session.clone(), open, player, expires_s };
            connection.write(&ServerFrame::StandingBy { epoch });
        }
        self.say_standing(session);
        // QUIC's own timeout ends it if the client is gone.
        self.endpoint.set_deadline(link, None);
        self.endpoint.probe(link, limits::STANDBY_KEEP_ALIVE);
        self.mark(link);
    }

    /// A session comes to be led here, and is folded first: who waits is told so, once.
    pub(crate) fn pause_standbys(&mut self, session: &SessionId) {
        let Some(following) = self.replication.get_mut(session) else { return };
        if !following.begins_pause() {
            return;
        }
        for link in following.standbys.links() {
            if let Some(connection) = self.connection(link) {
                connection.write(&ServerFrame::Paused);
            }
            self.mark(link);
        }
    }

    /// A session that was followed is led here: who waited is attached.
    pub(crate) fn let_standbys_in(&mut self, now: Instant, index: usize, standbys: Standbys) {
        for link in standbys.0 {
            let Some(connection) = self.connection(link) else { continue };
            match std::mem::replace(&mut connection.stage, Stage::Opening) {
                Stage::StandingBy { open, player, expires_s, .. } => {
                    self.endpoint.probe(link, limits::KEEP_ALIVE);
                    self.attach(now, Guest { link, open, player, redirects: 0, expires_s }, index);
                }
                other => connection.stage = other,
            }
        }
    }

    /// A session is followed here no longer: who waited asks a front door.
    pub(crate) fn send_standbys_off(&mut self, now: Instant, standbys: Standbys) {
        for link in standbys.0 {
            self.refuse(now, link, Reason::NotHere, "the session is not followed at this worker any longer");
        }
    }

    /// A connection does not wait any more.
    pub(crate) fn strike_standby(&mut self, session: &SessionId, link: LinkId) {
        if let Some(following) = self.replication.get_mut(session) {
            following.standbys.0.retain(|&other| other != link);
        }
        self.say_standing(session);
    }

    /// Where a session's first follower waits, as each of its players is told.
    pub(crate) fn tell_follower(&mut self, index: usize) {
        let seats = self.sessions[index].as_ref().map_or(0, |session| session.seats.len());
        for seat in 0..seats {
            let link = self.sessions[index].as_ref().and_then(|session| session.seats[seat].as_ref()?.link);
            link.into_iter().for_each(|link| self.answer_follower(link, index));
        }
    }

    /// The same, told to one.
    pub(crate) fn answer_follower(&mut self, link: LinkId, index: usize) {
        let Some(Stage::Attached { player, expires_s, .. }) = self.connection(link).map(|it| &it.stage) else { return };
        let (player, expires_s) = (player.clone(), *expires_s);
        let place: Option<Place> = self.follower_place(index, &player, expires_s);
        if let Some(connection) = self.connection(link) {
            connection.write(&ServerFrame::Follower(place));
        }
        self.mark(link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_wait_are_bounded() {
        let mut standbys = Standbys::default();
        let added = (0..STANDBYS as u64 + 5).filter(|bits| standbys.add(LinkId::from_bits(*bits))).count();
        assert_eq!((added, standbys.count()), (STANDBYS, STANDBYS as u64));
    }
}
