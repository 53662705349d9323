//! What a node's part in the cluster has counted, for the metrics page.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringside_core::membership::Ignored;
use tokio::sync::watch;

use super::gossip::Traffic;
use super::links::Links;
use super::wire::Message;

/// Reads the counters where they are; cheap to clone.
#[derive(Clone)]
pub struct Counted {
    gossip: Arc<Traffic>,
    links: Links<Message>,
    ignored: watch::Receiver<Ignored>,
}

impl Counted {
    /// Of these parts.
    pub fn new(gossip: Arc<Traffic>, links: Links<Message>, ignored: watch::Receiver<Ignored>) -> Counted {
        Counted { gossip, links, ignored }
    }

    /// Name and value of each counter, as they are now.
    pub fn all(&self) -> [(&'static str, u64); 12] {
        let Counted { gossip, links, ignored } = self;
        let (links, ignored) = (links.counters(), *ignored.borrow());
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("ringside_gossip_sent_total", read(&gossip.sent)),
            ("ringside_gossip_sent_bytes_total", read(&gossip.sent_bytes)),
            ("ringside_gossip_unsent_total", read(&gossip.unsent)),
            ("ringside_gossip_received_total", read(&gossip.received)),
            ("ringside_gossip_refused_total", read(&gossip.refused)),
            ("ringside_links_sent_total", read(&links.sent)),
            ("ringside_links_received_total", read(&links.received)),
            ("ringside_links_dropped_total", read(&links.dropped)),
            ("ringside_links_refused_total", read(&links.refused)),
            ("ringside_facts_stale_total", ignored.stale),
            ("ringside_facts_malformed_total", ignored.malformed),
            ("ringside_facts_beyond_limit_total", ignored.beyond_limit),
        ]
    }
}
