//! The secret of a cluster: one file that makes whoever has it a member. Holds the certificate authority that signs
//! nodes' certificates, the key that seals gossip, the key that seals tickets and the key that signs session tokens.
//! A first node makes one; others are given a copy when they join. Nodes' own certificates are made at each start and
//! never written down.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use ringside_core::ids::NodeId;
use ringside_worker::peers::tls;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::state_directory::{StateDirectory, StateError};
use crate::{hex, random};

/// Its name in a state directory.
pub const FILE: &str = "cluster.json";
/// Where releases without clusters kept the key that signs session tokens.
const TOKEN_KEY_FILE: &str = "token.key";
/// Version of the file.
const VERSION: u32 = 1;
/// Nodes whose clocks run late still believe a certificate.
const BACKDATED: Duration = Duration::from_secs(86_400);
/// How long the authority is good for.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
/// How long a node's certificate is good for: longer than any process runs.
const NODE_LIFE: Duration = Duration::from_secs(5 * 365 * 86_400);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The file that was given cannot be read.
    #[error("cannot read the cluster's secret {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file that was given is no secret of a cluster.
    #[error("{}: {what}: copy {FILE} from the state directory of a node of the cluster", file.display())]
    Garbage {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The state directory belongs to another cluster.
    #[error(
        "the state directory belongs to cluster {own}, the secret that was given to cluster {given}: use another state \
         directory, or leave the secret away"
    )]
    OtherCluster {
        /// The state directory's.
        own: ClusterId,
        /// The given one's.
        given: ClusterId,
    },
    /// Keys or certificates could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The system gives no random numbers.
    #[error("cannot make keys: the system gives no random numbers")]
    Random,
}

/// Which cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A certificate and its key, for TLS.
pub struct NodeCertificate {
    /// The certificate alone: peers have the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// The secret.
#[derive(Clone)]
pub struct ClusterSecret {
    id: ClusterId,
    authority: CertificateDer<'static>,
    authority_key: Vec<u8>,
    gossip_key: [u8; 32],
    ticket_key: [u8; 32],
    token_key: Vec<u8>,
}

/// Everything in it is secret.
impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    cluster: String,
    authority: String,
    authority_key: String,
    gossip_key: String,
    ticket_key: String,
    token_key: String,
}

