//! What a game declares about itself, read off the record that `describe` returns, every field checked.

use ringside_core::ids::GameName;
use ringside_core::limits;
use ringside_protocol::tier::{PartitionPolicy, Tier};

/// A game's description; every number is within its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: GameName,
    /// Ticks a second; 0 for an event-driven game.
    pub tick_rate: u32,
    /// Fewest players with which a match makes sense.
    pub min_players: u32,
    /// Most players at a time.
    pub max_players: u32,
    /// Most messages and datagrams a second of one player.
    pub input_rate: u32,
    /// Most views a second to one player.
    pub view_rate: u32,
    /// The durability that it needs.
    pub tier: Tier,
    /// What a partition does to it.
    pub partition_policy: PartitionPolicy,
    /// Whether find-or-create may put players into a session that has begun.
    pub late_join: bool,
    /// What its followers do with a session's log. Not of the record that `describe` returns: a module may say so beside it.
    pub followers: Followers,
}

/// What whoever follows a session does with its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Followers {
    /// Folds it as it comes. So does a follower of a game that does not say.
    #[default]
    Replay,
    /// Keeps it from the last checkpoint on, and folds that before it leads.
    KeepLog,
}

impl Followers {
    /// What a module says by this number.
    ///
    /// # Errors
    /// Nothing, in words for the author.
    pub(crate) fn read(said: u32) -> Result<Followers, String> {
        match said {
            0 => Ok(Followers::Replay),
            1 => Ok(Followers::KeepLog),
            other => Err(format!("describe-followers answers {other}, which says nothing about followers")),
        }
    }
}

/// Size of the record in the canonical ABI, bytes.
pub(crate) const RECORD_BYTES: usize = 32;

/// Reads the record at `at`.
///
/// # Errors
/// The field that is wrong, in words for the author.
pub(crate) fn read(memory: &[u8], at: u32) -> Result<Description, String> {
    if !at.is_multiple_of(4) {
        return Err(format!("describe answers address {at}, which is not aligned"));
    }
    let record = memory.get(at as usize..).and_then(|rest| rest.first_chunk::<RECORD_BYTES>());
    let record = record.ok_or_else(|| format!("describe answers address {at}, which is outside the memory"))?;
    let word = |offset: usize| {
        let bytes = [record[offset], record[offset + 1], record[offset + 2], record[offset + 3]];
        u32::from_le_bytes(bytes)
    };
    let name = memory.get(word(0) as usize..).and_then(|rest| rest.get(..word(4) as usize));
    let name = name.ok_or("its name lies outside the memory")?;
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?;
    Ok(Description {
        name: name.parse().map_err(|error: ringside_core::ids::IdError| error.to_string())?,
        tick_rate: within("tick-rate", word(8), 0, 120)?,
        min_players: within("min-players", word(12), 0, word(16))?,
        max_players: within("max-players", word(16), 1, limits::SLOTS as u32)?,
        input_rate: within("input-rate", word(20), 1, 1000)?,
        view_rate: within("view-rate", word(24), 1, 120)?,
        tier: match record[28] {
            0 => Tier::Volatile,
            1 => Tier::Replicated,
            2 => Tier::Durable,
            other => return Err(format!("no tier has the number {other}")),
        },
        partition_policy: match record[29] {
            0 => PartitionPolicy::Consistent,
            1 => PartitionPolicy::Available,
            other => return Err(format!("no partition-policy has the number {other}")),
        },
        late_join: match record[30] {
            0 => false,
            1 => true,
            other => return Err(format!("late-join must be 0 or 1, it is {other}")),
        },
        followers: Followers::default(),
    })
}

fn within(field: &str, value: u32, least: u32, most: u32) -> Result<u32, String> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("its {field} is {value}, it must be {least} to {most}"))
    }
}
