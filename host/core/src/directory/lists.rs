//! Open lists and the fill rule. A player who asks for any session of (game, criteria) is sent to the fullest one with
//! a free seat, the oldest of equals. A seat is kept for whoever was sent there until they come or their time is over,
//! so that players who ask at once fill one match and never overfill it.
//!
//! A list is soft: its home learns of the sessions from their leaders, and a change of the ring forgets the kept seats.
//! A session that is to begin for a player is on the list at once, so that others are sent there and wait with them.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Asker, Context, Timer};
use super::doors::REQUEST_US;
use super::home::placed;
use super::message::{Birth, Denial, Entry as Admission, Item, Lead, Message, Name, Origin, Want, name_of};
use super::term::{Mark, Term};
use super::types::{Find, ListKey, Placed, Refusal};
use crate::ids::{GameName, Incarnation, Node, PlayerId, SessionId, SessionKey};
use crate::leadership::newer;
use crate::limits;
use crate::placement::Policy;

/// How long a player waits for a list to be complete before a session begins beside those that it may not know, µs.
const HOLD_US: u64 = 1_500_000;
/// Keys that are tried for a new session.
pub(super) const DRAWS: u64 = 8;

/// A player's request that waits.
#[derive(Debug)]
struct Waiter {
    door: Node,
    number: u64,
    /// Whether the session begins for it.
    is_first: bool,
}

#[derive(Debug)]
enum Phase {
    /// It is to begin.
    Forming { waiting: Vec<Waiter>, birth: Box<Birth>, random: u64, draws: u64 },
    /// Somebody leads it; the mark is that of their announcement.
    Known { lead: Box<Lead>, mark: Mark },
}

#[derive(Debug)]
struct Listing {
    phase: Phase,
    order: u64,
    seats: u32,
    entry: Admission,
    joined: BTreeSet<PlayerId>,
    /// For whom a seat is kept.
    reserved: BTreeSet<PlayerId>,
}

#[derive(Debug, Default)]
struct List {
    sessions: BTreeMap<Name, Listing>,
    /// Those that a player may be sent to, with order and seats taken; at most [`limits::OPEN_SESSIONS`].
    open: BTreeMap<Name, (u64, usize)>,
    /// Where each player has a seat.
    seats: BTreeMap<PlayerId, Name>,
}

/// A find that waits for the list to be complete.
#[derive(Debug)]
struct Held {
    door: Node,
    number: u64,
    find: Find,
    until: u64,
}

/// The lists of this node.
#[derive(Debug, Default)]
pub(super) struct Lists {
    lists: BTreeMap<ListKey, List>,
    /// Of which list a session is.
    of: BTreeMap<Name, ListKey>,
    order: u64,
    waiting: usize,
    held: Vec<Held>,
}

impl Lists {
    /// Lists that there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Sessions of a list that a player may be sent to.
    #[cfg(test)]
    pub fn open_in(&self, list: &ListKey) -> usize {
        self.lists.get(list).map_or(0, |list| list.open.len())
    }

    /// Seats of a session that are kept.
    pub fn reserved(&self, name: &Name) -> usize {
        let listing = self.of.get(name).and_then(|list| self.lists.get(list)?.sessions.get(name));
        listing.map_or(0, |listing| listing.reserved.len())
    }

    /// All sessions that are known to be led, with the list that they are on.
    pub fn all_known(&self) -> impl Iterator<Item = (&ListKey, &Lead)> {
        self.lists.iter().flat_map(|(key, list)| {
            list.sessions.values().filter_map(move |listing| match &listing.phase {
                Phase::Known { lead, .. } => Some((key, &**lead)),
                Phase::Forming { .. } => None,
            })
        })
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting + self.held.len()
    }

    /// A player wants any session. `is_complete`: all leaders have told what they lead.
    pub fn handle_find(&mut self, cx: &mut Context<'_>, door: Node, number: u64, find: Find, is_complete: bool) {
        let until = cx.now.saturating_add(HOLD_US);
        self.find(cx, Held { door, number, find, until }, is_complete);
    }

    /// Everything is told, or the longest wait is over: those who were held back are served.
    pub fn release(&mut self, cx: &mut Context<'_>, is_complete: bool) {
        for held in std::mem::take(&mut self.held) {
            self.find(cx, held, is_complete);
        }
    }

