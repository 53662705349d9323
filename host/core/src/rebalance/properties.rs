//! A cluster of these policies over a model of sessions: what moves, and that it comes to rest.

use proptest::prelude::*;

use super::*;
use crate::ids::Incarnation;
use crate::random::Generator;
use crate::ring::{Member, Weight, Zone};

const SECOND: u64 = 1_000_000;
/// Sessions of a wave.
const AT_MOST: usize = 16;
/// Far below the floor: every node always has room.
const LIGHT_US: u64 = 10;

struct Match {
    id: SessionId,
    position: Position,
    at: NodeId,
    since_us: u64,
    was_moved: bool,
    cost_us: u64,
    pinned: bool,
}

/// A move that took place.
#[derive(Debug)]
struct Moved {
    at: u64,
    motive: Motive,
    from: NodeId,
    to: NodeId,
    which: usize,
}

/// A cluster in virtual time, a step a second.
struct Model {
    now: u64,
    nodes: BTreeMap<NodeId, Rebalance>,
    ring: Arc<Ring>,
    matches: Vec<Match>,
    /// What each node said of its load a second ago: nobody knows a newer one.
    said: Loads,
    moves: Vec<Moved>,
    /// Percent by which a reading may be wrong, and of moves that come to nothing.
    noise: u64,
    failing: u64,
    random: Generator,
}

fn ring_of(ids: impl IntoIterator<Item = u64>, generation: u64) -> Arc<Ring> {
    Arc::new(Ring::new(ids.into_iter().map(|id| Member {
        node: Node { id: NodeId(id), generation },
        stay: 0,
        weight: Weight::NORMAL,
        zone: Zone::default(),
    })))
}

impl Model {
    /// So many nodes, with nothing since long ago.
    fn new(nodes: u64) -> Model {
        let mut model = Model {
            now: 0,
            nodes: BTreeMap::new(),
            ring: ring_of([], 1),
            matches: Vec::new(),
            said: Loads::new(),
            moves: Vec::new(),
            noise: 0,
            failing: 0,
            random: Generator::new([7; 32]),
        };
        model.enter(ring_of(0..nodes, 1));
        model.run(60);
        model
    }

    /// The ring is another one.
    fn enter(&mut self, ring: Arc<Ring>) {
        self.ring = ring;
        for member in self.ring.members() {
            self.nodes.entry(member.node.id).or_insert_with(|| Rebalance::new(member.node.id));
        }
        self.nodes.values_mut().for_each(|node| node.handle_ring(self.now, &self.ring));
    }

    fn add(&mut self, number: usize, cost_us: u64, on: Option<u64>) {
        let id = SessionId {
            game: "arena".parse().unwrap(),
            key: format!("match-{number}").parse().unwrap(),
            incarnation: Incarnation(1),
        };
        let position = Position::of_key(&id.game, &id.key);
        let placed = placement::place(&self.ring, position, Default::default(), &self.loads(), &[]);
        let at = on.map_or_else(|| placed.unwrap().node().unwrap(), NodeId);
        self.matches.push(Match { id, position, at, since_us: self.now, was_moved: false, cost_us, pinned: false });
    }

    fn loads(&self) -> Loads {
        let mut loads: Loads = self.nodes.keys().map(|id| (*id, 0)).collect();
        self.matches.iter().for_each(|one| *loads.entry(one.at).or_default() += one.cost_us);
        loads
    }

    /// Sessions whose place the ring says is a node.
    fn meant_for(&self, node: u64) -> usize {
        let home = |one: &&Match| self.ring.home(one.position).unwrap().node.id == NodeId(node);
        self.matches.iter().filter(home).count()
    }

