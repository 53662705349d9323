//! The one way in which this node gives sessions to others: in waves, so that those who take them keep up with the players
//! that come along ([`ringside_core::waves`]); the next goes when one of them is there. What they go for, and to whom, is
//! the occasion's to say: this node leaves ([`super::away`]), it is replaced (`crate::handover::giving`), or others are to
//! lead some of them from now on ([`super::rebalancing`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ringside_core::ids::Node;
use ringside_core::leadership::record::Motive;
use ringside_core::waves::Waves;
use tokio::time::Instant;

use super::Desk;
use super::moving::{self, Stuck};
use crate::api::Moved;
use crate::control::SessionName;

/// How long a session may take before it counts as not taken: it may be tried again, with another node.
const PATIENCE: Duration = Duration::from_secs(10);

/// What sessions are given away for.
pub(crate) trait Occasion {
    /// Where a session goes, and why; `None`: nowhere at present.
    async fn target(&mut self, desk: &Desk, session: &str, name: &SessionName) -> Option<(Node, Motive)>;

    /// It has been on its way for so long, and this is how the other node stands to it.
    fn waits(_desk: &Desk, _session: &str, _to: Node, _since: Duration, _why: &str) {}

    /// What became of it.
    async fn note(&mut self, desk: &Desk, session: &str, given: &Given);
}

/// What became of a session that was to go.
pub(crate) enum Given {
    /// It is there.
    There(Moved, Motive),
    /// It is here still, and why.
    NotTaken(Node, String),
    /// It is here still: nobody takes it.
    Nowhere,
    /// It ended meanwhile, or somebody else leads it.
    Vanished,
}

/// Gives sessions away; what it has measured of those who take them lasts as long as it does.
pub(crate) struct Giving {
    waves: Waves,
    began: Instant,
}

impl Giving {
    /// At most so many at a time.
    pub(crate) fn new(widest: usize) -> Giving {
        Giving { waves: Waves::new(widest), began: Instant::now() }
    }

    /// How many would go at a time now.
    pub(crate) fn width(&self) -> usize {
        self.waves.width()
    }

    /// Gives these; returns when each of them is there, or is not.
    pub(crate) async fn give(
        &mut self,
        desk: &Desk,
        sessions: impl IntoIterator<Item = String>,
        occasion: &mut impl Occasion,
    ) {
        let began = self.began;
        let now = || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut left = sessions.into_iter();
        let mut going = FuturesUnordered::new();
        loop {
            while self.waves.has_room()
                && let Some(session) = left.next()
            {
                let Ok(name) = session.parse::<SessionName>() else { continue };
                let to = occasion.target(desk, &session, &name).await;
                let ticket = self.waves.begin(now());
                let waits = waits_of(occasion);
                going.push(async move { (ticket, give_one(desk, &session, name, to, waits).await, session) });
            }
            let Some((ticket, given, session)) = going.next().await else { return };
            match &given {
                Given::There(..) => {
                    desk.moves.count(&given);
                    self.waves.arrived(now(), ticket);
                }
                Given::NotTaken(..) => {
                    desk.moves.count(&given);
                    self.waves.failed(now(), ticket);
                }
                Given::Nowhere | Given::Vanished => self.waves.vanished(ticket),
            }
            occasion.note(desk, &session, &given).await;
        }
    }
}

/// How an occasion says that a session waits.
type Waits = fn(&Desk, &str, Node, Duration, &str);

fn waits_of<O: Occasion>(_: &O) -> Waits {
    O::waits
}

async fn give_one(desk: &Desk, session: &str, name: SessionName, to: Option<(Node, Motive)>, waits: Waits) -> Given {
    let Some((to, motive)) = to else { return Given::Nowhere };
    let began = Instant::now();
    let is_here = |why: &str| waits(desk, session, to, began.elapsed(), why);
    match moving::from_here(desk, name, (to, motive), PATIENCE, is_here).await {
        Ok(moved) => Given::There(moved, motive),
        Err(Stuck::NotHere | Stuck::Elsewhere(_)) => Given::Vanished,
        Err(stuck) => Given::NotTaken(to, stuck.to_string(to)),
    }
}

/// What was given away so far, as it is counted.
#[derive(Debug, Default)]
pub struct Moves {
    ordered: AtomicU64,
    drained: AtomicU64,
    rebalanced: AtomicU64,
    relieved: AtomicU64,
    not_taken: AtomicU64,
}

impl Moves {
    fn count(&self, given: &Given) {
        let counter = match given {
            Given::There(_, Motive::Order) => &self.ordered,
            Given::There(_, Motive::Drain) => &self.drained,
            Given::There(_, Motive::Ring) => &self.rebalanced,
            Given::There(_, Motive::Load) => &self.relieved,
            Given::NotTaken(..) => &self.not_taken,
            Given::Nowhere | Given::Vanished => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Name and value of each counter.
    pub fn counted(&self) -> [(&'static str, u64); 5] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("ringside_sessions_handed_over_total", read(&self.ordered)),
            ("ringside_sessions_drained_total", read(&self.drained)),
            ("ringside_sessions_rebalanced_total", read(&self.rebalanced)),
            ("ringside_sessions_relieved_total", read(&self.relieved)),
            ("ringside_sessions_not_taken_total", read(&self.not_taken)),
        ]
    }
}
