//! The cluster's signing key and the session tokens made with it. Verifying them is the workers' business; this file only
//! hands them the public key.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ringside_protocol::token::SessionClaims;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The key is none.
    #[error("the cluster's signing key is no Ed25519 key")]
    Garbage,
    /// The claims cannot be signed.
    #[error("cannot sign the token: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// This node's clock as tokens count it: seconds since 1970.
pub fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An Ed25519 key that signs session tokens.
pub struct TokenKey {
    signing: EncodingKey,
    public: [u8; 32],
}

impl TokenKey {
    /// The key of a cluster, PKCS #8.
    ///
    /// # Errors
    /// [`TokenError::Garbage`].
    pub fn new(pkcs8: &[u8]) -> Result<TokenKey, TokenError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| TokenError::Garbage)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(TokenKey { signing: EncodingKey::from_ed_der(pkcs8), public })
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
    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_token_is_good_under_the_public_key_and_no_other() {
        let claims = SessionClaims {
            player: "ada".parse().unwrap(),
            expires_s: 4_000_000_000,
            issued_s: 1,
            game: Some("pong".parse().unwrap()),
            session: None,
            capabilities: vec![],
        };
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = TokenKey::new(pkcs8.as_ref()).unwrap();
        let token = key.issue(&claims).unwrap();
        let verify = |public: &[u8]| {
            let validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
            jsonwebtoken::decode::<SessionClaims>(&token, &jsonwebtoken::DecodingKey::from_ed_der(public), &validation)
        };
        assert_eq!(verify(&key.public()).unwrap().claims, claims);
        assert!(verify(&[7; 32]).is_err());
        assert!(matches!(TokenKey::new(b"no key"), Err(TokenError::Garbage)));
    }
}
