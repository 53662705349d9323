//! Sessions that nobody leads: the state of each, under its name and after which entry it is, and the index of their
//! timers. What they mean is `ringside_core::idle`'s to say.

use std::collections::BTreeSet;
use std::ops::RangeBounds;

use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use ringside_core::idle::due::Due;
use ringside_core::idle::evicted::{self, Evicted, EvictedError};
use ringside_core::ids::{GameName, Incarnation, SessionId, SessionKey};
use ringside_core::leadership::record::Record;

use super::{Store, StoreError};

impl Store {
    /// Keeps the state of a session that is about to be evicted. One that is there is the same.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn put_evicted(&self, evicted: &Evicted) -> Result<(), StoreError> {
        let path = session_path(&evicted.checkpoint.session).join(evicted.name());
        // The same epoch and entry have the same state; the time at which it fell asleep is the later one's.
        self.objects.put(&path, evicted.encode().into()).await?;
        Ok(())
    }

    /// The session of a key that nobody leads and that is to go on when somebody asks for it, with the record that says so.
    ///
    /// # Errors
    /// [`StoreError`]; [`NotActivated::Lost`] names a session whose state is damaged or missing.
    pub async fn asleep(&self, game: &GameName, key: &SessionKey) -> Result<Option<(Evicted, Record)>, NotActivated> {
        let prefix = ObjectPath::from("evicted").join(game.as_str()).join(key.as_str());
        for session in self.evicted_below(&prefix).await? {
            let Some(record) = self.newest_record(&session).await? else { continue };
            let Some(name) = evicted::name_by(&record) else { continue };
            return match self.evicted(&session, &name).await {
                Ok(evicted) => Ok(Some((evicted, record))),
                Err(error @ (StoreError::Damaged { .. } | StoreError::Missing(_))) => {
                    Err(NotActivated::Lost(Box::new(record), error.to_string()))
                }
                Err(error) => Err(error.into()),
            };
        }
        Ok(None)
    }

    /// Whether the store has the state of any session of a game.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn has_evicted(&self, game: &GameName) -> Result<bool, StoreError> {
        let listed = self.objects.list_with_delimiter(Some(&ObjectPath::from("evicted").join(game.as_str()))).await?;
        Ok(!listed.common_prefixes.is_empty())
    }

    /// The states of a session that the store has, of which the newest need not count.
    ///
    /// # Errors
    /// [`StoreError::Backend`], [`StoreError::OtherRelease`].
    pub async fn states_of(&self, session: &SessionId) -> Result<Vec<Evicted>, StoreError> {
        let mut states = Vec::new();
        for path in self.names(&session_path(session)).await? {
            if let Some(bytes) = self.get(&path).await? {
                match Evicted::decode(&bytes) {
                    Ok(evicted) => states.push(evicted),
                    Err(error @ EvictedError::OtherRelease { .. }) => return Err(of_other_release(&path, &error)),
                    Err(error) => tracing::error!(%path, %error, "the state of a session is damaged"),
                }
            }
        }
        Ok(states)
    }

    /// All sessions that nobody leads, at most so many: which, and until when each sleeps at most, µs since 1970. Whether that
    /// is all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_asleep(&self, most: usize) -> Result<(Vec<(Evicted, Record)>, bool), StoreError> {
        let mut found = Vec::new();
        for session in self.evicted_below(&ObjectPath::from("evicted")).await? {
            if found.len() >= most {
                return Ok((found, false));
            }
            let Some(record) = self.newest_record(&session).await? else { continue };
            let Some(name) = evicted::name_by(&record) else { continue };
            match self.evicted(&session, &name).await {
                Ok(evicted) => found.push((evicted, record)),
                Err(
                    error @ (StoreError::Damaged { .. } | StoreError::OtherRelease { .. } | StoreError::Missing(_)),
                ) => {
                    tracing::error!(%session, %error, "an evicted session cannot go on");
                }
                Err(error) => return Err(error),
            }
        }
        Ok((found, true))
    }

    /// Deletes what the store has of a session's states with names in a range: older ones come before newer ones.
    ///
    /// # Errors
    /// [`StoreError::Backend`]: some may be left.
    pub async fn forget_evicted(&self, session: &SessionId, names: impl RangeBounds<String>) -> Result<(), StoreError> {
        for path in self.names(&session_path(session)).await? {
            if path.filename().is_some_and(|name| names.contains(&name.to_owned())) {
                self.delete(&path).await?;
            }
        }
        Ok(())
    }

    /// Notes when a timer of a session is due that is about to be evicted.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn put_due(&self, due: &Due) -> Result<(), StoreError> {
        self.objects.put(&due_path(due), bytes::Bytes::new().into()).await?;
        Ok(())
    }

    /// The timers of a shard: of one minute, or of all up to that one.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn due(&self, shard: u8, minute: u64, all: bool) -> Result<Vec<Due>, StoreError> {
        let prefix = ObjectPath::from("due").join(format!("{shard:02}"));
        let minutes = match all {
            false => vec![prefix.join(format!("{minute:012}"))],
            true => {
                let listed = self.objects.list_with_delimiter(Some(&prefix)).await?;
                let is_past = |path: &ObjectPath| {
                    path.filename().and_then(|name| name.parse::<u64>().ok()).is_some_and(|its| its <= minute)
                };
                listed.common_prefixes.into_iter().filter(is_past).collect()
            }
        };
        let mut due = Vec::new();
        for minute in minutes {
            due.extend(self.names(&minute).await?.iter().filter_map(|path| Due::of_name(path.filename()?)));
        }
        Ok(due)
    }

    /// Takes a timer out of the index.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn forget_due(&self, due: &Due) -> Result<(), StoreError> {
        self.delete(&due_path(due)).await
    }

    async fn evicted(&self, session: &SessionId, name: &str) -> Result<Evicted, StoreError> {
        let path = session_path(session).join(name);
        let missing = || StoreError::Missing(format!("object {path}"));
        let bytes = self.get(&path).await?.ok_or_else(missing)?;
        let damaged = |what: String| StoreError::Damaged { name: path.to_string(), what };
        let evicted = Evicted::decode(&bytes).map_err(|error| match error {
            EvictedError::OtherRelease { .. } => of_other_release(&path, &error),
            error => damaged(error.to_string()),
        })?;
        match (&evicted.checkpoint.session, evicted.name().as_str()) == (session, name) {
            true => Ok(evicted),
            false => Err(damaged(format!("it is {} of {}", evicted.name(), evicted.checkpoint.session))),
        }
    }

    /// Sessions of which the store has states; lists may lag behind, so which states is not said.
    async fn evicted_below(&self, prefix: &ObjectPath) -> Result<BTreeSet<SessionId>, StoreError> {
        let mut found = BTreeSet::new();
        for path in self.names(prefix).await? {
            let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_owned()).collect();
            let [_, game, key, incarnation, _] = &parts[..] else { continue };
            found.extend(format!("{game}/{key}@{incarnation}").parse::<SessionId>());
        }
        Ok(found)
    }
}

