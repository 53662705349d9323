//! What an application says when it connects, checked once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ringside_protocol::frame::{Certificate, Target};
use ringside_protocol::ids::IdError;
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;

use super::resolve::Resolver;
use super::tls::{self, Believed, Dialer};
use crate::core::{Config, TargetText};

/// Whom to believe to be the server. Workers that a trusted server names are expected with the certificate that it
/// names.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Servers with one of these certificates (SHA-256 of the DER form), and nobody else.
    CertificateSha256(Vec<[u8; 32]>),
    /// Servers with a certificate for this name by one of these authorities.
    Roots(rustls::RootCertStore, String),
    /// Anybody, but at loopback addresses only: for development.
    InsecureLoopback,
}

/// What to connect to, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Front doors or workers to begin at, tried in order.
    pub addresses: Vec<SocketAddr>,
    /// Whom to believe.
    pub trust: Trust,
    /// The session token.
    pub token: String,
    /// What to be attached to.
    pub target: Target,
    /// Whether to ask to be relayed rather than redirected.
    pub relay: bool,
    /// A node that is asked over HTTPS where the session is led before anything is opened, such as
    /// `https://192.0.2.7:7400`, believed as the servers are: then no redirect is needed. Where it does not answer, or may
    /// not, the addresses are tried as without it. See [`Options::resolve`].
    pub resolver: Option<String>,
    /// Whether to keep a connection to the session's follower, where there is one: then the death of the leader's node is
    /// over within a second.
    pub standby: bool,
    /// Seed of the pauses between tries; drawn from the clock and the address of the options where there is none.
    pub seed: Option<u64>,
    /// How long to try without being attached before giving up.
    pub give_up_after: Duration,
    /// How long nothing may be heard before a connection counts as lost.
    pub idle_timeout: Duration,
    /// An endpoint to share: many clients in one process need one UDP socket only. [`endpoint`] makes one.
    pub endpoint: Option<quinn::Endpoint>,
}

/// What options come to.
pub(super) struct Prepared {
    pub dialer: Dialer,
    pub resolver: Option<Resolver>,
    pub config: Config,
}

impl Options {
    /// Options with everything else at its default. `target` is `game/key`, or `game?criteria` for find-or-create.
    ///
    /// # Errors
    /// [`IdError`] where the target is not one.
    pub fn new(
        addresses: impl IntoIterator<Item = SocketAddr>,
        trust: Trust,
        token: impl Into<String>,
        target: &str,
    ) -> Result<Options, IdError> {
        Ok(Options {
            addresses: addresses.into_iter().collect(),
            trust,
            token: token.into(),
            target: target.parse::<TargetText>()?.0,
            relay: false,
            resolver: None,
            standby: true,
            seed: None,
            give_up_after: limits::CLIENT_GIVE_UP,
            idle_timeout: limits::CLIENT_IDLE_TIMEOUT,
            endpoint: None,
        })
    }

    /// The same, asking the node at this URL (`https://HOST:PORT`) first where the session is led. A node answers at the
    /// address and port of its door, by TCP.
    #[must_use]
    pub fn resolve(mut self, url: impl Into<String>) -> Options {
        self.resolver = Some(url.into());
        self
    }

    pub(super) fn prepare(self) -> Result<Prepared, ConnectError> {
        let first = *self.addresses.first().ok_or(ConnectError::NoAddress)?;
        if self.token.len() > limits::TOKEN_BYTES {
            return Err(ConnectError::TokenTooLong(self.token.len()));
        }
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => endpoint(first)?,
        };
        let believed = Believed::new(self.trust)?;
        let resolver = self.resolver.map(|url| Resolver::new(&url, believed.clone())).transpose()?;
        let dialer = Dialer::new(endpoint, believed, self.idle_timeout)?;
        let config = Config {
            token: self.token,
            target: self.target,
            doors: self.addresses.into_iter().map(|address| (address, None::<Certificate>)).collect(),
            relay: self.relay,
            resolve: resolver.is_some(),
            standby: self.standby,
            seed: self.seed.unwrap_or_else(tls::random_seed),
            give_up_after: self.give_up_after,
        };
        Ok(Prepared { dialer, resolver, config })
    }
}

/// A client endpoint that reaches servers of `server`'s address family; cheap to clone, for any number of clients.
///
/// # Errors
/// [`ConnectError::Socket`].
pub fn endpoint(server: SocketAddr) -> Result<quinn::Endpoint, ConnectError> {
    let any = match (server, server.ip().is_loopback()) {
        (SocketAddr::V4(_), true) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        (SocketAddr::V4(_), false) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        (SocketAddr::V6(_), true) => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        (SocketAddr::V6(_), false) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    quinn::Endpoint::client(any).map_err(ConnectError::Socket)
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The options name no address.
    #[error("no address to connect to")]
    NoAddress,
    /// The session token is longer than the protocol allows.
    #[error("a session token of {0} bytes is too long")]
    TokenTooLong(usize),
    /// The URL to ask is none that can be asked.
    #[error("cannot ask {0:?} where the session is: expected https://HOST or https://HOST:PORT")]
    ResolverUrl(String),
    /// No UDP socket could be had.
    #[error("no UDP socket: {0}")]
    Socket(#[source] std::io::Error),
    /// The options do not make a TLS configuration.
    #[error("TLS cannot be configured: {0}")]
    Tls(String),
    /// The server refused, or nobody answered; [`Reason::reaction`] says what may help.
    #[error("{message}")]
    Refused {
        /// Why.
        reason: Reason,
        /// The same for people.
        message: String,
    },
    /// The client was closed before it was attached.
    #[error("closed before the session was reached")]
    Closed,
}
