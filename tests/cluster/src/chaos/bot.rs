//! A player: says numbered words, wants each answered once and in order, and comes back until it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringside_client::protocol::ids::SessionId;
use ringside_client::{Attachment, Client, Event, Options};
use ringside_test_support::echo_history::{EchoHistory, Violation};
use ringside_test_support::random::Random;
use ringside_test_support::wait::PATIENCE;
use tokio::sync::watch;

use super::{Happened, Kind};

/// Messages on their way, at most.
const OUTSTANDING: u64 = 4;
/// Between two words, ms: this and as much again at most.
const PACE_MS: u64 = 300;
/// Before a session that is gone is asked for again.
const AGAIN: Duration = Duration::from_millis(500);

/// What players are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Say words.
    Playing,
    /// Say a last one, and wait for all answers.
    Ending,
}

/// What a player did and saw.
#[derive(Debug, Default, Clone)]
pub struct Played {
    /// Messages that were answered.
    pub messages: u64,
    /// Views that came.
    pub views: u64,
    /// The longest time that a message waited for its answer.
    pub longest: Duration,
    /// How often a session went back, told so: a fork's players.
    pub rewound: u64,
    /// How often a session that outlives nothing was lost, told so.
    pub lost: u64,
    /// How often a client came into its session again.
    pub attached: u64,
}

impl Played {
    /// Another player's as well.
    pub fn add(&mut self, other: &Played) {
        self.messages += other.messages;
        self.views += other.views;
        self.longest = self.longest.max(other.longest);
        self.rewound += other.rewound;
        self.lost += other.lost;
        self.attached += other.attached;
    }
}

/// A player.
pub struct Bot {
    kind: Kind,
    options: Options,
    random: Random,
    seen: EchoHistory,
    played: Played,
    /// Since when each message waits that was not answered, by its number.
    waits: BTreeMap<u64, Instant>,
    /// Sessions that it was put out of, or that were said to be lost.
    left: BTreeSet<SessionId>,
    happened: Arc<Happened>,
    /// How many deadly things had happened when it came into its session.
    since: u64,
}

/// How a stay ended.
enum Stay {
    /// Everything was answered, and the run is over.
    Done,
    /// The session is gone, and that was said.
    Over,
}

impl Bot {
    /// One that enters so.
    pub fn new(
        (player, kind): (String, Kind),
        options: Options,
        seed: u64,
        (began, happened): (Instant, Arc<Happened>),
    ) -> Bot {
        let seen = EchoHistory::new(&format!("{player} in {}", kind.game), seed, began);
        let (played, waits) = (Played::default(), BTreeMap::new());
        Bot { kind, options, random: Random::new(seed), seen, played, waits, left: BTreeSet::new(), happened, since: 0 }
    }

