//! `resolve`: asking a node over HTTPS, before anything is opened, where a session is led. Question and answer are JSON;
//! what is answered is what a redirect would say, so that the `open` which follows goes straight to the leader. This file
//! owns their form; who may ask what is decided as for an `open` without a ticket.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::frame::{Certificate, Opaque, Place, Refused, Target, cut_reason};
use crate::ids::{GameName, SessionId, SessionKey, WorkerId};
use crate::limits;
use crate::reason::Reason;

/// Where to ask: `POST` this path at the node's door for HTTPS. Its number is the version of question and answer.
pub const PATH: &str = "/v1/resolve";

/// The question.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The session token, at most [`limits::TOKEN_BYTES`].
    pub token: String,
    /// The game.
    pub game: GameName,
    /// The session of this key; find-or-create where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SessionKey>,
    /// Criteria of find-or-create, at most [`limits::CRITERIA_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criteria: Option<String>,
}

/// The token is a secret: only its length is shown.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("token", &format_args!("{} bytes", self.token.len()))
            .field("game", &self.game)
            .field("key", &self.key)
            .field("criteria", &self.criteria)
            .finish()
    }
}

impl Question {
    /// The question for a target.
    pub fn new(token: String, target: Target) -> Question {
        match target {
            Target::Session { game, key } => Question { token, game, key: Some(key), criteria: None },
            Target::FindOrCreate { game, criteria } => Question { token, game, key: None, criteria: Some(criteria) },
        }
    }

    /// What is asked for, and with which token.
    ///
    /// # Errors
    /// The reason for the refusal, as for an `open` with the same fields, and what is wrong.
    pub fn check(self) -> Result<(String, Target), (Reason, &'static str)> {
        let Question { token, game, key, criteria } = self;
        if token.len() > limits::TOKEN_BYTES {
            return Err((Reason::TooLarge, "the session token is too long"));
        }
        match (key, criteria) {
            (Some(_), Some(_)) => Err((Reason::Protocol, "`key` and `criteria` exclude each other")),
            (Some(key), None) => Ok((token, Target::Session { game, key })),
            (None, criteria) => {
                let criteria = criteria.unwrap_or_default();
                if criteria.len() > limits::CRITERIA_BYTES {
                    return Err((Reason::TooLarge, "the criteria are too long"));
                }
                Ok((token, Target::FindOrCreate { game, criteria }))
            }
        }
    }
}

/// The answer, with status 200: where the session is led.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The session: `game/key@incarnation`.
    #[serde(with = "text")]
    pub session: SessionId,
    /// The leader's node, in hexadecimal.
    pub node: String,
    /// Its worker.
    pub worker: WorkerId,
    /// The worker's advertised address.
    pub address: SocketAddr,
    /// The certificate to expect there, in hexadecimal.
    #[serde(with = "text")]
    pub certificate_sha256: Certificate,
    /// A single-use ticket that is good at that worker only, in hexadecimal.
    #[serde(with = "text")]
    pub ticket: Opaque,
}

impl From<Answer> for Place {
    fn from(answer: Answer) -> Place {
        Place { address: answer.address, certificate_sha256: answer.certificate_sha256, ticket: answer.ticket }
    }
}

/// The answer with any other status: why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason's name ([`Reason::name`]), for people and logs.
    pub reason: String,
    /// Its code: what programs go by.
    pub code: u16,
    /// The same in a sentence, at most [`limits::REASON_BYTES`].
    pub message: String,
    /// Wait so long before another try; 0: the client's choice.
    #[serde(default)]
    pub retry_after_ms: u32,
}

impl Refusal {
    /// A refusal for a reason; the message is cut where it is too long.
    pub fn new(reason: Reason, message: &str, retry_after_ms: u32) -> Refusal {
        Refusal { reason: reason.name(), code: reason.code(), message: cut_reason(message), retry_after_ms }
    }

    /// The status to send it with.
    pub fn status(&self) -> u16 {
        match Reason::from_code(self.code) {
            Reason::TokenInvalid | Reason::TokenExpired => 401,
            Reason::TokenForbids => 403,
            Reason::NoSuchGame | Reason::NoSuchSession => 404,
            Reason::OpenTimeout => 408,
            Reason::TooLarge => 413,
            Reason::StartFailed => 422,
            Reason::AddressLimit => 429,
            Reason::Internal => 500,
            Reason::Overloaded | Reason::Draining | Reason::Stopping => 503,
            Reason::Unreachable => 504,
            _ => 400,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let Refusal { code, message, retry_after_ms, .. } = refusal;
        Refused { cause: Reason::from_code(code), message: cut_reason(&message), retry_after_ms }
    }
}

/// Values that JSON carries as text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"session":"pong/duel@00000000000000aa","node":"2f","worker":1,"address":"192.0.2.8:7401","certificate_sha256":"0707070707070707070707070707070707070707070707070707070707070707","ticket":"11ff00"}"#;

