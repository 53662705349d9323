//! What a server says, frame by frame and datagram by datagram, and what it means for the seat.

use std::time::Instant;

use bytes::Bytes;
use ringside_protocol::channel::Arrival;
use ringside_protocol::datagram::ServerDatagram;
use ringside_protocol::frame::{Attached, Rewound, Seat, ServerFrame};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::view::Fragment;

use super::event::{Asked, Attachment};
use super::link::{Link, LinkId, Stage};
use super::seat::{Joined, Reached};
use super::{Core, Event, Phase};

impl Core {
    /// Bytes of a connection's stream, cut anywhere.
    pub fn handle_stream(&mut self, now: Instant, id: LinkId, mut bytes: &[u8]) {
        self.note_heard(now, id);
        while !bytes.is_empty() {
            let Some(link) = self.link_mut(id) else { return };
            match link.decoder.next(&mut bytes) {
                Ok(Some(frame)) => self.take_frame(now, id, frame),
                Ok(None) => {}
                Err(error) => return self.broken(now, id, error.to_string()),
            }
        }
    }

    /// A datagram of a connection.
    pub fn handle_datagram(&mut self, now: Instant, id: LinkId, bytes: Bytes) {
        self.note_heard(now, id);
        let Some(link) = self.link_mut(id).filter(|link| link.is_attached()) else { return };
        match ServerDatagram::decode(bytes) {
            Ok(ServerDatagram::ViewFragment { header, body }) => match link.views.take(header, body) {
                Fragment::Complete(view) => {
                    if self.seat.show(view.tick, view.committed_tick) {
                        self.events.show(view);
                    }
                    self.acknowledge_soon(now);
                }
                Fragment::Repeated => {
                    link.view_repeated = true;
                    self.acknowledge_soon(now);
                }
                Fragment::Partial | Fragment::Stale | Fragment::Unusable => {}
            },
            Ok(ServerDatagram::Datagram { body }) => self.events.push(Event::Datagram { body }),
            // Whatever arrives in a datagram may be dropped.
            Err(_) => {}
        }
    }

    /// Packets of a connection came lately, whatever was in them. For a shell that looks at least every
    /// [`CLIENT_SILENCE_AT_REST`](ringside_protocol::limits::CLIENT_SILENCE_AT_REST) / 2: from then on a dead connection is
    /// noticed where no views are due.
    pub fn handle_alive(&mut self, now: Instant, id: LinkId) {
        if self.primary.as_ref().is_some_and(|link| link.id == id) {
            self.standby.alive(now);
        }
    }

    fn note_heard(&mut self, now: Instant, id: LinkId) {
        if self.primary.as_ref().is_some_and(|link| link.id == id) {
            self.standby.heard(now);
        }
    }

    fn take_frame(&mut self, now: Instant, id: LinkId, frame: ServerFrame) {
        let Some(link) = self.link_mut(id) else { return };
        match (link.stage, frame) {
            (Stage::Opening | Stage::StandingBy, ServerFrame::Attached(attached)) => self.attached(now, id, &attached),
            (Stage::Opening, ServerFrame::StandingBy { .. }) => self.stands_by(now, id),
            (Stage::Opening, ServerFrame::Redirect(place)) => self.redirected(now, id, place),
            (Stage::Opening | Stage::StandingBy, ServerFrame::Refused(refused)) => self.refused(now, id, refused),
            // The session is about to go on there.
            (Stage::StandingBy, ServerFrame::Paused) if !self.events.is_full() => self.pause(true),
            (Stage::AwaitingRewound(reached), ServerFrame::Rewound(rewound)) => self.rewound(id, &rewound, reached),
            (
                Stage::Opening | Stage::Attached | Stage::AwaitingRewound(_),
                ServerFrame::Detached { reason, message },
            ) => {
                if self.moving.take_if(|link| link.id == id).is_some() {
                    self.standby.later(now);
                } else if self.standby.link.as_ref().is_some_and(|link| link.id == id) {
                    self.standby_failed(now, Reason::Closed);
                } else {
                    self.detached(now, reason, message);
                }
            }
            (Stage::Attached, frame) => self.take_session_frame(now, id, frame),
            (stage, frame) => self.broken(now, id, format!("an unexpected frame while {stage:?}: {frame:?}")),
        }
    }

