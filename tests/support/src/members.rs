//! Clusters for tests of workers: an authority that makes members of whom it is asked to.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use ringside_core::ids::{Node, NodeId, WorkerId};
use ringside_worker::peers::Peer;
use ringside_worker::peers::tls::{self, Membership, node_name};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What names in certificates end with.
const DOMAIN: &str = "test.ringside";

/// Worker 0 of a node's run.
pub fn peer(node: u64, generation: u64) -> Peer {
    Peer { node: Node { id: NodeId(node), generation }, worker: WorkerId(0) }
}

/// The name that every member has.
pub fn any_name() -> String {
    tls::any_name(DOMAIN)
}

/// A cluster's authority. All have the same names: only what they signed tells them apart.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// One of its own.
    ///
    /// # Panics
    /// Where no certificate can be made.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("an authority").der().clone();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// What makes workers of this node members.
    ///
    /// # Panics
    /// Where no certificate can be made.
    pub fn member(&self, node: u64) -> Membership {
        let key = KeyPair::generate().expect("a key");
        let names = vec![node_name(DOMAIN, NodeId(node)), any_name()];
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Membership {
            authority: self.certificate.clone(),
            chain: vec![certificate.der().clone()],
            key: Arc::new(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()))),
            domain: DOMAIN.to_owned(),
        }
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}
