//! Sessions of this node that others are to lead from now on: those that the ring gives to a node that came, and as many as
//! bring this node below its bound. Which, and how soon, the directory decides (`ringside_core::rebalance`); a wave of them
//! goes each second at most.

use std::collections::BTreeMap;
use std::time::Duration;

use ringside_core::ids::Node;
use ringside_core::leadership::record::Motive;
use ringside_core::rebalance::Going;

use super::Desk;
use super::giving::{Given, Giving, Occasion};
use crate::control::SessionName;
use crate::pace::every;

/// How often a wave begins, at most.
const WAVE: Duration = Duration::from_secs(1);
/// Sessions of the widest: there is no haste.
const WIDEST: usize = 16;

/// Gives sessions away until it is dropped.
pub async fn rebalance(desk: &Desk) {
    let mut giving = Giving::new(WIDEST);
    let mut waves = every(WAVE);
    loop {
        waves.tick().await;
        // One that has too much to do is asked again.
        let wave = desk.control.wave(giving.width()).await.unwrap_or_default();
        let mut rebalances = Rebalances(wave.into_iter().map(|going| (going.session.to_string(), going)).collect());
        let sessions: Vec<String> = rebalances.0.keys().cloned().collect();
        giving.give(desk, sessions, &mut rebalances).await;
    }
}

/// The sessions of a wave.
struct Rebalances(BTreeMap<String, Going>);

impl Occasion for Rebalances {
    async fn target(&mut self, _desk: &Desk, session: &str, _name: &SessionName) -> Option<(Node, Motive)> {
        self.0.get(session).map(|going| (going.to, going.motive))
    }

    async fn note(&mut self, desk: &Desk, session: &str, given: &Given) {
        match given {
            Given::There(moved, Motive::Load) => {
                tracing::info!(
                    session,
                    to = moved.to,
                    took_ms = moved.took_ms,
                    "the session went, for this node has too much to do"
                );
            }
            Given::There(moved, _) => {
                tracing::info!(
                    session,
                    to = moved.to,
                    took_ms = moved.took_ms,
                    "the session went to where the ring has it now"
                );
            }
            Given::NotTaken(to, why) => {
                tracing::warn!(session, to = %to.id, why, "the session stays for a while: it was not taken");
            }
            Given::Nowhere | Given::Vanished => {}
        }
        if let Some(going) = self.0.remove(session) {
            // One that is gone is not to go.
            let is_taken = !matches!(given, Given::NotTaken(..) | Given::Nowhere);
            desk.control.given(going.session, is_taken).await;
        }
    }
}
