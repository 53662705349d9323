//! Orders to hand over, one at a time, and how far the last one is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::api::UpgradeInfo;

/// What an order came to, as it is shown.
pub mod phase {
    /// The successor is started and has not said what it is.
    pub const STARTING: &str = "starting";
    /// It compiles the games and starts its workers.
    pub const LOADING: &str = "loading";
    /// Sessions go there.
    pub const MOVING: &str = "moving";
    /// It has all of them, and gets the sockets.
    pub const TAKING: &str = "taking";
    /// It is the node. Whoever says so is about to end.
    pub const DONE: &str = "done";
    /// It was abandoned: the node goes on as it was.
    pub const ABANDONED: &str = "abandoned";
}

/// Orders to hand over; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Upgrades(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    ordered: Option<PathBuf>,
    shown: Option<UpgradeInfo>,
}

impl Upgrades {
    /// The process before was to give everything to this one, and ended in the middle of that.
    pub fn cut_short(&self) {
        let why = "the process before ended in the middle of it, and what it still led is lost unless others follow it or it is \
                   durable";
        let (phase, why) = (phase::DONE.to_owned(), Some(why.to_owned()));
        self.state().shown = Some(UpgradeInfo { phase, why, ..UpgradeInfo::default() });
    }

    /// The node is to be handed over to a run of this program. Whether it is: one at a time, and none while `is_busy` says that
    /// the node is about something else.
    pub fn order(&self, binary: PathBuf, is_busy: impl FnOnce() -> bool) -> bool {
        let mut state = self.state();
        if is_under_way(&state) || is_busy() {
            return false;
        }
        let info = UpgradeInfo { binary: binary.display().to_string(), ..UpgradeInfo::default() };
        state.shown = Some(UpgradeInfo { phase: phase::STARTING.to_owned(), ..info });
        state.ordered = Some(binary);
        drop(state);
        self.0.news.notify_one();
        true
    }

    /// Returns when there is an order.
    pub async fn ordered(&self) -> PathBuf {
        loop {
            if let Some(binary) = self.state().ordered.take() {
                return binary;
            }
            self.0.news.notified().await;
        }
    }

    /// Does something unless the node is being handed over; no order to do that comes between.
    pub fn unless_under_way<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        (!is_under_way(&state)).then(act)
    }

    /// How far the last order is.
    pub fn show(&self) -> Option<UpgradeInfo> {
        self.state().shown.clone()
    }

    /// Something has changed.
    pub fn note(&self, change: impl FnOnce(&mut UpgradeInfo)) {
        if let Some(shown) = &mut self.state().shown {
            change(shown);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_under_way(state: &State) -> bool {
    state.shown.as_ref().is_some_and(|shown| ![phase::DONE, phase::ABANDONED].contains(&shown.phase.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_order_at_a_time_is_obeyed() {
        let upgrades = Upgrades::default();
        assert_eq!(upgrades.unless_under_way(|| 1), Some(1));
        assert!(!upgrades.order("/new".into(), || true) && upgrades.show().is_none(), "it leaves");
        assert!(upgrades.order("/new".into(), || false));
        assert!(!upgrades.order("/other".into(), || false), "one is under way");
        assert_eq!(upgrades.unless_under_way(|| 1), None);
        assert_eq!(upgrades.ordered().await, PathBuf::from("/new"));
        upgrades.note(|shown| shown.phase = phase::ABANDONED.to_owned());
        assert!(upgrades.order("/other".into(), || false));
        assert_eq!(upgrades.ordered().await, PathBuf::from("/other"));
        assert_eq!(upgrades.show().map(|shown| shown.binary), Some("/other".to_owned()));
    }
}
