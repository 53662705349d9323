//! Scripted players: the games' own bots, and some who do what no client should.

use ringside_core::ids::Slot;
use ringside_guest::{Bytes, decode, encode};
use ringside_test_support::random::Random;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::leader::{Act, Leader};

/// A match's players.
pub trait Script {
    /// What they do before a step, of so many.
    fn acts(&mut self, step: u64, steps: u64, leader: &Leader) -> Vec<Act>;
}

/// What a player sees.
fn view<V: DeserializeOwned>(leader: &Leader, slot: u16) -> Option<V> {
    leader.fold.view(Slot(slot)).map(|view| decode(view).expect("a view"))
}

fn message<I: Serialize>(slot: u16, input: &I) -> Act {
    Act::Message(slot, encode(input))
}

/// Joined slots, of so many.
fn joined(leader: &Leader) -> Vec<u16> {
    leader.fold.slots().map(|state| state.slot.0).collect()
}

/// What a broken client sends, now and then: up to 20 bytes.
fn nonsense(random: &mut Random, slot: u16) -> Act {
    let length = random.below(21) as usize;
    let bytes = random.bytes(length);
    if random.happens(0.5) { Act::Message(slot, bytes) } else { Act::Datagram(slot, bytes) }
}

/// Everybody has got everything, every so many steps.
fn acknowledgements(leader: &Leader, step: u64, every: u64) -> Vec<Act> {
    if step.is_multiple_of(every) { joined(leader).into_iter().map(Act::Acknowledge).collect() } else { Vec::new() }
}

/// Two bots that miss the ball at times, because they send nonsense or nothing.
pub struct Pong {
    random: Random,
}

impl Pong {
    pub fn new(seed: u64) -> Pong {
        Pong { random: Random::new(seed) }
    }
}

impl Script for Pong {
    fn acts(&mut self, step: u64, _: u64, leader: &Leader) -> Vec<Act> {
        if step == 0 {
            return vec![Act::Join(0), Act::Join(1)];
        }
        let mut acts = acknowledgements(leader, step, 60);
        for slot in joined(leader) {
            let Some(seen) = view::<pong::View>(leader, slot) else { continue };
            if self.random.happens(0.02) {
                acts.push(nonsense(&mut self.random, slot));
            } else if self.random.happens(0.8) {
                acts.push(message(slot, &pong::bot::policy(ringside_guest::Slot(slot), &seen)));
            }
        }
        acts
    }
}

/// Eight bots, of whom some leave and come back.
pub struct Arena {
    random: Random,
}

impl Arena {
    pub fn new(seed: u64) -> Arena {
        Arena { random: Random::new(seed) }
    }
}

impl Script for Arena {
    fn acts(&mut self, step: u64, _: u64, leader: &Leader) -> Vec<Act> {
        let mut acts = acknowledgements(leader, step, 60);
        for slot in 0..arena::PLAYERS as u16 {
            if leader.fold.slot(Slot(slot)).is_none() {
                if self.random.happens(0.05) {
                    acts.push(Act::Join(slot));
                }
            } else if self.random.happens(0.0005) {
                acts.push(Act::Leave(slot));
            } else if self.random.happens(0.01) {
                acts.push(nonsense(&mut self.random, slot));
            } else if let Some(seen) = view::<arena::View>(leader, slot) {
                acts.push(message(slot, &arena::bot::policy(ringside_guest::Slot(slot), &seen)));
            }
        }
        acts
    }
}

/// A famous game, its moves spread over the match, between moves that are none and offers that nobody accepts.
pub struct Chess {
    random: Random,
    moves: Vec<&'static str>,
    played: usize,
}

impl Chess {
    pub fn new(seed: u64) -> Chess {
        let mut games = chess::games::famous_games();
        let game = games.swap_remove(seed as usize % games.len());
        Chess { random: Random::new(seed), moves: game.moves, played: 0 }
    }
}

impl Script for Chess {
    fn acts(&mut self, step: u64, steps: u64, leader: &Leader) -> Vec<Act> {
        if step == 0 {
            return vec![Act::Join(0), Act::Join(1)];
        }
        let mut acts = acknowledgements(leader, step, 60);
        let slot = self.random.below(2) as u16;
        match self.random.below(12) {
            0 => acts.push(message(0, &chess::Input::OfferDraw)),
            1 => acts.push(message(slot, &chess::Input::ClaimDraw)),
            2 => acts.push(message(slot, &chess::Input::Move("Ke9".into()))),
            3 => acts.push(nonsense(&mut self.random, slot)),
            _ => {}
        }
        // The last move comes with the last step: it may end the game.
        let due = (self.moves.len() as u64 * (step + 1) / steps) as usize;
        while self.played < due {
            let played = chess::Input::Move(self.moves[self.played].into());
            acts.push(message((self.played % 2) as u16, &played));
            self.played += 1;
        }
        acts
    }
}

/// Six players who talk.
pub struct Echo {
    random: Random,
}

impl Echo {
    pub fn new(seed: u64) -> Echo {
        Echo { random: Random::new(seed) }
    }
}

impl Script for Echo {
    fn acts(&mut self, step: u64, _: u64, leader: &Leader) -> Vec<Act> {
        if step == 0 {
            return (0..6).map(Act::Join).collect();
        }
        let mut acts = acknowledgements(leader, step, 20);
        for slot in joined(leader) {
            let length = self.random.below(200) as usize;
            let body = encode(&Bytes(self.random.bytes(length)));
            match self.random.below(10) {
                0..3 => acts.push(Act::Message(slot, body)),
                3 => acts.push(Act::Datagram(slot, body)),
                4 if self.random.happens(0.05) => acts.push(nonsense(&mut self.random, slot)),
                _ => {}
            }
        }
        acts
    }
}
