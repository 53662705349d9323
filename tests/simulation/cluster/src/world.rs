//! The world of a run: machines, processes, the network, faults, and the order in which things happen.

use ringside_core::directory::Action;
use ringside_core::ids::{GameName, Node, NodeId, SessionId, WorkerId};
use ringside_core::leadership::record::Record;
use ringside_core::membership::{Output, Sender};
use ringside_simulation_kit::checks::Checks;
use ringside_simulation_kit::random::Random;
use ringside_simulation_kit::scheduler::{Micros, Scheduler};
use ringside_simulation_kit::trace::Trace;

use crate::Outcome;
use crate::conditions::Condition;
use crate::gossip::ROUND;
use crate::network::Network;
use crate::packet::Packet;
use crate::plan::{Deed, END, PEACE, Plan};
use crate::plant::Plant;
use crate::process::Process;
use crate::truth::Truth;

/// What happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A process asked to be woken.
    Wake { slot: usize, node: Node, at: Micros },
    /// A process tells others what it has heard.
    Gossip { slot: usize, node: Node },
    /// A process reads its loads.
    Second { slot: usize, node: Node },
    /// A packet arrives.
    Arrive { slot: usize, from: usize, packet: Packet },
    /// A worker has created a session, or not.
    Created { slot: usize, node: Node, session: SessionId, worker: WorkerId, result: Result<(), String> },
    /// A worker ended a session because the directory said so.
    Ended { slot: usize, node: Node, session: SessionId, reason: &'static str },
    /// A match is over.
    Over { slot: usize, node: Node, session: SessionId },
    /// A player leaves.
    Left { slot: usize, node: Node, session: SessionId, player: u64 },
    /// Somebody wants something.
    Request,
    /// A follower comes to lead what it followed.
    Promote { slot: usize, node: Node, session: SessionId, record: Box<Record> },
    /// A process that stood still goes on.
    Resume { slot: usize, node: Node },
    /// A run begins on a machine.
    Start { slot: usize },
    /// A process that drains has done so.
    Leave { slot: usize, node: Node, step: u8, down: Micros },
    /// Something goes wrong.
    Deed(usize),
    /// Somebody looks whether everything is as it should be.
    Look,
}

/// How far the run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Things go wrong, and then they do not any more.
    Trouble,
    /// Everybody agrees, and no match ends any more; that one did arrives, and whoever asked is answered.
    Quiet,
    /// Everybody is asked.
    Serving,
    /// Everybody was served; what is on its way arrives.
    Resting,
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// How far its clock is from the right time, ms.
    pub clock_ms: i64,
    /// The last generation of its node.
    pub generation: u64,
    /// The number of its node.
    pub id: NodeId,
    /// Weight of its node.
    pub weight: u16,
    /// Its clock since boot against virtual time.
    pub offset: Micros,
    /// What runs on it.
    pub process: Option<Process>,
}

/// A run.
pub struct World {
    pub scheduler: Scheduler<Event>,
    pub random: Random,
    pub network: Network,
    pub machines: Vec<Machine>,
    pub plan: Plan,
    pub plant: Option<Plant>,
    pub truth: Truth,
    pub checks: Checks<Condition>,
    pub trace: Trace,
    pub games: Vec<(GameName, u32, bool)>,
    pub phase: Phase,
    pub agreed_since: Option<Micros>,
    pub players: u64,
    pub served: Vec<(ringside_core::directory::Name, Option<SessionId>)>,
    pub phase_began: Micros,
    pub is_done: bool,
    pub counts: u64,
    pub starting: usize,
}

impl World {
    /// The run of a seed.
    pub fn new(seed: u64, plant: Option<Plant>, lines: usize) -> World {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        let plan_nodes = plan.nodes;
        let game = |name: &str| name.parse::<GameName>().ok();
        let games = [("arena", 4, true), ("duel", 2, false)];
        let games = games.iter().filter_map(|(name, seats, late)| Some((game(name)?, *seats, *late))).collect();
        let machines = (0..plan.slots)
            .map(|slot| Machine {
                clock_ms: plan.clocks[slot],
                generation: 0,
                id: NodeId(slot as u64 + 1),
                weight: plan.weights[slot],
                offset: random.below(3_600_000_000),
                process: None,
            })
            .collect();
        let mut scheduler = Scheduler::default();
        (0..plan.nodes).for_each(|slot| scheduler.at(random.below(500_000), Event::Start { slot }));
        plan.deeds.iter().enumerate().for_each(|(number, (at, _))| scheduler.at(*at, Event::Deed(number)));
        scheduler.at(1_000_000, Event::Request);
        scheduler.at(PEACE, Event::Look);
        World {
            network: Network::new(random.fork(1)),
            scheduler,
            random,
            machines,
            plan,
            plant,
            truth: Truth::default(),
            checks: Checks::of(Condition::ALL),
            trace: Trace::keeping(lines),
            games,
            phase: Phase::Trouble,
            agreed_since: None,
            players: 0,
            served: Vec::new(),
            phase_began: 0,
            is_done: false,
            counts: 0,
            starting: plan_nodes,
        }
    }

