//! Peers that mean ill, each by name. Whatever one does: it is ended for a reason that is counted, it cannot make the
//! worker hold more than [`PINNED_BYTES`], and a decent player in the same session does not notice.

mod connections;
mod datagrams;
mod floods;
mod frames;
mod peers;
mod streams;
mod tokens;

use ringside_core::ids::SessionId;
use ringside_protocol::reason::Reason;
use ringside_test_support::wait::until;
use ringside_worker::peers::tls::Membership;

use crate::bench::Bench;
use crate::bots::Echoist;

/// What one peer may make a worker hold at the very most.
const PINNED_BYTES: isize = 4 << 20;

const ROOM: &str = "echo/room";

/// A session of the echo game with a decent player in it.
struct Room {
    bench: Bench,
    session: SessionId,
    decent: Echoist,
    newcomers: u32,
}

impl Room {
    async fn new() -> Room {
        Room::at(Bench::start()).await
    }

    /// The same at workers that may be linked to others.
    async fn with_peers(membership: Membership) -> Room {
        Room::at(Bench::with_peers(membership)).await
    }

    async fn at(bench: Bench) -> Room {
        bench.serve("echo");
        let session = bench.create(ROOM).await;
        let mut decent = Echoist::join(&bench, "decent", ROOM).await;
        decent.exchange(10, 5).await;
        Room { bench, session, decent, newcomers: 0 }
    }

    /// The decent player plays on over the same connection, and another one is let in.
    async fn is_unharmed(&mut self) {
        self.decent.exchange(20, 5).await;
        assert_eq!(self.decent.disconnected, 0);
        self.newcomers += 1;
        let mut newcomer = Echoist::join(&self.bench, &format!("newcomer-{}", self.newcomers), ROOM).await;
        newcomer.exchange(5, 5).await;
    }

    /// Waits until the worker has ended so many connections for this reason.
    async fn ended(&self, reason: Reason, count: u64) {
        until("the worker to name the cause", async || (self.bench.ended(reason) >= count).then_some(())).await;
        assert_eq!(self.bench.ended(reason), count, "{reason}");
    }
}
