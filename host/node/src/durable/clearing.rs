//! What becomes of logs that were taken over: as soon as nobody needs anything of one any more, all of it but its seal is
//! deleted. That is so when every session of which it has something is over, in the store, or begins in another log, as
//! whoever leads it now began with it there ([`recovery::needs`]). First an object after the seal says so: whoever reads the
//! log meanwhile does not miss what is gone. What is damaged stays, for an operator may mend it, and so does what another
//! release has written.
//!
//! A run's logs are cleared by whoever took it over, and those that were sealed while it runs by the run itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringside_core::durable::LogName;
use ringside_core::durable::recovery::{self, Chain};
use ringside_core::ids::{Position, SessionId};
use tokio::time::Instant;

use super::recovery::{Logs, Recovery};
use crate::store::StoreError;

/// How long after a log was taken over it is first looked whether it can go: whoever leads its sessions now writes their
/// checkpoints meanwhile, and whoever was lost with it is named.
const FIRST: Duration = Duration::from_secs(10);
/// The longest pause between two looks; each is twice as long as the one before.
const SELDOM: Duration = Duration::from_secs(600);

/// Which logs are looked at, and when.
#[derive(Default)]
pub(super) struct Clearing {
    /// When next, and after what pause. None: nothing more is to be done.
    due: BTreeMap<LogName, Option<(Instant, Duration)>>,
}

impl Clearing {
    /// Those of `logs` that are due now.
    fn due(&mut self, logs: impl Iterator<Item = LogName>, now: Instant) -> Vec<LogName> {
        let logs: BTreeSet<LogName> = logs.collect();
        self.due.retain(|log, _| logs.contains(log));
        let mut due = Vec::new();
        for log in logs {
            match self.due.entry(log).or_insert(Some((now + FIRST, FIRST))) {
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
}

impl Recovery {
    /// Looks at logs that are due: of those that were taken over, and those of this run but its newest.
    pub(super) async fn clear_due(&self, clearing: &mut Clearing, logs: &[LogName], done: &BTreeSet<LogName>) {
        let own = logs.iter().filter(|log| log.run == self.me).max();
        let is_over = |log: &LogName| done.contains(log) || log.run == self.me && Some(log) != own;
        for name in clearing.due(logs.iter().copied().filter(is_over), Instant::now()) {
            match self.clear(name).await {
                Ok(true) => _ = clearing.due.insert(name, None),
                Ok(false) => {}
                Err(error) => tracing::warn!(log = %name, %error, "whether a log is needed is looked for again"),
            }
        }
    }

    /// Deletes all of a log but its seal, if nobody needs it. Whether nothing more is to be done about it.
    async fn clear(&self, name: LogName) -> Result<bool, StoreError> {
        let mut logs = Logs::default();
        self.read(&mut logs, name.run, false).await?;
        let Some((_, log)) = logs.of(name.run).find(|(other, _)| **other == name) else { return Ok(true) };
        if log.sealed_by().is_none() {
            return Ok(false);
        }
        let (seal, is_cleared) = (log.next_number() - 1, log.is_cleared());
        if !is_cleared && !log.is_whole() {
            tracing::warn!(log = %name, "a log stays in the store, for parts of it cannot be read");
            return Ok(true);
        }
        if !is_cleared {
            let named: Vec<SessionId> = log.named().into_iter().cloned().collect();
            for session in named {
                if self.needs(&mut logs, name, &session).await? {
                    tracing::debug!(log = %name, %session, "a log is needed for a session's sake");
                    return Ok(false);
                }
            }
            let clearance = recovery::clearance(name.run, seal + 1, crate::random::u64(), self.me);
            self.store.put_log(name, seal + 1, clearance).await?;
        }
        self.store.forget_log(name, seal).await?;
        if !is_cleared {
            tracing::info!(log = %name, "nobody needs the log of a run that is over any more: it is deleted, but for its seal");
        }
        Ok(true)
    }

    /// Whether a log is needed for a session's sake.
    async fn needs(&self, logs: &mut Logs, name: LogName, session: &SessionId) -> Result<bool, StoreError> {
        let newest = self.store.newest_record(session).await?;
        if !recovery::needs(newest.as_ref(), false) {
            return Ok(false);
        }
        let Some(record) = newest else { return Ok(false) };
        let leader = record.leader.node;
        self.read(logs, leader, false).await?;
        let begins = |log: &Chain| log.start(session, record.epoch, Position::MAX).is_some();
        let has_beginning = logs.of(leader).any(|(other, log)| *other != name && begins(log));
        Ok(recovery::needs(Some(&record), has_beginning))
    }
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{Node, NodeId};

    use super::*;

    #[test]
    fn a_log_is_looked_at_ever_more_seldom_until_it_is_done_with() {
        let log = |generation| LogName::first_of(Node { id: NodeId(1), generation });
        let (mut clearing, begun) = (Clearing::default(), Instant::now());
        let mut due = |logs: &[LogName], seconds| {
            clearing.due(logs.iter().copied(), begun + Duration::from_secs(seconds)).len()
        };
        assert_eq!((due(&[log(1), log(2)], 0), due(&[log(1), log(2)], 9), due(&[log(1), log(2)], 10)), (0, 0, 2));
        assert_eq!((due(&[log(1)], 29), due(&[log(1)], 30), due(&[log(1)], 30)), (0, 1, 0));
        assert_eq!(due(&[log(1)], 70), 1);
        // What is listed again is new.
        assert_eq!((due(&[log(1), log(2)], 79), due(&[log(2)], 89)), (0, 1));
        clearing.due.insert(log(2), None);
        assert_eq!(clearing.due([log(2)].into_iter(), begun + Duration::from_secs(10_000)), []);
    }
}
