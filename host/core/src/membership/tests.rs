//! Membership's promises: a few nodes stepped by hand over a model gossip and model links.

use std::collections::BTreeSet;

use super::*;

const SECOND: u64 = 1_000_000;
const ROUND: u64 = 100_000;

fn fact(id: u64, generation: u64, port: u16) -> Fact {
    let address = |port: u16| ([127, 0, 0, 1], port).into();
    let contact = Contact {
        door: address(port + 1),
        workers: vec![address(port + 2)],
        ..Contact::at(address(port), Certificate([0; 32]))
    };
    Fact::new(Node { id: NodeId(id), generation }, contact)
}

/// Nodes whose gossip and links are perfect but for those that are cut.
struct Town {
    now: u64,
    nodes: BTreeMap<u64, Membership>,
    /// From whom to whom nothing passes, gossip included.
    cut: BTreeSet<(u64, u64)>,
    /// Those who neither run nor hear.
    still: BTreeSet<u64>,
    /// The ends of outputs that are not for links.
    told: Vec<(u64, Output)>,
}

impl Town {
    fn of(count: u64) -> Town {
        let mut town =
            Town { now: 0, nodes: BTreeMap::new(), cut: BTreeSet::new(), still: BTreeSet::new(), told: Vec::new() };
        (1..=count).for_each(|id| town.start(id, fact(id, 1000 + id, id as u16 * 10)));
        town.run(3 * SECOND);
        town
    }

    fn start(&mut self, name: u64, fact: Fact) {
        let mut node = Membership::new(self.now, Config { fact, has_seeds: true, succeeds: false });
        node.activate(self.now);
        self.nodes.insert(name, node);
    }

    /// Runs for a while: each round everybody hears of everybody through everybody who is not cut off.
    fn run(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            self.now += ROUND;
            let names: Vec<u64> = self.nodes.keys().copied().filter(|name| !self.still.contains(name)).collect();
            for name in &names {
                let facts: Vec<Fact> = names
                    .iter()
                    .filter(|from| self.hears(**from, *name))
                    .map(|from| self.nodes[from].own.clone())
                    .collect();
                let Some(node) = self.nodes.get_mut(name) else { continue };
                facts.iter().for_each(|fact| node.handle_gossip(self.now, fact, 0));
                node.handle_timeout(self.now);
            }
            while self.deliver() {}
        }
    }

    /// Whether gossip of one comes to the other, directly or through a third.
    fn hears(&self, from: u64, to: u64) -> bool {
        let passes = |from: u64, to: u64| from != to && !self.cut.contains(&(from, to));
        passes(from, to) || self.nodes.keys().any(|by| passes(from, *by) && passes(*by, to) && !self.still.contains(by))
    }

    fn deliver(&mut self) -> bool {
        let mut sent = Vec::new();
        for (name, node) in &mut self.nodes {
            while let Some(output) = node.poll_output() {
                match output {
                    Output::Send { contact, message, .. } => sent.push((*name, contact, message)),
                    Output::Publish(_) | Output::View(_) => {}
                    other => self.told.push((*name, other)),
                }
            }
        }
        let any = !sent.is_empty();
        for (from, contact, message) in sent {
            let own = &self.nodes[&from].own;
            let sender = Sender { node: own.node, contact: own.contact.control };
            for (name, node) in &mut self.nodes {
                let arrives = node.own.contact.control == contact && !self.cut.contains(&(from, *name));
                if arrives && !self.still.contains(name) {
                    node.handle_message(self.now, sender, message);
                }
            }
        }
        any
    }

    fn sees(&self, name: u64) -> Vec<u64> {
        self.nodes[&name].view().ring().members().iter().map(|member| member.node.id.0).collect()
    }

    fn agree(&self) -> bool {
        let digests: BTreeSet<_> = self.nodes.values().map(|node| node.view().digest()).collect();
        digests.len() == 1
    }
}

#[test]
fn those_who_meet_agree() {
    let town = Town::of(4);
    assert!(town.agree());
    assert_eq!(town.sees(1), [1, 2, 3, 4]);
    assert!(town.nodes.values().all(|node| node.view().nodes().all(|seen| seen.state == State::Active)));
}

