//! The games that the node serves: checks and compiles what is pushed, keeps it in the store, and holds the newest
//! version of each game ready. Compiles on threads below the workers' priority, a bounded number at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringside_core::directory::{GameFacts, Pace, Replicas};
use ringside_core::ids::{GameName, ModuleHash};
use ringside_protocol::tier::Tier;
use ringside_sandbox::{Module, Sandbox, UploadError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{Coverage, GameInfo, Pushed};
use crate::limits::UPLOADS;
use crate::store::{Store, StoreError, Version};

/// Followers of a session whose game promises that more than its leader has what is acknowledged: a durable one goes on
/// from the store where its follower is gone as well.
const FOLLOWERS: usize = 1;

/// Why a push failed; the games that are served did not change.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The module is not accepted.
    #[error("{what}")]
    Refused {
        /// Which item, and why.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Too many uploads at a time.
    #[error("other modules are being compiled")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The compiler failed at something of its own.
    #[error("{0}")]
    Internal(String),
}

/// The right to upload; there are as many as uploads may be made at a time.
pub struct Turn(#[expect(dead_code, reason = "held until the upload is done")] OwnedSemaphorePermit);

/// A game's newest version.
#[derive(Clone)]
pub struct Served {
    /// Its name.
    pub game: GameName,
    /// The version's number.
    pub version: u32,
    /// Its module, ready.
    pub module: Module,
    /// Whether sessions of it, or of a version before, may be in the store.
    pub may_sleep: bool,
}

/// What a push did.
pub struct PushedModule {
    /// For the control task.
    pub module: Served,
    /// For the caller.
    pub info: Pushed,
}

/// The games.
pub struct Catalogue {
    sandbox: Sandbox,
    store: Store,
    uploads: Arc<Semaphore>,
    games: RwLock<BTreeMap<GameName, Served>>,
}

impl Catalogue {
    /// No games yet; [`Catalogue::load`] brings those of the store.
    pub fn new(sandbox: Sandbox, store: Store) -> Catalogue {
        let uploads = Arc::new(Semaphore::new(UPLOADS));
        Catalogue { sandbox, store, uploads, games: RwLock::default() }
    }

    /// Brings the newest version of every game in the store; a game that cannot be brought is reported and left out.
    ///
    /// # Errors
    /// Only if the store cannot be listed.
    pub async fn load(&self) -> Result<Vec<Served>, StoreError> {
        let mut loaded = Vec::new();
        for game in self.store.games().await? {
            match self.load_game(&game).await {
                Ok(Some(served)) => {
                    self.serve(served.clone());
                    loaded.push(served);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%game, %error, "the game is not served"),
            }
        }
        Ok(loaded)
    }

    /// The right to upload.
    ///
    /// # Errors
    /// [`PushError::Busy`].
    pub fn turn(&self) -> Result<Turn, PushError> {
        self.uploads.clone().try_acquire_owned().map(Turn).map_err(|_| PushError::Busy)
    }

    /// Uploads that may begin at the moment.
    #[cfg(test)]
    pub(crate) fn turns(&self) -> usize {
        self.uploads.available_permits()
    }

    /// Checks, compiles and keeps a module; new sessions of its game run it from now on. To be driven to its end,
    /// whoever waits for it: the turn is over when this is, and the compiler goes on in any case.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, turn: Turn, bytes: Bytes) -> Result<PushedModule, PushError> {
        let module = self.compile(bytes.clone()).await?;
        let game = module.description().name.clone();
        self.store.put_module(module.hash(), bytes).await?;
        let version = Version { module: module.hash(), size_bytes: module.size_bytes() as u64, pushed_ms: now_ms() };
        let (number, new) = self.store.push(&game, &version).await?;
        let served = self.served(game.clone(), number, module.clone()).await?;
        self.serve(served.clone());
        drop(turn);
        let info = Pushed {
            game: game.to_string(),
            version: number,
            new,
            module: module.hash().to_string(),
            size_bytes: version.size_bytes,
            compile_ms: module.compile_time().as_secs_f64() * 1e3,
            imports: module.imports().to_vec(),
            covers: Coverage::default(),
        };
        Ok(PushedModule { module: served, info })
    }

    /// The newest version of every game, in order.
    pub fn games(&self) -> Vec<GameInfo> {
        let games = self.games.read().unwrap_or_else(PoisonError::into_inner);
        games.values().map(info).collect()
    }

    /// The tier of a game's sessions, by its newest version.
    pub fn tier(&self, game: &GameName) -> Option<Tier> {
        let games = self.games.read().unwrap_or_else(PoisonError::into_inner);
        games.get(game).map(|served| served.module.description().tier)
    }

    /// The newest version of every game and its module, in order.
    pub fn newest(&self) -> Vec<(GameName, u32, ModuleHash)> {
        let games = self.games.read().unwrap_or_else(PoisonError::into_inner);
        games.values().map(|served| (served.game.clone(), served.version, served.hash())).collect()
    }

    /// A module's bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn module(&self, hash: ModuleHash) -> Result<Bytes, StoreError> {
        self.store.module(hash).await
    }

    /// A module, ready: of a version that is served, or another one of the store.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn ready(&self, hash: ModuleHash) -> Result<Module, PushError> {
        let served = {
            let games = self.games.read().unwrap_or_else(PoisonError::into_inner);
            games.values().find(|served| served.hash() == hash).map(|served| served.module.clone())
        };
        match served {
            Some(module) => Ok(module),
            None => self.compile(self.store.module(hash).await?).await,
        }
    }

    /// Keeps a module that another node sent because the store has none, or a damaged one; gives it back.
    ///
    /// # Errors
    /// [`PushError::Internal`] if its hash is another.
    pub async fn keep_module(&self, hash: ModuleHash, bytes: Bytes) -> Result<Bytes, PushError> {
        if ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref() != hash.0 {
            return Err(PushError::Internal(format!("what was sent as module {hash} is another one, or none")));
        }
        self.store.replace_module(hash, bytes.clone()).await?;
        Ok(bytes)
    }

    /// Serves a version that another node serves, with the bytes of its module: checks and compiles it here.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn adopt(
        &self,
        game: &GameName,
        number: u32,
        hash: ModuleHash,
        bytes: Bytes,
    ) -> Result<Served, PushError> {
        let module = self.compile(bytes).await?;
        if module.description().name != *game {
            let what = format!("module {hash} calls itself {}, not {game}", module.description().name);
            return Err(PushError::Refused { what, hint: String::new() });
        }
        // Where the store is shared the version is there already.
        let version = Version { module: hash, size_bytes: module.size_bytes() as u64, pushed_ms: now_ms() };
        self.store.put_version(game, number, &version).await?;
        let served = self.served(game.clone(), number, module).await?;
        self.serve(served.clone());
        Ok(served)
    }

    async fn load_game(&self, game: &GameName) -> Result<Option<Served>, PushError> {
        let Some((number, version)) = self.store.versions(game).await?.pop() else { return Ok(None) };
        let bytes = self.store.module(version.module).await?;
        let module = self.compile(bytes).await?;
        Ok(Some(self.served(game.clone(), number, module).await?))
    }

    /// A version that ticks puts none of its sessions into the store; of those before there may be some.
    async fn served(&self, game: GameName, version: u32, module: Module) -> Result<Served, StoreError> {
        let may_sleep = module.description().tick_rate == 0 || version > 1 && self.store.has_evicted(&game).await?;
        Ok(Served { game, version, module, may_sleep })
    }

    async fn compile(&self, bytes: Bytes) -> Result<Module, PushError> {
        let sandbox = self.sandbox.clone();
        let compiled = tokio::task::spawn_blocking(move || sandbox.upload(&bytes)).await;
        match compiled {
            Ok(Ok(module)) => Ok(module),
            Ok(Err(UploadError::Internal(what))) => Err(PushError::Internal(what)),
            Ok(Err(error)) => Err(PushError::Refused { what: error.to_string(), hint: String::new() }),
            Err(error) => Err(PushError::Internal(format!("the compiler failed: {error}"))),
        }
    }

    /// Serves a version unless a newer one is served already.
    fn serve(&self, served: Served) {
        let mut games = self.games.write().unwrap_or_else(PoisonError::into_inner);
        if served.replaces(games.get(&served.game)) {
            games.insert(served.game.clone(), served);
        }
    }
}

