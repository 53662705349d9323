//! Directories of a few nodes, stepped by hand over perfect links: what each promise looks like when nothing else
//! happens. All schedules are the simulator's.

use std::collections::VecDeque;

use bytes::Bytes;

use super::*;
use crate::ids::{Certificate, ModuleHash, NodeId};
use crate::leadership::record::{Member, Motive, Record};
use crate::limits;
use crate::membership::{Contact, Fact, State};
use crate::placement::Policy;
use crate::rebalance::Going;
use crate::ring::Position;

pub(super) struct Cluster {
    pub now: u64,
    pub nodes: Vec<Directory>,
    sent: VecDeque<(Node, Node, Message)>,
    answers: Vec<(Node, RequestId, Result<Placed, Refusal>)>,
    pub ends: Vec<(SessionId, Ending)>,
    requests: RequestId,
    kinds: BTreeMap<&'static str, usize>,
    /// What workers were told of replication, and what they answer.
    pub told: Vec<(Node, Action)>,
    pub follow: Result<(), NotFollowed>,
    pub unfollow: bool,
    /// Nodes that cannot read what is to go on there from the store.
    old: Vec<u64>,
}

pub(super) fn node(id: u64) -> Node {
    Node { id: NodeId(id), generation: 7 }
}

pub(super) fn view(ids: &[u64]) -> View {
    let address = ([10, 0, 0, 1], 1).into();
    let fact = |id: &u64| {
        let contact = Contact { workers: vec![address], ..Contact::at(address, Certificate([0; 32])) };
        Fact { version: 1, state: State::Active, ..Fact::new(node(*id), contact) }
    };
    let facts: Vec<Fact> = ids.iter().map(fact).collect();
    View::new(facts.iter().map(|fact| (fact, fact.state)))
}

impl Cluster {
    fn of(ids: &[u64]) -> Cluster {
        Cluster::parted(&[ids])
    }

    /// Groups that do not know of each other yet.
    fn parted(groups: &[&[u64]]) -> Cluster {
        Cluster::with(groups, Replicas::default())
    }

    pub fn with(groups: &[&[u64]], replicas: Replicas) -> Cluster {
        let facts = GameFacts {
            module: ModuleHash([0; 32]),
            replicas,
            pace: Pace::Ticking,
            min_players: 2,
            max_players: 2,
            late_join: true,
        };
        let directory = |id: &u64| {
            let mut directory = Directory::new(node(*id), Limits { sessions: 4 });
            directory.handle_game("pong".parse().unwrap(), facts);
            directory.handle_worker(WorkerId(0));
            directory
        };
        let mut cluster = Cluster {
            now: 0,
            nodes: groups.iter().copied().flatten().map(directory).collect(),
            sent: VecDeque::new(),
            answers: Vec::new(),
            ends: Vec::new(),
            requests: 0,
            kinds: BTreeMap::new(),
            told: Vec::new(),
            follow: Ok(()),
            unfollow: true,
            old: Vec::new(),
        };
        groups.iter().for_each(|ids| cluster.see(ids, ids));
        cluster
    }

    /// These nodes have this view from now on, and what follows from that happens.
    pub fn see(&mut self, who: &[u64], ids: &[u64]) {
        let view = view(ids);
        for directory in self.nodes.iter_mut().filter(|directory| who.contains(&directory.me.id.0)) {
            directory.handle_view(self.now, &view);
        }
        self.run();
    }

    pub fn at(&mut self, id: u64) -> &mut Directory {
        self.nodes.iter_mut().find(|directory| directory.me.id.0 == id).unwrap()
    }

