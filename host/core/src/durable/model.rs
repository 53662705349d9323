//! A store that is slow, fails, says that it failed when it did not, and answers late; a writer that is killed anywhere,
//! and a reader that seals its log at any time: nothing that was said to be stored is lost, and nothing is stored after
//! the seal, but in another log that the writer begins, and there only what is of later epochs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::object::tests::run;
use super::object::{Checkpoint, Item};
use super::recovery::{Chain, seal};
use super::writer::{Output, Reply, Request, Writer};
use crate::ids::{Epoch, Position, SessionId};
use crate::leadership::lineage::Lineage;
use crate::log::{Input, Outcome, Record};

#[derive(Debug, Clone)]
enum Deed {
    /// A session appends so many entries.
    Append(usize, u64),
    /// A batch of a session's is lost on its way to the writer.
    Lose(usize),
    /// A session hands in a checkpoint.
    Checkpoint(usize),
    /// A session hands in what has changed since its last one.
    Increment(usize),
    /// The store answers the question as it should, some time later.
    Answer,
    /// It does what was asked, and says that it failed.
    Lie,
    /// It fails.
    Fail,
    /// It does what was asked, and says so when nobody waits any more.
    Late,
    /// Time passes.
    Wait(u64),
    /// Somebody deletes what may be deleted.
    Delete,
    /// Somebody seals the log.
    Seal,
    /// Whoever leads something knows of the seal.
    Reopen,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => (0..3_usize, 1..5_u64).prop_map(|(who, count)| Deed::Append(who, count)),
        1 => (0..3_usize).prop_map(Deed::Lose),
        2 => (0..3_usize).prop_map(Deed::Checkpoint),
        3 => (0..3_usize).prop_map(Deed::Increment),
        8 => Just(Deed::Answer),
        2 => Just(Deed::Lie),
        2 => Just(Deed::Fail),
        1 => Just(Deed::Late),
        2 => (1..3_000_000_u64).prop_map(Deed::Wait),
        1 => Just(Deed::Delete),
        1 => Just(Deed::Seal),
        1 => Just(Deed::Reopen),
    ];
    proptest::collection::vec(deed, 1..300)
}

struct World {
    writer: Writer,
    objects: BTreeMap<u64, Bytes>,
    /// Ends of the sessions' logs.
    ends: [Position; 3],
    stored: [Position; 3],
    /// Numbers of epochs that are over, with where each began and up to where it was said to be stored.
    over: Vec<(u64, [Position; 3], [Position; 3])>,
    /// Where the epoch began.
    began: [Position; 3],
    /// The first objects of its logs.
    logs: Vec<u64>,
    /// Positions of the sessions' last checkpoints.
    handed: [Option<Position>; 3],
    question: Option<(u64, Request)>,
    late: Vec<(u64, Reply)>,
    first: u64,
    is_sealed: bool,
    now: u64,
}

fn session(who: usize) -> SessionId {
    format!("arena/s{who}@0000000000000001").parse().unwrap()
}

fn epoch(number: u64) -> Epoch {
    Epoch { number, ..run().first_epoch() }
}

impl World {
    fn new() -> World {
        World {
            writer: Writer::new(run(), 7),
            objects: BTreeMap::new(),
            // The last was promoted here.
            ends: [0, 0, 20],
            stored: [0, 0, 20],
            over: Vec::new(),
            began: [0, 0, 20],
            logs: vec![1],
            handed: [None; 3],
            question: None,
            late: Vec::new(),
            first: 0,
            is_sealed: false,
            now: 0,
        }
    }

    /// The epoch in which all is led.
    fn epoch(&self) -> Epoch {
        epoch(self.over.len() as u64 + 1)
    }

    fn execute(&mut self) -> Option<(u64, Reply)> {
        let (number, request) = self.question.take()?;
        let reply = match request {
            Request::Create { number, .. } if self.objects.contains_key(&number) => Reply::Exists,
            Request::Create { number, object } => {
                self.objects.insert(number, object);
                Reply::Created
            }
            Request::Read { number } => self.objects.get(&number).cloned().map_or(Reply::Missing, Reply::Found),
        };
        Some((number, reply))
    }

    fn checkpoint(&mut self, who: usize, is_whole: bool) {
        let (session, epoch, position) = (session(who), self.epoch(), self.ends[who]);
        if position == 0 {
            return self.writer.handle_no_checkpoint(&session);
        }
        let state = Bytes::from(position.to_string());
        let lineage = Lineage::new(epoch);
        let checkpoint = Box::new(Checkpoint { session, epoch, position, lineage, beside: Bytes::new(), state });
        // Whatever has become of the one before.
        let base = self.handed[who].replace(position).filter(|base| !is_whole && *base < position);
        let item = match base {
            Some(base) => Item::Increment { base, checkpoint },
            None => Item::Checkpoint(checkpoint),
        };
        self.writer.handle_item(self.now, item);
    }

