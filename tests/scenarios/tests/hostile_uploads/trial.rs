//! What is done with an upload: nothing of it may panic, hang or differ when it is done again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::time::Duration;

use ringside_core::ids::Slot;
use ringside_core::log::{Input, LeaveReason, Outcome, Record};
use ringside_sandbox::{
    Fold, FoldError, FoldOptions, Module, Rebuild, Role, Sandbox, SandboxConfig, Step, UploadError, query,
};

/// How many of a test's uploads went which way.
#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: u32,
    pub refused: u32,
    /// Entries that were skipped, of all games.
    pub skipped: usize,
}

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    let config = SandboxConfig { cache_directory: None, warm_sessions: Some(8) };
    Sandbox::new(config).expect("a sandbox")
});

impl Tally {
    /// Uploads, and plays what is accepted. `case` says how to make the bytes again.
    pub fn try_out(&mut self, case: &str, bytes: &[u8]) {
        let tried = catch_unwind(AssertUnwindSafe(|| match SANDBOX.upload(bytes) {
            Ok(module) => Ok(play(&module)),
            Err(error) => Err(error),
        }));
        match tried {
            Ok(Ok(skipped)) => {
                self.accepted += 1;
                self.skipped += skipped;
            }
            Ok(Err(error)) => {
                self.refused += 1;
                assert_says_something(case, &error);
            }
            Err(_) => panic!("{case}: it panicked"),
        }
    }
}

/// A game that is accepted.
pub fn accepted(bytes: &[u8]) -> Module {
    SANDBOX.upload(bytes).expect("it is accepted")
}

/// The error of an upload that must be refused.
pub fn refusal(bytes: &[u8]) -> UploadError {
    SANDBOX.upload(bytes).expect_err("it is refused")
}

/// The author's fault, and where or what it is.
fn assert_says_something(case: &str, error: &UploadError) {
    let words = error.to_string();
    assert!(!matches!(error, UploadError::Internal(_) | UploadError::Compile(_)), "{case}: {words}");
    let names_something = words.contains('`') || words.contains("offset 0x") || words.contains("limit");
    let is_about_the_whole = matches!(error, UploadError::Memory { .. } | UploadError::Component);
    assert!(names_something || is_about_the_whole, "{case}: {words}");
    assert!(!words.chars().any(char::is_control) && words.len() < 2_000, "{case}: {words}");
}

/// A session of a game of which nothing is known.
pub struct Session<'a> {
    module: &'a Module,
    pub fold: Fold,
    log: Vec<Record>,
    pub time_us: u64,
    /// What the last fault of the guest's was, in words.
    pub fault: String,
}

impl Session<'_> {
    /// A session that was started.
    pub fn begin(module: &Module) -> Session<'_> {
        let fold = Fold::new(module, FoldOptions::default()).expect("an instance");
        let mut session = Session { module, fold, log: Vec::new(), time_us: 0, fault: String::new() };
        session.run(Input::Start {
            module: module.hash(),
            rewriter: module.rewriter_version(),
            seed: [5; 32],
            config: bytes::Bytes::new(),
        });
        session
    }

    /// Somebody joins.
    pub fn join(&mut self, slot: u16) -> Option<Outcome> {
        self.run(Input::Join { slot: Slot(slot), player: format!("player-{slot}").parse().expect("a name") })
    }

    /// Runs an entry if it can follow; rebuilds after one that was skipped.
    pub fn run(&mut self, input: Input) -> Option<Outcome> {
        let outcome = match self.fold.apply(self.time_us, &input, &mut Vec::new()) {
            Ok(outcome) => outcome,
            Err(FoldError::Invalid(_) | FoldError::Finished) => return None,
            Err(error) => panic!("{input:?}: {error}"),
        };
        self.log.push(Record { position: self.fold.position(), time_us: self.time_us, input, outcome });
        if let Outcome::Skipped(_) = outcome {
            self.fault = self.fold.last_fault().unwrap_or_default().to_owned();
            assert!(self.fold.is_poisoned() && !self.fault.is_empty());
            self.fold = self.rebuilt();
        }
        Some(outcome)
    }

    /// The log gives the same again. Answers the fold that replayed it.
    pub fn replayed(&mut self) -> Fold {
        let expected = (self.fold.state_hash(), self.fold.output_hash());
        let options = FoldOptions { role: Role::Replay, ..FoldOptions::default() };
        let mut replay = Fold::new(self.module, options).expect("an instance");
        for record in &self.log {
            replay.replay(record, &mut Vec::new()).expect("a record that folds");
        }
        assert_eq!((replay.state_hash(), replay.output_hash()), expected, "the log gives it again");
        replay
    }

    fn rebuilt(&self) -> Fold {
        let mut rebuild = Rebuild::new(self.module, None, self.log.clone(), FoldOptions::default());
        loop {
            if let Step::Done(fold) = rebuild.step(Duration::from_millis(1)).expect("a rebuild") {
                return *fold;
            }
        }
    }
}

/// Plays a bit of everything; answers how many entries were skipped.
fn play(module: &Module) -> usize {
    let mut session = Session::begin(module);
    session.join(0);
    session.join(1);
    for number in 1..=3_u8 {
        session.time_us += 50_000;
        session.run(Input::Message { slot: Slot(0), number: number.into(), body: vec![number - 1; 3].into() });
        session.run(Input::Datagram { slot: Slot(1), body: vec![number].into() });
        session.run(Input::Tick);
        if let Some((id, _)) = session.fold.next_timer().filter(|(_, due)| *due <= session.time_us) {
            session.run(Input::Timer { id });
        }
    }
    session.run(Input::Signal { source: "other/session".into(), body: vec![1].into() });
    session.run(Input::Leave { slot: Slot(1), reason: LeaveReason::Left });

    let mut replay = session.replayed();
    let before = replay.state_hash();
    let state = replay.capture().expect("a state");
    // Whatever it answers: it is an answer.
    let _ = query(module, &state, b"?");
    assert_eq!(replay.state_hash(), before);
    session.log.iter().filter(|record| record.outcome != Outcome::Applied).count()
}
