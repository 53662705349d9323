//! Connection ids: the worker's byte first, so that one public port can steer packets by it, then eight bytes that
//! nobody else can foresee. Drawn from a keyed counter, so that a seed repeats them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use ring::hmac;
use ringside_core::ids::WorkerId;

/// Length of a connection id, bytes.
pub const CONNECTION_ID_BYTES: usize = 9;

/// Makes a worker's connection ids. Clones draw from the same sequence.
#[derive(Clone)]
pub struct WorkerConnectionIds {
    worker: WorkerId,
    key: hmac::Key,
    drawn: Arc<AtomicU64>,
}

impl WorkerConnectionIds {
    /// Ids of `worker`, determined by `seed`, which must be secret and used by this worker alone.
    pub fn new(worker: WorkerId, seed: &[u8; 32]) -> Self {
        WorkerConnectionIds { worker, key: hmac::Key::new(hmac::HMAC_SHA256, seed), drawn: Arc::default() }
    }
}

impl ConnectionIdGenerator for WorkerConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let tag = hmac::sign(&self.key, &number.to_le_bytes());
        let mut id = [self.worker.0; CONNECTION_ID_BYTES];
        id[1..].copy_from_slice(&tag.as_ref()[..CONNECTION_ID_BYTES - 1]);
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        if id.first() == Some(&self.worker.0) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_carry_the_worker_differ_and_repeat_with_their_seed() {
        let draw = || {
            let mut ids = WorkerConnectionIds::new(WorkerId(3), &[7; 32]);
            (0..1000).map(|_| ids.generate_cid()).collect::<Vec<_>>()
        };
        let ids = draw();
        assert!(ids.iter().all(|id| id.len() == CONNECTION_ID_BYTES && id[0] == 3));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1000);
        assert_eq!(ids, draw());
        let generator = WorkerConnectionIds::new(WorkerId(4), &[7; 32]);
        assert!(generator.validate(&ids[0]).is_err());
    }
}
