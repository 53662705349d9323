//! The model network with a memory of when it was bad beyond the bounds within which nobody may be deposed.

use ringside_simulation_kit::random::Random;
use ringside_simulation_kit::scheduler::Micros;

use crate::network::Network as Ways;
use crate::plan::Weather;

/// The ways between machines.
#[derive(Debug)]
pub struct Network {
    ways: Ways,
    /// Two machines that do not reach each other, until when.
    links: Vec<(usize, usize, Micros)>,
    /// Until when it is worse than the bounds.
    pub beyond_bounds_until: Micros,
}

impl Network {
    /// A good one.
    pub fn new(random: Random) -> Network {
        Network { ways: Ways::new(random), links: Vec::new(), beyond_bounds_until: 0 }
    }

    /// Cuts ways.
    pub fn cut(&mut self, now: Micros, side: u64, is_one_way: bool, length: Micros) {
        self.ways.cut(now, side, is_one_way, length);
        self.beyond_bounds_until = self.beyond_bounds_until.max(now + length);
    }

    /// Nothing passes between two machines, in both directions. Others reach both, so nobody may be deposed for it.
    pub fn cut_link(&mut self, until: Micros, one: usize, other: usize) {
        self.links.push((one, other, until));
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
        let is_cut = |(one, other, until): &(usize, usize, Micros)| {
            now < *until && ((*one, *other) == (from, to) || (*one, *other) == (to, from))
        };
        match from == to {
            true => [Some(20), None],
            false if self.links.iter().any(is_cut) => [None, None],
            false => self.ways.carry(now, from, to),
        }
    }
}
