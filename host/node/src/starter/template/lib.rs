//! Pig, a dice game for two. Roll as often as you dare: each roll goes into the pot, until a 1
//! takes it all. Hold, and the pot is yours. Who has 50 points first wins.
//!
//! This file is the whole game: a struct that remembers a match, and what happens to it. Ringside
//! calls the functions of `impl Game`, one at a time, when players come, type and leave; players,
//! networks and saving are its business. Change something, then `ringside push` again.

use std::time::Duration;

use ringside_guest::{Context, Description, Game, LeaveReason, Refusal, Slot, Timer};

/// So many points win.
const GOAL: u32 = 50;
/// The computer holds when so much is in the pot.
const ENOUGH: u32 = 18;
/// How long the computer thinks before each move.
const THINKING: Duration = Duration::from_millis(700);

/// A match: all that must be remembered between two calls.
pub struct Pig {
    /// Who sits in each of the two slots; nobody at first.
    names: [Option<String>; 2],
    points: [u32; 2],
    pot: u32,
    /// The slot whose turn it is: 0 or 1.
    turn: usize,
}

impl Game for Pig {
    type Config = (); // what the creator of a match may choose: nothing here
    type Input = String; // what players say: the lines that they type
    type Output = String; // what players are told: each line arrives, once, in order
    type View = String; // what players see: only the newest counts

    // Without a tick rate nothing happens until somebody does something, or a timer fires.
    const DESCRIPTION: Description = Description::new("mygame").players(1, 2);

    /// A match begins.
    fn start(_: (), _: &mut Context<Self>) -> Result<Self, Refusal> {
        Ok(Pig {
            names: [None, None],
            points: [0, 0],
            pot: 0,
            turn: 0,
        })
    }

    /// A player sits down, in an empty seat or in the computer's.
    fn join(&mut self, slot: Slot, name: &str, context: &mut Context<Self>) -> Result<(), Refusal> {
        self.names[slot.index()] = Some(name.to_owned());
        context.broadcast(&format!("{name} sits down."));
        Ok(())
    }

    /// A player has left, and the match is over.
    fn leave(&mut self, slot: Slot, _: LeaveReason, context: &mut Context<Self>) {
        let winner = self.names[1 - slot.index()].as_deref().unwrap_or("Nobody");
        context.finish(&format!("{winner} wins: the other player has left."));
    }

    /// A player has typed a line.
    fn message(&mut self, slot: Slot, line: String, context: &mut Context<Self>) {
        let full = self.names.iter().all(Option::is_some);
        let my_turn = full && self.turn == slot.index();
        match line.trim() {
            "bot" if !full => self.names[1] = Some("the computer".to_owned()),
            "roll" if my_turn => self.roll(context),
            "hold" if my_turn => self.hold(context),
            "roll" | "hold" => context.send(slot, &"It is not your turn.".to_owned()),
            _ => context.send(slot, &"Type roll or hold.".to_owned()),
        }
    }

    /// The computer has thought.
    fn timer(&mut self, _: Timer, context: &mut Context<Self>) {
        if !self.computer_plays(context) {
            return; // a player has taken its seat
        }
        let wins = self.points[self.turn] + self.pot >= GOAL;
        if wins || self.pot >= ENOUGH {
            self.hold(context)
        } else {
            self.roll(context)
        }
    }

    /// What the player in `slot` sees now.
    fn view(&self, slot: Slot) -> String {
        let [Some(first), Some(second)] = &self.names else {
            return "Waiting for a second player. Alone? Type: bot".to_owned();
        };
        let whose = if self.points.iter().any(|points| *points >= GOAL) {
            "the match is over".to_owned()
        } else if self.turn == slot.index() {
            "your turn: roll or hold?".to_owned()
        } else {
            format!("{} plays", self.name())
        };
        let [a, b] = self.points;
        format!("[{first} {a}, {second} {b}, pot {}] {whose}", self.pot)
    }
}

impl Pig {
    fn roll(&mut self, context: &mut Context<Self>) {
        // Random numbers come from the match: a replay rolls the same dice.
        let die = context.random_range(1..7) as u32;
        if die == 1 {
            context.broadcast(&format!(
                "{} rolls a 1: {} points are gone.",
                self.name(),
                self.pot
            ));
            self.next_player();
        } else {
            context.broadcast(&format!("{} rolls a {die}.", self.name()));
            self.pot += die;
        }
        self.let_the_computer_think(context);
    }

    fn hold(&mut self, context: &mut Context<Self>) {
        self.points[self.turn] += self.pot;
        context.broadcast(&format!("{} keeps {} points.", self.name(), self.pot));
        if self.points[self.turn] >= GOAL {
            let points = self.points[self.turn];
            context.finish(&format!("{} wins with {points} points.", self.name()));
        }
        self.next_player();
        self.let_the_computer_think(context);
    }

    fn next_player(&mut self) {
        self.pot = 0;
        self.turn = 1 - self.turn;
    }

    fn let_the_computer_think(&self, context: &mut Context<Self>) {
        if self.computer_plays(context) {
            context.set_timer(THINKING);
        }
    }

    /// Whether it is the turn of a seat in which no player sits.
    fn computer_plays(&self, context: &Context<Self>) -> bool {
        !context.is_joined(Slot(self.turn as u16))
    }

    /// Who plays.
    fn name(&self) -> &str {
        self.names[self.turn].as_deref().unwrap_or("Nobody")
    }
}

ringside_guest::export!(Pig);

#[cfg(test)]
mod tests;
