//! A session that nobody leads goes on here: by the next record of its chain, from the state that the store has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ringside_core::directory::{Charter, Origin};
use ringside_core::durable::recovery::Start;
use ringside_core::idle::due::Due;
use ringside_core::idle::evicted::Evicted;
use ringside_core::ids::{SessionId, WorkerId};
use ringside_core::leadership::record::{Cause, Member, Record};
use ringside_sandbox::{State, StateError};
use ringside_worker::Create;
use ringside_worker::durable::Restore;
use tokio::sync::OwnedSemaphorePermit;

use super::{Parts, is_kept, now_us};
use crate::chains::NotBegun;
use crate::control::Message;
use crate::store::{NotActivated, StoreError};

/// Why an evicted session does not go on here.
enum NotNow {
    /// Its state is of a version that this node does not read.
    OtherRelease(String),
    /// It may when it is asked for again.
    Later(String),
}

impl From<String> for NotNow {
    fn from(why: String) -> NotNow {
        NotNow::Later(why)
    }
}

impl Parts {
    /// A session is to begin: one of its key that was evicted goes on in its place.
    pub(super) async fn look(
        &self,
        worker: WorkerId,
        create: Box<Create>,
        origin: Origin,
        place: OwnedSemaphorePermit,
    ) {
        let (birth, SessionId { game, key, .. }) = (create.session.clone(), create.session.clone());
        let found = match self.store.asleep(&game, &key).await {
            Err(NotActivated::Lost(record, why)) => {
                let session = record.session.clone();
                match self.store.try_record(&record.ended(record.position)).await {
                    Ok(true) => {}
                    Ok(false) => {
                        let why = "it goes on elsewhere since this was looked for".to_owned();
                        return self.control.heard(Message::NotActivated { birth, session, why }).await;
                    }
                    Err(error) => {
                        let why = format!("whether {session} can go on cannot be said: {error}");
                        tracing::warn!("{why}");
                        return self.control.heard(Message::Begun(worker, create, Err(NotBegun::Away(why)))).await;
                    }
                }
                tracing::error!(%session, why, "an evicted session cannot go on");
                // Who wants the key has another one.
                self.ended(&session, None).await;
                self.control.lost(session, format!("it was evicted and cannot go on: {why}")).await;
                None
            }
            Err(NotActivated::Store(error @ StoreError::OtherRelease { .. })) => {
                let why = error.to_string();
                tracing::warn!(%game, %key, why, "an evicted session is left to other nodes");
                return self.control.heard(Message::NotReadable { birth, why }).await;
            }
            Err(NotActivated::Store(error)) => {
                let why = format!("whether {game}/{key} is in the store cannot be said: {error}");
                tracing::warn!("{why}");
                return self.control.heard(Message::Begun(worker, create, Err(NotBegun::Away(why)))).await;
            }
            Ok(found) => found,
        };
        match (found, origin) {
            (None, Origin::Evicted) => self.control.heard(Message::NotAsleep(birth)).await,
            (None, _) => self.control.heard(Message::Anew(worker, create)).await,
            (Some((evicted, record)), _) => {
                let session = record.session.clone();
                match self.activate(birth.clone(), evicted, record, place).await {
                    Ok(()) => {}
                    Err(NotNow::OtherRelease(why)) => {
                        tracing::warn!(%session, why, "an evicted session is left to other nodes");
                        self.control.heard(Message::NotReadable { birth, why }).await;
                    }
                    Err(NotNow::Later(why)) => {
                        tracing::warn!(%session, why, "an evicted session goes on later");
                        self.control.heard(Message::NotActivated { birth, session, why }).await;
                    }
                }
            }
        }
    }

    /// What may fail comes before the record.
    async fn activate(
        &self,
        birth: SessionId,
        evicted: Evicted,
        record: Record,
        place: OwnedSemaphorePermit,
    ) -> Result<(), NotNow> {
        let name = evicted.name();
        let Evicted { charter, checkpoint, at_us, due_us } = evicted;
        let charter = Charter::decode(&charter).map_err(|error| format!("its charter: {error}"))?;
        let bytes = checkpoint.state.clone();
        let decoded = tokio::task::spawn_blocking(move || State::decode(&bytes)).await;
        let state = decoded.map_err(|error| error.to_string())?.map_err(|error| match error {
            StateError::Version { .. } => NotNow::OtherRelease(error.to_string()),
            error => NotNow::Later(format!("its state: {error}")),
        })?;
        let module = self.catalogue.ready(state.module()).await.map_err(|error| format!("its module: {error}"))?;
        let (session, tier) = (record.session.clone(), charter.facts.replicas.tier);
        let chosen = self.control.activate(birth, charter).await;
        let (worker, terms) = chosen.map_err(|error| error.to_string())?;
        let me = Member { node: self.me, worker };
        let epoch = me.epoch_after(record.epoch.number);
        let cause = (Cause::Activated, terms.home());
        let next = record.succeeded(me, epoch, BTreeSet::new(), record.position, cause);
        // However long that takes: it is one of the sessions that this node takes, and holds up nothing else.
        drop(place);
        match self.store.settle_record(&next).await {
            Ok(true) => {}
            Ok(false) => return Err(NotNow::Later("another node was faster".to_owned())),
            Err(error) => return Err(NotNow::Later(error.to_string())),
        }
        let start = Start::at(Box::new(checkpoint));
        let slept = Duration::from_micros(now_us().saturating_sub(at_us));
        let state = Some(Arc::new(state));
        let restore = Box::new(Restore { module, terms, record: Arc::new(next), state, start, slept });
        self.control.restore(worker, restore).await.map_err(|error| error.to_string())?;
        let cleaned = async {
            if let Some(at_us) = due_us {
                self.store.forget_due(&Due { at_us, session: session.clone() }).await?;
            }
            if !is_kept(tier) {
                self.store.forget_evicted(&session, ..=name).await?;
            }
            Ok::<(), StoreError>(())
        };
        if let Err(error) = cleaned.await {
            tracing::debug!(%session, %error, "what the store has of a session that goes on is deleted later");
        }
        Ok(())
    }
}
