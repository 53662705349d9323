//! A player of an echo game who keeps account of what is said: a reply says which message it answers, which of the player's
//! it was by the game's count, and a hash over all that the game was told before.

use ringside_client::{Client, Event, Options};

use crate::bench::BenchError;
use crate::player::patiently;

/// What became of what a player said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Messages that were answered, and so acknowledged.
    pub acknowledged: u64,
    /// Messages that were passed over, and acknowledged ones of which the game knows nothing any longer.
    pub lost: u64,
    /// Messages that the game was told more than once, and replies that came more than once.
    pub doubled: u64,
}

/// What a player has said, and what the game is known to have counted.
#[derive(Debug)]
struct Ledger {
    account: Account,
    said: u64,
    /// The last message that was answered, and the game's count and hash with it.
    heard: u64,
    number: u64,
    hash: u64,
    /// Replies up to this one are of an earlier time, and may come once more.
    old: u64,
}

impl Ledger {
    /// Of a seat in which so much was said, and answered, before.
    fn after(said: u64) -> Ledger {
        let hash = extended(echo::EMPTY, 1..=said);
        Ledger { account: Account::default(), said, heard: said, number: said, hash, old: said }
    }

    /// The next message.
    fn say(&mut self) -> Vec<u8> {
        self.said += 1;
        self.said.to_le_bytes().to_vec()
    }

    /// Enters a reply; says whether it is to a message that had none.
    fn hear(&mut self, reply: &echo::Reply) -> Result<bool, BenchError> {
        let of = <[u8; 8]>::try_from(&*reply.body.0).ok().map(u64::from_le_bytes);
        let of = of.filter(|of| *of <= self.said);
        let of = of.ok_or_else(|| BenchError::Child(format!("answers what nobody said: {reply:?}")))?;
        let Account { acknowledged, lost, doubled } = &mut self.account;
        if of <= self.heard {
            *doubled += u64::from(of > self.old);
            return Ok(false);
        }
        // Replies come in order: one that is passed over will not come, whatever the game was told.
        let (unheard, known) = (of - self.heard - 1, self.number + (of - self.heard));
        *lost += known.saturating_sub(reply.number).max(unheard);
        *doubled += reply.number.saturating_sub(known);
        if reply.number == known && reply.hash != extended(self.hash, self.heard + 1..=of) {
            // As many, and not the same: one came in another's place.
            *lost += 1;
            *doubled += 1;
        }
        *acknowledged += 1;
        (self.heard, self.number, self.hash) = (of, reply.number, reply.hash);
        Ok(true)
    }

    /// The session is gone, and all that was said with it.
    fn give_up(&mut self) {
        self.account.lost = self.account.acknowledged;
    }
}

/// The hash with these messages more.
fn extended(hash: u64, messages: std::ops::RangeInclusive<u64>) -> u64 {
    messages.fold(hash, |hash, message| echo::extend(hash, &message.to_le_bytes()))
}

/// The player.
pub struct Talk {
    client: Client,
    ledger: Ledger,
    /// Why the player is no longer in the session.
    put_out: Option<String>,
}

impl Talk {
    /// Enters.
    pub async fn begin(options: Options) -> Result<Talk, BenchError> {
        Talk::again(options, 0).await
    }

    /// Comes back, as another process would, to a seat in which so much was said.
    pub async fn again(options: Options, said: u64) -> Result<Talk, BenchError> {
        let client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
        Ok(Talk { client, ledger: Ledger::after(said), put_out: None })
    }

    /// What became of all that was said here.
    pub fn account(&self) -> Account {
        self.ledger.account
    }

    /// Whether it has a connection at the session's follower.
    pub fn is_standing_by(&self) -> bool {
        self.client.is_standing_by()
    }

    /// Messages that are not answered yet.
    pub fn pending(&self) -> u64 {
        self.ledger.said - self.ledger.heard
    }

    /// Says the next thing.
    pub fn say(&mut self) -> Result<(), BenchError> {
        let body = ringside_guest::encode(&ringside_guest::Bytes(self.ledger.say()));
        self.client.send(body).map(drop).map_err(BenchError::setup)
    }

    /// Waits for the next message's reply; what was lost or doubled is in the account. Says whether the player is still in the
    /// session: otherwise all is lost that was acknowledged.
    pub async fn hear(&mut self) -> Result<bool, BenchError> {
        loop {
            match patiently(self.client.next()).await? {
                Some(Event::Message { body, .. }) => {
                    let reply = ringside_guest::decode(&body).map_err(BenchError::setup)?;
                    if self.ledger.hear(&reply)? {
                        return Ok(true);
                    }
                }
                Some(event) if !event.is_last() => {}
                event => {
                    self.ledger.give_up();
                    self.put_out = Some(format!("{event:?}"));
                    return Ok(false);
                }
            }
        }
    }

    /// Says the next thing and waits for its reply, like [`Talk::hear`].
    pub async fn exchange_and_count(&mut self) -> Result<bool, BenchError> {
        self.say()?;
        self.hear().await
    }

