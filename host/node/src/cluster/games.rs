//! The games of a cluster: every node serves what any node was given. A node tells the others of a push at once, and
//! gossips a digest of what it serves; whoever sees another digest asks for what it lacks. Modules come from the store
//! where it is shared, else over the link, by their hash, and are checked and compiled before they are served.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ringside_core::ids::{GameName, ModuleHash, NodeId};
use ringside_core::membership::{Seen, State};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::gossip::Gossip;
use super::peers::{Outcome, PATIENCE, Peers};
use super::wire::Ask;
use crate::catalogue::{Catalogue, PushError};
use crate::control::Control;
use crate::hex;
use crate::store::StoreError;

/// The key under which a node gossips what it serves.
const KEY: &str = "games";
/// How long a module may be on its way.
const MODULE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a node that joins may take to take over what others serve, before it becomes active all the same.
const CATCH_UP: Duration = Duration::from_secs(30);
/// How long it waits for a node's list, and between two rounds.
const GREETING_PATIENCE: Duration = Duration::from_millis(500);
const GREETING_PAUSE: Duration = Duration::from_millis(50);
/// The pause after a try that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// A game's newest version, as one node tells another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The game.
    pub game: GameName,
    /// The version's number.
    pub version: u32,
    /// Its module.
    pub module: ModuleHash,
}

/// What became of a node's offers.
#[derive(Debug, Default)]
struct Pulled {
    /// Games that are served now.
    taken: usize,
    /// Why others are not.
    failed: Vec<PushError>,
}

/// Takes over what other nodes serve; cheap to clone.
#[derive(Clone)]
pub struct Games {
    catalogue: Arc<Catalogue>,
    control: Control,
    /// One at a time: two pulls would compile the same modules.
    turn: Arc<Mutex<()>>,
}

impl Games {
    /// For this catalogue.
    pub fn new(catalogue: Arc<Catalogue>, control: Control) -> Games {
        Games { catalogue, control, turn: Arc::default() }
    }

    /// What this node serves.
    pub fn list(&self) -> Vec<Offer> {
        let offer = |(game, version, module)| Offer { game, version, module };
        self.catalogue.newest().into_iter().map(offer).collect()
    }

    /// Takes over what the others serve before this node becomes a home and a door: of one of them that answers. Gives
    /// up after a while; [`Games::follow`] goes on trying.
    pub async fn catch_up(&self, peers: &Peers) {
        let caught_up = async {
            loop {
                let mut others = peers.others();
                others.sort_by_key(|seen| seen.state != State::Active);
                for seen in others {
                    // One that does not see this node yet does not answer it.
                    if self.pull_within(peers, &seen, GREETING_PATIENCE).await.is_ok() {
                        return;
                    }
                }
                tokio::time::sleep(GREETING_PAUSE).await;
            }
        };
        if tokio::time::timeout(CATCH_UP, caught_up).await.is_err() {
            tracing::warn!("no other node says which games it serves: they are served when one does");
        }
    }

    /// Takes over from a node what it serves and this one does not; answers how many games.
    ///
    /// # Errors
    /// [`PushError`]: what was taken over by then stays.
    pub async fn pull(&self, peers: &Peers, from: &Seen) -> Result<usize, PushError> {
        let Pulled { taken, mut failed } = self.pull_within(peers, from, PATIENCE).await?;
        failed.pop().map_or(Ok(taken), Err)
    }

    /// One game that cannot be taken over keeps none of the others away.
    async fn pull_within(&self, peers: &Peers, from: &Seen, patience: Duration) -> Result<Pulled, PushError> {
        let _turn = self.turn.lock().await;
        let silent = || PushError::Internal(format!("node {} does not say which games it serves", from.node.id));
        let offers = match peers.ask_for::<Vec<Offer>>(from, Ask::Games, patience).await {
            Some(Outcome::Is(offers)) => offers,
            Some(Outcome::Failed(_)) | None => return Err(silent()),
        };
        let mut pulled = Pulled::default();
        for offer in offers {
            let known = self.list().into_iter().find(|own| own.game == offer.game);
            if known.is_some_and(|own| (own.version, own.module) >= (offer.version, offer.module)) {
                continue;
            }
            match self.take(peers, from, &offer).await {
                Ok(()) => pulled.taken += 1,
                Err(error) => {
                    tracing::warn!(game = %offer.game, from = %from.node.id, %error, "the game is not served here yet");
                    pulled.failed.push(error);
                }
            }
        }
        self.control.games_known().await;
        Ok(pulled)
    }

    async fn take(&self, peers: &Peers, from: &Seen, offer: &Offer) -> Result<(), PushError> {
        let Offer { game, version, module } = offer;
        let bytes = match self.catalogue.module(*module).await {
            Ok(bytes) => bytes,
            Err(error @ (StoreError::Missing(_) | StoreError::Damaged { .. })) => {
                if matches!(error, StoreError::Damaged { .. }) {
                    tracing::warn!(%error, "another node is asked for it");
                }
                let lost = || PushError::Internal(format!("node {} does not send module {module}", from.node.id));
                let bytes = peers.ask(from, Ask::Module(*module), MODULE_PATIENCE).await.ok_or_else(lost)?;
                self.catalogue.keep_module(*module, bytes.into()).await?
            }
            Err(error) => return Err(error.into()),
        };
        let served = self.catalogue.adopt(game, *version, *module, bytes).await?;
        tracing::info!(%game, version, from = %from.node.id, "a game is served that another node was given");
        self.control.game(served).await.map_err(|error| PushError::Internal(error.to_string()))
    }

    fn digest(&self) -> String {
        let offers = self.list();
        let lines = offers.iter().map(|offer| format!("{} {} {}\n", offer.game, offer.version, offer.module));
        let text: String = lines.collect();
        hex::encode(&ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()[..8])
    }

    /// Says what this node serves, and takes over what others say, until gossip ends.
    pub async fn follow(self, gossip: Arc<Gossip>, peers: Peers) {
        let mut snapshots = gossip.snapshots();
        let mut said = String::new();
        // What was asked for already: a node that serves less than this one has another digest for good.
        let mut asked: HashMap<NodeId, String> = HashMap::new();
        while snapshots.changed().await.is_ok() {
            let own = self.digest();
            if own != said {
                gossip.publish(KEY, own.clone()).await;
                said.clone_from(&own);
            }
            let others = peers.others();
            asked.retain(|node, _| others.iter().any(|seen| seen.node.id == *node));
            let told: Vec<(Seen, String)> = {
                let snapshot = snapshots.borrow_and_update();
                let digest_of = |seen: &Seen| {
                    let run = (seen.node.id.0, seen.node.generation);
                    let member = snapshot.members.iter().find(|member| (member.node, member.generation) == run)?;
                    member.values.get(KEY).cloned()
                };
                others.into_iter().filter_map(|seen| digest_of(&seen).map(|digest| (seen, digest))).collect()
            };
            for (seen, digest) in told {
                if digest == own || asked.get(&seen.node.id) == Some(&digest) {
                    continue;
                }
                match self.pull_within(&peers, &seen, PATIENCE).await {
                    // What is refused will be the next time too.
                    Ok(pulled) if pulled.failed.iter().all(|error| matches!(error, PushError::Refused { .. })) => {
                        asked.insert(seen.node.id, digest);
                    }
                    Ok(_) => tokio::time::sleep(PAUSE).await,
                    Err(error) => {
                        tracing::warn!(node = %seen.node.id, %error, "its games are not served here yet");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}