    /// Runs to the end, or to the first condition that does not hold.
    pub fn run(mut self) -> Outcome {
        while !self.is_done
            && self.checks.violation().is_none()
            && let Some(event) = self.scheduler.pop_before(END)
        {
            self.counts += 1;
            self.handle(event);
        }
        if !self.is_done && self.checks.violation().is_none() {
            let seen = self.disagreement();
            self.checks.check(Condition::ViewsAgree, false, || seen);
        }
        Outcome { checks: self.checks, trace: self.trace, ended: self.scheduler.now(), events: self.counts }
    }

    /// The time.
    pub fn now(&self) -> Micros {
        self.scheduler.now()
    }

    /// Whether a bug is planted.
    pub fn is_planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// A run of a node, if it is there.
    pub fn process(&mut self, slot: usize, node: Node) -> Option<&mut Process> {
        self.machines.get_mut(slot)?.process.as_mut().filter(|process| process.node == node)
    }

    /// The runs that are there.
    pub fn processes(&self) -> impl Iterator<Item = (usize, &Process)> {
        self.machines.iter().enumerate().filter_map(|(slot, machine)| Some((slot, machine.process.as_ref()?)))
    }

    /// Adds a line to the trace.
    pub fn say(&mut self, slot: usize, what: std::fmt::Arguments<'_>) {
        const NAMES: [&str; 12] = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11"];
        self.trace.say(self.scheduler.now(), NAMES.get(slot).unwrap_or(&"m"), what);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deed(number) => {
                let (_, deed) = self.plan.deeds[number].clone();
                self.commit(deed);
            }
            Event::Look => {
                self.look();
                self.scheduler.after(250_000, Event::Look);
            }
            Event::Request => {
                if self.phase == Phase::Trouble {
                    self.somebody_asks();
                    let pause = self.plan.pace / 2 + self.random.below(self.plan.pace);
                    self.scheduler.after(pause, Event::Request);
                }
            }
            Event::Start { slot } => {
                self.starting -= 1;
                self.start(slot);
            }
            Event::Resume { slot, node } => self.resume(slot, node),
            Event::Leave { slot, node, step, down } => self.leave(slot, node, step, down),
            Event::Wake { slot, .. }
            | Event::Gossip { slot, .. }
            | Event::Second { slot, .. }
            | Event::Arrive { slot, .. }
            | Event::Created { slot, .. }
            | Event::Ended { slot, .. }
            | Event::Over { slot, .. }
            | Event::Promote { slot, .. }
            | Event::Left { slot, .. } => self.at_process(slot, event),
        }
    }

    /// Something for a process: it waits while that one stands still.
    fn at_process(&mut self, slot: usize, event: Event) {
        let now = self.now();
        let Some(process) = self.machines.get_mut(slot).and_then(|machine| machine.process.as_mut()) else { return };
        if now < process.stalled_until {
            process.backlog.push_back(event);
            return;
        }
        self.act(slot, event);
        self.drain(slot);
    }

    fn act(&mut self, slot: usize, event: Event) {
        let now = self.now();
        match event {
            Event::Wake { node, at, .. } => {
                let sleeps = self.is_planted(Plant::SleepsThroughAlarms) && slot == 0;
                if let Some(process) = self.process(slot, node).filter(|process| process.wake_at == Some(at)) {
                    process.wake_at = None;
                    let clock = process.clock(now);
                    process.membership.handle_timeout(clock);
                    if !sleeps {
                        process.directory.handle_timeout(clock);
                    }
                }
            }
            Event::Gossip { node, .. } => self.gossip(slot, node),
            Event::Second { node, .. } => self.second(slot, node),
            Event::Arrive { from, packet, .. } => self.arrive(slot, from, packet),
            Event::Created { node, session, worker, result, .. } => self.created(slot, node, &session, worker, result),
            Event::Ended { node, session, reason, .. } => self.end(slot, node, &session, reason),
            Event::Promote { node, session, record, .. } => self.promote(slot, node, &session, &record),
            Event::Over { node, session, .. } if self.phase == Phase::Trouble => {
                self.end(slot, node, &session, "over");
            }
            Event::Left { node, session, player, .. } if self.phase == Phase::Trouble => {
                self.left(slot, node, &session, player);
            }
            _ => {}
        }
    }

    /// Does all that a process wants done.
    pub fn drain(&mut self, slot: usize) {
        loop {
            let Some(process) = self.machines[slot].process.as_mut() else { return };
            if let Some(output) = process.membership.poll_output() {
                self.member(slot, output);
            } else if let Some(action) = process.directory.poll_action() {
                self.direct(slot, action);
            } else {
                break;
            }
        }
        self.watch_sizes(slot);
        let (now, sleeps) = (self.now(), self.is_planted(Plant::SleepsThroughAlarms) && slot == 0);
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        if let Some(at) = process.next_timeout(!sleeps).map(|at| at.max(now))
            && process.wake_at.is_none_or(|wake| at < wake)
        {
            process.wake_at = Some(at);
            let node = process.node;
            self.scheduler.at(at, Event::Wake { slot, node, at });
        }
    }

    fn member(&mut self, slot: usize, output: Output) {
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        match output {
            Output::Publish(fact) => {
                if !(self.plant == Some(Plant::KeepsStaySecret) && fact.stay > 0) {
                    process.rumours.publish((*fact).into());
                }
            }
            Output::Send { contact, message, .. } => {
                let from = Sender { node: process.node, contact: process.membership.own().contact.control };
                self.post(slot, usize::from(contact.port()) / 10, Packet::Member(from, message));
            }
            Output::View(view) => self.view(slot, &view),
            Output::Refused(node) => self.say(slot, format_args!("keeps out {node}")),
            Output::Duplicate(node) => {
                self.say(slot, format_args!("ends: {node} has its number"));
                self.stop(slot);
                let is_there = self.processes().any(|(_, process)| process.node == node);
                if !is_there && slot + 1 < self.machines.len() {
                    let machine = &mut self.machines[slot];
                    machine.generation = machine.generation.max(node.generation);
                    self.start_after(slot, 1_000_000);
                }
            }
        }
    }

    fn direct(&mut self, slot: usize, action: Action) {
        match action {
            Action::Create { session, worker, epoch, .. } => self.create(slot, session, worker, epoch),
            Action::End { session, worker, why } => self.end_for(slot, session, worker, &why),
            Action::Answer { request, answer } => self.answered(slot, request, answer),
            Action::Send { to, message } => self.send(slot, to, message),
            Action::Follow { .. }
            | Action::Unfollow { .. }
            | Action::Recruit { .. }
            | Action::NewHome { .. }
            | Action::FromHome { .. } => self.replicate(slot, action),
        }
    }

    /// Sends a packet.
    pub fn post(&mut self, from: usize, to: usize, packet: Packet) {
        let now = self.now();
        let [first, second] = if from == to { [Some(50), None] } else { self.network.carry(now, from, to) };
        if let Some(delay) = second {
            self.scheduler.after(delay, Event::Arrive { slot: to, from, packet: packet.clone() });
        }
        if let Some(delay) = first {
            self.scheduler.after(delay, Event::Arrive { slot: to, from, packet });
        }
    }

    fn start_after(&mut self, slot: usize, delay: Micros) {
        self.starting += 1;
        self.scheduler.after(delay, Event::Start { slot });
    }

    fn start(&mut self, slot: usize) {
        let now = self.now();
        let machine = &mut self.machines[slot];
        if machine.process.is_some() {
            return;
        }
        let wall = (1_700_000_000_000 + now as i64 / 1000 + machine.clock_ms) as u64;
        machine.generation = wall.max(machine.generation + 1);
        let node = Node { id: machine.id, generation: machine.generation };
        machine.process = Some(Process::new(now, machine.offset, slot, node, machine.weight, &self.games));
        self.say(slot, format_args!("starts as {node}"));
        let phase = self.random.below(ROUND);
        self.scheduler.after(phase, Event::Gossip { slot, node });
        self.scheduler.after(phase + 400_000, Event::Second { slot, node });
        self.drain(slot);
    }

    /// A process is over, without a word.
    pub fn stop(&mut self, slot: usize) {
        if let Some(process) = self.machines[slot].process.take() {
            self.truth.died(process.node, slot);
            self.orphan(process.plays);
        }
    }

    fn resume(&mut self, slot: usize, node: Node) {
        let (now, blind) = (self.now(), self.is_planted(Plant::BlindToStalls));
        let alarms_first = self.random.happens(0.5);
        let Some(process) = self.process(slot, node).filter(|process| process.stalled_until <= now) else { return };
        let backlog = std::mem::take(&mut process.backlog);
        let clock = process.clock(now);
        if blind {
            let (from, _) = process.last_stall;
            let mut missed = process.clock(from);
            while missed + 50_000 < clock {
                missed += 50_000;
                process.membership.handle_timeout(missed);
            }
        }
        if alarms_first {
            process.membership.handle_timeout(clock);
            process.directory.handle_timeout(clock);
        }
        self.drain(slot);
        for event in backlog {
            self.act(slot, event);
            self.drain(slot);
        }
    }

    fn leave(&mut self, slot: usize, node: Node, step: u8, down: Micros) {
        let now = self.now();
        let Some(process) = self.process(slot, node) else { return };
        let clock = process.clock(now);
        match step {
            0 => {
                process.is_leaving = true;
                process.membership.drain(clock);
                (0..crate::process::WORKERS)
                    .for_each(|worker| process.directory.handle_worker_closed(WorkerId(worker)));
                self.scheduler.after(1_000_000, Event::Leave { slot, node, step: 1, down });
            }
            1 => {
                let sessions: Vec<SessionId> = process.plays.keys().cloned().collect();
                sessions.iter().for_each(|session| self.end(slot, node, session, "node leaving"));
                self.drain(slot);
                self.scheduler.after(500_000, Event::Leave { slot, node, step: 2, down });
            }
            2 => {
                process.membership.leave(clock);
                self.scheduler.after(500_000, Event::Leave { slot, node, step: 3, down });
            }
            _ => {
                self.stop(slot);
                self.start_after(slot, down);
            }
        }
        self.drain(slot);
    }

    fn commit(&mut self, deed: Deed) {
        let now = self.now();
        match deed {
            Deed::Crash { slot, down } => {
                self.say(slot, format_args!("crashes, back in {} ms", down / 1000));
                self.stop(slot);
                self.start_after(slot, down);
            }
            Deed::Leave { slot, down } => {
                if let Some(node) = self.machines[slot].process.as_ref().map(|process| process.node) {
                    self.say(slot, format_args!("drains and leaves"));
                    self.scheduler.after(0, Event::Leave { slot, node, step: 0, down });
                }
            }
            Deed::Join { slot } => self.start(slot),
            Deed::Cut { side, is_one_way, length } => {
                let way = if is_one_way { "one way" } else { "both ways" };
                let slots = self.plan.slots;
                self.say(
                    11,
                    format_args!("{:0slots$b} cut off {way} for {} ms", side & ((1 << slots) - 1), length / 1000),
                );
                self.network.cut(now, side, is_one_way, length);
            }
            Deed::Stall { slot, length } => self.stall(slot, length),
            Deed::Storm { weather, length } => {
                self.say(11, format_args!("{weather:?} for {} ms", length / 1000));
                self.network.storm(now, weather, length);
            }
            Deed::SetClock { slot, by_ms } => {
                self.say(slot, format_args!("its clock is set by {by_ms} ms"));
                self.machines[slot].clock_ms += by_ms;
            }
            Deed::Impostor { of } => {
                let slot = self.plan.slots - 1;
                self.machines[slot].id = self.machines[of].id;
                self.machines[slot].generation = self.machines[of].generation;
                self.start(slot);
            }
        }
    }

    fn stall(&mut self, slot: usize, length: Micros) {
        let now = self.now();
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let node = process.node;
        let before = process.stalled_until.max(now);
        process.stalled_until = before.max(now + length);
        process.stood_us += process.stalled_until - before;
        process.last_stall = (now, process.stalled_until);
        let until = process.stalled_until;
        self.say(slot, format_args!("stands still for {} ms", length / 1000));
        self.scheduler.at(until, Event::Resume { slot, node });
    }
}
