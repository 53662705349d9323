//! What nodes say to each other, below what they decide: the secret that makes them one cluster, sealed gossip, and the
//! links that carry control messages. Decides nothing: membership, placement and routing are state machines of
//! `ringside-core`, which these shells feed.

pub mod gossip;
pub mod links;
pub mod seal;
pub mod secret;
