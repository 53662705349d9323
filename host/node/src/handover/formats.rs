//! What two builds must agree on for one to take the other's sessions while they are played. A difference is named, and
//! the node goes on with the build that it has.

use ringside_sandbox::{REWRITER_VERSION, checkpoint_versions};
use ringside_worker::peers::frame::{VERSIONS as PEERS, agree};
use ringside_worker::replication::WORDS;
use serde::{Deserialize, Serialize};

use crate::cluster::links::VERSIONS as LINKS;

/// Version of what the two processes say to each other.
pub const HANDOVER: u32 = 1;

/// The versions that a build reads and writes. Ranges are the oldest and the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    /// What the two processes say to each other.
    pub handover: u32,
    /// Messages between nodes, and so between directories.
    pub links: (u16, u16),
    /// Frames between workers.
    pub peers: (u16, u16),
    /// What workers say of sessions, log entries included.
    pub words: u8,
    /// Checkpoints: the newest, which it writes.
    pub checkpoint: u16,
    /// The oldest that it reads, where it reads older ones than it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_checkpoint: Option<u16>,
    /// How modules are rewritten: a session's state is of one rewrite.
    pub rewriter: u32,
}

/// What the two do not agree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: it has version {theirs}, this node {ours}")]
pub struct Differs {
    what: &'static str,
    theirs: String,
    ours: String,
}

impl Formats {
    /// This build's.
    pub fn own() -> Formats {
        let (oldest, newest) = checkpoint_versions::versions();
        Formats {
            handover: HANDOVER,
            links: LINKS,
            peers: PEERS,
            words: WORDS,
            checkpoint: newest,
            oldest_checkpoint: (oldest < newest).then_some(oldest),
            rewriter: REWRITER_VERSION,
        }
    }

    /// Whether a build with those can take sessions of one with these: it reads what this one writes. What that one writes
    /// this one need not read, for until it is the node it writes nothing newer than this one does.
    ///
    /// # Errors
    /// The first thing that differs.
    pub fn takes(&self, theirs: &Formats) -> Result<(), Differs> {
        let range = |(oldest, newest): (u16, u16)| format!("{oldest} to {newest}");
        let differs = |what, theirs: String, ours: String| Err(Differs { what, theirs, ours });
        let number = |what, ours: u32, theirs: u32| match ours == theirs {
            true => Ok(()),
            false => differs(what, theirs.to_string(), ours.to_string()),
        };
        number("what is said in a handover", self.handover, theirs.handover)?;
        number("what workers say of sessions", self.words.into(), theirs.words.into())?;
        let oldest = theirs.oldest_checkpoint.unwrap_or(theirs.checkpoint);
        if !(oldest..=theirs.checkpoint).contains(&self.checkpoint) {
            let theirs = match oldest == theirs.checkpoint {
                true => oldest.to_string(),
                false => range((oldest, theirs.checkpoint)),
            };
            return differs("checkpoints", theirs, self.checkpoint.to_string());
        }
        number("how modules are rewritten", self.rewriter, theirs.rewriter)?;
        if agree(self.links, theirs.links).is_none() {
            return differs("messages between nodes", range(theirs.links), range(self.links));
        }
        if agree(self.peers, theirs.peers).is_none() {
            return differs("frames between workers", range(theirs.peers), range(self.peers));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::{Hello, Said};
    use super::*;

    /// What the first release with handovers says first. It must be read for ever, be it to be refused by name.
    const GOLDEN: &str = include_str!("../../golden/handover-hello-1.json");
    /// What later ones say, who had more to say.
    const GROWN: &str = include_str!("../../golden/handover-hello-2.json");
    const LATER: &str = include_str!("../../golden/handover-hello-3.json");

    #[test]
    fn the_first_published_hello_is_read_and_written_as_it_was() {
        let Ok(Said::Hello(hello)) = serde_json::from_str::<Said>(GOLDEN) else { panic!("it cannot be read") };
        let (links, peers, oldest_checkpoint) = ((1, 1), (1, 1), None);
        let first = Formats { handover: 1, links, peers, words: 1, checkpoint: 1, oldest_checkpoint, rewriter: 1 };
        assert_eq!(hello, Hello { release: "0.1.0".to_owned(), formats: first, objects: false, spares: false });
        assert_eq!(serde_json::to_string(&Said::Hello(hello)).unwrap(), GOLDEN.trim_end());
    }

    #[test]
    fn a_hello_that_has_grown_is_read_and_written_as_it_was() {
        let Ok(Said::Hello(hello)) = serde_json::from_str::<Said>(GROWN) else { panic!("it cannot be read") };
        let Formats { checkpoint, oldest_checkpoint, .. } = hello.formats;
        assert_eq!((checkpoint, oldest_checkpoint, hello.objects, hello.spares), (2, Some(1), true, false));
        assert_eq!(serde_json::to_string(&Said::Hello(hello)).unwrap(), GROWN.trim_end());
        let Ok(Said::Hello(later)) = serde_json::from_str::<Said>(LATER) else { panic!("it cannot be read") };
        assert!(later.spares);
        assert_eq!(serde_json::to_string(&Said::Hello(later)).unwrap(), LATER.trim_end());
    }

    #[test]
    fn what_differs_is_named() {
        let own = Formats::own();
        assert_eq!(own.takes(&own), Ok(()));
        let said = |theirs: Formats| own.takes(&theirs).unwrap_err().to_string();
        assert!(said(Formats { handover: 9, ..own }).contains("in a handover: it has version 9"));
        assert!(said(Formats { words: 9, ..own }).contains("of sessions: it has version 9"));
        assert!(said(Formats { checkpoint: 9, ..own }).contains("checkpoints: it has version 9"));
        let reads = |oldest, newest| Formats { checkpoint: newest, oldest_checkpoint: Some(oldest), ..own };
        assert!(said(reads(8, 9)).contains("checkpoints: it has version 8 to 9"));
        assert_eq!(own.takes(&reads(own.checkpoint, 9)), Ok(()), "it reads what is written here");
        let later = reads(own.checkpoint, own.checkpoint + 1);
        assert!(later.takes(&own).unwrap_err().to_string().contains("checkpoints"), "but not the other way");
        assert!(said(Formats { rewriter: 9, ..own }).contains("rewritten: it has version 9"));
        assert!(said(Formats { links: (8, 9), ..own }).contains("between nodes: it has version 8 to 9"));
        assert!(said(Formats { peers: (8, 9), ..own }).contains("between workers: it has version 8 to 9"));
    }
}
