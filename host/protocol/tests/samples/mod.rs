//! One sample of everything that has a wire form, by name: what the golden vectors are made of, and the corpus that
//! the fuzz functions begin with.

use bytes::Bytes;
use ringside_protocol::channel::Outbox;
use ringside_protocol::datagram::{ClientDatagram, FragmentHeader, ServerDatagram, ViewHead};
use ringside_protocol::frame::{
    Attached, Certificate, ClientFrame, Mode, Opaque, Open, Place, Refused, Resume, Rewound, Route, Seat, ServerFrame,
    Target, VERSION, WireFrame,
};
use ringside_protocol::ids::{Branch, Epoch, Incarnation, SessionId, Slot, WorkerId};
use ringside_protocol::reason::Reason;
use ringside_protocol::tier::Tier;
use ringside_protocol::token::{ResumeClaims, SealedClaims, TicketClaims};

/// A name and its bytes.
pub type Vector = (&'static str, Vec<u8>);

/// Every file of golden vectors with what belongs in it.
pub fn files() -> Vec<(&'static str, Vec<Vector>)> {
    let frames = |frames: Vec<(&'static str, ClientFrame)>| {
        frames.into_iter().map(|(name, frame)| (name, frame.to_bytes().to_vec())).collect()
    };
    let server = |frames: Vec<(&'static str, ServerFrame)>| {
        frames.into_iter().map(|(name, frame)| (name, frame.to_bytes().to_vec())).collect()
    };
    vec![
        ("client-frames.hex", frames(client_frames())),
        ("server-frames.hex", server(server_frames())),
        ("client-datagrams.hex", client_datagrams()),
        ("server-datagrams.hex", server_datagrams()),
        ("sealed-claims.hex", sealed_claims()),
        ("outbox.hex", outboxes()),
    ]
}

fn epoch(number: u64) -> Epoch {
    Epoch { number, node: 0xabcd, node_generation: 1_760_000_000_000 }
}

fn session() -> SessionId {
    SessionId {
        game: "pong".parse().unwrap(),
        key: "Final.2".parse().unwrap(),
        incarnation: Incarnation(0x0123_4567_89ab_cdef),
    }
}

fn opaque(bytes: &'static [u8]) -> Opaque {
    Opaque::new(bytes).unwrap()
}

fn place(address: &str) -> Place {
    Place {
        address: address.parse().unwrap(),
        certificate_sha256: Certificate(std::array::from_fn(|at| at as u8)),
        ticket: opaque(b"ticket"),
    }
}

/// Client frames.
pub fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let open = Open {
        version: VERSION,
        token: "header.payload.signature".into(),
        target: Target::Session { game: "pong".parse().unwrap(), key: "Final.2".parse().unwrap() },
        mode: Mode::Attach,
        resume: None,
        ticket: None,
        relay: false,
    };
    let returning = Open {
        resume: Some(Resume {
            token: opaque(b"resume"),
            incarnation: Incarnation(300),
            joined: 12,
            branch: Branch(epoch(1)),
            last_output: 17,
        }),
        ticket: Some(opaque(b"ticket")),
        relay: true,
        ..open.clone()
    };
    let find = Open {
        target: Target::FindOrCreate { game: "arena".parse().unwrap(), criteria: "eu/ranked".into() },
        mode: Mode::Standby,
        ..open.clone()
    };
    vec![
        ("open", ClientFrame::Open(open.into())),
        ("open-returning", ClientFrame::Open(returning.into())),
        ("open-find-or-create-standby", ClientFrame::Open(find.into())),
        ("message", ClientFrame::Message { number: 1, body: Bytes::from_static(b"e2e4") }),
        ("message-empty", ClientFrame::Message { number: 1 << 40, body: Bytes::new() }),
        ("message-long", ClientFrame::Message { number: 300, body: Bytes::from(vec![0x5a; 200]) }),
        ("acknowledge", ClientFrame::Acknowledge { up_to: 129 }),
        ("leave", ClientFrame::Leave),
        ("ask-follower", ClientFrame::AskFollower),
    ]
}

fn attached() -> Attached {
    Attached {
        session: session(),
        player: "ann@example".parse().unwrap(),
        slot: Slot(1),
        mode: Mode::Attach,
        seat: Seat::New,
        joined: 12,
        branch: Branch(epoch(1)),
        epoch: epoch(1),
        node: 0xabcd,
        worker: WorkerId(2),
        route: Route::Direct,
        last_input: 0,
        last_output: 0,
        last_datagram: 0,
        resume_token: opaque(b"resume"),
        tick_rate: 60,
        view_rate: 30,
        input_rate: 120,
        tier: Tier::Volatile,
        tick: 0,
        seat_window_ms: 30_000,
        paused: false,
        follower: None,
    }
}

