//! Connections of a worker and of an address, and what they may wait for.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use ringside_client::core::{LinkId, Lost};
use ringside_protocol::frame::ServerFrame;
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_simulation::scheduler::Micros;
use ringside_worker::limits::{HANDSHAKES, RESET_INTERVAL, RESPONSES};
use ringside_worker::{Command, HANDSHAKE_SHARE, WorkerConfig};

use crate::stage::{SECOND, Stage, address, module, open, open_with_ticket};

/// An address of a network of 64 bits.
fn in_network(network: u16, number: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 7, number), 10_000))
}

fn refused(stage: &Stage) -> u64 {
    stage.host.worker.counters().refused.load(Relaxed)
}

fn ended(stage: &Stage, reason: Reason) -> u64 {
    stage.host.worker.counters().ends.of(reason)
}

/// The connection is refused before its handshake.
fn is_refused(stage: &mut Stage, id: LinkId) {
    let before = refused(stage);
    stage.until("a refusal", SECOND, |stage| stage.link(id).lost.is_some().then_some(()));
    assert!(!stage.link(id).connected);
    assert!(refused(stage) > 0 && before <= refused(stage));
}

#[test]
fn connections_of_a_worker_are_bounded() {
    let mut ordinary = 0;
    let mut stage = Stage::new(|config: &mut WorkerConfig| {
        ordinary = config.connections;
        config.connections = 20;
    });
    assert_eq!(ordinary, limits::CONNECTIONS);
    let session = stage.create("echo");
    for number in 0..20 {
        stage.attach(&format!("player-{number}"), &session);
    }
    let beyond = stage.connect(address(1, 0));
    is_refused(&mut stage, beyond);
    assert_eq!(refused(&stage), 1);
    assert_eq!(stage.report(&session).players.iter().filter(|player| player.connected).count(), 20);
}

#[test]
fn connections_of_an_address_are_bounded_and_a_network_of_64_bits_is_one() {
    let mut ordinary = 0;
    let mut stage = Stage::new(|config: &mut WorkerConfig| {
        ordinary = config.connections_per_address;
        config.connections_per_address = 10;
    });
    assert_eq!(ordinary, limits::CONNECTIONS_PER_ADDRESS);
    for number in 0..10 {
        stage.connected(in_network(1, number));
        stage.connected(address(1, usize::from(number)));
    }
    let beyond = [stage.connect(in_network(1, 99)), stage.connect(address(1, 99))];
    for id in beyond {
        is_refused(&mut stage, id);
    }
    assert_eq!(refused(&stage), 2);
    stage.connected(in_network(2, 1));
    stage.connected(address(2, 1));
}

/// Waits until so many connections were closed for a reason, and looks whether they were told.
fn closed(stage: &mut Stage, ids: &[LinkId], reason: Reason, count: usize) {
    stage.until("connections to be closed", SECOND, |stage| {
        let told = |id: &&LinkId| matches!(stage.link(**id).lost, Some(Lost::Closed(why, _)) if why == reason);
        (ids.iter().filter(told).count() == count).then_some(())
    });
    assert_eq!(ended(stage, reason), count as u64);
}

#[test]
fn unattached_connections_of_a_network_of_64_bits_are_bounded() {
    let mut stage = Stage::new(|_| {});
    let most = limits::UNATTACHED_PER_ADDRESS as u16;
    let ids: Vec<LinkId> = (0..most + 3)
        .map(|number| {
            stage.pass(500);
            stage.connect(in_network(1, number))
        })
        .collect();
    closed(&mut stage, &ids, Reason::AddressLimit, 3);
    let other = stage.connected(in_network(2, 1));
    assert!(stage.link(other).lost.is_none());
}

#[test]
fn unattached_connections_of_a_worker_are_bounded() {
    let mut stage = Stage::new(|_| {});
    let beyond = 5;
    let ids: Vec<LinkId> = (0..limits::UNATTACHED + beyond)
        .map(|number| {
            stage.pass(500);
            stage.connect(address((number / 200) as u8, number % 200))
        })
        .collect();
    closed(&mut stage, &ids, Reason::Overloaded, beyond);
    // Who was silent for too long makes room.
    stage.pass(limits::OPEN_TIMEOUT.as_micros() as Micros);
    let later = stage.connected(address(250, 1));
    assert!(stage.link(later).lost.is_none());
}

#[test]
fn a_question_that_nobody_answers_is_given_up_in_time() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    stage.silent = true;
    let id = stage.connected(address(1, 1));
    // Not the session of this worker's table: the node is asked.
    let elsewhere = "echo/elsewhere@0000000000000099".parse().expect("a session");
    stage.say(id, &open("ann", &elsewhere));
    let most = limits::RESOLVE_TIMEOUT.as_micros() as Micros;
    let (began, refused) = (stage.now, |stage: &mut Stage| match stage.link(id).frames.first() {
        Some(ServerFrame::Refused(refused)) => Some(refused.cause),
        _ => None,
    });
    assert_eq!(stage.until("a refusal", most + SECOND, refused), Reason::Unreachable);
    assert!(stage.now - began >= most);
    assert_eq!(stage.host.worker.held().resolving, 0);
    stage.silent = false;
    stage.attach("ann", &session);
}

#[test]
fn a_silent_connection_is_probed_and_its_view_repeated() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("chess");
    let (white, _) = stage.attach("white", &session);
    let (black, _) = stage.attach("black", &session);
    stage.pass(SECOND);
    let views = stage.link(white).datagrams.len();
    assert!(views >= 1, "what white sees");
    stage.pass(10 * limits::KEEP_ALIVE.as_micros() as Micros);
    let repeated = stage.link(white).datagrams.len() - views;
    assert!((8..=10).contains(&repeated), "{repeated} views in ten intervals");
    let last = stage.link(white).datagrams.len() - 1;
    let newest = stage.link(white).datagrams[last].clone();
    assert_eq!(stage.link(white).datagrams[last - 1], newest, "it is the same");
    assert!(stage.link(white).lost.is_none() && stage.link(black).lost.is_none());
}

