//! Proofs of addresses: what a client shows in its first packet so that it is not asked for one (a Retry costs it a round
//! trip). Every worker of a cluster makes them for clients whose handshake it has seen, and believes every other's: who is
//! redirected has one. A proof names an IP address, is good for [`ADDRESS_TOKEN_LIFETIME`], and once at each worker; one
//! that is not believed is as good as none, and the client gets its Retry.
//!
//! Replayed by somebody who saw it pass, under that address, a proof makes each worker once send a handshake's few packets
//! there: no more than one of its own Retries would let them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use quinn_proto::crypto::HandshakeTokenKey;
use quinn_proto::{ServerConfig, TokenLog, TokenReuseError, ValidationTokenConfig};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::limits::{ADDRESS_TOKEN_LIFETIME, ADDRESS_TOKENS};

/// What a worker makes proofs with, and those that it has believed; cheap to clone.
#[derive(Clone)]
pub struct AddressTokens {
    key: Arc<dyn HandshakeTokenKey>,
    /// None: it makes none, and believes only its own Retries.
    spent: Option<Arc<Spent>>,
}

impl AddressTokens {
    /// Of a worker by itself; `seed` is its secret.
    pub fn alone(seed: &[u8; 32]) -> AddressTokens {
        AddressTokens { key: Arc::new(Salt::new(HKDF_SHA256, b"ringside retry").extract(seed)), spent: None }
    }

    /// Of a worker whose cluster has this secret.
    pub fn shared(secret: &[u8; 32]) -> AddressTokens {
        let key = Arc::new(Salt::new(HKDF_SHA256, b"ringside addresses").extract(secret));
        AddressTokens { key, spent: Some(Arc::default()) }
    }

    /// What QUIC seals with them.
    pub(crate) fn key(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::clone(&self.key)
    }

    /// Has connections made and believe them.
    pub(crate) fn configure(&self, config: &mut ServerConfig) {
        let mut tokens = ValidationTokenConfig::default();
        match &self.spent {
            Some(spent) => tokens.sent(1).lifetime(ADDRESS_TOKEN_LIFETIME).log(Arc::clone(spent) as Arc<dyn TokenLog>),
            None => tokens.sent(0),
        };
        config.validation_token_config(tokens);
    }
}

/// Proofs that were believed. QUIC asks for it through a shared reference; one worker's thread has it, so nobody ever waits
/// for the lock.
#[derive(Default)]
struct Spent(Mutex<Seen>);

impl TokenLog for Spent {
    fn check_and_insert(&self, nonce: u128, issued: SystemTime, lifetime: Duration) -> Result<(), TokenReuseError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.believe(SystemTime::now(), nonce, issued, lifetime) { Ok(()) } else { Err(TokenReuseError) }
    }
}

/// What was believed lately, by when it may be forgotten.
#[derive(Default)]
struct Seen {
    nonces: HashSet<u128>,
    order: VecDeque<(SystemTime, u128)>,
}

impl Seen {
    /// Whether a proof is believed, which it is once. One from the future, by a clock that is ahead, is none: it would be
    /// good for longer than it is remembered. So is one at the bound.
    fn believe(&mut self, now: SystemTime, nonce: u128, issued: SystemTime, lifetime: Duration) -> bool {
        while let Some(&(until, oldest)) = self.order.front()
            && until < now
        {
            self.order.pop_front();
            self.nonces.remove(&oldest);
        }
        if issued > now + lifetime || issued + lifetime < now || self.nonces.len() >= ADDRESS_TOKENS {
            return false;
        }
        let is_new = self.nonces.insert(nonce);
        if is_new {
            self.order.push_back((now + 2 * lifetime, nonce));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = ADDRESS_TOKEN_LIFETIME;
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_proof_is_believed_once_and_for_its_time() {
        let (mut seen, now) = (Seen::default(), SystemTime::now());
        assert!(seen.believe(now, 1, now, LIFETIME));
        assert!(!seen.believe(now, 1, now, LIFETIME), "used");
        assert!(!seen.believe(now, 2, now - LIFETIME - SECOND, LIFETIME), "old");
        assert!(!seen.believe(now, 3, now + LIFETIME + SECOND, LIFETIME), "from the future");
        // Made by a clock that is ahead by as much as may be, it is old before it is forgotten.
        let ahead = now + LIFETIME;
        assert!(seen.believe(now, 4, ahead, LIFETIME));
        for later in 0..=4 * LIFETIME.as_secs() as u32 {
            assert!(!seen.believe(now + SECOND * later, 4, ahead, LIFETIME), "{later} s later");
        }
        assert!(seen.nonces.is_empty() && seen.order.is_empty(), "and it is forgotten then");
    }

    #[test]
    fn proofs_that_are_remembered_are_bounded_and_those_beyond_are_none() {
        let (mut seen, now) = (Seen::default(), SystemTime::now());
        for nonce in 0..ADDRESS_TOKENS as u128 {
            assert!(seen.believe(now, nonce, now, LIFETIME));
        }
        assert!(!seen.believe(now, u128::MAX, now, LIFETIME));
        let later = now + 2 * LIFETIME + SECOND;
        assert!(seen.believe(later, u128::MAX, later, LIFETIME));
        assert_eq!(seen.order.len(), 1);
    }
}
