//! Every bound of a connection, an address and a player's seat in one table: the value, what happens at it, and the
//! arithmetic that chose it. What bounds a guest and a session's state is in `ringside_core::limits`.
//!
//! A number is written here once; the code that enforces it and [`TABLE`] (for documentation, `--json` and the test
//! that wants a test for each row) both come from that line.

use std::time::Duration;

/// What a bound is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One QUIC connection.
    Connection,
    /// All connections of one remote address (IPv4 address, or IPv6 /64) at one worker.
    Address,
    /// One worker.
    Worker,
    /// One player's seat in a session.
    Seat,
    /// One client.
    Client,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The constant's name.
    pub name: &'static str,
    /// Its value, in `unit`.
    pub value: u64,
    /// Unit of the value.
    pub unit: &'static str,
    /// What it is counted for.
    pub scope: Scope,
    /// What happens at the bound.
    pub behaviour: &'static str,
    /// Why this value.
    pub why: &'static str,
}

macro_rules! limits {
    (@value time $value:expr) => { $value.as_millis() as u64 };
    (@value count $value:expr) => { $value as u64 };
    (@type time) => { Duration };
    (@type count) => { usize };
    ($($kind:ident $name:ident = $value:expr, $unit:literal, $scope:ident;
        at: $behaviour:literal; why: $why:literal;)+) => {
        $(
            #[doc = concat!($behaviour, "\n\nWhy this value: ", $why, "\n\nUnit: ", $unit, ".")]
            pub const $name: limits!(@type $kind) = $value;
        )+
        /// Every row.
        pub const TABLE: &[Limit] = &[$(Limit {
            name: stringify!($name),
            value: limits!(@value $kind $name),
            unit: $unit,
            scope: Scope::$scope,
            behaviour: $behaviour,
            why: $why,
        }),+];
    };
}

