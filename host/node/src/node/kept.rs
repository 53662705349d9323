//! What a node keeps between runs: who it is, its secrets, its store.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringside_core::ids::NodeId;
use ringside_sandbox::{Sandbox, SandboxConfig};

use super::NodeError;
use crate::certificate::ServerCertificate;
use crate::cluster::secret::{self, ClusterSecret};
use crate::config::Config;
use crate::control::Identity;
use crate::state_directory::{StateDirectory, StateError, TOKEN_FILE};
use crate::store::Store;
use crate::tokens::TokenKey;
use crate::{hex, random};

/// The node's number.
const NUMBER_FILE: &str = "node.id";
/// Its last start.
const GENERATION_FILE: &str = "generation";

/// What is kept between runs, opened.
pub struct Kept {
    pub config: Config,
    pub state: StateDirectory,
    pub token: String,
    pub identity: Identity,
    pub certificate: ServerCertificate,
    pub cluster: ClusterSecret,
    pub tokens: TokenKey,
    pub store: Store,
    pub sandbox: Sandbox,
}

impl Kept {
    /// Opens, and makes what is missing.
    pub fn open(config: Config) -> Result<Kept, NodeError> {
        let state = StateDirectory::open(&config.state)?;
        Kept::of(state, config)
    }

    /// Opens what a node that runs keeps, which this process is to succeed.
    pub fn open_beside(config: Config) -> Result<Kept, NodeError> {
        let state = StateDirectory::open_beside(&config.state)?;
        Kept::of(state, config)
    }

    fn of(state: StateDirectory, mut config: Config) -> Result<Kept, NodeError> {
        config.state = state.path().to_owned();
        let now = SystemTime::now();
        let token = admin_token(&state)?;
        let node = number(&state, None)?;
        let generation = generation(&state, now)?;
        let certificate = ServerCertificate::open(&state, config.certificate_days, now)?;
        let cluster = ClusterSecret::open(&state, config.secret.as_deref(), now)?;
        let tokens = TokenKey::new(cluster.token_key())?;
        let store = config.store().open()?;
        let cache = state.directory("artefacts")?;
        let sandbox = Sandbox::new(SandboxConfig { cache_directory: Some(cache), warm_sessions: None })?;
        let identity =
            Identity { node: node.0, generation, started: Instant::now(), certificate: certificate.sha256() };
        Ok(Kept { config, state, token, identity, certificate, cluster, tokens, store, sandbox })
    }
}

/// What a state directory is after [`init`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialized {
    /// The directory.
    pub state: PathBuf,
    /// The node's number.
    pub node: NodeId,
    /// The cluster's.
    pub cluster: String,
    /// The secret, to be copied to other nodes.
    pub secret: PathBuf,
}

/// Makes a state directory for a node that is started later: with a number (drawn if `wanted` is `None`) and with the
/// cluster's secret, a copy of `secret` or a new one.
///
/// # Errors
/// [`NodeError`]; what is there already is kept, and must not contradict.
pub fn init(state: &Path, wanted: Option<NodeId>, secret: Option<&Path>) -> Result<Initialized, NodeError> {
    let state = StateDirectory::open(state)?;
    let node = number(&state, wanted)?;
    admin_token(&state)?;
    let cluster = ClusterSecret::open(&state, secret, SystemTime::now())?;
    let secret = state.path().join(secret::FILE);
    Ok(Initialized { state: state.path().to_owned(), node, cluster: cluster.id().to_string(), secret })
}

fn admin_token(state: &StateDirectory) -> Result<String, StateError> {
    let token = state.secret(TOKEN_FILE, || hex::encode(&random::bytes::<32>()).into_bytes())?;
    let token = String::from_utf8(token).ok().map(|text| text.trim().to_owned()).filter(|text| text.len() >= 32);
    token.ok_or_else(|| {
        state.garbage(TOKEN_FILE, "is no token of 32 characters and more", "delete it, and a new one is made")
    })
}

/// The node's number.
fn number(state: &StateDirectory, wanted: Option<NodeId>) -> Result<NodeId, StateError> {
    let drawn = || wanted.unwrap_or_else(|| NodeId(random::u64())).to_string().into_bytes();
    let number = state.secret(NUMBER_FILE, drawn)?;
    let number = std::str::from_utf8(&number).ok().and_then(|text| text.trim().parse::<NodeId>().ok());
    let number = number.ok_or_else(|| {
        let hint = "delete it, and a new one is drawn";
        state.garbage(NUMBER_FILE, "is no number of at most 16 hexadecimal digits", hint)
    })?;
    if wanted.is_some_and(|wanted| wanted != number) {
        let hint = "leave --number away, or use another state directory";
        return Err(state.garbage(NUMBER_FILE, "says another number than the one that is wanted", hint));
    }
    Ok(number)
}

/// The start of this run, ms since 1970: later than that of the run before, whatever the clock says.
fn generation(state: &StateDirectory, now: SystemTime) -> Result<u64, StateError> {
    let clock = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let last = match state.read(GENERATION_FILE)? {
        None => 0,
        Some(text) => {
            let last = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u64>().ok());
            last.ok_or_else(|| {
                let hint = "delete it; should the clock have gone back, start the node when it is past its last start";
                state.garbage(GENERATION_FILE, "is no number", hint)
            })?
        }
    };
    let generation = clock.max(last.saturating_add(1));
    state.write(GENERATION_FILE, generation.to_string().as_bytes())?;
    Ok(generation)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_later_run_has_a_greater_generation_though_the_clock_went_back() {
        let scratch = Scratch::new("generation");
        let state = StateDirectory::open(&scratch.0).unwrap();
        let at = |s| UNIX_EPOCH + Duration::from_secs(s);
        assert_eq!(generation(&state, at(1000)).unwrap(), 1_000_000);
        assert_eq!(generation(&state, at(10)).unwrap(), 1_000_001);
        assert_eq!(generation(&state, at(2000)).unwrap(), 2_000_000);
        state.write(GENERATION_FILE, b"yesterday").unwrap();
        assert!(generation(&state, at(3000)).unwrap_err().to_string().contains("generation is no number"));
    }

    #[test]
    fn a_state_directory_is_made_with_number_and_secret_and_keeps_both() {
        let (first, second) = (Scratch::new("init-first"), Scratch::new("init-second"));
        let made = init(&first.0, Some(NodeId(1)), None).unwrap();
        assert_eq!(made.node, NodeId(1));
        assert_eq!(init(&first.0, None, None).unwrap(), made);
        assert!(init(&first.0, Some(NodeId(2)), None).unwrap_err().to_string().contains("another number"));
        let other = init(&second.0, None, Some(&made.secret)).unwrap();
        assert_eq!(other.cluster, made.cluster);
        assert_ne!(other.node, made.node);
    }
}
