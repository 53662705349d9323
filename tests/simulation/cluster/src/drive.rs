//! Between the pure core and the world: what a process's outputs do, and where bugs are planted.

use std::sync::Arc;

use ringside_core::directory::{Ending, Item, Message};
use ringside_core::ids::{Epoch, Node, SessionId, WorkerId};
use ringside_core::leadership::record::{Member, Record};
use ringside_core::limits;
use ringside_core::membership::{Fact, View};
use ringside_core::ring::Weight;
use ringside_core::routing::tickets::era;

use crate::gossip::{FAN_OUT, ROUND};
use crate::packet::Packet;
use crate::plan::PEACE;
use crate::plant::Plant;
use crate::process::{Play, replicas};
use crate::truth::Led;
use crate::world::{Event, Phase, World};

impl World {
    /// A process's round of gossip.
    pub fn gossip(&mut self, slot: usize, node: Node) {
        let (now, slots) = (self.now(), self.machines.len() as u64);
        let mut random = self.random.fork(now);
        self.random.next();
        let Some(process) = self.process(slot, node) else { return };
        let key = process.key();
        process.rumours.forget(now, key);
        let told = process.rumours.round(key);
        for _ in 0..FAN_OUT {
            let to = random.below(slots) as usize;
            if to != slot {
                self.post(slot, to, Packet::Gossip(told.clone()));
            }
        }
        self.scheduler.after(ROUND, Event::Gossip { slot, node });
    }

    /// A process's second: loads and inputs.
    pub fn second(&mut self, slot: usize, node: Node) {
        let now = self.now();
        let Some(process) = self.process(slot, node) else { return };
        let clock = process.clock(now);
        let load = process.plays.values().map(|play| 500 + 700 * play.players.len() as u64).sum();
        let era = era(now - process.started);
        process.membership.handle_load(clock, load, era);
        process.tickets.iter_mut().for_each(|tickets| tickets.handle_era(era));
        process.directory.handle_loads(clock, process.membership.loads());
        for (session, play) in &mut process.plays {
            play.inputs += 3 * play.players.len() as u64;
            process.directory.handle_inputs(session, play.inputs);
        }
        self.remove_silent(slot);
        self.scheduler.after(1_000_000, Event::Second { slot, node });
    }

    /// A packet has come.
    pub fn arrive(&mut self, slot: usize, from: usize, packet: Packet) {
        let now = self.now();
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let clock = process.clock(now);
        match packet {
            Packet::Gossip(rumours) => {
                let key = process.key();
                for rumour in rumours.iter() {
                    if let Some(age) = process.rumours.hear(now, key, rumour) {
                        process.membership.handle_gossip(clock, &rumour.fact, age);
                    }
                }
            }
            Packet::Member(from, message) => process.membership.handle_message(clock, from, message),
            Packet::Directory { from, to, message } if to == process.node => {
                process.directory.handle_message(clock, from, *message);
            }
            Packet::Directory { .. } => {}
            Packet::Visit(visit) => self.visited(slot, from, *visit),
        }
    }

    /// A process's view is another one.
    pub fn view(&mut self, slot: usize, view: &Arc<View>) {
        let now = self.now();
        self.watch_view(slot, view);
        let private = self.is_planted(Plant::PrivateRing) && slot == 0;
        let goes_on = self.is_planted(Plant::WritesOnAsItDid);
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let clock = process.clock(now);
        let before = process.directory.ring();
        if private {
            process.directory.handle_view(clock, &with_other_weight(view));
        } else {
            process.directory.handle_view(clock, view);
        }
        if let Some(version) = view.checkpoint_version(process.node.id) {
            process.writes = if goes_on { version.max(process.writes) } else { version };
        }
        let ring = process.directory.ring();
        if ring != before {
            process.ring = (ring, Some(before), now);
        }
        process.sees.retain(|node, _| view.has(*node));
        for seen in view.nodes() {
            process.sees.entry(seen.node).or_insert(now);
        }
        let nodes: Vec<String> =
            view.nodes().map(|seen| format!("{}+{} {:?}", seen.node.id, seen.stay, seen.state)).collect();
        self.say(slot, format_args!("sees {} ({}): {}", view.digest(), view.ring_digest(), nodes.join(", ")));
        self.watch_owners(slot);
    }