    fn run(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.step());
    }

    fn step(&mut self) {
        self.now += SECOND;
        let heard = std::mem::take(&mut self.said);
        for (id, load_us) in self.loads() {
            let percent = 100 - self.noise + self.random.draw() % (2 * self.noise + 1);
            self.said.insert(id, load_us * percent / 100);
        }
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let node = self.nodes.get_mut(&id).unwrap();
            node.handle_loads(self.now, &heard);
            let led = self.matches.iter().filter(|one| one.at == id).map(|one| Led {
                session: &one.id,
                position: one.position,
                since_us: one.since_us,
                was_moved: one.was_moved,
                stays: one.pinned,
                calls_us: one.cost_us / 2,
            });
            let wave = node.wave(self.now, AT_MOST, led);
            assert!(wave.len() <= AT_MOST, "{}", wave.len());
            wave.iter().for_each(|going| self.give(id, going));
        }
    }

    fn give(&mut self, from: NodeId, going: &Going) {
        assert!(self.ring.member(going.to.id).is_some_and(|it| it.node == going.to), "{going:?} goes to who is there");
        assert_ne!(from, going.to.id);
        let is_there = self.random.draw() % 100 >= self.failing;
        let which = self.matches.iter().position(|one| one.id == going.session).unwrap();
        let one = &mut self.matches[which];
        let is_new = one.was_moved && self.now < one.since_us + STAYS_US;
        assert!(!one.pinned && one.at == from && !is_new, "{going:?}");
        if is_there {
            (one.at, one.since_us, one.was_moved) = (going.to.id, self.now, true);
            self.moves.push(Moved { at: self.now, motive: going.motive, from, to: going.to.id, which });
        }
        self.nodes.get_mut(&from).unwrap().handle_given(self.now, &going.session, is_there);
    }

    /// Runs until all is at rest, which takes a while where readings are wrong: a load just below its bound is seen above it
    /// ten times in a row once in so many minutes.
    fn settle(&mut self) {
        self.run(600);
        for _ in 0..20 {
            let moved = self.moves.len();
            self.run(300);
            if self.moves.len() == moved {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.moves);
    }
}

#[test]
fn a_newcomer_gets_what_the_ring_gives_it_and_nothing_else_moves() {
    let mut model = Model::new(3);
    (0..400).for_each(|number| model.add(number, LIGHT_US, None));
    model.run(60);
    assert!(model.moves.is_empty());
    let (before, came) = (Arc::clone(&model.ring), model.now);
    model.enter(ring_of(0..4, 1));
    model.settle();
    assert_eq!(model.moves.len(), model.meant_for(3), "as many as must");
    for moved in &model.moves {
        assert_eq!((moved.motive, moved.to), (Motive::Ring, NodeId(3)));
        assert_eq!(before.home(model.matches[moved.which].position).unwrap().node.id, moved.from);
        assert!(moved.at >= came + SETTLED_US, "after the ring is settled");
    }
}

#[test]
fn a_node_that_goes_takes_nothing_from_those_that_stay() {
    let mut model = Model::new(4);
    (0..300).for_each(|number| model.add(number, LIGHT_US, None));
    // Its own go elsewhere by other means.
    model.enter(ring_of(0..3, 1));
    model.matches.retain(|one| one.at != NodeId(3));
    model.settle();
    assert!(model.moves.is_empty());
}

#[test]
fn another_run_of_a_node_that_is_replaced_is_no_newcomer() {
    let mut model = Model::new(3);
    // None of them is where the ring would have it.
    (0..100).for_each(|number| model.add(number, LIGHT_US, Some(0)));
    model.enter(ring_of(0..3, 2));
    model.settle();
    assert!(model.moves.is_empty());
    model.enter(ring_of([0, 2], 2));
    model.run(5);
    model.enter(ring_of(0..3, 3));
    model.settle();
    assert!(!model.moves.is_empty() && model.moves.iter().all(|moved| moved.to == NodeId(1)), "it was away");
}

#[test]
fn what_was_moved_just_now_or_is_to_stay_stays() {
    let mut model = Model::new(1);
    (0..40).for_each(|number| model.add(number, LIGHT_US, None));
    model.matches.iter_mut().take(20).for_each(|one| one.pinned = true);
    model.matches.iter_mut().skip(20).for_each(|one| one.was_moved = true);
    let began = model.now;
    model.run(5);
    model.enter(ring_of(0..2, 1));
    // Those begin when it is there: they were placed with it in mind.
    model.run(1);
    (40..80).for_each(|number| model.add(number, LIGHT_US, Some(0)));
    model.run(SETTLED_US / SECOND + 3);
    assert!(model.moves.is_empty(), "what was moved so lately stays");
    model.settle();
    assert!(!model.moves.is_empty());
    assert!(model.moves.iter().all(|moved| (20..40).contains(&moved.which) && moved.at >= began + STAYS_US));
}

