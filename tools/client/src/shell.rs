//! The client on quinn and tokio: the core's actions carried out, its events handed to the application. One task a
//! connection and one for the clock; any number of clients share one endpoint, and so one UDP socket.
//!
//! Decides nothing: what happens when is [`crate::core`]'s.

mod link;
mod options;
mod resolve;
mod tls;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::core::{Action, Attachment, Core, Event, LinkId, SendError};

pub use options::{ConnectError, Options, Trust, endpoint};
pub use resolve::resolve;
pub use tls::{PINNED_NAME, pinned, pinned_tls};

use link::Order;
use options::Prepared;
use resolve::Resolver;
use tls::Dialer;

/// A client in a session. Dropping it closes the connection; the seat is kept for the seat window.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    attachment: Attachment,
}

/// Sends for a client from elsewhere; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    dialer: Dialer,
    resolver: Option<Resolver>,
    /// An event waits for the application.
    event: Notify,
    /// The clock's task should look again.
    clock: Notify,
}

#[derive(Debug)]
struct State {
    core: Core,
    links: BTreeMap<LinkId, Handle>,
    /// When the clock's task wakes next.
    armed: Option<Instant>,
}

/// What the shell keeps of a connection.
#[derive(Debug)]
struct Handle {
    /// Once the handshake is done.
    connection: Option<quinn::Connection>,
    /// Bounded by what the core keeps: unretired messages, one acknowledgement for each delivered message.
    orders: mpsc::UnboundedSender<Order>,
}

impl Client {
    /// Connects, and waits until the client is in the session. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`]: wrong options, no socket, a refusal that trying again does not change, or nobody answered
    /// for [`Options::give_up_after`].
    pub async fn connect(options: Options) -> Result<Client, ConnectError> {
        let Prepared { dialer, resolver, config } = options.prepare()?;
        let state = State { core: Core::new(config), links: BTreeMap::new(), armed: None };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), dialer, resolver, event: Notify::new(), clock: Notify::new() });
        shared.run(|core| core.start(Instant::now()));
        tokio::spawn(keep_time(shared.clone()));
        let opening = Opening(Some(shared));
        opening.attach().await
    }

    /// The first attachment; later ones are events.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Sends a message: reliably, in order, once. Answers its number.
    ///
    /// # Errors
    /// [`SendError`]; the message was not taken. [`SendError::Full`] passes when events have been taken.
    pub fn send(&self, body: impl Into<Bytes>) -> Result<u64, SendError> {
        self.shared.run(|core| core.send(body.into()))
    }

    /// Sends a datagram: now, or never.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent.
    pub fn send_datagram(&self, body: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.shared.run(|core| core.send_datagram(body.as_ref()))
    }

    /// The next event; `None` after the last. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.shared.next().await
    }

    /// The next event if one waits.
    pub fn try_next(&mut self) -> Option<Event> {
        self.shared.run(|core| core.poll_event(Instant::now()))
    }

    /// Leaves the session: what was sent is delivered, then the seat is given up. Events that wait are dropped.
    /// Answers the last event.
    pub async fn leave(mut self) -> Option<Event> {
        self.shared.run(|core| core.leave(Instant::now()));
        let mut last = None;
        while let Some(event) = self.next().await {
            last = Some(event);
        }
        last
    }

    /// Drops the connection and comes back, for an application that knows of a change of network.
    pub fn reconnect(&self) {
        self.shared.run(|core| core.reconnect(Instant::now()));
    }

    /// A newer session token for later connections.
    pub fn set_token(&self, token: impl Into<String>) {
        self.shared.run(|core| core.set_token(token.into()));
    }

    /// Whether messages flow at the moment.
    pub fn is_attached(&self) -> bool {
        self.shared.lock().core.is_attached()
    }

    /// Whether a connection waits at the session's follower, so that the end of its leader costs little.
    pub fn is_standing_by(&self) -> bool {
        self.shared.lock().core.is_standing_by()
    }

    /// Messages that the session has not said that it has.
    pub fn unacknowledged(&self) -> usize {
        self.shared.lock().core.unacknowledged()
    }

    /// Sends for this client from elsewhere.
    pub fn sender(&self) -> Sender {
        Sender { shared: self.shared.clone() }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.run(Core::close);
    }
}

