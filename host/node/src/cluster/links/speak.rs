//! The speaking end of a link: carries what waits for a peer, over one connection after another. A message that could not
//! be written whole goes with the next connection; one that was written and not delivered is lost with its own.
//!
//! **A silent connection is not believed.** Both ends say something every second. A connection on which nothing was heard
//! for [`DOUBT`] may be dead at the other end, as after a cut that was mended, and what is written into it would be lost;
//! so the next message gets a new one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{Connection, SendStream};
use ringside_core::ids::Node;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::tls::{IDLE, KEEP_ALIVE};
use super::{CLOSED, Destination, FrameError, GREETING, Queues, Shared, count, frame, say};
use crate::pace::every;

/// How long to wait before connecting to a peer again: doubles from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A link on which nothing was sent for so long is closed; the next message makes another.
const UNUSED: Duration = Duration::from_secs(60);
/// How long nothing may be heard on a connection that is spoken on.
const DOUBT: Duration = Duration::from_millis(2_500);
/// How often it is looked whether anything was heard.
const LOOK: Duration = Duration::from_millis(500);
const _: () = {
    let (doubt, look) = (DOUBT.as_millis(), LOOK.as_millis());
    let (idle, keep_alive) = (IDLE.as_millis(), KEEP_ALIVE.as_millis());
    assert!(
        doubt + look + keep_alive < idle,
        "a connection is doubted before the other end, which heard less, gives up"
    );
    assert!(doubt > 2 * keep_alive, "a packet that is lost raises no doubt");
};

/// A connection, and the stream of frames on it.
struct Line {
    connection: Connection,
    stream: SendStream,
    /// Datagrams that were heard, and when that was seen to grow.
    heard: (u64, Instant),
    /// Whether anything was said on it.
    is_used: bool,
}

/// What is to be done on a line.
enum Next<M> {
    Say(M),
    /// It is dead.
    Lost,
    /// Nobody has anything to say, or had for long.
    Unused,
}