limits! {
    time HANDSHAKE_TIMEOUT = Duration::from_millis(5_000), "ms", Connection;
        at: "A connection whose handshake is not done by then is dropped.";
        why: "Three tries of a first packet (1 s, doubled twice) fit on a lossy link.";
    time OPEN_TIMEOUT = Duration::from_millis(3_000), "ms", Connection;
        at: "A connection without a whole open frame by then is closed: open-timeout.";
        why: "The frame is at most 4 packets; a lost one is repeated within 1 s.";
    time RESOLVE_TIMEOUT = Duration::from_millis(5_000), "ms", Connection;
        at: "An open frame that could not be answered by then is refused: unreachable.";
        why: "A leader is tried for 1 s, a new session's module may take up to 3 s to compile.";
    time IDLE_TIMEOUT = Duration::from_millis(10_000), "ms", Connection;
        at: "A connection on which nothing was heard for so long is closed: idle; the seat window begins.";
        why: "Twenty keep-alives: a radio that hands over takes up to 5 s.";
    time KEEP_ALIVE = Duration::from_millis(500), "ms", Connection;
        at: "A silent connection is pinged, and the newest unacknowledged view repeated.";
        why: "A third of the 1.5 s after which a client of an event-driven session asks elsewhere.";
    time STANDBY_KEEP_ALIVE = Duration::from_millis(3_000), "ms", Connection;
        at: "A silent connection that waits at a follower is pinged.";
        why: "Nothing is awaited on it but the end of its node; a node may have thousands, and a lost ping is repeated.";
    time WRITE_STALL_TIMEOUT = Duration::from_millis(10_000), "ms", Connection;
        at: "A peer that takes nothing of a full send buffer for so long is closed: too-slow.";
        why: "The idle timeout: a peer that answers packets and reads nothing is as useless as a silent one.";
    time LEAVE_TIMEOUT = Duration::from_millis(2_000), "ms", Client;
        at: "A client that asked to leave closes without the confirmation; the seat window does the rest.";
        why: "Two lost packets on a slow link.";
    time CLOSING_TIMEOUT = Duration::from_millis(3_000), "ms", Connection;
        at: "A connection that was told its end is closed when it has acknowledged that, or by then.";
        why: "Three tries of a last frame on a lossy link; a decent client closes at once.";
    count STREAMS = 1, "streams", Connection;
        at: "QUIC's flow control: the peer cannot open a second bidirectional stream, nor a unidirectional one.";
        why: "All frames share one ordered stream; everything else is a datagram.";
    count STREAM_RESETS = 1, "resets", Connection;
        at: "A reset or finished stream closes the connection: protocol.";
        why: "The stream is the attachment; without it nothing is left to serve.";
    count RECEIVE_WINDOW_BYTES = 64 << 10, "bytes", Connection;
        at: "QUIC's flow control: the peer stops sending until the worker has read.";
        why: "Three of the largest frames; 1 MB/s at a round trip of 60 ms, far above any input rate.";
    count SEND_WINDOW_BYTES = 256 << 10, "bytes", Connection;
        at: "Nothing is written to the stream until the peer acknowledges; messages wait in the seat's outbox.";
        why: "Four of the largest server frames; with the receive window and datagrams under 0.5 MiB a connection.";
    count DATAGRAM_RECEIVE_BYTES = 16 << 10, "bytes", Connection;
        at: "The oldest received datagrams are dropped.";
        why: "Twelve full packets: a burst of 100 ms at 120 inputs a second.";
    count OPEN_FRAME_BYTES = 4 << 10, "bytes", Connection;
        at: "A longer first frame closes the connection: too-large.";
        why: "Token 2048 + ticket 512 + resume token 512 + names and criteria 512, rounded up.";
    count TOKEN_BYTES = 2048, "bytes", Connection;
        at: "The open frame is refused: correct the input.";
        why: "A signed token with every claim at its longest is 700 bytes; room for an issuer's own claims.";
    count TICKET_BYTES = 512, "bytes", Connection;
        at: "The frame is refused as malformed.";
        why: "Claims at their longest are 300 bytes, their authentication 64.";
    count CRITERIA_BYTES = 256, "bytes", Connection;
        at: "The open frame is refused: correct the input.";
        why: "A region, a mode and a few numbers; it is hashed and kept with the session's listing.";
    count REASON_BYTES = 256, "bytes", Connection;
        at: "A reason's text is cut at a character's end by who sends it; a longer one is malformed.";
        why: "One sentence.";
    count MESSAGE_BYTES = 16 << 10, "bytes", Connection;
        at: "A client cannot send a longer message; a server closes the connection: too-large.";
        why: "Inputs are small; 256 unacknowledged ones of this size are the client's 4 MiB at the very most.";
    count CLIENT_FRAME_BYTES = MESSAGE_BYTES + 64, "bytes", Connection;
        at: "A longer frame closes the connection before it is buffered: too-large.";
        why: "The longest message, its number (10), its length (3) and the kind (1), rounded up.";
    count SERVER_FRAME_BYTES = (64 << 10) + 1024, "bytes", Connection;
        at: "A longer frame closes the connection before it is buffered: protocol.";
        why: "A message or result of 64 KiB from a guest and the longest other fields.";
    count DATAGRAM_BODY_BYTES = 1000, "bytes", Connection;
        at: "A client cannot send a longer one; a server drops it and counts it.";
        why: "With a header of 21 bytes at most it fits 1162, the least that QUIC leaves at the start.";
    count VIEW_BYTES = 64 << 10, "bytes", Seat;
        at: "A guest's longer view is a trap; a fragment that would make one longer is malformed.";
        why: "What a guest may hand over at once.";
    count VIEW_FRAGMENTS = 96, "fragments", Seat;
        at: "A fragment that claims more is malformed.";
        why: "64 KiB in fragments of 688 bytes and more; datagrams carry at least 1162.";
    count VIEWS_IN_SEND_BUFFER = 2, "views", Connection;
        at: "A newer view replaces one that was not sent; half-sent ones are abandoned.";
        why: "One on its way into packets, one being written.";
    count INPUT_BURST_FACTOR = 2, "s of the game's input rate", Seat;
        at: "Further messages stay in the stream unread (flow control); further datagrams are dropped and counted.";
        why: "A phone that was silent for a second hands over what it gathered, and a little more.";
    count DATAGRAM_RATE = 400, "datagrams/s", Connection;
        at: "Further datagrams of any kind are dropped before they are parsed.";
        why: "120 inputs and 120 acknowledgements a second, and two thirds more for bursts.";
    count FRAME_RATE = 2_000, "frames/s", Connection;
        at: "The stream is not read further this second.";
        why: "1000 messages, the most that a game may ask for, and as many acknowledgements.";
    count CONNECTIONS_PER_ADDRESS = 1_024, "connections", Address;
        at: "Further connections are refused before their handshake: address-limit.";
        why: "A campus behind one address; at 0.5 MiB each half a gigabyte at the very most, of a node's choice.";
    count UNATTACHED_PER_ADDRESS = 256, "connections", Address;
        at: "Further connections are closed when their handshake is done: address-limit.";
        why: "A quarter of the address's connections may be opening at once: 80 opens a second, 3 s each.";
    count CONNECTIONS = 8_192, "connections", Worker;
        at: "Further connections are refused before their handshake: overloaded.";
        why: "A core serves about 400 matches of 8 players at 2.4 ms a second each; more than twice that.";
    count UNATTACHED = 1_024, "connections", Worker;
        at: "Further connections are closed when their handshake is done: overloaded.";
        why: "Two turns' share of handshakes (0.5 ms each) for the 3 s of the open timeout.";
    time SEAT_WINDOW = Duration::from_millis(30_000), "ms", Seat;
        at: "A seat without a connection for so long is given up: `leave` (timed-out) is logged.";
        why: "A lift, a tunnel, an application restart.";
    time RESUME_TOKEN_LIFETIME = Duration::from_millis(3_600_000), "ms", Seat;
        at: "An older resume token is refused: open again with the session token.";
        why: "Longer than the longest seat window that may be configured.";
    time TICKET_LIFETIME = Duration::from_millis(10_000), "ms", Seat;
        at: "A ticket that is older than this, and at the latest one of twice this age, is refused: ask a front door again.";
        why: "Two handshakes and a second try; the target counts time in eras of this length.";
    count SPENT_TOKENS = 4_096, "tokens", Worker;
        at: "The oldest spent resume token is forgotten; its expiry alone refuses it then.";
        why: "Half of a worker's connections come back at once.";
    count RELAYS = 1024, "connections", Worker;
        at: "A further player who asks to be relayed is refused: overloaded.";
        why: "Relaying is for the few who cannot reach a leader; an eighth of a worker's connections.";
    count RELAY_BYTES = 64 << 10, "bytes", Connection;
        at: "The stream of a relayed player is not read on, either way, until what is under way has arrived.";
        why: "The receive window: a relay holds no more than the connection itself may.";
    count VERIFIED_TOKENS = 4_096, "tokens", Worker;
        at: "The one that was verified first is forgotten, and verified again when it comes again.";
        why: "Half of a worker's connections come back at once; about a megabyte.";
    count CLIENT_UNRETIRED_MESSAGES = 256, "messages", Client;
        at: "`send` answers full; what was acknowledged at a lower tier only is let go before that.";
        why: "Two seconds at 120 messages a second.";
    count CLIENT_UNRETIRED_BYTES = 256 << 10, "bytes", Client;
        at: "`send` answers full; what was acknowledged at a lower tier only is let go before that.";
        why: "Sixteen of the longest messages.";
    count CLIENT_QUEUED_EVENTS = 2_048, "events", Client;
        at: "The server broke the protocol: the client leaves the connection for another.";
        why: "What an honest server keeps unacknowledged (1024) and 256 datagrams, rounded up.";
    count CLIENT_QUEUED_BYTES = 2 << 20, "bytes", Client;
        at: "The server broke the protocol: the client leaves the connection for another.";
        why: "Twice what an honest server keeps unacknowledged.";
    count CLIENT_QUEUED_DATAGRAMS = 256, "datagrams", Client;
        at: "The oldest that the application has not taken is dropped and counted.";
        why: "Two seconds at 120 a second; the newest are worth the most.";
    count CLIENT_REDIRECTS = 4, "redirects", Client;
        at: "The client begins again at a front door after a pause and asks to be relayed.";
        why: "One is normal, two happen while a session moves; a circle must end.";
    time CLIENT_REACH_TIMEOUT = Duration::from_millis(1_000), "ms", Client;
        at: "A place that a client was redirected to, or where its session was, and that it cannot reach by then is given up: it asks to be relayed, or a door. So is one of several doors for the next, where each round of all has twice as long.";
        why: "A handshake over the longest paths takes 0.6 s.";
    count CLIENT_ADDRESS_TOKENS = 2, "tokens", Client;
        at: "The oldest proof of its address that servers gave the client is forgotten.";
        why: "One for a redirect, one for a second connection beside it; they are good for ten seconds.";
    count CLIENT_ANSWER_BYTES = 8 << 10, "bytes", Client;
        at: "A longer answer to resolve, its head included, counts as none: the client asks at a door.";
        why: "A place in hexadecimal is 1.4 KiB; a proxy in between adds a kilobyte or two to the head.";
    time CLIENT_IDLE_TIMEOUT = Duration::from_millis(5_000), "ms", Client;
        at: "A client that hears nothing for so long counts the connection as lost and comes back on another.";
        why: "Ten keep-alives of the server.";
    time CLIENT_ATTACH_TIMEOUT = Duration::from_millis(8_000), "ms", Client;
        at: "A try that is not attached, redirected or refused by then is given up and made again.";
        why: "Handshake (5 s) and a busy resolve: more than the server's own timeout for either.";
    time CLIENT_RETRY_FIRST = Duration::from_millis(50), "ms", Client;
        at: "The pause before the first new try is up to so long, drawn at random.";
        why: "Spreads a thousand players of a lost node over a few turns.";
    time CLIENT_RETRY_LONGEST = Duration::from_millis(4_000), "ms", Client;
        at: "Pauses double up to this, each drawn between its half and its whole.";
        why: "Seven tries within the seat window.";
    time CLIENT_GIVE_UP = Duration::from_millis(60_000), "ms", Client;
        at: "A client that was not attached for so long fails and says so.";
        why: "Twice the seat window: the seat is gone.";
    time CLIENT_ACKNOWLEDGE_DELAY = Duration::from_millis(60), "ms", Client;
        at: "Acknowledgements of messages and views wait so long for an input to ride on, or for each other.";
        why: "Longer than the interval of a 20 Hz game's inputs, which carry them; a view is repeated after eight times that.";
    time CLIENT_SILENCE = Duration::from_millis(250), "ms", Client;
        at: "A client that should be shown views and hears nothing for so long (four views, if that is longer) looks for a newer leader.";
        why: "What a session's follower waits before it suspects its leader.";
    time CLIENT_SILENCE_AT_REST = Duration::from_millis(1_500), "ms", Client;
        at: "A client whose session ticks never, and on whose connection nothing came for so long, looks for a newer leader.";
        why: "Three keep-alives of the server.";
    time CLIENT_FAILOVER = Duration::from_millis(2_000), "ms", Client;
        at: "A client that waits at a follower for so long, or hears nothing where it is attached, asks a front door.";
        why: "Three times what a promotion takes.";
    time CLIENT_STANDBY_SPREAD = Duration::from_millis(5_000), "ms", Client;
        at: "A client connects to the session's follower at a time of its own within so long.";
        why: "A node's thousand players, named one follower at once, cost it two handshakes in ten milliseconds.";
    time CLIENT_STANDBY_AGAIN = Duration::from_millis(500), "ms", Client;
        at: "A client whose connection to the follower failed asks for another place after so long, doubled with each failure up to 16 s.";
        why: "The leader answers one question a second.";
    count CLIENT_ACKNOWLEDGE_EVERY = 64, "messages", Client;
        at: "So many unacknowledged outputs are acknowledged at once.";
        why: "A sixteenth of the outbox that they fill at the other end.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::datagram;

    #[test]
    fn every_row_is_filled_in_once() {
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for row in TABLE {
            assert!(row.value > 0, "{}", row.name);
            assert!(row.behaviour.ends_with('.') && row.why.ends_with('.'), "{}", row.name);
        }
    }

    #[test]
    fn the_arithmetic_holds() {
        const {
            assert!(DATAGRAM_BODY_BYTES + datagram::INPUT_HEADER_BYTES <= datagram::SMALLEST_MAX_DATAGRAM);
            let body = datagram::SMALLEST_MAX_DATAGRAM - datagram::FRAGMENT_HEADER_BYTES;
            assert!(VIEW_BYTES.div_ceil(body) <= VIEW_FRAGMENTS);
            assert!(CLIENT_FRAME_BYTES * 3 <= RECEIVE_WINDOW_BYTES);
            assert!(OPEN_FRAME_BYTES <= CLIENT_FRAME_BYTES);
        }
        assert!(KEEP_ALIVE * 3 <= IDLE_TIMEOUT && STANDBY_KEEP_ALIVE * 3 <= IDLE_TIMEOUT);
        assert!(SEAT_WINDOW <= CLIENT_GIVE_UP);
    }
}
