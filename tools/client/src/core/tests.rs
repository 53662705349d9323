mod model;
mod situations;
mod world;

use proptest::prelude::*;
use world::{Faults, World};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn exactly_once_in_order_whatever_the_network_does(seed: u64) {
        World::new(seed, Faults::NETWORK).play(150);
    }

    #[test]
    fn exactly_once_across_moves(seed: u64) {
        World::new(seed, Faults { moves: 8, ..Faults::NETWORK }).play(150);
    }

    #[test]
    fn exactly_once_on_the_branch_that_wins(seed: u64) {
        World::new(seed, Faults { rewinds: 6, ..Faults::NETWORK }).play(150);
    }
}

#[test]
fn a_calm_network_needs_one_connection() {
    let world = World::new(1, Faults::NONE).play(200);
    assert_eq!(world.connections(), 1);
    assert_eq!(world.disconnections, 0);
}

#[test]
fn the_faults_do_happen() {
    let (mut cuts, mut moved, mut rewound, mut reopened) = (0, 0, 0, 0);
    for seed in 0..12 {
        let world = World::new(seed, Faults { moves: 8, rewinds: 6, ..Faults::NETWORK }).play(150);
        cuts += world.disconnections;
        moved += world.moved;
        rewound += world.rewound;
        reopened += world.server.spent_tokens_shown;
    }
    assert!(cuts > 10, "{cuts} cuts");
    assert!(moved > 5, "{moved} moves");
    assert!(rewound > 5, "{rewound} rewinds");
    assert!(reopened > 0, "{reopened} spent tokens");
}

#[test]
fn one_seed_gives_one_trace() {
    let trace = |seed| World::new(seed, Faults { moves: 8, rewinds: 6, ..Faults::NETWORK }).play(80).trace;
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}
