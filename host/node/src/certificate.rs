//! The certificate that players connect to: self-signed, ECDSA P-256, valid for 14 days at most, known by the SHA-256
//! of its DER form (which is what clients and browsers check). Kept in the state directory so that a restart does not
//! change it; made again when it is about to end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringside_protocol::frame::Certificate;
use ringside_worker::transport::server_crypto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::hex;
use crate::state_directory::{StateDirectory, StateError};

pub(crate) const FILE: &str = "certificate.json";
/// A certificate that has less than this share of its time left is made again, at start and while the node runs: one that
/// is good for 14 days after ten.
const RENEW_BELOW: (u64, u64) = (4, 14);
/// Clocks of players that run late still accept it.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate with its key.
#[derive(Debug)]
pub struct ServerCertificate {
    der: CertificateDer<'static>,
    key: Vec<u8>,
    not_after_s: u64,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    certificate: String,
    private_key: String,
    not_after_s: u64,
    days: u32,
}

impl ServerCertificate {
    /// The one in the state directory, or a new one that is good for `days` (at most 14).
    ///
    /// # Errors
    /// [`CertificateError`]; a damaged file is an error, not replaced.
    pub fn open(state: &StateDirectory, days: u32, now: SystemTime) -> Result<Self, CertificateError> {
        let damaged = || {
            state.garbage(FILE, "is damaged", "delete it and a new certificate is made (players must learn its hash)")
        };
        if let Some(file) = state.read(FILE)?
            && let Some(kept) = saved(&file, days, seconds(now)).map_err(|Damaged| damaged())?
        {
            // Whole as text, it may still hold no key, or one of another certificate.
            let serves = server_crypto(kept.chain(), kept.key(), Vec::new());
            return if serves.is_ok() { Ok(kept) } else { Err(damaged().into()) };
        }
        let new = ServerCertificate::make(days, now)?;
        let saved = Saved {
            certificate: hex::encode(&new.der),
            private_key: hex::encode(&new.key),
            not_after_s: new.not_after_s,
            days,
        };
        state.write(FILE, &serde_json::to_vec_pretty(&saved).unwrap_or_default())?;
        Ok(new)
    }

    fn make(days: u32, now: SystemTime) -> Result<Self, rcgen::Error> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::new(vec!["ringside".to_owned(), "localhost".to_owned()])?;
        let begin = now - BACKDATED;
        let end = begin + Duration::from_secs(u64::from(days.min(14)) * 86_400);
        params.not_before = begin.into();
        params.not_after = end.into();
        params.distinguished_name.push(rcgen::DnType::CommonName, "ringside");
        let certificate = params.self_signed(&key)?;
        Ok(ServerCertificate { der: certificate.der().clone(), key: key.serialize_der(), not_after_s: seconds(end) })
    }

    /// What clients expect.
    pub fn sha256(&self) -> Certificate {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Certificate(bytes)
    }

    /// The chain for TLS: just itself.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der.clone()]
    }

    /// The private key for TLS.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// Valid until, seconds since 1970.
    pub fn not_after_s(&self) -> u64 {
        self.not_after_s
    }
}

/// A file that holds no certificate.
#[derive(Debug)]
pub(crate) struct Damaged;

/// The certificate in a file, unless another is to be made: it was for another time, or its time is nearly over.
pub(crate) fn saved(file: &[u8], days: u32, now_s: u64) -> Result<Option<ServerCertificate>, Damaged> {
    let saved: Saved = serde_json::from_slice(file).map_err(|_| Damaged)?;
    let (der, key) = hex::decode(&saved.certificate).zip(hex::decode(&saved.private_key)).ok_or(Damaged)?;
    let left_s = saved.not_after_s.saturating_sub(now_s);
    let total_s = u64::from(days) * 86_400;
    let lasts = left_s.saturating_mul(RENEW_BELOW.1) >= total_s.saturating_mul(RENEW_BELOW.0);
    let kept = ServerCertificate { der: der.into(), key, not_after_s: saved.not_after_s };
    Ok((saved.days == days && lasts).then_some(kept))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn it_is_kept_renewed_in_time_and_refused_when_damaged() {
        let scratch = Scratch::new("certificate");
        let state = StateDirectory::open(&scratch.0).unwrap();
        let now = SystemTime::now();
        let first = ServerCertificate::open(&state, 14, now).unwrap();
        let lifetime = first.not_after_s() - seconds(now - BACKDATED);
        assert!(lifetime <= 14 * 86_400, "browsers refuse more");
        let day = Duration::from_secs(86_400);
        assert_eq!(ServerCertificate::open(&state, 14, now + 9 * day).unwrap().sha256(), first.sha256());
        let renewed = ServerCertificate::open(&state, 14, now + 11 * day).unwrap();
        assert_ne!(renewed.sha256(), first.sha256());
        assert!(ringside_worker::transport::server_crypto(renewed.chain(), renewed.key(), vec![]).is_ok());

        std::fs::write(state.path().join(FILE), "{\"certificate\": 1}").unwrap();
        let error = ServerCertificate::open(&state, 14, now).unwrap_err().to_string();
        assert!(error.contains("certificate.json is damaged: delete it"), "{error}");

        let other = ServerCertificate::make(14, now).unwrap();
        for key in [Vec::new(), b"no key".to_vec(), other.key.clone()] {
            let whole = Saved {
                certificate: hex::encode(&renewed.der),
                private_key: hex::encode(&key),
                not_after_s: renewed.not_after_s,
                days: 14,
            };
            std::fs::write(state.path().join(FILE), serde_json::to_vec(&whole).unwrap()).unwrap();
            let error = ServerCertificate::open(&state, 14, now).unwrap_err().to_string();
            assert!(error.contains("certificate.json is damaged: delete it"), "{error}");
        }
    }
}
