//! The world of a run: machines, the order in which things happen, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringside_core::ids::{Epoch, Node, NodeId, Position};
use ringside_core::leadership::Leader;
use ringside_core::leadership::chain::Request;
use ringside_core::leadership::leader::{ChainReply, NodeLog};
use ringside_core::leadership::message::Message;
use ringside_core::leadership::record::{Member, Record, Terms};
use ringside_simulation_kit::checks::Checks;
use ringside_simulation_kit::random::Random;
use ringside_simulation_kit::scheduler::{Micros, Scheduler};
use ringside_simulation_kit::trace::Trace;

use super::Outcome;
use super::away::Away;
use super::conditions::Condition;
use super::gaps::Gap;
use super::log::{Log, PLAYERS};
use super::machine::{Machine, Process, Replica, Role};
use super::network::Network;
use super::packet::Packet;
use super::plan::{Deed, Mode, Plan, StoreMood};
use super::plant::Plant;
use super::players::Player;
use super::seals::{Seal, TakeOver};
use super::store::Store;
use super::truth::Truth;

/// Time between two turns of a worker.
pub const TURN: Micros = 10_000;
/// Time within which a session is led and served again after a fault is over, in a bounded run: a failover, and a new
/// follower that catches up.
const RECOVERY: Micros = 3_500_000;
/// Who stands still for so long leads nothing any more.
const LONG_STALL: Micros = 1_000_000;
/// Events of one session in between two looks, at the worst of times.
const EVENTS: u64 = 20_000;

/// What happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A worker's turn.
    Turn { slot: usize, node: Node },
    /// A packet arrives at a machine.
    Arrive { slot: usize, packet: Packet },
    /// A packet arrives at a player.
    Told { session: usize, player: usize, said: super::packet::Said },
    /// A request reaches the store.
    Ask { slot: usize, node: Node, session: usize, request: Request },
    /// The store's answer arrives.
    Chain { slot: usize, node: Node, session: usize, reply: ChainReply },
    /// Entries reach the store.
    Put { slot: usize, node: Node, session: usize, epoch: Epoch, hashes: Vec<(Position, u64)> },
    /// They are there.
    Stored { slot: usize, node: Node, session: usize, epoch: Epoch, position: Position },
    /// A run finds out that its log was sealed, or has begun another.
    NodeLog { slot: usize, node: Node, is: NodeLog },
    /// Somebody takes a session over from a run whose log is sealed.
    TakeOver(TakeOver),
    /// A player does something.
    Player { session: usize, player: usize },
    /// A run begins on a machine.
    Start { slot: usize },
    /// A machine tells others whom it has heard of.
    Gossip { slot: usize, node: Node },
    /// A process that stood still goes on.
    Resume { slot: usize, node: Node },
    /// A machine that was away is back.
    Back,
    /// Something goes wrong.
    Deed(usize),
    /// Somebody asks for a session.
    Activate { session: usize },
    /// Somebody looks whether everything goes on.
    Look,
}

/// A run.
pub struct World {
    pub scheduler: Scheduler<Event>,
    pub random: Random,
    /// What gossip draws.
    pub gossip: Random,
    pub network: Network,
    pub machines: Vec<Machine>,
    pub plan: Plan,
    pub plant: Option<Plant>,
    pub truth: Truth,
    pub store: Store,
    /// What the store has of sessions that were evicted: of which epoch, after which entry; in which version it is written.
    pub evicted: BTreeMap<(usize, Epoch, Position), (u16, Log)>,
    /// Logs that were sealed.
    pub seals: BTreeMap<Node, Seal>,
    pub terms: Vec<Terms>,
    pub players: Vec<Vec<Player>>,
    /// Messages that end processes: of which session, whose, which; and how many they have ended.
    pub poison: BTreeMap<(usize, usize, u64), u64>,
    pub checks: Checks<Condition>,
    pub trace: Trace,
    /// Sessions that nobody leads though somebody could.
    pub gaps: Vec<Option<Gap>>,
    /// Until when the last fault lasts.
    pub troubled_until: Micros,
    /// The machine that is or was away.
    pub away: Option<Away>,
    /// Which sessions are over.
    pub over: Vec<bool>,
    /// Whose turn goes by the clock of before a stall.
    pub stale_clock: Option<(usize, Micros)>,
    events: u64,
    /// How many there had been at the last look.
    looked_at: u64,
}

