//! A worker's turn: what the pure core is given, and what its outputs do. Bugs are planted here.

use std::sync::Arc;

use bytes::Bytes;
use ringside_core::ids::{Epoch, Node, Position, Slot, StateHash};
use ringside_core::leadership::chain::Request;
use ringside_core::leadership::leader::{ChainReply, NodeLog, NotNow};
use ringside_core::leadership::message::{Ack, Append, Mark, Message, Output, Party, Promotion};
use ringside_core::leadership::record::{Cause, Member, Motive, Record, Tier};
use ringside_core::leadership::{Follower, Leader, newer};
use ringside_core::log::Input;

use super::conditions::Condition;
use super::log::{Entry, Item};
use super::machine::{Machine, Replica, Role};
use super::packet::{Checkpoint, Packet, Said};
use super::plan::StoreMood;
use super::plant::Plant;
use super::world::{Event, World};

/// What happens to a session in a turn.
#[derive(Debug, Clone)]
pub enum Act {
    /// Time.
    Turn,
    /// A message.
    Message { from: Party, message: Message, entries: Vec<Entry> },
    /// Somebody reached somebody.
    Reached(Party),
    /// A run of a machine has ended.
    Died(Node),
    /// The store answered.
    Chain(ChainReply),
    /// The store has entries of an epoch's log.
    Stored(Epoch, Position),
    /// The log of the machine is another.
    NodeLog(NodeLog),
    /// A tick.
    Tick,
    /// A player's message.
    Input { player: usize, number: u64 },
    /// What waits because it may end the process.
    Suspects,
    /// The session is to move.
    Move,
    /// It is to be evicted.
    Evict,
    /// A checkpoint that it reads.
    Checkpoint(Box<Checkpoint>),
    /// A player has seen an epoch.
    Seen(Epoch),
    /// A machine is to follow.
    Recruit(Member),
}

/// Entries that came with a batch.
struct Batch {
    from: Position,
    entries: Vec<Entry>,
}

fn mark(position: Position, hash: u64) -> Mark {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    Mark { position, hash: StateHash(bytes) }
}

/// The epoch that a message tells of: one that somebody has taken.
fn told(message: &Message) -> Option<Epoch> {
    match message {
        Message::Lead { record, .. } | Message::Claim { record, .. } => Some(record.epoch),
        Message::Ask(ask) => Some(ask.record.epoch),
        Message::Answer(answer) => answer.record.as_ref().map(|record| record.epoch),
        Message::Append(append) => append.record.as_ref().map(|record| record.epoch),
        _ => None,
    }
}

impl World {
    /// A worker's turn.
    pub fn turn(&mut self, slot: usize) {
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        process.turns += 1;
        let turns = process.turns;
        for session in 0..self.terms.len() {
            self.act(slot, session, Act::Turn);
            self.act(slot, session, Act::Suspects);
            if turns.is_multiple_of(10) {
                self.act(slot, session, Act::Tick);
            }
            if turns.is_multiple_of(20) {
                self.recruit(slot, session);
            }
            self.put_entries(slot, session);
        }
    }

    /// A leader that has too few followers takes another, from those that membership would name.
    fn recruit(&mut self, slot: usize, session: usize) {
        if self.is_planted(Plant::RecruitsNobody) && self.now() > 3_000_000 {
            return;
        }
        let Some(leader) = self.machines[slot].replica(session).and_then(Replica::leader) else { return };
        let peers: Vec<Member> = leader.lags(self.now()).map(|lag| lag.follower).collect();
        if peers.len() >= self.terms[session].followers {
            return;
        }
        let is_free = |machine: &Machine| {
            machine
                .process
                .as_ref()
                // One whose copy was found to differ refuses.
                .filter(|_| !machine.replica(session).is_some_and(|replica| replica.has_diverged))
                .map(|process| process.member())
                .filter(|who| !peers.iter().any(|peer| peer.node == who.node))
        };
        let others = self.machines.iter().enumerate().filter(|(other, _)| *other != slot);
        let free: Vec<Member> = others.filter_map(|(_, machine)| is_free(machine)).collect();
        if free.is_empty() {
            return;
        }
        let who = free[self.random.below(free.len() as u64) as usize];
        self.act(slot, session, Act::Recruit(who));
    }