    /// The same for who expects that nothing is ever lost or doubled: it is an error.
    pub async fn exchange(&mut self) -> Result<(), BenchError> {
        self.exchange_and_count().await?;
        self.all_is_well()
    }

    /// An error if anything was lost or doubled, or the player is no longer in the session.
    pub fn all_is_well(&self) -> Result<(), BenchError> {
        let account = self.account();
        match &self.put_out {
            Some(event) => Err(BenchError::Child(format!("put a player out: {event} after {account:?}"))),
            None if (account.lost, account.doubled) == (0, 0) => Ok(()),
            None => Err(BenchError::Child(format!("lost or doubled messages: {account:?}"))),
        }
    }

    /// Why the player is no longer in the session.
    pub fn put_out(&self) -> Option<&str> {
        self.put_out.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo game with one player, as it should be.
    #[derive(Clone)]
    struct Game {
        number: u64,
        hash: u64,
    }

    impl Game {
        fn new() -> Game {
            Game { number: 0, hash: echo::EMPTY }
        }

        fn told(&mut self, body: &[u8]) -> echo::Reply {
            self.number += 1;
            self.hash = echo::extend(self.hash, body);
            echo::Reply { number: self.number, hash: self.hash, body: ringside_guest::Bytes(body.to_vec()) }
        }
    }

    fn exchange(ledger: &mut Ledger, game: &mut Game) -> echo::Reply {
        let reply = game.told(&ledger.say());
        assert!(ledger.hear(&reply).unwrap());
        reply
    }

    fn account(acknowledged: u64, lost: u64, doubled: u64) -> Account {
        Account { acknowledged, lost, doubled }
    }

    #[test]
    fn a_game_that_keeps_all_loses_and_doubles_nothing() {
        let (mut ledger, mut game) = (Ledger::after(0), Game::new());
        for _ in 0..5 {
            exchange(&mut ledger, &mut game);
        }
        assert_eq!(ledger.account, account(5, 0, 0));
        let mut again = Ledger::after(5);
        exchange(&mut again, &mut game);
        assert_eq!(again.account, account(1, 0, 0));
    }

    #[test]
    fn each_message_that_the_game_forgets_is_lost_once() {
        let (mut ledger, mut game) = (Ledger::after(0), Game::new());
        exchange(&mut ledger, &mut game);
        let mut earlier = game.clone();
        exchange(&mut ledger, &mut game);
        exchange(&mut ledger, &mut game);
        exchange(&mut ledger, &mut earlier);
        exchange(&mut ledger, &mut earlier);
        assert_eq!(ledger.account, account(5, 2, 0));
        ledger.give_up();
        assert_eq!(ledger.account, account(5, 5, 0));
    }

    #[test]
    fn what_is_told_or_answered_twice_is_doubled() {
        let (mut ledger, mut game) = (Ledger::after(0), Game::new());
        let first = exchange(&mut ledger, &mut game);
        game.told(&1_u64.to_le_bytes());
        let second = ledger.say();
        assert!(!ledger.hear(&first).unwrap(), "a reply that came before");
        assert!(ledger.hear(&game.told(&second)).unwrap());
        assert_eq!(ledger.account, account(2, 0, 2));
        let mut again = Ledger::after(1);
        again.say();
        assert!(!again.hear(&first).unwrap());
        assert_eq!(again.account, account(0, 0, 0), "who comes back may be told what was said before");
    }

    #[test]
    fn what_is_passed_over_is_lost_whether_the_game_was_told_or_not() {
        let (mut told, mut untold, mut game) = (Ledger::after(0), Ledger::after(0), Game::new());
        let messages: Vec<Vec<u8>> = (0..4).map(|_| told.say()).collect();
        let replies: Vec<echo::Reply> = messages.iter().map(|message| game.told(message)).collect();
        assert!(told.hear(&replies[0]).unwrap() && told.hear(&replies[3]).unwrap());
        assert_eq!(told.account, account(2, 2, 0));
        let mut game = Game::new();
        let messages: Vec<Vec<u8>> = (0..4).map(|_| untold.say()).collect();
        assert!(untold.hear(&game.told(&messages[0])).unwrap() && untold.hear(&game.told(&messages[3])).unwrap());
        assert_eq!(untold.account, account(2, 2, 0));
        exchange(&mut untold, &mut game);
        assert_eq!(untold.account, account(3, 2, 0), "each is lost once");
    }

    #[test]
    fn one_message_in_the_place_of_another_is_both_and_one_that_nobody_said_an_error() {
        let (mut ledger, mut game) = (Ledger::after(0), Game::new());
        exchange(&mut ledger, &mut game);
        let mut other = Game::new();
        other.told(b"another");
        exchange(&mut ledger, &mut other);
        assert_eq!(ledger.account, account(2, 1, 1));
        ledger.say();
        assert!(ledger.hear(&other.told(&9_u64.to_le_bytes())).is_err());
        assert!(ledger.hear(&other.told(b"short")).is_err());
    }
}
