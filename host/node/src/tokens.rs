//! The node's signing key and the session tokens made with it. Verifying them is the workers' business; this file only
//! hands them the public key.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use ringside_protocol::token::SessionClaims;

use crate::state_directory::{StateDirectory, StateError};

const FILE: &str = "token.key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system gives no random numbers.
    #[error("cannot make a signing key: the system gives no random numbers")]
    Random,
    /// The claims cannot be signed.
    #[error("cannot sign the token: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// An Ed25519 key that signs session tokens.
pub struct TokenKey {
    signing: EncodingKey,
    public: [u8; 32],
}

impl TokenKey {
    /// The key in the state directory, made at the first start.
    ///
    /// # Errors
    /// [`TokenError`]; a damaged key is an error, not replaced: tokens signed with it are still around.
    pub fn open(state: &StateDirectory) -> Result<TokenKey, TokenError> {
        let new = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| TokenError::Random)?;
        let pkcs8 = state.secret(FILE, || new.as_ref().to_vec())?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| {
            state.garbage(FILE, "is no Ed25519 key", "restore it, or delete it (every token becomes invalid)")
        })?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(TokenKey { signing: EncodingKey::from_ed_der(&pkcs8), public })
    }

    /// What verifies the tokens.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// A signed token.
    ///
    /// # Errors
    /// [`TokenError::Sign`].
    pub fn issue(&self, claims: &SessionClaims) -> Result<String, TokenError> {
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &self.signing)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_token_is_good_under_the_public_key_and_survives_a_restart() {
        let scratch = Scratch::new("tokens");
        let state = StateDirectory::open(&scratch.0).unwrap();
        let claims = SessionClaims {
            player: "ada".parse().unwrap(),
            expires_s: 4_000_000_000,
            issued_s: 1,
            game: Some("pong".parse().unwrap()),
            session: None,
            capabilities: vec![],
        };
        let token = TokenKey::open(&state).unwrap().issue(&claims).unwrap();
        let key = TokenKey::open(&state).unwrap();
        let verify = |public: &[u8]| {
            let validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
            jsonwebtoken::decode::<SessionClaims>(&token, &jsonwebtoken::DecodingKey::from_ed_der(public), &validation)
        };
        assert_eq!(verify(&key.public()).unwrap().claims, claims);
        assert!(verify(&[7; 32]).is_err());
        std::fs::write(state.path().join(FILE), "no key").unwrap();
        assert!(TokenKey::open(&state).err().unwrap().to_string().contains("token.key is no Ed25519 key"));
    }
}
