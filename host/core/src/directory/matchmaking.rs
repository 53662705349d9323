//! Seats and open lists: the fill rule. A player who asks for any session of (game, criteria) is sent to the fullest
//! one with a free seat, the oldest of equals. A seat is kept for whoever was sent there until they come or their
//! time is over, so that players who ask at once fill one match and never overfill it.
//!
//! A session without late joining hands out each seat once: when it has had its fewest players, a seat that somebody
//! left stays empty.

use std::collections::{BTreeMap, BTreeSet};

use super::Name;
use crate::ids::{GameName, PlayerId};
use crate::limits;

/// Who may meet: one game, equal criteria.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListKey {
    pub game: GameName,
    pub criteria: String,
}

/// The seats of one session.
#[derive(Debug)]
pub(super) struct Seats {
    min: usize,
    max: usize,
    late_join: bool,
    joined: BTreeSet<PlayerId>,
    reserved: BTreeMap<PlayerId, u64>,
    begun: bool,
    closed: bool,
}

impl Seats {
    pub fn new(min: u32, max: u32, late_join: bool) -> Self {
        Seats {
            min: min.max(1) as usize,
            max: max as usize,
            late_join,
            joined: BTreeSet::new(),
            reserved: BTreeMap::new(),
            begun: false,
            closed: false,
        }
    }

    pub fn joined(&self) -> usize {
        self.joined.len()
    }

    pub fn reserved(&self) -> usize {
        self.reserved.len()
    }

    pub fn seats(&self) -> u32 {
        self.max as u32
    }

    /// Seats that somebody has or that are kept for somebody.
    pub fn taken(&self) -> usize {
        self.joined.len() + self.reserved.len()
    }

    /// Whether find-or-create may send another player here.
    pub fn is_open(&self) -> bool {
        !self.closed && self.taken() < self.max
    }

    pub fn players(&self) -> impl Iterator<Item = &PlayerId> {
        self.joined.iter().chain(self.reserved.keys())
    }

    pub fn reservations(&self) -> impl Iterator<Item = (&PlayerId, u64)> {
        self.reserved.iter().map(|(player, until)| (player, *until))
    }

    pub fn reserved_until(&self, player: &PlayerId) -> Option<u64> {
        self.reserved.get(player).copied()
    }

    /// Keeps a seat, or keeps it longer. False for a player who sits already.
    pub fn reserve(&mut self, player: &PlayerId, until: u64) -> bool {
        if self.joined.contains(player) {
            return false;
        }
        self.reserved.insert(player.clone(), until);
        true
    }

    /// Gives a kept seat up if its time is over.
    pub fn expire(&mut self, now: u64, player: &PlayerId) -> bool {
        let due = self.reserved.get(player).is_some_and(|until| *until <= now);
        due && self.reserved.remove(player).is_some()
    }

    pub fn join(&mut self, player: &PlayerId) {
        self.reserved.remove(player);
        self.joined.insert(player.clone());
        self.begun |= self.joined.len() >= self.min;
    }

    pub fn leave(&mut self, player: &PlayerId) {
        if self.joined.remove(player) {
            self.closed = self.begun && !self.late_join;
        }
        self.reserved.remove(player);
    }

    /// The game itself turned a player away: it knows better than its description.
    pub fn refuse(&mut self, player: &PlayerId) {
        self.reserved.remove(player);
        self.closed = true;
    }
}

/// The lists of open sessions, and where each player who was sent somewhere has a seat.
#[derive(Debug, Default)]
pub(super) struct OpenLists {
    lists: BTreeMap<ListKey, List>,
}

#[derive(Debug, Default)]
struct List {
    /// Session → (creation order, seats taken); open ones only, at most [`limits::OPEN_SESSIONS`].
    open: BTreeMap<Name, (u64, usize)>,
    seats: BTreeMap<PlayerId, Name>,
}

impl OpenLists {
    /// The session that the next player is sent to.
    pub fn fullest(&self, list: &ListKey) -> Option<&Name> {
        let open = &self.lists.get(list)?.open;
        open.iter().max_by_key(|(_, (order, taken))| (*taken, std::cmp::Reverse(*order))).map(|(name, _)| name)
    }

    /// Where the player has a seat, joined or kept.
    pub fn seat_of(&self, list: &ListKey, player: &PlayerId) -> Option<&Name> {
        self.lists.get(list)?.seats.get(player)
    }

    /// Whether the list exists or may begin to.
    pub fn has_room_for(&self, list: &ListKey) -> bool {
        self.lists.contains_key(list) || self.lists.len() < limits::OPEN_LISTS
    }

    /// A session's seats changed.
    pub fn update(&mut self, list: &ListKey, name: &Name, order: u64, seats: &Seats) {
        let Some(entry) = self.list_mut(list) else { return };
        if !seats.is_open() {
            entry.open.remove(name);
        } else if entry.open.contains_key(name) || entry.open.len() < limits::OPEN_SESSIONS {
            entry.open.insert(name.clone(), (order, seats.taken()));
        }
        self.drop_empty(list);
    }

    pub fn remember_seat(&mut self, list: &ListKey, player: &PlayerId, name: &Name) {
        if let Some(entry) = self.list_mut(list) {
            entry.seats.insert(player.clone(), name.clone());
        }
    }

    pub fn forget_seat(&mut self, list: &ListKey, player: &PlayerId, name: &Name) {
        if let Some(entry) = self.lists.get_mut(list)
            && entry.seats.get(player) == Some(name)
        {
            entry.seats.remove(player);
            self.drop_empty(list);
        }
    }

    /// A session is over.
    pub fn remove<'a>(&mut self, list: &ListKey, name: &Name, players: impl Iterator<Item = &'a PlayerId>) {
        for player in players {
            self.forget_seat(list, player, name);
        }
        if let Some(entry) = self.lists.get_mut(list) {
            entry.open.remove(name);
        }
        self.drop_empty(list);
    }

    fn list_mut(&mut self, list: &ListKey) -> Option<&mut List> {
        if !self.lists.contains_key(list) {
            if self.lists.len() >= limits::OPEN_LISTS {
                return None;
            }
            self.lists.insert(list.clone(), List::default());
        }
        self.lists.get_mut(list)
    }

    fn drop_empty(&mut self, list: &ListKey) {
        if self.lists.get(list).is_some_and(|entry| entry.open.is_empty() && entry.seats.is_empty()) {
            self.lists.remove(list);
        }
    }

    #[cfg(test)]
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    #[cfg(test)]
    pub fn open_in(&self, list: &ListKey) -> usize {
        self.lists.get(list).map_or(0, |entry| entry.open.len())
    }
}
