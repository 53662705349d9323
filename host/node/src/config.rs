//! The node's configuration: one flat TOML file, every key overridable by an environment variable and a flag. Whatever
//! is wrong is refused at start with its place, its value and what would be right. Reads no state and opens no socket.

mod error;
mod keys;

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringside_core::ring::{Weight, Zone};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::store::Location;

pub use error::{ConfigError, Origin};
pub use keys::{KEYS, Key, Kind};

/// What a node runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The state directory.
    pub state: PathBuf,
    /// Where the first worker's socket is bound; the others take the ports after it. Port 0: any.
    pub listen: SocketAddr,
    /// The address that players are told, where it is not the bound one.
    pub advertise: Option<IpAddr>,
    /// Where the admin API listens; loopback only. Port 0: any.
    pub admin: SocketAddr,
    /// Where clients ask in advance where their session is (TCP); `None`: as `listen`. Port 0: any.
    pub resolve: Option<SocketAddr>,
    /// Where other nodes' links come in. Port 0: any.
    pub links: SocketAddr,
    /// Where other nodes' gossip comes in. Port 0: any.
    pub gossip: SocketAddr,
    /// Where the first worker's links to workers of other nodes come in; the other workers take the ports after it. Port 0:
    /// any. `None`: any port at the address of `links`.
    pub peers: Option<SocketAddr>,
    /// Links of nodes whose cluster is to be joined; none: the node begins one, or goes on with its own.
    pub join: Vec<SocketAddr>,
    /// A copy of the cluster's secret, for a state directory that has none.
    pub secret: Option<PathBuf>,
    /// How much of the cluster's load the node takes, against others.
    pub weight: Weight,
    /// What the node fails together with.
    pub zone: Zone,
    /// Workers, the penalty worker not counted.
    pub workers: u8,
    /// Where the store is; `None`: `store` in the state directory.
    pub store: Option<Location>,
    /// How long a seat is kept without a connection.
    pub seat_window: Duration,
    /// After how long without anything to do sessions go into the store; never if none.
    pub idle_after: Option<Duration>,
    /// Whether every session is recorded.
    pub record: bool,
    /// Whether sessions go to other nodes by themselves: to one that came, or from this one when it has too much to do.
    pub rebalance: bool,
    /// Most sessions at a time.
    pub sessions: usize,
    /// How long a certificate is good for, days.
    pub certificate_days: u32,
    /// Filter of the node's own log, as `tracing` takes it.
    pub log: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            state: PathBuf::from(".ringside"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)),
            advertise: None,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 7401)),
            resolve: None,
            links: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            gossip: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            peers: None,
            join: Vec::new(),
            secret: None,
            weight: Weight::NORMAL,
            zone: Zone::default(),
            workers: default_workers(),
            store: None,
            seat_window: ringside_protocol::limits::SEAT_WINDOW,
            idle_after: Some(Duration::from_micros(ringside_core::idle::IDLE_AFTER_US)),
            record: false,
            rebalance: true,
            sessions: ringside_core::limits::NODE_SESSIONS,
            certificate_days: 14,
            log: "info".to_owned(),
        }
    }
}

/// Cores − 1, at least one: the last core belongs to everything else.
fn default_workers() -> u8 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u8::try_from(cores.saturating_sub(1).clamp(1, 64)).unwrap_or(1)
}

impl Config {
    /// The configuration of `file` (if any), overridden by `environment`, overridden by `flags`; both are lists of
    /// (key, value). Keys of the environment that are not the configuration's are ignored: see
    /// [`unknown_variables`].
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn load(
        file: Option<&Path>,
        environment: &[(String, OsString)],
        flags: &[(&'static str, OsString)],
    ) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        if let Some(path) = file {
            let text =
                std::fs::read_to_string(path).map_err(|source| ConfigError::Read { file: path.into(), source })?;
            config.apply_toml(path, &text)?;
        }
        for key in KEYS {
            let variable = key.variable();
            if let Some((_, value)) = environment.iter().find(|(name, _)| *name == variable) {
                config.apply(key, value, Origin::Variable(variable))?;
            }
        }
        for (name, value) in flags {
            let key = Key::named(name).ok_or_else(|| ConfigError::unknown(Origin::Flag(name), name))?;
            config.apply(key, value, Origin::Flag(key.name))?;
        }
        config.check()?;
        Ok(config)
    }

    /// The address that players are told for a socket bound to `bound`.
    pub fn advertised(&self, bound: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.advertise.unwrap_or(bound.ip()), bound.port())
    }