    fn find(&mut self, cx: &mut Context<'_>, held: Held, is_complete: bool) {
        let Held { door, number, find, until } = &held;
        let (door, number) = (*door, *number);
        let key = ListKey { game: find.game.clone(), criteria: find.criteria.clone() };
        if self.waiting() >= limits::HOME_WAITING || !self.has_room_for(&key) {
            return refuse(cx, door, number, Refusal::Busy);
        }
        let list = self.lists.get(&key);
        let chosen = list.and_then(|list| list.seat_of(&find.player).or_else(|| list.fullest())).cloned();
        if let Some(name) = chosen {
            self.reserve(cx, &key, &name, &find.player);
            self.attach(cx, &key, &name, Waiter { door, number, is_first: false });
        } else if !find.may_create {
            refuse(cx, door, number, Refusal::MayNotCreate);
        } else if !is_complete && cx.now < *until {
            cx.timers.set_if_idle(*until, Timer::Held);
            if !self.held.iter().any(|other| (other.door, other.number) == (door, number)) {
                self.held.push(held);
            }
        } else {
            self.form(cx, &key, door, number, &held.find);
        }
    }

    /// Begins a session for a player.
    fn form(&mut self, cx: &mut Context<'_>, key: &ListKey, door: Node, number: u64, find: &Find) {
        let Some(facts) = cx.games.get(&find.game) else {
            return refuse(cx, door, number, Refusal::UnknownGame(find.game.clone()));
        };
        let incarnation = Incarnation(find.draw.incarnation);
        let Some((name, draws)) = self.free_key(&find.game, find.draw.key, 0) else {
            return refuse(cx, door, number, Refusal::Busy);
        };
        let birth = Birth {
            session: SessionId { game: name.0.clone(), key: name.1.clone(), incarnation },
            config: bytes::Bytes::new(),
            record: find.record,
            listed: Some(find.criteria.clone()),
            ends_when_empty: true,
            policy: Policy::Ring,
            origin: Origin::Drawn,
        };
        self.order += 1;
        self.waiting += 1;
        let waiting = vec![Waiter { door, number, is_first: true }];
        let listing = Listing {
            phase: Phase::Forming { waiting, birth: Box::new(birth.clone()), random: find.draw.key, draws },
            order: self.order,
            seats: facts.max_players,
            entry: Admission::Open,
            joined: BTreeSet::new(),
            reserved: BTreeSet::new(),
        };
        self.insert(key, &name, listing);
        self.reserve(cx, key, &name, &find.player);
        cx.out.wants.push_back((Asker::List(key.clone(), name), Want::Create { birth, is_drawn: true }));
    }

    /// The first key from this draw on under which no session is listed.
    fn free_key(&self, game: &GameName, random: u64, from: u64) -> Option<(Name, u64)> {
        (from..DRAWS).find_map(|draw| {
            let name = (game.clone(), drawn_key(random.wrapping_add(draw))?);
            (!self.of.contains_key(&name)).then_some((name, draw))
        })
    }

    /// What became of a session that was to begin.
    pub fn handle_formed(
        &mut self,
        cx: &mut Context<'_>,
        key: &ListKey,
        name: &Name,
        answer: Result<Placed, Refusal>,
        mark: Mark,
    ) {
        let Some(listing) = self.lists.get_mut(key).and_then(|list| list.sessions.get_mut(name)) else { return };
        let Phase::Forming { waiting, birth, random, draws } = &mut listing.phase else { return };
        match answer {
            Ok(placed) => {
                let waiting = std::mem::take(waiting);
                let lead = Box::new(lead_of(&placed));
                self.waiting -= waiting.len();
                waiting.iter().for_each(|waiter| waiter.answer_with(cx, &lead));
                listing.phase = Phase::Known { lead, mark };
            }
            Err(Refusal::KeyTaken(_)) => {
                let (random, from) = (*random, *draws + 1);
                let (waiting, mut birth) = (std::mem::take(waiting), birth.clone());
                let Some((next, draws)) = self.free_key(&name.0, random, from) else {
                    return self.give_up(cx, key, name, waiting, &Refusal::Busy);
                };
                birth.session.key = next.1.clone();
                self.rename(cx, key, name, &next);
                let want = Want::Create { birth: (*birth).clone(), is_drawn: true };
                if let Some(listing) = self.lists.get_mut(key).and_then(|list| list.sessions.get_mut(&next)) {
                    listing.phase = Phase::Forming { waiting, birth, random, draws };
                }
                cx.out.wants.push_back((Asker::List(key.clone(), next), want));
            }
            Err(refusal) => {
                let waiting = std::mem::take(waiting);
                self.give_up(cx, key, name, waiting, &refusal);
            }
        }
    }

