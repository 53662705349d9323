//! Every key of the configuration in one table: its name, what it is for, what is allowed, and how it is set.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ringside_core::ring::{Weight, Zone};

use super::Config;
use crate::store::Location;

/// How a value is written in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A decimal integer.
    Number,
    /// `true` or `false`.
    Switch,
    /// An array of strings; with commas between them in a variable, repeated as a flag.
    List,
}

/// A key.
pub struct Key {
    /// Its name in the file; the flag is the same with dashes.
    pub name: &'static str,
    /// How it is written.
    pub kind: Kind,
    /// What is allowed, for errors.
    pub expected: &'static str,
    pub(super) set: fn(&mut Config, &OsStr) -> Option<()>,
}

impl Key {
    /// The key of this name.
    pub fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("RINGSIDE_{}", self.name.to_uppercase())
    }
}

/// All keys.
pub const KEYS: &[Key] = &[
    Key {
        name: "state",
        kind: Kind::Text,
        expected: "a path",
        set: |config, value| path(value).map(|path| config.state = path),
    },
    Key {
        name: "listen",
        kind: Kind::Text,
        expected: "an address and a port such as \"127.0.0.1:7400\"",
        set: |config, value| parsed(value).map(|address| config.listen = address),
    },
    Key {
        name: "advertise",
        kind: Kind::Text,
        expected: "an address without a port that players reach, such as \"192.0.2.7\"",
        set: |config, value| {
            let address = parsed::<IpAddr>(value).filter(|address| !address.is_unspecified())?;
            config.advertise = Some(address);
            Some(())
        },
    },
    Key {
        name: "admin",
        kind: Kind::Text,
        expected: "a loopback address and a port such as \"127.0.0.1:7401\" (the admin API is not encrypted)",
        set: |config, value| {
            config.admin = parsed::<SocketAddr>(value).filter(|address| address.ip().is_loopback())?;
            Some(())
        },
    },
    Key {
        name: "resolve",
        kind: Kind::Text,
        expected: "an address and a port such as \"192.0.2.7:443\" (TCP)",
        set: |config, value| parsed(value).map(|address| config.resolve = Some(address)),
    },
    Key {
        name: "links",
        kind: Kind::Text,
        expected: "an address and a port such as \"192.0.2.7:7390\"",
        set: |config, value| parsed(value).map(|address| config.links = address),
    },
    Key {
        name: "gossip",
        kind: Kind::Text,
        expected: "an address and a port such as \"192.0.2.7:7391\"",
        set: |config, value| parsed(value).map(|address| config.gossip = address),
    },
    Key {
        name: "peers",
        kind: Kind::Text,
        expected: "an address and a port such as \"192.0.2.7:7392\"",
        set: |config, value| parsed(value).map(|address| config.peers = Some(address)),
    },
    Key {
        name: "join",
        kind: Kind::List,
        expected: "addresses of nodes' links, at most 16, such as [\"192.0.2.7:7390\"]",
        set: |config, value| {
            let parts = value.to_str()?.split(',').map(str::trim).filter(|part| !part.is_empty());
            let addresses: Option<Vec<SocketAddr>> = parts.map(|part| part.parse().ok()).collect();
            config.join = addresses.filter(|addresses| addresses.len() <= 16)?;
            Some(())
        },
    },
    Key {
        name: "secret",
        kind: Kind::Text,
        expected: "the path of a cluster.json",
        set: |config, value| path(value).map(|path| config.secret = Some(path)),
    },
    Key {
        name: "weight",
        kind: Kind::Number,
        expected: "a number of percent from 1 to 1600",
        set: |config, value| {
            config.weight = Weight::percent(parsed(value)?)?;
            Some(())
        },
    },
    Key {
        name: "zone",
        kind: Kind::Text,
        expected: "a name of at most 32 bytes",
        set: |config, value| Zone::new(value.to_str()?).map(|zone| config.zone = zone),
    },
    Key {
        name: "workers",
        kind: Kind::Number,
        expected: "a number from 1 to 64",
        set: |config, value| number(value, 1..=64).map(|count| config.workers = count as u8),
    },
    Key {
        name: "store",
        kind: Kind::Text,
        expected: "the path of a directory, or s3://bucket/prefix",
        set: |config, value| Location::parse(value).map(|location| config.store = Some(location)),
    },
    Key {
        name: "seat_window_s",
        kind: Kind::Number,
        expected: "a number of seconds from 1 to 3000",
        set: |config, value| number(value, 1..=3000).map(|seconds| config.seat_window = Duration::from_secs(seconds)),
    },
    Key {
        name: "idle_after_s",
        kind: Kind::Number,
        expected: "a number of seconds from 1 to 31536000, or 0 for never",
        set: |config, value| {
            let seconds = number(value, 0..=31_536_000)?;
            config.idle_after = (seconds > 0).then(|| Duration::from_secs(seconds));
            Some(())
        },
    },
    Key {
        name: "record",
        kind: Kind::Switch,
        expected: "true or false",
        set: |config, value| parsed(value).map(|on| config.record = on),
    },
    Key {
        name: "rebalance",
        kind: Kind::Switch,
        expected: "true or false",
        set: |config, value| parsed(value).map(|on| config.rebalance = on),
    },
    Key {
        name: "sessions",
        kind: Kind::Number,
        expected: "a number from 1 to 1000000",
        set: |config, value| number(value, 1..=1_000_000).map(|count| config.sessions = count as usize),
    },
    Key {
        name: "certificate_days",
        kind: Kind::Number,
        expected: "a number of days from 1 to 14 (browsers accept no longer one by its hash)",
        set: |config, value| number(value, 1..=14).map(|days| config.certificate_days = days as u32),
    },
    Key {
        name: "log",
        kind: Kind::Text,
        expected: "a filter such as \"info\" or \"warn,ringside_node=debug\"",
        set: |config, value| {
            let text = value.to_str()?;
            text.parse::<tracing_subscriber::filter::Targets>().ok()?;
            config.log = Some(text.to_owned()).filter(|text| !text.is_empty())?;
            Some(())
        },
    },
];

/// A value that is read as text; what is no text is none of those.
fn parsed<T: FromStr>(value: &OsStr) -> Option<T> {
    value.to_str()?.parse().ok()
}

fn number(value: &OsStr, allowed: RangeInclusive<u64>) -> Option<u64> {
    parsed(value).filter(|number| allowed.contains(number))
}

/// Names of files may be any bytes.
fn path(value: &OsStr) -> Option<PathBuf> {
    (!value.is_empty()).then(|| PathBuf::from(value))
}
