//! Why there is no connection to a peer: a closed list. Those with a code are what a worker says when it closes one, so
//! that the other end names the same reason; the text beside the code says more.

/// Why a connection to a peer ended, or was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// No session of either end needs it.
    Unlinked,
    /// The worker stops.
    Stopping,
    /// Both dialed: the connection of the smaller worker is the one that stays.
    Crossed,
    /// The peer made another, so it has lost this one.
    Replaced,
    /// No version in common.
    Version,
    /// The certificate is not that of the node that is meant, or that the peer claims to be.
    Certificate,
    /// The peer has the number of this node and is another process.
    DuplicateNode,
    /// The worker that is meant is not here: its node was started anew, or the address is another's.
    OtherRun,
    /// A later run of the peer's node is known.
    OldRun,
    /// As many peers are linked as may be.
    Busy,
    /// Nothing was heard in time where a greeting was due.
    Silent,
    /// The peer said what cannot be understood.
    Malformed,
    /// The peer said more at once than is allowed.
    TooLong,
    /// The peer takes too little of what it is sent.
    TooSlow,
    /// The other end is no member of this cluster, or takes this worker for none.
    OtherCluster,
    /// Nobody answers, or nobody does any longer.
    Unreachable,
}

impl End {
    /// All that have a code: the code is the place in this list.
    const SAID: [End; 14] = [
        End::Unlinked,
        End::Stopping,
        End::Crossed,
        End::Replaced,
        End::Version,
        End::Certificate,
        End::DuplicateNode,
        End::OtherRun,
        End::OldRun,
        End::Busy,
        End::Silent,
        End::Malformed,
        End::TooLong,
        End::TooSlow,
    ];

    /// The code that says it; those that nobody can say are said as [`End::Malformed`].
    pub fn code(self) -> u32 {
        let code = |end| End::SAID.iter().position(|&said| said == end);
        code(self).or_else(|| code(End::Malformed)).unwrap_or_default() as u32
    }

    /// What a code says; one of a later release says that the peer had enough.
    pub fn from_code(code: u64) -> End {
        usize::try_from(code).ok().and_then(|code| End::SAID.get(code)).copied().unwrap_or(End::Unreachable)
    }

    /// Whether trying again is of no use, because whoever was meant is over or never was: every session is unlinked.
    pub fn is_final(self) -> bool {
        matches!(self, End::OtherRun | End::OldRun | End::DuplicateNode)
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            End::Unlinked => "no session needs the link",
            End::Stopping => "the worker stops",
            End::Crossed => "both workers dialed: the other's connection stays",
            End::Replaced => "the worker made another connection",
            End::Version => "no version in common: run adjacent releases",
            End::Certificate => "the certificate is not that of the node that is meant",
            End::DuplicateNode => {
                "a node with this number is running here: two nodes must not share a state directory or a copy of one"
            }
            End::OtherRun => "the worker that is meant is not here: its node was started anew, or is elsewhere",
            End::OldRun => "a later run of this node is known",
            End::Busy => "it has too many links at the moment",
            End::Silent => "nothing was heard in time",
            End::Malformed => "a frame that cannot be understood",
            End::TooLong => "a frame that is too long",
            End::TooSlow => "the worker takes too little of what it is sent",
            End::OtherCluster => {
                "it is no node of this cluster: its certificate is of another authority, or it refuses ours"
            }
            End::Unreachable => "nobody answers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_name_the_same_reason_at_both_ends() {
        for end in End::SAID {
            assert_eq!(End::from_code(u64::from(end.code())), end);
        }
        assert_eq!(End::from_code(99), End::Unreachable);
        assert_eq!(End::from_code(u64::MAX), End::Unreachable);
        assert_eq!(End::OtherCluster.code(), End::Malformed.code());
    }
}
