//! The ring against what no ring can do better, and against its own past.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const KEYS: u64 = 20_000;

fn member(id: u64) -> Member {
    Member { node: Node { id: NodeId(id), generation: 1 }, stay: 0, weight: Weight::NORMAL, zone: Zone::default() }
}

fn ring(ids: impl IntoIterator<Item = u64>) -> Ring {
    Ring::new(ids.into_iter().map(member))
}

fn place(number: u64) -> Position {
    Position::of_key(&"arena".parse().unwrap(), &format!("match-{number}").parse().unwrap())
}

fn homes(ring: &Ring, keys: u64) -> Vec<NodeId> {
    (0..keys).map(|number| ring.home(place(number)).unwrap().node.id).collect()
}

fn counts(homes: &[NodeId]) -> BTreeMap<NodeId, u64> {
    homes.iter().fold(BTreeMap::new(), |mut counts, home| {
        *counts.entry(*home).or_default() += 1;
        counts
    })
}

/// Names, lists and digests of version 1: what they are may never change, or nodes of two releases disagree.
#[test]
fn places_owners_and_digests_are_the_golden_ones() {
    let golden = include_str!("golden.txt");
    let mut ring = ring([1, 2, 3, 7, 1_000_000]);
    let mut seen = 0;
    for line in golden.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["members", members] => {
                ring = Ring::new(members.split(' ').map(|member| {
                    let parts: Vec<&str> = member.split(':').collect();
                    let [id, generation, stay, weight, zone] = parts[..] else { panic!("{member}") };
                    Member {
                        node: Node { id: NodeId(id.parse().unwrap()), generation: generation.parse().unwrap() },
                        stay: stay.parse().unwrap(),
                        weight: Weight::percent(weight.parse().unwrap()).unwrap(),
                        zone: Zone::new(zone).unwrap(),
                    }
                }));
            }
            ["digest", digest] => assert_eq!(ring.digest().to_string(), digest),
            [kind @ ("key" | "list"), game, name, position, order] => {
                let game = game.parse().unwrap();
                let place = match kind {
                    "key" => Position::of_key(&game, &name.parse().unwrap()),
                    _ => Position::of_list(&game, name),
                };
                let nodes: Vec<String> = ring.successors(place).map(|member| member.node.id.0.to_string()).collect();
                assert_eq!(
                    (format!("{:016x}", place.0), nodes.join(" ")),
                    (position.to_owned(), order.to_owned()),
                    "{line}"
                );
            }
            _ => panic!("{line}"),
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn who_joins_takes_its_share_and_nothing_else_moves() {
    for nodes in [1, 2, 3, 9, 49] {
        let (before, after) = (homes(&ring(0..nodes), KEYS), homes(&ring(0..=nodes), KEYS));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|(_, new)| **new == NodeId(nodes)), "every name that moved went to the newcomer");
        let share = KEYS as f64 / (nodes + 1) as f64;
        let moved = moved.len() as f64;
        assert!((0.75 * share..1.25 * share).contains(&moved), "{nodes}: {moved} of {share}");
    }
}

#[test]
fn who_leaves_gives_its_own_away_and_nothing_else_moves() {
    for gone in [0, 4, 8] {
        let before = homes(&ring(0..9), KEYS);
        let after = homes(&ring((0..9).filter(|id| *id != gone)), KEYS);
        let mut heirs = BTreeSet::new();
        for (old, new) in before.iter().zip(&after) {
            assert!(old == new || *old == NodeId(gone));
            if old != new {
                heirs.insert(new);
            }
        }
        assert_eq!(heirs.len(), 8, "all others share what it had");
    }
}

#[test]
fn flapping_comes_back_to_the_same_owners() {
    let before = homes(&ring(0..9), KEYS);
    homes(&ring(0..8), KEYS);
    assert_eq!(homes(&ring(0..9), KEYS), before);
}

#[test]
fn shares_are_even_and_follow_weights() {
    for nodes in [3, 10, 50] {
        let most = counts(&homes(&ring(0..nodes), KEYS)).into_values().max().unwrap();
        let peak = most as f64 * nodes as f64 / KEYS as f64;
        assert!(peak < 1.25, "{nodes}: {peak}");
    }
    let weighed = Ring::new(
        (0..4).map(|id| Member { weight: Weight::percent(if id == 0 { 300 } else { 100 }).unwrap(), ..member(id) }),
    );
    let share = counts(&homes(&weighed, KEYS))[&NodeId(0)] as f64 / KEYS as f64;
    assert!((0.45..0.55).contains(&share), "three of six parts: {share}");
}

