//! Orders to leave the cluster, and how far that is. There is no queue of orders: the one that ends first is the only one
//! that counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{LeavingInfo, StuckSession};
use crate::limits::STUCK_SHOWN;

/// As long as a session left so lately, those that are left are not ended though the grace is over.
const PROGRESS: Duration = Duration::from_secs(10);

/// Until when the node's matches may go on, if it was told to leave, and how far that is; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    order: watch::Sender<Option<Instant>>,
    progress: Arc<Mutex<Progress>>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Sessions that it had when it was told.
    sessions: usize,
    /// Those that went to other nodes.
    moved: usize,
    last: Option<Instant>,
    /// Those that did not get away so far, and why.
    stuck: BTreeMap<String, String>,
}

impl Leaving {
    /// The node is to leave, when its matches are over or at the end of this grace. Answers how much of the grace there
    /// is: an earlier order that ends before this one still counts.
    pub fn order(&self, now: Instant, grace: Duration) -> Duration {
        let asked = now + grace;
        self.order.send_if_modified(|deadline| {
            let is_first = deadline.is_none_or(|deadline| asked < deadline);
            if is_first {
                *deadline = Some(asked);
            }
            is_first
        });
        self.order.borrow().map_or(grace, |deadline| deadline.saturating_duration_since(now))
    }

    /// Returns when the node is to leave.
    pub async fn ordered(&self) -> Instant {
        let mut orders = self.order.subscribe();
        match orders.wait_for(Option::is_some).await {
            Ok(deadline) => deadline.unwrap_or_else(Instant::now),
            // This value holds a sender: there is always one.
            Err(_) => std::future::pending().await,
        }
    }

    /// The node has so many sessions as it begins to leave.
    pub fn begin(&self, sessions: usize) {
        self.progress().sessions = sessions;
    }

    /// A session went to another node.
    pub(super) fn note_gone(&self, session: &str) {
        let mut progress = self.progress();
        progress.moved += 1;
        progress.last = Some(Instant::now());
        progress.stuck.remove(session);
    }

    /// A session did not get away.
    pub(super) fn note_stuck(&self, session: &str, why: String) {
        self.progress().stuck.insert(session.to_owned(), why);
    }

    /// Sessions that are not among those that are here any more are not stuck.
    pub(super) fn note_left(&self, is_here: impl Fn(&str) -> bool) {
        self.progress().stuck.retain(|session, _| is_here(session));
    }

    /// Whether sessions leave: what can still leave is not ended.
    pub fn is_moving(&self, now: Instant) -> bool {
        self.progress().last.is_some_and(|last| now < last + PROGRESS)
    }

    /// How far it is, if it leaves.
    pub fn show(&self) -> Option<LeavingInfo> {
        (*self.order.borrow())?;
        let progress = self.progress();
        let stuck = progress.stuck.iter().take(STUCK_SHOWN);
        let stuck = stuck.map(|(session, why)| StuckSession { session: session.clone(), why: why.clone() }).collect();
        Some(LeavingInfo { sessions: progress.sessions, moved: progress.moved, stuck })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the grace of the order that counts is over; now if there is none.
    pub fn deadline(&self) -> Instant {
        self.order.borrow().unwrap_or_else(Instant::now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_many_orders_the_one_that_ends_first_counts() {
        let (leaving, start) = (Leaving::default(), Instant::now());
        let minute = Duration::from_secs(60);
        assert_eq!(leaving.order(start, minute), minute);
        assert_eq!(leaving.ordered().await, start + minute);
        for _ in 0..1000 {
            assert_eq!(leaving.order(start, 10 * minute), minute, "a longer one changes nothing");
        }
        assert_eq!(leaving.order(start, minute / 2), minute / 2);
        assert_eq!(leaving.order(start + minute / 4, minute), minute / 4, "what is left of it");
        assert_eq!(leaving.order(start + minute, minute), Duration::ZERO);
        assert_eq!(leaving.deadline(), start + minute / 2);
    }

    #[tokio::test]
    async fn it_is_shown_how_far_it_is_and_what_stays() {
        let (leaving, start) = (Leaving::default(), Instant::now());
        assert_eq!(leaving.show(), None);
        leaving.order(start, Duration::ZERO);
        leaving.begin(3);
        leaving.note_stuck("a/1@1", "no room".to_owned());
        leaving.note_stuck("a/2@1", "no room".to_owned());
        assert!(!leaving.is_moving(start));
        leaving.note_gone("a/2@1");
        assert!(leaving.is_moving(start) && !leaving.is_moving(start + 2 * PROGRESS));
        let shown = leaving.show().expect("it leaves");
        assert_eq!((shown.sessions, shown.moved, shown.stuck.len()), (3, 1, 1));
        assert_eq!(shown.stuck[0].session, "a/1@1");
        leaving.note_left(|_| false);
        assert!(leaving.show().expect("it leaves").stuck.is_empty());
    }

    #[test]
    fn only_so_many_sessions_that_stay_are_shown() {
        let leaving = Leaving::default();
        leaving.order(Instant::now(), Duration::ZERO);
        (0..=STUCK_SHOWN).for_each(|number| leaving.note_stuck(&number.to_string(), String::new()));
        assert_eq!(leaving.show().expect("it leaves").stuck.len(), STUCK_SHOWN);
    }
}
