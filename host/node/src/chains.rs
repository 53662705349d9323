//! Chains of leadership records in the store, for the workers that add to them. Each question is a task of its own; an
//! error of the store is no answer, for it says nothing of what is there: whoever asked asks again
//! (`ringside_core::leadership::chain`).

use std::sync::Arc;
use std::time::Duration;

use ringside_core::ids::{GameName, Incarnation, Node, SessionId, SessionKey};
use ringside_core::leadership::chain::Request;
use ringside_core::leadership::leader::ChainReply;
use ringside_core::leadership::record::Record;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::durable::recovery::Wanted;
use crate::limits::CHAIN_QUESTIONS;
use crate::store::{Store, StoreError};

/// How long it is waited before each try to note the end of a session.
const END_PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// How long it is waited for the end of another session of a key to be noted.
const OPEN_PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1), Duration::ZERO];

/// The way to the chains; cheap to clone.
#[derive(Clone)]
pub struct Chains {
    store: Store,
    wanted: Wanted,
    runtime: Handle,
    places: Arc<Semaphore>,
}

impl Chains {
    /// Of a store. What somebody wants that is not over goes to recovery. To be called on the runtime that is to speak to the store.
    pub fn new(store: Store, wanted: Wanted) -> Chains {
        Chains { store, wanted, runtime: Handle::current(), places: Arc::new(Semaphore::new(CHAIN_QUESTIONS)) }
    }

    /// The runtime that speaks to the store.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Asks for a worker; `answer` is called once if the store says anything. Does not block.
    pub fn ask(&self, session: SessionId, request: Request, answer: impl FnOnce(ChainReply) + Send + 'static) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let store = self.store.clone();
        self.runtime.spawn(async move {
            let reply = match &request {
                Request::Create(record) => store.put_record(record).await.map(|_| ChainReply::Created),
                Request::Newest => {
                    store.newest_record(&session).await.map(|newest| ChainReply::Newest(newest.map(Arc::new)))
                }
            };
            drop(place);
            match reply {
                Ok(reply) => answer(reply),
                Err(error) => tracing::warn!(%session, %error, "a leadership record is asked for again"),
            }
        });
    }

    /// Ends a session's chain: it is over, for the run `by` which led it, or for whomever. Does not block; where the store is
    /// away for long it is found when the log of this run is read.
    pub fn end(&self, session: SessionId, by: Option<Node>) {
        let store = self.store.clone();
        self.runtime.spawn(async move {
            for pause in END_PAUSES {
                tokio::time::sleep(pause).await;
                match store.end_chain(&session, by).await {
                    Ok(true) => return,
                    Ok(false) => return tracing::debug!(%session, "what ended is of a branch that is over"),
                    Err(error) => tracing::warn!(%session, %error, "the end of a session is noted again"),
                }
            }
        });
    }

    /// Whether a session of this key, which somebody wants, is not over, by its records.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_open(&self, game: GameName, key: SessionKey) -> Result<bool, StoreError> {
        // No session is of this incarnation.
        let none = SessionId { game, key, incarnation: Incarnation(0) };
        let open = self.store.open_of_key(&none).await?;
        open.iter().for_each(|open| self.wanted.note(open));
        Ok(open.is_some())
    }

    /// Begins a chain; `answer` is called once: with an error the session must not begin. One that is `durable` does not
    /// as long as another of its key is not over. Does not block.
    pub fn begin(&self, first: Record, durable: bool, answer: impl FnOnce(Result<(), NotBegun>) + Send + 'static) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return answer(Err(NotBegun::Failed("the store has too much to do".to_owned())));
        };
        let chains = self.clone();
        self.runtime.spawn(async move {
            let begun = chains.begin_now(&first, durable).await;
            drop(place);
            answer(begun);
        });
    }

    /// Makes the first record, unless it is there: an order that was given twice finds what it made.
    async fn begin_now(&self, first: &Record, durable: bool) -> Result<(), NotBegun> {
        let failed = |error: StoreError| NotBegun::Failed(error.to_string());
        // The one before may just have ended.
        for pause in OPEN_PAUSES.into_iter().filter(|_| durable) {
            match self.store.open_of_key(&first.session).await.map_err(failed)? {
                None => break,
                Some(other) if pause.is_zero() => {
                    self.wanted.note(&other);
                    return Err(NotBegun::Open(other.session));
                }
                Some(_) => tokio::time::sleep(pause).await,
            }
        }
        match self.make_first(first).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotBegun::Failed(format!("{} was begun by another node", first.session))),
            Err(error) => Err(NotBegun::Unsaid(error.to_string())),
        }
    }

    async fn make_first(&self, first: &Record) -> Result<bool, StoreError> {
        Ok(self.store.put_record(first).await?
            || self.store.newest_record(&first.session).await?.as_ref() == Some(first))
    }
}