    fn take_session_frame(&mut self, now: Instant, id: LinkId, frame: ServerFrame) {
        if self.events.is_full() {
            return self.broken(now, id, "more waits than a server may send".into());
        }
        match frame {
            ServerFrame::Message { number, body } => match self.seat.arrive(number) {
                Arrival::New => self.events.push(Event::Message { number, body }),
                Arrival::Duplicate => {}
                Arrival::Gap { expected } => {
                    self.broken(now, id, format!("message {number} arrived, {expected} was next"));
                }
            },
            ServerFrame::Acknowledge { up_to, tier } => {
                if let Err(error) = self.seat.acknowledged(up_to, tier) {
                    self.broken(now, id, error.to_string());
                }
            }
            ServerFrame::Rejected { number, cause } => match self.seat.reject(number) {
                Ok(true) => self.events.push(Event::Rejected { number, cause }),
                Ok(false) => {}
                Err(error) => self.broken(now, id, error.to_string()),
            },
            ServerFrame::Paused => self.pause(true),
            ServerFrame::Resumed => self.pause(false),
            ServerFrame::Moving(place) => self.move_announced(place),
            ServerFrame::Follower(place) => self.follower_told(now, place),
            ServerFrame::GoingAway { reason } => {
                self.route = None;
                self.events.push(Event::GoingAway { reason });
            }
            ServerFrame::Finished { outcome } => self.finish(Reason::Closed, Some(Event::Finished { outcome })),
            frame => self.broken(now, id, format!("an unexpected frame while attached: {frame:?}")),
        }
    }

    /// The application is told once, whoever says so: where the client was, where it waited, where it is.
    fn pause(&mut self, is_paused: bool) {
        if std::mem::replace(&mut self.is_paused, is_paused) != is_paused {
            self.events.push(if is_paused { Event::Paused } else { Event::Resumed });
        }
    }

    fn attached(&mut self, now: Instant, id: LinkId, attached: &Attached) {
        let Some(resumed_after) = self.link_mut(id).map(|link| link.resumed_after) else { return };
        let is_new = attached.seat == Seat::New || self.seat.was_in_another_stay(attached.joined);
        let joined = match self.seat.attach(attached, resumed_after) {
            Ok(joined) => joined,
            Err(Reason::NotHere) => return self.not_the_leader(now, id),
            Err(reason) => return self.fail(reason, reason.to_string()),
        };
        let went_over = self.promote_move(now, id);
        // Whoever was told that the connection is lost is told that there is another.
        let moved = std::mem::take(&mut self.moving_blind) || went_over && self.detached_since.is_none();
        self.standby.expect_views(attached.tick_rate, attached.view_rate);
        self.standby.heard(now);
        if (is_new || matches!(joined, Joined::AwaitRewound(_)))
            && let Some(link) = self.standby.link.take()
        {
            // It says that the client is on the branch, or in the stay, that is over: another says better.
            self.close_link(link, Reason::Closed);
        }
        self.follower_told(now, attached.follower.clone());
        let returned = resumed_after.is_some() && attached.seat == Seat::Kept;
        if let Some(link) = self.link_mut(id) {
            link.stage = match joined {
                Joined::Flowing { .. } => Stage::Attached,
                Joined::AwaitRewound(reached) => Stage::AwaitingRewound(reached),
            };
            link.sent = if returned { link.sent.max(attached.last_input) } else { attached.last_input };
            let mut way = link.way.clone();
            way.ticket = None;
            self.route = Some(way);
        }
        self.retry.reset();
        let redirects = std::mem::take(&mut self.redirects);
        let resolved = std::mem::take(&mut self.resolved);
        (self.relay_next, self.knock_next, self.was_not_there) = (false, false, false);
        self.detached_since = None;
        self.phase = Phase::Attached;
        self.seat.told = attached.last_output;
        let lost = if let Joined::Flowing { lost } = joined { lost } else { 0 };
        // Who sits down anew there has lost something by that.
        match moved && !is_new {
            true => {
                self.events.push(Event::Moved { address: self.primary_address() });
                self.pause(attached.paused);
            }
            false => {
                self.is_paused = attached.paused;
                self.events.push(Event::Attached(Attachment::new(
                    attached,
                    is_new,
                    lost,
                    Asked { redirects, resolved },
                )));
            }
        }
        let flowing = matches!(joined, Joined::Flowing { .. });
        if !flowing && self.link_mut(id).is_some_and(|link| link.wrote_early) {
            // What was written before this answer belongs to the branch that was left: the server must not read it.
            return self.try_again(now, Reason::NotHere, "the branch changed during a move".into());
        }
        if flowing {
            self.flush_messages();
            if self.leave_by.is_some() {
                self.write_leave();
            }
        }
        if self.seat.untold() > 0 {
            self.acknowledge_soon(now);
        }
    }

