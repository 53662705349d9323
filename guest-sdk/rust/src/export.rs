//! How a game becomes a module: the [`export!`](crate::export) macro, and in modules the functions that it exports.

/// Makes a type that implements [`Game`](crate::Game) the game of this module. Once in a crate of type `cdylib`.
///
/// Symbols are exported in WebAssembly only, so the same crate can be linked natively, beside other games.
#[macro_export]
macro_rules! export {
    ($game:ty) => {
        // Evaluates the description natively too, so that a bad one never compiles.
        const _: $crate::Description = <$game as $crate::Game>::DESCRIPTION;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            impl $crate::glue::Exported for $game {
                fn session() -> &'static $crate::glue::Session<Self> {
                    static SESSION: $crate::glue::Session<$game> = $crate::glue::Session::new();
                    &SESSION
                }
            }

            type Exports = $crate::glue::Exports<$game>;
    $crate::raw::export_raw!(Exports with_types_in $crate::raw);
        };
    };
}

/// What the macro's expansion needs; not for use by hand.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod glue {
    use std::cell::RefCell;
    use std::marker::PhantomData;

    use crate::description;
    use crate::game::Game;
    use crate::imports;
    use crate::raw;
    use crate::runner::Runner;
    use crate::types::{LeaveReason, LogLevel, Slot, Timer};

    /// The module's one session.
    pub struct Session<G: Game>(RefCell<Option<Runner<G>>>);

    // SAFETY: the contract's modules have one thread; without atomics there is no way to start another.
    unsafe impl<G: Game> Sync for Session<G> {}

    impl<G: Game> Session<G> {
        /// Nothing has started.
        #[allow(clippy::new_without_default)]
        pub const fn new() -> Self {
            Session(RefCell::new(None))
        }

        fn with<T>(&self, call: impl FnOnce(&mut Runner<G>) -> T) -> T {
            match self.0.borrow_mut().as_mut() {
                Some(runner) => call(runner),
                None => panic!("called before start"),
            }
        }

        fn begin(&self, begin: impl FnOnce() -> Result<Runner<G>, String>) -> Result<(), String> {
            std::panic::set_hook(Box::new(|panic| imports::log(LogLevel::Error, &panic.to_string())));
            *self.0.borrow_mut() = Some(begin()?);
            Ok(())
        }
    }

    /// A game with a place for its session.
    pub trait Exported: Game {
        /// That place.
        fn session() -> &'static Session<Self>;
    }

    /// The world's exports for a game.
    pub struct Exports<G>(PhantomData<G>);

    impl<G: Exported> raw::Guest for Exports<G> {
        fn describe() -> raw::Description {
            describe(&G::DESCRIPTION)
        }

        fn describe_followers() -> raw::Followers {
            match G::DESCRIPTION.followers {
                description::Followers::Replay => raw::Followers::Replay,
                description::Followers::KeepLog => raw::Followers::KeepLog,
            }
        }

        fn start(config: Vec<u8>) -> Result<(), String> {
            G::session().begin(|| Runner::start(&config))
        }

        fn join(slot: u32, player: String) -> Result<(), String> {
            G::session().with(|runner| runner.join(Slot(slot as u16), &player))
        }

        fn leave(slot: u32, reason: raw::LeaveReason) {
            G::session().with(|runner| runner.leave(Slot(slot as u16), leave_reason(reason)));
        }

        fn message(slot: u32, message: Vec<u8>) {
            G::session().with(|runner| runner.message(Slot(slot as u16), &message));
        }

        fn datagram(slot: u32, datagram: Vec<u8>) {
            G::session().with(|runner| runner.datagram(Slot(slot as u16), &datagram));
        }

        fn tick(number: u64) {
            G::session().with(|runner| runner.tick(number));
        }

        fn timer(id: u64) {
            G::session().with(|runner| runner.timer(Timer(id)));
        }

        fn signal(source: String, bytes: Vec<u8>) {
            G::session().with(|runner| runner.signal(&source, &bytes));
        }

        fn query(question: Vec<u8>) -> Result<Vec<u8>, String> {
            G::session().with(|runner| runner.query(&question))
        }

        fn save() -> Result<Vec<u8>, String> {
            G::session().with(|runner| runner.save())
        }

        fn restore(state: Vec<u8>) -> Result<(), String> {
            G::session().begin(|| Runner::restore(&state))
        }
    }

    fn describe(description: &description::Description) -> raw::Description {
        use crate::raw::ringside::game::types::{PartitionPolicy, Tier};

        raw::Description {
            name: description.name.to_owned(),
            tick_rate: description.tick_rate,
            min_players: description.min_players,
            max_players: description.max_players,
            input_rate: description.input_rate,
            view_rate: description.view_rate,
            tier: match description.tier {
                description::Tier::Volatile => Tier::Volatile,
                description::Tier::Replicated => Tier::Replicated,
                description::Tier::Durable => Tier::Durable,
            },
            partition_policy: match description.partition_policy {
                description::PartitionPolicy::Consistent => PartitionPolicy::Consistent,
                description::PartitionPolicy::Available => PartitionPolicy::Available,
            },
            late_join: description.late_join,
        }
    }

    fn leave_reason(reason: raw::LeaveReason) -> LeaveReason {
        match reason {
            raw::LeaveReason::Left => LeaveReason::Left,
            raw::LeaveReason::TimedOut => LeaveReason::TimedOut,
            raw::LeaveReason::Kicked => LeaveReason::Kicked,
            raw::LeaveReason::TooSlow => LeaveReason::TooSlow,
            raw::LeaveReason::Removed => LeaveReason::Removed,
        }
    }
}