    /// A durable session's new entries go to the store; again if it does not say that it has them.
    fn put_entries(&mut self, slot: usize, session: usize) {
        let (now, delay) = (self.now(), self.store_delay());
        if self.terms[session].tier != Tier::Durable {
            return;
        }
        let confirms = self.is_planted(Plant::ConfirmsTheUnstored);
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let node = process.node;
        let Some(replica) = process.replicas[session].as_mut() else { return };
        let leader = replica.leader().filter(|leader| !leader.is_fenced());
        let Some((epoch, committed)) = leader.map(|leader| (leader.epoch(), leader.committed())) else {
            return;
        };
        // One after the other: an object of a chain without gaps is not made before the one before it.
        let (sent, at) = replica.storing;
        let (from, end) = (replica.stored.max(committed), replica.log.end());
        if from >= end || from < sent && now < at + 1_000_000 {
            return;
        }
        replica.storing = (end, now);
        let hashes = (from + 1..=end).filter_map(|at| Some((at, replica.log.state(at)?.hash))).collect();
        self.scheduler.after(delay, Event::Put { slot, node, session, epoch, hashes });
        if confirms {
            self.act(slot, session, Act::Stored(epoch, end));
        }
    }

    /// A packet has come to a machine.
    pub fn arrive(&mut self, slot: usize, packet: Packet) {
        match packet {
            Packet::Member { session, from, to, message, entries } => {
                if self.machines[slot].runs(to) {
                    self.meet(slot, session, from, &message);
                    self.act(slot, session, Act::Message { from, message, entries });
                }
            }
            Packet::Home { session, from, message } => self.at_home(slot, session, from, message),
            Packet::Probe { session, asker, whom, target, path, at } => {
                let Some(process) = self.machines[slot].process.as_ref() else { return };
                if at == 2 && target.is_some_and(|target| target != process.node) {
                    return;
                }
                if at == 4 {
                    if process.node == asker {
                        self.act(slot, session, Act::Reached(whom));
                    }
                    return;
                }
                self.post(slot, path[at + 1], Packet::Probe { session, asker, whom, target, path, at: at + 1 });
            }
            // It is the machine that answers where no process of its does.
            Packet::Knock { session, asker: (at, asker), whom } => {
                if self.machines[slot].process.as_ref().is_none_or(|process| process.node != whom) {
                    self.post(slot, at, Packet::Refused { session, asker, whom });
                }
            }
            Packet::Refused { session, asker, whom } => {
                if self.machines[slot].process.as_ref().is_some_and(|process| process.node == asker) {
                    self.act(slot, session, Act::Died(whom));
                }
            }
            Packet::Checkpoint { session, to, checkpoint } => {
                if self.machines[slot].runs(to) {
                    self.take_checkpoint(slot, session, checkpoint);
                }
            }
            Packet::Facts(facts) => self.hear_of(slot, facts),
            Packet::Hello { session, player, hello } => self.greeted(slot, session, player, hello),
        }
    }

    /// Whoever is told that somebody leads, and has nothing, follows; unless it knows better, and says so.
    fn meet(&mut self, slot: usize, session: usize, from: Party, message: &Message) {
        let clock = self.clock(slot);
        let terms = self.terms[session].clone();
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        if process.replicas[session].is_some() {
            return;
        }
        if let Party::Member(to) = from
            && let Some(message) = process.last.answer(process.member(), &terms.session, message)
        {
            if let Message::Lead { record, .. } = &message {
                process.forget(record.epoch.number);
            }
            let (from, there) = (Party::Member(process.member()), self.slot_of(to));
            return self.post(slot, there, Packet::Member { session, from, to, message, entries: Vec::new() });
        }
        if let Message::Lead { end: Some(_), .. } = message {
            let follower = Follower::new(clock, process.member(), terms).after_epochs(process.forgotten);
            process.replicas[session] = Some(Replica::new(Role::Follower(Box::new(follower))));
        }
    }

