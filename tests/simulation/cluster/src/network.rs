//! The model network: packets between machines are late, lost, doubled and out of order, and some ways are cut.

use ringside_simulation_kit::random::Random;
use ringside_simulation_kit::scheduler::Micros;

use crate::plan::Weather;

/// The ways between machines.
#[derive(Debug)]
pub struct Network {
    random: Random,
    weather: Weather,
    storm_until: Micros,
    cuts: Vec<Cut>,
    /// The last time at which anything was wrong with it.
    troubled: Micros,
}

#[derive(Debug)]
struct Cut {
    /// A bit for each slot: from those in it to those not in it nothing passes.
    side: u64,
    is_one_way: bool,
    until: Micros,
}

impl Network {
    /// A good one.
    pub fn new(random: Random) -> Network {
        Network { random, weather: Weather::CALM, storm_until: 0, cuts: Vec::new(), troubled: 0 }
    }

    /// Cuts ways.
    pub fn cut(&mut self, now: Micros, side: u64, is_one_way: bool, length: Micros) {
        self.cuts.push(Cut { side, is_one_way, until: now + length });
        self.troubled = self.troubled.max(now + length);
    }

    /// Bad weather begins.
    pub fn storm(&mut self, now: Micros, weather: Weather, length: Micros) {
        (self.weather, self.storm_until) = (weather, now + length);
        self.troubled = self.troubled.max(now + length);
    }

    /// Everything is good again.
    pub fn calm(&mut self, now: Micros) {
        (self.weather, self.storm_until) = (Weather::CALM, now);
        self.cuts.clear();
        self.troubled = self.troubled.min(now);
    }

    /// When anything was, or will have been, wrong last.
    pub fn troubled(&self) -> Micros {
        self.troubled
    }

    /// How long after now a packet arrives; twice if it is doubled, never if it is lost.
    pub fn carry(&mut self, now: Micros, from: usize, to: usize) -> [Option<Micros>; 2] {
        self.cuts.retain(|cut| cut.until > now);
        let (from, to) = (1_u64 << from, 1_u64 << to);
        let is_cut = self.cuts.iter().any(|cut| {
            let (out, back) = (cut.side & from != 0 && cut.side & to == 0, cut.side & to != 0 && cut.side & from == 0);
            out || back && !cut.is_one_way
        });
        let weather = if now < self.storm_until { self.weather } else { Weather::CALM };
        if is_cut || weather.loss > 0.0 && self.random.happens(weather.loss) {
            return [None, None];
        }
        let doubled = weather.doubles > 0.0 && self.random.happens(weather.doubles);
        let mut delay = || 200 + self.random.below(weather.delay);
        [Some(delay()), doubled.then(delay)]
    }
}
