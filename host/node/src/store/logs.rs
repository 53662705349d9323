//! The logs of nodes' durable sessions: chains of numbered objects, each made by conditional create.
//! What they hold, and when which may be deleted, is `ringside_core::durable`'s to say.

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use ringside_core::durable::LogName;

use super::{Store, StoreError};

impl Store {
    /// Makes an object of a log. False if there is one of that number.
    ///
    /// # Errors
    /// [`StoreError::Backend`]: the object may be there all the same.
    pub async fn put_log(&self, log: LogName, number: u64, object: Bytes) -> Result<bool, StoreError> {
        self.create(&object_path(log, number), object).await
    }

    /// An object of a log.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn log_object(&self, log: LogName, number: u64) -> Result<Option<Bytes>, StoreError> {
        self.get(&object_path(log, number)).await
    }

    /// The numbers of a log's objects, in order.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn log_numbers(&self, log: LogName) -> Result<Vec<u64>, StoreError> {
        let objects: Vec<_> = self.objects.list(Some(&log_path(log))).try_collect().await?;
        let mut numbers: Vec<u64> =
            objects.iter().filter_map(|object| object.location.filename()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// All logs, the oldest run's first, each run's in order.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn logs(&self) -> Result<Vec<LogName>, StoreError> {
        let listed = self.objects.list_with_delimiter(Some(&ObjectPath::from("logs"))).await?;
        let mut logs: Vec<LogName> =
            listed.common_prefixes.iter().filter_map(|prefix| prefix.filename()?.parse().ok()).collect();
        logs.sort_by_key(|log| (log.run.generation, log.run.id, log.first));
        Ok(logs)
    }

    /// Deletes an object of a log.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn delete_log_object(&self, log: LogName, number: u64) -> Result<(), StoreError> {
        self.delete(&object_path(log, number)).await
    }

    /// Deletes the objects of a log with lesser numbers than this.
    ///
    /// # Errors
    /// [`StoreError::Backend`]: some may be left.
    pub async fn forget_log(&self, log: LogName, first: u64) -> Result<(), StoreError> {
        for number in self.log_numbers(log).await?.into_iter().take_while(|number| *number < first) {
            self.delete(&object_path(log, number)).await?;
        }
        Ok(())
    }
}

fn log_path(log: LogName) -> ObjectPath {
    ObjectPath::from("logs").join(log.to_string())
}

fn object_path(log: LogName, number: u64) -> ObjectPath {
    log_path(log).join(format!("{number:012}"))
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{Node, NodeId};

    use super::*;

    #[tokio::test]
    async fn a_log_is_numbered_objects_that_are_made_once() {
        let store = Store::memory();
        let run = |id, generation| LogName::first_of(Node { id: NodeId(id), generation });
        assert_eq!(store.logs().await.unwrap(), []);
        for number in [1, 2, 10, 3] {
            assert!(store.put_log(run(0x1f, 7), number, Bytes::from("a")).await.unwrap());
        }
        assert!(!store.put_log(run(0x1f, 7), 2, Bytes::from("b")).await.unwrap());
        store.put_log(run(2, 3), 1, Bytes::from("c")).await.unwrap();
        let another = run(0x1f, 7).after(3);
        store.put_log(another, 4, Bytes::from("d")).await.unwrap();
        assert_eq!(another.to_string(), "1f.7.4");
        assert_eq!(store.logs().await.unwrap(), [run(2, 3), run(0x1f, 7), another]);
        assert_eq!(store.log_numbers(another).await.unwrap(), [4]);
        assert_eq!(store.log_numbers(run(0x1f, 7)).await.unwrap(), [1, 2, 3, 10]);
        assert_eq!(store.log_object(run(0x1f, 7), 2).await.unwrap(), Some(Bytes::from("a")));
        store.forget_log(run(0x1f, 7), 3).await.unwrap();
        assert_eq!(store.log_numbers(run(0x1f, 7)).await.unwrap(), [3, 10]);
        assert_eq!(store.log_object(run(0x1f, 7), 2).await.unwrap(), None);
    }
}
