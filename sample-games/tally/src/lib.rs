//! Tally: a sum under a name that outlives whoever adds to it, as an account or a high score does. It answers at once and
//! never ticks, so it sleeps while nobody has anything to do with it. It speaks text:
//!
//! | said | does |
//! |---|---|
//! | `add 3` | adds to the sum |
//! | `ring 90` | rings in so many seconds, which is counted |
//! | `tell tally/other 3` | has another tally add that |
//!
//! All of them answer, and the statistics row says, what the tally is then.

use std::time::Duration;

use ringside_guest::{Context, Description, Game, PartitionPolicy, Refusal, Slot, Tier, Timer};
use serde::{Deserialize, Serialize};

const fn described(name: &'static str, tier: Tier) -> Description {
    Description::new(name).players(1, 64).tier(tier).partition_policy(PartitionPolicy::Available)
}

/// A tally.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The sum.
    pub sum: i64,
    /// How often it has rung.
    pub rings: u64,
    /// What other tallies have had it add.
    pub told: u64,
}

impl Tally {
    fn text(&self) -> String {
        let Tally { sum, rings, told } = self;
        format!("sum {sum}, rang {rings}, told {told}")
    }

    fn obey(&mut self, words: &[&str], context: &mut Context<Self>) -> Option<()> {
        match *words {
            ["add", number] => self.sum = self.sum.checked_add(number.parse().ok()?)?,
            ["ring", seconds] => {
                context.set_timer(Duration::from_secs(seconds.parse().ok()?));
            }
            ["tell", whom, number] => {
                number.parse::<i64>().ok()?;
                context.signal(whom, number.as_bytes());
            }
            _ => return None,
        }
        Some(())
    }
}

impl Game for Tally {
    type Config = ();
    type Input = String;
    type Output = String;
    type View = ();

    const DESCRIPTION: Description = if cfg!(feature = "replicated") {
        described("tally-replicated", Tier::Replicated)
    } else if cfg!(feature = "durable") {
        described("tally-durable", Tier::Durable)
    } else if cfg!(feature = "ticking") {
        described("tally", Tier::Volatile).tick_rate(1)
    } else {
        described("tally", Tier::Volatile)
    };

    fn start(_: (), context: &mut Context<Self>) -> Result<Self, Refusal> {
        let tally = Tally::default();
        context.set_stats(&tally.text());
        Ok(tally)
    }

    fn message(&mut self, slot: Slot, said: String, context: &mut Context<Self>) {
        let words: Vec<&str> = said.split_whitespace().collect();
        match self.obey(&words, context) {
            Some(()) => context.send(slot, &self.text()),
            None => context.send(slot, &"add NUMBER, ring SECONDS or tell GAME/KEY NUMBER".to_owned()),
        }
        context.set_stats(&self.text());
    }

    fn timer(&mut self, _: Timer, context: &mut Context<Self>) {
        self.rings += 1;
        context.set_stats(&self.text());
    }

    fn signal(&mut self, _: &str, bytes: &[u8], context: &mut Context<Self>) {
        let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
        if let Some(sum) = number.and_then(|number| self.sum.checked_add(number)) {
            (self.sum, self.told) = (sum, self.told + 1);
            context.set_stats(&self.text());
        }
    }

    fn view(&self, _: Slot) {}
}

ringside_guest::export!(Tally);

#[cfg(test)]
mod tests {
    use super::*;
    use ringside_guest::Match;

    fn say(game: &mut Match<Tally>, slot: Slot, text: &str) -> String {
        game.message(slot, &text.to_owned());
        game.outputs(slot).pop().unwrap()
    }

    #[test]
    fn it_adds_rings_and_says_so() {
        let mut game = Match::<Tally>::new(1);
        let ann = game.join("ann").unwrap();
        assert_eq!(say(&mut game, ann, "add 3"), "sum 3, rang 0, told 0");
        assert_eq!(say(&mut game, ann, "add -5"), "sum -2, rang 0, told 0");
        for nonsense in ["", "add", "add x", "sing", "ring -1", "tell", "tell tally/a x", "add 9223372036854775807 1"] {
            assert!(say(&mut game, ann, nonsense).starts_with("add NUMBER"), "{nonsense}");
        }
        assert_eq!(say(&mut game, ann, "ring 90"), "sum -2, rang 0, told 0");
        game.advance(Duration::from_secs(89));
        assert_eq!(say(&mut game, ann, "add 1"), "sum -1, rang 0, told 0");
        game.advance(Duration::from_secs(2));
        game.signal("tally/other", b"4");
        game.signal("tally/other", b"nonsense");
        assert_eq!(say(&mut game, ann, "add 0"), "sum 3, rang 1, told 1");
    }
}
