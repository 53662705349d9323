//! [`Match`]: a session to play with in a test.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::codec::{decode, encode};
use crate::game::Game;
use crate::harness::host::{Effect, Host};
use crate::runner::Runner;
use crate::types::{LeaveReason, LogLevel, Slot, Timer};

/// What a match's random numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl From<u64> for Seed {
    /// The number's eight bytes, the least first, and zeros.
    fn from(number: u64) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        Seed(seed)
    }
}

impl From<[u8; 32]> for Seed {
    fn from(seed: [u8; 32]) -> Self {
        Seed(seed)
    }
}

/// What one player has got.
#[derive(Debug, Default)]
struct Seat {
    view: Option<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    datagrams: Vec<Vec<u8>>,
}

type Policy<G> = Box<dyn FnMut(&<G as Game>::View) -> Option<<G as Game>::Input>>;

/// A session of a game, played in the test's own process, with the random numbers that a host would draw from the
/// same seed.
///
/// ```
/// use ringside_guest::{Context, Description, Game, Match, Refusal, Slot};
///
/// struct Counter(u64);
///
/// impl Game for Counter {
///     type Config = ();
///     type Input = ();
///     type Output = ();
///     type View = u64;
///     const DESCRIPTION: Description = Description::new("counter").tick_rate(20);
///
///     fn start(_: (), _: &mut Context<Self>) -> Result<Self, Refusal> {
///         Ok(Counter(0))
///     }
///     fn tick(&mut self, _: u64, _: &mut Context<Self>) {
///         self.0 += 1;
///     }
///     fn view(&self, _: Slot) -> u64 {
///         self.0
///     }
/// }
///
/// let mut game = Match::<Counter>::new(7);
/// let ann = game.join("ann").unwrap();
/// game.ticks(3);
/// assert_eq!(game.view(ann), Some(3));
/// assert_eq!(game.now().as_millis(), 150);
/// ```
pub struct Match<G: Game> {
    runner: Runner<G>,
    host: Host,
    tick: u64,
    seats: BTreeMap<Slot, Seat>,
    policies: BTreeMap<Slot, Policy<G>>,
    effects: Vec<Effect>,
    outcome: Option<Vec<u8>>,
}

impl<G: Game> Match<G> {
    /// A match with the default configuration.
    ///
    /// # Panics
    /// If the game refuses it.
    pub fn new(seed: impl Into<Seed>) -> Self {
        Self::must_start(seed.into(), &[])
    }

    /// A match with this configuration.
    ///
    /// # Panics
    /// If the game refuses it.
    pub fn with_config(seed: impl Into<Seed>, config: &G::Config) -> Self {
        Self::must_start(seed.into(), &encode(config))
    }

    /// A match with a configuration as raw bytes.
    ///
    /// # Errors
    /// If the game refuses it.
    pub fn start(seed: impl Into<Seed>, config: &[u8]) -> Result<Self, String> {
        let mut host = Host::new(seed.into().0);
        let runner = host.during(|| Runner::start(config))?;
        Ok(Self::around(runner, host))
    }

    /// A match that begins from what another one's [`save`](Self::save) gave, its time and seats as they were there.
    ///
    /// # Errors
    /// If the game cannot read it.
    pub fn upgraded<Old: Game>(old: Match<Old>) -> Result<Self, String> {
        let saved = old.save()?;
        let Match { mut host, tick, seats, .. } = old;
        let runner = host.during(|| Runner::restore(&saved))?;
        let mut upgraded = Self::around(runner, host);
        (upgraded.tick, upgraded.seats) = (tick, seats);
        Ok(upgraded)
    }

    fn must_start(seed: Seed, config: &[u8]) -> Self {
        match Self::start(seed, config) {
            Ok(started) => started,
            Err(reason) => panic!("the game refused to start: {reason}"),
        }
    }

    fn around(runner: Runner<G>, host: Host) -> Self {
        let mut started = Match {
            runner,
            host,
            tick: 0,
            seats: BTreeMap::new(),
            policies: BTreeMap::new(),
            effects: Vec::new(),
            outcome: None,
        };
        started.settle();
        started
    }

    /// A player joins in the lowest free slot.
    ///
    /// # Errors
    /// If the game refuses, or is full.
    pub fn join(&mut self, player: &str) -> Result<Slot, String> {
        let slots = 0..G::DESCRIPTION.max_players as u16;
        let free = slots.map(Slot).find(|slot| !self.host.joined.contains_key(slot)).ok_or("the session is full")?;
        self.join_at(free, player)
    }