    /// Something happens to a session on a machine.
    pub fn act(&mut self, slot: usize, session: usize, act: Act) {
        let (now, clock) = (self.now(), self.clock(slot));
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let Some(mut replica) = process.replicas[session].take() else { return };
        match &mut replica.role {
            Some(Role::Leader(leader)) => leader.handle_turn(clock),
            Some(Role::Follower(follower)) => follower.handle_turn(clock),
            None => {}
        }
        self.drain_all(slot, session, &mut replica);
        let may_release = |leader: &&Leader| !leader.is_over() && !leader.is_fenced() && leader.has_right(clock);
        if let Some(leader) = replica.leader().filter(may_release) {
            self.may_release(slot, session, leader.epoch(), &leader.record().clone());
        }
        self.perform(slot, session, &mut replica, act);
        if replica.is_dying {
            let down = self.random.below(3_000_000);
            return self.crash(slot, down);
        }
        if let Some(process) = self.machines[slot].process.as_mut() {
            // One that is of no use is begun anew once nobody speaks to it any more.
            let is_useless = replica.has_diverged && replica.follower().is_some_and(|follower| !follower.counts());
            let is_forgotten = replica.spoken_to_at.is_some_and(|at| now > at + 2_000_000);
            let is_gone = replica.role.is_none() || is_useless && is_forgotten;
            if let Some(follower) = replica.follower().filter(|_| is_gone) {
                process.let_go(&self.terms[session], follower.seen(), follower.record());
            }
            process.replicas[session] = (!is_gone).then_some(replica);
        }
    }

    fn perform(&mut self, slot: usize, session: usize, replica: &mut Replica, act: Act) {
        let clock = self.clock(slot);
        let mut batch = Batch { from: 0, entries: Vec::new() };
        let mut verdict = None;
        let mut compared = None;
        replica.acknowledged = None;
        match (act, &mut replica.role) {
            (Act::Message { from, message, entries }, Some(_)) => {
                if let Some(epoch) = told(&message) {
                    replica.sees(epoch);
                }
                replica.spoken_to_at = Some(self.now());
                if let Message::Append(append) = &message {
                    let mark = append.mark.filter(|_| !self.machines[slot].is_old);
                    compared = mark.map(|mark| (append.epoch, mark.position));
                    batch = Batch { from: append.from, entries };
                }
                verdict = match &message {
                    Message::Claim { claim, .. } => Some(claim.epoch),
                    Message::Yield { loser, .. } => Some(loser.epoch),
                    _ => None,
                };
                if let (Message::Ack(_), Party::Member(to)) = (&message, from)
                    && self.is_planted(Plant::AcknowledgesAcknowledgements)
                {
                    self.give_back(slot, session, to, message.clone());
                }
                self.hear(slot, replica, from, message);
            }
            (Act::Checkpoint(checkpoint), Some(Role::Follower(_))) => self.restore(slot, replica, *checkpoint),
            (Act::Reached(whom), Some(Role::Follower(follower))) => follower.handle_reached(clock, whom),
            (Act::Died(whom), Some(Role::Follower(follower))) => follower.handle_died(whom),
            (Act::Chain(reply), Some(Role::Leader(leader))) => leader.handle_chain(clock, reply),
            (Act::Chain(reply), Some(Role::Follower(follower))) => follower.handle_chain(clock, reply),
            (Act::Stored(epoch, position), Some(Role::Leader(leader))) if leader.epoch() == epoch => {
                replica.stored = replica.stored.max(position);
                leader.handle_stored(clock, position);
            }
            (Act::NodeLog(is), Some(Role::Leader(leader))) => leader.handle_node_log(clock, is),
            (Act::Seen(epoch), Some(Role::Leader(leader))) => leader.handle_seen(clock, epoch),
            (Act::Recruit(who), Some(Role::Leader(leader))) => leader.handle_recruit(clock, who),
            (Act::Move, Some(Role::Leader(leader))) => {
                if let Some(to) = leader.record().in_sync.first().copied() {
                    // It may be busy: then it is not moved.
                    let _ = leader.handle_move(clock, to, Motive::Order);
                }
            }
            (Act::Evict, Some(Role::Leader(leader))) => {
                let at = (session, leader.epoch(), replica.log.end());
                if leader.handle_evict(clock).is_ok() {
                    let mut log = replica.log.clone();
                    if self.plant == Some(Plant::EvictsAnOldState) {
                        log.truncate(at.2.saturating_sub(5));
                        while log.end() < at.2 {
                            log.push(Entry { epoch: at.1, item: Item::Tick });
                        }
                    }
                    let version = self.writes(slot);
                    self.evicted.insert(at, (version, log));
                }
            }
            (Act::Tick, Some(Role::Leader(_))) => {
                // A tick that cannot be appended now is one that slips.
                let _ = self.append(slot, replica, Item::Tick);
                let (end, hash) = (replica.log.end(), replica.log.newest().hash);
                if let Some(leader) = replica.leader_mut() {
                    leader.handle_mark(mark(end, hash));
                }
            }
            (Act::Suspects, Some(Role::Leader(leader))) if leader.may_append().is_ok() => {
                if let Some(turn) = leader.next_suspect(clock) {
                    self.run_suspect(slot, session, replica, turn);
                }
            }
            (Act::Input { player, number }, Some(Role::Leader(_))) => {
                let is_held = self.holds_back(slot, replica, player, number);
                if !is_held && !self.dies_of(slot, session, replica, player, number) {
                    self.take(slot, replica, player, number);
                }
            }
            _ => {}
        }
        if replica.is_dying {
            return;
        }
        if let Some(leader) = replica.leader_mut() {
            leader.handle_flush(clock);
        }
        self.drain(slot, session, replica, &batch, verdict);
        self.compared(slot, session, replica, compared);
    }

