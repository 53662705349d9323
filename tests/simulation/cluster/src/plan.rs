//! What a run is to be, from its seed: how many nodes, and which faults come when.

use ringside_simulation_kit::random::Random;
use ringside_simulation_kit::scheduler::Micros;

/// When the faults are over.
pub const PEACE: Micros = 40_000_000;
/// When the run ends at the latest.
pub const END: Micros = 150_000_000;

/// How packets fare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Share that is lost.
    pub loss: f64,
    /// Share that comes twice.
    pub doubles: f64,
    /// Longest time on the way.
    pub delay: Micros,
}

impl Weather {
    /// A good network.
    pub const CALM: Weather = Weather { loss: 0.0, doubles: 0.0, delay: 3_000 };
}

/// Something that goes wrong, or is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// A node's process ends without a word, and another run begins a while later.
    Crash { slot: usize, down: Micros },
    /// A node drains, leaves, and another run begins a while later.
    Leave { slot: usize, down: Micros },
    /// A node that was not there begins.
    Join { slot: usize },
    /// Nothing passes from some nodes to the others for a while; back neither if it is not one-way.
    Cut { side: u64, is_one_way: bool, length: Micros },
    /// A node stands still.
    Stall { slot: usize, length: Micros },
    /// The network is bad for a while.
    Storm { weather: Weather, length: Micros },
    /// A machine's clock is set.
    SetClock { slot: usize, by_ms: i64 },
    /// A second process begins with the number of a node that is there.
    Impostor { of: usize },
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes at the start.
    pub nodes: usize,
    /// Machines in all: nodes that may join later, and one for the impostor.
    pub slots: usize,
    /// Weight of each slot's node, percent.
    pub weights: Vec<u16>,
    /// How far each machine's clock is from the right time, ms.
    pub clocks: Vec<i64>,
    /// Mean time between two requests.
    pub pace: Micros,
    /// What goes wrong when.
    pub deeds: Vec<(Micros, Deed)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &mut Random) -> Plan {
        let nodes = 3 + random.below(4) as usize;
        let slots = nodes + 3;
        let weights =
            (0..slots).map(|_| if random.happens(0.7) { 100 } else { 50 + random.below(150) as u16 }).collect();
        let hour = 3_600_000;
        let clocks = (0..slots).map(|_| random.below(2 * hour as u64) as i64 - hour).collect();
        let mut plan = Plan { nodes, slots, weights, clocks, pace: 40_000 + random.below(80_000), deeds: Vec::new() };
        // What every run needs, so that each condition is looked at.
        plan.deeds.push((plan.at(random), Deed::Join { slot: nodes }));
        plan.deeds.push((plan.at(random), plan.crash(random)));
        plan.deeds.push((plan.at(random), plan.cut(random)));
        plan.deeds.push((plan.at(random), plan.stall(random)));
        for _ in 0..2 + random.below(8) {
            let deed = plan.deed(random);
            plan.deeds.push((plan.at(random), deed));
        }
        if random.happens(0.2) {
            plan.flap(random);
        }
        plan
    }

    fn at(&self, random: &mut Random) -> Micros {
        4_000_000 + random.below(PEACE - 10_000_000)
    }

    fn slot(&self, random: &mut Random) -> usize {
        random.below(self.nodes as u64) as usize
    }

    fn crash(&self, random: &mut Random) -> Deed {
        let down = if random.happens(0.5) { random.below(1_500_000) } else { random.below(12_000_000) };
        Deed::Crash { slot: self.slot(random), down }
    }

    fn cut(&self, random: &mut Random) -> Deed {
        let length = 500_000 + random.below(12_000_000);
        Deed::Cut { side: random.next(), is_one_way: random.happens(0.4), length }
    }

    fn stall(&self, random: &mut Random) -> Deed {
        let length = if random.happens(0.3) { random.below(400_000) } else { random.below(8_000_000) };
        Deed::Stall { slot: self.slot(random), length }
    }

    fn deed(&self, random: &mut Random) -> Deed {
        match random.below(10) {
            0 | 1 => self.crash(random),
            2 => Deed::Leave { slot: self.slot(random), down: random.below(6_000_000) },
            3 => Deed::Join { slot: self.nodes + 1 },
            4 | 5 => self.cut(random),
            6 => self.stall(random),
            7 => {
                let weather = Weather {
                    loss: random.below(20) as f64 / 100.0,
                    doubles: random.below(10) as f64 / 100.0,
                    delay: 1_000 + random.below(300_000),
                };
                Deed::Storm { weather, length: 1_000_000 + random.below(10_000_000) }
            }
            8 => Deed::SetClock { slot: self.slot(random), by_ms: random.below(7_200_000) as i64 - 3_600_000 },
            _ => Deed::Impostor { of: self.slot(random) },
        }
    }

    /// A node is out of reach again and again.
    fn flap(&mut self, random: &mut Random) {
        let (slot, mut at) = (self.slot(random), 5_000_000 + random.below(4_000_000));
        while at < PEACE - 4_000_000 {
            self.deeds.push((at, Deed::Stall { slot, length: 2_500_000 }));
            at += 3_500_000 + random.below(1_500_000);
        }
    }
}