    /// A player joins in this slot.
    ///
    /// # Errors
    /// If the game refuses.
    ///
    /// # Panics
    /// If the slot is taken.
    pub fn join_at(&mut self, slot: Slot, player: &str) -> Result<Slot, String> {
        assert!(!self.host.joined.contains_key(&slot), "slot {slot} is taken");
        self.host.joined.insert(slot, 0);
        self.seats.insert(slot, Seat::default());
        let joined = self.call(|runner| runner.join(slot, player));
        if joined.is_err() {
            self.host.joined.remove(&slot);
            self.seats.remove(&slot);
        }
        joined.map(|()| slot)
    }

    /// A player leaves.
    pub fn leave(&mut self, slot: Slot, reason: LeaveReason) {
        self.host.joined.remove(&slot);
        self.policies.remove(&slot);
        self.call(|runner| runner.leave(slot, reason));
    }

    /// A player says something reliably.
    pub fn message(&mut self, slot: Slot, input: &G::Input) {
        self.message_bytes(slot, &encode(input));
    }

    /// A player's client sends any bytes reliably.
    pub fn message_bytes(&mut self, slot: Slot, bytes: &[u8]) {
        self.call(|runner| runner.message(slot, bytes));
    }

    /// A player says something by datagram.
    pub fn datagram(&mut self, slot: Slot, input: &G::Input) {
        self.datagram_bytes(slot, &encode(input));
    }

    /// A player's client sends any datagram.
    pub fn datagram_bytes(&mut self, slot: Slot, bytes: &[u8]) {
        self.call(|runner| runner.datagram(slot, bytes));
    }

    /// Another session, named `game/key`, sends bytes.
    pub fn signal(&mut self, source: &str, bytes: &[u8]) {
        self.call(|runner| runner.signal(source, bytes));
    }

    /// Scripts a player: before every tick `policy` sees the newest view, and what it answers is sent as a message.
    pub fn play(&mut self, slot: Slot, policy: impl FnMut(&G::View) -> Option<G::Input> + 'static) {
        self.policies.insert(slot, Box::new(policy));
    }

    /// One tick: time moves to the next point of the tick grid, timers due by then fire, scripted players play. If one
    /// of these ends the game, there is no tick after it.
    ///
    /// # Panics
    /// If the game is event-driven, or has finished before.
    pub fn tick(&mut self) {
        let rate = u64::from(G::DESCRIPTION.tick_rate);
        assert!(rate > 0, "an event-driven game has no ticks: use advance");
        self.assert_going_on();
        let number = self.tick + 1;
        self.fire_until(number * 1_000_000 / rate);
        self.let_policies_play();
        if self.outcome.is_none() {
            self.tick = number;
            self.call(|runner| runner.tick(number));
        }
    }

