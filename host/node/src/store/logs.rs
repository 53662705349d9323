//! The logs of nodes' durable sessions: one chain of numbered objects a run of a node, each made by conditional create.
//! What they hold, and when which may be deleted, is `ringside_core::durable`'s to say.

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use ringside_core::ids::{Node, NodeId};

use super::{Store, StoreError};

impl Store {
    /// Makes an object of a run's log. False if there is one of that number.
    ///
    /// # Errors
    /// [`StoreError::Backend`]: the object may be there all the same.
    pub async fn put_log(&self, run: Node, number: u64, object: Bytes) -> Result<bool, StoreError> {
        self.create(&object_path(run, number), object).await
    }

    /// An object of a run's log.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn log_object(&self, run: Node, number: u64) -> Result<Option<Bytes>, StoreError> {
        self.get(&object_path(run, number)).await
    }

    /// The numbers of a run's log, in order.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn log_numbers(&self, run: Node) -> Result<Vec<u64>, StoreError> {
        let objects: Vec<_> = self.objects.list(Some(&log_path(run))).try_collect().await?;
        let mut numbers: Vec<u64> =
            objects.iter().filter_map(|object| object.location.filename()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The runs that have a log, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn log_runs(&self) -> Result<Vec<Node>, StoreError> {
        let listed = self.objects.list_with_delimiter(Some(&ObjectPath::from("logs"))).await?;
        let mut runs: Vec<Node> =
            listed.common_prefixes.iter().filter_map(|prefix| run_of(prefix.filename()?)).collect();
        runs.sort_by_key(|run| (run.generation, run.id));
        Ok(runs)
    }

    /// Deletes the objects of a run's log with lesser numbers than this.
    ///
    /// # Errors
    /// [`StoreError::Backend`]: some may be left.
    pub async fn forget_log(&self, run: Node, first: u64) -> Result<(), StoreError> {
        for number in self.log_numbers(run).await?.into_iter().take_while(|number| *number < first) {
            match self.objects.delete(&object_path(run, number)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn run_of(name: &str) -> Option<Node> {
    let (id, generation) = name.split_once('.')?;
    Some(Node { id: id.parse::<NodeId>().ok()?, generation: generation.parse().ok()? })
}

fn log_path(run: Node) -> ObjectPath {
    ObjectPath::from("logs").join(run.to_string())
}

fn object_path(run: Node, number: u64) -> ObjectPath {
    log_path(run).join(format!("{number:012}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_is_numbered_objects_that_are_made_once() {
        let store = Store::memory();
        let run = |id, generation| Node { id: NodeId(id), generation };
        assert_eq!(store.log_runs().await.unwrap(), []);
        for number in [1, 2, 10, 3] {
            assert!(store.put_log(run(0x1f, 7), number, Bytes::from("a")).await.unwrap());
        }
        assert!(!store.put_log(run(0x1f, 7), 2, Bytes::from("b")).await.unwrap());
        store.put_log(run(2, 3), 1, Bytes::from("c")).await.unwrap();
        assert_eq!(store.log_runs().await.unwrap(), [run(2, 3), run(0x1f, 7)]);
        assert_eq!(store.log_numbers(run(0x1f, 7)).await.unwrap(), [1, 2, 3, 10]);
        assert_eq!(store.log_object(run(0x1f, 7), 2).await.unwrap(), Some(Bytes::from("a")));
        store.forget_log(run(0x1f, 7), 3).await.unwrap();
        assert_eq!(store.log_numbers(run(0x1f, 7)).await.unwrap(), [3, 10]);
        assert_eq!(store.log_object(run(0x1f, 7), 2).await.unwrap(), None);
    }
}
