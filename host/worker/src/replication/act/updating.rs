//! Followers that keep the log and do not replay it: their leader sends them its checkpoints, so that what they keep stays
//! short, and has one that is about to lead fold what it has.
//!
//! **Why checkpoints are sent to them.** A follower that folds its log now and then to have a checkpoint of its own pays for
//! every entry, only later; what a fold costs is what this kind of follower is there to spare. The leader takes a checkpoint
//! every few seconds anyway. What changed since the one before is compared and encoded beside its thread and leaves behind
//! everything else, each page once however often it was written. Only where such a checkpoint does not come does the
//! follower fold ([`KEPT_ENTRIES`](crate::limits::KEPT_ENTRIES)).

use std::sync::Arc;
use std::time::Instant;

use ringside_core::ids::SessionId;
use ringside_core::leadership::record::Member;
use ringside_sandbox::StateError;

use super::super::job::{Job, Unreadable};
use super::super::keeps_log;
use super::super::wire::{CheckpointHead, Item};
use crate::worker::Worker;

/// Entries that a follower may have to fold when it comes to lead, and no player notices: well below a tick's time.
const WARM_ENTRIES: u64 = 64;

impl Worker {
    /// The newest checkpoint of a session is for followers that keep its log, if they have not got it yet.
    pub(crate) fn update_followers(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(lead) = session.lead.as_mut() else { return };
        let had = lead.sent.as_ref().map_or(0, |state| state.position());
        let Some(state) = session.checkpoint.as_ref().filter(|state| state.position() > had) else { return };
        let record = lead.core.record();
        if record.in_sync.is_empty() || !keeps_log(session.fold.module(), &lead.terms) {
            return;
        }
        let head = CheckpointHead {
            session: session.id.clone(),
            position: state.position(),
            lineage: record.lineage.clone(),
            branches: lead.branches.clone(),
        };
        // What it is compared with is in memory only until that is done, but for the newest, which the session has anyway.
        let before = lead.sent.replace(Arc::clone(state));
        let has = |who: &Member| before.clone().filter(|before| lead.updated.get(who) == Some(&before.position()));
        // Who was begun with it a moment ago has it.
        let lacking = record.in_sync.iter().filter(|who| lead.updated.get(who) != Some(&state.position()));
        let jobs: Vec<Job> =
            lacking.map(|who| Job::encode(*who, head.clone(), has(who), Arc::clone(state), None)).collect();
        lead.updated = record.in_sync.iter().map(|who| (*who, state.position())).collect();
        self.replication.jobs.extend(jobs);
    }

    /// A follower has not got what it was sent an increment of: the next checkpoint that it is sent is whole.
    pub(super) fn lacks(&mut self, who: Member, session: &SessionId) {
        if let Some(lead) = self.index_of(session).and_then(|index| self.lead_mut(index)) {
            lead.updated.remove(&who);
        }
    }

    /// A checkpoint that came cannot be read. It is sent again in a while, written anew: where it was of a release that this one
    /// does not read, its leader's node knows by then that it is to write an older version. A follower that keeps the log, and
    /// may lack its base, says that it has not got it.
    pub(super) fn unreadable(&mut self, from: Member, session: Option<SessionId>, why: Unreadable) {
        let is_of_other_release = matches!(why, Unreadable::State(StateError::Version { .. }));
        let Some(session) = session else {
            return tracing::error!(%from, %why, "a checkpoint cannot be read: it is sent again");
        };
        let Some(following) = self.replication.get_mut(&session) else {
            // It was followed: whoever stood still when it was promoted here sends what it had begun.
            return tracing::debug!(%session, %from, %why, "a checkpoint of what is not followed");
        };
        let keeps_log = following.keeping.is_some();
        match keeps_log && !is_of_other_release {
            true => tracing::debug!(%session, %from, %why, "the next checkpoint is to be whole"),
            false => tracing::error!(%session, %from, %why, "a checkpoint cannot be read: another one is sent"),
        }
        if keeps_log {
            self.say(from, Item::Lacks { session });
        }
    }

    /// A session that is followed here is about to be led here.
    pub(super) fn warm(&mut self, now: Instant, session: &SessionId) {
        if let Some(at) = self.replication.index_of(session) {
            self.hurry(now);
            self.with_follower(now, at, |following| {
                following.keeping.iter_mut().for_each(|keeping| keeping.warm(now));
            });
        }
    }

    /// The lead of a session is to go to a follower: one that keeps the log folds it first, and its worker is awake.
    pub(super) fn have_warmed(&mut self, index: usize, to: Member) {
        let Some(session) = self.sessions.get(index).and_then(Option::as_ref) else { return };
        let session = session.id.clone();
        self.say(to, Item::Warm { session });
    }

    /// Whether players would wait for a follower to fold what it has.
    pub(super) fn is_cold(&self, now: Instant, index: usize, who: Member) -> bool {
        let Some(session) = self.sessions.get(index).and_then(Option::as_ref) else { return false };
        let Some(lead) = session.lead.as_ref().filter(|lead| keeps_log(session.fold.module(), &lead.terms)) else {
            return false;
        };
        lead.core.lags(lead.us(now)).any(|lag| lag.follower == who && lag.unfolded > WARM_ENTRIES)
    }
}