    /// Where the first worker's links to workers of other nodes come in.
    pub fn peers(&self) -> SocketAddr {
        self.peers.unwrap_or(SocketAddr::new(self.links.ip(), 0))
    }

    /// Where the store is.
    pub fn store(&self) -> Location {
        self.store.clone().unwrap_or_else(|| Location::Directory(self.state.join("store")))
    }

    fn apply(&mut self, key: &'static Key, value: &OsStr, origin: Origin) -> Result<(), ConfigError> {
        (key.set)(self, value).ok_or_else(|| ConfigError::value(origin, key, &value.to_string_lossy()))
    }

    pub(crate) fn apply_toml(&mut self, file: &Path, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = line_of(text, error.span().map_or(0, |span| span.start));
            ConfigError::Syntax { origin: Origin::File(file.into(), line), message: error.message().to_owned() }
        })?;
        let mut entries: Vec<_> = table.into_inner().into_iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let origin = Origin::File(file.into(), line_of(text, name.span().start));
            let Some(key) = Key::named(name.get_ref()) else {
                return Err(ConfigError::unknown(origin, name.get_ref()));
            };
            let plain = plain_value(key, &value);
            let plain = plain.ok_or_else(|| ConfigError::value(origin.clone(), key, text[value.span()].trim()))?;
            self.apply(key, OsStr::new(&plain), origin)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (key, address) in [("links", self.links), ("gossip", self.gossip), ("peers", self.peers())] {
            if address.ip().is_unspecified() && self.advertise.is_none() {
                return Err(ConfigError::Together(format!(
                    "`{key}` is {address}, which other nodes cannot connect to: set `advertise` to the address that \
                     they reach"
                )));
            }
        }
        for (key, address) in [("listen", Some(self.listen)), ("resolve", self.resolve)] {
            if let Some(address) = address.filter(|address| address.ip().is_unspecified())
                && self.advertise.is_none()
            {
                return Err(ConfigError::Together(format!(
                    "`{key}` is {address}, which players cannot connect to: set `advertise` to the address that they reach"
                )));
            }
        }
        for (key, first) in [("listen", self.listen.port()), ("peers", self.peers().port())] {
            let last = u32::from(first) + u32::from(self.workers);
            if first != 0 && last > u32::from(u16::MAX) {
                return Err(ConfigError::Together(format!(
                    "`{key}` has port {first} and `workers` is {}: a worker takes a port each and the penalty worker \
                     one more, up to {last}, but ports end at 65535",
                    self.workers
                )));
            }
        }
        Ok(())
    }
}

/// A value of the kind that the key wants, as text.
fn plain_value(key: &Key, value: &Spanned<DeValue<'_>>) -> Option<String> {
    match (key.kind, value.get_ref()) {
        (Kind::Text, DeValue::String(text)) => Some(text.to_string()),
        (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => Some(number.as_str().to_owned()),
        (Kind::Switch, DeValue::Boolean(on)) => Some(on.to_string()),
        (Kind::List, DeValue::Array(items)) => {
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Some(text.to_string()),
                    _ => None,
                })
                .collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// Variables that look like ours and are not; worth a warning.
pub fn unknown_variables(environment: &[(String, OsString)]) -> Vec<&str> {
    const OTHERS: [&str; 3] = ["RINGSIDE_CONFIG", "RINGSIDE_ADMIN_URL", "RINGSIDE_ADMIN_TOKEN"];
    environment
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.starts_with("RINGSIDE_") && !OTHERS.contains(name))
        .filter(|name| !KEYS.iter().any(|key| key.variable() == *name))
        .collect()
}

#[cfg(test)]
mod tests;