    fn act(&mut self, deed: &Deed) {
        match *deed {
            Deed::Append(who, count) => {
                let from = self.ends[who] + 1;
                self.ends[who] += count;
                let entry =
                    |position| Record { position, time_us: position, input: Input::Tick, outcome: Outcome::Applied };
                let entries = (from..from + count).map(entry).collect();
                self.writer
                    .handle_item(self.now, Item::Entries { session: session(who), epoch: self.epoch(), entries });
            }
            Deed::Lose(who) => self.ends[who] += 1,
            Deed::Checkpoint(who) => self.checkpoint(who, true),
            Deed::Increment(who) => self.checkpoint(who, false),
            Deed::Answer => {
                if let Some((question, reply)) = self.execute() {
                    self.writer.handle_reply(self.now, question, reply);
                }
            }
            Deed::Lie => {
                if let Some((question, _)) = self.execute() {
                    self.writer.handle_reply(self.now, question, Reply::Failed);
                }
            }
            Deed::Fail => {
                if let Some((question, _)) = self.question.take() {
                    self.writer.handle_reply(self.now, question, Reply::Failed);
                }
            }
            Deed::Late => {
                let late = self.execute();
                self.late.extend(late);
            }
            Deed::Wait(us) => {
                self.now += us;
                self.writer.handle_timeout(self.now);
                for (question, reply) in std::mem::take(&mut self.late) {
                    self.writer.handle_reply(self.now, question, reply);
                }
            }
            Deed::Delete => {
                // Of the log that is written now.
                let log = self.logs.last().copied().unwrap_or(1);
                self.objects.retain(|number, _| *number < log || *number >= self.first);
            }
            Deed::Seal if !self.is_sealed => {
                let number = self.objects.last_key_value().map_or(1, |(number, _)| number + 1);
                self.objects.insert(number, seal(run(), number, 9, run()));
                self.is_sealed = true;
            }
            Deed::Seal => {}
            Deed::Reopen => self.writer.handle_reopen(self.now),
        }
        self.hear();
    }

    fn hear(&mut self) {
        let was_sealed = self.is_sealed;
        while let Some(output) = self.writer.poll() {
            match output {
                Output::Ask(number, request) => self.question = Some((number, request)),
                Output::Stored { session: of, position, epoch } => {
                    assert_eq!(epoch, self.epoch(), "what is of an epoch that is over is not stored");
                    let who = (0..3).find(|who| session(*who) == of).expect("one of them");
                    assert!(position <= self.ends[who], "what was never appended is not stored");
                    self.stored[who] = self.stored[who].max(position);
                }
                Output::Checkpoint(of) => {
                    let who = (0..3).find(|who| session(*who) == of).expect("one of them");
                    self.checkpoint(who, true);
                }
                Output::Forget { first } => self.first = first,
                Output::Sealed => assert!(was_sealed, "nobody else has written"),
                Output::Reopened => self.reopened(),
                Output::Departed(_) | Output::Away(_) => {}
            }
        }
    }

    /// Another log was begun: each session goes on in an epoch that begins now.
    fn reopened(&mut self) {
        let number = self.over.len() as u64 + 1;
        self.over.push((number, self.began, self.stored));
        (self.began, self.stored, self.handed) = (self.ends, self.ends, [None; 3]);
        self.logs.push(self.writer.log().first);
        self.first = 0;
        self.is_sealed = false;
    }

    /// It is killed now: what recovery finds.
    fn check(&self) {
        let mut chains = Vec::new();
        for (at, first) in self.logs.iter().enumerate() {
            // What the next one's first object is may be made before the writer knows: it is in another log.
            let begun = Some(self.writer.log().first).filter(|next| next > first);
            let end = self.logs.get(at + 1).copied().or(begun).unwrap_or(u64::MAX);
            let mut chain = Chain::beginning(*first, BTreeSet::new());
            self.objects.range(first..&end).for_each(|(number, bytes)| chain.handle_object(run(), *number, bytes));
            assert_eq!(chain.damage().count(), 0, "{:?}", chain.damage().next());
            let is_last = at + 1 == self.logs.len();
            assert_eq!(chain.sealed_by().is_some(), self.is_sealed || !is_last);
            chains.push(chain);
        }
        for (number, began, stored) in self.over.iter().chain([&(self.over.len() as u64 + 1, self.began, self.stored)])
        {
            self.check_epoch(&chains, epoch(*number), began, stored);
        }
    }

    fn check_epoch(&self, chains: &[Chain], epoch: Epoch, began: &[Position; 3], stored: &[Position; 3]) {
        for who in 0..3 {
            if stored[who] > began[who] {
                let mut starts = chains.iter().filter_map(|chain| chain.start(&session(who), epoch, Position::MAX));
                let start = starts.next().expect("it was stored");
                assert!(starts.next().is_none(), "an epoch is in one log");
                assert!(start.end >= stored[who], "session {who}: {} of {}", start.end, stored[who]);
                assert!(start.end <= self.ends[who]);
                // Each is of the one before, by the bytes that stand for its state.
                for one in start.checkpoints() {
                    assert_eq!(one.state, one.position.to_string());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn what_was_said_to_be_stored_is_found_whenever_the_writer_is_killed(deeds in deeds()) {
        let mut world = World::new();
        for deed in &deeds {
            world.act(deed);
            world.check();
        }
    }

    #[test]
    fn after_its_seal_a_log_stands_still(deeds in deeds(), later in deeds()) {
        let mut world = World::new();
        deeds.iter().filter(|deed| !matches!(deed, Deed::Reopen)).for_each(|deed| world.act(deed));
        world.act(&Deed::Seal);
        let objects = world.objects.clone();
        for deed in later.iter().filter(|deed| !matches!(deed, Deed::Delete | Deed::Reopen)) {
            world.act(deed);
            world.check();
            prop_assert_eq!(&world.objects, &objects);
        }
    }

    #[test]
    fn a_store_that_works_again_has_everything(deeds in deeds()) {
        let mut world = World::new();
        for deed in deeds.iter().filter(|deed| !matches!(deed, Deed::Seal)) {
            world.act(deed);
        }
        for who in 0..3 {
            world.act(&Deed::Append(who, 1));
        }
        for _ in 0..600 {
            world.act(&Deed::Wait(500_000));
            world.act(&Deed::Answer);
        }
        prop_assert_eq!(world.stored, world.ends);
        prop_assert!(world.writer.is_idle());
    }
}
