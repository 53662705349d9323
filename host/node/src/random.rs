//! Randomness of the system, for keys, incarnations, seeds and tokens.

use ring::rand::{SecureRandom, SystemRandom};

/// Fresh random bytes. A system without randomness cannot host sessions safely: the process ends.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        eprintln!("error: the system gives no random numbers");
        std::process::abort();
    }
    bytes
}

/// A fresh random number.
pub fn u64() -> u64 {
    u64::from_le_bytes(bytes())
}
