//! Planted bugs: what a run does wrong on purpose, each at the seam between the pure core and its surroundings, so that
//! production code knows nothing of them. A search over seeds must catch each, by the condition that it breaks.

use crate::conditions::Condition;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plant {
    /// Answers to the question before creation say that nobody leads anything.
    TellsNothing,
    /// Announcements leave out every third session.
    ForgetsToAnnounce,
    /// Announcements leave out that sessions ended.
    LosesEnds,
    /// A session is begun on a second node as well.
    BeginsTwice,
    /// An order to lead goes to another node than was decided.
    OrdersElsewhere,
    /// The inputs of a decision are changed on the way.
    RewritesDecisions,
    /// Some answers are given twice.
    AnswersTwice,
    /// Some answers are lost between directory and caller.
    LosesAnswers,
    /// A session that is to give way goes on.
    IgnoresVerdicts,
    /// The session that goes on is told to give way, too.
    CondemnsBoth,
    /// Sessions end for no reason.
    EndsBystanders,
    /// A node that stood still does not notice: it goes through the time that it missed and finds everybody silent.
    BlindToStalls,
    /// A node's directory is given a view with another weight in it.
    PrivateRing,
    /// Nodes do not publish that they began a new stay.
    KeepsStaySecret,
    /// A worker takes a ticket without looking at those that it took.
    TakesTicketsTwice,
    /// The count of redirects is not carried on.
    ForgetsRedirects,
    /// A worker that is to follow a session does not.
    ForgetsFollowers,
    /// Announcements leave out sessions that a follower came to lead.
    HidesSuccessors,
    /// A node's waiting requests are never given up: their alarms do not ring.
    SleepsThroughAlarms,
    /// A node goes on writing what it wrote when somebody comes who reads less.
    WritesOnAsItDid,
    /// A node's account of the answers that it keeps grows with each look.
    HoldsMore,
    /// Some who are served are told that the node is busy.
    TurnsAway,
}

impl Plant {
    /// All of them, and the condition that each breaks.
    pub const ALL: &[(Plant, Condition)] = &[
        (Plant::ForgetsFollowers, Condition::Followed),
        (Plant::HidesSuccessors, Condition::SuccessorKnown),
        (Plant::TellsNothing, Condition::CreationIdempotent),
        (Plant::ForgetsToAnnounce, Condition::OneSessionPerKey),
        (Plant::LosesEnds, Condition::EntriesRight),
        (Plant::BeginsTwice, Condition::OneLeaderPerEpoch),
        (Plant::OrdersElsewhere, Condition::Explained),
        (Plant::RewritesDecisions, Condition::Explained),
        (Plant::AnswersTwice, Condition::AnsweredOnce),
        (Plant::LosesAnswers, Condition::AnsweredOnce),
        (Plant::IgnoresVerdicts, Condition::OneSessionPerKey),
        (Plant::CondemnsBoth, Condition::OneGoesOn),
        (Plant::EndsBystanders, Condition::EndsHaveReasons),
        (Plant::BlindToStalls, Condition::NoFalseDeath),
        (Plant::PrivateRing, Condition::EqualViewsEqualOwners),
        (Plant::KeepsStaySecret, Condition::ViewsAgree),
        (Plant::TakesTicketsTwice, Condition::TicketsOnce),
        (Plant::ForgetsRedirects, Condition::RedirectsBounded),
        (Plant::SleepsThroughAlarms, Condition::AnsweredOnce),
        (Plant::WritesOnAsItDid, Condition::WritesWhatAllRead),
        (Plant::HoldsMore, Condition::Bounded),
        (Plant::TurnsAway, Condition::Served),
    ];
}
