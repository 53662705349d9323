//! What operators ask of a node and of its cluster. [`here`] answers for this node, whoever asks; [`everywhere`] asks all
//! nodes and says how much of the cluster the answer covers.

pub(crate) mod away;
pub mod everywhere;
pub(crate) mod giving;
pub mod here;
pub mod idling;
pub mod leaving;
pub mod moving;
mod rebalancing;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::api::NodeInfo;
use crate::catalogue::Catalogue;
use crate::cluster::games::Games;
use crate::cluster::peers::Peers;
use crate::control::Control;
use crate::handover::Upgrades;
use crate::recorder::Recorder;
use crate::renewal::Shown;
pub use away::give_away;
pub use giving::Moves;
pub use leaving::Leaving;
pub use rebalancing::rebalance;

/// What answers are made of; cheap to clone.
#[derive(Clone)]
pub struct Desk {
    /// Owner of the directory.
    pub control: Control,
    /// Owner of the games.
    pub catalogue: Arc<Catalogue>,
    /// Takes over what other nodes serve.
    pub games: Games,
    /// Owner of recordings that are being written.
    pub recorder: Recorder,
    /// The way to the other nodes.
    pub peers: Peers,
    /// What does not change while the node runs; the rest is filled in for each answer.
    pub about: Arc<NodeInfo>,
    /// The certificate that is served.
    pub certificate: watch::Receiver<Shown>,
    /// When the node started.
    pub started: Instant,
    /// Orders to leave the cluster.
    pub leaving: Leaving,
    /// Orders to hand over to another run.
    pub upgrades: Upgrades,
    /// What was given to others, as it is counted.
    pub moves: Arc<Moves>,
}
