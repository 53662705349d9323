//! What the application is told, and the queue in which it waits: messages and notices in order, views as a register
//! whose newest value counts, datagrams as a ring.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use ringside_protocol::frame::{Attached, Route};
use ringside_protocol::ids::{PlayerId, SessionId, Slot, WorkerId};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::tier::Tier;
use ringside_protocol::view::View;

/// An attachment, as the application sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The session.
    pub session: SessionId,
    /// Who the client is in it.
    pub player: PlayerId,
    /// Its slot.
    pub slot: Slot,
    /// Whether the player has just joined, as far as this client knows; false when a seat was found again.
    pub joined: bool,
    /// Messages that were sent into a seat that is lost, and of which nobody knows whether they had an effect.
    pub lost_messages: usize,
    /// Ticks a second; 0 for an event-driven game.
    pub tick_rate: u32,
    /// Views a second at most.
    pub view_rate: u32,
    /// Messages and datagrams a second that the game takes.
    pub input_rate: u32,
    /// How safe the game's inputs are when they are let go of.
    pub tier: Tier,
    /// The node that holds the session.
    pub node: u64,
    /// The worker of that node.
    pub worker: WorkerId,
    /// The session's tick.
    pub tick: u64,
    /// The last message of this player that the session has.
    pub last_input: u64,
    /// Whether the session is paused.
    pub paused: bool,
    /// How the client came there.
    pub arrival: Arrival,
}

/// How a client came to its session's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Whom it asked was the leader.
    Direct,
    /// It had asked where the leader is ([`crate::Options::resolve`]) and went there.
    Resolved,
    /// Whom it asked sent it on, so many times.
    Redirected(usize),
    /// Whom it asked passes everything on.
    Relayed,
}

/// How a client found out where to go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// Redirects that it followed.
    pub redirects: usize,
    /// Whether it had asked before it opened anything.
    pub resolved: bool,
}

impl Attachment {
    pub(super) fn new(attached: &Attached, joined: bool, lost_messages: usize, asked: Asked) -> Self {
        Attachment {
            session: attached.session.clone(),
            player: attached.player.clone(),
            slot: attached.slot,
            joined,
            lost_messages,
            tick_rate: attached.tick_rate,
            view_rate: attached.view_rate,
            input_rate: attached.input_rate,
            tier: attached.tier,
            node: attached.node,
            worker: attached.worker,
            tick: attached.tick,
            last_input: attached.last_input,
            paused: attached.paused,
            arrival: match (attached.route, asked) {
                (Route::Relayed, _) => Arrival::Relayed,
                (Route::Direct, Asked { redirects: 0, resolved: true }) => Arrival::Resolved,
                (Route::Direct, Asked { redirects: 0, .. }) => Arrival::Direct,
                (Route::Direct, Asked { redirects, .. }) => Arrival::Redirected(redirects),
            },
        }
    }
}

/// Something that the application should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The client is in the session: at first, and after every lost connection.
    Attached(Attachment),
    /// The newest view. Older ones that were not taken in time are not queued.
    View(View),
    /// A reliable message; each comes once, in order.
    Message {
        /// Its number, from 1 without gaps.
        number: u64,
        /// What the game sent.
        body: Bytes,
    },
    /// An unreliable message.
    Datagram {
        /// What the game sent.
        body: Bytes,
    },
    /// A message of this client was taken and had no effect.
    Rejected {
        /// Its number.
        number: u64,
        /// Why.
        cause: Reason,
    },
    /// The session goes on from an earlier point: what was shown after it is withdrawn. Messages that were not kept
    /// are sent again.
    Rewound {
        /// The tick that it goes on from.
        tick: u64,
        /// The last message of this client that was kept.
        last_input: u64,
        /// The last message to this client that was kept.
        last_output: u64,
        /// Messages of this client that were not kept and cannot be sent again.
        lost_messages: u64,
        /// Whether promises are withdrawn: messages that came, a tick that was committed, or messages of this client that were
        /// acknowledged and are not kept here any more. That happens where both sides of a cut went on with an *available*
        /// session and the other side's branch goes on, and where the store has lost the end of a *durable* session's log.
        /// Otherwise nothing is withdrawn but views that were ahead of their commitment.
        superseded: bool,
    },
    /// The session stands still for the moment.
    Paused,
    /// The session goes on.
    Resumed,
    /// The session goes on at another worker; nothing was lost.
    Moved {
        /// Where.
        address: SocketAddr,
    },
    /// The worker will close soon; the client will find the session again.
    GoingAway {
        /// Why.
        reason: Reason,
    },
    /// The connection was lost; the client tries again on its own.
    Disconnected {
        /// What is known about it.
        cause: String,
    },
    /// The player is out of the session. The last event.
    Detached {
        /// Why.
        reason: Reason,
        /// The game's or operator's words, or none.
        message: String,
    },
    /// The session is over. The last event.
    Finished {
        /// What the game said at the end.
        outcome: Bytes,
    },
    /// The client gave up. The last event.
    Failed {
        /// Why.
        reason: Reason,
        /// The same for people.
        message: String,
    },
}

impl Event {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Event::Detached { .. } | Event::Finished { .. } | Event::Failed { .. })
    }
}

/// Events that wait for the application.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    datagrams: usize,
    message_bytes: usize,
    view: Option<View>,
    /// Datagrams that were dropped because nobody took them.
    pub dropped_datagrams: u64,
}

impl Events {
    pub fn push(&mut self, event: Event) {
        self.message_bytes += message_bytes(&event);
        if matches!(event, Event::Datagram { .. }) {
            self.make_room_for_datagram();
            self.datagrams += 1;
        }
        if event.is_last() {
            self.queue.extend(self.view.take().map(Event::View));
        }
        self.queue.push_back(event);
    }

    fn make_room_for_datagram(&mut self) {
        if self.datagrams < limits::CLIENT_QUEUED_DATAGRAMS {
            return;
        }
        if let Some(at) = self.queue.iter().position(|event| matches!(event, Event::Datagram { .. })) {
            self.queue.remove(at);
            self.datagrams -= 1;
            self.dropped_datagrams += 1;
        }
    }

    /// Replaces the view that waits.
    pub fn show(&mut self, view: View) {
        self.view = Some(view);
    }

    /// Withdraws what waits and is newer: messages after `last_output`, and a view later than `tick`.
    pub fn withdraw(&mut self, last_output: u64, tick: u64) {
        self.withdraw_messages(last_output);
        self.view.take_if(|view| view.tick > tick);
    }

    /// Withdraws messages after `last_output` that wait.
    pub fn withdraw_messages(&mut self, last_output: u64) {
        self.queue.retain(|event| !matches!(event, Event::Message { number, .. } if *number > last_output));
        self.message_bytes = self.queue.iter().map(message_bytes).sum();
    }

    /// The view only once nothing else waits: whoever reads slowly gets the newest.
    pub fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front().or_else(|| self.view.take().map(Event::View))?;
        if matches!(event, Event::Datagram { .. }) {
            self.datagrams -= 1;
        }
        self.message_bytes -= message_bytes(&event);
        Some(event)
    }

    /// Whether more waits than an honest server can cause.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= limits::CLIENT_QUEUED_EVENTS || self.message_bytes > limits::CLIENT_QUEUED_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.view.is_none()
    }
}

fn message_bytes(event: &Event) -> usize {
    if let Event::Message { body, .. } = event { body.len() } else { 0 }
}
