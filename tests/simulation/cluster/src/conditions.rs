//! What must hold in every run of the cluster's simulator.

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Nobody ever begins to lead a session in an epoch in which somebody led it.
    OneLeaderPerEpoch,
    /// Tables stay within their bounds.
    Bounded,
    /// Each placement was decided by the home of its key and follows again from the inputs that it names.
    Explained,
    /// Equal views have equal rings and equal owners, whoever sees them and whenever.
    EqualViewsEqualOwners,
    /// A home that could know of a session does not begin another of its key.
    CreationIdempotent,
    /// Each request of a node that lives is answered once, and in time.
    AnsweredOnce,
    /// A session ends because it is over, empty, was created too late, or gives way to one that there is.
    EndsHaveReasons,
    /// Of several sessions of a key one goes on: no two ever give way to each other.
    OneGoesOn,
    /// Nobody is presumed gone who was there, awake and within reach.
    NoFalseDeath,
    /// A player is sent on at most as often as they may be.
    RedirectsBounded,
    /// A ticket is taken once, where and while it is good.
    TicketsOnce,
    /// When the faults are over all come to the same view.
    ViewsAgree,
    /// … then each key has one session and each session one leader.
    OneSessionPerKey,
    /// … and each session's home knows it as it is, and knows of no other; lists the same.
    EntriesRight,
    /// … and each session has the followers that it asks for, as far as there are nodes.
    Followed,
    /// … and who came to lead a session when its leader died is known to its home.
    SuccessorKnown,
    /// … and whoever asks by whichever node is served, and finds the same session.
    Served,
    /// … and every node writes the newest version of checkpoints that all read.
    WritesWhatAllRead,
}

impl Condition {
    /// All of them.
    pub const ALL: &[Condition] = &[
        Condition::OneLeaderPerEpoch,
        Condition::Bounded,
        Condition::Explained,
        Condition::EqualViewsEqualOwners,
        Condition::CreationIdempotent,
        Condition::AnsweredOnce,
        Condition::EndsHaveReasons,
        Condition::OneGoesOn,
        Condition::NoFalseDeath,
        Condition::RedirectsBounded,
        Condition::TicketsOnce,
        Condition::ViewsAgree,
        Condition::OneSessionPerKey,
        Condition::EntriesRight,
        Condition::Followed,
        Condition::SuccessorKnown,
        Condition::Served,
        Condition::WritesWhatAllRead,
    ];
}
