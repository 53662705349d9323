//! What a run is to be, from its seed and mode.

use ringside_core::leadership::record::{PartitionPolicy, Tier};
use ringside_simulation_kit::random::Random;
use ringside_simulation_kit::scheduler::Micros;

use crate::plan::Weather;

/// Which faults come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One at a time, with time to recover: everything must go on.
    Bounded,
    /// Any: things may stop, and must not be wrong.
    Unbounded,
    /// One machine is away for an hour, and comes back to what went on without it.
    Away,
}

/// How a machine is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It sleeps: what it knew is an hour old when it wakes.
    Asleep,
    /// It runs, and reaches neither the others nor the store.
    CutOff,
    /// Its process has ended; another run begins.
    Down,
}

/// When a machine goes away.
pub const LEAVES: Micros = 4_000_000;
/// How much later its clock is when it is back.
pub const HOUR: Micros = 3_600_000_000;
/// How much more than the time of the others passes for a machine that is cut off, in a turn: less than what a stall is, so
/// that it lives through the hour.
pub const LAPSE: Micros = 240_000;

/// When the faults are over.
const PEACE: Micros = 30_000_000;
/// When the run ends.
const END: Micros = 38_000_000;
/// Time between two faults of a bounded run.
const SPACING: Micros = 5_000_000;

/// How the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreMood {
    /// Quick and right.
    Well,
    /// Slow.
    Slow,
    /// Asks are lost, or their answers are.
    Failing,
    /// Says that it made what it did not.
    Lying,
    /// Does not answer.
    Away,
}

/// Something that goes wrong, or is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// A process ends, and another run of it begins a while later.
    Crash { slot: usize, down: Micros },
    /// The same, and the other run is of the other release.
    Replace { slot: usize, down: Micros },
    /// Whoever leads a session ends.
    CrashLeader { session: usize, down: Micros },
    /// A process stands still.
    Stall { slot: usize, length: Micros },
    /// Whoever leads a session stands still.
    StallLeader { session: usize, length: Micros },
    /// The first that follows a session ends, to which it would be moved.
    CrashFollower { session: usize, down: Micros },
    /// The first that follows a session stands still.
    StallFollower { session: usize, length: Micros },
    /// Nothing passes from some machines to the others; back neither if it is not one-way.
    Cut { side: u64, is_one_way: bool, length: Micros },
    /// A leader and its first follower do not reach each other.
    CutLink { session: usize, length: Micros },
    /// The network is bad.
    Storm { weather: Weather, length: Micros },
    /// A machine's clock jumps ahead.
    Jump { slot: usize, by: Micros },
    /// The store is not well.
    Store { mood: StoreMood, length: Micros },
    /// A session is moved to one of its followers.
    Move { session: usize },
    /// A session is evicted, and somebody asks for it a while later.
    Evict { session: usize, after: Micros },
    /// A follower's memory is damaged.
    Damage { session: usize },
    /// A player's next message ends whatever process is about to append it.
    Poison { session: usize },
    /// The machine that leads a session, or the first that follows it, is away for so long.
    Away { session: usize, follows: bool, absence: Absence, length: Micros },
    /// The log of the machine that leads a session, or of the first that follows it, is sealed; its run begins another one
    /// so long after it has found out.
    Seal { session: usize, follows: bool, reopens_after: Micros },
    /// A session is over.
    End { session: usize },
    /// A session begins.
    Begin { session: usize },
}

