//! Of two processes with one number one stays, and the others come to see it: whatever is lost, late or slow at first.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Config, Membership, Output, Sender, State};
use super::*;
use crate::ids::{Certificate, Node, NodeId};

const ROUND: u64 = 100_000;
/// Rounds of trouble, and of peace after them.
const TROUBLE: u64 = 80;
const PEACE: u64 = 120;
/// Rounds for which what was said may be on its way.
const LATE: usize = 4;
/// The number that is taken twice.
const NUMBER: u64 = 9;

/// How the twins begin.
#[derive(Debug, Clone)]
struct Start {
    /// In which round, and how many rounds later it is ready.
    rounds: (u64, u64),
    generation: u64,
    port: u16,
}

fn fact(id: u64, generation: u64, port: u16) -> Fact {
    let contact = Contact::at(([127, 0, 0, 1], port).into(), Certificate([0; 32]));
    Fact::new(Node { id: NodeId(id), generation }, contact)
}

/// A process, what it said in the last rounds, and what it was heard to say.
struct Process {
    membership: Membership,
    ready: u64,
    said: Vec<Fact>,
    heard: BTreeMap<usize, u64>,
    /// It was told that it is not alone, and ends then; gossip keeps what it said last.
    ends: Option<u64>,
    has_ended: bool,
}

struct Street {
    round: u64,
    processes: Vec<Process>,
}

impl Street {
    fn begin(&mut self, fact: Fact, ready: u64) {
        let membership = Membership::new(self.round * ROUND, Config { fact, has_seeds: true, succeeds: false });
        let said = vec![membership.own().clone()];
        let process = Process { membership, ready, said, heard: BTreeMap::new(), ends: None, has_ended: false };
        self.processes.push(process);
    }

    /// A round: everybody hears of everybody, but for what is lost; what is heard may be some rounds old.
    fn round(&mut self, mut lost: impl FnMut() -> bool, mut age: impl FnMut() -> usize) {
        self.round += 1;
        let now = self.round * ROUND;
        for to in 0..self.processes.len() {
            for from in 0..self.processes.len() {
                if from == to || self.processes[to].has_ended || lost() {
                    continue;
                }
                let Process { said, has_ended, .. } = &self.processes[from];
                let heartbeat = if *has_ended { u64::MAX } else { 0 };
                let fact = said[said.len().saturating_sub(1 + age())].clone();
                let process = &mut self.processes[to];
                // Gossip tells nobody what is older than what it told them.
                let newest = process.heard.entry(from).or_insert(fact.version);
                if fact.version >= *newest {
                    *newest = fact.version;
                    process.membership.handle_gossip(now, &fact, heartbeat);
                }
            }
            let process = &mut self.processes[to];
            if !process.has_ended {
                process.membership.handle_timeout(now);
                if self.round == process.ready {
                    process.membership.activate(now);
                }
            }
        }
        while self.deliver(&mut lost) {}
        for process in &mut self.processes {
            process.said.push(process.membership.own().clone());
            let old = process.said.len().saturating_sub(LATE + 1);
            process.said.drain(..old);
            process.has_ended |= process.ends == Some(self.round);
        }
    }

    fn deliver(&mut self, lost: &mut impl FnMut() -> bool) -> bool {
        let mut sent = Vec::new();
        for process in &mut self.processes {
            while let Some(output) = process.membership.poll_output() {
                match output {
                    Output::Send { contact, message, .. } if !lost() => {
                        let own = process.membership.own();
                        let from = Sender { node: own.node, contact: own.contact.control };
                        sent.push((from, contact, message));
                    }
                    Output::Duplicate(_) => process.ends = process.ends.or(Some(self.round + 2 * LATE as u64)),
                    _ => {}
                }
            }
        }
        let any = !sent.is_empty();
        for (from, contact, message) in sent {
            for process in self.processes.iter_mut().filter(|process| !process.has_ended) {
                if process.membership.own().contact.control == contact {
                    process.membership.handle_message(self.round * ROUND, from, message);
                }
            }
        }
        any
    }

    fn live(&self) -> impl Iterator<Item = &Membership> {
        self.processes.iter().filter(|process| !process.has_ended).map(|process| &process.membership)
    }

    /// The processes with the number, and whether anybody sees another one there.
    fn twins(&self) -> (Vec<&Fact>, bool) {
        let all: Vec<&Membership> = self.live().collect();
        let twins: Vec<&Fact> = all.iter().map(|it| it.own()).filter(|own| own.node.id.0 == NUMBER).collect();
        let sees = |membership: &Membership, twin: &Fact| {
            let seen = membership.view().node(NodeId(NUMBER));
            seen.is_some_and(|seen| {
                (seen.node, seen.state) == (twin.node, State::Active) && seen.contact.is_at(&twin.contact)
            })
        };
        let agreed = twins.first().is_some_and(|twin| all.iter().all(|membership| sees(membership, twin)));
        (twins, agreed)
    }
}

fn starts() -> impl Strategy<Value = [Start; 2]> {
    let rounds = || (0..40_u64, 0..30_u64);
    (rounds(), rounds(), prop_oneof![Just(0_u64), 1..3_u64], any::<bool>()).prop_map(|(one, two, later, swap)| {
        let (first, second) = if swap { (900, 800) } else { (800, 900) };
        [
            Start { rounds: one, generation: 50, port: first },
            Start { rounds: two, generation: 50 + later, port: second },
        ]
    })
}

proptest! {
    #[test]
    fn exactly_one_of_two_stays_and_everybody_sees_it(
        starts in starts(),
        others in 1..4_u64,
        loss in 0..90_u8,
        mut seed in any::<u64>(),
    ) {
        let mut draw = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u32
        };
        let mut street = Street { round: 0, processes: Vec::new() };
        (1..=others).for_each(|id| street.begin(fact(id, id, id as u16), 1));
        for round in 0..TROUBLE {
            for Start { rounds: (begin, ready), generation, port } in &starts {
                if *begin == round {
                    street.begin(fact(NUMBER, *generation, *port), round + 1 + ready);
                }
            }
            let drawn: Vec<u32> = (0..200).map(|_| draw()).collect();
            let (mut losses, mut ages) = (drawn.iter().cycle(), drawn.iter().rev().cycle());
            street.round(
                || losses.next().is_some_and(|drawn| drawn % 100 < u32::from(loss)),
                || ages.next().map_or(0, |drawn| *drawn as usize % (LATE + 1)),
            );
        }
        (0..PEACE).for_each(|_| street.round(|| false, || 0));
        let (twins, agreed) = street.twins();
        prop_assert_eq!(twins.len(), 1, "{:?}", twins);
        prop_assert!(agreed, "{:?}", twins);
    }
}

#[test]
fn who_is_there_is_not_put_out_by_one_that_only_begins() {
    for (there, newcomer) in [(800, 900), (900, 800)] {
        let mut street = Street { round: 0, processes: Vec::new() };
        street.begin(fact(1, 1, 1), 1);
        street.begin(fact(NUMBER, 50, there), 1);
        (0..30).for_each(|_| street.round(|| false, || 0));
        street.begin(fact(NUMBER, 50, newcomer), 31);
        (0..30).for_each(|_| street.round(|| false, || 0));
        let (twins, agreed) = street.twins();
        assert_eq!(twins.iter().map(|twin| twin.contact.control.port()).collect::<Vec<_>>(), [there]);
        assert!(agreed);
    }
}