    fn answer() -> Answer {
        Answer {
            session: "pong/duel@00000000000000aa".parse().unwrap(),
            node: "2f".to_owned(),
            worker: WorkerId(1),
            address: "192.0.2.8:7401".parse().unwrap(),
            certificate_sha256: Certificate([7; 32]),
            ticket: Opaque::new(&[0x11, 0xff, 0][..]).unwrap(),
        }
    }

    #[test]
    fn an_answer_is_written_and_read_as_documented() {
        assert_eq!(serde_json::to_string(&answer()).unwrap(), ANSWER);
        assert_eq!(serde_json::from_str::<Answer>(ANSWER).unwrap(), answer());
        let place = Place::from(answer());
        assert_eq!((place.address, place.certificate_sha256), (answer().address, Certificate([7; 32])));
        let long = "00".repeat(limits::TICKET_BYTES + 1);
        for (was, bad) in [("11ff00", "11ff0"), ("11ff00", "zz"), ("11ff00", &long), ("0707", "07"), ("pong/", "")] {
            let damaged = ANSWER.replacen(was, bad, 1);
            assert!(serde_json::from_str::<Answer>(&damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_question_names_one_target_within_the_bounds_of_an_open_frame() {
        let ask = |json: &str| serde_json::from_str::<Question>(json).map_err(drop).map(Question::check);
        let game: GameName = "pong".parse().unwrap();
        let session = Target::Session { game: game.clone(), key: "duel".parse().unwrap() };
        let find = |criteria: &str| Target::FindOrCreate { game: game.clone(), criteria: criteria.to_owned() };
        assert_eq!(ask(r#"{"token":"t","game":"pong","key":"duel"}"#), Ok(Ok(("t".to_owned(), session.clone()))));
        assert_eq!(ask(r#"{"token":"t","game":"pong"}"#), Ok(Ok(("t".to_owned(), find("")))));
        assert_eq!(ask(r#"{"token":"t","game":"pong","criteria":"eu"}"#), Ok(Ok(("t".to_owned(), find("eu")))));
        let both = ask(r#"{"token":"t","game":"pong","key":"duel","criteria":""}"#);
        assert_eq!(both.unwrap().unwrap_err().0, Reason::Protocol);
        for bad in [r#"{"game":"pong"}"#, r#"{"token":"t","game":"Pong"}"#, r#"{"token":"t","game":"pong","room":"a"}"#]
        {
            assert_eq!(ask(bad), Err(()), "{bad}");
        }
        for target in [session, find("eu")] {
            let json = serde_json::to_string(&Question::new("t".to_owned(), target.clone())).unwrap();
            assert_eq!(ask(&json), Ok(Ok(("t".to_owned(), target))));
        }
        let long = Question::new("t".repeat(limits::TOKEN_BYTES + 1), find(""));
        assert_eq!(long.check().unwrap_err().0, Reason::TooLarge);
        let long = Question::new(String::new(), find(&"c".repeat(limits::CRITERIA_BYTES + 1)));
        assert_eq!(long.check().unwrap_err().0, Reason::TooLarge);
        assert!(!format!("{:?}", Question::new("secret".to_owned(), find(""))).contains("secret"));
    }

    #[test]
    fn a_refusal_says_its_reason_to_people_and_programs() {
        let refusal = Refusal::new(Reason::NoSuchGame, "no game is called pong", 0);
        let json = r#"{"reason":"no-such-game","code":48,"message":"no game is called pong","retry_after_ms":0}"#;
        assert_eq!(serde_json::to_string(&refusal).unwrap(), json);
        let refused = Refused::from(serde_json::from_str::<Refusal>(json).unwrap());
        assert_eq!((refused.cause, &*refused.message), (Reason::NoSuchGame, "no game is called pong"));
        let long = Refusal { message: "x".repeat(5000), ..refusal };
        assert_eq!(Refused::from(long).message.len(), limits::REASON_BYTES);
    }

    #[test]
    fn no_refusal_passes_for_an_answer() {
        for &reason in Reason::ALL {
            assert!((400..600).contains(&Refusal::new(reason, "", 0).status()), "{reason:?}");
        }
    }
}
