//! The sample games as modules, compiled once for all runs of a process.

use ringside_sandbox::{Module, Sandbox, SandboxConfig};
use ringside_test_support::guests;

use super::player::Game;

/// The modules.
pub struct Guests {
    modules: Vec<Module>,
}

impl Guests {
    /// Checks and compiles the built guests.
    ///
    /// # Panics
    /// Where they are not built or not accepted: nothing can be simulated then.
    pub fn load() -> Guests {
        let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(64) });
        let sandbox = sandbox.expect("a sandbox can be set up");
        let upload = |game: Game| sandbox.upload(&guests::module(game.names().0)).expect("a sample game is accepted");
        Guests { modules: Game::ALL.into_iter().map(upload).collect() }
    }

    /// A game's module.
    pub fn module(&self, game: Game) -> &Module {
        &self.modules[game as usize]
    }
}
