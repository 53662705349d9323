//! What outlives the node: modules, the numbered versions of games, recordings. Only conditional *create* is relied
//! on: an object is written once under a name of its own, and the highest number counts. What newer ones have made useless is
//! deleted, and could be made again: whoever makes one looks whether it is the newest. Keeps nothing in memory.
//!
//! ```text
//! modules/<sha-256>.wasm                     the bytes that were uploaded
//! games/<game>/versions/<number>             a Version in an envelope
//! recordings/<game>/<key>@<inc>/<number>     a segment of a recording, as the recorder cut it
//! recordings/<game>/<key>@<inc>/<epoch>/<number>  a segment of what a later leader recorded
//! records/<game>/<key>/<inc>/<number>        a leadership record in an envelope
//! logs/<node>.<generation>/<number>          an object of the log of a run of a node
//! logs/<node>.<generation>.<first>/<number>  the same, of the log that it began after a seal
//! ```

mod evicted;
mod location;
mod logs;
mod records;

pub use records::record_name;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use ringside_core::envelope::{self, Kind};
use ringside_core::ids::{Epoch, GameName, ModuleHash, SessionId};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::limits::{KEPT, KEPT_BYTES, KEPT_OF_GAME, VERSIONS};

pub use evicted::NotActivated;
pub use location::Location;

/// Format of a version object's payload.
const VERSION_FORMAT: u16 = 1;
/// Largest payload of a version object, bytes.
const VERSION_BYTES: usize = 4096;

/// One version of a game: which module it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The module.
    pub module: ModuleHash,
    /// Its size, bytes.
    pub size_bytes: u64,
    /// When it was pushed, ms since 1970.
    pub pushed_ms: u64,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store failed; it may work later.
    #[error("store: {0}")]
    Backend(#[from] object_store::Error),
    /// The directory cannot be used.
    #[error("store: cannot use directory {directory}: {source}")]
    Directory {
        /// Which.
        directory: String,
        /// Why.
        source: std::io::Error,
    },
    /// An object does not hold what its name says.
    #[error("store: object {name} is damaged: {what}")]
    Damaged {
        /// The object.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// An object is whole, and was written by a release whose objects this one does not read.
    #[error("store: object {name} is for nodes of another release: {what}")]
    OtherRelease {
        /// The object.
        name: String,
        /// What it is, and what is read here.
        what: String,
    },
    /// As many parts of logs are kept as may be, or this one is too large.
    #[error(
        "store: {count} objects below {prefix}, {of_game} of its game, or too many bytes: delete what is not needed"
    )]
    Full {
        /// Where.
        prefix: String,
        /// How many there are.
        count: usize,
        /// How many of the game's.
        of_game: usize,
    },
    /// There is no such object.
    #[error("store: there is no {0}")]
    Missing(String),
    /// A game has all the versions that it may have.
    #[error("store: game {0} has {VERSIONS} versions: no more fit")]
    Exhausted(GameName),
}

/// Chains of records of which old ones are deleted at a time.
const CLEANING: usize = 8;
/// What is asked of a local directory at a time for the sake of records: all but one of the node's threads for files (`crate::node`).
/// A thousand records may be wanted at once, and the log, for whose objects players wait, must find a thread.
const LOCAL_RECORDS: usize = 3;

/// The store of a node.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    name: String,
    /// For how many chains of records old ones are deleted at a time.
    cleaning: Arc<Semaphore>,
    /// What is asked at a time for the sake of records.
    records: Arc<Semaphore>,
}

impl Store {
    fn of(objects: Arc<dyn ObjectStore>, name: String, records: usize) -> Store {
        let [cleaning, records] = [CLEANING, records].map(|places| Arc::new(Semaphore::new(places)));
        Store { objects, name, cleaning, records }
    }

    /// A store in a local directory, made if missing; written objects survive a crash of the machine.
    ///
    /// # Errors
    /// [`StoreError::Directory`].
    pub fn local(directory: &Path) -> Result<Store, StoreError> {
        let failed = |source| StoreError::Directory { directory: directory.display().to_string(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        // Fails early where the directory cannot be written.
        let probe = directory.join(".writable");
        std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe)).map_err(failed)?;
        let objects = object_store::local::LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
        Ok(Store::of(Arc::new(objects), format!("local directory {}", directory.display()), LOCAL_RECORDS))
    }

    /// A store in a local directory that exists, to read from; nothing is written to it.
    ///
    /// # Errors
    /// [`StoreError::Backend`] if there is no such directory.
    pub fn read_only(directory: &Path) -> Result<Store, StoreError> {
        let objects = object_store::local::LocalFileSystem::new_with_prefix(directory)?;
        Ok(Store::of(Arc::new(objects), format!("local directory {}", directory.display()), LOCAL_RECORDS))
    }

    /// A store in memory, for tests.
    #[cfg(test)]
    pub fn memory() -> Store {
        Store::of(Arc::new(object_store::memory::InMemory::new()), "memory".to_owned(), LOCAL_RECORDS)
    }

