//! The phases of a planned change of the leader, by name, as both sides say in their logs that they have come to them: at
//! `debug`, under the name of this module, so that operators and tests can ask for these lines alone. A follower that is
//! begun for another reason goes through the first three as well.

use ringside_core::ids::SessionId;
use ringside_core::leadership::record::Member;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The source hears of the follower; the target begins to follow.
    Offer,
    /// The source sends its checkpoint; it has come to the target.
    Checkpoint,
    /// The target has what was appended since, and counts.
    CatchUp,
    /// The source tells its players; one of them stands by at the target.
    Announce,
    /// The source holds inputs back until the target has all of the log; the target has the grant.
    Grant,
    /// The source has granted, and follows; the target leads.
    Switch,
    /// The target lets go of a follower that there is no need of any more.
    Release,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Offer => "offer",
            Phase::Checkpoint => "checkpoint",
            Phase::CatchUp => "catch up",
            Phase::Announce => "announce",
            Phase::Grant => "grant",
            Phase::Switch => "switch",
            Phase::Release => "release",
        }
    }

    /// The leader, or whoever was it until now, says that it has come to this with another worker.
    pub fn at_source(self, session: &SessionId, to: Member) {
        tracing::debug!(%session, phase = self.name(), side = "source", %to, "a change of the leader");
    }

    /// The follower, who is to lead, says so.
    pub fn at_target(self, session: &SessionId) {
        tracing::debug!(%session, phase = self.name(), side = "target", "a change of the leader");
    }
}
