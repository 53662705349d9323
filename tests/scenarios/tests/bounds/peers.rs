//! Links between workers in virtual time: what is within their bounds passes, what is beyond meets the named behaviour.

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ringside_test_support::members::{Authority, peer};
use ringside_worker::Turn;
use ringside_worker::limits::{
    EVENTS, PEER_BACKOFF_LONGEST, PEER_DATAGRAM_BYTES, PEER_FRAME_BYTES, PEER_GREETING, PEER_HANDSHAKE_SHARE,
    PEER_HANDSHAKES, PEER_IDLE, PEER_KEEP_ALIVE, PEER_LONG_BYTES, PEER_LONGS, PEER_QUEUE_BYTES, PEER_TURN_BYTES,
};
use ringside_worker::peers::{End, LinkError, News, SendError};

use pair::Pair;

#[test]
fn frames_arrive_in_order_datagrams_arrive_and_the_link_ends_with_its_last_session() {
    let mut pair = Pair::linked();
    for number in 0..1_000_u32 {
        pair.sides[0].frame(Bytes::copy_from_slice(&number.to_le_bytes())).unwrap();
        pair.sides[1].datagram(Bytes::copy_from_slice(&number.to_be_bytes())).unwrap();
        pair.settle();
    }
    let frames: Vec<Bytes> = (0..1_000_u32).map(|number| Bytes::copy_from_slice(&number.to_le_bytes())).collect();
    assert_eq!(pair.sides[1].frames(), frames);
    assert_eq!(pair.sides[0].datagrams(), 1_000);
    // What is sent before the last session unlinks arrives.
    pair.sides[0].frame(Bytes::from_static(b"last")).unwrap();
    pair.sides[0].unlink();
    pair.settle();
    assert_eq!(pair.sides[1].frames(), [&b"last"[..]]);
    for side in &mut pair.sides {
        assert_eq!(side.downs(), [End::Unlinked]);
        assert_eq!(side.worker.held().peers, 0);
    }
    assert_eq!(pair.sides[0].frame(Bytes::new()), Err(SendError::NotLinked));
    pair.pass(Duration::from_secs(5));
    assert!(pair.sides.iter_mut().all(|side| side.worker.held().peer_connections == 0 && side.worker.is_alone()));
}

#[test]
fn a_worker_without_a_socket_for_peers_makes_no_links() {
    let mut pair = Pair::new(2);
    pair.sides[0] = pair::Side::without_peers(0, pair.now);
    let address = pair.sides[1].address;
    assert_eq!(pair.sides[0].link(peer(2, 1), address), Err(LinkError::Stopped));
    assert_eq!(pair.sides[0].frame(Bytes::new()), Err(SendError::NotLinked));
    assert!(pair.sides[0].worker.is_alone());
}

