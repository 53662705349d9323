//! A session's leadership records: one chain of numbered objects a session, each made by conditional create. What they
//! mean, and who may make the next, is `ringside_core::leadership`'s to say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use ringside_core::envelope::{self, Kind};
use ringside_core::ids::{Incarnation, Node, SessionId};
use ringside_core::leadership::record::{Cause, Record};
use tokio::sync::SemaphorePermit;

use super::{Store, StoreError};

/// Format of a record's payload.
const RECORD_FORMAT: u16 = 1;
/// Largest payload of a record, bytes: 64 terms of a lineage and 7 followers take under 4 KiB.
const RECORD_BYTES: usize = 16 << 10;
/// How long after a try that the store has not settled the next is.
const SETTLE_AGAIN: Duration = Duration::from_millis(250);
/// The longest such pause.
const SETTLE_SELDOM: Duration = Duration::from_secs(4);
/// How long after somebody else has made a number the next is tried.
const END_AGAIN: Duration = Duration::from_millis(50);

impl Store {
    /// Makes a record's number in its chain. False if there is one of that number. What is older than the newest record and the
    /// one before it is deleted, but for the first: nobody may begin a chain that was begun.
    ///
    /// That a number was made does not say that the record is the newest: whoever slept long enough makes one that was deleted.
    /// So whoever makes any but the first looks for the newest after that ([`Store::try_record`], or
    /// `ringside_core::leadership::chain`).
    ///
    /// # Errors
    /// [`StoreError::Backend`]: the record may be there all the same.
    pub async fn put_record(&self, record: &Record) -> Result<bool, StoreError> {
        // Plain data into memory always serializes.
        let payload = postcard::to_stdvec(record).unwrap_or_default();
        let object = envelope::seal(Kind::LeadershipRecord, RECORD_FORMAT, &payload);
        let place = self.record_place().await;
        let is_made = self.create(&record_path(&record.session, record.number), object.into()).await?;
        drop(place);
        // Nobody waits for that; where many are made at a time some are left until the next is.
        if is_made
            && record.number > 3
            && let Ok(place) = Arc::clone(&self.cleaning).try_acquire_owned()
        {
            let (store, session) = (self.clone(), record.session.clone());
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = store.forget_records(&session).await {
                    tracing::debug!(%session, %error, "old records stay until the next one is made");
                }
            });
        }
        Ok(is_made)
    }

    /// Makes a record's number in its chain. Whether the record is the newest of its chain then.
    ///
    /// # Errors
    /// [`StoreError`]: what became of it is not known, for an error may hide a success. A record that was made and by which
    /// nobody leads is one by which nobody ever does: [`Store::settle_record`].
    pub async fn try_record(&self, record: &Record) -> Result<bool, StoreError> {
        let put = self.put_record(record).await;
        match self.newest_record(&record.session).await? {
            Some(newest) if newest.number >= record.number => Ok(newest == *record),
            // It is not there, or not yet.
            _ => Err(put
                .err()
                .unwrap_or_else(|| StoreError::Missing(format!("the record that was made of {}", record.session)))),
        }
    }

    /// The same, again and again until the store has said what became of the record: it may take as long as the store is away.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]: the newest record cannot be read.
    pub async fn settle_record(&self, record: &Record) -> Result<bool, StoreError> {
        let mut pause = SETTLE_AGAIN;
        loop {
            match self.try_record(record).await {
                Err(error) if !matches!(error, StoreError::Damaged { .. }) => {
                    tracing::warn!(session = %record.session, %error, "a leadership record is made again");
                }
                settled => return settled,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SETTLE_SELDOM);
        }
    }

    /// Ends a chain, unless it has ended. Whether it has: where `by` is given not if another run leads by its newest record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_chain(&self, session: &SessionId, by: Option<Node>) -> Result<bool, StoreError> {
        loop {
            let newest = self.newest_record(session).await?.filter(|newest| newest.cause != Cause::Ended);
            let Some(newest) = newest else { return Ok(true) };
            if by.is_some_and(|by| newest.leader.node != by) {
                return Ok(false);
            }
            if self.try_record(&newest.ended(newest.position)).await? {
                return Ok(true);
            }
            // Somebody has made another; lists may lag behind.
            tokio::time::sleep(END_AGAIN).await;
        }
    }

    /// The record of a chain with the highest number; `None` if it has none.
    ///
    /// # Errors
    /// [`StoreError`]. A damaged record is none that an older one could stand for.
    pub async fn newest_record(&self, session: &SessionId) -> Result<Option<Record>, StoreError> {
        let _place = self.record_place().await;
        let mut listed = self.newest_number(session).await?;
        let (number, bytes) = loop {
            let Some(number) = listed else { return Ok(None) };
            if let Some(bytes) = self.get(&record_path(session, number)).await? {
                break (number, bytes);
            }
            // Newer ones were made since, and this one deleted: there is more in the list then.
            listed = self.newest_number(session).await?;
            if listed.is_some_and(|newer| newer <= number) {
                return Err(StoreError::Missing(format!("record {number} of {session}")));
            }
        };
        let path = record_path(session, number);
        decode(session, number, &bytes).map(Some).map_err(|what| StoreError::Damaged { name: path.to_string(), what })
    }
}

