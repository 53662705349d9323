//! Announcements: how a leader keeps the homes of its sessions informed. A home that wants to know (its ring changed)
//! says so with a new *term*; the leader answers with all sessions that are that home's, then with each change, in
//! parts of [`ANNOUNCED_ITEMS`] and [`ANNOUNCED_BYTES`] at most that the home takes in order and acknowledges one at a time. So loss, doubling and
//! reordering cost time and nothing else, and "everything is told" is a state that both ends agree on.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, RESEND_US, Timer};
use super::led::Led;
use super::message::{Item, Message, name_of};
use crate::ids::{Node, SessionId};
use crate::limits::{ANNOUNCED_BYTES, ANNOUNCED_ITEMS, UNTOLD_ENDS};
use crate::ring::RingDigest;

/// A part that is on its way.
#[derive(Debug)]
struct Part {
    items: Vec<Item>,
    is_complete: bool,
}

#[derive(Debug)]
struct Stream {
    term: u64,
    run: u64,
    serial: u64,
    /// Of which sessions the home does not know the newest.
    untold: BTreeSet<SessionId>,
    /// Whether the home knows, or is being told, that everything is told.
    was_completed: bool,
    sent: Option<Part>,
}

/// The announcements to all homes.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    streams: BTreeMap<Node, Stream>,
    /// What homes asked for under rings that are not this node's, yet.
    wanted: BTreeMap<Node, (RingDigest, u64)>,
    /// Homes that may be sent something.
    ready: BTreeSet<Node>,
    /// The last run of any.
    runs: u64,
}

impl Announcements {
    /// A home wants to know.
    pub fn handle_sync(&mut self, cx: &mut Context<'_>, led: &Led, from: Node, ring: RingDigest, term: u64) {
        if self.streams.get(&from).is_some_and(|stream| term <= stream.term) {
            return;
        }
        if self.wanted.get(&from).is_some_and(|(_, known)| term < *known) {
            return;
        }
        self.wanted.insert(from, (ring, term));
        if ring == cx.cluster.digest() {
            self.begin(cx, led, from, term);
        }
    }

    /// The ring changed: what was said under another means nothing any more.
    pub fn handle_ring(&mut self, cx: &mut Context<'_>, led: &Led) {
        for home in std::mem::take(&mut self.streams).into_keys() {
            cx.timers.cancel(&Timer::Announce(home));
        }
        self.ready.clear();
        self.wanted.retain(|home, _| cx.cluster.present.contains(home));
        let wanted: Vec<_> = self.wanted.iter().filter(|(_, (ring, _))| *ring == cx.cluster.digest()).collect();
        let wanted: Vec<(Node, u64)> = wanted.into_iter().map(|(home, (_, term))| (*home, *term)).collect();
        for (home, term) in wanted {
            self.begin(cx, led, home, term);
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>, led: &Led, home: Node, term: u64) {
        // Under one term of a home this node's ring may change and change back: what it says then is another run.
        self.runs += 1;
        let run = self.runs;
        let untold =
            led.all(cx.me, cx.now).filter(|session| homes(cx, led, session).contains(&Some(home))).cloned().collect();
        self.streams.insert(home, Stream { term, run, serial: 0, untold, was_completed: false, sent: None });
        self.ready.insert(home);
    }

    /// A session changed or ended.
    pub fn changed(&mut self, cx: &mut Context<'_>, led: &Led, session: &SessionId) {
        for home in homes(cx, led, session).into_iter().flatten() {
            let Some(stream) = self.streams.get_mut(&home) else { continue };
            if stream.untold.len() >= UNTOLD_ENDS + led.len() + led.following().len() {
                let term = stream.term;
                cx.timers.cancel(&Timer::Announce(home));
                self.begin(cx, led, home, term);
                continue;
            }
            stream.untold.insert(session.clone());
            self.ready.insert(home);
        }
    }

    /// Sends what can be sent. Whether anything was.
    pub fn pump(&mut self, cx: &mut Context<'_>, led: &Led) -> bool {
        let mut any = false;
        while let Some(home) = self.ready.pop_first() {
            let Some(stream) = self.streams.get_mut(&home) else { continue };
            if stream.sent.is_some() || stream.untold.is_empty() && stream.was_completed {
                continue;
            }
            let items = next_items(&mut stream.untold, |session| led.item(cx.me, session));
            let is_complete = stream.untold.is_empty();
            stream.was_completed |= is_complete;
            stream.serial += 1;
            stream.sent = Some(Part { items, is_complete });
            self.send(cx, home);
            any = true;
        }
        any
    }

    /// A home has a part.
    pub fn handle_acknowledge(&mut self, cx: &mut Context<'_>, from: Node, term: u64, run: u64, serial: u64) {
        let Some(stream) = self.streams.get_mut(&from) else { return };
        if (stream.term, stream.run, stream.serial) == (term, run, serial) && stream.sent.take().is_some() {
            cx.timers.cancel(&Timer::Announce(from));
            self.ready.insert(from);
        }
    }

    /// A part was not acknowledged.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>, home: Node) {
        self.send(cx, home);
    }

    /// A node is gone: it keeps nothing any more.
    pub fn handle_gone(&mut self, cx: &mut Context<'_>, node: Node) {
        self.streams.remove(&node);
        self.wanted.remove(&node);
        self.ready.remove(&node);
        cx.timers.cancel(&Timer::Announce(node));
    }

    fn send(&mut self, cx: &mut Context<'_>, home: Node) {
        let Some(stream) = self.streams.get(&home) else { return };
        let Some(Part { items, is_complete }) = &stream.sent else { return };
        let Stream { term, run, serial, .. } = *stream;
        let message = Message::Announce { term, run, serial, items: items.clone(), is_complete: *is_complete };
        cx.send(home, message);
        if home != cx.me {
            cx.timers.set(cx.now + RESEND_US, Timer::Announce(home));
        }
    }
}

/// Takes what goes with the next part: at least one item, if there is any to tell.
fn next_items(untold: &mut BTreeSet<SessionId>, item: impl Fn(&SessionId) -> Option<Item>) -> Vec<Item> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    while items.len() < ANNOUNCED_ITEMS
        && let Some(session) = untold.pop_first()
    {
        // One that another node leads by now is that one's to tell of.
        let Some(next) = item(&session) else { continue };
        bytes += next.bytes();
        if bytes > ANNOUNCED_BYTES && !items.is_empty() {
            untold.insert(session);
            break;
        }
        items.push(next);
    }
    items
}

/// The homes of a session's entry and of its list.
fn homes(cx: &Context<'_>, led: &Led, session: &SessionId) -> [Option<Node>; 2] {
    let list = led.list_of(session).and_then(|list| cx.cluster.home_of_list(&list));
    [cx.cluster.home_of(&name_of(session)), list]
}