impl World {
    /// The run of a seed.
    pub fn new(seed: u64, mode: Mode, plant: Option<Plant>, lines: usize) -> World {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random, mode);
        let machines = (0..plan.machines)
            .map(|slot| Machine {
                id: NodeId(slot as u64 + 1),
                generation: 0,
                process: None,
                clock: plan.clocks[slot].0,
                rate: plan.clocks[slot].1,
                stall: (0, 0),
                jumped_at: None,
                backlog: Default::default(),
                is_old: plan.old & 1 << slot != 0,
            })
            .collect();
        let count = plan.sessions.len();
        let terms = plan.sessions.iter().enumerate().filter_map(|(number, kind)| {
            let session = format!("arena/match-{number}@{:016x}", number + 1).parse().ok()?;
            Some(Terms { session, tier: kind.tier, policy: kind.policy, followers: kind.followers, is_recorded: false })
        });
        let mut world = World {
            network: Network::new(random.fork(1)),
            gossip: random.fork(2),
            machines,
            truth: Truth::new(count),
            store: Store::new(count),
            evicted: BTreeMap::new(),
            seals: BTreeMap::new(),
            terms: terms.collect(),
            players: (0..count).map(|at| (0..PLAYERS).map(|player| Player::new(at + player)).collect()).collect(),
            poison: BTreeMap::new(),
            checks: Checks::of(Condition::ALL),
            trace: Trace::keeping(lines),
            scheduler: Scheduler::default(),
            gaps: vec![None; count],
            troubled_until: 0,
            away: None,
            over: vec![false; count],
            stale_clock: None,
            events: 0,
            looked_at: 0,
            random,
            plan,
            plant,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for slot in 0..self.machines.len() {
            self.start(slot);
        }
        let is_later = |session| self.plan.deeds.iter().any(|(_, deed)| *deed == Deed::Begin { session });
        let first: Vec<usize> = (0..self.terms.len()).filter(|session| !is_later(*session)).collect();
        for session in first {
            self.begin_session(session, session % self.machines.len());
        }
        for number in 0..self.plan.deeds.len() {
            self.scheduler.at(self.plan.deeds[number].0, Event::Deed(number));
        }
        self.scheduler.at(2_000_000, Event::Look);
    }

    /// A machine begins to lead a session that is new.
    pub fn begin_session(&mut self, session: usize, slot: usize) {
        let (now, clock) = (self.now(), self.clock(slot));
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let leader = Leader::create(clock, process.member(), self.terms[session].clone());
        let (record, member) = (leader.record().clone(), process.member());
        let mut replica = Replica::new(Role::Leader(Box::new(leader)));
        replica.sees(record.epoch);
        process.replicas[session] = Some(replica);
        self.store.create(session, &record);
        // The first of a chain follows nothing.
        let _ = self.truth.made(now, session, &record);
        self.truth.leads(session, record.epoch, member);
        for player in 0..PLAYERS {
            let after = 100_000 + self.random.below(100_000);
            self.scheduler.after(after, Event::Player { session, player });
        }
    }

    /// Runs to the end, or to the first condition that does not hold.
    pub fn run(mut self) -> Outcome {
        while self.checks.violation().is_none()
            && let Some(event) = self.scheduler.pop_before(self.plan.end)
        {
            self.events += 1;
            self.handle(event);
            let (bound, since) = (EVENTS * self.terms.len() as u64, self.events - self.looked_at);
            if since > bound {
                self.checks.check(Condition::Subsides, false, || format!("{since} events since the last look"));
            }
        }
        if self.checks.violation().is_none() {
            self.no_gap_is_open();
            self.settle_histories();
        }
        Outcome { checks: self.checks, trace: self.trace, ended: self.scheduler.now(), events: self.events }
    }

    /// The time.
    pub fn now(&self) -> Micros {
        self.scheduler.now()
    }

    /// What a machine's clock says.
    pub fn clock(&self, slot: usize) -> u64 {
        let at = self.stale_clock.filter(|(of, _)| *of == slot).map_or(self.now(), |(_, at)| at);
        self.machines[slot].clock(at)
    }

