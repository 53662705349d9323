//! One function for each decoder of this crate, for a fuzzer or a seeded mutator: it feeds bytes of nobody in
//! particular and asserts what must hold for all of them. Not part of the public interface.

use std::path::Path;

pub use ringside_protocol::fuzz::Target;

use crate::config::Config;
use crate::{certificate, hex, store};

/// Every decoder of this crate.
pub const TARGETS: &[Target] = &[
    ("configuration", fuzz_configuration),
    ("game_version", fuzz_game_version),
    ("certificate", fuzz_certificate),
    ("hex", fuzz_hex),
];

/// A configuration file: it is taken, or the place of the fault is named.
pub fn fuzz_configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Config::default().apply_toml(Path::new("ringside.toml"), text) {
        assert!(error.to_string().contains("ringside.toml"), "{error}");
    }
}

/// A numbered version of a game, with its envelope and as what is in it.
pub fn fuzz_game_version(bytes: &[u8]) {
    for bytes in [bytes, &store::sealed(bytes)] {
        if let Ok(version) = store::decode("a version", bytes) {
            assert_eq!(store::decode("a version", &store::sealed(&store::encode(&version))).ok(), Some(version));
        }
    }
}

/// A certificate with its key, as the state directory keeps it.
pub fn fuzz_certificate(bytes: &[u8]) {
    for now_s in [0, u64::MAX] {
        let _ = certificate::saved(bytes, 14, now_s);
    }
}

/// Hexadecimal digits.
pub fn fuzz_hex(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(decoded) = hex::decode(text) {
        assert!(hex::encode(&decoded).eq_ignore_ascii_case(text));
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ringside_protocol::fuzz::hammer;

    use super::*;
    use crate::scratch::Scratch;
    use crate::state_directory::StateDirectory;

    #[test]
    fn decoders_survive_broken_input() {
        let scratch = Scratch::new("fuzz");
        let state = StateDirectory::open(&scratch.0).unwrap();
        certificate::ServerCertificate::open(&state, 14, SystemTime::now()).unwrap();
        let certificate = std::fs::read(state.path().join(certificate::FILE)).unwrap();
        let version = store::Version {
            module: ringside_core::ids::ModuleHash([0xab; 32]),
            size_bytes: 1000,
            pushed_ms: 1_700_000_000_000,
        };
        let configuration = "state = \"/var/lib/ringside\"\nlisten = \"0.0.0.0:9000\"\nworkers = 3\nrecord = true\n";
        let corpus = [
            configuration.as_bytes().to_vec(),
            b"advertise = \"192.0.2.7\"\nadmin = '[::1]:9100'\nseat_window_s = 5\nsessions = 10 # few\n".to_vec(),
            store::encode(&version),
            store::sealed(&store::encode(&version)),
            certificate,
            b"00ffAb".to_vec(),
        ];
        for (_, target) in TARGETS {
            corpus.iter().for_each(|honest| target(honest));
        }
        hammer(TARGETS, &corpus, 50_000);
    }
}
