//! Keys, certificates and session tokens of a simulated node: fixed, so that nothing is drawn at random.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ringside_protocol::frame::Certificate;
use ringside_protocol::token::SessionClaims;
use ringside_worker::authority::Keys;

/// Milliseconds since 1970 when every run begins.
pub const STARTED_MS: u64 = 1_700_000_000_000;

/// The number of the only node.
pub const NODE: u64 = 1;
/// Its only run.
pub const GENERATION: u64 = STARTED_MS;

/// The certificate that workers claim to serve. Nobody checks it: the cryptography is plain text.
pub const CERTIFICATE: Certificate = Certificate([0xce; 32]);

const SEED: [u8; 32] = [0x51; 32];
/// PKCS #8, version 1, of an Ed25519 key (RFC 8410, section 7), up to the 32 bytes of the seed.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What workers verify tokens and seal tickets with.
pub fn keys() -> Keys {
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a seed of 32 bytes");
    let public = pair.public_key().as_ref().try_into().expect("a public key of 32 bytes");
    Keys::new(&[public], &[3; 32])
}

/// A session token that lets this player into any session for so many seconds from the run's beginning.
pub fn token_for(player: &str, seconds: u64) -> String {
    let claims = SessionClaims {
        player: player.parse().expect("a name of a player"),
        expires_s: STARTED_MS / 1000 + seconds,
        issued_s: STARTED_MS / 1000,
        game: None,
        session: None,
        capabilities: Vec::new(),
    };
    let key = EncodingKey::from_ed_der(&[&PKCS8[..], &SEED].concat());
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key).expect("claims are signed")
}

/// A session token that outlives every run.
pub fn token(player: &str) -> String {
    token_for(player, 1_000_000)
}
