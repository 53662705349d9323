//! Acknowledgements of a ticking session's packets ride on views, and nobody pays for it: a client's round trip is
//! that of its path, and what is lost is sent again as soon as its protocol allows. A real worker, real QUIC, virtual
//! time, one player of the arena.

use std::time::Duration;

use bytes::Bytes;
use ringside_simulation::scheduler::Micros;
use ringside_simulation::worker::Guests;
use ringside_simulation::worker::quiet::{DELAY, INTERVAL, Match};

/// Sends a message whose packet is lost; answers how long it took until it was acknowledged all the same, µs.
fn lose_a_message(game: &mut Match) -> Micros {
    assert_eq!(game.players[0].core.unacknowledged(), 0);
    let sent = game.now();
    game.players[0].core.send(Bytes::from_static(b"?")).expect("there is room for a message");
    game.lossy = true;
    game.pass(1);
    game.lossy = false;
    while game.players[0].core.unacknowledged() > 0 {
        game.pass(1);
        assert!(game.now() < sent + 2_000_000, "the message is never sent again");
    }
    game.now() - sent
}

#[test]
fn an_input_costs_no_packet_of_acknowledgement_whenever_it_comes() {
    let guests = Guests::load();
    let mut game = Match::start(&guests, 1);
    for phase in (0..INTERVAL).step_by(7_000) {
        game.phases[0] = Some(phase);
        game.pass(1_000);
        let (packets, views) = (game.packets_down, game.views);
        game.pass(10_000);
        let (packets, views) = (game.packets_down - packets, game.views - views);
        assert!(views >= 195, "phase {phase}: {views} views in ten seconds");
        assert!(packets <= views + 10, "phase {phase}: {packets} packets for {views} views");
    }
}

#[test]
fn a_round_trip_is_that_of_the_path_and_nothing_is_probed_for() {
    let guests = Guests::load();
    let mut game = Match::start(&guests, 1);
    // Never just as the worker wakes: a round trip that is the path's to the microsecond is one from which QUIC takes no
    // delay off, lest it be shorter than the shortest.
    for phase in (1_000..INTERVAL).step_by(6_000) {
        game.phases[0] = Some(phase);
        game.pass(5_000);
        let packets = game.packets_up;
        game.pass(10_000);
        let round_trip = game.players[0].round_trip().expect("a connection");
        // The path's own, and what a sleeping worker adds before it looks.
        assert!(round_trip < Duration::from_micros(2 * DELAY) + Duration::from_millis(12), "{round_trip:?}");
        // An input an interval, and at most one acknowledgement of a view by itself.
        let packets = game.packets_up - packets;
        assert!(packets <= 410, "phase {phase}: {packets} packets in ten seconds");
    }
}

#[test]
fn a_lost_message_is_sent_again_as_soon_as_a_later_packet_shows_the_loss() {
    let guests = Guests::load();
    let mut game = Match::start(&guests, 1);
    for phase in (0..INTERVAL).step_by(10_000) {
        game.phases[0] = Some(phase);
        game.pass(5_000);
        let took = lose_a_message(&mut game);
        // The next input, its acknowledgement, the message again and its acknowledgement, with the worker's sleeps.
        let most = INTERVAL + 4 * DELAY + 30_000;
        assert!(took <= most, "phase {phase}: {took} us");
    }
}

#[test]
fn a_lost_message_that_nothing_follows_is_probed_for() {
    let guests = Guests::load();
    let mut game = Match::start(&guests, 1);
    game.phases[0] = None;
    game.pass(5_000);
    let took = lose_a_message(&mut game);
    // The delay that the worker told, some round trips, and the message again.
    assert!(took <= 56_000 + 12 * DELAY + 40_000, "{took} us");
}