impl Store {
    /// A place among what is asked for the sake of records; nobody waits for one who has one. Of a store that is closed, which
    /// none ever is, there are any number.
    async fn record_place(&self) -> Option<SemaphorePermit<'_>> {
        self.records.acquire().await.ok()
    }

    async fn newest_number(&self, session: &SessionId) -> Result<Option<u64>, StoreError> {
        Ok(self.record_numbers(session).await?.last().copied())
    }

    /// The numbers of a chain's records, in order.
    async fn record_numbers(&self, session: &SessionId) -> Result<Vec<u64>, StoreError> {
        let objects: Vec<_> = self.objects.list(Some(&records_path(session))).try_collect().await?;
        let mut numbers: Vec<u64> =
            objects.iter().filter_map(|object| object.location.filename()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Deletes all of a chain but its first record and the last two.
    async fn forget_records(&self, session: &SessionId) -> Result<(), StoreError> {
        let _place = self.record_place().await;
        let numbers = self.record_numbers(session).await?;
        let old = numbers.iter().take(numbers.len().saturating_sub(2)).filter(|number| **number > 1);
        for number in old {
            self.delete(&record_path(session, *number)).await?;
        }
        Ok(())
    }

    /// All sessions that have records. For the rare case: it looks at all names.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn recorded(&self) -> Result<BTreeSet<SessionId>, StoreError> {
        let objects: Vec<_> = self.objects.list(Some(&ObjectPath::from("records"))).try_collect().await?;
        let session = |path: &ObjectPath| {
            let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_owned()).collect();
            let [_, game, key, incarnation, _] = &parts[..] else { return None };
            format!("{game}/{key}@{incarnation}").parse::<SessionId>().ok()
        };
        Ok(objects.iter().filter_map(|object| session(&object.location)).collect())
    }

    /// Another session of a session's key whose records do not say that it is over: its newest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_of_key(&self, session: &SessionId) -> Result<Option<Record>, StoreError> {
        let place = self.record_place().await;
        let listed = self.objects.list_with_delimiter(Some(&key_path(session))).await?;
        drop(place);
        let incarnations = listed.common_prefixes.iter().filter_map(|prefix| {
            let incarnation = u64::from_str_radix(prefix.filename()?, 16).ok()?;
            Some(SessionId { incarnation: Incarnation(incarnation), ..session.clone() })
        });
        for other in incarnations.filter(|other| other != session) {
            let newest = self.newest_record(&other).await?;
            if let Some(open) = newest.filter(|newest| newest.cause != Cause::Ended) {
                return Ok(Some(open));
            }
        }
        Ok(None)
    }
}

/// The record in the object of this number.
fn decode(session: &SessionId, number: u64, bytes: &[u8]) -> Result<Record, String> {
    let payload = envelope::open(Kind::LeadershipRecord, RECORD_FORMAT, RECORD_BYTES, bytes)
        .map_err(|error| error.to_string())?;
    let record: Record = postcard::from_bytes(payload).map_err(|error| error.to_string())?;
    if (&record.session, record.number) != (session, number) {
        return Err(format!("it is record {} of {}", record.number, record.session));
    }
    Ok(record)
}

fn records_path(session: &SessionId) -> ObjectPath {
    key_path(session).join(format!("{:016x}", session.incarnation.0))
}

fn key_path(session: &SessionId) -> ObjectPath {
    ObjectPath::from("records").join(session.game.as_str()).join(session.key.as_str())
}

/// The name of the object of a record.
pub fn record_name(session: &SessionId, number: u64) -> String {
    record_path(session, number).to_string()
}

