//! The model network with a memory of when it was bad beyond the bounds within which nobody may be deposed.

use ringside_simulation_kit::random::Random;
use ringside_simulation_kit::scheduler::Micros;

use crate::network::Network as Ways;
use crate::plan::Weather;

/// The ways between machines.
#[derive(Debug)]
pub struct Network {
    ways: Ways,
    /// Until when it is worse than the bounds.
    pub beyond_bounds_until: Micros,
}

impl Network {
    /// A good one.
    pub fn new(random: Random) -> Network {
        Network { ways: Ways::new(random), beyond_bounds_until: 0 }
    }

    /// Cuts ways.
    pub fn cut(&mut self, now: Micros, side: u64, is_one_way: bool, length: Micros) {
        self.ways.cut(now, side, is_one_way, length);
        self.beyond_bounds_until = self.beyond_bounds_until.max(now + length);
    }

    /// Bad weather begins.
    pub fn storm(&mut self, now: Micros, weather: Weather, length: Micros) {
        self.ways.storm(now, weather, length);
        if weather.loss > 0.2 || weather.delay > 20_000 {
            self.beyond_bounds_until = self.beyond_bounds_until.max(now + length);
        }
    }

    /// Everything is good again.
    pub fn calm(&mut self, now: Micros) {
        self.ways.calm(now);
    }

    /// How long after now a packet arrives; twice if it is doubled, never if it is lost.
    pub fn carry(&mut self, now: Micros, from: usize, to: usize) -> [Option<Micros>; 2] {
        if from == to { [Some(20), None] } else { self.ways.carry(now, from, to) }
    }
}