    /// A directory sends to another.
    pub fn send(&mut self, slot: usize, to: Node, mut message: Box<Message>) {
        self.spoil(slot, &mut message);
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let from = process.node;
        // A link goes to where the view says that the node is.
        let Some(seen) = process.membership.view().node(to.id).filter(|seen| seen.node == to) else { return };
        let mut there = usize::from(seen.contact.control.port()) / 10;
        if let Message::Host { birth, .. } = &*message {
            self.truth.ordered.entry(birth.session_at(to)).or_insert(self.scheduler.now());
        }
        let mut addressee = to;
        if self.is_planted(Plant::OrdersElsewhere) && matches!(*message, Message::Host { .. }) {
            let other = self.processes().find(|(other, process)| *other != there && process.node != from);
            if let Some((other, process)) = other {
                (there, addressee) = (other, process.node);
            }
        }
        if self.is_planted(Plant::CondemnsBoth)
            && let Message::Superseded { session, winner } = &*message
        {
            self.condemn(slot, from, session, &winner.session);
        }
        self.post(slot, there, Packet::Directory { from, to: addressee, message });
    }

    /// Tells the session that goes on to give way to the one that does.
    fn condemn(&mut self, slot: usize, from: Node, loser: &SessionId, winner: &SessionId) {
        let name = (winner.game.clone(), winner.key.clone());
        let Some(all) = self.truth.led.get(&name) else { return };
        let Some(((leader, _), led)) = all.iter().find(|((_, session), _)| session == winner) else { return };
        let (leader, there) = (*leader, led.slot);
        let epoch = Epoch { number: u64::MAX, node: from.id.0, node_generation: from.generation };
        let claim = ringside_core::leadership::Claim { session: loser.clone(), epoch, inputs: u64::MAX };
        let message = Box::new(Message::Superseded { session: winner.clone(), winner: claim });
        self.post(slot, there, Packet::Directory { from, to: leader, message });
    }

    /// Planted bugs in what is said.
    fn spoil(&mut self, _slot: usize, message: &mut Message) {
        match (self.plant, message) {
            (Some(Plant::TellsNothing), Message::Told { known, .. }) => known.clear(),
            (Some(Plant::ForgetsToAnnounce), Message::Announce { items, .. }) => {
                items.retain(|item| match item {
                    Item::Led(lead) => lead.session.incarnation.0 % 3 != 0,
                    Item::Ended(_) | Item::Evicted(_) => true,
                });
            }
            (Some(Plant::LosesEnds), Message::Announce { items, .. }) => {
                items.retain(|item| matches!(item, Item::Led(_)));
            }
            (Some(Plant::RewritesDecisions), Message::Host { decision, .. }) => {
                if let Some(step) = decision.steps.last_mut() {
                    step.load_us += 1_000_000_000;
                }
            }
            (Some(Plant::HidesSuccessors), Message::Announce { items, .. }) => {
                items.retain(|item| !matches!(item, Item::Led(lead) if lead.epoch.number > 1));
            }
            _ => {}
        }
    }

    /// A directory has its worker create a session.
    pub fn create(&mut self, slot: usize, session: SessionId, worker: WorkerId, epoch: Epoch) {
        let now = self.now();
        self.watch_create(slot, &session, epoch);
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let node = process.node;
        let name = (session.game.clone(), session.key.clone());
        let home = self.truth.home(process.directory.ring(), &name).unwrap_or(node);
        self.say(slot, format_args!("begins {session} on {worker} for {home}"));
        let led = Led { slot, worker, epoch, since: now, home, is_live: false, empty_since: now };
        self.truth.ever.insert(session.clone());
        self.truth.led.entry(name).or_default().insert((node, session.clone()), led);
        let fails = self.phase == Phase::Trouble && self.random.happens(0.02);
        let delay = match self.random.below(100) {
            0 if now < PEACE / 2 => limits::CREATION_DEADLINE_US + 1_000_000,
            _ => 1_000 + self.random.below(80_000),
        };
        let result = if fails { Err("it traps".to_owned()) } else { Ok(()) };
        if self.is_planted(Plant::BeginsTwice) && self.random.happens(0.05) {
            self.watch_create(slot, &session, epoch);
        }
        self.scheduler.after(delay, Event::Created { slot, node, session, worker, result });
    }