#[test]
fn one_alone_without_seeds_begins_at_once() {
    let mut node = Membership::new(5, Config { fact: fact(1, 1, 10), has_seeds: false, succeeds: false });
    node.activate(5);
    node.handle_timeout(5);
    assert_eq!(node.own().state, State::Active);
}

#[test]
fn who_is_silent_is_asked_before_it_is_given_up() {
    let mut town = Town::of(3);
    town.nodes.remove(&3);
    town.run(SILENCE_US + PROBE_US);
    assert_eq!(town.sees(1), [1, 2, 3], "asked, not given up");
    town.run(2 * PROBE_US + 2 * ROUND);
    assert_eq!((town.sees(1), town.sees(2)), (vec![1, 2], vec![1, 2]));
}

#[test]
fn others_vouch_for_who_cannot_be_reached_directly() {
    let mut town = Town::of(4);
    // Gossip about 4 does not come to 1, nor do its links; its links with others are good.
    for by in 2..=4 {
        town.cut.insert((4, 1));
        town.cut.insert((by, 1));
    }
    town.cut.remove(&(2, 1));
    town.cut.insert((4, 2));
    town.cut.remove(&(3, 1));
    town.cut.insert((1, 4));
    // 4 is heard by 3 alone, and 3 vouches.
    town.run(10 * SECOND);
    assert_eq!(town.sees(1), [1, 2, 3, 4]);
}

#[test]
fn who_stood_still_believes_nobody_gone() {
    let mut town = Town::of(3);
    town.still.insert(1);
    town.run(SECOND / 2 + SILENCE_US / 2);
    town.still.clear();
    let now = town.now;
    let node = town.nodes.get_mut(&1).unwrap();
    // Its timers come before anything that waits for it.
    node.handle_timeout(now);
    assert_eq!((node.stalls(), node.view().ring().members().len()), (1, 3));
    town.run(3 * SECOND);
    assert!(town.agree());
    assert_eq!(town.sees(1), [1, 2, 3]);
}

#[test]
fn who_was_presumed_gone_comes_back_under_another_stay() {
    let mut town = Town::of(3);
    let before = town.nodes[&2].view().ring_digest();
    town.still.insert(1);
    town.run(4 * SECOND);
    assert_eq!(town.sees(2), [2, 3]);
    town.still.clear();
    town.run(4 * SECOND);
    assert!(town.agree());
    assert_eq!((town.sees(2), town.nodes[&1].own().stay), (vec![1, 2, 3], 1));
    assert_ne!(town.nodes[&2].view().ring_digest(), before, "a new stay makes another ring");
}

#[test]
fn the_two_halves_of_a_cluster_find_together() {
    let mut town = Town::of(4);
    for (one, other) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        town.cut.extend([(one, other), (other, one)]);
    }
    town.run(5 * SECOND);
    assert_eq!((town.sees(1), town.sees(4)), (vec![1, 2], vec![3, 4]));
    town.cut.clear();
    town.run(5 * SECOND);
    assert!(town.agree());
    assert_eq!(town.sees(1), [1, 2, 3, 4]);
}

#[test]
fn who_comes_and_goes_is_kept_from_the_ring_for_a_while() {
    let mut town = Town::of(3);
    for _ in 0..=FREE_FLAPS {
        town.still.insert(3);
        town.run(3 * SECOND);
        town.still.clear();
        town.run(SECOND / 2);
    }
    town.run(SECOND / 2);
    assert!(town.agree(), "damping is the node's own word, so all agree on it");
    assert_eq!(town.sees(1), [1, 2]);
    assert_eq!(town.nodes[&1].view().node(NodeId(3)).unwrap().state, State::Joining);
    town.run(5 * SECOND);
    assert_eq!(town.sees(1), [1, 2, 3]);
}