impl Sender {
    /// As [`Client::send`].
    ///
    /// # Errors
    /// [`SendError`]; the message was not taken.
    pub fn send(&self, body: impl Into<Bytes>) -> Result<u64, SendError> {
        self.shared.run(|core| core.send(body.into()))
    }

    /// As [`Client::send_datagram`].
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent.
    pub fn send_datagram(&self, body: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.shared.run(|core| core.send_datagram(body.as_ref()))
    }
}

/// A client that is not attached yet; closes when `connect` is cancelled.
struct Opening(Option<Arc<Shared>>);

impl Opening {
    async fn attach(mut self) -> Result<Client, ConnectError> {
        let Some(shared) = self.0.clone() else { return Err(ConnectError::Closed) };
        loop {
            match shared.next().await {
                Some(Event::Attached(attachment)) => {
                    self.0 = None;
                    return Ok(Client { shared, attachment });
                }
                Some(Event::Failed { reason, message } | Event::Detached { reason, message }) => {
                    return Err(ConnectError::Refused { reason, message });
                }
                None => return Err(ConnectError::Closed),
                Some(_) => {}
            }
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.run(Core::close);
        }
    }
}

impl Shared {
    /// The state, also after a panic elsewhere: each call leaves the core whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the core do something and carries out what follows from it.
    fn run<T>(self: &Arc<Self>, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state.core);
        while let Some(action) = state.core.poll_action() {
            self.carry_out(&mut state, action);
        }
        if state.core.has_event() || state.core.is_done() {
            self.event.notify_one();
        }
        let wake = state.core.next_wake();
        let earlier = wake.is_some_and(|wake| state.armed.is_none_or(|armed| wake < armed));
        if earlier || state.core.is_done() {
            state.armed = wake;
            self.clock.notify_one();
        }
        result
    }

    fn carry_out(self: &Arc<Self>, state: &mut State, action: Action) {
        match action {
            Action::Connect { link, address, certificate } => {
                let (orders, taken) = mpsc::unbounded_channel();
                state.links.insert(link, Handle { connection: None, orders });
                tokio::spawn(link::run(self.clone(), link, address, certificate, taken));
            }
            Action::Resolve { link, question } => {
                let (orders, taken) = mpsc::unbounded_channel();
                state.links.insert(link, Handle { connection: None, orders });
                tokio::spawn(resolve::run(self.clone(), link, *question, taken));
            }
            // Sending fails only where the link's task has ended, which it has told or is about to tell.
            Action::Write { link, bytes } => {
                state.links.get(&link).map(|handle| handle.orders.send(Order::Write(bytes)));
            }
            Action::Datagram { link, bytes } => {
                if let Some(connection) = state.links.get(&link).and_then(|handle| handle.connection.as_ref()) {
                    // Datagrams may be lost, here too.
                    let _ = connection.send_datagram(bytes);
                }
            }
            Action::Close { link, reason } => {
                state.links.remove(&link).map(|handle| handle.orders.send(Order::Close(reason)));
            }
        }
    }

    async fn next(self: &Arc<Self>) -> Option<Event> {
        loop {
            let event = self.run(|core| core.poll_event(Instant::now()));
            if event.is_some() {
                return event;
            }
            if self.lock().core.is_done() {
                return None;
            }
            self.event.notified().await;
        }
    }
}

/// Wakes the core when it asks for it; ends with it.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let wake = {
            let mut state = shared.lock();
            if state.core.is_done() {
                return;
            }
            state.armed = state.core.next_wake();
            state.armed
        };
        match wake {
            None => shared.clock.notified().await,
            Some(wake) => {
                tokio::select! {
                    () = tokio::time::sleep_until(wake.into()) => {
                        shared.lock().armed = None;
                        shared.run(|core| core.handle_timeout(Instant::now()));
                    }
                    () = shared.clock.notified() => {}
                }
            }
        }
    }
}