    pub fn run(&mut self) {
        loop {
            for at in 0..self.nodes.len() {
                while let Some(action) = self.nodes[at].poll_action() {
                    let me = self.nodes[at].me;
                    match action {
                        Action::Create { session, .. } if self.old.contains(&me.id.0) => {
                            let why = Refusal::Failed("it is of another release".to_owned());
                            self.nodes[at].handle_not_hosted(self.now, &session, why);
                        }
                        Action::Create { session, worker, .. } => {
                            // Its first record may be heard of before it.
                            let first = Record::first(session.clone(), Member { node: me, worker });
                            self.nodes[at].handle_record(self.now, &session, &first);
                            self.nodes[at].handle_created(self.now, &session, worker, Ok(()));
                        }
                        Action::End { session, why, .. } => {
                            self.nodes[at].handle_ended(self.now, &session, why.to_string());
                            self.ends.push((session, why));
                        }
                        Action::Answer { request, answer } => self.answers.push((me, request, answer)),
                        Action::Send { to, message } => self.sent.push_back((me, to, *message)),
                        Action::Follow { ref terms, .. } => {
                            let answer = self.follow;
                            self.nodes[at].handle_followed(self.now, &terms.session, answer);
                            self.told.push((me, action));
                        }
                        Action::Unfollow { ref session, .. } => {
                            let is_over = self.unfollow;
                            self.nodes[at].handle_unfollowed(self.now, session, is_over);
                            self.told.push((me, action));
                        }
                        Action::Recruit { .. } | Action::NewHome { .. } | Action::FromHome { .. } => {
                            self.told.push((me, action));
                        }
                    }
                }
            }
            let Some((from, to, message)) = self.sent.pop_front() else { return };
            let kind = match &message {
                Message::Question { .. } => "question",
                Message::Announce { .. } => "announce",
                Message::Host { .. } => "host",
                _ => "other",
            };
            *self.kinds.entry(kind).or_default() += 1;
            if let Some(directory) = self.nodes.iter_mut().find(|directory| directory.me == to) {
                directory.handle_message(self.now, from, message);
            }
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            self.now += 50_000;
            self.nodes.iter_mut().for_each(|directory| directory.handle_timeout(self.now));
            self.run();
        }
    }

    pub fn ask(&mut self, id: u64, key: &str, config: &'static [u8], policy: Policy) -> Result<Placed, Refusal> {
        self.requests += 1;
        let (now, request) = (self.now, self.requests);
        let create = Create {
            game: "pong".parse().unwrap(),
            key: Some(key.parse().unwrap()),
            config: Bytes::from_static(config),
            record: false,
            listed: None,
            policy,
            draw: Draw { key: request, incarnation: request },
        };
        self.at(id).handle_create(now, request, create);
        self.run();
        self.answer_to(request)
    }

    pub fn answered(&self, request: RequestId) -> Option<&Result<Placed, Refusal>> {
        self.answers.iter().find(|(_, other, _)| *other == request).map(|(_, _, answer)| answer)
    }

    pub fn answer_to(&mut self, request: RequestId) -> Result<Placed, Refusal> {
        let at = self.answers.iter().position(|(_, other, _)| *other == request);
        self.answers.remove(at.expect("it is answered")).2
    }

    pub fn home(&self, key: &str, ids: &[u64]) -> u64 {
        let position = Position::of_key(&"pong".parse().unwrap(), &key.parse().unwrap());
        view(ids).ring().home(position).unwrap().node.id.0
    }

    /// A key whose home is `with` in the first cluster and another in the second.
    fn key_that_moves(&self, before: &[u64], after: &[u64], to: u64) -> String {
        let keys = (0..1000).map(|number| format!("key-{number}"));
        let mut keys = keys.filter(|key| self.home(key, after) == to && self.home(key, before) != to);
        keys.next().unwrap()
    }
}

#[test]
fn every_door_finds_the_one_session_of_a_key() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    let first = cluster.ask(1, "final", b"a", Policy::Ring).unwrap();
    for id in 1..=3 {
        let again = cluster.ask(id, "final", b"a", Policy::Ring).unwrap();
        assert_eq!((again.session, again.leader, again.created), (first.session.clone(), first.leader, false));
    }
    assert_eq!(cluster.ask(2, "final", b"b", Policy::Ring), Err(Refusal::KeyTaken(first.session.clone())));
    let home = cluster.home("final", &[1, 2, 3]);
    let lead = cluster.at(home).entry(&first.session.game, &first.session.key).unwrap().clone();
    assert_eq!((lead.leader, lead.epoch, lead.is_live), (first.leader, first.leader.first_epoch(), true));
    let leader = first.leader.id.0;
    let entry = cluster.at(leader).get(&first.session.game, &first.session.key).unwrap();
    assert_eq!(entry.decision.node(), Some(first.leader.id), "why it is here stands beside it");
}

#[test]
fn a_new_home_asks_before_it_creates_and_is_told_of_what_there_is() {
    let mut cluster = Cluster::parted(&[&[1, 2], &[3]]);
    let key = cluster.key_that_moves(&[1, 2], &[1, 2, 3], 3);
    let first = cluster.ask(1, &key, b"", Policy::Ring).unwrap();
    cluster.kinds.clear();
    cluster.see(&[1, 2, 3], &[1, 2, 3]);
    assert_eq!(cluster.ask(2, &key, b"", Policy::Ring).unwrap().session, first.session, "its leader announced it");
    let other = (0..1000).map(|number| format!("other-{number}"));
    let other = other.filter(|key| cluster.home(key, &[1, 2, 3]) == 3).take(2).collect::<Vec<_>>();
    cluster.kinds.clear();
    cluster.ask(1, &other[0], b"", Policy::Ring).unwrap();
    assert!(cluster.kinds["question"] >= 1, "{:?}", cluster.kinds);
    cluster.wait(SETTLE_US);
    cluster.kinds.clear();
    cluster.ask(1, &other[1], b"", Policy::Ring).unwrap();
    assert_eq!(cluster.kinds.get("question"), None, "everything was told, long enough ago");
}