    /// Plays until the run is over.
    pub async fn play(mut self, mut phase: watch::Receiver<Phase>) -> Result<Played, Violation> {
        loop {
            let stay = match Client::connect(self.options.clone()).await {
                Ok(client) if self.is_found_again(client.attachment()) => {
                    // Its node stood still. What this player has there answers what an earlier client had said.
                    self.seen.note("the session is found again, and the seat given up");
                    let _ = tokio::time::timeout(AGAIN, client.leave()).await;
                    Stay::Over
                }
                Ok(mut client) => self.stay(&mut client, &mut phase).await?,
                Err(error) => {
                    self.seen.note(format_args!("not let in: {error}"));
                    Stay::Over
                }
            };
            let is_over = *phase.borrow() == Phase::Ending;
            match stay {
                Stay::Done => return Ok(self.played),
                Stay::Over if self.kind.outlives => {
                    return Err(self.seen.broken("the session ended, which outlives its node"));
                }
                Stay::Over if is_over => return Ok(self.played),
                Stay::Over => {
                    self.played.lost += 1;
                    self.waits.clear();
                    self.seen.begin_again();
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Whether it has its seat still in a session that it has left.
    fn is_found_again(&self, attachment: &Attachment) -> bool {
        self.left.contains(&attachment.session) && !attachment.joined
    }

    async fn stay(&mut self, client: &mut Client, phase: &mut watch::Receiver<Phase>) -> Result<Stay, Violation> {
        let mut session = client.attachment().session.clone();
        self.since = self.happened.deadly.load(Relaxed);
        self.seen.note(format_args!("attached to {session} at node {:x}", client.attachment().node));
        let mut ends: Option<tokio::time::Instant> = None;
        loop {
            if ends.is_some() && self.seen.outstanding() == 0 {
                self.seen.end()?;
                return Ok(Stay::Done);
            }
            let pause = Duration::from_millis(PACE_MS + self.random.below(PACE_MS));
            let deadline = ends.unwrap_or_else(|| tokio::time::Instant::now() + PATIENCE);
            tokio::select! {
                () = tokio::time::sleep(pause), if ends.is_none() => self.say(client)?,
                // A run whose driver is gone is over as well.
                _ = phase.changed(), if ends.is_none() => {
                    ends = Some(tokio::time::Instant::now() + PATIENCE);
                    self.seen.note("the last word");
                    self.say(client)?;
                }
                () = tokio::time::sleep_until(deadline), if ends.is_some() => {
                    if !self.kind.outlives {
                        return Ok(Stay::Over);
                    }
                    let waits = self.seen.outstanding();
                    return Err(self.seen.broken(&format!("{waits} messages were not answered in {PATIENCE:?}")));
                }
                event = client.next() => {
                    let is_over = match event {
                        Some(event) => self.take(event, &mut session)?,
                        None => true,
                    };
                    if is_over {
                        self.may_be_lost()?;
                        self.left.insert(session);
                        return Ok(Stay::Over);
                    }
                }
            }
        }
    }

    fn say(&mut self, client: &Client) -> Result<(), Violation> {
        if self.seen.outstanding() >= OUTSTANDING {
            return Ok(());
        }
        // One that is not taken was not sent: it is tried again.
        if client.send(self.seen.next_message()).is_ok() {
            self.waits.insert(self.seen.next_number(), Instant::now());
            self.seen.sent()?;
        }
        Ok(())
    }

    /// A session is lost: one that is volatile may be, if something has happened that it need not survive.
    fn may_be_lost(&mut self) -> Result<(), Violation> {
        let deadly = self.happened.deadly.load(Relaxed);
        // One is under way where the number is odd.
        match self.kind.outlives || deadly > self.since || deadly % 2 == 1 {
            true => Ok(()),
            false => Err(self.seen.broken("a volatile session is lost, and no node has failed since")),
        }
    }

    /// Takes an event; whether it was the last.
    fn take(&mut self, event: Event, session: &mut SessionId) -> Result<bool, Violation> {
        match event {
            Event::Message { body, .. } => {
                let reply = postcard::from_bytes(&body);
                let reply: echo::Reply = reply.map_err(|error| self.seen.broken(&format!("no reply: {error}")))?;
                let number = self.seen.reply(&reply)?;
                self.played.messages += 1;
                let rest = self.waits.split_off(&(number + 1));
                let longest = std::mem::replace(&mut self.waits, rest).into_values().map(|since| since.elapsed()).max();
                self.played.longest = self.played.longest.max(longest.unwrap_or_default());
            }
            Event::Attached(attachment) => {
                self.played.attached += 1;
                let (node, joined) = (attachment.node, attachment.joined);
                self.seen.note(format_args!("attached to {} at node {node:x}, joined: {joined}", attachment.session));
                let is_another = joined || attachment.session != *session;
                if is_another && self.kind.outlives {
                    return Err(self.seen.broken("the player's seat is gone, in a session that outlives its node"));
                }
                if is_another {
                    self.may_be_lost()?;
                    self.since = self.happened.deadly.load(Relaxed);
                    self.played.lost += 1;
                    self.waits.clear();
                    self.seen.begin_again();
                    // What the seat answers there is of an earlier client: it is given up.
                    let is_over = self.is_found_again(&attachment);
                    self.left.insert(std::mem::replace(session, attachment.session));
                    return Ok(is_over);
                }
            }
            Event::Rewound { tick, last_output, superseded, .. } => {
                self.played.rewound += 1;
                if superseded && !(self.kind.forks && self.happened.was_cut.load(Relaxed)) {
                    return Err(self.seen.broken("promises are withdrawn, and there was no fork"));
                }
                self.seen.rewound(tick, last_output, superseded)?;
            }
            Event::Rejected { number, cause } => {
                return Err(self.seen.broken(&format!("message {number} is rejected: {cause}")));
            }
            Event::View(view) => {
                self.played.views += 1;
                self.seen.view(view.tick, view.committed_tick)?;
            }
            event => {
                self.seen.note(format_args!("{event:?}"));
                return Ok(event.is_last());
            }
        }
        Ok(false)
    }
}
