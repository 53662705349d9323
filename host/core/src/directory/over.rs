//! Sessions that are over, remembered for a while: what was said of them before and comes late raises none of them, nor does
//! a leader that was away when its session was promoted and ended elsewhere; and the players of those that were lost with
//! their node are told so.

use std::collections::{BTreeMap, VecDeque};

use super::message::{Name, name_of};
use crate::ids::SessionId;
use crate::limits::OVER_SESSIONS;

/// How long those that were lost are remembered, µs. Those that ended are remembered as long as there is room: a machine may
/// be away for hours.
const REMEMBER_LOST_US: u64 = 60_000_000;

/// The sessions that are over.
#[derive(Debug, Default)]
pub(super) struct Over {
    /// Whether each was lost with its node.
    is_lost: BTreeMap<SessionId, bool>,
    /// Those that ended, and those that were lost and when, the oldest first.
    ended: VecDeque<SessionId>,
    lost: VecDeque<(u64, SessionId)>,
    /// The last that was lost of each name: asked for with every request for a name that has no entry.
    lost_last: BTreeMap<Name, SessionId>,
}

impl Over {
    /// A session is over. Beyond the bound the oldest is forgotten. What has ended was not lost after all, and stays so.
    pub fn remember(&mut self, now: u64, session: &SessionId, is_lost: bool) {
        self.forget_lost(now);
        match self.is_lost.get(session) {
            Some(false) => return,
            Some(true) if is_lost => {}
            _ if is_lost => self.lost.push_back((now, session.clone())),
            _ => self.ended.push_back(session.clone()),
        }
        self.is_lost.insert(session.clone(), is_lost);
        match is_lost {
            true => drop(self.lost_last.insert(name_of(session), session.clone())),
            false => self.unlist(session),
        }
        while self.ended.len() > OVER_SESSIONS
            && let Some(oldest) = self.ended.pop_front()
        {
            self.is_lost.remove(&oldest);
        }
    }

    /// Whether a session has ended. One that was lost may be found again.
    pub fn has_ended(&self, session: &SessionId) -> bool {
        self.is_lost.get(session) == Some(&false)
    }

    /// Whether a session was lost.
    pub fn is_lost(&self, session: &SessionId) -> bool {
        self.is_lost.get(session) == Some(&true)
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

    fn forget_lost(&mut self, now: u64) {
        while let Some((at, _)) = self.lost.front()
            && (at.saturating_add(REMEMBER_LOST_US) <= now || self.lost.len() >= OVER_SESSIONS)
            && let Some((_, session)) = self.lost.pop_front()
        {
            if self.is_lost(&session) {
                self.is_lost.remove(&session);
                self.unlist(&session);
            }
        }
    }
}