#[test]
fn who_is_deaf_does_not_stay_on_the_ring() {
    let mut town = Town::of(3);
    town.cut.extend([(1, 3), (2, 3)]);
    town.run(5 * SECOND);
    assert_eq!((town.sees(1), town.sees(2), town.sees(3)), (vec![1, 2], vec![1, 2], vec![3]));
    town.cut.clear();
    town.run(5 * SECOND);
    assert!(town.agree());
    assert_eq!(town.sees(3), [1, 2, 3]);
}

#[test]
fn who_leaves_is_gone_at_once_and_stays_gone() {
    let mut town = Town::of(3);
    let last = town.nodes[&3].own().clone();
    let now = town.now;
    town.nodes.get_mut(&3).unwrap().leave(now);
    town.run(ROUND);
    assert_eq!(town.sees(1), [1, 2]);
    town.nodes.remove(&3);
    let now = town.now;
    town.nodes.get_mut(&1).unwrap().handle_gossip(now, &last, 0);
    assert_eq!(town.sees(1), [1, 2], "what was said before does not raise it");
    assert_eq!(town.nodes[&1].ignored().stale, 1);
}

#[test]
fn a_restarted_node_replaces_its_earlier_run() {
    let mut town = Town::of(3);
    town.nodes.remove(&3);
    town.start(3, fact(3, 2000, 30));
    town.run(ROUND);
    assert_eq!(town.nodes[&1].view().node(NodeId(3)).unwrap().node.generation, 2000, "same address: it restarted");
    town.run(3 * SECOND);
    assert!(town.agree());
    // On another address it is believed once the run before is silent.
    town.nodes.remove(&3);
    town.start(3, fact(3, 3000, 70));
    town.run(5 * SECOND);
    assert!(town.agree());
    assert_eq!(town.nodes[&1].view().node(NodeId(3)).unwrap().node.generation, 3000);
    assert!(town.told.is_empty(), "{:?}", town.told);
}

/// Clocks play no part but in the generation, which the state directory makes grow.
#[test]
fn a_second_node_with_a_number_that_is_taken_is_refused() {
    for generation in [9_000_000, 5] {
        let mut town = Town::of(3);
        town.start(99, fact(3, generation, 500));
        town.run(5 * SECOND);
        assert_eq!(town.nodes[&1].view().node(NodeId(3)).unwrap().node.generation, 1003, "who was first stays");
        let newcomer = Node { id: NodeId(3), generation };
        let told = |name, what: Output| town.told.contains(&(name, what));
        if generation > 1003 {
            assert!(told(1, Output::Refused(newcomer)));
            assert!(told(99, Output::Duplicate(Node { id: NodeId(3), generation: 1003 })));
        } else {
            assert!(town.nodes[&1].ignored().stale > 0, "a clock an hour behind cannot put the other out");
        }
        assert!(!told(3, Output::Duplicate(newcomer)));
    }
}

#[test]
fn a_run_that_was_replaced_ends() {
    let mut town = Town::of(3);
    town.still.insert(3);
    town.start(4, fact(3, 2000, 60));
    town.run(5 * SECOND);
    assert!(town.agree() || town.nodes[&1].view().node(NodeId(3)).unwrap().node.generation == 2000);
    town.still.clear();
    town.run(SECOND);
    assert!(town.told.contains(&(3, Output::Duplicate(Node { id: NodeId(3), generation: 2000 }))));
}

#[test]
fn bounds_hold_and_forgeries_are_counted() {
    let mut node = Membership::new(0, Config { fact: fact(1, 1, 10), has_seeds: true, succeeds: false });
    let mut forged = fact(2, 1, 20);
    forged.contact.workers = vec![forged.contact.door; limits::NODE_WORKERS + 1];
    node.handle_gossip(1, &forged, 0);
    forged.contact.workers.clear();
    forged.presumed_gone = vec![Presumed { node: forged.node, stay: 0 }; limits::PRESUMED_GONE + 1];
    node.handle_gossip(1, &forged, 0);
    assert_eq!(node.ignored().malformed, 2);
    for id in 2..limits::NODES as u64 + 10 {
        node.handle_gossip(1, &fact(id, 1, 20), 0);
    }
    while node.poll_output().is_some() {}
    assert_eq!(node.view().nodes().count(), limits::NODES);
    assert_eq!(node.ignored().beyond_limit, 9);
    node.handle_gossip(2, &fact(5000, 1, 20), u64::MAX);
    assert_eq!(node.ignored().beyond_limit, 9, "of unknown age: not there at all");
}

