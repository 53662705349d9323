//! Routing: what becomes of a player who has come to a worker, once it is known where their session is led. A pure
//! function of that and of how the player got here; and [`tickets`], by which a worker knows whom another one sent.
//!
//! ```text
//!   led here ────────────────────────────────────► here
//!   led elsewhere ───────────────────────────────► redirect, with a ticket
//!     … but the player asked for it,
//!     … or was redirected often enough ──────────► relay, with a ticket
//!     … but comes by a relay ────────────────────► not here: ask a front door
//! ```

pub mod tickets;

use serde::{Deserialize, Serialize};

/// Redirects that a player may have followed in one attempt; who has is relayed. On a settled ring one is enough: the
/// second is for a session that ended or moved meanwhile.
pub const REDIRECTS: u8 = 2;
/// What the ticket of a relay counts: who comes with it is sent no further, so that relays make no chain.
const RELAYED: u8 = REDIRECTS + 1;

/// How a player came here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Redirects followed since the player began: the ticket carries the count.
    pub redirects: u8,
    /// Whether the player asks to be relayed, because they want to or could not reach where they were sent.
    pub wants_relay: bool,
}

/// What is to be done with a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Let them in here.
    Here,
    /// Send them there.
    Redirect {
        /// Goes into the ticket: redirects followed with this one.
        redirects: u8,
    },
    /// Carry their packets there.
    Relay {
        /// Goes into the ticket: whoever takes it sends its holder no further.
        redirects: u8,
    },
    /// They were carried here and the session is elsewhere: refuse them, they begin again at a front door.
    NotHere,
}

/// Decides; `is_led_here`: by the very worker that the player came to.
pub fn route(is_led_here: bool, arrival: Arrival) -> Route {
    match arrival {
        _ if is_led_here => Route::Here,
        Arrival { redirects: RELAYED.., .. } => Route::NotHere,
        Arrival { wants_relay: true, .. } | Arrival { redirects: REDIRECTS.., .. } => {
            Route::Relay { redirects: RELAYED }
        }
        Arrival { redirects, .. } => Route::Redirect { redirects: redirects + 1 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_player_is_let_in_redirected_or_relayed() {
        let arrival = Arrival::default();
        let asks = Arrival { wants_relay: true, ..arrival };
        let sent_on = |redirects| Arrival { redirects, ..arrival };
        assert_eq!(route(true, arrival), Route::Here);
        assert_eq!(route(true, sent_on(RELAYED)), Route::Here);
        assert_eq!(route(false, arrival), Route::Redirect { redirects: 1 });
        assert_eq!(route(false, sent_on(1)), Route::Redirect { redirects: 2 });
        assert_eq!(route(false, sent_on(REDIRECTS)), Route::Relay { redirects: RELAYED });
        assert_eq!(route(false, asks), Route::Relay { redirects: RELAYED });
        assert_eq!(route(false, sent_on(RELAYED)), Route::NotHere);
    }

    proptest! {
        /// However little the nodes agree on where a session is, a player is sent on, and carried, only so often.
        #[test]
        fn circles_end(wants_relay: bool, redirects in 0..=u8::MAX) {
            let mut arrival = Arrival { redirects, wants_relay };
            let (mut redirected, mut relayed) = (0, 0);
            loop {
                match route(false, arrival) {
                    Route::Redirect { redirects } => {
                        redirected += 1;
                        arrival.redirects = redirects;
                    }
                    Route::Relay { redirects } => {
                        relayed += 1;
                        arrival = Arrival { redirects, wants_relay: false };
                    }
                    Route::Here | Route::NotHere => break,
                }
            }
            prop_assert!(redirected <= REDIRECTS && relayed <= 1);
        }
    }
}