fn record_path(session: &SessionId, number: u64) -> ObjectPath {
    records_path(session).join(format!("{number:012}"))
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use ringside_core::ids::{NodeId, WorkerId};
    use ringside_core::leadership::record::Member;
    use ringside_golden::{GoldenFile, samples};

    use super::*;
    use crate::scratch::Scratch;

    fn first() -> Record {
        let leader = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
        Record::first("arena/a@0000000000000001".parse().unwrap(), leader)
    }

    /// The store fails until somebody has it answer again: what it has by then decides.
    #[tokio::test]
    async fn what_a_store_that_fails_may_have_made_is_settled_when_it_answers() {
        for is_faster in [false, true] {
            let scratch = Scratch::new(&format!("store-settles-{is_faster}"));
            let store = Store::local(&scratch.0).unwrap();
            let first = first();
            assert!(store.settle_record(&first).await.unwrap());
            let second = first.with_set([].into(), 5, Cause::Removed);
            let other = first.with_set([].into(), 6, Cause::Removed);
            // Neither can be listed nor made.
            let (records, away) = (scratch.0.join("records"), scratch.0.join("away"));
            std::fs::rename(&records, &away).unwrap();
            std::fs::write(&records, "").unwrap();
            let settling = tokio::spawn({
                let (store, second) = (store.clone(), second.clone());
                async move { store.settle_record(&second).await }
            });
            assert!(store.put_record(&second).await.is_err());
            tokio::task::yield_now().await;
            assert!(!settling.is_finished());
            if is_faster {
                let beside = Store::local(&scratch.0.join("beside")).unwrap();
                assert!(beside.put_record(&other).await.unwrap());
                let made = scratch.0.join("beside").join(record_path(&other.session, 2).to_string());
                std::fs::copy(made, away.join("arena/a/0000000000000001/000000000002")).unwrap();
            }
            // At once: a try in between would find a store that has nothing.
            let link = scratch.0.join("link");
            std::os::unix::fs::symlink(&away, &link).unwrap();
            std::fs::rename(&link, &records).unwrap();
            assert_eq!(settling.await.unwrap().unwrap(), !is_faster);
        }
    }

    #[tokio::test]
    async fn a_chain_is_ended_by_who_leads() {
        let store = Store::memory();
        let first = first();
        let session = &first.session;
        assert!(store.end_chain(session, None).await.unwrap(), "there is none");
        store.put_record(&first).await.unwrap();
        let other = Node { id: NodeId(2), generation: 1 };
        assert!(!store.end_chain(session, Some(other)).await.unwrap());
        assert_eq!(store.newest_record(session).await.unwrap().as_ref(), Some(&first));
        for _ in 0..2 {
            assert!(store.end_chain(session, Some(first.leader.node)).await.unwrap());
            assert_eq!(
                store.newest_record(session).await.unwrap().map(|it| (it.number, it.cause)),
                Some((2, Cause::Ended))
            );
        }
    }

    #[tokio::test]
    async fn a_number_is_made_once_and_the_highest_counts() {
        let store = Store::memory();
        let first = first();
        assert_eq!(store.newest_record(&first.session).await.unwrap(), None);
        assert!(store.put_record(&first).await.unwrap());
        let second = first.with_set([].into(), 5, Cause::Removed);
        let other = first.with_set([].into(), 6, Cause::Removed);
        assert!(store.put_record(&second).await.unwrap());
        assert!(!store.put_record(&other).await.unwrap(), "somebody was faster");
        assert_eq!(store.newest_record(&first.session).await.unwrap(), Some(second));
        let again = SessionId { incarnation: Incarnation(2), ..first.session.clone() };
        assert_eq!(store.newest_record(&again).await.unwrap(), None, "another session of the key");
        assert_eq!(store.recorded().await.unwrap(), [first.session.clone()].into());
        assert_eq!(store.open_of_key(&again).await.unwrap().map(|open| open.session), Some(first.session.clone()));
        assert_eq!(store.open_of_key(&first.session).await.unwrap(), None);
        let last = first.with_set([].into(), 7, Cause::Ended);
        assert!(store.put_record(&Record { number: 3, ..last }).await.unwrap());
        assert_eq!(store.open_of_key(&again).await.unwrap(), None, "it is over");
    }

    const PUBLISHED: GoldenFile = GoldenFile {
        package_directory: env!("CARGO_MANIFEST_DIR"),
        name: "leadership-records-1.hex",
        package: "ringside-node",
        version: "records::RECORD_FORMAT",
    };

    #[tokio::test]
    async fn records_of_the_published_format_are_written_and_read_as_they_were() {
        let records = samples::<Record>();
        let mut written = Vec::new();
        for (name, record) in &records {
            let store = Store::memory();
            assert!(store.put_record(record).await.unwrap());
            let object = store.get(&record_path(&record.session, record.number)).await.unwrap();
            written.push((name.clone(), object.unwrap().to_vec()));
        }
        PUBLISHED.check(&written);
        for ((name, bytes), (_, record)) in PUBLISHED.committed().into_iter().zip(records) {
            let store = Store::memory();
            assert!(store.create(&record_path(&record.session, record.number), bytes.into()).await.unwrap());
            assert_eq!(store.newest_record(&record.session).await.unwrap(), Some(record), "{name}");
        }
    }

    #[tokio::test]
    async fn a_record_that_is_damaged_or_of_another_is_named_and_no_older_one_taken_for_it() {
        let store = Store::memory();
        let first = first();
        store.put_record(&first).await.unwrap();
        for damage in [&b"rubbish"[..], &envelope::seal(Kind::GameVersion, RECORD_FORMAT, b"{}")] {
            let path = record_path(&first.session, 2);
            store.objects.put(&path, bytes::Bytes::copy_from_slice(damage).into()).await.unwrap();
            let error = store.newest_record(&first.session).await.unwrap_err();
            assert!(error.to_string().contains("records/arena/a/0000000000000001/000000000002"), "{error}");
        }
        let payload = postcard::to_stdvec(&first).unwrap();
        let moved = envelope::seal(Kind::LeadershipRecord, RECORD_FORMAT, &payload);
        store.objects.put(&record_path(&first.session, 2), moved.into()).await.unwrap();
        let error = store.newest_record(&first.session).await.unwrap_err();
        assert!(error.to_string().contains("it is record 1"), "{error}");
    }
}