/// Server frames.
pub fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    let returned = Attached {
        seat: Seat::Kept,
        epoch: epoch(2),
        route: Route::Relayed,
        last_input: 41,
        last_output: 17,
        last_datagram: 5_000,
        tier: Tier::Durable,
        tick: 86_400,
        paused: true,
        follower: Some(place("[2001:db8::7]:4433")),
        ..attached()
    };
    let refused = Refused { cause: Reason::Overloaded, message: "come back later".into(), retry_after_ms: 1_500 };
    let rewound = Rewound { branch: Branch(epoch(3)), tick: 86_000, last_input: 40, last_output: 15 };
    vec![
        ("attached", ServerFrame::Attached(attached().into())),
        ("attached-returned", ServerFrame::Attached(returned.into())),
        ("redirect", ServerFrame::Redirect(place("192.0.2.7:4433"))),
        ("refused", ServerFrame::Refused(refused)),
        ("message", ServerFrame::Message { number: 18, body: Bytes::from_static(b"your move") }),
        ("acknowledge-volatile", ServerFrame::Acknowledge { up_to: 41, tier: Tier::Volatile }),
        ("acknowledge-durable", ServerFrame::Acknowledge { up_to: 41, tier: Tier::Durable }),
        ("rejected", ServerFrame::Rejected { number: 41, cause: Reason::MessageTrapped }),
        ("rewound", ServerFrame::Rewound(rewound)),
        ("paused", ServerFrame::Paused),
        ("resumed", ServerFrame::Resumed),
        ("moving", ServerFrame::Moving(place("192.0.2.8:4434"))),
        ("going-away", ServerFrame::GoingAway { reason: Reason::Draining }),
        ("detached", ServerFrame::Detached { reason: Reason::Kicked, message: "not sporting".into() }),
        ("finished", ServerFrame::Finished { outcome: Bytes::from_static(b"1-0") }),
        ("follower", ServerFrame::Follower(Some(place("192.0.2.9:4435")))),
        ("follower-none", ServerFrame::Follower(None)),
        ("standing-by", ServerFrame::StandingBy { epoch: Some(Epoch { number: 7, node: 2, node_generation: 300 }) }),
    ]
}

fn client_datagrams() -> Vec<Vector> {
    let input = |number, view_acknowledged, body: &'static [u8]| ClientDatagram::Input {
        number,
        view_acknowledged,
        body: Bytes::from_static(body),
    };
    let all = [
        ("input", input(1, 0, b"left")),
        ("input-empty", input(200, 199, b"")),
        ("input-late", input(1 << 30, 1 << 29, b"\x00\xff")),
        ("view-acknowledge", ClientDatagram::ViewAcknowledge { view: 300 }),
    ];
    all.into_iter().map(|(name, datagram)| (name, encoded(|out| datagram.encode(out)))).collect()
}

fn server_datagrams() -> Vec<Vector> {
    let fragment = |number, index, count, head: Option<(u64, u64, u64)>| ServerDatagram::ViewFragment {
        header: FragmentHeader {
            number,
            index,
            count,
            head: head.map(|(tick, committed_tick, baseline)| ViewHead { tick, committed_tick, baseline }),
        },
        body: Bytes::from_static(b"view"),
    };
    let all = [
        ("view", fragment(1, 0, 1, Some((60, 60, 0)))),
        ("view-provisional", fragment(300, 0, 1, Some((9_000, 8_997, 0)))),
        ("view-delta", fragment(300, 0, 1, Some((9_000, 9_000, 298)))),
        ("view-delta-provisional", fragment(300, 0, 1, Some((9_000, 8_800, 298)))),
        ("view-first-of-three", fragment(300, 0, 3, Some((9_000, 8_997, 0)))),
        ("view-last-of-three", fragment(300, 2, 3, None)),
        ("datagram", ServerDatagram::Datagram { body: Bytes::from_static(b"boom") }),
    ];
    all.into_iter().map(|(name, datagram)| (name, encoded(|out| datagram.encode(out)))).collect()
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn sealed_claims() -> Vec<Vector> {
    let ticket = TicketClaims {
        player: "ann@example".parse().unwrap(),
        session: session(),
        node: 0xabcd,
        generation: 1_760_000_000_000,
        worker: WorkerId(2),
        era: 300,
        redirects: 1,
        token_expires_s: 1_760_003_600,
        nonce: *b"sixteen bytes ok",
    };
    let resume = ResumeClaims {
        player: "ann@example".parse().unwrap(),
        session: session(),
        slot: Slot(1),
        node: 0xabcd,
        worker: WorkerId(2),
        expires_ms: 1_760_000_010_000,
        nonce: *b"sixteen bytes ok",
    };
    vec![("ticket", ticket.to_bytes()), ("resume", resume.to_bytes())]
}

fn outboxes() -> Vec<Vector> {
    let mut outbox = Outbox::new(1024, 1 << 20);
    let empty = postcard::to_allocvec(&outbox).unwrap();
    for body in [&b"one"[..], b"two", b"", b"four"] {
        outbox.push(Bytes::from_static(body)).unwrap();
    }
    outbox.acknowledge(1).unwrap();
    vec![("empty", empty), ("two-to-four", postcard::to_allocvec(&outbox).unwrap())]
}
