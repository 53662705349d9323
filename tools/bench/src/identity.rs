//! Who players are to a measured worker: the key that signs their session tokens. The worker makes it at its start
//! and says it, with its address, when it is ready; loads sign with it.

use std::net::SocketAddr;
use std::str::FromStr;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use ringside_client::Trust;
use ringside_protocol::token::SessionClaims;

use crate::bench::BenchError;

/// Until when the tokens are good, seconds since 1970: beyond any run.
const EXPIRES_S: u64 = 4_000_000_000;

/// A measured worker's address and the key that it believes. Written `ADDRESS/KEY`, the key in hexadecimal.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where the worker is.
    pub address: SocketAddr,
    pkcs8: Vec<u8>,
    /// SHA-256 of its certificate, where that is known. Not written down: on loopback any is believed.
    certificate: Option<[u8; 32]>,
}

impl Door {
    /// A door at an address with a fresh key.
    pub fn new(address: SocketAddr) -> Result<Door, BenchError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(BenchError::setup)?;
        Ok(Door { address, pkcs8: pkcs8.as_ref().to_vec(), certificate: None })
    }

    /// A door of a node with a certificate of this hash (in hexadecimal), whose cluster signs with this key.
    pub fn of(address: SocketAddr, pkcs8: &[u8], certificate: &str) -> Result<Door, BenchError> {
        let bytes = bytes_of(certificate).and_then(|bytes| bytes.try_into().ok());
        let certificate = bytes.ok_or_else(|| BenchError::Setup(format!("{certificate:?} is no hash")))?;
        Ok(Door { address, pkcs8: pkcs8.to_vec(), certificate: Some(certificate) })
    }

    /// Whom players believe.
    pub fn trust(&self) -> Trust {
        match self.certificate {
            Some(hash) if !self.address.ip().is_loopback() => Trust::CertificateSha256(vec![hash]),
            _ => Trust::InsecureLoopback,
        }
    }

    /// What verifies the tokens.
    pub fn public_key(&self) -> Result<[u8; 32], BenchError> {
        let pair = Ed25519KeyPair::from_pkcs8(&self.pkcs8).map_err(BenchError::setup)?;
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        Ok(key)
    }

    /// A token for a player. Those of another time of issue are other tokens.
    pub fn token(&self, player: &str, issued_s: u64) -> Result<String, BenchError> {
        let claims = SessionClaims {
            player: player.parse().map_err(BenchError::setup)?,
            expires_s: EXPIRES_S,
            issued_s,
            game: None,
            session: None,
            capabilities: Vec::new(),
        };
        let key = EncodingKey::from_ed_der(&self.pkcs8);
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key).map_err(BenchError::setup)
    }
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/", self.address)?;
        self.pkcs8.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Door {
    type Err = String;

    fn from_str(text: &str) -> Result<Door, String> {
        let (address, key) = text.split_once('/').ok_or("expected ADDRESS/KEY")?;
        Ok(Door {
            address: address.parse().map_err(|_| "the address is none")?,
            pkcs8: bytes_of(key).ok_or("the key is not hexadecimal")?,
            certificate: None,
        })
    }
}

/// The bytes that are written in hexadecimal.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{Node, NodeId, WorkerId};

    use super::*;

    #[test]
    fn a_door_survives_being_written_down() {
        let door = Door::new(([127, 0, 0, 1], 7).into()).unwrap();
        let read: Door = door.to_string().parse().unwrap();
        assert_eq!((read.address, read.public_key().unwrap()), (door.address, door.public_key().unwrap()));
        assert!("127.0.0.1:7".parse::<Door>().is_err());
        assert!("127.0.0.1:7/xy".parse::<Door>().is_err());
    }

    #[test]
    fn tokens_are_good_under_the_key() {
        let door = Door::new(([127, 0, 0, 1], 7).into()).unwrap();
        let keys = ringside_worker::authority::Keys::new(&[door.public_key().unwrap()], &[0; 32]);
        let node = Node { id: NodeId(1), generation: 1 };
        let mut authority = ringside_worker::authority::Authority::new(keys, node, WorkerId(0), &[0; 32]);
        assert_eq!(authority.verify(&door.token("ada", 0).unwrap()).unwrap().player.as_str(), "ada");
    }
}