/// A node that hears what it is told; what it says to others is dropped.
fn listener() -> Membership {
    let mut node = Membership::new(0, Config { fact: fact(1, 1, 10), has_seeds: true, succeeds: false });
    node.activate(0);
    node
}

/// Lets time pass in which nothing is heard.
fn silence(node: &mut Membership, now: &mut u64, time: u64) {
    let end = *now + time;
    while *now < end {
        *now += ROUND;
        node.handle_timeout(*now);
    }
}

#[test]
fn a_run_that_only_ever_joined_keeps_no_earlier_one_away() {
    let (mut node, mut now) = (listener(), 0);
    let run = |generation: u64, stay: u32, state: State| Fact { state, stay, ..fact(2, generation, 20 + stay as u16) };
    let sees = |node: &mut Membership| {
        while node.poll_output().is_some() {}
        node.view().node(NodeId(2)).map(|seen| seen.node.generation)
    };
    node.handle_gossip(now, &run(5, 0, State::Active), 0);
    silence(&mut node, &mut now, 3 * SECOND);
    // Another process with its number, which never gets so far, comes while it cannot be heard.
    node.handle_gossip(now, &run(9, 0, State::Joining), 0);
    assert_eq!(sees(&mut node), Some(9));
    let presumed = vec![Presumed { node: Node { id: NodeId(2), generation: 5 }, stay: 0 }];
    assert_eq!(node.own().presumed_gone, presumed, "the earlier run is to begin a new stay");
    silence(&mut node, &mut now, 3 * SECOND);
    assert_eq!(sees(&mut node), None);
    assert_eq!(node.own().presumed_gone, presumed, "and to hear of no later one");
    node.handle_gossip(now, &run(5, 1, State::Active), 0);
    assert_eq!(sees(&mut node), Some(5));
    // One that was active did succeed it.
    silence(&mut node, &mut now, 3 * SECOND);
    node.handle_gossip(now, &run(9, 0, State::Joining), 0);
    node.handle_gossip(now, &Fact { version: 1, ..run(9, 0, State::Active) }, 0);
    silence(&mut node, &mut now, 3 * SECOND);
    node.handle_gossip(now, &run(5, 2, State::Active), 0);
    assert_eq!(sees(&mut node), None);
}

#[test]
fn the_era_of_a_node_whose_gossip_is_not_heard_comes_with_its_answers() {
    let (mut node, mut other) = (listener(), listener());
    let there = Node { id: NodeId(2), generation: 1 };
    node.handle_gossip(0, &fact(2, 1, 20), 0);
    node.handle_message(1, sender(2), Message::Pong { node: there, era: 7 });
    assert_eq!(node.era(there), Some(7));
    node.handle_gossip(2, &Fact { version: 1, era: 6, ..fact(2, 1, 20) }, 0);
    assert_eq!(node.era(there), Some(7), "gossip is slower");
    node.handle_message(3, sender(3), Message::Vouch { node: there, era: 8 });
    assert_eq!(node.era(there), Some(8));
    node.handle_message(4, sender(2), Message::Pong { node: Node { generation: 0, ..there }, era: 9 });
    assert_eq!(node.era(there), Some(8), "of another run");
    // And it answers with its own.
    other.handle_gossip(0, &fact(2, 1, 20), 0);
    other.handle_load(1, 0, 4);
    other.handle_message(2, sender(2), Message::Ping(Node { id: NodeId(1), generation: 1 }));
    let said: Vec<Output> = std::iter::from_fn(|| other.poll_output()).collect();
    let pong = Message::Pong { node: Node { id: NodeId(1), generation: 1 }, era: 4 };
    assert!(said.iter().any(|output| matches!(output, Output::Send { message, .. } if *message == pong)), "{said:?}");
}

/// A node that speaks.
fn sender(id: u64) -> Sender {
    Sender { node: Node { id: NodeId(id), generation: 1 }, contact: fact(id, 1, 20).contact.control }
}

