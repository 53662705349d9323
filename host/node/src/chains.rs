//! Chains of leadership records in the store, for the workers that add to them. Each question is a task of its own; an
//! error of the store is no answer, for it says nothing of what is there: whoever asked asks again
//! (`ringside_core::leadership::chain`).

use std::sync::Arc;

use ringside_core::ids::SessionId;
use ringside_core::leadership::chain::Request;
use ringside_core::leadership::leader::ChainReply;
use ringside_core::leadership::record::Record;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::limits::CHAIN_QUESTIONS;
use crate::store::{Store, StoreError};

/// The way to the chains; cheap to clone.
#[derive(Clone)]
pub struct Chains {
    store: Store,
    runtime: Handle,
    places: Arc<Semaphore>,
}

impl Chains {
    /// Of a store. To be called on the runtime that is to speak to it.
    pub fn new(store: Store) -> Chains {
        Chains { store, runtime: Handle::current(), places: Arc::new(Semaphore::new(CHAIN_QUESTIONS)) }
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

    /// Begins a chain; `answer` is called once: with an error the session must not begin. Does not block.
    pub fn begin(&self, first: Record, answer: impl FnOnce(Result<(), String>) + Send + 'static) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return answer(Err("the store has too much to do".to_owned()));
        };
        let store = self.store.clone();
        self.runtime.spawn(async move {
            let begun = begin(&store, &first).await;
            drop(place);
            answer(begun);
        });
    }
}

/// Makes the first record, unless it is there: an order that was given twice finds what it made.
async fn begin(store: &Store, first: &Record) -> Result<(), String> {
    let failed = |error: StoreError| error.to_string();
    let is_made = store.put_record(first).await.map_err(failed)?;
    if is_made || store.newest_record(&first.session).await.map_err(failed)?.as_ref() == Some(first) {
        return Ok(());
    }
    Err(format!("{} was begun by another node", first.session))
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{Node, NodeId, WorkerId};
    use ringside_core::leadership::record::{Cause, Member};
    use tokio::sync::oneshot;

    use super::*;

    fn first(node: u64) -> Record {
        let leader = Member { node: Node { id: NodeId(node), generation: 1 }, worker: WorkerId(0) };
        Record::first("arena/a@0000000000000001".parse().unwrap(), leader)
    }

    async fn begun(chains: &Chains, record: Record) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        chains.begin(record, move |result| drop(answer.send(result)));
        answered.await.unwrap()
    }

    async fn asked(chains: &Chains, request: Request) -> ChainReply {
        let (answer, answered) = oneshot::channel();
        chains.ask(first(1).session, request, move |reply| drop(answer.send(reply)));
        answered.await.unwrap()
    }

    #[tokio::test]
    async fn a_chain_is_begun_by_one_node_and_added_to() {
        let chains = Chains::new(Store::memory());
        assert_eq!(begun(&chains, first(1)).await, Ok(()));
        assert_eq!(begun(&chains, first(1)).await, Ok(()), "the same again");
        assert!(begun(&chains, first(2)).await.is_err_and(|why| why.contains("another node")));
        let second = Arc::new(first(1).with_set([].into(), 4, Cause::Removed));
        assert_eq!(asked(&chains, Request::Create(second.clone())).await, ChainReply::Created);
        assert_eq!(asked(&chains, Request::Create(second.clone())).await, ChainReply::Created, "that says nothing");
        assert_eq!(asked(&chains, Request::Newest).await, ChainReply::Newest(Some(second)));
    }

    #[tokio::test]
    async fn questions_beyond_the_bound_are_not_asked() {
        let chains = Chains::new(Store::memory());
        let places: Vec<_> = (0..CHAIN_QUESTIONS).map(|_| chains.places.clone().try_acquire_owned().unwrap()).collect();
        assert!(begun(&chains, first(1)).await.is_err());
        let (answer, answered) = oneshot::channel();
        chains.ask(first(1).session, Request::Newest, move |reply| drop(answer.send(reply)));
        assert!(answered.await.is_err(), "it is asked again when its time is over");
        drop(places);
        assert_eq!(asked(&chains, Request::Newest).await, ChainReply::Newest(None));
    }
}