#[test]
fn a_peer_that_takes_nothing_is_too_slow_and_can_be_linked_anew() {
    let mut pair = Pair::linked();
    pair.sides[1].is_deaf = true;
    let body = Bytes::from(vec![7; PEER_FRAME_BYTES]);
    assert_eq!(pair.sides[0].frame(Bytes::from(vec![7; PEER_FRAME_BYTES + 1])), Err(SendError::TooLong));
    let mut sent = 0;
    let end = loop {
        match pair.sides[0].frame(body.clone()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(pair.sides[0].worker.held().peer_frame_bytes <= PEER_QUEUE_BYTES);
        assert!(sent < 1_000, "a queue without end");
        pair.settle();
    };
    assert_eq!(end, SendError::TooSlow);
    assert!(sent >= PEER_QUEUE_BYTES / (PEER_FRAME_BYTES + 5), "what fits is taken: {sent}");
    pair.settle();
    assert_eq!(pair.sides[0].downs(), [End::TooSlow]);
    assert_eq!(pair.sides[0].frame(body.clone()), Err(SendError::NotLinked));
    // The session still needs it: there is another connection as soon as the peer listens, which has not heard the end
    // of the first.
    pair.sides[1].is_deaf = false;
    pair.pass(PEER_GREETING + 2 * PEER_BACKOFF_LONGEST);
    assert_eq!(pair.sides[0].ups(), 1);
    assert_eq!(pair.sides[1].downs(), [End::Replaced]);
    pair.sides[1].frames();
    pair.sides[0].frame(body.clone()).unwrap();
    pair.settle();
    assert_eq!(pair.sides[1].frames(), [body]);
}

#[test]
fn datagrams_beyond_the_buffer_drop_the_oldest() {
    let mut pair = Pair::linked();
    let sent = 2 * PEER_DATAGRAM_BYTES as u32 / 1_000;
    for number in 0..sent {
        let mut body = vec![0; 1_000];
        body[..4].copy_from_slice(&number.to_le_bytes());
        pair.sides[0].datagram(body.into()).unwrap();
    }
    assert_eq!(pair.sides[0].datagram(vec![0; 10_000].into()), Err(SendError::TooLong));
    pair.settle();
    let arrived: Vec<u32> = pair.sides[1]
        .news()
        .into_iter()
        .filter_map(|news| match news {
            News::Datagram(body) => Some(u32::from_le_bytes(body[..4].try_into().unwrap())),
            _ => None,
        })
        .collect();
    assert_eq!(arrived.last(), Some(&(sent - 1)), "the newest counts");
    assert!(arrived.len() as u32 > sent / 3 && (arrived.len() as u32) < sent, "{} of {sent}", arrived.len());
    assert!(arrived.is_sorted());
}

#[test]
fn what_is_long_is_bounded_and_leaves_behind_frames() {
    let mut pair = Pair::linked();
    let long = Bytes::from(vec![1; 3 << 20]);
    for _ in 0..PEER_LONGS {
        pair.sides[0].long(long.clone()).unwrap();
    }
    assert_eq!(pair.sides[0].long(long.clone()), Err(SendError::Busy));
    pair.sides[0].frame(Bytes::from_static(b"first")).unwrap();
    pair.settle();
    let (mut whole, mut parts, mut before) = (0, 0, None);
    for news in pair.sides[1].news() {
        match news {
            News::Frame(_) => before = Some(parts),
            News::Long { part, last, .. } => {
                parts += part.len();
                whole += usize::from(last);
            }
            _ => {}
        }
    }
    assert_eq!((whole, parts), (PEER_LONGS, PEER_LONGS * long.len()));
    assert!(before.is_some_and(|before| before < long.len() / 4), "the frame waited for {before:?} bytes");
    pair.sides[0].long(long).expect("there is room again");
    assert_eq!(pair.sides[0].long(Bytes::from(vec![0; PEER_LONG_BYTES + 1])), Err(SendError::TooLong));
}

#[test]
fn peers_are_read_by_a_bounded_number_of_bytes_a_turn() {
    let mut pair = Pair::linked();
    // Nobody takes what was read, so that the rest waits in QUIC's buffer.
    pair.sides[1].is_taken = false;
    let frames = 96;
    for _ in 0..frames {
        pair.sides[0].frame(Bytes::from(vec![7; PEER_FRAME_BYTES / 4])).unwrap();
        pair.settle();
    }
    pair.sides[1].is_taken = true;
    pair.sides[1].turn();
    let before = pair.sides[1].frame_bytes();
    assert_eq!(pair.sides[1].turn(), Turn::More, "the rest is read in the next turns");
    let read = pair.sides[1].frame_bytes() - before;
    assert!((PEER_FRAME_BYTES / 2..=PEER_TURN_BYTES + PEER_FRAME_BYTES).contains(&read), "{read} bytes in a turn");
    pair.settle();
    assert_eq!(pair.sides[1].frames().len(), frames);
}

/// Nobody takes the second worker's events: what the first sends waits at the first, and nothing is lost.
#[test]
fn peers_are_held_back_while_nobody_takes_what_they_said() {
    let mut pair = Pair::linked();
    pair.sides[1].is_taken = false;
    let frames = 20_000_u32;
    for number in 0..frames {
        pair.sides[0].frame(Bytes::copy_from_slice(&number.to_le_bytes())).unwrap();
        if number % 100 == 0 {
            pair.settle();
        }
    }
    pair.settle();
    let held = pair.sides[1].worker.held();
    assert!(held.events < EVENTS / 2 && held.events > 1_000, "{held:?}");
    assert!(pair.sides[1].worker.next_wake(pair.now).is_none_or(|wake| wake > pair.now), "it does not spin meanwhile");
    pair.sides[1].is_taken = true;
    pair.pass(Duration::from_millis(100));
    let arrived = pair.sides[1].frames();
    assert_eq!(arrived.len(), frames as usize);
    assert!(arrived.iter().zip(0..frames).all(|(body, number)| body[..] == number.to_le_bytes()));
}

/// Datagrams are: what waits for them would be late. The end of a link is told when somebody listens.
#[test]
fn while_nobody_takes_what_peers_said_datagrams_are_read_and_the_end_of_a_link_waits_to_be_told() {
    let mut pair = Pair::linked();
    pair.sides[1].is_taken = false;
    for number in 0..5_000_u32 {
        pair.sides[0].frame(Bytes::copy_from_slice(&number.to_le_bytes())).unwrap();
        if number % 100 == 0 {
            pair.settle();
        }
    }
    let before = pair.sides[1].worker.held().events;
    pair.sides[0].datagram(Bytes::from_static(b"of no session")).unwrap();
    pair.settle();
    assert_eq!(pair.sides[1].worker.held().events, before, "what nobody hears is let go");
    pair.sides.iter_mut().for_each(|side| side.is_deaf = true);
    pair.pass(3 * PEER_IDLE);
    pair.sides[1].is_taken = true;
    pair.pass(Duration::from_millis(100));
    assert_eq!(pair.sides[1].downs(), [End::Unreachable]);
    assert!(!pair.sides[1].is_up());
    assert_eq!(pair.sides[1].datagrams(), 0, "it was read when it came");
}

#[test]
fn a_peer_that_goes_silent_is_lost_in_time_and_dialed_again() {
    let mut pair = Pair::linked();
    let before = pair.carried;
    pair.pass(10 * PEER_IDLE);
    assert!(pair.sides.iter_mut().all(|side| side.downs().is_empty()), "silence of sessions is no silence");
    let probes = pair.carried - before;
    let expected = (10 * PEER_IDLE).as_secs() / PEER_KEEP_ALIVE.as_secs();
    assert!(probes >= expected && probes < 10 * expected, "{probes} packets");
    pair.sides.iter_mut().for_each(|side| side.is_deaf = true);
    let began = pair.now;
    pair.pass_until(|pair| !pair.sides[0].is_up());
    let silence = pair.now - began;
    assert!(silence >= PEER_IDLE - PEER_KEEP_ALIVE && silence <= PEER_IDLE + PEER_KEEP_ALIVE, "{silence:?}");
    assert_eq!(pair.sides[0].downs(), [End::Unreachable]);
    pair.sides.iter_mut().for_each(|side| side.is_deaf = false);
    pair.pass_until(|pair| pair.sides.iter().all(pair::Side::is_up));
}

#[test]
fn who_does_not_greet_in_time_is_closed_as_silent() {
    let mut pair = Pair::new(2);
    let address = pair.sides[1].address;
    pair.sides[0].link(peer(2, 1), address).unwrap();
    pair.sides[1].is_deaf = true;
    let began = pair.now;
    pair.pass_until(|pair| !pair.sides[0].heard.is_empty());
    let silence = pair.now - began;
    assert!(silence >= PEER_GREETING && silence <= PEER_GREETING + Duration::from_millis(100), "{silence:?}");
    assert_eq!(pair.sides[0].downs(), [End::Silent]);
}

#[test]
fn handshakes_of_peers_are_bounded_and_all_get_in() {
    let dialers = PEER_HANDSHAKES + 20;
    let mut pair = Pair::new(dialers + 1);
    let address = pair.sides[0].address;
    for side in &mut pair.sides[1..] {
        side.link(peer(1, 1), address).unwrap();
    }
    // First packets, retries, first packets that show an address.
    for _ in 0..3 {
        pair.step();
    }
    assert_eq!(pair.sides[0].worker.held().peer_handshakes, 0, "addresses that were not shown cost none");
    pair.step();
    assert_eq!(pair.sides[0].worker.held().peer_handshakes, PEER_HANDSHAKES);
    pair.pass_until(|pair| pair.sides[1..].iter().all(pair::Side::is_up));
    assert_eq!(pair.sides[0].worker.held().peers, dialers);
}

/// Strangers who have shown their address and never end a handshake have every place; whoever comes from elsewhere gets one.
#[test]
fn strangers_of_few_addresses_keep_no_peer_out() {
    let strangers = PEER_HANDSHAKES + 20;
    let mut pair = Pair::new(strangers + 2);
    let address = pair.sides[0].address;
    for (number, side) in pair.sides[2..].iter_mut().enumerate() {
        side.address = SocketAddr::from(([10, 9, 9, number as u8 % 3], 7000 + number as u16));
        side.link(peer(1, 1), address).unwrap();
    }
    // First packets, retries; then they hear nothing.
    (0..2).for_each(|_| _ = pair.step());
    (0..2).for_each(|_| {
        pair.step();
        pair.sides[2..].iter_mut().for_each(|side| side.is_deaf = true);
    });
    assert_eq!(pair.sides[0].worker.held().peer_handshakes, PEER_HANDSHAKES);
    pair.sides[1].link(peer(1, 1), address).unwrap();
    (0..12).for_each(|_| _ = pair.step());
    assert!(pair.sides[1].is_up(), "it is in before any of them runs out of time");
    assert_eq!(pair.sides[0].worker.held().peer_handshakes, PEER_HANDSHAKES - 1, "one of them gave its place up");
}

#[test]
fn connections_of_peers_are_bounded() {
    let mut pair = Pair::with(5, &Authority::new(), |config| config.connections = 3);
    let address = pair.sides[0].address;
    for side in &mut pair.sides[1..] {
        side.link(peer(1, 1), address).unwrap();
    }
    pair.pass_until(|pair| pair.sides[1..].iter().filter(|side| side.is_up()).count() == 3);
    pair.pass(Duration::from_secs(3));
    assert_eq!(pair.sides[0].worker.held().peer_connections, 3);
    let refused: Vec<End> = pair.sides[1..].iter_mut().flat_map(|side| side.downs()).collect();
    assert!(!refused.is_empty() && refused.iter().all(|end| *end == End::Unreachable), "{refused:?}");
}

/// Each look at the clock takes a part of the share: two handshake packets use it up.
#[test]
fn handshakes_of_peers_have_a_share_of_a_turn() {
    let mut pair = Pair::new(9);
    let address = pair.sides[0].address;
    for side in &mut pair.sides[1..] {
        side.link(peer(1, 1), address).unwrap();
    }
    pair.sides[0].look = PEER_HANDSHAKE_SHARE / 2;
    pair.step();
    // Eight first packets came, and two were answered.
    pair.step();
    assert_eq!(pair.sides[1..].iter().filter(|side| side.has_mail()).count(), 2);
    assert!(pair.sides[0].worker.next_wake(pair.now).is_some_and(|wake| wake <= pair.now), "the rest is next");
    pair.pass_until(|pair| pair.sides[1..].iter().all(pair::Side::is_up));
}