    fn give_up(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name, waiting: Vec<Waiter>, why: &Refusal) {
        self.waiting -= waiting.len();
        waiting.iter().for_each(|waiter| refuse(cx, waiter.door, waiter.number, why.clone()));
        self.remove(cx, key, name);
    }

    fn rename(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name, next: &Name) {
        let Some(listing) = self.take(cx, key, name) else { return };
        let players: Vec<PlayerId> = listing.reserved.iter().cloned().collect();
        self.insert(key, next, Listing { reserved: BTreeSet::new(), ..listing });
        players.iter().for_each(|player| self.reserve(cx, key, next, player));
    }

    /// A leader announces one of its sessions, or its end.
    pub fn announced(&mut self, cx: &mut Context<'_>, from: Node, item: &Item, mark: Mark) {
        let (session, lead) = match item {
            Item::Led(lead) if lead.leader == from => (&lead.session, Some(lead)),
            Item::Led(_) => return,
            Item::Ended(session) | Item::Evicted(session) => (session, None),
        };
        let name = name_of(session);
        let listed = lead.and_then(|lead| lead.listing.as_ref());
        let key = listed.map(|listing| ListKey { game: name.0.clone(), criteria: listing.criteria.clone() });
        let before = self.of.get(&name).cloned();
        let (Some(lead), Some(seating), Some(key)) = (lead, listed, key) else {
            if let Some(before) = before {
                self.ended(cx, &before, &name, from, session);
            }
            return;
        };
        if cx.cluster.home_of_list(&key) != Some(cx.me) || before.as_ref().is_some_and(|before| *before != key) {
            return;
        }
        if before.is_none() {
            if !lead.is_live || !self.has_room_for(&key) || self.of.len() >= limits::HOME_ENTRIES {
                return;
            }
            self.order += 1;
            let phase = Phase::Known { lead: lead.clone(), mark };
            let (order, seats, entry) = (self.order, seating.seats, seating.entry);
            let listing = Listing { phase, order, seats, entry, joined: BTreeSet::new(), reserved: BTreeSet::new() };
            self.insert(&key, &name, listing);
        }
        let Some(listing) = self.lists.get_mut(&key).and_then(|list| list.sessions.get_mut(&name)) else { return };
        match &mut listing.phase {
            Phase::Forming { birth, .. } if !birth.is(lead) || !lead.is_live => return,
            Phase::Forming { waiting, .. } => {
                let waiting = std::mem::take(waiting);
                self.waiting -= waiting.len();
                waiting.iter().for_each(|waiter| waiter.answer_with(cx, lead));
            }
            // The leader before it does not know yet.
            Phase::Known { lead: known, .. } if known.session == lead.session && newer(known.epoch, lead.epoch) => {
                return;
            }
            Phase::Known { .. } => {}
        }
        listing.phase = Phase::Known { lead: lead.clone(), mark };
        self.seat(cx, &key, &name, seating);
    }

    /// Takes over what the leader says of the seats.
    fn seat(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name, seating: &super::message::Seating) {
        let Some(list) = self.lists.get_mut(key) else { return };
        let Some(listing) = list.sessions.get_mut(name) else { return };
        (listing.seats, listing.entry) = (seating.seats, seating.entry);
        for player in std::mem::replace(&mut listing.joined, seating.joined.iter().cloned().collect()) {
            if !listing.joined.contains(&player) && list.seats.get(&player) == Some(name) {
                list.seats.remove(&player);
            }
        }
        let joined: Vec<PlayerId> = listing.joined.iter().cloned().collect();
        let came = joined.iter().filter(|player| listing.reserved.contains(*player)).cloned();
        let gone: Vec<PlayerId> = match seating.entry {
            Admission::Refuses => listing.reserved.iter().cloned().collect(),
            _ => came.collect(),
        };
        for player in joined {
            list.seats.insert(player, name.clone());
        }
        for player in gone {
            self.release_seat(cx, key, name, &player);
        }
        self.relist(key, name);
    }

