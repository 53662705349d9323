//! Keeps the certificate good while the node runs: makes another in time, has the workers serve it, and says so where
//! players and the command line look. Connections that there are go on.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringside_protocol::frame::Certificate;
use tokio::sync::watch;

use crate::certificate::{CertificateError, ServerCertificate};
use crate::resolve::{self, Tls};
use crate::state_directory::{NodeFile, StateDirectory};
use crate::workers::Certifier;

/// How often it is looked. A clock that jumps, or a machine that slept, is noticed as soon.
const LOOK: Duration = Duration::from_secs(60);

/// After a look that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// A certificate as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// What players expect.
    pub sha256: Certificate,
    /// Valid until, seconds since 1970.
    pub not_after_s: u64,
}

impl From<&ServerCertificate> for Shown {
    fn from(certificate: &ServerCertificate) -> Shown {
        Shown { sha256: certificate.sha256(), not_after_s: certificate.not_after_s() }
    }
}

/// What it takes to renew.
pub struct Renewal {
    /// Where the certificate is kept and the node's file is.
    pub state: Arc<StateDirectory>,
    /// Days that a certificate is good for.
    pub days: u32,
    /// How the workers get it.
    pub certifier: Certifier,
    /// How those get it who ask in advance.
    pub resolve: watch::Sender<Tls>,
    /// What the command line finds.
    pub file: NodeFile,
    /// What is served.
    pub shown: watch::Sender<Shown>,
}

/// Why a certificate was not renewed; the one before is served.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// It could not be made or kept.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// It cannot serve.
    #[error(transparent)]
    Crypto(#[from] ringside_worker::transport::CryptoError),
    /// A worker did not take it.
    #[error("a worker has too much to do to take the new certificate")]
    Busy,
    /// The node's file could not be written.
    #[error(transparent)]
    State(#[from] crate::state_directory::StateError),
}

impl Renewal {
    /// Looks for ever. What fails is tried again soon, long before the old certificate ends.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            // Some workers may have taken it: what is shown must not differ from what they serve for long.
            while let Err(error) = self.look(SystemTime::now()) {
                tracing::error!(%error, "the certificate is not renewed; it is tried again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Renews if it is time to; answers whether it did.
    fn look(&mut self, now: SystemTime) -> Result<bool, RenewalError> {
        let certificate = ServerCertificate::open(&self.state, self.days, now)?;
        let new = Shown::from(&certificate);
        if new == *self.shown.borrow() {
            return Ok(false);
        }
        let tls = resolve::tls(&certificate)?;
        if !self.certifier.certify(&certificate)? {
            return Err(RenewalError::Busy);
        }
        self.resolve.send_replace(tls);
        self.file.certificate_sha256 = new.sha256.to_string();
        self.state.publish(&self.file)?;
        self.shown.send_replace(new);
        tracing::info!(sha256 = %new.sha256, "the certificate is renewed: players who come need this hash");
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use ringside_protocol::reason::Reason;

    use super::*;
    use crate::chains::Chains;
    use crate::cluster::secret::ClusterSecret;
    use crate::config::Config;
    use crate::control::{Control, Identity};
    use crate::durable::NodeLog;
    use crate::durable::recovery::Wanted;
    use crate::recorder::Recorder;
    use crate::scratch::Scratch;
    use crate::state_directory::find_node;
    use crate::store::Store;
    use crate::tokens::TokenKey;
    use crate::workers::{Keeping, Workers};

    /// Whether a worker shows this certificate: a handshake that expects another fails.
    async fn shows(address: SocketAddr, certificate: Certificate) -> bool {
        let trust = ringside_client::Trust::CertificateSha256(vec![certificate.0]);
        let mut options =
            ringside_client::Options::new([address], trust, "no token".to_owned(), "pong/any").expect("options");
        options.give_up_after = Duration::from_secs(2);
        match ringside_client::Client::connect(options).await {
            // Whoever hears what the worker thinks of the token has shaken hands.
            Err(ringside_client::ConnectError::Refused { reason: Reason::TokenInvalid, .. }) => true,
            Err(_) => false,
            Ok(_) => panic!("this is no token"),
        }
    }

    #[tokio::test]
    async fn a_certificate_is_renewed_while_workers_run() {
        let scratch = Scratch::new("renewal");
        let state = Arc::new(StateDirectory::open(&scratch.0).expect("a state directory"));
        let now = SystemTime::now();
        let first = ServerCertificate::open(&state, 14, now).expect("a certificate");
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), workers: 1, ..Config::default() };
        let secret = ClusterSecret::generate(std::time::SystemTime::now()).expect("a secret");
        let tokens = TokenKey::new(secret.token_key()).expect("a key");
        let (control, _queue) = Control::queue(Default::default());
        let (recorder, chains) = (Recorder::start(Store::memory()), Chains::new(Store::memory(), Wanted::queue().0));
        let run = ringside_core::ids::Node { id: ringside_core::ids::NodeId(1), generation: 1 };
        let keeping = Keeping { recorder, chains, log: NodeLog::start(Store::memory(), run) };
        let identity =
            Identity { node: 1, generation: 1, started: std::time::Instant::now(), certificate: first.sha256() };
        let (workers, ports): (Workers, BTreeMap<_, _>) =
            Workers::start(&config, identity, &first, &secret, &tokens, control, keeping).expect("workers");
        let address = ports.values().find(|port| !port.penalty).expect("a worker").address;
        let file = NodeFile {
            pid: 1,
            admin: String::new(),
            node: "1".to_owned(),
            workers: vec![address],
            links: address,
            certificate_sha256: first.sha256().to_string(),
        };
        let (shown, seen) = watch::channel(Shown::from(&first));
        let (tls, mut served) = watch::channel(resolve::tls(&first).expect("it serves"));
        let mut renewal = Renewal { state, days: 14, certifier: workers.certifier(), resolve: tls, file, shown };
        let day = Duration::from_secs(86_400);
        assert!(!renewal.look(now + 9 * day).expect("looked"), "it is good");
        assert!(!served.has_changed().expect("it is renewed still"));
        assert!(shows(address, first.sha256()).await);
        assert!(renewal.look(now + 11 * day).expect("renewed"));
        let second = *seen.borrow();
        assert!(served.has_changed().expect("it is renewed still"), "who asks in advance is shown the same");
        served.mark_unchanged();
        assert_ne!(second.sha256, first.sha256());
        assert_eq!(find_node(&scratch.0).expect("published").certificate_sha256, second.sha256.to_string());
        assert!(!renewal.look(now + 11 * day).expect("looked"), "once is enough");
        assert!(shows(address, second.sha256).await);
        assert!(!shows(address, first.sha256()).await);

        std::fs::write(scratch.0.join("certificate.json"), "{}").expect("written");
        let error = renewal.look(now).expect_err("it is damaged").to_string();
        assert!(error.contains("certificate.json is damaged: delete it"), "{error}");
        assert!(shows(address, second.sha256).await, "the one before is served");
        workers.stop().await;
    }
}