/// A session.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its tier.
    pub tier: Tier,
    /// Its policy.
    pub policy: PartitionPolicy,
    /// Followers that it should have.
    pub followers: usize,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its mode.
    pub mode: Mode,
    /// How many machines.
    pub machines: usize,
    /// Which sessions.
    pub sessions: Vec<Kind>,
    /// What goes wrong when.
    pub deeds: Vec<(Micros, Deed)>,
    /// Each machine's clock against virtual time: a start, and parts in a million.
    pub clocks: Vec<(Micros, i64)>,
    /// When the faults are over.
    pub peace: Micros,
    /// When the run ends.
    pub end: Micros,
    /// Machines that begin as ones of the release before.
    pub old: u64,
    /// Whether machines are replaced by ones of the other release.
    pub replaces: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &mut Random, mode: Mode) -> Plan {
        let machines = 4 + random.below(2) as usize;
        let kind = |tier, policy, random: &mut Random| Kind { tier, policy, followers: 1 + random.below(2) as usize };
        let sessions = vec![
            kind(Tier::Replicated, PartitionPolicy::Consistent, random),
            kind(Tier::Replicated, PartitionPolicy::Available, random),
            kind(Tier::Durable, PartitionPolicy::Consistent, random),
        ];
        let clocks =
            (0..machines).map(|_| (random.below(3_600_000_000), random.below(20_000) as i64 - 10_000)).collect();
        let (old, replaces) = (random.next() & random.next(), random.happens(0.5));
        let (peace, end) = (PEACE, END);
        let mut plan = Plan { mode, machines, sessions, deeds: Vec::new(), clocks, peace, end, old, replaces };
        match mode {
            Mode::Bounded => plan.draw_bounded(random),
            Mode::Unbounded => plan.draw_unbounded(random),
            Mode::Away => plan.draw_away(random),
        }
        // One whose records are in the store has one branch, whatever its policy.
        if random.fork(5).happens(0.3) {
            plan.sessions[2].policy = PartitionPolicy::Available;
        }
        plan.draw_seals(random.fork(3));
        if mode == Mode::Bounded {
            plan.draw_failing_moves(random.fork(4));
        }
        plan
    }

    fn draw_bounded(&mut self, random: &mut Random) {
        let mut at = SPACING;
        while at + SPACING <= PEACE {
            let session = random.below(self.sessions.len() as u64) as usize;
            let slot = random.below(self.machines as u64) as usize;
            let down = random.below(3_000_000);
            let deed = match random.below(16) {
                _ if self.replaces && random.happens(0.3) => Deed::Replace { slot, down },
                0..3 => Deed::CrashLeader { session, down: random.below(3_000_000) },
                3 => Deed::Crash { slot, down: random.below(3_000_000) },
                4 => Deed::StallLeader { session, length: random.below(300_000) },
                5 => Deed::StallLeader { session, length: 1_000_000 + random.below(1_000_000) },
                6 => Deed::Stall { slot, length: random.below(300_000) },
                7 => {
                    let delay = 1_000 + random.below(10_000);
                    let weather = Weather { loss: random.below(20) as f64 / 100.0, doubles: 0.1, delay };
                    Deed::Storm { weather, length: 2_000_000 }
                }
                8 => Deed::Store { mood: StoreMood::Slow, length: 1_000_000 },
                9 => Deed::Jump { slot, by: random.below(80_000) },
                10 => Deed::Damage { session },
                11 => Deed::CutLink { session, length: 1_000_000 + random.below(1_000_000) },
                12 | 13 => Deed::Evict { session, after: random.below(1_500_000) },
                // Two processes end of it: the third must be there, and know what is said of it.
                14 if self.sessions[session].followers == 2 && self.old == 0 && !self.replaces => {
                    Deed::Poison { session }
                }
                _ => Deed::Move { session },
            };
            self.deeds.push((at + random.below(500_000), deed));
            at += SPACING;
        }
    }

    fn draw_unbounded(&mut self, random: &mut Random) {
        for _ in 0..6 + random.below(14) {
            let deed = self.deed(random);
            self.deeds.push((3_000_000 + random.below(PEACE - 6_000_000), deed));
        }
        // A cluster is upgraded, or goes back; what was written just before may be asked for by who cannot read it.
        for slot in (0..self.machines).filter(|_| self.replaces) {
            let at = 3_000_000 + random.below(PEACE - 6_000_000);
            if random.happens(0.3) {
                let session = random.below(self.sessions.len() as u64) as usize;
                self.deeds.push((at, Deed::Evict { session, after: 2_000_000 }));
            }
            self.deeds.push((at + 300_000, Deed::Replace { slot, down: random.below(1_000_000) }));
        }
        // What is rare and must be looked at: a cluster that is cut for long enough that both sides go on.
        if random.happens(0.5) {
            let length = 1_500_000 + random.below(6_000_000);
            self.deeds.push((5_000_000 + random.below(12_000_000), self.cut(random, length)));
        }
    }

    /// A move meets a fault of either side, or of the link between them, anywhere in it; and a store that is not well may be any.
    fn draw_failing_moves(&mut self, mut random: Random) {
        let mut faults = Vec::new();
        for (at, deed) in &mut self.deeds {
            match deed {
                Deed::Move { session } if random.happens(0.7) => {
                    let session = *session;
                    let (down, length) = (random.below(3_000_000), 1_000_000 + random.below(1_000_000));
                    let fault = match random.below(5) {
                        0 => Deed::CrashLeader { session, down },
                        1 => Deed::StallLeader { session, length },
                        2 => Deed::CrashFollower { session, down },
                        3 => Deed::StallFollower { session, length },
                        _ => Deed::CutLink { session, length },
                    };
                    faults.push((*at + random.below(60_000), fault));
                }
                Deed::Store { mood, .. } => {
                    *mood = [StoreMood::Slow, StoreMood::Failing, StoreMood::Lying, StoreMood::Away]
                        [random.below(4) as usize];
                }
                _ => {}
            }
        }
        self.deeds.append(&mut faults);
    }

    /// In some runs logs of machines that are there are sealed; what is promoted there later begins an epoch of its own.
    fn draw_seals(&mut self, mut random: Random) {
        if self.mode == Mode::Away || random.happens(0.6) {
            return;
        }
        let durable: Vec<usize> =
            (0..self.sessions.len()).filter(|at| self.sessions[*at].tier == Tier::Durable).collect();
        for number in 0..3 {
            let session = durable[random.below(durable.len() as u64) as usize];
            let (follows, reopens_after) = (random.happens(0.5), random.below(800_000));
            let seal = Deed::Seal { session, follows, reopens_after };
            match self.mode {
                // One fault at a time: in place of another.
                Mode::Bounded => {
                    if let Some((_, deed)) = self.deeds.get_mut(2 * number) {
                        *deed = seal;
                    }
                }
                Mode::Unbounded | Mode::Away => {
                    self.deeds.push((3_000_000 + random.below(PEACE - 6_000_000), seal));
                }
            }
        }
    }

    /// While a machine is away a session ends and its key is used for another, one goes through many epochs and its log is
    /// trimmed, and one is evicted.
    fn draw_away(&mut self, random: &mut Random) {
        (self.old, self.replaces) = (0, false);
        // The last is of the key of the first.
        self.sessions.push(self.sessions[0]);
        let absence = [Absence::Asleep, Absence::Asleep, Absence::CutOff, Absence::Down][random.below(4) as usize];
        let length = match absence {
            Absence::CutOff => HOUR / (LAPSE / 10_000),
            Absence::Asleep | Absence::Down => 20_000_000,
        };
        let follows = random.happens(0.4);
        self.deeds.push((LEAVES, Deed::Away { session: random.below(3) as usize, follows, absence, length }));
        // That an available one is over nobody knows but who led or followed it then: their processes do not end. (A branch
        // may go on over an end.)
        let is_remembered = absence == Absence::Asleep && random.happens(0.5);
        if is_remembered {
            self.sessions[0].policy = PartitionPolicy::Available;
        }
        for turn in 0..5 {
            let at = LEAVES + 3_000_000 + turn * 2_500_000 + random.below(500_000);
            let deed = match random.happens(0.3) && !is_remembered {
                true => Deed::CrashLeader { session: 1, down: random.below(1_000_000) },
                false => Deed::Move { session: 1 },
            };
            self.deeds.push((at, deed));
        }
        // Processes are replaced one by one, so that nobody is left who remembers.
        if !is_remembered && random.happens(0.5) {
            for slot in 0..self.machines {
                let at = LEAVES + 2_000_000 + slot as Micros * 3_000_000;
                self.deeds.push((at, Deed::Crash { slot, down: random.below(500_000) }));
            }
        }
        // It may be over before the record says that whoever went does not count.
        let ends = match random.happens(0.5) {
            true => LEAVES + 50_000 + random.below(200_000),
            false => LEAVES + 4_000_000 + random.below(6_000_000),
        };
        self.deeds.push((ends, Deed::End { session: 0 }));
        self.deeds.push((ends + 500_000, Deed::Begin { session: 3 }));
        let back = LEAVES + length;
        // The first may come when it cannot be.
        for before in [4_000_000, 2_000_000] {
            self.deeds.push((back - before, Deed::Evict { session: 2, after: before + 3_000_000 }));
        }
        (self.peace, self.end) = (back + 6_000_000, back + 6_000_000 + END - PEACE);
    }

    fn cut(&self, random: &mut Random, length: Micros) -> Deed {
        let all = (1_u64 << self.machines) - 1;
        let side = 1 + random.below(all - 1);
        Deed::Cut { side, is_one_way: random.happens(0.3), length }
    }

    fn deed(&self, random: &mut Random) -> Deed {
        let session = random.below(self.sessions.len() as u64) as usize;
        let slot = random.below(self.machines as u64) as usize;
        match random.below(20) {
            0 => Deed::Crash { slot, down: random.below(4_000_000) },
            1 | 2 => Deed::CrashLeader { session, down: random.below(4_000_000) },
            3 | 4 => Deed::StallLeader { session, length: random.below(3_000_000) },
            5 => Deed::Stall { slot, length: random.below(3_000_000) },
            6..9 => {
                let length = 200_000 + random.below(4_000_000);
                self.cut(random, length)
            }
            9 | 10 => {
                let weather = Weather {
                    loss: random.below(50) as f64 / 100.0,
                    doubles: random.below(30) as f64 / 100.0,
                    delay: 1_000 + random.below(300_000),
                };
                Deed::Storm { weather, length: 500_000 + random.below(4_000_000) }
            }
            11 => Deed::Jump { slot, by: if random.happens(0.5) { random.below(80_000) } else { 600_000 } },
            12 | 13 => {
                let moods = [StoreMood::Slow, StoreMood::Failing, StoreMood::Lying, StoreMood::Away];
                let mood = moods[random.below(4) as usize];
                Deed::Store { mood, length: 500_000 + random.below(4_000_000) }
            }
            14 => Deed::Damage { session },
            15 | 16 => Deed::Evict { session, after: random.below(1_500_000) },
            17 | 18 => Deed::Poison { session },
            _ => Deed::Move { session },
        }
    }
}