    pub fn append(&mut self, slot: usize, replica: &mut Replica, item: Item) -> Result<(), NotNow> {
        let clock = self.clock(slot);
        let Some(leader) = replica.leader_mut() else { return Err(NotNow::Over) };
        let position = leader.handle_append(clock)?;
        let epoch = leader.epoch();
        replica.log.push(Entry { epoch, item });
        assert_eq!(replica.log.end(), position, "the core and the log count alike");
        Ok(())
    }

    fn take(&mut self, slot: usize, replica: &mut Replica, player: usize, number: u64) {
        let is_taken = self.append(slot, replica, Item::Input { player, number });
        if is_taken == Err(NotNow::Moving) && self.is_planted(Plant::DropsTheQueueOnAMove) {
            replica.held.insert(player, number);
        }
    }

    /// A message is handed over; some plants change or drop it.
    fn hear(&mut self, slot: usize, replica: &mut Replica, from: Party, mut message: Message) {
        let clock = self.clock(slot);
        let is_old = self.machines[slot].is_old;
        let end = replica.log.end();
        if is_old && matches!(message, Message::Suspects(_) | Message::Suspected { .. }) {
            return;
        }
        if let Message::Lead { record, .. } = &message
            && self.is_planted(Plant::HearsOfNoGrant)
            && record.cause.is_grant()
            && from != Party::Member(record.leader)
            && self.slot_of(record.leader) != slot
        {
            return;
        }
        if let Message::Suspects(suspects) = &message {
            replica.warning = suspects.waiting.first().copied();
        }
        match &mut message {
            Message::Append(append) if is_old || self.is_planted(Plant::ComparesNothing) => append.mark = None,
            Message::Append(Append { record: Some(record), .. }) | Message::Lead { record, .. }
                if self.is_planted(Plant::PromotesOneThatIsNotInSync) =>
            {
                if let Some(follower) = replica.follower()
                    && record.leader != follower.me()
                {
                    record.in_sync.insert(follower.me());
                }
            }
            Message::Ack(ack) if self.is_planted(Plant::CountsALeaseFromItsAnswer) && ack.received == end => {
                ack.stamp_us = ack.stamp_us.map(|_| clock);
            }
            Message::Ack(ack) if self.is_planted(Plant::AdmitsTooEarly) => ack.received = end,
            _ => {}
        }
        match &mut replica.role {
            Some(Role::Leader(leader)) => {
                let is_newer = told(&message).is_some_and(|epoch| newer(epoch, leader.epoch()));
                if !(is_newer && self.plant == Some(Plant::SkipsTheFence)) {
                    leader.handle_message(clock, from, message);
                }
            }
            Some(Role::Follower(follower)) => {
                let clock = match self.plant.filter(|_| follower.counts()) {
                    Some(Plant::HurriesAPromise) => clock - 300_000,
                    Some(Plant::DragsAPromise) => clock + 150_000,
                    _ => clock,
                };
                follower.handle_message(clock, from, message);
            }
            None => {}
        }
    }