/// Why a session does not go on that nobody leads.
#[derive(Debug, thiserror::Error)]
pub enum NotActivated {
    /// The store failed: again later.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its state is gone that this record speaks of; unless somebody leads it by now.
    #[error("{session} was evicted and cannot go on: {1}", session = .0.session)]
    Lost(Box<Record>, String),
}

fn of_other_release(path: &ObjectPath, error: &EvictedError) -> StoreError {
    StoreError::OtherRelease { name: path.to_string(), what: error.to_string() }
}

fn session_path(session: &SessionId) -> ObjectPath {
    let SessionId { game, key, incarnation: Incarnation(incarnation) } = session;
    ObjectPath::from("evicted").join(game.as_str()).join(key.as_str()).join(format!("{incarnation:016x}"))
}

fn due_path(due: &Due) -> ObjectPath {
    due.path().into_iter().fold(ObjectPath::from("due"), |path, part| path.join(part))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringside_core::durable::object::Checkpoint;
    use ringside_core::ids::{Node, NodeId, WorkerId};
    use ringside_core::leadership::record::{Cause, Member};

    use super::*;

    fn first() -> Record {
        let leader = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
        Record::first("lobby/a@0000000000000001".parse().unwrap(), leader)
    }

    fn state(record: &Record, position: u64) -> Evicted {
        let checkpoint = Checkpoint {
            session: record.session.clone(),
            epoch: record.epoch,
            position,
            lineage: record.lineage.clone(),
            beside: Bytes::new(),
            state: Bytes::from("state"),
        };
        Evicted { charter: Bytes::new(), checkpoint, at_us: 5, due_us: None }
    }

    async fn asleep(store: &Store) -> Option<Evicted> {
        let first = first();
        store.asleep(&first.session.game, &first.session.key).await.unwrap().map(|(evicted, _)| evicted)
    }

    #[tokio::test]
    async fn a_state_counts_only_by_the_newest_record() {
        let store = Store::memory();
        let first = first();
        let resting = first.with_set([].into(), 7, Cause::Evicted);
        store.put_record(&first).await.unwrap();
        store.put_evicted(&state(&first, 7)).await.unwrap();
        assert_eq!(asleep(&store).await, None, "it is led");
        store.put_record(&resting).await.unwrap();
        assert_eq!(asleep(&store).await, Some(state(&first, 7)));
        assert_eq!(store.all_asleep(9).await.unwrap(), (vec![(state(&first, 7), resting.clone())], true));
        assert_eq!(store.all_asleep(0).await.unwrap(), (vec![], false));
        let home = ringside_core::leadership::record::ChainHome::Log;
        let me = first.leader;
        let active = resting.succeeded(me, me.epoch_after(1), [].into(), 7, (Cause::Activated, home));
        store.put_record(&active).await.unwrap();
        assert_eq!(asleep(&store).await, None, "it is led again");
        assert_eq!(store.states_of(&first.session).await.unwrap(), [state(&first, 7)]);
        let later = state(&active, 9);
        store.put_evicted(&later).await.unwrap();
        // Who activated it from the first cleans up late: it was evicted again since.
        store.forget_evicted(&first.session, ..=state(&first, 7).name()).await.unwrap();
        assert_eq!(store.states_of(&first.session).await.unwrap(), std::slice::from_ref(&later));
        store.forget_evicted(&first.session, ..later.name()).await.unwrap();
        assert_eq!(store.states_of(&first.session).await.unwrap(), [later]);
        store.forget_evicted(&first.session, ..).await.unwrap();
        assert_eq!(store.states_of(&first.session).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_state_that_is_damaged_or_missing_is_named() {
        let store = Store::memory();
        let first = first();
        store.put_record(&first.with_set([].into(), 7, Cause::Evicted)).await.unwrap();
        store.put_evicted(&state(&first, 6)).await.unwrap();
        let SessionId { game, key, .. } = first.session.clone();
        let error = store.asleep(&game, &key).await.unwrap_err().to_string();
        assert!(error.contains("there is no object evicted/lobby/a/0000000000000001/"), "{error}");
        let path = session_path(&first.session).join(state(&first, 7).name());
        store.objects.put(&path, Bytes::from("rubbish").into()).await.unwrap();
        let error = store.asleep(&game, &key).await.unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        store.objects.put(&path, state(&first, 6).encode().into()).await.unwrap();
        let error = store.asleep(&game, &key).await.unwrap_err().to_string();
        assert!(error.contains("it is 000000000001-"), "{error}");
    }

    #[tokio::test]
    async fn a_state_of_another_release_is_not_lost() {
        use ringside_core::envelope::{self, Kind};

        let store = Store::memory();
        let first = first();
        store.put_record(&first.with_set([].into(), 7, Cause::Evicted)).await.unwrap();
        let path = session_path(&first.session).join(state(&first, 7).name());
        let other = envelope::seal(Kind::EvictedSession, evicted::FORMAT + 1, b"who knows");
        store.objects.put(&path, Bytes::from(other).into()).await.unwrap();
        let SessionId { game, key, .. } = first.session.clone();
        let error = store.asleep(&game, &key).await.unwrap_err();
        assert!(matches!(error, NotActivated::Store(StoreError::OtherRelease { .. })), "{error}");
        assert!(error.to_string().contains("it has format 2, this node reads 1"), "{error}");
        assert!(store.states_of(&first.session).await.is_err(), "nothing older is taken for the newest");
        assert_eq!(store.all_asleep(9).await.unwrap(), (vec![], true));
    }

    #[tokio::test]
    async fn timers_are_listed_by_shard_and_minute() {
        let store = Store::memory();
        let due = |minute: u64| Due { at_us: minute * 60_000_000 + 1, session: first().session };
        let shard = due(1).shard();
        for minute in [10, 12, 11] {
            store.put_due(&due(minute)).await.unwrap();
        }
        assert_eq!(store.due(shard, 12, false).await.unwrap(), [due(12)]);
        assert_eq!(store.due(shard, 11, true).await.unwrap(), [due(10), due(11)]);
        assert_eq!(store.due((shard + 1) % 16, 99, true).await.unwrap(), []);
        store.forget_due(&due(11)).await.unwrap();
        store.forget_due(&due(11)).await.unwrap();
        assert_eq!(store.due(shard, 99, true).await.unwrap(), [due(10), due(12)]);
    }
}
