//! Rules of links one by one, and a pair of workers whose dials, closings and messages meet in any order.

use proptest::prelude::*;
use ringside_core::ids::{NodeId, WorkerId};

use super::*;

fn peer(node: u64, generation: u64) -> Peer {
    Peer { node: Node { id: NodeId(node), generation }, worker: WorkerId(0) }
}

fn session(number: usize) -> SessionId {
    format!("pong/a@{number:016x}").parse().unwrap()
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

fn hello(from: Peer, to: Peer, dial: u64) -> Greeting {
    Greeting { versions: VERSIONS, from, to, dial }
}

fn actions(links: &mut Links) -> Vec<Action> {
    std::iter::from_fn(|| links.poll_action()).collect()
}

fn news(links: &mut Links) -> Vec<Change> {
    std::iter::from_fn(|| links.poll_news()).map(|(_, change)| change).collect()
}

#[test]
fn the_first_session_dials_and_the_last_says_so() {
    let now = Instant::now();
    let (own, other) = (peer(1, 1), peer(2, 1));
    let mut links = Links::new(own);
    links.link(now, session(1), other, address()).unwrap();
    links.link(now, session(2), other, address()).unwrap();
    links.link(now, session(2), other, address()).unwrap();
    assert_eq!(actions(&mut links), [Action::Dial { peer: other, address: address(), dial: 1 }]);
    links.dialed(other, 1, 7);
    assert_eq!(links.channel(other), None, "not before it answered");
    assert_eq!(links.welcomed(now, 7, &hello(other, own, 1)), Ok(1));
    assert_eq!(news(&mut links), [Change::Up { channel: 7, version: 1 }]);
    assert_eq!(links.channel(other), Some(7));
    links.unlink(&session(1), other);
    assert_eq!(actions(&mut links), []);
    links.unlink(&session(2), other);
    assert_eq!(actions(&mut links), [Action::SayDone { channel: 7 }]);
    // The peer, which needs it no more either, closes it.
    links.lost(now, 7, End::Unlinked, true);
    assert_eq!(news(&mut links), [Change::Down { end: End::Unlinked, by_peer: true }]);
    assert_eq!((links.peers(), links.links, links.next_timeout()), (0, 0, None));
}

#[test]
fn whoever_still_needs_a_link_keeps_it_and_has_it_again_when_the_other_was_faster() {
    let now = Instant::now();
    let (own, other) = (peer(1, 1), peer(2, 1));
    let mut links = Links::new(own);
    links.greeted(now, 3, &hello(other, own, 1), true).unwrap();
    links.link(now, session(1), other, address()).unwrap();
    links.heard_done(3);
    assert_eq!(actions(&mut links), [], "a session here needs it");
    links.lost(now, 3, End::Unlinked, true);
    links.handle_timeout(now);
    assert_eq!(actions(&mut links), [Action::Dial { peer: other, address: address(), dial: 1 }]);
}

#[test]
fn failures_are_tried_again_after_longer_and_longer_waits() {
    let mut now = Instant::now();
    let (own, other) = (peer(1, 1), peer(2, 1));
    let mut links = Links::new(own);
    links.link(now, session(1), other, address()).unwrap();
    let mut waits = Vec::new();
    for dial in 1..=7 {
        assert_eq!(actions(&mut links), [Action::Dial { peer: other, address: address(), dial }]);
        links.dialed(other, dial, 100 + dial);
        links.lost(now, 100 + dial, End::Unreachable, false);
        assert_eq!(news(&mut links), [Change::Down { end: End::Unreachable, by_peer: false }]);
        let next = links.next_timeout().unwrap();
        waits.push((next - now).as_millis());
        links.handle_timeout(next - Duration::from_millis(1));
        assert_eq!(actions(&mut links), [], "not before its time");
        now = next;
        links.handle_timeout(now);
    }
    assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
}

#[test]
fn who_is_not_meant_or_not_known_is_refused_by_name() {
    let now = Instant::now();
    let own = peer(5, 10);
    let mut links = Links::new(own);
    links.link(now, session(1), peer(7, 3), address()).unwrap();
    let newer = Greeting { versions: (VERSIONS.1 + 1, VERSIONS.1 + 2), ..hello(peer(6, 1), own, 1) };
    for (hello, shown, end) in [
        (newer, true, End::Version),
        (hello(peer(6, 1), own, 1), false, End::Certificate),
        (hello(peer(5, 11), own, 1), true, End::DuplicateNode),
        (hello(peer(6, 1), peer(5, 9), 1), true, End::OtherRun),
        (hello(peer(6, 1), peer(8, 1), 1), true, End::OtherRun),
        (hello(own, own, 1), true, End::OtherRun),
        (hello(peer(7, 2), own, 1), true, End::OldRun),
    ] {
        assert_eq!(links.greeted(now, 1, &hello, shown), Err(end));
    }
    assert_eq!(links.link(now, session(1), own, address()), Err(LinkError::Itself));
    assert_eq!(links.link(now, session(1), peer(7, 2), address()), Err(LinkError::OldRun));
    // Whoever answers must be who is meant.
    links.dialed(peer(7, 3), 1, 2);
    assert_eq!(links.welcomed(now, 2, &hello(peer(7, 4), own, 1)), Err(End::OtherRun));
    links.stop();
    assert_eq!(links.greeted(now, 1, &hello(peer(6, 1), own, 1), true), Err(End::Stopping));
    assert_eq!(links.link(now, session(1), peer(6, 1), address()), Err(LinkError::Stopped));
}

#[test]
fn a_node_that_was_started_anew_is_another_peer_and_ends_the_one_before() {
    let now = Instant::now();
    let own = peer(1, 1);
    let mut links = Links::new(own);
    links.greeted(now, 1, &hello(peer(2, 1), own, 1), true).unwrap();
    links.link(now, session(1), peer(2, 1), address()).unwrap();
    news(&mut links);
    assert_eq!(links.greeted(now, 2, &hello(peer(2, 2), own, 1), true), Ok(1));
    assert_eq!(actions(&mut links), [Action::Close { channel: 1, end: End::OldRun }]);
    assert_eq!(
        news(&mut links),
        [Change::Down { end: End::OldRun, by_peer: false }, Change::Up { channel: 2, version: 1 }]
    );
    assert_eq!((links.channel(peer(2, 1)), links.channel(peer(2, 2)), links.links), (None, Some(2), 0));
    // A peer that is not there any more is not tried again.
    links.link(now, session(1), peer(3, 1), address()).unwrap();
    links.dialed(peer(3, 1), 1, 9);
    links.lost(now, 9, End::OtherRun, true);
    assert_eq!((links.next_timeout(), links.links), (None, 0));
}

#[test]
fn peers_beyond_the_bound_are_refused() {
    let now = Instant::now();
    let own = peer(0, 1);
    let mut links = Links::new(own);
    for node in 1..=PEERS as u64 {
        links.link(now, session(1), peer(node, 1), address()).unwrap();
    }
    let further = peer(PEERS as u64 + 1, 1);
    assert_eq!(links.link(now, session(1), further, address()), Err(LinkError::Peers));
    assert_eq!(links.greeted(now, 1, &hello(further, own, 1), true), Err(End::Busy));
    links.unlink(&session(1), peer(1, 1));
    assert_eq!(links.greeted(now, 1, &hello(further, own, 1), true), Ok(1), "there is room again");
}

#[test]
fn links_of_sessions_beyond_the_bound_are_refused() {
    let now = Instant::now();
    let mut links = Links::new(peer(0, 1));
    for number in 0..PEER_SESSIONS {
        links.link(now, session(number), peer(1, 1), address()).unwrap();
    }
    let further = session(PEER_SESSIONS);
    assert_eq!(links.link(now, further.clone(), peer(1, 1), address()), Err(LinkError::Sessions));
    links.link(now, session(0), peer(1, 1), address()).expect("one that is linked already");
    links.unlink(&session(0), peer(1, 1));
    links.link(now, further, peer(1, 1), address()).expect("there is room again");
}

/// What is under way on a connection.
#[derive(Debug, Clone, Copy)]
enum Word {
    Hello(Greeting),
    Welcome(Greeting),
    Done,
    Closed(End),
}

/// Two workers and the connections between them, each a pair of ordered pipes.
struct Pair {
    now: Instant,
    links: [Links; 2],
    /// Whom each takes for up, as it was told.
    up: [Option<Channel>; 2],
    /// Words under way, by channel and by whom they go to.
    pipes: BTreeMap<(Channel, usize), VecDeque<Word>>,
    open: BTreeSet<(Channel, usize)>,
    made: Channel,
}

impl Pair {
    fn new() -> Pair {
        let links = [Links::new(peer(1, 1)), Links::new(peer(2, 1))];
        Pair { now: Instant::now(), links, up: [None; 2], pipes: BTreeMap::new(), open: BTreeSet::new(), made: 0 }
    }

    fn other(side: usize) -> Peer {
        peer(2 - side as u64, 1)
    }

    fn say(&mut self, channel: Channel, from: usize, word: Word) {
        if self.open.contains(&(channel, from)) {
            self.pipes.entry((channel, 1 - from)).or_default().push_back(word);
        }
        if matches!(word, Word::Closed(_)) {
            self.open.remove(&(channel, from));
        }
    }

    fn settle(&mut self, side: usize) {
        while let Some(action) = self.links[side].poll_action() {
            match action {
                Action::Dial { peer, dial, .. } => {
                    self.made += 1;
                    let channel = self.made;
                    self.open.extend([(channel, 0), (channel, 1)]);
                    self.links[side].dialed(peer, dial, channel);
                    let own = Self::other(1 - side);
                    self.say(channel, side, Word::Hello(hello(own, peer, dial)));
                }
                Action::Close { channel, end } => self.say(channel, side, Word::Closed(end)),
                Action::SayDone { channel } => self.say(channel, side, Word::Done),
            }
        }
        while let Some((_, change)) = self.links[side].poll_news() {
            self.up[side] = match change {
                Change::Up { channel, .. } => {
                    assert_eq!(self.up[side], None, "one at a time");
                    Some(channel)
                }
                Change::Down { .. } => None,
            };
        }
    }

    /// Delivers the next word of one of the pipes.
    fn deliver(&mut self, which: usize) {
        let waiting: Vec<_> = self.pipes.iter().filter(|(_, words)| !words.is_empty()).map(|(pipe, _)| *pipe).collect();
        let Some(&(channel, side)) = waiting.get(which % waiting.len().max(1)) else { return };
        let Some(word) = self.pipes.get_mut(&(channel, side)).and_then(VecDeque::pop_front) else { return };
        if !self.open.contains(&(channel, side)) {
            return;
        }
        match word {
            Word::Hello(greeting) => match self.links[side].greeted(self.now, channel, &greeting, true) {
                Ok(_) => {
                    let welcome = hello(greeting.to, greeting.from, greeting.dial);
                    self.say(channel, side, Word::Welcome(welcome));
                }
                Err(end) => self.say(channel, side, Word::Closed(end)),
            },
            Word::Welcome(greeting) => {
                if let Err(end) = self.links[side].welcomed(self.now, channel, &greeting) {
                    self.say(channel, side, Word::Closed(end));
                    self.links[side].lost(self.now, channel, end, false);
                }
            }
            Word::Done => self.links[side].heard_done(channel),
            Word::Closed(end) => {
                self.open.remove(&(channel, side));
                self.links[side].lost(self.now, channel, end, true);
            }
        }
        self.settle(side);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for side in 0..2 {
            self.links[side].handle_timeout(self.now);
            self.settle(side);
        }
    }

    /// A connection breaks; both ends find out, one after the other.
    fn cut(&mut self, which: usize) {
        let channels: BTreeSet<Channel> = self.open.iter().map(|(channel, _)| *channel).collect();
        let Some(&channel) = channels.iter().nth(which % channels.len().max(1)) else { return };
        for side in 0..2 {
            self.pipes.insert((channel, side), VecDeque::from([Word::Closed(End::Unreachable)]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happened in whatever order: once it is quiet there is one connection, the same for both, where a session
    /// needs it, and none otherwise.
    #[test]
    fn a_pair_ends_with_one_connection_or_none(deeds in proptest::collection::vec((0..9_u8, any::<u8>()), 0..120)) {
        let mut pair = Pair::new();
        for (deed, detail) in deeds {
            let (side, number) = (usize::from(detail % 2), usize::from(detail / 2 % 3));
            match deed {
                0 | 1 => {
                    let linked = pair.links[side].link(pair.now, session(number), Pair::other(side), address());
                    prop_assert_eq!(linked, Ok(()));
                    pair.settle(side);
                }
                2 => {
                    pair.links[side].unlink(&session(number), Pair::other(side));
                    pair.settle(side);
                }
                3..=6 => pair.deliver(usize::from(detail)),
                7 => pair.cut(usize::from(detail)),
                _ => pair.pass(Duration::from_millis(u64::from(detail))),
            }
        }
        for _ in 0..400 {
            while pair.pipes.values().any(|words| !words.is_empty()) {
                pair.deliver(0);
            }
            pair.pass(Duration::from_millis(50));
        }
        let open: BTreeSet<Channel> = pair.open.iter().map(|(channel, _)| *channel).collect();
        if pair.links.iter().any(|links| links.links > 0) {
            prop_assert_eq!(open.len(), 1, "{:?}", pair.links);
            let channel = open.first().copied();
            prop_assert_eq!(pair.up, [channel; 2]);
            prop_assert_eq!(pair.links[0].channel(Pair::other(0)), channel);
            prop_assert_eq!(pair.links[1].channel(Pair::other(1)), channel);
        } else {
            prop_assert_eq!(open.len(), 0, "{:?}", pair.links);
            prop_assert_eq!(pair.up, [None; 2]);
            prop_assert_eq!((pair.links[0].peers(), pair.links[1].peers()), (0, 0));
        }
    }
}

/// One end stood still until the other had given the connection up: it hears nothing of that, for minutes.
#[test]
fn who_lost_a_link_that_the_other_end_holds_on_to_has_it_again() {
    for (side, age) in [(0, PEER_CROSSING), (1, PEER_CROSSING), (1, Duration::ZERO)] {
        let mut pair = Pair::new();
        for side in 0..2 {
            pair.links[side].link(pair.now, session(side), Pair::other(side), address()).unwrap();
        }
        pair.settle(0);
        while pair.pipes.values().any(|words| !words.is_empty()) {
            pair.deliver(0);
        }
        assert_eq!(pair.up, [Some(1); 2]);
        pair.pass(age);
        pair.open.remove(&(1, side));
        pair.links[side].lost(pair.now, 1, End::Unreachable, false);
        pair.settle(side);
        let since = pair.now;
        while pair.up[0].is_none_or(|channel| channel == 1 || pair.up[1] != Some(channel)) {
            pair.pass(Duration::from_millis(50));
            while pair.pipes.values().any(|words| !words.is_empty()) {
                pair.deliver(0);
            }
            let most = PEER_CROSSING.saturating_sub(age) + PEER_BACKOFF_LONGEST + Duration::from_millis(100);
            assert!(pair.now < since + most, "{:?}", pair.links);
        }
    }
}

/// Both dial before either hears of it: the smaller's connection stays, and nobody's sessions see a link go.
#[test]
fn the_smaller_workers_connection_stays_when_both_dial() {
    for first in 0..2 {
        let mut pair = Pair::new();
        for side in [first, 1 - first] {
            pair.links[side].link(pair.now, session(side), Pair::other(side), address()).unwrap();
            pair.settle(side);
        }
        assert_eq!(pair.open.len(), 4, "two connections");
        while pair.pipes.values().any(|words| !words.is_empty()) {
            pair.deliver(first);
        }
        let smaller = if first == 0 { 1 } else { 2 };
        assert_eq!(pair.up, [Some(smaller); 2]);
        assert!(pair.links[0].poll_news().is_none() && pair.links[1].poll_news().is_none());
    }
}

#[test]
fn two_runs_of_a_node_are_linked_as_long_as_both_are_there_where_the_later_began_beside_the_earlier() {
    let now = Instant::now();
    let own = peer(1, 1);
    let mut links = Links::new(own);
    links.greeted(now, 1, &hello(peer(2, 1), own, 1), true).unwrap();
    links.link(now, session(1), peer(2, 1), address()).unwrap();
    assert_eq!(links.greeted(now, 2, &hello(peer(2, 2), own, BESIDE + 1), true), Ok(1));
    assert_eq!((links.channel(peer(2, 1)), links.channel(peer(2, 2))), (Some(1), Some(2)));
    links.link(now, session(2), peer(2, 1), address()).unwrap();
    // The earlier ends: it is not tried again.
    actions(&mut links);
    links.lost(now, 1, End::Unreachable, false);
    assert_eq!((links.channel(peer(2, 1)), links.next_timeout()), (None, None));
    assert_eq!(links.link(now, session(1), peer(2, 1), address()), Err(LinkError::OldRun));
}

#[test]
fn a_run_is_linked_to_the_other_run_of_its_node_that_it_knows_of() {
    let now = Instant::now();
    let (old, new) = (peer(5, 10), peer(5, 11));
    let mut links = Links::new(old);
    links.beside(Some(new.node), false);
    assert_eq!(links.greeted(now, 1, &hello(new, old, BESIDE + 1), true), Ok(1));
    let mut links = Links::new(new);
    assert_eq!(links.link(now, session(1), old, address()), Err(LinkError::OldRun));
    links.beside(Some(old.node), true);
    links.link(now, session(1), old, address()).unwrap();
    assert_eq!(actions(&mut links), [Action::Dial { peer: old, address: address(), dial: BESIDE + 1 }]);
}