#[test]
fn what_the_ring_gives_a_node_that_comes_goes_there_when_all_is_told_and_what_is_pinned_stays() {
    let mut cluster = Cluster::parted(&[&[1, 2], &[3]]);
    let key = cluster.key_that_moves(&[1, 2], &[1, 2, 3], 3);
    let first = cluster.ask(1, &key, b"", Policy::Ring).unwrap();
    let stays = (0..1000).map(|number| format!("stays-{number}"));
    let stays = stays.filter(|key| cluster.home(key, &[1, 2, 3]) == 3).take(1).collect::<Vec<_>>();
    cluster.ask(1, &stays[0], b"", Policy::Pinned(first.leader.id)).unwrap();
    cluster.wait(1_000_000);
    cluster.see(&[1, 2, 3], &[1, 2, 3]);
    let leader = first.leader.id.0;
    cluster.wait(SETTLE_US);
    let now = cluster.now;
    assert_eq!(cluster.at(leader).wave(now, 8), [], "a follower may come to lead what nobody leads");
    cluster.wait(SUCCESSION_US);
    let now = cluster.now;
    let going = Going { session: first.session.clone(), to: node(3), motive: Motive::Ring };
    assert_eq!(cluster.at(leader).wave(now, 0), []);
    // While this run is replaced everything goes to the other.
    let other = Node { generation: 8, ..node(leader) };
    cluster.at(leader).handle_companion(now, Some(other));
    assert_eq!(cluster.at(leader).wave(now, 8), []);
    cluster.at(leader).handle_companion(now, None);
    assert_eq!(cluster.at(leader).wave(now, 8), [going]);
    assert_eq!(cluster.at(leader).wave(now, 8), [], "it is on its way");
    // It was not taken, and stays for a while.
    cluster.at(leader).handle_given(now, &first.session, false);
    assert!((1..=3).all(|id| cluster.at(id).wave(now, 8).is_empty()));
}

#[test]
fn what_is_followed_only_to_be_led_is_about_to_arrive() {
    let mut cluster = Cluster::of(&[1, 2]);
    let first = cluster.ask(1, "final", b"", Policy::Pinned(NodeId(1))).unwrap();
    let now = cluster.now;
    cluster.at(1).handle_wanted(now, &first.session, node(2));
    cluster.run();
    assert_eq!(cluster.at(2).arriving().collect::<Vec<_>>(), [&first.session]);
    assert_eq!(cluster.at(1).arriving().count(), 0);
}

#[test]
fn who_does_not_answer_is_waited_for_until_it_is_gone() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    cluster.nodes.retain(|directory| directory.me.id.0 != 2);
    let key = (0..100).map(|n| format!("k-{n}")).find(|key| cluster.home(key, &[1, 2, 3]) == 1).unwrap();
    // A new view, so that everything must be asked for; 2 says nothing.
    cluster.see(&[1, 3], &[1, 3]);
    cluster.see(&[1, 3], &[1, 2, 3]);
    cluster.requests += 1;
    let (request, now) = (cluster.requests, cluster.now);
    let open = Open {
        game: "pong".parse().unwrap(),
        key: key.parse().unwrap(),
        record: false,
        may_create: true,
        draw: Draw { key: 9, incarnation: 9 },
    };
    cluster.at(1).handle_open(now, request, open);
    cluster.wait(3_000_000);
    assert!(cluster.answers.is_empty(), "nobody knows what 2 leads");
    cluster.see(&[1, 3], &[1, 3]);
    cluster.wait(1_000_000);
    assert!(cluster.answer_to(request).is_ok());
}

#[test]
fn of_two_sessions_of_a_key_the_one_with_more_inputs_goes_on() {
    let mut cluster = Cluster::parted(&[&[1], &[2]]);
    let one = cluster.ask(1, "final", b"", Policy::Ring).unwrap();
    let other = cluster.ask(2, "final", b"", Policy::Ring).unwrap();
    assert_ne!(one.session, other.session);
    cluster.at(2).handle_inputs(&other.session, 5);
    cluster.see(&[1, 2], &[1, 2]);
    cluster.wait(1_000_000);
    assert_eq!(cluster.ends, [(one.session, Ending::Superseded(other.session.clone()))]);
    assert_eq!(cluster.ask(1, "final", b"", Policy::Ring).unwrap().session, other.session);
}