    /// Whether a bug is planted.
    pub fn is_planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Adds a line to the trace.
    pub fn say(&mut self, slot: usize, what: std::fmt::Arguments<'_>) {
        const NAMES: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];
        self.trace.say(self.scheduler.now(), NAMES.get(slot).unwrap_or(&"m"), what);
    }

    /// Which machine a member is on.
    pub fn slot_of(&self, member: Member) -> usize {
        member.node.id.0 as usize - 1
    }

    /// Whose home a session has.
    pub fn home_of(&self, session: usize) -> usize {
        (session + 2) % self.machines.len()
    }

    /// How many processes have ended that records of a session name as its leader, be it before or after their end.
    pub fn ended_leaders(&self, session: usize) -> usize {
        let leaders: BTreeSet<Member> = self.truth.records[session].iter().map(|record| record.leader).collect();
        leaders.into_iter().filter(|leader| !self.machines[self.slot_of(*leader)].runs(*leader)).count()
    }

    fn runs(&self, slot: usize, node: Node) -> bool {
        self.machines[slot].process.as_ref().is_some_and(|process| process.node == node)
    }

    fn handle(&mut self, event: Event) {
        let slot = match &event {
            Event::Turn { slot, .. }
            | Event::Arrive { slot, .. }
            | Event::Chain { slot, .. }
            | Event::Stored { slot, .. }
            | Event::NodeLog { slot, .. } => Some(*slot),
            _ => None,
        };
        if let Some(slot) = slot
            && self.machines[slot].is_still(self.now())
        {
            if !matches!(event, Event::Turn { .. }) {
                self.machines[slot].backlog.push_back(event);
            }
            return;
        }
        match event {
            Event::Turn { slot, node } if self.runs(slot, node) => {
                self.lapse(slot);
                self.turn(slot);
                self.scheduler.after(TURN, Event::Turn { slot, node });
            }
            Event::Arrive { slot, packet } => self.arrive(slot, packet),
            Event::Told { session, player, said } => self.told(session, player, said),
            Event::Ask { slot, node, session, request } => self.ask_store(slot, node, session, request),
            Event::Chain { slot, node, session, reply } if self.runs(slot, node) => {
                self.act(slot, session, super::outputs::Act::Chain(reply));
            }
            Event::Put { slot, node, session, epoch, hashes } => self.put(slot, node, session, epoch, &hashes),
            Event::Stored { slot, node, session, epoch, position } if self.runs(slot, node) => {
                self.act(slot, session, super::outputs::Act::Stored(epoch, position));
            }
            Event::NodeLog { slot, node, is } if self.runs(slot, node) => self.node_log_is(slot, is),
            Event::TakeOver(take_over) => self.take_over(take_over),
            Event::Player { session, player } => self.player_acts(session, player),
            Event::Start { slot } => self.start(slot),
            Event::Gossip { slot, node } if self.runs(slot, node) => self.gossip(slot, node),
            Event::Resume { slot, node } if self.runs(slot, node) => self.resume(slot, node),
            Event::Deed(number) => {
                let deed = self.plan.deeds[number].1.clone();
                match self.is_premature(&deed) {
                    true => self.scheduler.after(100_000, Event::Deed(number)),
                    false => self.commit(deed),
                }
            }
            Event::Activate { session } => self.activate(session),
            Event::Back => self.back(),
            Event::Look => {
                self.look();
                self.scheduler.after(500_000, Event::Look);
            }
            _ => {}
        }
    }

    fn start(&mut self, slot: usize) {
        let (now, sessions, machines) = (self.now(), self.terms.len(), self.machines.len());
        let machine = &mut self.machines[slot];
        if machine.process.is_some() {
            return;
        }
        machine.generation += 1;
        let node = Node { id: machine.id, generation: machine.generation };
        machine.process = Some(Process::new(now, node, sessions, machines));
        let after = self.random.below(TURN);
        self.scheduler.after(after, Event::Turn { slot, node });
        self.scheduler.after(after, Event::Gossip { slot, node });
        self.say(slot, format_args!("begins as {node}"));
    }

    fn resume(&mut self, slot: usize, node: Node) {
        let (now, (from, _)) = (self.now(), self.machines[slot].stall);
        if self.machines[slot].is_still(now) {
            return;
        }
        self.wake(slot);
        self.say(slot, format_args!("goes on"));
        self.trusts_no_silence(slot);
        self.stale_clock = self.is_planted(Plant::TrustsAStalledClock).then_some((slot, from));
        if self.stale_clock.is_none() {
            self.turn(slot);
        }
        for event in std::mem::take(&mut self.machines[slot].backlog) {
            self.handle(event);
        }
        self.stale_clock = None;
        self.scheduler.after(TURN, Event::Turn { slot, node });
    }

    /// Whoever leads a session, in the newest epoch in which anybody does.
    pub fn leader_of(&self, session: usize) -> Option<usize> {
        let leaders = self.machines.iter().enumerate().filter_map(|(slot, machine)| {
            let leader = machine.replica(session)?.leader()?;
            (!leader.is_over()).then_some((leader.epoch(), slot))
        });
        leaders.max().map(|(_, slot)| slot)
    }

    /// Whoever leads a session, and the first that follows it: whoever it is moved to.
    fn pair_of(&self, session: usize) -> Option<(usize, usize)> {
        let slot = self.leader_of(session)?;
        let leader = self.machines[slot].replica(session)?.leader()?;
        Some((slot, self.slot_of(*leader.record().in_sync.first()?)))
    }

    fn commit(&mut self, deed: Deed) {
        let now = self.now();
        let until = match deed {
            Deed::Stall { length, .. }
            | Deed::StallLeader { length, .. }
            | Deed::StallFollower { length, .. }
            | Deed::Cut { length, .. }
            | Deed::CutLink { length, .. }
            | Deed::Storm { length, .. }
            | Deed::Store { length, .. } => now + length,
            _ => now,
        };
        self.troubled_until = self.troubled_until.max(until);
        match deed {
            Deed::Crash { slot, down } if !self.is_away(slot) => self.crash(slot, down),
            Deed::Crash { .. } => {}
            Deed::Replace { slot, down } => self.replace(slot, down),
            Deed::CrashLeader { session, down } => {
                if let Some(slot) = self.leader_of(session) {
                    self.crash(slot, down);
                }
            }
            Deed::Stall { slot, length } => self.stall(slot, length),
            Deed::StallLeader { session, length } => {
                if let Some(slot) = self.leader_of(session) {
                    self.stall(slot, length);
                }
            }
            Deed::Cut { side, is_one_way, length } => {
                self.say(usize::MAX, format_args!("cut {side:b} {} ms, one way {is_one_way}", length / 1000));
                self.network.cut(now, side, is_one_way, length);
            }
            Deed::CrashFollower { session, down } => {
                if let Some((_, slot)) = self.pair_of(session) {
                    self.crash(slot, down);
                }
            }
            Deed::StallFollower { session, length } => {
                if let Some((_, slot)) = self.pair_of(session) {
                    self.stall(slot, length);
                }
            }
            Deed::CutLink { session, length } => {
                if let Some((slot, other)) = self.pair_of(session) {
                    self.say(slot, format_args!("does not reach m{other} for {} ms", length / 1000));
                    self.network.cut_link(now + length, slot, other);
                }
            }
            Deed::Storm { weather, length } => {
                self.say(usize::MAX, format_args!("storm {weather:?} {} ms", length / 1000));
                self.network.storm(now, weather, length);
            }
            Deed::Jump { slot, by } => {
                self.say(slot, format_args!("clock jumps by {} ms", by / 1000));
                self.machines[slot].clock += by;
                self.machines[slot].jumped_at = Some(now);
            }
            Deed::Store { mood, length } => {
                self.say(usize::MAX, format_args!("the store is {mood:?} for {} ms", length / 1000));
                self.store.be(mood, now + length);
            }
            Deed::Move { session } => {
                if let Some(slot) = self.leader_of(session) {
                    self.act(slot, session, super::outputs::Act::Move);
                }
            }
            Deed::Evict { session, after } => {
                self.troubled_until = self.troubled_until.max(now + after);
                if let Some(slot) = self.leader_of(session) {
                    self.act(slot, session, super::outputs::Act::Evict);
                    self.scheduler.after(after, Event::Activate { session });
                }
            }
            Deed::Damage { session } => self.damage(session),
            Deed::Away { session, follows, absence, length } => self.go_away(session, follows, absence, length),
            Deed::Seal { session, follows, reopens_after } => self.seal(session, follows, reopens_after),
            Deed::End { session } => self.end_session(session),
            Deed::Begin { session } => self.begin_again(session),
            Deed::Poison { session } => {
                let player = self.random.below(PLAYERS as u64) as usize;
                let number = self.players[session][player].next_number();
                self.troubled_until = self.troubled_until.max(now + 3_000_000);
                self.say(usize::MAX, format_args!("{session}: message {number} of player {player} is poison"));
                self.poison.insert((session, player, number), 0);
            }
        }
    }

    fn damage(&mut self, session: usize) {
        let follows = |machine: &Machine| machine.replica(session).is_some_and(|it| it.follower().is_some());
        let Some(slot) = (0..self.machines.len()).find(|slot| follows(&self.machines[*slot])) else { return };
        self.say(slot, format_args!("{session}: memory is damaged"));
        if let Some(replica) = self.machines[slot].process.as_mut().and_then(|it| it.replicas[session].as_mut()) {
            replica.damage.get_or_insert(replica.log.end() + 1);
        }
    }

    pub fn crash(&mut self, slot: usize, down: Micros) {
        self.leads_are_lost_at(slot);
        if self.machines[slot].process.take().is_some() {
            self.machines[slot].backlog.clear();
            self.machines[slot].stall = (0, 0);
            self.say(slot, format_args!("crashes"));
            self.scheduler.after(down + 1, Event::Start { slot });
        }
    }

    pub fn stall(&mut self, slot: usize, length: Micros) {
        let now = self.now();
        let Some(node) = self.machines[slot].process.as_ref().map(|process| process.node) else { return };
        if length >= LONG_STALL {
            self.leads_are_lost_at(slot);
        }
        let (from, to) = self.machines[slot].stall;
        self.machines[slot].stall = if now < to { (from, to.max(now + length)) } else { (now, now + length) };
        let until = self.machines[slot].stall.1;
        self.say(slot, format_args!("stands still for {} ms", length / 1000));
        self.scheduler.at(until, Event::Resume { slot, node });
    }

    /// A request reaches the store.
    fn ask_store(&mut self, slot: usize, node: Node, session: usize, request: Request) {
        let now = self.now();
        let mood = self.store.mood(now);
        let fails = matches!(mood, StoreMood::Failing) && self.random.happens(0.5);
        let lies = matches!(mood, StoreMood::Lying) && self.random.happens(0.5);
        if mood == StoreMood::Away || self.is_cut_off(slot) {
            return;
        }
        let reply = match request {
            Request::Create(record) => {
                if !(fails && self.random.happens(0.5) || lies) {
                    self.create(session, &record);
                }
                if self.is_planted(Plant::BelievesTheStore) {
                    let reply = ChainReply::Newest(Some(record.clone()));
                    self.scheduler.after(6_000, Event::Chain { slot, node, session, reply });
                }
                ChainReply::Created
            }
            Request::Newest if fails => return,
            Request::Newest => ChainReply::Newest(self.store.newest(session).cloned()),
        };
        if fails && self.random.happens(0.5) {
            return;
        }
        let after = self.store_delay();
        self.scheduler.after(after, Event::Chain { slot, node, session, reply });
    }

    pub fn create(&mut self, session: usize, record: &Arc<Record>) {
        let now = self.now();
        let overwrites = self.is_planted(Plant::MakesANumberTwice);
        // A number that was cleaned away can be made once more, by somebody who will see that it is not the newest.
        let is_late = self.store.newest(session).is_some_and(|newest| newest.number > record.number);
        if (self.store.create(session, record) || overwrites) && !is_late {
            if overwrites {
                self.store.overwrite(session, record);
            }
            self.say(
                usize::MAX,
                format_args!(
                    "{session}: record {} in {:?}: {:?} {:?}",
                    record.number, record.epoch, record.cause, record.in_sync
                ),
            );
            let verdict = self.truth.made(now, session, record);
            let is_once = self.truth.stored(session, record);
            self.checks.check(Condition::Entitled, verdict.is_ok() && is_once, || format!("{verdict:?}: {record:?}"));
        }
        if self.random.happens(0.1) {
            self.store.clean(session);
        }
    }

    /// How long the way to the store takes now.
    pub fn store_delay(&mut self) -> Micros {
        match self.store.mood(self.now()) {
            StoreMood::Slow => 100_000 + self.random.below(700_000),
            _ => 1_000 + self.random.below(15_000),
        }
    }

    fn put(&mut self, slot: usize, node: Node, session: usize, epoch: Epoch, hashes: &[(Position, u64)]) {
        let mood = self.store.mood(self.now());
        let fails = match mood {
            StoreMood::Away => true,
            StoreMood::Failing | StoreMood::Lying => self.random.happens(0.5),
            StoreMood::Well | StoreMood::Slow => false,
        };
        let Some((position, _)) = hashes.last().copied() else { return };
        if !fails && !self.is_cut_off(slot) && self.takes(slot, node, session, epoch) {
            hashes.iter().for_each(|(position, hash)| self.store.keep(session, *position, *hash));
            let after = self.store_delay();
            self.scheduler.after(after, Event::Stored { slot, node, session, epoch, position });
        }
    }

    /// Sends a packet between machines.
    pub fn post(&mut self, from: usize, to: usize, packet: Packet) {
        let now = self.now();
        let [first, second] = self.network.carry(now, from, to);
        for delay in [second, first].into_iter().flatten() {
            self.scheduler.after(delay, Event::Arrive { slot: to, packet: packet.clone() });
        }
    }

    /// Whether everything goes on.
    fn look(&mut self) {
        let now = self.now();
        self.looked_at = self.events;
        self.checks.check(Condition::Subsides, true, String::new);
        // Whoever asked and was not answered asks again.
        for session in 0..self.terms.len() {
            if !self.is_nobody_asking() {
                self.activate(session);
            }
        }
        self.stale_leads_nothing();
        if now >= self.plan.peace && self.network.beyond_bounds_until > now {
            self.network.calm(now);
        }
        let is_due = match self.plan.mode {
            Mode::Bounded => now > self.troubled_until + RECOVERY,
            Mode::Unbounded | Mode::Away => now > self.plan.peace + 2 * RECOVERY,
        };
        if !is_due {
            return;
        }
        self.all_can_read();
        for session in 0..self.terms.len() {
            if self.over[session] || self.plan.mode != Mode::Bounded && self.is_lost(session) {
                continue;
            }
            let served = self.served(session);
            self.checks.check(Condition::LedAgain, served.is_ok(), || format!("{session}: {served:?}"));
        }
    }

    /// Whether nobody is left who may lead.
    pub fn is_lost(&self, session: usize) -> bool {
        let counts = |member: Member| {
            let machine = &self.machines[self.slot_of(member)];
            let may = |replica: &Replica| {
                !replica.has_diverged
                    && (replica.leader().is_some() || replica.follower().is_some_and(|it| it.counts()))
            };
            machine.runs(member) && machine.replica(session).is_some_and(may)
        };
        !self.truth.records[session].last().is_some_and(|record| record.members().any(counts))
    }

    fn served(&self, session: usize) -> Result<(), String> {
        let Some(slot) = self.leader_of(session) else { return Err("nobody leads".into()) };
        let Some(leader) = self.machines[slot].replica(session).and_then(Replica::leader) else { return Ok(()) };
        if leader.record().in_sync.len() < self.terms[session].followers {
            return Err(format!("m{slot} has {:?} in sync", leader.record().in_sync));
        }
        match self.players[session].iter().position(|player| player.waits(self.now()) > RECOVERY / 2) {
            Some(player) => Err(format!("m{slot} does not answer player {player}")),
            None => Ok(()),
        }
    }

    /// Somebody's home is told or asked.
    pub fn at_home(&mut self, slot: usize, session: usize, from: Member, message: Message) {
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let copy = &mut process.copies[session];
        let answer = match message {
            Message::Lead { record, .. } => {
                let record = Box::new(Record::clone(&copy.told(&Arc::new(*record))));
                Message::Lead { record, end: None }
            }
            Message::Ask(ask) => Message::Answer(copy.answer(&ask)),
            _ => return,
        };
        let to = self.slot_of(from);
        let (party, message) = (ringside_core::leadership::message::Party::Home, answer);
        let packet = Packet::Member { session, from: party, to: from, message, entries: Vec::new() };
        self.post(slot, to, packet);
    }
}