    /// A leader has told everything: what it did not tell of is not there.
    pub fn drop_untold(&mut self, cx: &mut Context<'_>, from: Node, term: &Term) {
        self.drop_where(
            cx,
            |phase| matches!(phase, Phase::Known { lead, mark } if lead.leader == from && !term.stands(from, *mark)),
        );
    }

    /// The cluster changed.
    pub fn handle_cluster(&mut self, cx: &mut Context<'_>) {
        let others: Vec<(ListKey, Name)> = self
            .lists
            .iter()
            .filter(|(key, _)| cx.cluster.home_of_list(key) != Some(cx.me))
            .flat_map(|(key, list)| list.sessions.keys().map(|name| (key.clone(), name.clone())))
            .collect();
        for (key, name) in others {
            let listing = self.lists.get_mut(&key).and_then(|list| list.sessions.get_mut(&name));
            if let Some(Phase::Forming { waiting, .. }) = listing.map(|listing| &mut listing.phase) {
                let waiting = std::mem::take(waiting);
                self.waiting -= waiting.len();
                waiting.iter().for_each(|waiter| deny(cx, waiter.door, waiter.number));
            }
            self.remove(cx, &key, &name);
        }
        for held in std::mem::take(&mut self.held) {
            deny(cx, held.door, held.number);
        }
        let present = &cx.cluster.present.clone();
        self.drop_where(cx, |phase| matches!(phase, Phase::Known { lead, .. } if !present.contains(&lead.leader)));
    }

    /// A kept seat's time is over.
    pub fn reservation_due(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name, player: &PlayerId) {
        self.release_seat(cx, key, name, player);
        self.relist(key, name);
    }

    fn drop_where(&mut self, cx: &mut Context<'_>, is_over: impl Fn(&Phase) -> bool) {
        let over: Vec<(ListKey, Name)> = self
            .lists
            .iter()
            .flat_map(|(key, list)| list.sessions.iter().map(move |(name, listing)| (key, name, listing)))
            .filter(|(_, _, listing)| is_over(&listing.phase))
            .map(|(key, name, _)| (key.clone(), name.clone()))
            .collect();
        over.iter().for_each(|(key, name)| self.remove(cx, key, name));
    }

    /// A session that is listed has ended, perhaps before it was known to have begun.
    fn ended(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name, from: Node, session: &SessionId) {
        let Some(listing) = self.lists.get_mut(key).and_then(|list| list.sessions.get_mut(name)) else { return };
        match &mut listing.phase {
            Phase::Known { lead, .. } if lead.leader == from && lead.session == *session => self.remove(cx, key, name),
            Phase::Forming { birth, waiting, .. } if birth.session_at(from) == *session => {
                let waiting = std::mem::take(waiting);
                let why = Refusal::Failed("it ended as soon as it began".to_owned());
                self.give_up(cx, key, name, waiting, &why);
            }
            _ => {}
        }
    }

    fn has_room_for(&self, key: &ListKey) -> bool {
        self.lists.contains_key(key) || self.lists.len() < limits::OPEN_LISTS
    }

    fn attach(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name, waiter: Waiter) {
        let Some(listing) = self.lists.get_mut(key).and_then(|list| list.sessions.get_mut(name)) else { return };
        match &mut listing.phase {
            Phase::Known { lead, .. } => waiter.answer_with(cx, lead),
            Phase::Forming { waiting, .. } => {
                if !waiting.iter().any(|other| (other.door, other.number) == (waiter.door, waiter.number)) {
                    self.waiting += 1;
                    waiting.push(waiter);
                }
            }
        }
    }

    fn insert(&mut self, key: &ListKey, name: &Name, listing: Listing) {
        self.of.insert(name.clone(), key.clone());
        self.lists.entry(key.clone()).or_default().sessions.insert(name.clone(), listing);
        self.relist(key, name);
    }

    fn remove(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name) {
        self.take(cx, key, name);
        if self.lists.get(key).is_some_and(|list| list.sessions.is_empty()) {
            self.lists.remove(key);
        }
    }