/// Carries a peer's queue until nothing was sent for a while or the links end.
pub(super) async fn run<M: Serialize + Send>(shared: Arc<Shared<M>>, to: Destination, mut queues: Queues<M>) {
    let Destination { node, address } = to;
    let mut wait = BACKOFF.0;
    // What there is to say on the next connection.
    let mut first = None;
    loop {
        let waiting = queues.waiting();
        match Line::open(&shared, to).await {
            Ok(line) => {
                wait = BACKOFF.0;
                if carry(&shared, node, line, &mut queues, &mut first).await {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%node, %address, %error, "no link");
                // What was meant for a peer that cannot be reached is old when it can be; what came since is for the next try.
                queues.forget(waiting);
                let old = waiting.0 + waiting.1 + usize::from(first.take().is_some());
                shared.counters.dropped.fetch_add(old as u64, Ordering::Relaxed);
                sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
        // Nothing to say: no reason to connect.
        if first.is_none() {
            match something(&mut queues).await {
                None => return,
                message => first = message,
            }
        }
    }
}

/// Waits for something to say. `None` if there was nothing for long: then whoever speaks from now on begins anew.
async fn something<M>(queues: &mut Queues<M>) -> Option<M> {
    match timeout(UNUSED, queues.next()).await {
        Ok(message) => message,
        Err(_) => {
            queues.close();
            queues.next().await
        }
    }
}

/// Says what there is on a line. Answers whether that was all for long; else the line is dead, and `first` may hold what it
/// did not take.
async fn carry<M: Serialize>(
    shared: &Shared<M>,
    node: Node,
    mut line: Line,
    queues: &mut Queues<M>,
    first: &mut Option<M>,
) -> bool {
    loop {
        let message = match first.take() {
            Some(message) => message,
            None => match line.next(queues).await {
                Next::Say(message) => message,
                Next::Lost => return false,
                Next::Unused => {
                    line.end(shared, queues).await;
                    return true;
                }
            },
        };
        if line.is_doubtful() {
            tracing::debug!(%node, "a link that has gone silent is made anew");
            line.connection.close(CLOSED.into(), b"silent");
            *first = Some(message);
            return false;
        }
        match say(&mut line.stream, frame::encode(&message)).await {
            Ok(()) => count(&shared.counters.sent),
            // Nothing of it was written: the link is good, and what comes next fits.
            Err(error @ FrameError::TooLong(_)) => {
                count(&shared.counters.dropped);
                tracing::error!(%node, %error, "a message was dropped");
            }
            Err(error) => {
                tracing::debug!(%node, %error, "link");
                // The peer has not got it whole. A connection that takes nothing at all is tried once.
                if line.is_used {
                    *first = Some(message);
                } else {
                    count(&shared.counters.dropped);
                }
                return false;
            }
        }
        line.is_used = true;
    }
}

impl Line {
    async fn open<M>(shared: &Shared<M>, to: Destination) -> Result<Line, String> {
        let name = shared.secret.node_name(to.node.id.0);
        let (connection, _) = shared.connect(to.address, &name).await.map_err(|error| error.to_string())?;
        let stream = connection.open_uni().await.map_err(|error| error.to_string())?;
        let heard = (connection.stats().udp_rx.datagrams, Instant::now());
        Ok(Line { connection, stream, heard, is_used: false })
    }

    async fn next<M>(&mut self, queues: &mut Queues<M>) -> Next<M> {
        let mut look = every(LOOK);
        let connection = self.connection.clone();
        let (mut lost, mut unused) = (std::pin::pin!(connection.closed()), std::pin::pin!(sleep(UNUSED)));
        loop {
            tokio::select! {
                biased;
                _ = &mut lost => return Next::Lost,
                message = queues.next() => return message.map_or(Next::Unused, Next::Say),
                () = &mut unused => return Next::Unused,
                _ = look.tick() => self.look(),
            }
        }
    }

    /// Notes whether anything was heard.
    fn look(&mut self) {
        let heard = self.connection.stats().udp_rx.datagrams;
        if heard != self.heard.0 {
            self.heard = (heard, Instant::now());
        }
    }

    fn is_doubtful(&mut self) -> bool {
        self.look();
        self.heard.1.elapsed() > DOUBT
    }

    /// Ends it: who speaks from now on makes a new connection; what was said until now still leaves on this.
    async fn end<M: Serialize>(mut self, shared: &Shared<M>, queues: &mut Queues<M>) {
        queues.close();
        while let Some(message) = queues.next().await {
            let said = say(&mut self.stream, frame::encode(&message)).await;
            count(if said.is_ok() { &shared.counters.sent } else { &shared.counters.dropped });
        }
        // What was written arrives before the connection ends.
        let _ = self.stream.finish();
        let _ = timeout(GREETING, self.stream.stopped()).await;
        self.connection.close(CLOSED.into(), b"unused");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Peer;
    use super::super::tests::{secret, start, to};
    use super::*;

    #[tokio::test]
    async fn what_a_dead_connection_does_not_take_goes_with_the_next_but_one_that_never_took_anything_is_tried_once() {
        let secret = secret();
        let (one, two) = (start(&secret, 1), start(&secret, 2));
        let (to, (_peer, mut queues)) = (to(2, 1, two.address), Peer::new(two.address));
        for is_used in [true, false] {
            let line = Line { is_used, ..Line::open(&one.links.shared, to).await.unwrap() };
            line.connection.close(CLOSED.into(), b"");
            let mut first = Some((7, "x".to_owned()));
            assert!(!carry(&one.links.shared, to.node, line, &mut queues, &mut first).await);
            assert_eq!(first.is_some(), is_used);
        }
        assert_eq!(one.links.counters().dropped.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_connection_is_doubted_when_nothing_is_heard_on_it_and_no_longer_when_something_is() {
        let secret = secret();
        let (one, two) = (start(&secret, 1), start(&secret, 2));
        let to = to(2, 1, two.address);
        let mut line = Line::open(&one.links.shared, to).await.unwrap();
        line.heard = (u64::MAX, Instant::now() - 2 * DOUBT);
        assert!(!line.is_doubtful(), "something was heard since");
        line.heard.1 = Instant::now() - 2 * DOUBT;
        assert!(line.is_doubtful());
    }
}
