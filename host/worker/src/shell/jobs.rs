//! The thread beside a worker's that does what is too long for a turn, below the workers' priority. What came of it goes
//! back as a command. Ends with its worker.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use ringside_core::ids::WorkerId;

use super::{WorkerHandle, settle_thread};
use crate::command::Command;
use crate::limits::JOBS;
use crate::replication::Job;

/// The way to the thread.
pub(super) struct Jobs {
    queue: SyncSender<Job>,
    /// One that found no room.
    unsent: Option<Job>,
}

impl Jobs {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(worker: WorkerId, handle: WorkerHandle) -> io::Result<Jobs> {
        let (queue, jobs) = sync_channel::<Job>(JOBS);
        std::thread::Builder::new().name(format!("jobs-{worker}")).spawn(move || {
            settle_thread(true, None);
            while let Ok(job) = jobs.recv() {
                if !handle.send_patiently(Command::Done(job.run())) {
                    return;
                }
            }
        })?;
        Ok(Jobs { queue, unsent: None })
    }

    /// Hands on what the worker wants done next, as far as there is room.
    pub fn hand_on(&mut self, mut next: impl FnMut() -> Option<Job>) {
        while let Some(job) = self.unsent.take().or_else(&mut next) {
            if let Err(TrySendError::Full(job)) = self.queue.try_send(job) {
                self.unsent = Some(job);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringside_core::ids::{Node, NodeId};
    use ringside_core::leadership::record::Member;

    use super::*;

    #[test]
    fn jobs_beyond_the_bound_stay_with_the_worker() {
        let from = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
        let (queue, waiting) = sync_channel(JOBS);
        let mut jobs = Jobs { queue, unsent: None };
        let mut taken = 0;
        let mut hand_on = |jobs: &mut Jobs| {
            jobs.hand_on(|| {
                taken += 1;
                Some(Job::decode(from, None, Bytes::new(), false))
            });
            taken
        };
        assert_eq!(hand_on(&mut jobs), JOBS + 1, "one is held, and the thread does nothing");
        assert_eq!(hand_on(&mut jobs), JOBS + 1);
        assert!(waiting.try_recv().is_ok());
        assert_eq!(hand_on(&mut jobs), JOBS + 2);
    }
}
