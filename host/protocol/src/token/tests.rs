use super::*;
use crate::ids::Incarnation;

fn claims() -> SessionClaims {
    SessionClaims {
        player: "ann".parse().unwrap(),
        expires_s: 2_000,
        issued_s: 1_000,
        game: None,
        session: None,
        capabilities: vec![Capability::Create],
    }
}

fn session(game: &str, key: &str) -> Target {
    Target::Session { game: game.parse().unwrap(), key: key.parse().unwrap() }
}

#[test]
fn time_bounds_with_leeway() {
    let valid = |now| claims().valid_at(now);
    assert_eq!(valid(0), Ok(()), "the issuer's clock may be ahead");
    assert_eq!(valid(2_000 + CLOCK_LEEWAY_S - 1), Ok(()));
    assert_eq!(valid(2_000 + CLOCK_LEEWAY_S), Err(Reason::TokenExpired));
    let endless = SessionClaims { expires_s: u64::MAX, ..claims() };
    assert_eq!(endless.valid_at(u64::MAX - 1), Ok(()));
}

#[test]
fn restrictions_hold_for_every_target() {
    let any = FindOrCreate::of("pong");
    let mut claims = claims();
    assert_eq!(claims.permits(1_500, &session("pong", "a")), Ok(()));
    assert_eq!(claims.permits(1_500, &any), Ok(()));
    claims.game = Some("pong".parse().unwrap());
    assert_eq!(claims.permits(1_500, &any), Ok(()));
    assert_eq!(claims.permits(1_500, &session("arena", "a")), Err(Reason::TokenForbids));
    claims.session = Some("a".parse().unwrap());
    assert_eq!(claims.permits(1_500, &session("pong", "a")), Ok(()));
    assert_eq!(claims.permits(1_500, &session("pong", "b")), Err(Reason::TokenForbids));
    assert_eq!(claims.permits(1_500, &any), Err(Reason::TokenForbids), "a key's token finds no others");
    assert!(claims.can(Capability::Create) && !claims.can(Capability::Spectate));
}

struct FindOrCreate;

impl FindOrCreate {
    fn of(game: &str) -> Target {
        Target::FindOrCreate { game: game.parse().unwrap(), criteria: String::new() }
    }
}

#[test]
fn session_claims_are_ordinary_jwt_claims() {
    let text = serde_json::to_string(&claims()).unwrap();
    assert_eq!(text, r#"{"sub":"ann","exp":2000,"iat":1000,"can":["create"]}"#);
    assert_eq!(serde_json::from_str::<SessionClaims>(&text).unwrap(), claims());
    let foreign = r#"{"sub":"ann","exp":2000,"iat":1000,"iss":"studio","game":"pong","session":"final"}"#;
    let read: SessionClaims = serde_json::from_str(foreign).unwrap();
    assert_eq!(read.session.unwrap().as_str(), "final");
    for wrong in [
        r#"{"exp":2000,"iat":1000}"#,
        r#"{"sub":"two words","exp":2000,"iat":1000}"#,
        r#"{"sub":"ann","exp":-1,"iat":1000}"#,
        r#"{"sub":"ann","exp":2000,"iat":1000,"can":["everything"]}"#,
    ] {
        assert!(serde_json::from_str::<SessionClaims>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn sealed_claims_do_not_pass_as_one_another() {
    let session = SessionId { game: "pong".parse().unwrap(), key: "one".parse().unwrap(), incarnation: Incarnation(5) };
    let resume = ResumeClaims {
        player: "ann".parse().unwrap(),
        session: session.clone(),
        slot: Slot(1),
        node: 7,
        worker: WorkerId(2),
        expires_ms: 9,
        nonce: [3; 16],
    };
    let ticket = TicketClaims {
        player: "ann".parse().unwrap(),
        session,
        node: 7,
        generation: 8,
        worker: WorkerId(2),
        era: 9,
        redirects: 1,
        token_expires_s: 1,
        nonce: [3; 16],
    };
    assert_eq!(ResumeClaims::from_bytes(&resume.to_bytes()), Ok(resume.clone()));
    assert_eq!(TicketClaims::from_bytes(&ticket.to_bytes()), Ok(ticket.clone()));
    assert_eq!(TicketClaims::from_bytes(&resume.to_bytes()), Err(ClaimsError::Kind));
    let mut longer = ticket.to_bytes();
    longer.push(0);
    assert_eq!(TicketClaims::from_bytes(&longer), Err(ClaimsError::Malformed));
    assert_eq!(TicketClaims::from_bytes(&[]), Err(ClaimsError::Malformed));
}