    /// If the connection is the target of a move, it is the session's place from now on.
    fn promote_move(&mut self, now: Instant, id: LinkId) -> bool {
        let is_it = |link: &mut Link| link.id == id;
        let target = self.moving.take_if(is_it).or_else(|| self.standby.link.take_if(is_it));
        let Some(target) = target else { return false };
        let address = target.way.address;
        let old = self.primary.replace(target);
        // A move that another leader had begun is over. Who waits at its target waits at a follower.
        let mut left = self.moving.take();
        if self.standby.link.is_none() && left.as_ref().is_some_and(|link| link.stage == Stage::StandingBy) {
            self.standby.link = left.take();
        }
        for link in [old, left].into_iter().flatten() {
            if link.stage == Stage::Opening && link.way.address == address {
                self.crossed = Some((address, now + limits::CLIENT_SILENCE_AT_REST));
            }
            self.close_link(link, Reason::Moved);
        }
        true
    }

    fn primary_address(&self) -> std::net::SocketAddr {
        let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        self.primary.as_ref().map_or(nowhere, |link| link.way.address)
    }

    /// Somebody answers who has led the session in an older epoch than the client has seen.
    fn not_the_leader(&mut self, now: Instant, id: LinkId) {
        if self.standby.link.as_ref().is_some_and(|link| link.id == id) {
            return self.standby_failed(now, Reason::NotHere);
        }
        match self.moving.take_if(|link| link.id == id) {
            Some(link) => {
                self.close_link(link, Reason::NotHere);
                self.standby.later(now);
            }
            None => {
                // If it said that the stay is over, that was of a stay which it cannot know.
                self.seat.remember_stay();
                self.try_again(now, Reason::NotHere, String::new());
            }
        }
    }

    fn rewound(&mut self, id: LinkId, rewound: &Rewound, reached: Reached) {
        let is_felt = self.seat.feels(rewound);
        let withdraws = self.seat.was_promised_after(rewound);
        let lost_messages = self.seat.rewound(rewound, reached);
        let superseded = withdraws || lost_messages > 0;
        self.events.withdraw(rewound.last_output, rewound.tick);
        if let Some(link) = self.link_mut(id) {
            link.stage = Stage::Attached;
            link.sent = rewound.last_input.max(reached.input);
        }
        let Rewound { tick, last_input, last_output, .. } = *rewound;
        if is_felt {
            self.events.push(Event::Rewound { tick, last_input, last_output, lost_messages, superseded });
        }
        self.flush_messages();
        if self.leave_by.is_some() {
            self.write_leave();
        }
    }

    /// The server broke the protocol on this connection: another one may be better.
    fn broken(&mut self, now: Instant, id: LinkId, cause: String) {
        if self.standby.link.as_ref().is_some_and(|link| link.id == id) {
            return self.standby_failed(now, Reason::Protocol);
        }
        match self.moving.take_if(|link| link.id == id) {
            Some(link) => {
                self.close_link(link, Reason::Protocol);
                self.standby.later(now);
            }
            None => self.try_again(now, Reason::Protocol, cause),
        }
    }
}
