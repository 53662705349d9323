//! What a game declares about itself, as a constant: a description that breaks a rule does not compile.

/// How safe an input must be before a reliable output that depends on it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// At once: lost with its node.
    Volatile,
    /// When every in-sync follower has it.
    Replicated,
    /// When every in-sync follower and the store have it.
    Durable,
}

/// What happens to a session when its nodes can no longer reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionPolicy {
    /// At most one side goes on.
    Consistent,
    /// Both sides may go on; one wins when they meet again.
    Available,
}

/// What whoever follows a session, so that it goes on elsewhere, does with its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followers {
    /// Folds it as it comes, and leads at once where its leader ends.
    Replay,
    /// Keeps it, from the last checkpoint on, and calls nothing. It folds that much before it leads, and players wait
    /// so long.
    KeepLog,
}

/// A game's own description.
///
/// ```
/// use ringside_guest::Description;
///
/// const PONG: Description = Description::new("pong").tick_rate(60).view_rate(30).players(2, 2);
/// assert_eq!(PONG.ticks_a_view(), 2);
/// ```
///
/// A description that breaks a rule is a compile error that names the rule:
///
/// ```compile_fail
/// # use ringside_guest::Description;
/// const TOO_FAST: Description = Description::new("pong").tick_rate(1000);
/// # let _ = TOO_FAST;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    pub(crate) name: &'static str,
    pub(crate) tick_rate: u32,
    pub(crate) min_players: u32,
    pub(crate) max_players: u32,
    pub(crate) input_rate: u32,
    pub(crate) view_rate: u32,
    pub(crate) tier: Tier,
    pub(crate) partition_policy: PartitionPolicy,
    pub(crate) late_join: bool,
    pub(crate) followers: Followers,
    pub(crate) shared_view: bool,
}

impl Description {
    /// A game called `name`: event-driven, for one to eight players, at most 60 inputs a player and second, 20 views
    /// a second, volatile, consistent, open to late joiners. The other functions change that.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_game_name(name.as_bytes()), "a game's name is 1 to 40 of a-z, 0-9 and '-', beginning with a letter");
        Description {
            name,
            tick_rate: 0,
            min_players: 1,
            max_players: 8,
            input_rate: 60,
            view_rate: 20,
            tier: Tier::Volatile,
            partition_policy: PartitionPolicy::Consistent,
            late_join: true,
            followers: Followers::Replay,
            shared_view: false,
        }
    }

    /// Ticks a second, 1 to 120; 0 for an event-driven game, whose `tick` is never called.
    pub const fn tick_rate(mut self, ticks: u32) -> Self {
        assert!(ticks <= 120, "a tick rate is at most 120 a second");
        self.tick_rate = ticks;
        self
    }

    /// Fewest players with which a match makes sense, and most in a session at a time (at most 256).
    pub const fn players(mut self, min: u32, max: u32) -> Self {
        assert!(1 <= min && min <= max && max <= 256, "player limits are 1 <= min <= max <= 256");
        self.min_players = min;
        self.max_players = max;
        self
    }

    /// Most messages and datagrams a second that the host accepts of one player, 1 to 1000.
    pub const fn input_rate(mut self, inputs: u32) -> Self {
        assert!(1 <= inputs && inputs <= 1000, "an input rate is 1 to 1000 a second");
        self.input_rate = inputs;
        self
    }

    /// Views a second that a player is sent at most, 1 to 120. A ticking game's views are written as often.
    pub const fn view_rate(mut self, views: u32) -> Self {
        assert!(1 <= views && views <= 120, "a view rate is 1 to 120 a second");
        self.view_rate = views;
        self
    }

    /// The durability that this game needs.
    pub const fn tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// What a partition does to it.
    pub const fn partition_policy(mut self, policy: PartitionPolicy) -> Self {
        self.partition_policy = policy;
        self
    }

    /// Whether find-or-create may put players into a session that has begun.
    pub const fn late_join(mut self, late_join: bool) -> Self {
        self.late_join = late_join;
        self
    }

    /// What its followers do with a session's log.
    pub const fn followers(mut self, followers: Followers) -> Self {
        self.followers = followers;
        self
    }

    /// Every player sees the same: `view` is called once, with the lowest joined slot, instead of once a player.
    pub const fn shared_view(mut self) -> Self {
        self.shared_view = true;
        self
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Ticks a second; 0 if event-driven.
    pub const fn ticks_a_second(&self) -> u32 {
        self.tick_rate
    }

    /// Most players at a time.
    pub const fn max_players(&self) -> u32 {
        self.max_players
    }

    /// Every how many ticks views are written: as often as they are sent, and at least each tick.
    pub const fn ticks_a_view(&self) -> u64 {
        let ticks = self.tick_rate / self.view_rate;
        if ticks == 0 { 1 } else { ticks as u64 }
    }
}

const fn is_game_name(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > 40 || !name[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 0;
    while at < name.len() {
        if !(name[at].is_ascii_lowercase() || name[at].is_ascii_digit() || name[at] == b'-') {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_contract() {
        for good in ["p", "pong", "arena60", "bad-citizens"] {
            assert!(is_game_name(good.as_bytes()), "{good}");
        }
        for bad in ["", "Pong", "6nimmt", "-x", "a b", "pöng", &"x".repeat(41)] {
            assert!(!is_game_name(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn views_are_written_as_often_as_they_are_sent() {
        let ticking = Description::new("game").tick_rate(60);
        assert_eq!(ticking.view_rate(20).ticks_a_view(), 3);
        assert_eq!(ticking.view_rate(60).ticks_a_view(), 1);
        assert_eq!(ticking.view_rate(120).ticks_a_view(), 1);
        assert_eq!(ticking.view_rate(25).ticks_a_view(), 2);
    }
}
