//! The thread beside a worker's that does what is too long for a turn, below the workers' priority. What came of it goes
//! back as a command. Ends with its worker.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use ringside_core::ids::WorkerId;

use super::{WorkerHandle, settle_thread};
use crate::command::Command;
use crate::limits::JOBS;
use crate::replication::Job;
use crate::worker::Worker;

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

    /// Hands on what the worker wants done, as far as there is room.
    pub fn hand_on(&mut self, worker: &mut Worker) {
        while let Some(job) = self.unsent.take().or_else(|| worker.poll_job()) {
            if let Err(TrySendError::Full(job)) = self.queue.try_send(job) {
                self.unsent = Some(job);
                return;
            }
        }
    }
}