    /// So many ticks, or fewer if the game finishes.
    ///
    /// # Panics
    /// If the game is event-driven, or has finished before.
    pub fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.tick();
            if self.outcome.is_some() {
                break;
            }
        }
    }

    /// Lets session time pass, until the game finishes: ticks if the game has ticks, and the timers that are due.
    pub fn advance(&mut self, time: Duration) {
        let until = self.host.now_us + time.as_micros() as u64;
        let rate = u64::from(G::DESCRIPTION.tick_rate);
        while rate > 0 && self.outcome.is_none() && (self.tick + 1) * 1_000_000 / rate <= until {
            self.tick();
        }
        self.fire_until(until);
    }

    /// Session time.
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.host.now_us)
    }

    /// The number of the last tick.
    pub fn tick_number(&self) -> u64 {
        self.tick
    }

    /// The game's state, to look at.
    pub fn game(&self) -> &G {
        self.runner.game()
    }

    /// What the player in `slot` sees; nothing if no view was written yet.
    ///
    /// # Panics
    /// If the view does not decode: the type's `Serialize` and `Deserialize` disagree.
    pub fn view(&self, slot: Slot) -> Option<G::View> {
        self.view_bytes(slot).map(must_decode)
    }

    /// The bytes of what the player in `slot` sees.
    pub fn view_bytes(&self, slot: Slot) -> Option<&[u8]> {
        self.seats.get(&slot)?.view.as_deref()
    }

    /// Takes the messages that the player in `slot` has got since the last time.
    pub fn outputs(&mut self, slot: Slot) -> Vec<G::Output> {
        self.output_bytes(slot).iter().map(|bytes| must_decode(bytes)).collect()
    }

    /// Takes the bytes of the messages that the player in `slot` has got since the last time.
    pub fn output_bytes(&mut self, slot: Slot) -> Vec<Vec<u8>> {
        self.seats.get_mut(&slot).map(|seat| std::mem::take(&mut seat.outputs)).unwrap_or_default()
    }

    /// Takes the datagrams that the player in `slot` has got since the last time.
    pub fn datagrams(&mut self, slot: Slot) -> Vec<G::Output> {
        let datagrams = self.seats.get_mut(&slot).map(|seat| std::mem::take(&mut seat.datagrams)).unwrap_or_default();
        datagrams.iter().map(|bytes| must_decode(bytes)).collect()
    }

    /// Takes everything that the game put out since the last time, as raw bytes, in order.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The log lines among the effects that were not taken yet.
    pub fn log_lines(&self) -> Vec<(LogLevel, &str)> {
        let line =
            |effect| if let &Effect::Log { level, ref line } = effect { Some((level, line.as_str())) } else { None };
        self.effects.iter().filter_map(line).collect()
    }

    /// Whether the game has finished.
    pub fn is_finished(&self) -> bool {
        self.outcome.is_some()
    }

    /// The result that the game finished with.
    ///
    /// # Panics
    /// If it is no `T`.
    pub fn outcome<T: DeserializeOwned>(&self) -> Option<T> {
        self.outcome.as_deref().map(must_decode)
    }

    /// Asks the game a question.
    ///
    /// # Errors
    /// If the game has no answer.
    pub fn query(&mut self, question: &[u8]) -> Result<Vec<u8>, String> {
        let Match { runner, host, .. } = self;
        host.during(|| runner.query(question))
    }

    /// What the game would hand to another version of itself.
    ///
    /// # Errors
    /// If it cannot.
    pub fn save(&self) -> Result<Vec<u8>, String> {
        self.runner.save()
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Runner<G>) -> T) -> T {
        self.assert_going_on();
        let Match { runner, host, .. } = self;
        let result = host.during(|| call(runner));
        self.settle();
        result
    }

    fn assert_going_on(&self) {
        assert!(self.outcome.is_none(), "the game has finished: nothing more reaches it");
    }

    /// Gives the call's outputs to whom they are for; kicked players leave.
    fn settle(&mut self) {
        let mut kicked = Vec::new();
        for effect in self.host.effects.split_off(0) {
            match &effect {
                Effect::Send { slot, body, .. } => self.seats.entry(*slot).or_default().outputs.push(body.clone()),
                Effect::Datagram { slot, body } => self.seats.entry(*slot).or_default().datagrams.push(body.clone()),
                Effect::View { slot, body } => self.seats.entry(*slot).or_default().view = Some(body.clone()),
                Effect::Kick { slot, .. } => kicked.push(*slot),
                Effect::Finish { outcome } => self.outcome = Some(outcome.clone()),
                _ => {}
            }
            self.effects.push(effect);
        }
        for slot in kicked {
            if self.outcome.is_none() && self.host.joined.contains_key(&slot) {
                self.leave(slot, LeaveReason::Kicked);
            }
        }
    }

    fn fire_until(&mut self, until_us: u64) {
        while self.outcome.is_none() {
            let Some((&(due, id), ())) = self.host.timers.first_key_value() else { break };
            if due > until_us {
                break;
            }
            self.host.timers.pop_first();
            self.host.now_us = due.max(self.host.now_us);
            self.call(|runner| runner.timer(Timer(id)));
        }
        self.host.now_us = until_us.max(self.host.now_us);
    }

    fn let_policies_play(&mut self) {
        for (slot, mut policy) in std::mem::take(&mut self.policies) {
            if self.outcome.is_none()
                && let Some(input) = self.view(slot).and_then(|view| policy(&view))
            {
                self.message(slot, &input);
            }
            if self.host.joined.contains_key(&slot) {
                self.policies.insert(slot, policy);
            }
        }
    }
}

fn must_decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    match decode(bytes) {
        Ok(value) => value,
        Err(error) => panic!("{bytes:?} is no {}: {error}", std::any::type_name::<T>()),
    }
}