    /// What it is, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Keeps a module under its hash. One that is there already is left alone.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn put_module(&self, hash: ModuleHash, bytes: Bytes) -> Result<(), StoreError> {
        self.create(&module_path(hash), bytes).await.map(|_| ())
    }

    /// A module's bytes, checked against its hash.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn module(&self, hash: ModuleHash) -> Result<Bytes, StoreError> {
        let path = module_path(hash);
        let bytes = self.get(&path).await?.ok_or_else(|| StoreError::Missing(format!("module {hash}")))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        if digest.as_ref() != hash.0 {
            return Err(StoreError::Damaged { name: path.to_string(), what: "its hash is another".to_owned() });
        }
        Ok(bytes)
    }

    /// Keeps a module under its hash in place of what is there, which is damaged. The bytes must have that hash: then
    /// whoever else does the same writes the same.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn replace_module(&self, hash: ModuleHash, bytes: Bytes) -> Result<(), StoreError> {
        self.objects.put(&module_path(hash), bytes.into()).await?;
        Ok(())
    }

    /// Keeps a version under the number that another node's store has it under. One that is there is left alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_version(&self, game: &GameName, number: u32, version: &Version) -> Result<(), StoreError> {
        if !(1..=VERSIONS).contains(&number) {
            return Err(StoreError::Exhausted(game.clone()));
        }
        self.create(&version_path(game, number), sealed(&encode(version)).into()).await.map(|_| ())
    }

    /// Makes `version` the newest of its game and answers its number. If the newest is the same module already,
    /// answers that one's number and `false`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn push(&self, game: &GameName, version: &Version) -> Result<(u32, bool), StoreError> {
        let mut newest = self.newest(game).await?;
        loop {
            let number = match newest {
                Some((number, known)) if known.module == version.module => return Ok((number, false)),
                Some((number, _)) => number + 1,
                None => 1,
            };
            if number > VERSIONS {
                return Err(StoreError::Exhausted(game.clone()));
            }
            let object = sealed(&encode(version));
            if self.create(&version_path(game, number), object.into()).await? {
                return Ok((number, true));
            }
            // Somebody else was faster: theirs is the newest now.
            newest = Some((number, self.version(game, number).await?));
        }
    }

    /// All versions of a game, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn versions(&self, game: &GameName) -> Result<Vec<(u32, Version)>, StoreError> {
        let mut versions = Vec::new();
        for number in self.numbers(&versions_path(game)).await? {
            versions.push((number, self.version(game, number).await?));
        }
        Ok(versions)
    }

    /// The games that have versions, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn games(&self) -> Result<Vec<GameName>, StoreError> {
        let listed = self.objects.list_with_delimiter(Some(&ObjectPath::from("games"))).await?;
        let mut games: Vec<GameName> =
            listed.common_prefixes.iter().filter_map(|prefix| prefix.filename()?.parse().ok()).collect();
        games.sort();
        Ok(games)
    }

    /// Keeps the next segment of a recording. False if there is one of that name.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn put_segment(&self, session: &SessionId, segment: Segment, bytes: Bytes) -> Result<bool, StoreError> {
        self.create(&segment.path(session), bytes).await
    }

    /// A recording's segments, in order; empty if there is none.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn segments(&self, session: &SessionId) -> Result<Vec<Segment>, StoreError> {
        let recording = recording_path(session);
        let names = self.names(&recording).await?;
        let mut segments: Vec<Segment> = names.iter().filter_map(|path| Segment::read(path, &recording)).collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// One segment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn segment(&self, session: &SessionId, segment: Segment) -> Result<Bytes, StoreError> {
        let path = segment.path(session);
        self.get(&path).await?.ok_or_else(|| StoreError::Missing(format!("segment {path}")))
    }

    /// Keeps a part of a session's log, within the bounds; answers the object's name. One of that name that is there stays.
    ///
    /// # Errors
    /// [`StoreError::Backend`], [`StoreError::Full`].
    pub async fn keep(&self, session: &SessionId, name: &str, bytes: Bytes) -> Result<String, StoreError> {
        let game = ObjectPath::from("kept").join(session.game.as_str());
        let all = self.names(&game).await?;
        let own = kept_path(session);
        let of_session = all.iter().filter(|path| path.prefix_matches(&own)).count();
        if of_session >= KEPT || all.len() >= KEPT_OF_GAME || bytes.len() > KEPT_BYTES {
            return Err(StoreError::Full { prefix: own.to_string(), count: of_session, of_game: all.len() });
        }
        let path = own.join(name);
        self.create(&path, bytes).await?;
        Ok(path.to_string())
    }

    /// The names of the objects that are kept of a session.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn kept(&self, session: &SessionId) -> Result<Vec<String>, StoreError> {
        let names = self.names(&kept_path(session)).await?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    async fn names(&self, prefix: &ObjectPath) -> Result<Vec<ObjectPath>, StoreError> {
        let objects: Vec<_> = self.objects.list(Some(prefix)).try_collect().await?;
        let mut names: Vec<ObjectPath> = objects.into_iter().map(|object| object.location).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The recording of a key whose first segment was written last.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub async fn newest_recording(&self, game: &GameName, key: &str) -> Result<Option<SessionId>, StoreError> {
        let prefix = ObjectPath::from("recordings").join(game.as_str());
        let listed = self.objects.list_with_delimiter(Some(&prefix)).await?;
        let names = listed.common_prefixes.iter().filter_map(|prefix| prefix.filename().map(str::to_owned));
        let sessions = names
            .filter_map(|name| format!("{game}/{name}").parse::<SessionId>().ok())
            .filter(|session| session.key.as_str() == key);
        let mut newest = None;
        for session in sessions {
            let segments: Vec<_> = self.objects.list(Some(&recording_path(&session))).try_collect().await?;
            let first = segments.iter().map(|object| object.last_modified).min();
            newest = newest.max(first.map(|first| (first, session)));
        }
        Ok(newest.map(|(_, session)| session))
    }

    async fn newest(&self, game: &GameName) -> Result<Option<(u32, Version)>, StoreError> {
        match self.numbers(&versions_path(game)).await?.last() {
            Some(&number) => Ok(Some((number, self.version(game, number).await?))),
            None => Ok(None),
        }
    }

    async fn version(&self, game: &GameName, number: u32) -> Result<Version, StoreError> {
        let path = version_path(game, number);
        let bytes = self.get(&path).await?.ok_or_else(|| StoreError::Missing(format!("version {number} of {game}")))?;
        decode(path.as_ref(), &bytes)
    }

    /// Numbered objects below `prefix`, in order.
    async fn numbers(&self, prefix: &ObjectPath) -> Result<Vec<u32>, StoreError> {
        let objects: Vec<_> = self.objects.list(Some(prefix)).try_collect().await?;
        let mut numbers: Vec<u32> =
            objects.iter().filter_map(|object| object.location.filename()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Conditional create: false if the object exists.
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<bool, StoreError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(path, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        match self.objects.get(path).await {
            Ok(object) => Ok(Some(object.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an object, if it is there.
    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// JSON, so that people can read what a store holds. A plain struct of numbers and text always serializes.
pub(crate) fn encode(version: &Version) -> Vec<u8> {
    serde_json::to_vec(version).unwrap_or_default()
}

/// The object of a version that is encoded so.
pub(crate) fn sealed(payload: &[u8]) -> Vec<u8> {
    envelope::seal(Kind::GameVersion, VERSION_FORMAT, payload)
}

/// The version in the object of this name.
pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Version, StoreError> {
    let damaged = |what: String| StoreError::Damaged { name: name.to_owned(), what };
    let payload = envelope::open(Kind::GameVersion, VERSION_FORMAT, VERSION_BYTES, bytes)
        .map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(payload).map_err(|error| damaged(error.to_string()))
}

fn module_path(hash: ModuleHash) -> ObjectPath {
    ObjectPath::from("modules").join(format!("{hash}.wasm"))
}

fn versions_path(game: &GameName) -> ObjectPath {
    ObjectPath::from("games").join(game.as_str()).join("versions")
}

fn version_path(game: &GameName, number: u32) -> ObjectPath {
    versions_path(game).join(format!("{number:06}"))
}

fn kept_path(session: &SessionId) -> ObjectPath {
    let name = format!("{}@{:016x}", session.key, session.incarnation.0);
    ObjectPath::from("kept").join(session.game.as_str()).join(name)
}

/// A segment of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The part that it is of: that of the leader of this epoch; none is the one that the session began with.
    pub part: Option<Epoch>,
    /// From 1.
    pub number: u32,
}

impl Segment {
    fn path(self, session: &SessionId) -> ObjectPath {
        let recording = recording_path(session);
        let part = self.part.map(|Epoch { number, node, node_generation }| {
            recording.clone().join(format!("{number:06}-{node:x}-{node_generation:x}"))
        });
        part.unwrap_or(recording).join(format!("{:06}", self.number))
    }

    fn read(path: &ObjectPath, recording: &ObjectPath) -> Option<Segment> {
        let mut names = path.prefix_match(recording)?;
        let (first, second) = (names.next()?, names.next());
        let number = second.as_ref().unwrap_or(&first).as_ref().parse().ok()?;
        let part = match second {
            None => None,
            Some(_) => Some(read_epoch(first.as_ref())?),
        };
        names.next().is_none().then_some(Segment { part, number })
    }
}

fn read_epoch(name: &str) -> Option<Epoch> {
    let mut numbers = name.split('-');
    let number = numbers.next()?.parse().ok()?;
    let mut hex = || u64::from_str_radix(numbers.next()?, 16).ok();
    let (node, node_generation) = (hex()?, hex()?);
    numbers.next().is_none().then_some(Epoch { number, node, node_generation })
}

fn recording_path(session: &SessionId) -> ObjectPath {
    let name = format!("{}@{:016x}", session.key, session.incarnation.0);
    ObjectPath::from("recordings").join(session.game.as_str()).join(name)
}

#[cfg(test)]
mod tests;
