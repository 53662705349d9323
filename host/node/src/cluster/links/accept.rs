//! The accepting end of links: who is let in, and what they send. Everything that a stranger can hold open has a bound
//! or a deadline; a member may fill its link's window, no more.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use quinn::{Connection, Incoming, SendStream};
use ringside_worker::endpoint::{address_group, take_from};
use ringside_worker::peers::frame::agree;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::{Arrival, CLOSED, GREETING, Greeting, Hello, Refusal, Shared, count, frame, say, tls};
use crate::limits::LINK_ADDRESS_GREETINGS;

/// Accepts until the endpoint is closed.
pub(super) async fn run<M: Serialize + DeserializeOwned + Send + 'static>(shared: Arc<Shared<M>>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        if !incoming.remote_address_validated() && incoming.may_retry() {
            // Whoever hears the answer is at the address: only they cost a handshake.
            let _ = incoming.retry();
            continue;
        }
        let turn = Arc::clone(&shared.greetings).try_acquire_owned().ok();
        let share = turn.is_some().then(|| Share::take(&shared, incoming.remote_address().ip())).flatten();
        let (Some(turn), Some(share)) = (turn, share) else {
            count(&shared.counters.refused);
            incoming.refuse();
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let greeting = (turn, share);
            let deadline = Instant::now() + GREETING;
            match timeout_at(deadline, greet(&shared, incoming)).await {
                Ok(Some(Greeted::Welcome(connection, hello, place))) => {
                    drop(greeting);
                    listen(&shared, &connection, &hello).await;
                    connection.close(CLOSED.into(), b"");
                    drop(place);
                }
                Ok(Some(Greeted::Refused { node, connection, words, refusal })) => {
                    // Counted before anybody hears of it.
                    count(&shared.counters.refused);
                    let from = connection.remote_address();
                    tracing::warn!(node = %format_args!("{node:016x}"), %from, %refusal, "link refused");
                    // It arrives before the connection ends.
                    let _ = timeout_at(deadline, refuse(words, refusal)).await;
                }
                Ok(None) | Err(_) => count(&shared.counters.refused),
            }
        });
    }
}

/// One of an address's greetings, until it is dropped.
struct Share<M> {
    shared: Arc<Shared<M>>,
    address: IpAddr,
}

impl<M> Share<M> {
    fn take(shared: &Arc<Shared<M>>, address: IpAddr) -> Option<Share<M>> {
        let address = address_group(address);
        let mut greeting = shared.greeting.lock().unwrap_or_else(PoisonError::into_inner);
        let share = greeting.entry(address).or_default();
        if *share >= LINK_ADDRESS_GREETINGS {
            return None;
        }
        *share += 1;
        Some(Share { shared: Arc::clone(shared), address })
    }
}

impl<M> Drop for Share<M> {
    fn drop(&mut self) {
        let mut greeting = self.shared.greeting.lock().unwrap_or_else(PoisonError::into_inner);
        take_from(&mut greeting, &self.address);
    }
}

/// What came of a hello.
enum Greeted {
    /// It was answered, and has a place.
    Welcome(Connection, Box<Hello>, OwnedSemaphorePermit),
    /// This is still to be said.
    Refused { node: u64, connection: Connection, words: SendStream, refusal: Refusal },
}

/// The hello of whoever connects, and the answer.
async fn greet<M>(shared: &Shared<M>, incoming: Incoming) -> Option<Greeted> {
    let connection = incoming.accept().ok()?.await.ok()?;
    let (mut words, mut hear) = connection.accept_bi().await.ok()?;
    let hello: Hello = frame::read(&mut hear).await.ok()?;
    let place = Arc::clone(&shared.places).try_acquire_owned();
    let spoken = shared.own.versions;
    let verdict = if agree(spoken, hello.versions).is_none() {
        Err(Refusal::Version { theirs: spoken, ours: hello.versions })
    } else if !tls::is_node(&connection, &shared.secret.node_name(hello.node)) {
        Err(Refusal::Certificate)
    } else if hello.node == shared.own.node && hello.generation != shared.own.generation {
        Err(Refusal::DuplicateNode { node: hello.node, address: shared.own.links })
    } else if place.is_err() {
        Err(Refusal::Busy)
    } else {
        (shared.admit)(&hello)
    };
    match (verdict, place) {
        (Ok(()), Ok(place)) => {
            say(&mut words, frame::encode(&Greeting::Welcome(shared.own.clone()))).await.ok()?;
            let _ = words.finish();
            Some(Greeted::Welcome(connection, Box::new(hello), place))
        }
        (verdict, _) => {
            let refusal = verdict.err().unwrap_or(Refusal::Busy);
            Some(Greeted::Refused { node: hello.node, connection, words, refusal })
        }
    }
}

/// Says why somebody is refused, and returns when they have it.
async fn refuse(mut words: SendStream, refusal: Refusal) {
    if say(&mut words, frame::encode(&Greeting::Refused(refusal))).await.is_ok() {
        let _ = words.finish();
        let _ = words.stopped().await;
    }
}

/// Hands on what a peer sends until it stops or says what cannot be understood.
async fn listen<M: DeserializeOwned>(shared: &Shared<M>, connection: &Connection, hello: &Hello) {
    while let Ok(mut stream) = connection.accept_uni().await {
        loop {
            match frame::read::<M>(&mut stream).await {
                Ok(message) => {
                    count(&shared.counters.received);
                    let Hello { node, generation, links, .. } = *hello;
                    let arrival = Arrival { node, generation, links, message };
                    if shared.inbox.send(arrival).await.is_err() {
                        return;
                    }
                }
                Err(frame::FrameError::Ended) => break,
                Err(error @ (frame::FrameError::Malformed | frame::FrameError::TooLong(_))) => {
                    tracing::warn!(node = %format_args!("{:016x}", hello.node), %error, "link closed");
                    return;
                }
                Err(_) => return,
            }
        }
    }
}