#[test]
fn followers_stand_in_other_zones() {
    let zones = ["a", "a", "a", "b", "b", "c"];
    let ring = Ring::new((0..6).map(|id| Member { zone: Zone::new(zones[id as usize]).unwrap(), ..member(id) }));
    let zone = |id: NodeId| ring.member(id).unwrap().zone.as_str();
    for number in 0..200 {
        let leader = ring.home(place(number)).unwrap().node.id;
        let followers = ring.followers(place(number), leader, 2);
        let three: BTreeSet<_> = followers.iter().map(|id| zone(*id)).chain([zone(leader)]).collect();
        assert_eq!(three.len(), 3, "{leader} {followers:?}");
        let all = ring.followers(place(number), leader, 9);
        assert_eq!(all.len(), 5, "each other node once");
        assert!(!all.contains(&leader));
    }
    let one_zone = self::ring(0..4);
    for number in 0..50 {
        let expected: Vec<_> = one_zone.successors(place(number)).skip(1).map(|member| member.node.id).collect();
        let leader = one_zone.home(place(number)).unwrap().node.id;
        assert_eq!(one_zone.followers(place(number), leader, 3), expected, "without zones: the next on the ring");
    }
}

#[test]
fn the_empty_ring_has_no_home() {
    let none = ring([]);
    assert!(none.home(place(1)).is_none());
    assert_eq!(none.successors(place(1)).count(), 0);
    assert!(none.followers(place(1), NodeId(1), 2).is_empty());
}

/// What a lookup does, without the index: the first point at or after the position, else the first of all.
fn plainly(ring: &Ring, position: Position) -> NodeId {
    let at = ring.points.iter().position(|point| *point >= position.0).unwrap_or(0);
    ring.members[usize::from(ring.owners[at])].node.id
}

fn some_members() -> impl Strategy<Value = Vec<Member>> {
    let one = (0..200_u64, 1..4_u64, 1..300_u16, 0..3_u8);
    prop::collection::vec(one, 1..12).prop_map(|all| {
        let all: BTreeMap<u64, Member> = all
            .into_iter()
            .map(|(id, generation, weight, zone)| {
                let node = Node { id: NodeId(id), generation };
                let (weight, zone) = (Weight::percent(weight).unwrap(), Zone::new(format!("zone-{zone}")).unwrap());
                (id, Member { node, stay: 0, weight, zone })
            })
            .collect();
        all.into_values().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_learning_does_not_matter(members in some_members().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))) {
        let (one, other) = (Ring::new(members.0), Ring::new(members.1));
        prop_assert_eq!(one.digest(), other.digest());
        prop_assert_eq!(homes(&one, 200), homes(&other, 200));
    }

    #[test]
    fn any_difference_makes_another_digest(members in some_members(), which in any::<prop::sample::Index>(), what in 0..5_u8) {
        let before = Ring::new(members.clone());
        let mut changed = members;
        let at = which.index(changed.len());
        match what {
            0 => drop(changed.remove(at)),
            1 => changed[at].node.generation += 1,
            2 => changed[at].stay += 1,
            3 => changed[at].weight = Weight::percent(changed[at].weight.get() + 1).unwrap(),
            _ => changed[at].zone = Zone::new("elsewhere").unwrap(),
        }
        prop_assert_ne!(Ring::new(changed).digest(), before.digest());
    }

    #[test]
    fn the_index_finds_what_a_plain_search_finds(members in some_members(), positions in prop::collection::vec(any::<u64>(), 64)) {
        let ring = Ring::new(members);
        let edges = ring.points.iter().take(4).flat_map(|point| [point.wrapping_sub(1), *point, point.wrapping_add(1)]);
        for position in positions.into_iter().chain(edges).chain([0, u64::MAX]).map(Position) {
            prop_assert_eq!(ring.home(position).unwrap().node.id, plainly(&ring, position));
            prop_assert_eq!(ring.successors(position).next().unwrap().node.id, plainly(&ring, position));
            prop_assert_eq!(ring.successors(position).count(), ring.members().len());
        }
    }

    #[test]
    fn a_change_in_the_middle_moves_only_what_it_must(members in some_members(), which in any::<prop::sample::Index>()) {
        let with = Ring::new(members.clone());
        let mut fewer = members;
        let gone = fewer.remove(which.index(fewer.len())).node.id;
        let without = Ring::new(fewer);
        for number in 0..500 {
            let before = with.home(place(number)).unwrap().node.id;
            if let Some(after) = without.home(place(number)) {
                prop_assert!(before == after.node.id || before == gone);
            }
        }
    }
}
