//! Rebuilding a session after a skipped entry: from the last checkpoint through the log without the poison input, in
//! slices, so that the worker serves its other sessions in between. A rebuilt fold is a leader's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringside_core::log::Record;
use ringside_core::output::Output;

use crate::error::FoldError;
use crate::fold::{Fold, FoldOptions};
use crate::module::Module;
use crate::state::State;

/// How far a rebuild is.
#[derive(Debug)]
pub enum Step {
    /// Not done: step again.
    More,
    /// Done: this is the session's state after the last record.
    Done(Box<Fold>),
}

/// A rebuild on its way.
pub struct Rebuild {
    module: Module,
    checkpoint: Option<Arc<State>>,
    /// The checkpoint's pages that are written, where they are not all.
    restored: Option<usize>,
    records: std::vec::IntoIter<Record>,
    options: FoldOptions,
    fold: Option<Fold>,
    outputs: Vec<Output>,
}

impl Rebuild {
    /// Prepares a rebuild from a checkpoint (`None`: from the log's start) through `records`, which follow it without
    /// gaps. Nothing is done before the first step.
    pub fn new(module: &Module, checkpoint: Option<Arc<State>>, records: Vec<Record>, options: FoldOptions) -> Rebuild {
        let records = records.into_iter();
        Rebuild {
            module: module.clone(),
            checkpoint,
            restored: None,
            records,
            options,
            fold: None,
            outputs: Vec::new(),
        }
    }

    /// Goes on for about `budget`, by a record or a piece of the checkpoint at least. No call has a limit of time: a leader
    /// has accepted each.
    ///
    /// # Errors
    /// A record that does not fold; the rebuild is over.
    pub fn step(&mut self, budget: Duration) -> Result<Step, FoldError> {
        let begun = Instant::now();
        let mut fold = match self.fold.take() {
            Some(fold) => fold,
            None => self.begin()?,
        };
        while let (Some(from), Some(state)) = (self.restored, &self.checkpoint) {
            self.restored = fold.restore_pages(state, from);
            if self.restored.is_none() {
                self.checkpoint = None;
            }
            if begun.elapsed() >= budget {
                self.fold = Some(fold);
                return Ok(Step::More);
            }
        }
        loop {
            let Some(record) = self.records.next() else { return Ok(Step::Done(Box::new(fold))) };
            self.outputs.clear();
            fold.replay(&record, &mut self.outputs)?;
            if begun.elapsed() >= budget {
                self.fold = Some(fold);
                return Ok(Step::More);
            }
        }
    }

    fn begin(&mut self) -> Result<Fold, FoldError> {
        match &self.checkpoint {
            Some(state) => {
                self.restored = Some(0);
                Fold::begin_restore(&self.module, state, self.options)
            }
            None => Fold::new(&self.module, self.options),
        }
    }
}
