//! What the two processes say to each other, beside what their directories do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ringside_core::ids::Node;
use ringside_core::membership::{Fact, PeerPorts, Seen, View};
use ringside_worker::replication::Contacts;
use serde::{Deserialize, Serialize};

use super::formats::Formats;
use crate::cluster::fact;
use crate::hex;

/// The successor's first words: they are read by releases that know nothing of what this one came to be, so they only grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its release.
    pub release: String,
    /// What it reads and writes.
    pub formats: Formats,
    /// Whether it takes checkpoints as memory objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub objects: bool,
    /// Whether it lets go of the old process as a follower when told to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spares: bool,
}

/// What is said, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The successor's first words.
    Hello(Hello),
    /// The old process takes it.
    Welcome {
        /// Which run the old process is.
        node: Node,
        /// The cluster.
        cluster: Cluster,
        /// The version of checkpoints that it writes, and so reads.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<u16>,
    },
    /// The old process does not take it.
    Refused {
        /// Why.
        why: String,
    },
    /// The successor can take sessions.
    Ready {
        /// Which run it is.
        node: Node,
        /// Its workers, for players.
        workers: Vec<SocketAddr>,
        /// Its workers, for workers.
        peers: PeerPorts,
        /// What players expect there.
        certificate: String,
        /// Games that it serves.
        games: usize,
    },
    /// The successor cannot.
    Failed {
        /// Why.
        why: String,
    },
    /// The successor is there; said often.
    Alive {
        /// The era of its tickets.
        era: u32,
    },
    /// The cluster as the old process sees it; said often.
    Cluster(Cluster),
    /// The old process has given everything, and need not count where a session is safe without it.
    Spare,
    /// In so many sessions it counts still where it need not; said again as they become fewer.
    Spared {
        /// How many.
        left: usize,
    },
    /// These are the sockets, in the order of [`Sockets`](super::channel::Sockets).
    Take,
    /// It has them.
    Taken,
}

/// The cluster as a node sees it: facts, as gossip carries them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The facts.
    pub facts: Vec<String>,
}

impl Cluster {
    /// What a view shows, with the eras of tickets.
    pub fn of(view: &View, eras: &BTreeMap<Node, u32>) -> Cluster {
        let facts = view.nodes().map(|seen| fact::encode(&fact_of(seen, eras.get(&seen.node).copied())));
        Cluster { facts: facts.collect() }
    }

    /// The facts that can be read.
    pub fn read(&self) -> Vec<Fact> {
        self.facts.iter().filter_map(|text| fact::decode(text)).collect()
    }

    /// The view that shows them.
    pub fn view(&self) -> Arc<View> {
        let facts = self.read();
        Arc::new(View::new(facts.iter().map(|fact| (fact, fact.state))))
    }

    /// The eras of their tickets.
    pub fn eras(&self) -> BTreeMap<Node, u32> {
        self.read().into_iter().map(|fact| (fact.node, fact.era)).collect()
    }
}

fn fact_of(seen: &Seen, era: Option<u32>) -> Fact {
    Fact {
        stay: seen.stay,
        state: seen.state,
        weight: seen.weight,
        zone: seen.zone.clone(),
        era: era.unwrap_or_default(),
        reads: seen.reads,
        ..Fact::new(seen.node, seen.contact.clone())
    }
}

/// Where a successor's workers are reached, from what it says; nothing if that makes no sense.
pub fn contacts(workers: Vec<SocketAddr>, peers: PeerPorts, certificate: &str) -> Option<Contacts> {
    let certificate = hex::decode(certificate)?.try_into().ok().map(ringside_core::ids::Certificate)?;
    Some(Contacts { peers, workers, certificate, era: 0 })
}
