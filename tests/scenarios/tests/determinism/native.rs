//! The native build of a game behind one trait, and the words in which its outputs are compared with a fold's.

use std::time::Duration;

use ringside_core::log::{self, Input};
use ringside_core::output::{LogLevel, Output};
use ringside_guest::{Effect, Game, LeaveReason, Match, Slot};
use ringside_sandbox::Fold;

/// A native match, whatever its game.
pub trait Native {
    /// What an entry of the log does; why the game refuses a player, if it does. Timers are let fire by
    /// [`Native::wait_until`].
    fn input(&mut self, input: &Input) -> Result<(), String>;
    /// Lets time pass in an event-driven game: its due timers fire.
    fn wait_until(&mut self, time_us: u64);
    /// What was put out since the last time.
    fn effects(&mut self) -> Vec<Effect>;
    /// What a player sees.
    fn view(&self, slot: Slot) -> Option<&[u8]>;
    /// Whether the game is over.
    fn is_finished(&self) -> bool;
}

/// A match of this game.
pub fn begin<G: Game + 'static>(seed: [u8; 32], config: &[u8]) -> Box<dyn Native> {
    Box::new(Match::<G>::start(seed, config).expect("the game starts"))
}

impl<G: Game> Native for Match<G> {
    fn input(&mut self, input: &Input) -> Result<(), String> {
        match input {
            Input::Join { slot, player } => return self.join_at(Slot(slot.0), player.as_str()).map(drop),
            Input::Leave { slot, reason } => self.leave(Slot(slot.0), leave_reason(*reason)),
            Input::Message { slot, body, .. } => self.message_bytes(Slot(slot.0), body),
            Input::Datagram { slot, body } => self.datagram_bytes(Slot(slot.0), body),
            Input::Signal { source, body } => self.signal(source, body),
            Input::Tick => self.tick(),
            Input::Acknowledge { .. } => {}
            Input::Start { .. } | Input::Timer { .. } | Input::End { .. } | Input::Leadership { .. } => {
                panic!("{input:?} is not for a match")
            }
        }
        Ok(())
    }

    fn wait_until(&mut self, time_us: u64) {
        self.advance(Duration::from_micros(time_us).saturating_sub(self.now()));
    }

    fn effects(&mut self) -> Vec<Effect> {
        Match::effects(self)
    }

    fn view(&self, slot: Slot) -> Option<&[u8]> {
        self.view_bytes(slot)
    }

    fn is_finished(&self) -> bool {
        Match::is_finished(self)
    }
}

fn leave_reason(reason: log::LeaveReason) -> LeaveReason {
    match reason {
        log::LeaveReason::Left => LeaveReason::Left,
        log::LeaveReason::TimedOut => LeaveReason::TimedOut,
        log::LeaveReason::Kicked => LeaveReason::Kicked,
        log::LeaveReason::TooSlow => LeaveReason::TooSlow,
        log::LeaveReason::Removed => LeaveReason::Removed,
    }
}

/// A fold's outputs in the harness's words. To be called right after the entry, while the views are those that it wrote.
pub fn effects_of(fold: &Fold, outputs: &[Output]) -> Vec<Effect> {
    outputs.iter().map(|output| effect_of(fold, output)).collect()
}

fn effect_of(fold: &Fold, output: &Output) -> Effect {
    let to = |slot: &ringside_core::ids::Slot| Slot(slot.0);
    match output {
        Output::Send { slot, number, body } => Effect::Send { slot: to(slot), number: *number, body: body.to_vec() },
        Output::Datagram { slot, body } => Effect::Datagram { slot: to(slot), body: body.to_vec() },
        Output::View { slot } => Effect::View { slot: to(slot), body: fold.view(*slot).unwrap_or_default().to_vec() },
        Output::Stats => Effect::Stats { row: fold.stats().to_vec() },
        Output::Event { body } => Effect::Event { body: body.to_vec() },
        Output::Log { level, line } => Effect::Log { level: log_level(*level), line: line.clone() },
        Output::Signal { session, body } => Effect::Signal { session: session.clone(), body: body.to_vec() },
        Output::Kick { slot, reason } => Effect::Kick { slot: to(slot), reason: reason.clone() },
        Output::Finish { outcome } => Effect::Finish { outcome: outcome.to_vec() },
        Output::TooSlow { .. } | Output::JoinRefused { .. } | Output::StartRefused { .. } => {
            panic!("{output:?} has no native counterpart")
        }
    }
}

fn log_level(level: LogLevel) -> ringside_guest::LogLevel {
    match level {
        LogLevel::Debug => ringside_guest::LogLevel::Debug,
        LogLevel::Info => ringside_guest::LogLevel::Info,
        LogLevel::Warn => ringside_guest::LogLevel::Warn,
        LogLevel::Error => ringside_guest::LogLevel::Error,
    }
}
