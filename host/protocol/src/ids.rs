//! Names that cross the wire: checked when they are made, trusted afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not valid: {rule}")]
pub struct IdError {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

impl IdError {
    /// An error about a `kind` of name; the offending text is cut to 80 characters.
    pub fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        IdError { kind, text: text.chars().take(80).collect(), rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok($name(text.to_owned())) } else { Err(IdError::new($kind, text, $rule)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

name!(
    /// A game's name.
    GameName,
    "game name",
    "1 to 40 of a-z, 0-9 and '-', beginning with a letter",
    |text| (1..=40).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(is_name_byte)
);
name!(
    /// A session's key within its game.
    SessionKey,
    "session key",
    "1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.'",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
);
name!(
    /// A player, as the token's issuer names them.
    PlayerId,
    "player id",
    "1 to 64 printable ASCII characters without spaces",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
);

/// A player's small number in a session, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u16);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which incarnation of a key: drawn when the session is created, so that a key used again is another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// A session: game, key and incarnation. Written `game/key@incarnation` with the incarnation in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// The game that it runs.
    pub game: GameName,
    /// Its key within the game.
    pub key: SessionKey,
    /// Which session of that key.
    pub incarnation: Incarnation,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{:016x}", self.game, self.key, self.incarnation.0)
    }
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::new("session id", text, "expected game/key@incarnation");
        let (name, incarnation) = text.rsplit_once('@').ok_or_else(malformed)?;
        let (game, key) = name.split_once('/').ok_or_else(malformed)?;
        if incarnation.len() != 16 || !incarnation.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        let incarnation = u64::from_str_radix(incarnation, 16).map_err(|_| malformed())?;
        Ok(SessionId { game: game.parse()?, key: key.parse()?, incarnation: Incarnation(incarnation) })
    }
}

/// A worker of a node, from 0. Its number is a byte of every connection id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u8);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Leadership's generation: whoever has seen a greater epoch accepts nothing of a smaller one. The node and its
/// generation are part of it, so that two leaders never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Counts promotions, from 1.
    pub number: u64,
    /// The leader's node.
    pub node: u64,
    /// That node's generation (milliseconds since 1970 at its start).
    pub node_generation: u64,
}

/// A line of a session's history, named by the epoch that began it: two leaders never share an epoch, so two
/// branches never share a name. Message numbers are counted per player, session and branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Branch(pub Epoch);
