//! Machines of two releases: what each has heard of the others, which version of checkpoints it writes, and what becomes of
//! one that somebody cannot read. The rule is the production code's (`ringside_core::membership::Reads`); gossip is a model:
//! every machine tells two others whom it has heard of lately.

use ringside_core::ids::{Certificate, Node, Position};
use ringside_core::leadership::message::Append;
use ringside_core::leadership::record::Member;
use ringside_core::membership::{Contact, Fact, Reads, SILENCE_US, State, View};
use ringside_simulation_kit::scheduler::Micros;

use super::conditions::Condition;
use super::machine::{Machine, Replica, Role};
use super::outputs::Act;
use super::packet::{Checkpoint, Packet};
use super::plant::Plant;
use super::world::{Event, World};

/// Time between two of its rounds of gossip.
pub const GOSSIP: Micros = 200_000;
/// Whoever was not heard of for so long is presumed gone: it was asked by then, and others were asked to try it.
const GONE: Micros = SILENCE_US + 750_000;
/// How long a machine that begins only listens.
const LISTENS: Micros = 1_250_000;
/// Entries between two checkpoints.
const CHECKPOINT: Position = 50;
/// Entries before its checkpoint that a leader still has.
const WINDOW: Position = 100;
/// Time after which a checkpoint is sent again to who still lacks what it has.
const SENDING: Micros = 1_000_000;
/// Time within which whoever cannot read what it was sent is sent what it can: its leader hears which it reads, and then sends
/// another.
const HEALED: Micros = 2 * SENDING + GONE;

/// What is heard of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Which run of it.
    node: Node,
    /// What it says; a machine of the release before says nothing of this.
    reads: Option<Reads>,
    /// When it said so.
    at: Micros,
}

/// What the release before reads, and this one.
fn reads(is_old: bool) -> Reads {
    if is_old { Reads::FIRST } else { Reads { oldest: 1, newest: 2 } }
}

impl World {
    /// A round of gossip of a machine.
    pub fn gossip(&mut self, slot: usize, node: Node) {
        let now = self.now();
        if !self.machines[slot].is_still(now) {
            let is_old = self.machines[slot].is_old;
            let Some(process) = self.machines[slot].process.as_mut() else { return };
            process.heard[slot] = Some(Known { node, reads: (!is_old).then_some(reads(false)), at: now });
            let told = process.heard.clone();
            let others: Vec<usize> = (0..self.machines.len()).filter(|other| *other != slot).collect();
            for _ in 0..2 {
                let other = others[self.gossip.below(others.len() as u64) as usize];
                self.post(slot, other, Packet::Facts(told.clone()));
            }
        }
        let after = GOSSIP + self.gossip.below(GOSSIP / 10);
        self.scheduler.after(after, Event::Gossip { slot, node });
    }

    /// What another machine has heard comes to one.
    pub fn hear_of(&mut self, slot: usize, facts: Vec<Option<Known>>) {
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        for (known, told) in process.heard.iter_mut().zip(facts) {
            let Some(told) = told else { continue };
            if known.is_none_or(|known| (told.node.generation, told.at) > (known.node.generation, known.at)) {
                *known = Some(told);
            }
        }
    }

    /// A machine that stood still trusts no silence.
    pub fn trusts_no_silence(&mut self, slot: usize) {
        let now = self.now();
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        process.heard.iter_mut().flatten().for_each(|heard| heard.at = now);
    }

    /// The version that a machine writes now.
    pub fn writes(&self, slot: usize) -> u16 {
        let Some(process) = self.machines[slot].process.as_ref() else { return 1 };
        let (now, own) = (self.now(), reads(self.machines[slot].is_old));
        if self.is_planted(Plant::WritesNewest) {
            return own.newest;
        }
        let is_there = |heard: &&Known| now < heard.at + GONE || heard.node == process.node;
        let facts: Vec<Fact> = process
            .heard
            .iter()
            .flatten()
            .filter(is_there)
            .map(|heard| {
                let contact = Contact::at(([127, 0, 0, 1], heard.node.id.0 as u16).into(), Certificate([0; 32]));
                let is_joining = heard.node == process.node && now < process.began + LISTENS;
                let state = if is_joining { State::Joining } else { State::Active };
                Fact { state, reads: heard.reads.unwrap_or_default(), ..Fact::new(heard.node, contact) }
            })
            .collect();
        let view = View::new(facts.iter().map(|fact| (fact, fact.state)));
        // It has not said anything of itself yet.
        let all = view.node(process.node.id).and(view.checkpoint_version(process.node.id)).unwrap_or(own.oldest);
        all.min(own.newest)
    }

