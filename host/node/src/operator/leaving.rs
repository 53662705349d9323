//! Orders to leave the cluster. There is no queue of them: the one that ends first is the only one that counts.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Until when the node's matches may go on, if it was told to leave; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Leaving(watch::Sender<Option<Instant>>);

impl Leaving {
    /// The node is to leave, when its matches are over or at the end of this grace. Answers how much of the grace there
    /// is: an earlier order that ends before this one still counts.
    pub fn order(&self, now: Instant, grace: Duration) -> Duration {
        let asked = now + grace;
        self.0.send_if_modified(|deadline| {
            let is_first = deadline.is_none_or(|deadline| asked < deadline);
            if is_first {
                *deadline = Some(asked);
            }
            is_first
        });
        self.0.borrow().map_or(grace, |deadline| deadline.saturating_duration_since(now))
    }

    /// Returns when the node is to leave.
    pub async fn ordered(&self) -> Instant {
        let mut orders = self.0.subscribe();
        match orders.wait_for(Option::is_some).await {
            Ok(deadline) => deadline.unwrap_or_else(Instant::now),
            // This value holds a sender: there is always one.
            Err(_) => std::future::pending().await,
        }
    }

    /// When the grace of the order that counts is over; now if there is none.
    pub fn deadline(&self) -> Instant {
        self.0.borrow().unwrap_or_else(Instant::now)
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
}
