//! The smallest possible node: it knows where sessions are and keeps their recordings.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringside_core::ids::{SessionId, WorkerId};
use ringside_core::routing::tickets::era;
use ringside_protocol::frame::Target;
use ringside_protocol::reason::Reason;
use ringside_worker::{Refusal, Resolved};

use super::identity;
use crate::scheduler::Micros;

/// The node's knowledge.
#[derive(Debug, Default)]
pub struct Node {
    /// Which worker has a session.
    pub places: BTreeMap<SessionId, usize>,
    /// What was recorded of each.
    pub recorded: BTreeMap<SessionId, Vec<u8>>,
}

impl Node {
    /// Where a player is to go.
    pub fn resolve(
        &self,
        now: Micros,
        target: &Target,
        address: impl Fn(usize) -> SocketAddr,
    ) -> Result<Resolved, Refusal> {
        let fits = |id: &&SessionId| match target {
            Target::Session { game, key } => id.game == *game && id.key == *key,
            Target::FindOrCreate { game, .. } => id.game == *game,
        };
        let refusal = || Refusal { reason: Reason::NoSuchSession, message: "no such session".into() };
        let found = self.places.keys().find(fits).ok_or_else(refusal)?;
        let worker = self.places[found];
        Ok(self.place(now, found, worker, address(worker)))
    }

    /// A session's place in the words that workers understand.
    pub fn place(&self, now: Micros, session: &SessionId, worker: usize, address: SocketAddr) -> Resolved {
        Resolved {
            session: session.clone(),
            node: identity::NODE,
            generation: identity::GENERATION,
            era: era(now),
            worker: WorkerId(worker as u8),
            address,
            certificate: identity::CERTIFICATE,
        }
    }
}
