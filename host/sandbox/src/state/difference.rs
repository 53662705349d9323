//! In what two states of one position differ: for whoever looks for the cause of a divergence.

use std::collections::BTreeMap;

use super::State;

/// In what one state differs from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateDifference {
    /// Pages of 4096 bytes of the guest's memory, by number.
    pub pages: Vec<u32>,
    /// The first byte that differs, by its address in the guest's memory.
    pub first_byte: Option<u64>,
    /// Mutable globals, by their place among them.
    pub globals: Vec<usize>,
    /// What the host has of the session, by name.
    pub host: Vec<&'static str>,
}

impl StateDifference {
    /// Whether the two are the same.
    pub fn is_none(&self) -> bool {
        *self == StateDifference::default()
    }
}

impl State {
    /// In what this state differs from another one.
    pub fn difference(&self, other: &State) -> StateDifference {
        const ZEROS: &[u8] = &[0; super::PAGE];
        let (mine, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) = (self.pages().collect(), other.pages().collect());
        let numbers: std::collections::BTreeSet<u32> = mine.keys().chain(theirs.keys()).copied().collect();
        let page =
            |pages: &BTreeMap<u32, &'_ [u8]>, number| pages.get(&number).map_or(ZEROS.to_vec(), |page| page.to_vec());
        let mut difference = StateDifference::default();
        for number in numbers {
            let (one, two) = (page(&mine, number), page(&theirs, number));
            let Some(at) = one.iter().zip(&two).position(|(one, two)| one != two) else { continue };
            difference.pages.push(number);
            difference.first_byte.get_or_insert(u64::from(number) * super::PAGE as u64 + at as u64);
        }
        let count = self.globals.len().max(other.globals.len());
        difference.globals = (0..count).filter(|&at| self.globals.get(at) != other.globals.get(at)).collect();
        let (one, two) = (&self.host, &other.host);
        let fields = [
            ("memory size", self.memory_bytes == other.memory_bytes),
            ("position", one.position == two.position),
            ("session time", one.time_us == two.time_us),
            ("tick", one.tick == two.tick),
            ("random numbers", postcard::to_stdvec(&one.generator) == postcard::to_stdvec(&two.generator)),
            ("timers", postcard::to_stdvec(&one.timers) == postcard::to_stdvec(&two.timers)),
            ("players", postcard::to_stdvec(&one.slots) == postcard::to_stdvec(&two.slots)),
            ("statistics", one.stats == two.stats),
            ("hash of outputs", one.outputs == two.outputs),
            ("ending", postcard::to_stdvec(&one.ending) == postcard::to_stdvec(&two.ending)),
        ];
        difference.host = fields.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect();
        difference
    }
}
