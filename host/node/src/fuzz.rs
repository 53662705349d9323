//! One function for each decoder of this crate, for a fuzzer or a seeded mutator: it feeds bytes of nobody in
//! particular and asserts what must hold for all of them. Not part of the public interface.

use std::path::Path;

pub use ringside_protocol::fuzz::Target;

use crate::cluster::fact;
use crate::cluster::links::frame;
use crate::cluster::secret::ClusterSecret;
use crate::cluster::wire::Message;
use crate::config::Config;
use crate::{certificate, hex, store};

/// Every decoder of this crate.
pub const TARGETS: &[Target] = &[
    ("configuration", fuzz_configuration),
    ("game_version", fuzz_game_version),
    ("certificate", fuzz_certificate),
    ("hex", fuzz_hex),
    ("node_fact", fuzz_node_fact),
    ("node_message", fuzz_node_message),
    ("cluster_secret", fuzz_cluster_secret),
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

/// What a node says of itself, as gossip carries it.
pub fn fuzz_node_fact(bytes: &[u8]) {
    let text = hex::encode(&[&[1], bytes].concat());
    for text in [Some(text.as_str()), std::str::from_utf8(bytes).ok()].into_iter().flatten() {
        if let Some(decoded) = fact::decode(text) {
            assert_eq!(fact::decode(&fact::encode(&decoded)), Some(decoded));
        }
    }
}

/// A message of another node.
pub fn fuzz_node_message(bytes: &[u8]) {
    if let Ok(message) = frame::decode::<Message>(bytes)
        && let Ok(encoded) = frame::encode(&message)
    {
        assert_eq!(frame::decode::<Message>(&encoded[4..]).ok(), Some(message));
    }
}

/// A cluster's secret.
pub fn fuzz_cluster_secret(bytes: &[u8]) {
    if let Ok(secret) = ClusterSecret::parse(bytes) {
        assert!(ClusterSecret::parse(&secret.to_json()).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ringside_core::ids::{Node, NodeId};
    use ringside_core::membership;
    use ringside_protocol::fuzz::hammer;

    use super::*;
    use crate::cluster::wire::Ask;
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
        let node = Node { id: NodeId(1), generation: 2 };
        let ask = Message::Ask {
            number: 1,
            to: Node { id: NodeId(1), generation: 1 },
            ask: Ask::End { session: "pong/a".into(), reason: "enough".into() },
        };
        let corpus = [
            configuration.as_bytes().to_vec(),
            b"advertise = \"192.0.2.7\"\nadmin = '[::1]:9100'\nseat_window_s = 5\nsessions = 10 # few\n".to_vec(),
            store::encode(&version),
            store::sealed(&store::encode(&version)),
            certificate,
            b"00ffAb".to_vec(),
            fact::encode(&fact::largest()).into_bytes(),
            frame::encode(&ask).unwrap()[4..].to_vec(),
            frame::encode(&Message::Member(membership::Message::Ping(node))).unwrap()[4..].to_vec(),
            ClusterSecret::generate(SystemTime::now()).unwrap().to_json(),
        ];
        for (_, target) in TARGETS {
            corpus.iter().for_each(|honest| target(honest));
        }
        hammer(TARGETS, &corpus, 50_000);
    }
}
