//! Logs of runs, as they are in the store: read whole, and sealed by who takes them over.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};
use ringside_core::durable::LogName;
use ringside_core::durable::recovery::{self, Chain, Start};
use ringside_core::ids::{Epoch, Node, Position, SessionId};
use ringside_core::leadership::record::Record;

use crate::store::{Store, StoreError};

/// Objects of a log that are asked for at a time: a bucket takes tens of milliseconds for each, and a log has a thousand.
const READ_AHEAD: usize = 8;
/// How often a log is read that changes meanwhile before that is put off.
const TRIES: usize = 4;

/// Logs that were read.
pub(super) struct Logs {
    store: Store,
    by_name: BTreeMap<LogName, Chain>,
    /// Checkpoints that say what they are not: logs are read as if they had never been.
    useless: BTreeSet<(SessionId, Epoch, Position)>,
}

impl Logs {
    /// None yet.
    pub fn new(store: Store) -> Logs {
        Logs { store, by_name: BTreeMap::new(), useless: BTreeSet::new() }
    }

    /// Those of a run, oldest first.
    pub fn of(&self, run: Node) -> impl DoubleEndedIterator<Item = (&LogName, &Chain)> {
        self.by_name.iter().filter(move |(name, _)| name.run == run)
    }

    pub fn newest(&self, run: Node) -> Option<(&LogName, &Chain)> {
        self.of(run).next_back()
    }

    fn is_sealed(&self, run: Node) -> bool {
        self.newest(run).is_some_and(|(_, log)| log.sealed_by().is_some())
    }

    pub fn forget(&mut self, run: Node) {
        self.by_name.retain(|name, _| name.run != run);
    }

    /// From where a session goes on by what the logs of an epoch's run have of that epoch.
    pub fn start(&self, session: &SessionId, epoch: Epoch, last: Position) -> Option<Start> {
        let found = self.of(Node::of_epoch(epoch)).filter_map(|(_, log)| log.start(session, epoch, last));
        found.max_by_key(|start| start.end)
    }

    /// A checkpoint is of no use: whatever was read is read again without it.
    pub fn distrust(&mut self, session: &SessionId, epoch: Epoch, position: Position) {
        self.useless.insert((session.clone(), epoch, position));
        self.by_name.clear();
    }

    pub fn is_distrusted(&self, session: &SessionId, epoch: Epoch, position: Position) -> bool {
        self.useless.contains(&(session.clone(), epoch, position))
    }

    /// Reads a run's logs, and has the newest sealed by a node if one is named.
    pub async fn read(&mut self, run: Node, sealed_by: Option<Node>) -> Result<(), StoreError> {
        if self.newest(run).is_some() && (sealed_by.is_none() || self.is_sealed(run)) {
            return Ok(());
        }
        let mut names: Vec<LogName> = self.store.logs().await?.into_iter().filter(|name| name.run == run).collect();
        if names.is_empty() {
            names.push(LogName::first_of(run));
        }
        let newest = names.last().copied();
        for name in names {
            let chain = self.read_one(name, sealed_by.filter(|_| Some(name) == newest)).await?;
            self.by_name.insert(name, chain);
        }
        Ok(())
    }

    /// Reads a log, as often as it changes so much meanwhile that it has to be read anew.
    async fn read_one(&self, name: LogName, sealed_by: Option<Node>) -> Result<Chain, StoreError> {
        for _ in 0..TRIES {
            if let Some(chain) = self.try_to_read(name, sealed_by).await? {
                return Ok(chain);
            }
        }
        Err(StoreError::Missing(format!("log of node {name} that stands still for long enough to be read")))
    }

    /// The same, once: none if objects were deleted meanwhile, or a seal was made where some had been.
    async fn try_to_read(&self, name: LogName, sealed_by: Option<Node>) -> Result<Option<Chain>, StoreError> {
        let run = name.run;
        let mut chain = Chain::beginning(name.first, self.useless.clone());
        let numbers = self.store.log_numbers(name).await?;
        let read = |number| async move { (number, self.store.log_object(name, number).await) };
        let mut reads = stream::iter(numbers.into_iter().map(read)).buffered(READ_AHEAD);
        let mut gone = Vec::new();
        while let Some((number, read)) = reads.next().await {
            match read? {
                Some(bytes) => chain.handle_object(run, number, &bytes),
                None => gone.push(number),
            }
        }
        drop(reads);
        // What is gone since it was listed is not needed where later objects say so; there must be some.
        let is_missed = |number: &u64| {
            *number >= chain.next_number() || chain.damage().any(|damage| (damage.first..=damage.last).contains(number))
        };
        if gone.iter().any(is_missed) {
            return Ok(None);
        }
        while let Some(by) = sealed_by.filter(|_| chain.sealed_by().is_none()) {
            let number = chain.next_number();
            let object = recovery::seal(run, number, crate::random::u64(), by);
            let is_made = self.store.put_log(name, number, object).await?;
            let newest = self.store.log_numbers(name).await?.last().copied();
            if is_made && newest.is_some_and(|newest| newest > number) {
                // The run has written on, and deleted what was there: this seals nothing.
                self.store.delete_log_object(name, number).await?;
                return Ok(None);
            }
            // Whatever is there now, this node's seal or not.
            if let Some(bytes) = self.store.log_object(name, number).await? {
                chain.handle_object(run, number, &bytes);
            }
        }
        Ok(Some(chain))
    }

    /// Whether a log is needed for a session's sake.
    pub async fn needs(&mut self, name: LogName, session: &SessionId) -> Result<bool, StoreError> {
        let newest = self.store.newest_record(session).await?;
        if !recovery::needs(newest.as_ref(), false) {
            return Ok(false);
        }
        let Some(Record { leader, epoch, lineage, .. }) = newest.as_ref() else { return Ok(false) };
        self.read(leader.node, None).await?;
        let first = lineage.terms().last().map_or(1, |term| term.first);
        // Of one epoch the first things may be in the next log already where a run begins that before its workers know.
        let start = |log: &Chain| log.start(session, *epoch, Position::MAX);
        let here = self.by_name.get(&name).and_then(start).map_or(0, |start| start.end);
        let begins = |log: &Chain| start(log).is_some_and(|start| start.begins(first) && start.end >= here);
        let has_beginning = self.of(leader.node).any(|(other, log)| *other != name && begins(log));
        Ok(recovery::needs(newest.as_ref(), has_beginning))
    }

    /// Of logs, those that hold nothing any more.
    pub async fn cleared(store: &Store, names: Vec<LogName>) -> Vec<LogName> {
        let is_cleared = |name: LogName| async move {
            let numbers = store.log_numbers(name).await.ok()?;
            let last = *numbers.last().filter(|_| numbers.len() == 2)?;
            let bytes = store.log_object(name, last).await.ok()??;
            recovery::is_clearance(name.run, last, &bytes).then_some(name)
        };
        let looked = stream::iter(names.into_iter().map(is_cleared)).buffered(READ_AHEAD);
        looked.filter_map(std::future::ready).collect().await
    }
}