    /// Does what the core says of itself: it was given nothing.
    pub fn drain_all(&mut self, slot: usize, session: usize, replica: &mut Replica) {
        self.drain(slot, session, replica, &Batch { from: 0, entries: Vec::new() }, None);
    }

    /// Does what the core says, until it says nothing more.
    fn drain(&mut self, slot: usize, session: usize, replica: &mut Replica, batch: &Batch, verdict: Option<Epoch>) {
        loop {
            let output = match &mut replica.role {
                Some(Role::Leader(leader)) => leader.poll(),
                Some(Role::Follower(follower)) => follower.poll(),
                None => None,
            };
            let Some(output) = output else { return };
            self.obey(slot, session, replica, output, (batch, verdict));
        }
    }

    fn obey(
        &mut self,
        slot: usize,
        session: usize,
        replica: &mut Replica,
        output: Output,
        (batch, verdict): (&Batch, Option<Epoch>),
    ) {
        let clock = self.clock(slot);
        match output {
            Output::Send { to, message } => self.send(slot, session, replica, to, message),
            Output::Chain(request) => self.chain(slot, session, request),
            Output::Probe(whom) => self.probe(slot, session, whom),
            Output::Record(record) => {
                let verdict = self.truth.made(self.now(), session, &record);
                self.checks.check(Condition::Entitled, verdict.is_ok(), || format!("{verdict:?}: {record:?}"));
                assert_eq!(replica.log.end() + 1, record.position, "a record in the log has its position");
                replica.log.push(Entry { epoch: record.epoch, item: Item::Record(record) });
            }
            Output::Release(release) => self.released(slot, session, replica, release),
            Output::Paused(is_paused) => {
                self.say(slot, format_args!("{session}: {}", if is_paused { "pauses" } else { "goes on" }));
                replica.is_paused = is_paused && !self.is_planted(Plant::ShowsAPausedSession);
            }
            Output::Degraded(is_degraded) => self.say(slot, format_args!("{session}: degraded: {is_degraded}")),
            Output::Count { since } => {
                let mut inputs = replica.log.inputs_since(since);
                if self.is_planted(Plant::MiscountsABranch) {
                    inputs = inputs.wrapping_mul(7) % 5;
                }
                if let Some(leader) = replica.leader_mut() {
                    leader.handle_counted(clock, since, inputs);
                }
            }
            Output::MoveFailed => self.say(slot, format_args!("{session}: not moved")),
            Output::Evicted(record) => {
                self.say(slot, format_args!("{session}: evicted after {}", record.position));
                if let (Some(Role::Leader(leader)), Some(process)) =
                    (replica.role.take(), &mut self.machines[slot].process)
                {
                    process.let_go(&self.terms[session], leader.seen(), Some(&record));
                }
            }
            Output::NotEvicted => self.say(slot, format_args!("{session}: not evicted")),
            Output::Renewed(record) => {
                self.say(slot, format_args!("{session}: goes on in {:?}: {:?}", record.epoch, record.cause));
                self.begins(slot, session, replica, &record);
                self.healed(session, replica, &record, verdict);
            }
            Output::Deposed => self.deposed(slot, session, replica),
            Output::Superseded { by, fork } => {
                self.say(slot, format_args!("{session}: superseded by {:?} after {fork}", by.epoch));
                let over = replica.leader().map(Leader::epoch);
                // What was skipped on its branch was not on the other.
                replica.warned.clear();
                let winner = self.slot_of(by.leader);
                for player in std::mem::take(&mut replica.players).into_keys() {
                    let Some(over) = over else { continue };
                    let said = Said::Superseded { over, by: by.epoch, fork, slot: winner };
                    self.say_to(slot, session, player, said);
                }
                self.deposed(slot, session, replica);
            }
            Output::Keep { from, to } => self.keep(slot, session, replica, batch, (from, to)),
            Output::Truncate { to } => {
                self.truncated(slot, session, replica, to);
                if !self.is_planted(Plant::KeepsWhatNeverWas) {
                    replica.log.truncate(to);
                }
                replica.damage = replica.damage.filter(|from| *from <= to);
            }
            Output::Lead(promotion) => self.promoted(slot, session, replica, promotion),
            Output::Counts(counts) => self.say(slot, format_args!("{session}: counts: {counts}")),
            Output::Diverged { leader, .. } => {
                self.say(slot, format_args!("{session}: differs at {}", leader.position));
                replica.has_diverged = true;
            }
        }
    }

