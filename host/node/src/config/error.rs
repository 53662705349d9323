//! What can be wrong with a configuration, in words that say where it is and what would be right.

use std::fmt;
use std::path::PathBuf;

use super::keys::{KEYS, Key};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file and a line of it, from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A command-line flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(file, line) => write!(f, "{}, line {line}", file.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag --{}", name.replace('_', "-")),
        }
    }
}

/// Why a node does not start with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("{origin}: there is no key `{key}`{hint}")]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// The nearest key, or all of them.
        hint: String,
    },
    /// A value that is not allowed.
    #[error("{origin}: `{key}` is {value}: expected {expected}")]
    Value {
        /// Where.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// Values that do not go together.
    #[error("{0}")]
    Together(String),
}

impl ConfigError {
    pub(super) fn unknown(origin: Origin, key: &str) -> ConfigError {
        let nearest = KEYS.iter().min_by_key(|known| distance(known.name, key));
        let hint = match nearest.filter(|known| distance(known.name, key) <= 2) {
            Some(known) => format!("; did you mean `{}`?", known.name),
            None => format!("; keys are {}", KEYS.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")),
        };
        ConfigError::UnknownKey { origin, key: key.chars().take(80).collect(), hint }
    }

    pub(super) fn value(origin: Origin, key: &'static Key, value: &str) -> ConfigError {
        let shown: String = value.chars().take(80).collect();
        let value = if shown.is_empty() { "empty".to_owned() } else { shown };
        ConfigError::Value { origin, key: key.name, value, expected: key.expected }
    }
}

/// Letters to insert, delete or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(40).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for column in 1..row.len() {
            let replaced = diagonal + usize::from(letter != right[column - 1]);
            diagonal = row[column];
            row[column] = replaced.min(diagonal + 1).min(row[column - 1] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
