//! What members of a session say to each other, and what the state machines ask of their shell. Messages may be lost,
//! doubled, late and out of order; each names the epoch that it speaks of, and what is stale is ignored or corrected.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Claim;
use super::chain::Request;
use super::record::{Member, Record, Tier};
use super::suspect::{Suspect, Suspects};
use crate::ids::{Epoch, Position, StateHash};

/// To or from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Party {
    /// A worker that leads or follows.
    Member(Member),
    /// The session's home, wherever that is now: it has the copy of the newest record.
    Home,
}

/// The hash of outputs and state at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// After which entry.
    pub position: Position,
    /// The hash.
    pub hash: StateHash,
}

/// A batch of entries, or none: a heartbeat. The shell puts the entries in that follow `from`, up to `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// The leader's clock when it was sent; only its own, given back by the acknowledgement.
    pub stamp_us: u64,
    /// The position before the first entry.
    pub from: Position,
    /// The position of the last entry.
    pub to: Position,
    /// Nothing up to here is ever withdrawn.
    pub committed: Position,
    /// The newest record, until it is acknowledged.
    pub record: Option<Box<Record>>,
    /// What the leader's fold came to.
    pub mark: Option<Mark>,
}

/// An acknowledgement. It promises not to promote for [`super::timing::PROMISE_US`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The epoch that the follower follows.
    pub epoch: Epoch,
    /// The newest stamp of that epoch that it got, if any.
    pub stamp_us: Option<u64>,
    /// It has all entries up to here.
    pub received: Position,
    /// Its fold is so far.
    pub applied: Position,
    /// Number of the newest record that it knows.
    pub record: u64,
    /// Its fold came to another hash than the leader's: it must not count.
    pub has_diverged: bool,
}

/// A candidate's question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Who stands.
    pub candidate: Member,
    /// The epoch that it would take.
    pub epoch: Epoch,
    /// The newest record that it knows.
    pub record: Box<Record>,
    /// The epoch of its last entry, and that entry's position: who has more goes first.
    pub log: (Option<Epoch>, Position),
    /// The candidate's clock when it was sent, given back by the answer.
    pub stamp_us: u64,
}

/// How somebody stands to a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stand {
    /// Nothing against it; and nothing of an older epoch is accepted until the candidate leads, withdraws or is gone.
    Yes,
    /// The leader is there.
    Lives,
    /// The one who answers suspects too and has more of the log, or as much and comes first.
    Better,
    /// It has no say, only a record.
    Tells,
}

/// The answer to a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which candidacy.
    pub asked: Epoch,
    /// The greatest number of an epoch that it has seen.
    pub number: u64,
    /// The newest record that it knows.
    pub record: Option<Box<Record>>,
    /// How it stands.
    pub stand: Stand,
    /// The stamp of the question.
    pub stamp_us: u64,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// This record's leader leads. To members until they follow, to who does not count any more until they know, to the
    /// home until it has said that it knows, and to whoever speaks of an older epoch. Without an end from whoever asks
    /// thereby whether there is a newer one, and as the home's answer.
    Lead {
        /// By which record.
        record: Box<Record>,
        /// Where the leader's log ends; none if the sender is not the leader.
        end: Option<Position>,
    },
    /// Entries.
    Append(Append),
    /// They, and the time they were sent, arrived.
    Ack(Ack),
    /// May I lead?
    Ask(Ask),
    /// What is known about that.
    Answer(Answer),
    /// The candidate of that epoch does not stand any more, and will never take it.
    Withdraw(Epoch),
    /// Two lead: what the one of the lesser epoch has for itself. It has stopped.
    Claim {
        /// What it has.
        claim: Claim,
        /// Its newest record.
        record: Box<Record>,
        /// Where its log ends.
        end: Position,
    },
    /// The one of the greater epoch has stopped: the other goes on, in an epoch above both.
    Yield {
        /// The claim that won.
        winner: Claim,
        /// The claim that lost.
        loser: Claim,
    },
    /// What the leader holds back because it may kill a process.
    Suspects(Suspects),
    /// The follower will remember it.
    Suspected {
        /// Of which epoch.
        epoch: Epoch,
        /// Which word.
        number: u64,
    },
}

/// What may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Reliable outputs of entries up to here; acknowledgements of them.
    pub up_to: Position,
    /// The tier that those acknowledgements name.
    pub tier: Tier,
    /// The mark that views carry: nothing up to here is ever withdrawn.
    pub committed: Position,
}

/// A follower becomes the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// By this record.
    pub record: Arc<Record>,
    /// Where its log ends before anything of the new epoch.
    pub end: Position,
    /// What it knows to be committed.
    pub committed: Position,
    /// Whether everything that was released is sure to be in its log. If not, a branch begins: every client is told
    /// `rewound` to what is left before anything else.
    pub is_complete: bool,
    /// Those of the record before, who must hear of it.
    pub former: BTreeSet<Member>,
    /// Whether it had stood still just before it heard so: others may have gone on since. Its views pause until its followers
    /// have answered.
    pub has_stalled: bool,
    /// Whether the process of the leader before is known to have ended, which something that it ran may have done.
    pub has_died: bool,
    /// Messages that were about to run when a leader died: they are skipped.
    pub killers: Vec<Suspect>,
}

/// What the shell must do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a message.
    Send {
        /// To whom.
        to: Party,
        /// What.
        message: Message,
    },
    /// Ask the store for the chain.
    Chain(Request),
    /// Have other nodes try to reach a party; [`super::Follower::handle_reached`] if one does. And look whether its process
    /// has ended; [`super::Follower::handle_died`] if it has.
    Probe(Party),

    /// Leader: put the record into the log at its position.
    Record(Arc<Record>),
    /// Leader: these outputs and acknowledgements may leave.
    Release(Release),
    /// Leader: views pause, or go on. Players are told.
    Paused(bool),
    /// Leader: from now on nobody else has what is appended; or somebody does again.
    Degraded(bool),
    /// Leader: how many player inputs were accepted after a position? [`super::Leader::handle_counted`].
    Count {
        /// The position.
        since: Position,
    },
    /// Leader: the move was given up; inputs that were held back are appended.
    MoveFailed,
    /// Leader: it is evicted by this record, and does not lead any more: what is here of it may go.
    Evicted(Arc<Record>),
    /// Leader: it is not evicted and goes on; inputs that were held back are appended.
    NotEvicted,
    /// Leader: it leads in a new epoch, above another's that is over.
    Renewed(Arc<Record>),
    /// Leader: it does not lead any more; [`super::Leader::into_follower`].
    Deposed,
    /// Leader: another branch won. The log is kept as a fork from here on, players are told `superseded`, and it does not
    /// lead any more.
    Superseded {
        /// Who goes on.
        by: Arc<Record>,
        /// Where the two parted.
        fork: Position,
    },

    /// Follower: keep the entries that came with the message, from the first to the last of these positions.
    Keep {
        /// The first.
        from: Position,
        /// The last.
        to: Position,
    },
    /// Follower: entries after this position never were.
    Truncate {
        /// The last that stays.
        to: Position,
    },
    /// Follower: it leads; [`super::Leader::promoted`].
    Lead(Promotion),
    /// Follower: it counts, or does not count any more.
    Counts(bool),
    /// Follower: its fold and the leader's differ. A bug: save the log and both states.
    Diverged {
        /// What the leader has.
        leader: Mark,
        /// What it has.
        own: Mark,
    },
}
