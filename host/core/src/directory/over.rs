//! Sessions that are over, remembered for a while: what was said of them before and comes late raises none of them, and
//! the players of those that were lost with their node are told so.

use std::collections::{BTreeMap, VecDeque};

use super::message::{Name, name_of};
use crate::ids::SessionId;
use crate::limits::OVER_SESSIONS;

/// How long they are remembered, µs.
const REMEMBER_US: u64 = 60_000_000;

/// The sessions that are over.
#[derive(Debug, Default)]
pub(super) struct Over {
    order: VecDeque<(u64, SessionId)>,
    /// Whether each was lost with its node.
    lost: BTreeMap<SessionId, bool>,
    /// The last that was lost of each name: asked for with every request for a name that has no entry.
    lost_last: BTreeMap<Name, SessionId>,
}

impl Over {
    /// A session is over. Beyond the bound the oldest is forgotten.
    pub fn remember(&mut self, now: u64, session: &SessionId, is_lost: bool) {
        self.forget_old(now);
        match is_lost {
            true => drop(self.lost_last.insert(name_of(session), session.clone())),
            false => self.unlist(session),
        }
        if self.lost.insert(session.clone(), is_lost).is_none() {
            self.order.push_back((now, session.clone()));
        }
    }

    /// A session that was taken for ended is led: says its leader.
    pub fn find(&mut self, session: &SessionId) {
        if self.has_ended(session) {
            self.lost.remove(session);
            self.order.retain(|(_, other)| other != session);
        }
    }

    /// Whether a session has ended. One that was lost may be found again.
    pub fn has_ended(&self, session: &SessionId) -> bool {
        self.lost.get(session) == Some(&false)
    }

    /// Whether a session was lost.
    pub fn is_lost(&self, session: &SessionId) -> bool {
        self.lost.get(session) == Some(&true)
    }

    /// The session of a name that was lost last.
    pub fn lost(&self, name: &Name) -> Option<&SessionId> {
        self.lost_last.get(name)
    }

    fn unlist(&mut self, session: &SessionId) {
        let name = name_of(session);
        if self.lost_last.get(&name) == Some(session) {
            self.lost_last.remove(&name);
        }
    }

    fn forget_old(&mut self, now: u64) {
        while let Some((at, _)) = self.order.front()
            && (at.saturating_add(REMEMBER_US) <= now || self.order.len() >= OVER_SESSIONS)
            && let Some((_, session)) = self.order.pop_front()
        {
            self.lost.remove(&session);
            self.unlist(&session);
        }
    }
}