    fn keep(
        &mut self,
        slot: usize,
        session: usize,
        replica: &mut Replica,
        batch: &Batch,
        (from, to): (Position, Position),
    ) {
        let drops = self.is_planted(Plant::AcknowledgesBeforeKeeping) && self.random.happens(0.05);
        for position in from..=to {
            let entry = batch.entries.get((position - batch.from - 1) as usize).cloned();
            if let Some(entry) = entry.filter(|_| !drops) {
                replica.unreadable_since = None;
                if let (Item::Input { player, number }, Some(Role::Follower(follower))) =
                    (&entry.item, &mut replica.role)
                {
                    let (slot, number, body) = (Slot(*player as u16), *number, Bytes::new());
                    follower.handle_entry(&Input::Message { slot, number, body });
                }
                replica.log.push(entry);
            }
        }
        let mine = replica.log.state(to).map(|state| state.hash);
        let record = replica.follower().and_then(|it| it.record());
        let theirs = record.and_then(|record| {
            let machine = &self.machines[self.slot_of(record.leader)];
            let leads = |it: &&Replica| it.leader().is_some_and(|leader| leader.epoch() == record.epoch);
            machine.replica(session).filter(|_| machine.runs(record.leader)).filter(leads)?.log.state(to)
        });
        if let Some(theirs) = theirs {
            let is_same = mine == Some(theirs.hash);
            self.checks.check(Condition::LogsAgree, is_same, || {
                format!("m{slot} has another log of {session} at {to}: {mine:x?} for {:x}", theirs.hash)
            });
        }
        for position in from..=to {
            let Some(state) = replica.log.state(position) else { return };
            let is_damaged = replica.damage.is_some_and(|from| position >= from);
            if let Some(Role::Follower(follower)) = &mut replica.role {
                follower.handle_applied(mark(position, if is_damaged { !state.hash } else { state.hash }));
            }
        }
    }

    fn deposed(&mut self, slot: usize, session: usize, replica: &mut Replica) {
        let clock = self.clock(slot);
        let Some(Role::Leader(leader)) = replica.role.take() else { return };
        self.say(slot, format_args!("{session}: leads no more in {:?}", leader.epoch()));
        let follower = leader.into_follower(clock);
        if let Some(record) = follower.record().cloned() {
            replica.sees(record.epoch);
            if record.cause.is_grant() {
                self.granted(session, record.leader);
                let verdict = self.truth.made(self.now(), session, &record);
                self.checks.check(Condition::Entitled, verdict.is_ok(), || format!("{verdict:?}: {record:?}"));
                if self.is_planted(Plant::LeadsOnAfterTheGrant) {
                    // It says one thing more.
                    let epoch = record.lineage.before_newest().unwrap_or(record.epoch);
                    let (from, to) = (replica.log.end(), replica.log.end());
                    let append = Append { epoch, stamp_us: clock, from, to, committed: 0, record: None, mark: None };
                    self.send(slot, session, replica, Party::Member(record.leader), Message::Append(append));
                }
            }
        }
        (replica.is_paused, replica.release, replica.safe) = (false, None, 0);
        replica.suspects.clear();
        replica.players.clear();
        replica.role = Some(Role::Follower(Box::new(follower)));
    }

    /// Somebody asks for a session that is evicted: a machine that does not lead it makes the next record and goes on with
    /// what is in the store.
    pub fn activate(&mut self, session: usize) {
        let Some(before) = self.store.newest(session).filter(|record| record.is_at_rest()).cloned() else { return };
        let free: Vec<usize> = (0..self.machines.len())
            .filter(|slot| {
                let machine = &self.machines[*slot];
                let leads = machine.replica(session).is_some_and(|replica| replica.leader().is_some());
                !machine.is_still(self.now()) && machine.process.is_some() && !leads
            })
            .collect();
        if free.is_empty() || self.store.mood(self.now()) != StoreMood::Well {
            return;
        }
        let twice = self.is_planted(Plant::ActivatesTwice) && free.len() > 1;
        for _ in 0..1 + usize::from(twice) {
            let begins_anew = self.is_planted(Plant::BeginsAnewWhatItCannotRead);
            let Some((version, _)) = self.evicted.get(&(session, before.epoch, before.position)) else { return };
            // Who cannot read it leaves it to another.
            let (version, mut left) = (*version, free.clone());
            while !left.is_empty() {
                let slot = left.swap_remove(self.random.below(left.len() as u64) as usize);
                if begins_anew || self.can_read(slot, version) {
                    self.activate_on(slot, session, &before);
                    break;
                }
                self.say(slot, format_args!("{session}: cannot read its state, which has version {version}"));
            }
        }
    }

