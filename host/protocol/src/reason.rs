//! Why something was refused, closed or detached: one table of codes for refusal frames, detachments, going-away
//! notices, rejected messages and QUIC application close codes, and what a client does about each.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a client does about a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// Try the same place again, later.
    Retry,
    /// Forget the route and ask a front door again.
    RefreshRoute,
    /// What the client sent is wrong: ask again only with something else.
    CorrectInput,
    /// It is over.
    GiveUp,
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $code:literal, $reaction:ident, $text:literal;)+) => {
        /// A reason, by its code. Codes are never used again for something else; a code that this release does not
        /// know is kept as [`Reason::Unknown`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])+ $name,)+
            /// A code of a later release.
            Unknown(u16),
        }

        impl Reason {
            /// Every reason that has a name, in the order of its code.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),+];

            /// The code on the wire, also QUIC's application error code.
            pub fn code(self) -> u16 {
                match self {
                    $(Reason::$name => $code,)+
                    Reason::Unknown(code) => code,
                }
            }

            /// The reason of a code.
            pub fn from_code(code: u16) -> Reason {
                match code {
                    $($code => Reason::$name,)+
                    code => Reason::Unknown(code),
                }
            }

            /// Its name, as the documents write it: `no-such-game`.
            pub fn name(self) -> String {
                match self {
                    $(Reason::$name => kebab(stringify!($name)),)+
                    Reason::Unknown(_) => "unknown".to_owned(),
                }
            }

            /// What a client does about it.
            pub fn reaction(self) -> Reaction {
                match self {
                    $(Reason::$name => Reaction::$reaction,)+
                    Reason::Unknown(_) => Reaction::Retry,
                }
            }

            /// A few words for logs and counters.
            pub fn text(self) -> &'static str {
                match self {
                    $(Reason::$name => $text,)+
                    Reason::Unknown(_) => "a reason of a later release",
                }
            }
        }
    };
}

reasons! {
    /// The application ended the connection; nothing is wrong.
    Closed = 0, GiveUp, "closed";
    /// The player left by their own wish.
    Left = 1, GiveUp, "the player left";
    /// A newer connection of the same player took over.
    Replaced = 2, GiveUp, "a newer connection of this player took over";
    /// The game kicked the player.
    Kicked = 3, GiveUp, "the game kicked the player";
    /// The player's reliable messages piled up beyond the bound.
    TooSlow = 4, GiveUp, "too slow to take the reliable messages";
    /// The host removed the player.
    Removed = 5, GiveUp, "removed by the host";
    /// The seat window ran out before the player came back. As the answer to an open frame: the stay that it goes on
    /// from is over, open again without it.
    SeatExpired = 6, GiveUp, "the seat was not kept any longer";
    /// The session is over.
    SessionEnded = 7, GiveUp, "the session is over";
    /// The session goes on at another place, already announced.
    Moved = 8, RefreshRoute, "the session moved";

    /// The peer broke the protocol.
    Protocol = 16, GiveUp, "the protocol was broken";
    /// The peer speaks another version of the protocol.
    Version = 17, GiveUp, "another version of the protocol";
    /// No open frame arrived in time.
    OpenTimeout = 18, Retry, "no open frame in time";
    /// Nothing was heard for the idle timeout.
    Idle = 19, Retry, "nothing heard for too long";
    /// The peer sent more than it may.
    RateExceeded = 20, Retry, "more was sent than is allowed";
    /// A frame or field is longer than it may be.
    TooLarge = 21, CorrectInput, "larger than allowed";

    /// The session token is not one, not signed by a trusted issuer, or not valid now.
    TokenInvalid = 32, CorrectInput, "the session token is not valid";
    /// The session token has expired.
    TokenExpired = 33, CorrectInput, "the session token has expired";
    /// The session token does not allow this.
    TokenForbids = 34, CorrectInput, "the session token does not allow this";
    /// The ticket is not valid here, was used, or has expired.
    TicketInvalid = 35, RefreshRoute, "the ticket is not valid";
    /// The resume token was used before or is not valid: open again without it.
    ResumeInvalid = 36, RefreshRoute, "the resume token is not valid";
    /// What the client says it has does not fit what the session sent: it cannot be resumed.
    ResumeImpossible = 37, GiveUp, "the session cannot be resumed from there";

    /// There is no such game.
    NoSuchGame = 48, CorrectInput, "no such game";
    /// There is no such session.
    NoSuchSession = 49, CorrectInput, "no such session";
    /// Every seat is taken.
    SessionFull = 50, CorrectInput, "every seat is taken";
    /// The game refused the player.
    JoinRefused = 51, CorrectInput, "the game refused the player";
    /// The session could not be started.
    StartFailed = 52, CorrectInput, "the session could not be started";
    /// This mode is not offered.
    ModeUnsupported = 53, CorrectInput, "this mode is not offered";

    /// The worker is not the session's leader (any longer).
    NotHere = 64, RefreshRoute, "the session is elsewhere";
    /// The node or worker has no room at the moment.
    Overloaded = 65, Retry, "no room at the moment";
    /// Too many connections of this address.
    AddressLimit = 66, Retry, "too many connections of this address";
    /// The node drains.
    Draining = 67, RefreshRoute, "the node drains";
    /// The node stops.
    Stopping = 68, RefreshRoute, "the node stops";
    /// The host failed at something of its own.
    Internal = 69, Retry, "the host failed";
    /// Nobody answered in time.
    Unreachable = 70, Retry, "the leader does not answer";

    /// The guest trapped on the message; it changed nothing.
    MessageTrapped = 80, CorrectInput, "the game failed on the message";
    /// The guest ran too long on the message; it changed nothing.
    MessageRanAway = 81, CorrectInput, "the game took too long on the message";
    /// The guest put out too much on the message; it changed nothing.
    MessageFlooded = 82, CorrectInput, "the game put out too much on the message";
    /// The guest broke its contract on the message; it changed nothing.
    MessageBrokeContract = 83, CorrectInput, "the game broke its contract on the message";
    /// The message was about to run when the process died that led the session: it changed nothing, and does not run again.
    MessageSuspected = 84, CorrectInput, "the message may have ended a process, and was not run again";
}

/// `NoSuchGame` as `no-such-game`.
fn kebab(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Unknown(code) => write!(f, "reason {code}"),
            known => f.write_str(known.text()),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.code().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u16::deserialize(deserializer).map(Reason::from_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        let mut codes: Vec<u16> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert!(codes.is_sorted());
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), reason);
            let bytes = postcard::to_allocvec(&reason).unwrap();
            assert_eq!(postcard::from_bytes::<Reason>(&bytes).unwrap(), reason);
        }
        assert_eq!(Reason::from_code(999), Reason::Unknown(999));
        assert_eq!(Reason::Unknown(999).code(), 999);
        assert_eq!((Reason::NoSuchGame.name(), Reason::Idle.name()), ("no-such-game".to_owned(), "idle".to_owned()));
    }

    #[test]
    fn what_only_a_new_route_can_heal_says_so() {
        assert_eq!(Reason::NotHere.reaction(), Reaction::RefreshRoute);
        assert_eq!(Reason::Replaced.reaction(), Reaction::GiveUp);
        assert_eq!(Reason::Overloaded.reaction(), Reaction::Retry);
        assert_eq!(Reason::TokenExpired.reaction(), Reaction::CorrectInput);
    }
}