    /// Whether a machine reads a version.
    pub fn can_read(&self, slot: usize, version: u16) -> bool {
        reads(self.machines[slot].is_old).has(version)
    }

    /// A batch is for who lacks entries that its leader has not got any more: it has none, and a checkpoint goes beside it.
    pub fn begins_with_checkpoint(
        &mut self,
        slot: usize,
        session: usize,
        replica: &mut Replica,
        to: Member,
        append: &mut Append,
    ) {
        let position = replica.log.end() / CHECKPOINT * CHECKPOINT;
        if append.from + WINDOW >= position {
            return;
        }
        append.to = append.from;
        let (now, clock, writes) = (self.now(), self.clock(slot), self.writes(slot));
        let (since, first) = replica.sending.get(&to).map_or((None, writes), |(since, first)| (Some(*since), *first));
        let Some(Role::Leader(leader)) = &mut replica.role else { return };
        leader.handle_unsent(clock, to);
        if since.is_some_and(|since| now < since + SENDING) {
            return;
        }
        replica.sending.insert(to, (now, first));
        let version = if self.is_planted(Plant::SendsTheSameBytesAgain) { first } else { writes };
        let lineage = leader.record().lineage.clone();
        let mut log = replica.log.clone();
        log.truncate(position);
        self.say(slot, format_args!("{session}: sends {to} a checkpoint of version {version} at {position}"));
        let there = self.slot_of(to);
        let checkpoint = Box::new(Checkpoint { version, lineage, log });
        self.post(slot, there, Packet::Checkpoint { session, to, checkpoint });
    }

    /// A checkpoint comes to a machine.
    pub fn take_checkpoint(&mut self, slot: usize, session: usize, checkpoint: Box<Checkpoint>) {
        let (now, version) = (self.now(), checkpoint.version);
        if !self.can_read(slot, version) {
            self.say(slot, format_args!("{session}: cannot read a checkpoint of version {version}"));
            let replica = self.machines[slot].process.as_mut().and_then(|it| it.replicas[session].as_mut());
            if let Some(replica) = replica {
                replica.unreadable_since.get_or_insert(now);
            }
            return;
        }
        self.act(slot, session, Act::Checkpoint(checkpoint));
    }

    /// A follower goes on from a checkpoint.
    pub fn restore(&mut self, slot: usize, replica: &mut Replica, checkpoint: Checkpoint) {
        let clock = self.clock(slot);
        replica.unreadable_since = None;
        let Some(Role::Follower(follower)) = &mut replica.role else { return };
        let position = checkpoint.log.end();
        if follower.wants_checkpoint(position, &checkpoint.lineage) {
            replica.log = checkpoint.log;
            replica.damage = replica.damage.filter(|from| *from > position);
            follower.handle_checkpoint(clock, position, checkpoint.lineage);
        }
    }

    /// Everybody writes the newest version that all read who are there, once all have been there for a while.
    fn all_write_alike(&mut self) {
        let since = self.now().saturating_sub(LISTENS + 1_000_000);
        let has_been = |machine: &Machine| machine.process.as_ref().is_some_and(|process| process.began <= since);
        if !self.machines.iter().all(has_been) {
            return;
        }
        let least = self.machines.iter().map(|machine| reads(machine.is_old).newest).min();
        let wrong = (0..self.machines.len()).find(|slot| Some(self.writes(*slot)) != least);
        self.checks.check(Condition::WritesWhatAllRead, wrong.is_none(), || format!("{wrong:?} writes not {least:?}"));
    }

    /// Nobody is left with what it cannot read, once its leader has had the time to hear so.
    pub fn all_can_read(&mut self) {
        let now = self.now();
        self.all_write_alike();
        for slot in 0..self.machines.len() {
            for session in 0..self.terms.len() {
                let Some(replica) = self.machines[slot].replica(session).filter(|it| it.follower().is_some()) else {
                    continue;
                };
                let since = replica.unreadable_since;
                // One that nobody speaks to any more is let go of.
                let is_spoken_to = replica.spoken_to_at.is_some_and(|at| now < at + SENDING);
                let is_well = !is_spoken_to || since.is_none_or(|since| now < since + HEALED);
                self.checks.check(Condition::CheckpointsRead, is_well, || {
                    format!("m{slot} cannot read what it is sent of {session} since {since:?}")
                });
            }
        }
    }

    /// A machine's next process is of the other release.
    pub fn replace(&mut self, slot: usize, down: Micros) {
        if self.machines[slot].process.is_some() {
            self.crash(slot, down);
            let machine = &mut self.machines[slot];
            machine.is_old = !machine.is_old;
            let release = if machine.is_old { "before" } else { "after" };
            self.say(slot, format_args!("is of the release {release} from now on"));
        }
    }
}