/// Why a chain does not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotBegun {
    /// The store failed, or somebody else has begun it; in words.
    Failed(String),
    /// The store failed when it may have made the record, which would keep its key for ever; in words.
    Unsaid(String),
    /// Whether one of its key is in the store cannot be said at the moment; in words.
    Away(String),
    /// Another session of the key is not over: it is led, or about to go on from the store.
    Open(SessionId),
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{NodeId, WorkerId};
    use ringside_core::leadership::record::{Cause, Member};
    use tokio::sync::oneshot;

    use super::*;

    fn first(node: u64) -> Record {
        let leader = Member { node: Node { id: NodeId(node), generation: 1 }, worker: WorkerId(0) };
        Record::first("arena/a@0000000000000001".parse().unwrap(), leader)
    }

    async fn begun(chains: &Chains, record: Record) -> Result<(), NotBegun> {
        let (answer, answered) = oneshot::channel();
        chains.begin(record, true, move |result| drop(answer.send(result)));
        answered.await.unwrap()
    }

    async fn asked(chains: &Chains, request: Request) -> ChainReply {
        let (answer, answered) = oneshot::channel();
        chains.ask(first(1).session, request, move |reply| drop(answer.send(reply)));
        answered.await.unwrap()
    }

    #[tokio::test]
    async fn a_chain_is_begun_by_one_node_and_added_to() {
        let chains = Chains::new(Store::memory(), Wanted::queue().0);
        assert_eq!(begun(&chains, first(1)).await, Ok(()));
        assert_eq!(begun(&chains, first(1)).await, Ok(()), "the same again");
        assert!(
            begun(&chains, first(2))
                .await
                .is_err_and(|why| matches!(why, NotBegun::Failed(why) if why.contains("another node")))
        );
        let again = SessionId { incarnation: Incarnation(9), ..first(1).session };
        let again = Record { session: again, ..first(2) };
        assert_eq!(begun(&chains, again.clone()).await, Err(NotBegun::Open(first(1).session)), "it is not over");
        let second = Arc::new(first(1).with_set([].into(), 4, Cause::Removed));
        assert_eq!(asked(&chains, Request::Create(second.clone())).await, ChainReply::Created);
        assert_eq!(asked(&chains, Request::Create(second.clone())).await, ChainReply::Created, "that says nothing");
        assert_eq!(asked(&chains, Request::Newest).await, ChainReply::Newest(Some(second)));
    }

    #[tokio::test]
    async fn questions_beyond_the_bound_are_not_asked() {
        let chains = Chains::new(Store::memory(), Wanted::queue().0);
        let places: Vec<_> = (0..CHAIN_QUESTIONS).map(|_| chains.places.clone().try_acquire_owned().unwrap()).collect();
        assert!(begun(&chains, first(1)).await.is_err());
        let (answer, answered) = oneshot::channel();
        chains.ask(first(1).session, Request::Newest, move |reply| drop(answer.send(reply)));
        assert!(answered.await.is_err(), "it is asked again when its time is over");
        drop(places);
        assert_eq!(asked(&chains, Request::Newest).await, ChainReply::Newest(None));
    }
}
