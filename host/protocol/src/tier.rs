//! How safe an input must be before what depends on it leaves, and what a partition does to a session.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::IdError;

/// How safe an input is, or must be. Ordered: a greater tier includes the smaller ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Applied by the leader; lost with its node.
    #[default]
    Volatile,
    /// Every in-sync follower has it.
    Replicated,
    /// Every in-sync follower and the store have it.
    Durable,
}

/// What happens to a session when its nodes can no longer reach each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionPolicy {
    /// At most one side goes on, the other pauses and says so.
    #[default]
    Consistent,
    /// Both sides may go on; one wins when they meet again.
    Available,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Volatile => "volatile",
            Tier::Replicated => "replicated",
            Tier::Durable => "durable",
        })
    }
}

impl FromStr for Tier {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "volatile" => Ok(Tier::Volatile),
            "replicated" => Ok(Tier::Replicated),
            "durable" => Ok(Tier::Durable),
            _ => Err(IdError::new("tier", text, "volatile, replicated or durable")),
        }
    }
}

impl fmt::Display for PartitionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PartitionPolicy::Consistent => "consistent",
            PartitionPolicy::Available => "available",
        })
    }
}

impl FromStr for PartitionPolicy {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "consistent" => Ok(PartitionPolicy::Consistent),
            "available" => Ok(PartitionPolicy::Available),
            _ => Err(IdError::new("partition policy", text, "consistent or available")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_ordered_and_read_back() {
        assert!(Tier::Volatile < Tier::Replicated);
        assert!(Tier::Replicated < Tier::Durable);
        for tier in [Tier::Volatile, Tier::Replicated, Tier::Durable] {
            assert_eq!(tier.to_string().parse::<Tier>(), Ok(tier));
        }
        for policy in [PartitionPolicy::Consistent, PartitionPolicy::Available] {
            assert_eq!(policy.to_string().parse::<PartitionPolicy>(), Ok(policy));
        }
        assert!("safe".parse::<Tier>().is_err());
        assert!("".parse::<PartitionPolicy>().is_err());
    }
}
