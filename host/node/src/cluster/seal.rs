//! Sealed datagrams: ChaCha20-Poly1305 under the cluster's gossip key. Whoever has no key can neither read nor write
//! one; a replayed one is old gossip, which gossip ignores by its versions.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::random;

/// Says what was sealed and how, so that no other use of the key can be passed off as it.
const PURPOSE: &[u8] = b"ringside gossip 1";
/// What sealing adds to a datagram, bytes.
pub const OVERHEAD: usize = NONCE_LEN + 16;
/// Bytes of the nonce that are drawn at start; the others count. Two processes of a cluster share a beginning with a
/// probability of 2⁻⁴⁸, and 2⁴⁸ datagrams outlast any machine.
const DRAWN: usize = 6;

/// Seals and opens.
pub struct Seal {
    key: LessSafeKey,
    prefix: [u8; DRAWN],
    counter: AtomicU64,
}

impl Seal {
    /// A seal under this key.
    pub fn new(key: &[u8; 32]) -> Option<Seal> {
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
        Some(Seal { key, prefix: random::bytes(), counter: AtomicU64::new(0) })
    }

    /// The sealed form of `plain`; `None` when the numbers are used up.
    pub fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let count = self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let (none, count) = count.split_at(count.len() + DRAWN - NONCE_LEN);
        if none != [0; 8 + DRAWN - NONCE_LEN] {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        nonce[..DRAWN].copy_from_slice(&self.prefix);
        nonce[DRAWN..].copy_from_slice(count);
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(PURPOSE), &mut sealed[NONCE_LEN..]).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// What is inside; `None` where it was not sealed with this key.
    pub fn open<'a>(&self, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let (nonce, body) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        self.key.open_in_place(nonce, Aad::from(PURPOSE), body).ok().map(|plain| &*plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_with_the_key_is_opened() {
        let (ours, theirs) = (Seal::new(&[1; 32]).unwrap(), Seal::new(&[2; 32]).unwrap());
        let sealed = ours.seal(b"rumour").unwrap();
        assert_eq!(sealed.len(), 6 + OVERHEAD);
        assert_eq!(ours.open(&mut sealed.clone()), Some(&b"rumour"[..]));
        assert_eq!(theirs.open(&mut sealed.clone()), None);
        assert_ne!(ours.seal(b"rumour").unwrap(), sealed, "never twice under one nonce");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(ours.open(&mut damaged), None, "byte {at}");
            assert_eq!(ours.open(&mut sealed[..at].to_vec()), None, "cut at {at}");
        }
        ours.counter.store(1 << 48, Ordering::Relaxed);
        assert_eq!(ours.seal(b"rumour"), None, "numbers end before they repeat");
    }
}
