//! What becomes of logs that were taken over: as soon as nobody needs anything of one any more, all of it but its seal is
//! deleted. That is so when every session of which it has something is over, in the store, or begins in another log, as
//! whoever leads it now began with it there ([`recovery::needs`]). First an object after the seal says so: whoever reads the
//! log meanwhile does not miss what is gone. What is damaged stays, for an operator may mend it, and so does what another
//! release has written.
//!
//! A run's logs are cleared by whoever took it over, and those that were sealed while it runs by the run itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringside_core::durable::LogName;
use ringside_core::durable::recovery::{self, Chain};
use ringside_core::ids::{Node, SessionId};
use tokio::time::Instant;

use super::logs::Logs;
use crate::store::{Store, StoreError};

/// How often it is looked which logs are due.
const LOOK: Duration = Duration::from_secs(2);
/// How long after a log was taken over it is first looked whether it can go: whoever leads its sessions now writes their
/// checkpoints meanwhile, and whoever was lost with it is named.
const FIRST: Duration = Duration::from_secs(10);
/// The longest pause between two looks; each is twice as long as the one before.
const SELDOM: Duration = Duration::from_secs(600);

/// Logs with which recovery is done.
#[derive(Default, Clone)]
pub(super) struct Finished {
    /// For what was in them goes on, or is over.
    pub taken_over: BTreeSet<LogName>,
    /// For nothing is in them any more.
    pub cleared: BTreeSet<LogName>,
}

impl Finished {
    pub fn has(&self, log: &LogName) -> bool {
        self.taken_over.contains(log) || self.cleared.contains(log)
    }
}

pub(super) type Done = Arc<Mutex<Finished>>;

/// What clears logs.
pub(super) struct Clearing {
    pub me: Node,
    pub store: Store,
    pub done: Done,
}

impl Clearing {
    /// Clears what is to be cleared, for as long as the node runs.
    pub async fn run(self) {
        let mut due = Due::default();
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(logs) = self.store.logs().await else { continue };
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let own = logs.iter().filter(|log| log.run == self.me).max();
            let is_over = |log: &LogName| done.taken_over.contains(log) || log.run == self.me && Some(log) != own;
            let mut read = Logs::new(self.store.clone());
            for name in due.at(Instant::now(), logs.iter().copied().filter(is_over)) {
                match self.clear(&mut read, name).await {
                    Ok(true) => due.end(name),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(log = %name, %error, "whether a log is needed is looked for again"),
                }
            }
        }
    }

    /// Deletes all of a log but its seal, if nobody needs it. Whether nothing more is to be done about it.
    async fn clear(&self, logs: &mut Logs, name: LogName) -> Result<bool, StoreError> {
        logs.forget(name.run);
        logs.read(name.run, None).await?;
        let Some((_, log)) = logs.of(name.run).find(|(other, _)| **other == name) else { return Ok(true) };
        if log.sealed_by().is_none() {
            return Ok(false);
        }
        let (seal, is_cleared) = (log.next_number() - 1, log.is_cleared());
        if is_cleared {
            self.store.forget_log(name, seal).await?;
            return Ok(true);
        }
        if !log.is_whole() {
            tracing::warn!(log = %name, "a log stays in the store, for parts of it cannot be read");
            return Ok(true);
        }
        if self.is_needed(logs, name).await? {
            return Ok(false);
        }
        let clearance = recovery::clearance(name.run, seal + 1, crate::random::u64(), self.me);
        self.store.put_log(name, seal + 1, clearance).await?;
        let found = self.store.log_object(name, seal + 1).await?;
        if !found.is_some_and(|bytes| recovery::is_clearance(name.run, seal + 1, &bytes)) {
            tracing::warn!(log = %name, "a log stays in the store, for what is behind its seal cannot be read");
            return Ok(true);
        }
        self.store.forget_log(name, seal).await?;
        tracing::info!(log = %name, "nobody needs the log of a run that is over any more: it is deleted, but for its seal");
        Ok(true)
    }

    async fn is_needed(&self, logs: &mut Logs, name: LogName) -> Result<bool, StoreError> {
        let of = |sessions: BTreeSet<&SessionId>| sessions.into_iter().cloned().collect::<Vec<_>>();
        let named = |log: &Chain| (of(log.ended().collect()), of(log.durable()));
        let Some((ended, durable)) = logs.of(name.run).find(|(other, _)| **other == name).map(|(_, log)| named(log))
        else {
            return Ok(true);
        };
        for session in ended {
            // The store may have been away when that was to be noted.
            self.store.end_chain(&session, Some(name.run)).await?;
        }
        for session in durable {
            if logs.needs(name, &session).await? {
                tracing::debug!(log = %name, %session, "a log is needed for a session's sake");
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Which logs are looked at, and when.
#[derive(Default)]
struct Due {
    /// When next, and after what pause. None: nothing more is to be done.
    at: BTreeMap<LogName, Option<(Instant, Duration)>>,
}

impl Due {
    /// Those of `logs` that are due now.
    fn at(&mut self, now: Instant, logs: impl Iterator<Item = LogName>) -> Vec<LogName> {
        let logs: BTreeSet<LogName> = logs.collect();
        self.at.retain(|log, _| logs.contains(log));
        let mut due = Vec::new();
        for log in logs {
            match self.at.entry(log).or_insert(Some((now + FIRST, FIRST))) {
                Some((at, pause)) if *at <= now => {
                    *pause = (*pause * 2).min(SELDOM);
                    *at = now + *pause;
                    due.push(log);
                }
                _ => {}
            }
        }
        due
    }

    fn end(&mut self, log: LogName) {
        self.at.insert(log, None);
    }
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::NodeId;

    use super::*;

    #[test]
    fn a_log_is_looked_at_ever_more_seldom_until_it_is_done_with() {
        let log = |generation| LogName::first_of(Node { id: NodeId(1), generation });
        let (mut all, begun) = (Due::default(), Instant::now());
        let mut due =
            |logs: &[LogName], seconds| all.at(begun + Duration::from_secs(seconds), logs.iter().copied()).len();
        assert_eq!((due(&[log(1), log(2)], 0), due(&[log(1), log(2)], 9), due(&[log(1), log(2)], 10)), (0, 0, 2));
        assert_eq!((due(&[log(1)], 29), due(&[log(1)], 30), due(&[log(1)], 30)), (0, 1, 0));
        assert_eq!(due(&[log(1)], 70), 1);
        // What is listed again is new.
        assert_eq!((due(&[log(1), log(2)], 79), due(&[log(2)], 89)), (0, 1));
        all.end(log(2));
        assert_eq!(all.at(begun + Duration::from_secs(10_000), [log(2)].into_iter()), []);
    }
}