    fn activate_on(&mut self, slot: usize, session: usize, before: &Arc<Record>) {
        let Some(me) = self.machines[slot].process.as_ref().map(|process| process.member()) else { return };
        let end = before.position;
        let Some((version, mut log)) = self.evicted.get(&(session, before.epoch, end)).cloned() else { return };
        if !self.can_read(slot, version) {
            log.truncate(0);
            while log.end() < end {
                log.push(Entry { epoch: before.epoch, item: Item::Tick });
            }
        }
        let (epoch, home) = (me.epoch_after(before.epoch.number), self.terms[session].home());
        let record = before.succeeded(me, epoch, Default::default(), end, (Cause::Activated, home));
        let record = Arc::new(record);
        let is_made = self.store.newest(session) == Some(before);
        self.create(session, &record);
        self.checks.check(Condition::Activated, is_made && log.end() == end, || {
            format!("m{slot} activates {session} in {epoch:?} with a log up to {}, not {end}", log.end())
        });
        self.lead_from_store(slot, session, record, log);
    }

    pub fn promoted(&mut self, slot: usize, session: usize, replica: &mut Replica, mut promotion: Promotion) {
        let clock = self.clock(slot);
        let Some(me) = self.machines[slot].process.as_ref().map(|process| process.member()) else { return };
        let record = promotion.record.clone();
        self.say(
            slot,
            format_args!(
                "{session}: leads in {:?} from {} on: {:?}, with {:?}",
                record.epoch, promotion.end, record.cause, record.in_sync
            ),
        );
        if self.is_planted(Plant::ReusesAnEpoch) {
            let mut reused = Record::clone(&record);
            reused.epoch = record.lineage.before_newest().unwrap_or(record.epoch);
            promotion.record = Arc::new(reused);
        }
        if self.is_planted(Plant::ForgetsItsLineage) {
            let mut blank = Record::clone(&record);
            blank.lineage = Default::default();
            blank.lineage.begin(record.epoch, 0);
            promotion.record = Arc::new(blank);
        }
        self.false_promotion(session, me, &promotion);
        // Where nobody says that the one before has ended it was silent alone, as far as this one knows.
        replica.warned.retain(|warned| promotion.has_died || promotion.killers.contains(warned));
        self.begins(slot, session, replica, &promotion.record.clone());
        self.inherits(session, replica, promotion.record.epoch);
        (replica.storing, replica.stored) = ((promotion.committed, 0), promotion.committed);
        (replica.release, replica.safe, replica.is_paused) = (None, 0, false);
        replica.back.clear();
        replica.sending.clear();
        replica.suspects.clear();
        if record.cause != Cause::Promoted {
            // Nobody died.
            replica.warned.clear();
        }
        let mut leader = Leader::promoted(clock, me, self.terms[session].clone(), promotion);
        if let Some(process) = self.machines[slot].process.as_ref() {
            leader.handle_node_log(clock, process.node_log);
        }
        replica.role = Some(Role::Leader(Box::new(leader)));
    }

    fn chain(&mut self, slot: usize, session: usize, request: Request) {
        let delay = self.store_delay();
        let Some(node) = self.machines[slot].process.as_ref().map(|process| process.node) else { return };
        self.scheduler.after(delay, Event::Ask { slot, node, session, request });
    }