    fn take(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name) -> Option<Listing> {
        self.of.remove(name);
        let list = self.lists.get_mut(key)?;
        list.open.remove(name);
        let listing = list.sessions.remove(name)?;
        for player in listing.joined.iter().chain(&listing.reserved) {
            cx.timers.cancel(&Timer::Reservation(key.clone(), name.clone(), player.clone()));
            if list.seats.get(player) == Some(name) {
                list.seats.remove(player);
            }
        }
        Some(listing)
    }

    /// Keeps a seat, or keeps it longer. A player who sits needs none.
    fn reserve(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name, player: &PlayerId) {
        let Some(list) = self.lists.get_mut(key) else { return };
        let Some(listing) = list.sessions.get_mut(name) else { return };
        if !listing.joined.contains(player) {
            listing.reserved.insert(player.clone());
            list.seats.insert(player.clone(), name.clone());
            let until = cx.now.saturating_add(limits::RESERVATION_US);
            cx.timers.set(until, Timer::Reservation(key.clone(), name.clone(), player.clone()));
        }
        self.relist(key, name);
    }

    /// A seat is not kept any more: its player came, or did not.
    fn release_seat(&mut self, cx: &mut Context<'_>, key: &ListKey, name: &Name, player: &PlayerId) {
        cx.timers.cancel(&Timer::Reservation(key.clone(), name.clone(), player.clone()));
        let Some(list) = self.lists.get_mut(key) else { return };
        let Some(listing) = list.sessions.get_mut(name) else { return };
        listing.reserved.remove(player);
        if !listing.joined.contains(player) && list.seats.get(player) == Some(name) {
            list.seats.remove(player);
        }
    }

    /// A session's seats changed.
    fn relist(&mut self, key: &ListKey, name: &Name) {
        let Some(list) = self.lists.get_mut(key) else { return };
        let Some(listing) = list.sessions.get(name) else { return };
        if !listing.is_open() {
            list.open.remove(name);
        } else if list.open.contains_key(name) || list.open.len() < limits::OPEN_SESSIONS {
            list.open.insert(name.clone(), (listing.order, listing.taken()));
        }
    }
}

impl List {
    /// The session that the next player is sent to.
    fn fullest(&self) -> Option<&Name> {
        let fullest = self.open.iter().max_by_key(|(_, (order, taken))| (*taken, std::cmp::Reverse(*order)));
        fullest.map(|(name, _)| name)
    }

    /// Where a player has a seat, joined or kept.
    fn seat_of(&self, player: &PlayerId) -> Option<&Name> {
        self.seats.get(player)
    }
}

impl Listing {
    /// Seats that somebody has or that are kept for somebody.
    fn taken(&self) -> usize {
        self.joined.len() + self.reserved.len()
    }

    fn is_open(&self) -> bool {
        self.entry == Admission::Open && self.taken() < self.seats as usize
    }
}

impl Waiter {
    fn answer_with(&self, cx: &mut Context<'_>, lead: &Lead) {
        let placed = placed(lead, self.is_first);
        cx.send(self.door, Message::Answer { number: self.number, answer: Ok(Box::new(placed)) });
    }
}

fn refuse(cx: &mut Context<'_>, door: Node, number: u64, refusal: Refusal) {
    cx.send(door, Message::Answer { number, answer: Err(Denial::Refused(refusal)) });
}

fn deny(cx: &mut Context<'_>, door: Node, number: u64) {
    cx.send(door, Message::Answer { number, answer: Err(Denial::OtherRing(cx.cluster.digest())) });
}

/// What is known of a session before its leader says more.
fn lead_of(placed: &Placed) -> Lead {
    Lead {
        session: placed.session.clone(),
        leader: placed.leader,
        worker: placed.worker,
        epoch: placed.epoch,
        inputs: 0,
        config: super::message::hash_config(&[]),
        is_live: true,
        listing: None,
    }
}

/// A key of ten characters from 64 random bits, five bits each, of an alphabet without look-alikes.
pub(super) fn drawn_key(random: u64) -> Option<SessionKey> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let text: String = (0..10).map(|place| char::from(ALPHABET[(random >> (place * 5)) as usize & 31])).collect();
    text.parse().ok()
}

/// A session that was to begin is told of within this time, or not at all.
const _: () = assert!(HOLD_US < REQUEST_US);
