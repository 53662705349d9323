//! The trait that a game implements. The order of calls and what surrounds them is in `runner`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::DecodeError;
use crate::context::Context;
use crate::description::Description;
use crate::types::{LeaveReason, LogLevel, Refusal, Slot, Timer};

/// A game: an ordinary struct that holds a session's whole state, and what happens to it.
///
/// A game sees nothing but its arguments and what its [`Context`] tells it, so that the same entries give the same
/// state everywhere. What it puts out counts when its call has returned; a call that panics is undone as a whole.
///
/// ```
/// use ringside_guest::{Context, Description, Game, Refusal, Slot};
/// use serde::{Deserialize, Serialize};
///
/// /// Who says a number nobody has said?
/// struct Numbers {
///     said: std::collections::BTreeSet<u32>,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct AlreadySaid(u32);
///
/// impl Game for Numbers {
///     type Config = ();
///     type Input = u32;
///     type Output = AlreadySaid;
///     type View = usize;
///
///     const DESCRIPTION: Description = Description::new("numbers");
///
///     fn start(_: (), _: &mut Context<Self>) -> Result<Self, Refusal> {
///         Ok(Numbers { said: Default::default() })
///     }
///
///     fn message(&mut self, slot: Slot, number: u32, context: &mut Context<Self>) {
///         if !self.said.insert(number) {
///             context.send(slot, &AlreadySaid(number));
///         }
///     }
///
///     fn view(&self, _: Slot) -> usize {
///         self.said.len()
///     }
/// }
///
/// ringside_guest::export!(Numbers);
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a game",
    label = "this type does not implement `ringside_guest::Game`",
    note = "a game needs `impl Game for {Self}` with its four types, DESCRIPTION, `start` and `view`"
)]
pub trait Game: Sized + 'static {
    /// What a session's creator may choose. No bytes mean the default.
    type Config: Serialize + DeserializeOwned + Default;
    /// What a player says, by message or datagram.
    type Input: Serialize + DeserializeOwned;
    /// What a player is told, by message or datagram.
    type Output: Serialize + DeserializeOwned;
    /// What a player sees. A type without any data, such as `()`, means that there is nothing to see.
    type View: Serialize + DeserializeOwned;

    /// What the game declares about itself.
    const DESCRIPTION: Description;

    /// Begins a session.
    ///
    /// # Errors
    /// Refuses the configuration; no session comes to be.
    fn start(config: Self::Config, context: &mut Context<Self>) -> Result<Self, Refusal>;

    /// What the player in `slot` may see now. Called after each tick that views are sent for; in an event-driven game
    /// after each call.
    fn view(&self, slot: Slot) -> Self::View;

    /// A player asks to join in `slot`, which counts as joined during this call.
    ///
    /// # Errors
    /// Refuses the player with that reason.
    fn join(&mut self, slot: Slot, player: &str, context: &mut Context<Self>) -> Result<(), Refusal> {
        let _ = (slot, player, context);
        Ok(())
    }

    /// The stay of the player in `slot` is over.
    fn leave(&mut self, slot: Slot, reason: LeaveReason, context: &mut Context<Self>) {
        let _ = (slot, reason, context);
    }

    /// A reliable, ordered message of the player in `slot`.
    fn message(&mut self, slot: Slot, input: Self::Input, context: &mut Context<Self>) {
        let _ = (slot, input, context);
    }

    /// An unreliable, unordered datagram of the player in `slot`. The same as a message unless the game differs.
    fn datagram(&mut self, slot: Slot, input: Self::Input, context: &mut Context<Self>) {
        self.message(slot, input, context);
    }

    /// One step of simulated time; `number` counts from 1.
    fn tick(&mut self, number: u64, context: &mut Context<Self>) {
        let _ = (number, context);
    }

    /// A timer of [`Context::set_timer`] fired.
    fn timer(&mut self, timer: Timer, context: &mut Context<Self>) {
        let _ = (timer, context);
    }

    /// Another session, named `game/key`, sent bytes.
    fn signal(&mut self, source: &str, bytes: &[u8], context: &mut Context<Self>) {
        let _ = (source, bytes, context);
    }

    /// The player in `slot` sent bytes that are no `Input`. Ignored and counted
    /// ([`Context::ignored_inputs`]); each time the count doubles a line is logged.
    fn undecodable(&mut self, slot: Slot, bytes: &[u8], error: DecodeError, context: &mut Context<Self>) {
        let count = context.ignored_inputs();
        if count.is_power_of_two() {
            let size = bytes.len();
            let line = format!("ignored {size} bytes of slot {slot} that are no input: {error} ({count} so far)");
            context.log(LogLevel::Warn, &line);
        }
    }

    /// Answers a question about the state, on a copy that is thrown away afterwards.
    ///
    /// # Errors
    /// If the question makes no sense. By default none does.
    fn query(&self, question: &[u8]) -> Result<Vec<u8>, Refusal> {
        let _ = question;
        Err("this game answers no questions".into())
    }

    /// The state in a form that another version of this game can read; used only for upgrades. A state with serde's
    /// derives needs but `Ok(ringside_guest::encode(self))`.
    ///
    /// # Errors
    /// If the game cannot be upgraded now. By default it never can.
    fn save(&self) -> Result<Vec<u8>, Refusal> {
        Err("this game does not save its state".into())
    }

    /// Begins from what another version's `save` wrote, instead of `start`; used only for upgrades.
    ///
    /// # Errors
    /// If it cannot be read. By default it never can.
    fn restore(saved: &[u8], context: &mut Context<Self>) -> Result<Self, Refusal> {
        let _ = (saved, context);
        Err("this game does not restore states".into())
    }
}