    fn probe(&mut self, slot: usize, session: usize, whom: Party) {
        if self.is_planted(Plant::AsksNobody) {
            return;
        }
        let Some(asker) = self.machines[slot].process.as_ref().map(|process| process.node) else { return };
        let (there, target) = match whom {
            Party::Member(member) => (self.slot_of(member), Some(member.node)),
            Party::Home => (self.home_of(session), None),
        };
        if let Some(whom) = target {
            if self.is_planted(Plant::TakesSilenceForDeath) {
                self.scheduler.after(0, Event::Arrive { slot, packet: Packet::Refused { session, asker, whom } });
            }
            self.post(slot, there, Packet::Knock { session, asker: (slot, asker), whom });
        }
        let helpers: Vec<usize> = (0..self.machines.len()).filter(|it| *it != slot && *it != there).collect();
        for _ in 0..2 {
            let helper = helpers[self.random.below(helpers.len() as u64) as usize];
            let path = [slot, helper, there, helper, slot];
            self.post(slot, helper, Packet::Probe { session, asker, whom, target, path, at: 1 });
        }
    }

    fn send(&mut self, slot: usize, session: usize, replica: &mut Replica, to: Party, mut message: Message) {
        if self.machines[slot].is_old && matches!(message, Message::Suspects(_) | Message::Suspected { .. }) {
            return;
        }
        let Some(me) = self.machines[slot].process.as_ref().map(|process| process.member()) else { return };
        self.nothing_older((slot, me), session, replica, to, &message);
        match &message {
            Message::Ack(ack) => replica.acknowledged = Some(ack.epoch),
            Message::Suspected { .. } => replica.warned = replica.warning.take().into_iter().collect(),
            _ => {}
        }
        let Party::Member(to) = to else {
            let home = self.home_of(session);
            if let (Message::Ask(ask), true) = (&message, self.is_planted(Plant::AsksNobody)) {
                return self.answer_oneself(slot, session, Party::Home, ask);
            }
            return self.post(slot, home, Packet::Home { session, from: me, message });
        };
        if let (Message::Ask(ask), true) = (&message, self.is_planted(Plant::AsksNobody)) {
            return self.answer_oneself(slot, session, Party::Member(to), ask);
        }
        let mut entries = Vec::new();
        if let Message::Append(append) = &mut message {
            self.begins_with_checkpoint(slot, session, replica, to, append);
            entries = replica.log.between(append.from, append.to);
            let forgets = self.is_planted(Plant::ForgetsToResend) && append.from != append.to;
            if forgets && self.random.happens(0.02) {
                // The sender believes that it was sent, and will not do so again.
                replica.damage.get_or_insert(u64::MAX);
            }
            if forgets && replica.damage.is_some() {
                return;
            }
        }
        let there = self.slot_of(to);
        self.post(slot, there, Packet::Member { session, from: Party::Member(me), to, message, entries });
    }

    /// What came goes back to whoever sent it.
    fn give_back(&mut self, slot: usize, session: usize, to: Member, message: Message) {
        let Some(me) = self.machines[slot].process.as_ref().map(|process| process.member()) else { return };
        let (there, from) = (self.slot_of(to), Party::Member(me));
        self.post(slot, there, Packet::Member { session, from, to, message, entries: Vec::new() });
    }

    fn answer_oneself(
        &mut self,
        slot: usize,
        session: usize,
        whom: Party,
        ask: &ringside_core::leadership::message::Ask,
    ) {
        use ringside_core::leadership::message::{Answer, Stand};
        let stand = if whom == Party::Home { Stand::Tells } else { Stand::Yes };
        let answer = Answer { asked: ask.epoch, number: 0, record: None, stand, stamp_us: ask.stamp_us };
        let to = ask.candidate;
        let message = Message::Answer(answer);
        self.post(slot, slot, Packet::Member { session, from: whom, to, message, entries: Vec::new() });
    }

    fn nothing_older(
        &mut self,
        (slot, me): (usize, Member),
        session: usize,
        replica: &Replica,
        to: Party,
        message: &Message,
    ) {
        let epoch = match message {
            Message::Append(Append { epoch, .. }) => *epoch,
            // The answer to a leader of a newer epoch names the one that is followed, and acknowledges nothing to it.
            Message::Ack(Ack { epoch, .. }) if !matches!((to, replica.saw), (Party::Member(to), Some(saw)) if to.owns(saw)) => {
                *epoch
            }
            _ => return,
        };
        let Some(saw) = replica.saw else { return };
        // Of an epoch that it is about to begin itself others may have read in the store before that has answered it.
        self.checks.check(Condition::NothingOlder, !newer(saw, epoch) || me.owns(saw), || {
            format!("m{slot} saw {saw:?} of {session} and says {epoch:?}")
        });
    }
}
