//! Sessions in the store: evicted because an operator says so, shown without being activated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringside_core::directory::Charter;
use ringside_core::idle::evicted::Evicted;
use ringside_core::leadership::record::Record;
use ringside_worker::command::NotEvicted;
use tokio::time::Instant;

use super::{Desk, everywhere};
use crate::admin::ApiError;
use crate::api::{Coverage, SessionDetail, SessionInfo, SessionList};
use crate::cluster::peers::Outcome;
use crate::cluster::wire::Ask;
use crate::control::{ControlError, SessionName};
use crate::limits::LISTED_ASLEEP;
use crate::store::{NotActivated, Store};

/// How long an eviction may take.
const EVICTING: Duration = Duration::from_secs(10);
/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(20);
/// How long another node may take to answer that it has evicted a session.
const PATIENCE: Duration = Duration::from_secs(15);

/// Evicts a session, whoever leads it.
///
/// # Errors
/// Why it was not evicted.
pub async fn anywhere(desk: &Desk, store: &Store, name: SessionName) -> Result<SessionInfo, ApiError> {
    match here(desk, &name).await {
        Ok(()) => {}
        Err(error) if error.is("no_such_session") => {
            let others = desk.peers.ask_others::<()>(Ask::Evict(name.to_string()), PATIENCE).await;
            let is_done = others.answers.iter().any(|(_, outcome)| matches!(outcome, Outcome::Is(())));
            let refused = others.answers.iter().find_map(|(_, outcome)| match outcome {
                Outcome::Failed(failure) if failure.error != "no_such_session" => Some(failure.clone()),
                _ => None,
            });
            match (is_done, refused) {
                (true, _) => {}
                (false, Some(refused)) => return Err(refused.into()),
                // It may be there already.
                (false, None) => {
                    return match asleep(store, &name).await? {
                        Some(info) => Ok(info),
                        None => Err(everywhere::nowhere(&name, others)),
                    };
                }
            }
        }
        Err(error) => return Err(error),
    }
    let found = asleep(store, &name).await?;
    found.ok_or_else(|| ApiError::not_evicted(format!("{name} was asked for in the same moment and goes on")))
}

/// The same, if this node leads it.
///
/// # Errors
/// [`anywhere`].
pub async fn here(desk: &Desk, name: &SessionName) -> Result<(), ApiError> {
    let began = Instant::now();
    let mut is_begun = false;
    loop {
        let why = match desk.control.evict(name.clone()).await {
            Err(ControlError::NoSuchSession(_)) if is_begun => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(Ok(())) => None,
            // It is gone from its worker, and its directory hears of that in a moment.
            Ok(Err(why @ (NotEvicted::Busy | NotEvicted::NotHere))) => Some(why),
            Ok(Err(why)) => return Err(ApiError::not_evicted(why.to_string())),
        };
        is_begun |= why.is_none();
        if began.elapsed() >= EVICTING {
            let why = why.map_or_else(|| "it is not in the store yet".to_owned(), |why| why.to_string());
            return Err(ApiError::not_evicted(why));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A session in the store, as it is shown.
///
/// # Errors
/// The store's.
pub async fn asleep(store: &Store, name: &SessionName) -> Result<Option<SessionInfo>, ApiError> {
    let found = match store.asleep(&name.game, &name.key).await {
        Ok(found) => found,
        Err(NotActivated::Store(error)) => return Err(error.into()),
        Err(lost @ NotActivated::Lost(..)) => return Err(ApiError::damaged(lost.to_string())),
    };
    let found = found.filter(|(_, record)| name.is(&record.session));
    Ok(found.map(|(evicted, record)| info(&evicted, &record)))
}

/// All sessions in the store.
///
/// # Errors
/// The store's.
pub async fn all(store: &Store) -> Result<SessionList, ApiError> {
    let (found, is_all) = store.all_asleep(LISTED_ASLEEP).await?;
    let sessions = found.iter().map(|(evicted, record)| info(evicted, record)).collect();
    let covers = Coverage { nodes: 1, answered: 1, silent: Vec::new() };
    Ok(SessionList { sessions, covers, is_cut: !is_all })
}

fn info(evicted: &Evicted, record: &Record) -> SessionInfo {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let charter = Charter::decode(&evicted.charter).ok();
    let seats = charter.as_ref().map_or(0, |charter| charter.facts.max_players);
    let module = charter.as_ref().map(|charter| charter.facts.module.to_string()).unwrap_or_default();
    SessionInfo {
        session: record.session.to_string(),
        game: record.session.game.to_string(),
        key: record.session.key.to_string(),
        node: record.leader.node.id.to_string(),
        state: "evicted".to_owned(),
        worker: None,
        players: 0,
        seats,
        reserved: 0,
        age_s: now_us.saturating_sub(evicted.at_us) / 1_000_000,
        timer_in_s: evicted.due_us.map(|due| due.saturating_sub(now_us).div_ceil(1_000_000)),
        record: false,
        reason: None,
        detail: Some(SessionDetail {
            module,
            epoch: record.epoch.number,
            position: record.position,
            ..SessionDetail::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringside_core::durable::object::Checkpoint;
    use ringside_core::ids::{Node, NodeId, WorkerId};
    use ringside_core::leadership::record::{Cause, Member};

    use super::*;

    #[tokio::test]
    async fn only_so_many_sessions_in_the_store_are_listed() {
        let store = Store::memory();
        let leader = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
        for number in 0..=LISTED_ASLEEP {
            let session = format!("lobby/k{number}@0000000000000001").parse().expect("a session");
            let record = Record::first(session, leader).with_set([].into(), 1, Cause::Evicted);
            let checkpoint = Checkpoint {
                session: record.session.clone(),
                epoch: record.epoch,
                position: 1,
                lineage: record.lineage.clone(),
                beside: Bytes::new(),
                state: Bytes::new(),
            };
            let evicted = Evicted { charter: Bytes::new(), checkpoint, at_us: 0, due_us: Some(0) };
            store.put_evicted(&evicted).await.expect("room");
            store.put_record(&record).await.expect("room");
        }
        let listed = all(&store).await.expect("a list");
        assert_eq!((listed.sessions.len(), listed.is_cut), (LISTED_ASLEEP, true));
        let first = &listed.sessions[0];
        assert_eq!((first.state.as_str(), first.timer_in_s), ("evicted", Some(0)));
    }
}