#[test]
fn a_session_is_lost_with_its_node_and_that_is_said() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    let key = (0..100).map(|n| format!("k-{n}")).find(|key| cluster.home(key, &[1, 2, 3]) == 1).unwrap();
    let placed = cluster.ask(1, &key, b"", Policy::Pinned(NodeId(3))).unwrap();
    assert_eq!(placed.leader, node(3));
    cluster.nodes.retain(|directory| directory.me.id.0 != 3);
    cluster.see(&[1, 2], &[1, 2]);
    cluster.wait(1_000_000);
    cluster.requests += 1;
    let (request, now) = (cluster.requests, cluster.now);
    let open = Open {
        game: placed.session.game.clone(),
        key: placed.session.key.clone(),
        record: false,
        may_create: false,
        draw: Draw { key: 9, incarnation: 9 },
    };
    cluster.at(2).handle_open(now, request, open);
    cluster.wait(1_000_000);
    assert_eq!(cluster.answer_to(request), Err(Refusal::Lost(placed.session)));
    assert_eq!(cluster.ask(1, "pinned", b"", Policy::Pinned(NodeId(3))), Err(Refusal::NotThere(NodeId(3))));
}

#[test]
fn a_full_node_is_passed_over_and_a_full_cluster_refuses() {
    let mut cluster = Cluster::of(&[1, 2]);
    for number in 0..8 {
        cluster.ask(1, &format!("k-{number}"), b"", Policy::Ring).unwrap();
    }
    assert_eq!(cluster.nodes.iter().map(|directory| directory.sessions().count()).collect::<Vec<_>>(), [4, 4]);
    assert_eq!(cluster.ask(1, "one-more", b"", Policy::Ring), Err(Refusal::Full(4)));
}

#[test]
fn what_a_node_cannot_read_goes_on_at_another_or_is_said_and_asked_for_again() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    cluster.old = vec![1, 3];
    for number in 0..3 {
        let placed = cluster.ask(1, &format!("k-{number}"), b"", Policy::Ring).unwrap();
        assert_eq!(placed.leader, node(2), "whichever is asked first");
    }
    cluster.old.push(2);
    let refused = Err(Refusal::Failed("it is of another release".to_owned()));
    assert_eq!(cluster.ask(1, "one-more", b"", Policy::Ring), refused);
    // Nothing of it is kept against it.
    cluster.old.clear();
    assert!(cluster.ask(1, "one-more", b"", Policy::Ring).is_ok());
}

#[test]
fn messages_twice_or_of_another_run_change_nothing() {
    let mut cluster = Cluster::of(&[1, 2]);
    let key = (0..100).map(|n| format!("k-{n}")).find(|key| cluster.home(key, &[1, 2]) == 1).unwrap();
    let placed = cluster.ask(1, &key, b"", Policy::Pinned(NodeId(2))).unwrap();
    let before: Vec<Lead> = cluster.at(1).entries().cloned().collect();
    let ended = Message::Announce {
        term: 0,
        run: 1,
        serial: 1,
        items: vec![Item::Ended(placed.session.clone())],
        is_complete: true,
    };
    let stranger = Node { generation: 6, ..node(2) };
    let now = cluster.now;
    cluster.at(1).handle_message(now, node(2), ended.clone());
    cluster.at(1).handle_message(now, stranger, ended);
    cluster.run();
    assert_eq!(cluster.at(1).entries().cloned().collect::<Vec<_>>(), before);
}

#[test]
fn long_announcements_come_in_parts() {
    let mut led = Cluster::of(&[1, 2]);
    led.nodes.iter_mut().for_each(|directory| {
        *directory = Directory::new(directory.me, Limits { sessions: 3 * limits::ANNOUNCED_ITEMS });
        let facts = GameFacts {
            module: ModuleHash([0; 32]),
            replicas: Replicas::default(),
            pace: Pace::Prompt,
            min_players: 1,
            max_players: 1,
            late_join: true,
        };
        directory.handle_game("pong".parse().unwrap(), facts);
        directory.handle_worker(WorkerId(0));
    });
    led.see(&[1], &[1]);
    for number in 0..3 * limits::ANNOUNCED_ITEMS {
        led.ask(1, &format!("k-{number}"), b"", Policy::Ring).unwrap();
    }
    led.kinds.clear();
    led.see(&[1, 2], &[1, 2]);
    led.wait(1_000_000);
    let entries: usize = led.nodes.iter().map(|directory| directory.entries().count()).sum();
    assert_eq!(entries, 3 * limits::ANNOUNCED_ITEMS, "each has one home");
    assert!(led.kinds["announce"] >= 2);
}