impl ClusterSecret {
    /// A new cluster's.
    ///
    /// # Errors
    /// [`SecretError::Make`] or [`SecretError::Random`].
    pub fn generate(now: SystemTime) -> Result<ClusterSecret, SecretError> {
        let tokens = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SecretError::Random)?;
        ClusterSecret::with_token_key(now, tokens.as_ref().to_vec())
    }

    fn with_token_key(now: SystemTime, token_key: Vec<u8>) -> Result<ClusterSecret, SecretError> {
        let id = ClusterId(random::u64());
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = authority_params(id);
        (params.not_before, params.not_after) = ((now - BACKDATED).into(), (now + AUTHORITY_LIFE).into());
        let authority = params.self_signed(&key)?.der().clone();
        Ok(ClusterSecret {
            id,
            authority,
            authority_key: key.serialize_der(),
            gossip_key: random::bytes(),
            ticket_key: random::bytes(),
            token_key,
        })
    }

    /// The state directory's; where it has none, the one in the file that was `given`, or a new cluster's. It is kept in
    /// the state directory.
    ///
    /// # Errors
    /// [`SecretError`]; a damaged file is an error, not replaced.
    pub fn open(state: &StateDirectory, given: Option<&Path>, now: SystemTime) -> Result<ClusterSecret, SecretError> {
        let given = given.map(ClusterSecret::read).transpose()?;
        if let Some(text) = state.read(FILE)? {
            let own = ClusterSecret::parse(&text)
                .map_err(|what| state.garbage(FILE, what, "restore it, or copy it from another node of the cluster"))?;
            return match given {
                Some(given) if given.id != own.id => Err(SecretError::OtherCluster { own: own.id, given: given.id }),
                _ => Ok(own),
            };
        }
        let secret = match (given, state.read(TOKEN_KEY_FILE)?) {
            (Some(given), _) => given,
            // Of a release without clusters: the tokens that it signed stay good.
            (None, Some(key)) => {
                Ed25519KeyPair::from_pkcs8(&key).map_err(|_| {
                    let hint = "restore it, or delete it (every token becomes invalid)";
                    state.garbage(TOKEN_KEY_FILE, "is no Ed25519 key", hint)
                })?;
                ClusterSecret::with_token_key(now, key)?
            }
            (None, None) => ClusterSecret::generate(now)?,
        };
        state.write(FILE, &secret.to_json())?;
        Ok(secret)
    }

    /// The secret in a file.
    ///
    /// # Errors
    /// [`SecretError::Read`] or [`SecretError::Garbage`].
    pub fn read(file: &Path) -> Result<ClusterSecret, SecretError> {
        let text = std::fs::read(file).map_err(|source| SecretError::Read { file: file.into(), source })?;
        ClusterSecret::parse(&text).map_err(|what| SecretError::Garbage { file: file.into(), what })
    }

    pub(crate) fn parse(text: &[u8]) -> Result<ClusterSecret, &'static str> {
        let saved: Saved = serde_json::from_slice(text).map_err(|_| "is no secret of a cluster")?;
        if saved.version != VERSION {
            return Err("is of another version");
        }
        let damaged = "is damaged";
        let secret = ClusterSecret {
            id: ClusterId(u64::from_str_radix(&saved.cluster, 16).map_err(|_| damaged)?),
            authority: hex::decode(&saved.authority).ok_or(damaged)?.into(),
            authority_key: hex::decode(&saved.authority_key).ok_or(damaged)?,
            gossip_key: hex::decode32(&saved.gossip_key).ok_or(damaged)?,
            ticket_key: hex::decode32(&saved.ticket_key).ok_or(damaged)?,
            token_key: hex::decode(&saved.token_key).ok_or(damaged)?,
        };
        Ed25519KeyPair::from_pkcs8(&secret.token_key).map_err(|_| damaged)?;
        // Signs once: whoever starts with a broken key would be refused by every other node, for no visible reason.
        secret.certificate("probe", SystemTime::now()).map_err(|_| damaged)?;
        Ok(secret)
    }

    /// The file's content, only for its owner to read.
    pub fn to_json(&self) -> Vec<u8> {
        let saved = Saved {
            version: VERSION,
            cluster: self.id.to_string(),
            authority: hex::encode(&self.authority),
            authority_key: hex::encode(&self.authority_key),
            gossip_key: hex::encode(&self.gossip_key),
            ticket_key: hex::encode(&self.ticket_key),
            token_key: hex::encode(&self.token_key),
        };
        serde_json::to_vec_pretty(&saved).unwrap_or_default()
    }

    /// Which cluster.
    pub fn id(&self) -> ClusterId {
        self.id
    }

    /// The authority that signed every node's certificate.
    pub fn authority(&self) -> CertificateDer<'static> {
        self.authority.clone()
    }

    /// Seals gossip.
    pub fn gossip_key(&self) -> &[u8; 32] {
        &self.gossip_key
    }

    /// Seals tickets, which any worker of the cluster may have made.
    pub fn ticket_key(&self) -> &[u8; 32] {
        &self.ticket_key
    }

    /// Signs session tokens: Ed25519, PKCS #8.
    pub fn token_key(&self) -> &[u8] {
        &self.token_key
    }

    /// The name under which a node is known to TLS.
    pub fn node_name(&self, node: u64) -> String {
        tls::node_name(&self.domain(), NodeId(node))
    }

    /// The name under which any node of the cluster is known to TLS: for whoever knows only an address.
    pub fn any_name(&self) -> String {
        tls::any_name(&self.domain())
    }

    /// What the names of the cluster end with.
    fn domain(&self) -> String {
        format!("{}.ringside", self.id)
    }

    /// What makes a node's workers members of the cluster.
    ///
    /// # Errors
    /// [`SecretError::Make`].
    pub fn membership(&self, node: u64, now: SystemTime) -> Result<tls::Membership, SecretError> {
        let NodeCertificate { chain, key } = self.node_certificate(node, now)?;
        Ok(tls::Membership { authority: self.authority(), chain, key: Arc::new(key), domain: self.domain() })
    }

    /// A certificate for a node, made anew.
    ///
    /// # Errors
    /// [`SecretError::Make`].
    pub fn node_certificate(&self, node: u64, now: SystemTime) -> Result<NodeCertificate, SecretError> {
        self.certificate(&self.node_name(node), now)
    }

    fn certificate(&self, name: &str, now: SystemTime) -> Result<NodeCertificate, SecretError> {
        let authority_key = PrivatePkcs8KeyDer::from(self.authority_key.as_slice());
        let authority_key = KeyPair::from_pkcs8_der_and_sign_algo(&authority_key, &rcgen::PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::new(authority_params(self.id), authority_key);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![name.to_owned(), self.any_name()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = ((now - BACKDATED).into(), (now + NODE_LIFE).into());
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(NodeCertificate {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }
}

/// What the authority's certificate says of itself; the same for every node, so that what one signs all believe.
fn authority_params(id: ClusterId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("Ringside cluster {id}"));
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn it_is_made_once_given_to_others_and_never_mixed() {
        let (first, second) = (Scratch::new("secret-first"), Scratch::new("secret-second"));
        let now = SystemTime::now();
        let state = StateDirectory::open(&first.0).unwrap();
        let made = ClusterSecret::open(&state, None, now).unwrap();
        assert_eq!(ClusterSecret::open(&state, None, now).unwrap().to_json(), made.to_json(), "kept");

        let file = state.path().join(FILE);
        let other = StateDirectory::open(&second.0).unwrap();
        let joined = ClusterSecret::open(&other, Some(&file), now).unwrap();
        assert_eq!(joined.to_json(), made.to_json());
        assert_eq!(ClusterSecret::open(&other, None, now).unwrap().id(), made.id(), "kept there as well");

        let stranger = second.0.join("stranger.json");
        std::fs::write(&stranger, ClusterSecret::generate(now).unwrap().to_json()).unwrap();
        let error = ClusterSecret::open(&other, Some(&stranger), now).unwrap_err().to_string();
        assert!(error.contains("belongs to cluster"), "{error}");
    }

    #[test]
    fn the_signing_key_of_a_release_without_clusters_stays() {
        let scratch = Scratch::new("secret-old-key");
        let state = StateDirectory::open(&scratch.0).unwrap();
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        state.write(TOKEN_KEY_FILE, b"no key").unwrap();
        let error = ClusterSecret::open(&state, None, SystemTime::now()).unwrap_err().to_string();
        assert!(error.contains("token.key is no Ed25519 key"), "{error}");
        state.write(TOKEN_KEY_FILE, key.as_ref()).unwrap();
        let secret = ClusterSecret::open(&state, None, SystemTime::now()).unwrap();
        assert_eq!(secret.token_key(), key.as_ref());
    }

    #[test]
    fn damage_is_refused_with_the_file_and_what_to_do() {
        let scratch = Scratch::new("secret-damaged");
        let now = SystemTime::now();
        let state = StateDirectory::open(&scratch.0).unwrap();
        let secret = ClusterSecret::generate(now).unwrap();
        let text = String::from_utf8(secret.to_json()).unwrap();
        let key = hex::encode(&secret.authority_key);
        for (bad, says) in [
            ("{}".to_owned(), "is no secret of a cluster"),
            (text.replace("\"version\": 1", "\"version\": 2"), "is of another version"),
            (text.replace(&key, &key[2..]), "is damaged"),
            (text.replace(&hex::encode(&secret.gossip_key), "00"), "is damaged"),
        ] {
            std::fs::write(state.path().join(FILE), &bad).unwrap();
            let error = ClusterSecret::open(&state, None, now).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(FILE), "{error}");
            let error = ClusterSecret::read(&state.path().join(FILE)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("copy cluster.json"), "{error}");
        }
    }
}