#[test]
fn a_node_over_its_bound_is_relieved_until_it_is_below() {
    let mut model = Model::new(3);
    (0..60).for_each(|number| model.add(number, 25_000, Some(0)));
    model.run(9);
    assert!(model.moves.is_empty(), "not for what lasts a few seconds");
    model.settle();
    let loads = model.loads();
    // 1 500 ms in all: 500 ms each, 625 ms at most, and until below 575 ms.
    assert!(loads.values().all(|load| (350_000..=600_000).contains(load)), "{loads:?}");
    assert!(model.moves.iter().all(|moved| (moved.motive, moved.from) == (Motive::Load, NodeId(0))));
    assert!(model.moves.len() <= 45, "{}", model.moves.len());
}

#[test]
fn a_node_that_idles_is_not_relieved_though_others_idle_more() {
    let mut model = Model::new(3);
    (0..49).for_each(|number| model.add(number, 4_000, Some(0)));
    model.settle();
    assert!(model.moves.is_empty(), "a fifth of a core is nothing to be relieved of");
}

#[test]
fn one_session_that_is_too_much_for_any_node_stays() {
    let mut model = Model::new(3);
    model.add(0, 600_000, Some(1));
    model.settle();
    assert!(model.moves.is_empty());
}

#[test]
fn one_that_nobody_takes_is_tried_a_few_times() {
    let mut model = Model::new(2);
    (0..20).for_each(|number| model.add(number, LIGHT_US, None));
    model.failing = 100;
    model.run(1);
    model.enter(ring_of(0..3, 1));
    let mut tried = 0;
    for _ in 0..900 {
        let tries = |model: &Model| {
            model.nodes.values().flat_map(|node| node.refused.values()).map(|one| one.tries).sum::<u64>()
        };
        let before = tries(&model);
        model.step();
        tried += tries(&model).saturating_sub(before);
    }
    assert_eq!(tried, TRIES * model.meant_for(2) as u64);
    assert!(model.nodes.values().all(|node| node.newcomers.is_empty() && node.refused.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever sessions cost and nodes do: once nothing changes any more everything comes to rest, no session went to and
    /// fro, and no node is above its bound that could be relieved.
    #[test]
    fn it_comes_to_rest(
        nodes in 2..6_u64,
        costs in prop::collection::vec(50..30_000_u64, 20..150),
        lopsided in any::<bool>(),
        changes in prop::collection::vec((1..6_u64, 1..40_u64), 0..4),
        noise in 0..6_u64,
        failing in 0..30_u64,
        seed in any::<u8>(),
    ) {
        let mut model = Model::new(nodes);
        model.random = Generator::new([seed; 32]);
        (model.noise, model.failing) = (noise, failing);
        for (number, cost) in costs.iter().enumerate() {
            model.add(number, *cost, lopsided.then_some(0));
        }
        for (count, seconds) in changes {
            model.enter(ring_of(0..count, 1));
            // What was led by those that are gone goes on with who is there.
            let now = model.now;
            let gone = |at: NodeId| at.0 >= count;
            model.matches.iter_mut().filter(|one| gone(one.at)).for_each(|one| {
                (one.at, one.since_us, one.was_moved) = (NodeId(0), now, true);
            });
            model.nodes.retain(|id, _| !gone(*id));
            model.run(seconds);
        }
        model.failing = 0;
        let changed = model.now;
        model.settle();
        for which in 0..model.matches.len() {
            let late = model.moves.iter().filter(|moved| moved.which == which && moved.at > changed);
            prop_assert!(late.count() <= 3, "{:?}", model.moves);
        }
        let (loads, largest) = (model.loads(), costs.iter().max().copied().unwrap_or(0));
        let bounds = placement::capacities(&model.ring, &loads);
        for member in model.ring.members() {
            let (load, bound) = (loads[&member.node.id], bounds[&member.node.id].max(AMPLE_US));
            // One reading below the bound of what is read then is enough for no relief.
            let read = load * (100 - noise) / (100 + noise);
            prop_assert!(read <= bound + largest, "{load} of {bound}: {loads:?}");
        }
    }
}
