//! One bot: a client connection, and a brain that answers what it sees. Counts what came and went.

use std::time::{Duration, Instant};

use ringside_client::{Client, Event, SendError};
use ringside_protocol::ids::Slot;
use serde::Serialize;

use crate::pace::every;

/// How often a brain is asked for something of its own accord.
const PACE: Duration = Duration::from_millis(20);
/// Messages that may be unacknowledged before a bot stops to talk.
const UNACKNOWLEDGED: usize = 128;

/// What a bot does about what it sees.
pub trait Brain: Send {
    /// The client is in the session, in this slot.
    fn attached(&mut self, _slot: Slot) {}
    /// A view; the answer is sent as a message.
    fn view(&mut self, _body: &[u8]) -> Option<Vec<u8>> {
        None
    }
    /// A message; the answer is the round trip that it ends, if it ends one.
    fn message(&mut self, _body: &[u8], _now: Instant) -> Option<Duration> {
        None
    }
    /// Nothing in particular happened; the answer is sent as a message.
    fn idle(&mut self, _now: Instant) -> Option<Vec<u8>> {
        None
    }
}

/// What one bot, or all of them, saw.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// Views.
    pub views: u64,
    /// Bytes of those.
    pub view_bytes: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages that had no effect.
    pub rejected: u64,
    /// Connections lost.
    pub disconnects: u64,
    /// Sessions that came to their end.
    pub finished: u64,
    /// Why bots failed.
    pub failures: Vec<String>,
    /// Gaps between views, µs.
    #[serde(skip)]
    pub gaps_us: Vec<u64>,
    /// Round trips, µs.
    #[serde(skip)]
    pub round_trips_us: Vec<u64>,
}

impl Tally {
    /// Adds another bot's.
    pub fn add(&mut self, other: Tally) {
        self.views += other.views;
        self.view_bytes += other.view_bytes;
        self.sent += other.sent;
        self.received += other.received;
        self.rejected += other.rejected;
        self.disconnects += other.disconnects;
        self.finished += other.finished;
        self.failures.extend(other.failures);
        self.gaps_us.extend(other.gaps_us);
        self.round_trips_us.extend(other.round_trips_us);
    }
}

/// Plays until `until` or the session's end, then leaves.
pub async fn play(mut client: Client, mut brain: Box<dyn Brain>, until: Option<Instant>) -> Tally {
    let mut tally = Tally::default();
    let mut last_view = None;
    let mut pace = every(PACE);
    brain.attached(client.attachment().slot);
    loop {
        if until.is_some_and(|until| Instant::now() >= until) {
            client.leave().await;
            return tally;
        }
        let answer = tokio::select! {
            event = client.next() => match event {
                Some(event) => see(&mut tally, brain.as_mut(), &mut last_view, event),
                None => return tally,
            },
            _ = pace.tick() => brain.idle(Instant::now()),
        };
        if let Some(body) = answer
            && client.unacknowledged() < UNACKNOWLEDGED
        {
            match client.send(body) {
                Ok(_) => tally.sent += 1,
                Err(SendError::Full | SendError::NotAttached | SendError::Done) => {}
                Err(error @ SendError::TooLong(_)) => tally.failures.push(error.to_string()),
            }
        }
    }
}

fn see(tally: &mut Tally, brain: &mut dyn Brain, last_view: &mut Option<Instant>, event: Event) -> Option<Vec<u8>> {
    let now = Instant::now();
    match event {
        Event::Attached(attachment) => brain.attached(attachment.slot),
        Event::View(view) => {
            tally.views += 1;
            tally.view_bytes += view.body.len() as u64;
            if let Some(before) = last_view.replace(now) {
                tally.gaps_us.push(now.duration_since(before).as_micros() as u64);
            }
            return brain.view(&view.body);
        }
        Event::Message { body, .. } => {
            tally.received += 1;
            let round_trip = brain.message(&body, now);
            tally.round_trips_us.extend(round_trip.map(|time| time.as_micros() as u64));
        }
        Event::Rejected { .. } => tally.rejected += 1,
        Event::Disconnected { .. } => tally.disconnects += 1,
        Event::Finished { .. } => tally.finished += 1,
        Event::Detached { reason, message } | Event::Failed { reason, message } => {
            tally.failures.push(if message.is_empty() { reason.to_string() } else { message });
        }
        _ => {}
    }
    None
}