#[test]
fn whoever_asks_is_answered_known_or_not() {
    let mut node = listener();
    let me = Node { id: NodeId(1), generation: 1 };
    // Nothing was heard of the first; the second has the number of another run, which may be over.
    node.handle_gossip(0, &fact(3, 2, 30), 0);
    while node.poll_output().is_some() {}
    for asker in [sender(2), sender(3)] {
        for (question, answer) in [
            (Message::Ping(me), Message::Pong { node: me, era: 0 }),
            (Message::Try(me), Message::Vouch { node: me, era: 0 }),
        ] {
            node.handle_message(1, asker, question);
            let Sender { node: to, contact } = asker;
            assert_eq!(node.poll_output(), Some(Output::Send { to, contact, message: answer }));
        }
    }
}

#[test]
fn an_address_that_changed_hands_says_nothing_about_who_has_it_now() {
    let mut node = listener();
    node.handle_gossip(0, &fact(2, 1, 20), 0);
    while node.poll_output().is_some() {}
    // Somebody takes this node for another one, which was here before.
    node.handle_message(1, sender(2), Message::Ping(Node { id: NodeId(3), generation: 1 }));
    let answers: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    assert!(answers.is_empty(), "{answers:?}");
}

#[test]
fn a_dead_node_stays_dead_when_gossip_has_forgotten_it_and_its_packets_come_again() {
    let (mut node, mut now) = (listener(), 0);
    let dead = Fact { state: State::Active, ..fact(2, 5, 20) };
    node.handle_gossip(now, &dead, 0);
    silence(&mut node, &mut now, 3 * SECOND);
    while node.poll_output().is_some() {}
    assert!(node.view().node(NodeId(2)).is_none());
    // From now on gossip takes old heartbeats for new ones.
    silence(&mut node, &mut now, GOSSIP_MEMORY_US);
    for beat in 0..20 {
        node.handle_gossip(now + beat * ROUND, &dead, 0);
        while node.poll_output().is_some() {}
        assert!(node.view().node(NodeId(2)).is_none());
    }
    assert_eq!(node.ignored().stale, 20);
}

#[test]
fn those_for_whom_a_node_is_tried_are_bounded() {
    let mut node = listener();
    let (tried, many) = (Node { id: NodeId(2), generation: 1 }, limits::ERRANDS as u64 + 5);
    node.handle_gossip(0, &fact(2, 1, 20), 0);
    for asker in 3..3 + many {
        node.handle_gossip(0, &fact(asker, 1, 100 + asker as u16), 0);
        node.handle_message(1, sender(asker), Message::Try(tried));
        node.handle_message(1, sender(asker), Message::Try(tried));
    }
    while node.poll_output().is_some() {}
    node.handle_message(2, sender(2), Message::Pong { node: tried, era: 0 });
    let said: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    let vouched = said.iter().filter(|output| matches!(output, Output::Send { message: Message::Vouch { .. }, .. }));
    assert_eq!(vouched.count(), limits::ERRANDS);
}

/// It is what the process before it was, from the beginning.
#[test]
fn a_run_that_takes_over_is_active_at_once() {
    let config = Config { fact: fact(1, 2, 10), has_seeds: true, succeeds: true };
    let mut node = Membership::new(0, config);
    assert_eq!(node.view().node(NodeId(1)).map(|seen| seen.state), Some(State::Active));
    let Some(Output::Publish(said)) = node.poll_output() else { panic!("it says what it is") };
    assert_eq!(said.state, State::Active);
    // Others replace the run before by it at once, for it is at the same place.
    let mut other = Membership::new(0, Config { fact: fact(2, 1, 20), has_seeds: true, succeeds: true });
    let former = Fact { state: State::Active, ..fact(1, 1, 10) };
    other.handle_gossip(1, &former, 0);
    other.handle_gossip(2, &said, 0);
    while other.poll_output().is_some() {}
    let seen = other.view().node(NodeId(1)).expect("the node");
    assert_eq!((seen.node.generation, seen.state), (2, State::Active));
}
