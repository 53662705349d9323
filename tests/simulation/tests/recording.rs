//! A node that takes no news: a recording then ends with what was taken, and that much of it is good.

use std::time::Duration;

use bytes::Bytes;
use ringside_core::ids::{Epoch, SessionId};
use ringside_simulation::worker::Guests;
use ringside_simulation::worker::host::Host;
use ringside_simulation::worker::player::Game;
use ringside_worker::limits::EVENTS;
use ringside_worker::{Command, Create, Event};

/// Takes turns until then; hands on what is said, if anybody listens.
fn play(host: &mut Host, from: &mut u64, until: u64) -> Vec<Event> {
    let mut said = Vec::new();
    while *from < until {
        let done = host.turn(*from);
        said.extend(done.events);
        *from = done.next.max(*from + 1);
    }
    said
}

#[test]
fn a_recording_that_finds_no_room_ends_and_what_was_taken_is_good() {
    let guests = Guests::load();
    let mut host = Host::new(0, std::time::Instant::now(), 1, |_| ());
    let id: SessionId = "pong/court@0000000000000001".parse().expect("a session's id");
    let create = Create {
        session: id.clone(),
        module: guests.module(Game::Pong).clone(),
        config: Bytes::new(),
        seed: [1; 32],
        epoch: Epoch { number: 1, node: 1, node_generation: 1 },
        record: true,
        followers: 0,
    };
    host.tell(Command::Create(Box::new(create)));
    let mut now = 0;
    let mut said = play(&mut host, &mut now, 120_000_000);
    // Nobody takes what the worker says any more, until its queue is full for longer than a piece takes.
    for _ in 0..EVENTS {
        host.worker.handle_command(host.instant(now), Command::Flush { session: nobody(), reply: Box::new(|()| ()) });
    }
    while now < 300_000_000 {
        now = host.turn_unheard(now).max(now + 1);
    }
    said.extend(std::iter::from_fn(|| host.worker.poll_event()));
    host.tell(Command::End { session: id, if_empty: false, reason: "enough".into(), reply: Box::new(|_| ()) });
    let until = now + 1_000_000;
    said.extend(play(&mut host, &mut now, until));

    let pieces = said.into_iter().filter_map(|event| match event {
        Event::Recorded { piece, .. } => Some(piece.frames),
        _ => None,
    });
    let recording = pieces.fold(Vec::new(), |mut whole, piece| {
        whole.extend_from_slice(&piece);
        whole
    });
    let report = ringside_sandbox::replay_recording(guests.module(Game::Pong), &recording).expect("a recording");
    assert!(report.agrees() && report.records > 1_000, "{report:?}");
    assert!(report.incomplete.is_some_and(|why| why.contains("without an end marker")), "the loss is told");
    let recorded = Duration::from_micros(report.time_us);
    assert!(recorded < Duration::from_secs(200), "nothing after what was lost: {recorded:?}");
}

fn nobody() -> SessionId {
    "pong/nobody@0000000000000002".parse().expect("a session's id")
}
