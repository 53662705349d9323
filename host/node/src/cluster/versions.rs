//! Which version of checkpoints this node writes: none that a node of its cluster cannot read
//! (`ringside_core::membership::Reads`), applied with each view, before anybody hears of the view.

use ringside_core::ids::NodeId;
use ringside_core::membership::{Reads, View};
use ringside_sandbox::checkpoint_versions::{self, For};

use crate::api::CheckpointVersions;

/// Those that this program reads.
pub fn own() -> Reads {
    let (oldest, newest) = checkpoint_versions::versions();
    Reads { oldest, newest }
}

/// What operators are shown.
pub fn shown() -> CheckpointVersions {
    let Reads { oldest, newest } = own();
    CheckpointVersions { oldest, newest, written: checkpoint_versions::writes() }
}

/// Until this node has seen who is there, it writes what every release reads.
pub fn begin() {
    checkpoint_versions::write_at_most(For::Cluster, Some(own().oldest));
}

/// Writes from now on what everybody reads whom node `me` sees in a view. Whether that is an older version than it wrote
/// before: what it has in the store by then is for others alone.
pub fn go_by(view: &View, me: NodeId) -> bool {
    let before = checkpoint_versions::writes();
    checkpoint_versions::write_at_most(For::Cluster, view.checkpoint_version(me));
    let written = checkpoint_versions::writes();
    if written != before {
        tracing::info!(
            version = written,
            "checkpoints are written in this version from now on: every node that is there reads it"
        );
    }
    for other in view.nodes().filter(|seen| !seen.reads.has(written)) {
        let Reads { oldest, newest } = other.reads;
        tracing::error!(
            node = %other.node.id, version = written,
            "a node reads checkpoints of versions {oldest} to {newest}, none that this one writes: it can follow and lead nothing \
             of what is led here; upgrade it to the release next to this one"
        );
    }
    written < before
}