    /// A worker has created a session, or has not.
    pub fn created(
        &mut self,
        slot: usize,
        node: Node,
        session: &SessionId,
        worker: WorkerId,
        result: Result<(), String>,
    ) {
        let now = self.now();
        let name = (session.game.clone(), session.key.clone());
        let fate = self.random.below(100);
        let life = match fate {
            0..10 => self.random.below(5_000),
            10..25 => 300_000_000,
            _ => 1_000_000 + self.random.below(30_000_000),
        };
        let is_ok = result.is_ok();
        let Some(process) = self.process(slot, node) else { return };
        let clock = process.clock(now);
        process.directory.handle_created(clock, session, worker, result);
        let is_wanted = process.directory.get(&name.0, &name.1).is_some_and(|entry| entry.id == session);
        if is_ok && is_wanted {
            let first = || Record::first(session.clone(), Member { node, worker });
            let record = (replicas(&session.game).followers > 0).then(first);
            process.plays.insert(session.clone(), Play { record, ..Play::default() });
            if let Some(led) = self.truth.get_mut(&name, node, session) {
                (led.is_live, led.empty_since) = (true, now);
            }
            self.scheduler.after(life, Event::Over { slot, node, session: session.clone() });
        } else {
            self.truth.ended(&name, node, session);
        }
    }

    /// The directory has a session ended.
    pub fn end_for(&mut self, slot: usize, session: SessionId, _worker: WorkerId, why: &Ending) {
        let Some(node) = self.machines[slot].process.as_ref().map(|process| process.node) else { return };
        self.watch_end(slot, node, &session, why);
        self.say(slot, format_args!("is to end {session}: {why}"));
        let reason = match why {
            Ending::Superseded(_) if self.is_planted(Plant::IgnoresVerdicts) => return,
            Ending::Superseded(_) => "superseded",
            Ending::Empty => "empty",
            Ending::TooLate => "too late",
        };
        let delay = 500 + self.random.below(5_000);
        self.scheduler.after(delay, Event::Ended { slot, node, session, reason });
    }

    /// A session is over.
    pub fn end(&mut self, slot: usize, node: Node, session: &SessionId, reason: &'static str) {
        let now = self.now();
        let name = (session.game.clone(), session.key.clone());
        let bystander = self.is_planted(Plant::EndsBystanders) && self.random.happens(0.02);
        let Some(process) = self.process(slot, node) else { return };
        let clock = process.clock(now);
        process.plays.remove(session);
        process.directory.handle_ended(clock, session, reason.to_owned());
        let other = process.plays.keys().next().cloned();
        self.truth.ended(&name, node, session);
        self.say(slot, format_args!("{session} ended: {reason}"));
        if let Some(other) = other.filter(|_| bystander) {
            self.watch_end(slot, node, &other, &Ending::TooLate);
            self.end(slot, node, &other, "its neighbour ended");
        }
    }

    /// A player leaves a session.
    pub fn left(&mut self, slot: usize, node: Node, session: &SessionId, player: u64) {
        let now = self.now();
        let name = (session.game.clone(), session.key.clone());
        let Some(process) = self.process(slot, node) else { return };
        let clock = process.clock(now);
        let Some(play) = process.plays.get_mut(session) else { return };
        play.players.remove(&player);
        let is_empty = play.players.is_empty();
        if let Some(id) = crate::callers::player_id(player) {
            process.directory.handle_left(clock, session, &id);
        }
        if is_empty && let Some(led) = self.truth.get_mut(&name, node, session) {
            led.empty_since = now;
        }
    }
}

/// The same view but for a weight.
fn with_other_weight(view: &View) -> View {
    let facts: Vec<Fact> = view
        .nodes()
        .map(|seen| Fact {
            node: seen.node,
            version: 0,
            stay: seen.stay,
            state: seen.state,
            weight: if seen.node.id.0 == 1 { Weight::percent(777).unwrap_or_default() } else { seen.weight },
            zone: seen.zone.clone(),
            contact: seen.contact.clone(),
            load_us: 0,
            era: 0,
            presumed_gone: Vec::new(),
            reads: seen.reads,
        })
        .collect();
    View::new(facts.iter().map(|fact| (fact, fact.state)))
}