impl Served {
    /// Whether new sessions run it from now on, instead of `known`: two uploads at a time may be told of in either order.
    pub fn replaces(&self, known: Option<&Served>) -> bool {
        known.is_none_or(|known| known.version <= self.version)
    }

    /// What the directory has to know.
    pub fn facts(&self) -> GameFacts {
        let description = self.module.description();
        let (tier, policy) = (description.tier, description.partition_policy);
        let followers = if tier == Tier::Volatile { 0 } else { FOLLOWERS };
        GameFacts {
            module: self.hash(),
            replicas: Replicas { tier, policy, followers },
            pace: if description.tick_rate > 0 { Pace::Ticking } else { Pace::Prompt },
            min_players: description.min_players,
            max_players: description.max_players,
            late_join: description.late_join,
        }
    }

    /// The module's identity.
    pub fn hash(&self) -> ModuleHash {
        self.module.hash()
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn info(served: &Served) -> GameInfo {
    let description = served.module.description();
    GameInfo {
        game: served.game.to_string(),
        version: served.version,
        module: served.module.hash().to_string(),
        size_bytes: served.module.size_bytes() as u64,
        tick_rate: description.tick_rate,
        min_players: description.min_players,
        max_players: description.max_players,
        input_rate: description.input_rate,
        view_rate: description.view_rate,
        tier: description.tier.to_string(),
        partition_policy: description.partition_policy.to_string(),
        late_join: description.late_join,
        sessions: 0,
        versions: Vec::new(),
    }
}