#[test]
fn a_connection_without_views_is_probed() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    let (id, _) = stage.attach("ann", &session);
    // QUIC also uses pings to try larger packets, at first.
    stage.pass(5 * SECOND);
    let before = stage.stats(id).frame_rx.ping;
    stage.pass(10 * limits::KEEP_ALIVE.as_micros() as Micros);
    let pings = stage.stats(id).frame_rx.ping - before;
    assert!((8..=10).contains(&pings), "{pings} in ten intervals");
}

#[test]
fn a_connection_that_waits_at_a_follower_is_probed_seldom() {
    let mut stage = Stage::new(|_| {});
    let session = "echo/far@0000000000000001".parse().expect("a session");
    stage.follow(&session, &module("echo"));
    let id = stage.connected(address(1, 0));
    stage.say(id, &open_with_ticket("ann", &session, 0));
    stage.pass(5 * SECOND);
    assert!(matches!(stage.link(id).frames[..], [ServerFrame::StandingBy { .. }]));
    let before = stage.stats(id).frame_rx.ping;
    stage.pass(10 * limits::STANDBY_KEEP_ALIVE.as_micros() as Micros);
    let pings = stage.stats(id).frame_rx.ping - before;
    assert!((8..=10).contains(&pings), "{pings} in ten intervals");
}

#[test]
fn a_connection_that_was_told_its_end_is_closed_in_time() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    let (id, _) = stage.attach("ann", &session);
    // The peer hears of nothing, and acknowledges nothing.
    stage.mute = true;
    stage.tell(Command::End { session, if_empty: false, reason: "enough".into(), reply: Box::new(|_| {}) });
    let timeout = limits::CLOSING_TIMEOUT.as_micros() as Micros;
    stage.pass(timeout - SECOND / 10);
    stage.mute = false;
    stage.until("what the peer missed", 3 * SECOND, |stage| stage.link(id).lost.is_some().then_some(()));
    let lost = stage.link(id).lost.clone();
    assert!(matches!(lost, Some(Lost::Closed(Reason::SessionEnded, _))), "{lost:?}");
    stage.until("the connection to be gone", 3 * SECOND, |stage| {
        (stage.host.worker.held().connections == 0).then_some(())
    });
}

#[test]
fn handshakes_under_way_are_bounded() {
    let mut stage = Stage::new(|_| {});
    for batch in 0..4 {
        for number in 0..200 {
            stage.connect(address(10 + batch, number));
        }
        // A packet there, a Retry back, a packet with the token there; then they hear nothing.
        stage.pass(2_500);
        stage.mute = true;
        stage.pass(20_000);
        stage.mute = false;
    }
    assert_eq!(stage.host.worker.held().handshakes, HANDSHAKES);
}

#[test]
fn packets_of_no_connection_are_answered_as_far_as_the_bound() {
    let mut stage = Stage::new(|_| {});
    // First packets of a version that nobody speaks.
    let packet = |number: u8| {
        let mut packet = vec![0; 1200];
        packet[..7].copy_from_slice(&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, number]);
        packet[14] = 8;
        (address(1, usize::from(number)), packet)
    };
    for number in 0..100 {
        stage.host.arrive(packet(number));
    }
    let answers = stage.host.turn(stage.now).sent.len();
    assert_eq!(answers, RESPONSES);
}

/// Each look at the clock takes a part of the share: who comes with many others is let in after them.
#[test]
fn handshakes_have_a_share_of_a_turn_and_the_rest_waits() {
    let mut stage = Stage::new(|_| {});
    stage.host.look = HANDSHAKE_SHARE.as_micros() as Micros / 4;
    for number in 0..40 {
        // A first packet: QUIC's first version, an id of eight bytes, no token.
        let mut packet = vec![0; 1200];
        packet[..7].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8, number]);
        packet[16..18].copy_from_slice(&(0x4000_u16 | (1200 - 18)).to_be_bytes());
        stage.host.arrive((address(1, usize::from(number)), packet));
    }
    let mut answered = Vec::new();
    while answered.iter().sum::<usize>() < 40 {
        answered.push(stage.host.turn(stage.now).sent.len());
        stage.now += 2_000;
        assert!((1..=4).contains(answered.last().unwrap()), "{answered:?}");
    }
    assert!(answered.len() >= 10, "{answered:?}");
}

#[test]
fn packets_of_unknown_connections_are_answered_so_often() {
    let mut stage = Stage::new(|_| {});
    // A short header and a connection id of this worker, whose first byte is its number.
    let mut packet = vec![0x40; 100];
    packet[1] = 0;
    for wait in [Micros::default(), RESET_INTERVAL.as_micros() as Micros] {
        for number in 0..10 {
            stage.host.arrive((address(1, number), packet.clone()));
        }
        let sent = stage.host.turn(stage.now + wait).sent;
        assert_eq!(sent.len(), 1);
        assert!(sent[0].1.len() < 100, "no more than was sent");
    }
}

#[test]
fn what_follows_a_handshake_at_once_is_not_lost() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    let id = stage.connected(address(1, 0));
    let began = stage.now;
    // It arrives with the last packet of the handshake, which has to wait for its turn.
    stage.say(id, &open("ann", &session));
    stage.until("the attachment", SECOND, |stage| {
        matches!(stage.link(id).frames.first(), Some(ServerFrame::Attached(_))).then_some(())
    });
    let took = stage.now - began;
    assert!(took < 4_000, "{took} µs where a round trip takes 2 000");
}
