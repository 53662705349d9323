//! The connection that waits at the session's follower, and when a client looks for a newer leader.
//!
//! A standby link is opened a while after the server has named a follower, each client at a time of its own, and kept. When
//! that worker comes to lead the session it says `Attached` on it, unasked, in a newer epoch: then it is the session's
//! place, as the target of a move is. A client that hears nothing where it is attached opens its standby link at once.

use std::time::{Duration, Instant};

use ringside_protocol::frame::{ClientFrame, Place};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;

use super::link::{Link, LinkId, Stage};
use super::{Core, Phase};

/// What a client knows of its session's follower.
#[derive(Debug, Default)]
pub(super) struct Standby {
    pub link: Option<Link>,
    /// Where to go: its ticket is good once.
    place: Option<Place>,
    /// When to go there, or to ask for a place.
    due: Option<Instant>,
    /// Whether there is a follower, as far as the server said.
    has_follower: bool,
    /// Links in a row that came to nothing.
    failures: u32,
    /// Whether the application wants a connection there.
    is_wanted: bool,
    /// When anything was heard where the client is attached.
    heard_at: Option<Instant>,
    /// After which silence there something is amiss; none where silence means nothing.
    silence: Option<Duration>,
    /// Whether views are due there, so that a connection that is merely alive is silent.
    shows: bool,
}

impl Standby {
    /// Of an application that wants a connection at the follower, or does not.
    pub fn new(is_wanted: bool) -> Standby {
        Standby { is_wanted, ..Standby::default() }
    }

    /// Views come so often.
    pub fn expect_views(&mut self, tick_rate: u32, view_rate: u32) {
        let interval = Duration::from_secs(1) / view_rate.min(tick_rate).max(1);
        self.shows = tick_rate > 0;
        self.silence = self.shows.then(|| (interval * 4).max(limits::CLIENT_SILENCE));
    }

    /// Something was heard where the client is attached.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// The connection is alive where the client is attached. Whoever is told so knows by the next such word that it is not.
    pub fn alive(&mut self, now: Instant) {
        if !self.shows {
            self.silence = Some(limits::CLIENT_SILENCE_AT_REST);
            self.heard(now);
        }
    }

    /// Whether a link waits at a follower.
    pub fn is_standing(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.stage == Stage::StandingBy)
    }

    /// A connection goes to where the session is to be, which is the follower: none is opened there beside it.
    pub fn give_way(&mut self) {
        (self.place, self.due) = (None, None);
    }

    /// That came to nothing: the follower is asked for in a while.
    pub fn later(&mut self, now: Instant) {
        self.due = (self.is_wanted && self.has_follower).then_some(now + limits::CLIENT_STANDBY_AGAIN);
    }

    fn silent_at(&self) -> Option<Instant> {
        Some(self.heard_at? + self.silence?).filter(|_| self.has_follower)
    }

    /// When something is due.
    pub fn next_wake(&self) -> Option<Instant> {
        let lost_at = self.silent_at().map(|at| at + limits::CLIENT_FAILOVER);
        // Silence hurries a link that is not there yet.
        let silent_at = self.silent_at().filter(|_| self.link.is_none() && self.place.is_some());
        // As long as one is there no other is opened.
        let due = self.due.filter(|_| self.link.is_none());
        [due, silent_at, lost_at].into_iter().flatten().min()
    }
}

impl Core {
    /// The server says where the session's follower is.
    pub(super) fn follower_told(&mut self, now: Instant, place: Option<Place>) {
        self.standby.has_follower = place.is_some();
        if !self.standby.is_wanted {
            return;
        }
        let standby = &mut self.standby;
        let stays =
            standby.link.as_ref().is_some_and(|link| Some(link.way.address) == place.as_ref().map(|it| it.address));
        if stays {
            // It was named again: what is there goes on, and the new ticket is for later.
            standby.place = place;
            return;
        }
        let old = standby.link.take();
        let spread = limits::CLIENT_STANDBY_SPREAD.as_micros() as u64;
        let wait = Duration::from_micros(self.retry.draw() % spread);
        standby.due = place.is_some().then(|| now + if standby.failures == 0 { wait } else { Duration::ZERO });
        standby.place = place;
        old.into_iter().for_each(|link| self.close_link(link, Reason::Closed));
    }

    /// Does what is due.
    pub(super) fn keep_standby(&mut self, now: Instant) {
        if self.phase != Phase::Attached {
            return;
        }
        let silent_at = self.standby.silent_at();
        let is_silent = silent_at.is_some_and(|at| at <= now);
        let is_due = self.standby.due.is_some_and(|due| due <= now);
        if (is_due || is_silent) && self.standby.is_wanted && self.standby.link.is_none() {
            self.open_standby(now);
        }
        if silent_at.is_some_and(|at| at + limits::CLIENT_FAILOVER <= now) {
            // Nobody has come to lead: the doors may know more, and not the place that is silent.
            self.route = None;
            self.lost_to(now, Reason::Idle, "nothing was heard of the session for too long".into());
        }
    }

    fn open_standby(&mut self, now: Instant) {
        self.standby.due = None;
        let place = self.standby.place.take();
        if self.moving.as_ref().zip(place.as_ref()).is_some_and(|(link, place)| link.way.address == place.address) {
            // The target of a move that came to nothing waits there: of two each would put the other out.
            return;
        }
        if let Some(place) = place {
            self.standby.link = Some(self.connect(place.into()));
        } else if let Some(link) = self.primary.as_mut().filter(|link| link.is_attached() && self.standby.has_follower)
        {
            link.write(&ClientFrame::AskFollower);
            self.standby.due = Some(now + limits::CLIENT_STANDBY_AGAIN);
        }
    }

    /// A standby link came to nothing: another is opened, later and later.
    pub(super) fn standby_failed(&mut self, now: Instant, reason: Reason) {
        let standby = &mut self.standby;
        standby.failures = (standby.failures + 1).min(5);
        let pause = limits::CLIENT_STANDBY_AGAIN * (1 << standby.failures);
        standby.due = standby.has_follower.then_some(now + pause);
        standby.link.take().into_iter().for_each(|link| self.close_link(link, reason));
    }

    /// The worker there follows the session.
    pub(super) fn stands_by(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.link_mut(id) {
            link.stage = Stage::StandingBy;
        }
        if self.standby.link.as_ref().is_some_and(|link| link.id == id) {
            self.standby.failures = 0;
        } else if let Phase::Trying { deadline } = &mut self.phase {
            *deadline = now + limits::CLIENT_FAILOVER;
        }
    }

    /// The attachment is lost, and a link waits at the follower: that is where the session goes on, most likely.
    pub(super) fn fall_back(&mut self) {
        if self.moving.is_none() && self.standby.is_standing() {
            self.moving = self.standby.link.take();
        }
    }
}
