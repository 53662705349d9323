//! Single situations, frame by frame.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ringside_protocol::channel::Outbox;
use ringside_protocol::datagram::{ClientDatagram, encode_datagram};
use ringside_protocol::frame::{
    Attached, Certificate, ClientFrame, FrameDecoder, Mode, Opaque, Open, Refused, Rewound, Route, Seat, ServerFrame,
    Target, WireFrame,
};
use ringside_protocol::ids::{Branch, Incarnation, Slot, WorkerId};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::tier::Tier;
use ringside_protocol::view::ViewEncoder;

use super::model::{address, epoch, place, session};
use crate::core::{Action, Config, Core, Event, LinkId, Lost, SendError, TargetText};

mod resolving;
mod standby;

/// A core and what it said, by connection.
struct Bench {
    core: Core,
    now: Instant,
    decoders: std::collections::BTreeMap<LinkId, FrameDecoder<ClientFrame>>,
}

/// What the core did, with frames in place of bytes.
#[derive(Debug, PartialEq)]
enum Did {
    Connect(LinkId, std::net::SocketAddr, Option<Certificate>),
    Resolve(LinkId, Target),
    Frame(LinkId, ClientFrame),
    Datagram(LinkId, ClientDatagram),
    Close(LinkId, Reason),
}

const FIRST: LinkId = LinkId(0);
const SECOND: LinkId = LinkId(1);
const THIRD: LinkId = LinkId(2);

fn attached() -> Attached {
    Attached {
        session: session(),
        player: "ann".parse().unwrap(),
        slot: Slot(0),
        mode: Mode::Attach,
        seat: Seat::New,
        joined: 2,
        branch: Branch(epoch(1)),
        epoch: epoch(1),
        node: 1,
        worker: WorkerId(0),
        route: Route::Direct,
        last_input: 0,
        last_output: 0,
        last_datagram: 0,
        resume_token: Opaque::new(&b"once"[..]).unwrap(),
        tick_rate: 20,
        view_rate: 20,
        input_rate: 60,
        tier: Tier::Volatile,
        tick: 0,
        seat_window_ms: 30_000,
        paused: false,
        follower: None,
    }
}

fn kept() -> Attached {
    Attached { seat: Seat::Kept, ..attached() }
}

fn refused(cause: Reason) -> ServerFrame {
    ServerFrame::Refused(Refused { cause, message: "no".into(), retry_after_ms: 0 })
}

fn message(number: u64) -> ServerFrame {
    ServerFrame::Message { number, body: Bytes::from(number.to_string()) }
}

impl Bench {
    fn new() -> Self {
        Bench::with(false)
    }

    /// One whose pauses follow this seed.
    fn seeded(seed: u64) -> Self {
        Bench::drawn(false, seed)
    }

    /// One whose shell can ask where the session is, if `resolve`.
    fn with(resolve: bool) -> Self {
        Bench::drawn(resolve, 1)
    }

    fn drawn(resolve: bool, seed: u64) -> Self {
        let config = Config {
            token: "token".into(),
            target: "echo?any".parse::<TargetText>().unwrap().0,
            doors: vec![(address(1), None), (address(2), None)],
            relay: false,
            standby: true,
            seed,
            resolve,
            give_up_after: limits::CLIENT_GIVE_UP,
        };
        let mut bench = Bench { core: Core::new(config), now: Instant::now(), decoders: Default::default() };
        bench.core.start(bench.now);
        bench
    }

    /// One that is attached on [`FIRST`].
    fn attached() -> Self {
        let mut bench = Bench::new();
        bench.open(FIRST);
        bench.say(FIRST, ServerFrame::Attached(Box::new(attached())));
        assert!(matches!(bench.event(), Some(Event::Attached(attachment)) if attachment.joined));
        assert_eq!(bench.event(), None);
        bench
    }

    fn did(&mut self) -> Vec<Did> {
        let mut did = Vec::new();
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { link, address, certificate } => did.push(Did::Connect(link, address, certificate)),
                Action::Resolve { link, question } => {
                    let (token, target) = question.check().unwrap();
                    assert_eq!(token, "token");
                    did.push(Did::Resolve(link, target));
                }
                Action::Close { link, reason } => did.push(Did::Close(link, reason)),
                Action::Datagram { link, bytes } => {
                    did.push(Did::Datagram(link, ClientDatagram::decode(bytes).unwrap()));
                }
                Action::Write { link, bytes } => {
                    let decoder = self.decoders.entry(link).or_default();
                    let mut rest = &bytes[..];
                    while let Some(frame) = decoder.next(&mut rest).unwrap() {
                        did.push(Did::Frame(link, frame));
                    }
                }
            }
        }
        did
    }

    /// The handshake of a connection that the core has asked for; answers its `open`.
    fn open(&mut self, id: LinkId) -> Open {
        assert!(self.did().iter().any(|did| matches!(did, Did::Connect(link, ..) if *link == id)));
        self.core.handle_connected(self.now, id);
        match self.did().swap_remove(0) {
            Did::Frame(link, ClientFrame::Open(open)) if link == id => *open,
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, id: LinkId, frame: ServerFrame) {
        self.core.handle_stream(self.now, id, &frame.to_bytes());
    }

    fn event(&mut self) -> Option<Event> {
        self.core.poll_event(self.now)
    }

    /// Lets the time pass that the core waits for.
    fn wake(&mut self) {
        self.now = self.core.next_wake().expect("the core waits for something");
        self.core.handle_timeout(self.now);
    }

    fn cut(&mut self, id: LinkId) {
        self.core.handle_lost(self.now, id, Lost::Transport("cut".into()));
    }
}

#[test]
fn the_first_open_says_what_is_wanted_and_later_ones_what_is_had() {
    let mut bench = Bench::new();
    let open = bench.open(FIRST);
    assert_eq!((open.token.as_str(), open.resume, open.ticket), ("token", None, None));
    assert_eq!(open.target, "echo?any".parse::<TargetText>().unwrap().0);
    bench.say(FIRST, ServerFrame::Attached(Box::new(attached())));
    bench.say(FIRST, message(1));
    bench.say(FIRST, message(2));
    while bench.event().is_some_and(|event| !matches!(event, Event::Message { .. })) {}
    bench.cut(FIRST);
    assert!(matches!(bench.event(), Some(Event::Disconnected { .. })), "the second message will come again");
    bench.wake();
    let open = bench.open(SECOND);
    let resume = open.resume.unwrap();
    assert_eq!((resume.token.as_bytes(), resume.last_output), (&b"once"[..], 1));
    assert_eq!(resume.incarnation, Incarnation(7));
    assert_eq!(open.target, "echo/one".parse::<TargetText>().unwrap().0, "the session that was found");
    bench.say(SECOND, ServerFrame::Attached(Box::new(Attached { last_output: 1, ..kept() })));
    bench.say(SECOND, message(2));
    assert!(matches!(bench.event(), Some(Event::Attached(attachment)) if !attachment.joined));
    assert!(matches!(bench.event(), Some(Event::Message { number: 2, .. })));
}

#[test]
fn messages_wait_for_the_attachment_and_are_numbered_by_it() {
    let mut bench = Bench::new();
    bench.core.send("a".into()).unwrap();
    bench.open(FIRST);
    bench.core.send("b".into()).unwrap();
    assert_eq!(bench.did(), []);
    bench.say(FIRST, ServerFrame::Attached(Box::new(Attached { last_input: 40, last_datagram: 9, ..kept() })));
    let wrote = |number, body: &'static str| Did::Frame(FIRST, ClientFrame::Message { number, body: body.into() });
    assert_eq!(bench.did(), [wrote(41, "a"), wrote(42, "b")]);
    assert_eq!(bench.core.send("c".into()), Ok(43));
    assert_eq!(bench.core.unacknowledged(), 3);
    bench.say(FIRST, ServerFrame::Acknowledge { up_to: 42, tier: Tier::Volatile });
    assert_eq!(bench.core.unacknowledged(), 1);
    bench.did();
    bench.core.send_datagram(b"d").unwrap();
    let input = ClientDatagram::Input { number: 10, view_acknowledged: 0, body: "d".into() };
    assert_eq!(bench.did(), [Did::Datagram(FIRST, input)], "datagram numbers go on, too");
}

#[test]
fn back_pressure_is_visible() {
    let mut bench = Bench::attached();
    let sent = (0..).take_while(|_| bench.core.send("x".into()).is_ok()).count();
    assert_eq!(sent, limits::CLIENT_UNRETIRED_MESSAGES);
    assert_eq!(bench.core.send("x".into()), Err(SendError::Full));
    bench.say(FIRST, ServerFrame::Acknowledge { up_to: 1, tier: Tier::Volatile });
    assert_eq!(bench.core.send("x".into()), Ok(sent as u64 + 1));
    let long = Bytes::from(vec![0; limits::MESSAGE_BYTES + 1]);
    assert_eq!(bench.core.send(long), Err(SendError::TooLong(limits::MESSAGE_BYTES + 1)));
    let long = vec![0; limits::DATAGRAM_BODY_BYTES + 1];
    assert_eq!(bench.core.send_datagram(&long), Err(SendError::TooLong(long.len())));

    let mut bench = Bench::attached();
    let longest = Bytes::from(vec![0; limits::MESSAGE_BYTES]);
    let sent = (0..).take_while(|_| bench.core.send(longest.clone()).is_ok()).count();
    assert_eq!(sent * longest.len(), limits::CLIENT_UNRETIRED_BYTES, "few long ones fill it, too");
}

#[test]
fn a_session_without_followers_does_not_stop_its_players() {
    let mut bench = Bench::new();
    bench.open(FIRST);
    bench.say(FIRST, ServerFrame::Attached(Box::new(Attached { tier: Tier::Durable, ..attached() })));
    for number in 1..=1000 {
        assert_eq!(bench.core.send("x".into()), Ok(number));
        bench.say(FIRST, ServerFrame::Acknowledge { up_to: number, tier: Tier::Volatile });
    }
    // What is still kept is sent again to whoever lacks it.
    bench.did();
    bench.cut(FIRST);
    bench.wake();
    bench.open(SECOND);
    bench.say(SECOND, ServerFrame::Attached(Box::new(Attached { last_input: 900, ..kept() })));
    assert_eq!(bench.did().len(), 100);
}

#[test]
fn taking_messages_acknowledges_them_together() {
    let mut bench = Bench::attached();
    (1..=3).for_each(|number| bench.say(FIRST, message(number)));
    assert!(matches!(bench.event(), Some(Event::Message { number: 1, .. })));
    assert!(matches!(bench.event(), Some(Event::Message { number: 2, .. })));
    assert_eq!(bench.did(), [], "an acknowledgement waits for company");
    assert_eq!(bench.core.next_wake(), Some(bench.now + limits::CLIENT_ACKNOWLEDGE_DELAY));
    bench.wake();
    assert_eq!(bench.did(), [Did::Frame(FIRST, ClientFrame::Acknowledge { up_to: 2 })], "what was taken, no more");
    for number in 4..=limits::CLIENT_ACKNOWLEDGE_EVERY as u64 + 3 {
        bench.say(FIRST, message(number));
        bench.event();
    }
    assert_eq!(bench.did().len(), 1, "many are acknowledged at once");
}

#[test]
fn views_are_acknowledged_by_inputs_or_alone_and_again_when_repeated() {
    let mut bench = Bench::attached();
    let mut views = ViewEncoder::new();
    let show = |views: &mut ViewEncoder, bench: &mut Bench| {
        let mut bytes = BytesMut::new();
        while views.next_fragment(1200, &mut bytes).unwrap() {
            bench.core.handle_datagram(bench.now, FIRST, bytes.split().freeze());
        }
    };
    views.offer("one".into(), 1, 1).unwrap();
    show(&mut views, &mut bench);
    views.offer("two".into(), 2, 1).unwrap();
    show(&mut views, &mut bench);
    assert!(matches!(bench.event(), Some(Event::View(view)) if view.tick == 2 && view.committed_tick == 1));
    assert_eq!(bench.event(), None, "the older one is not queued");
    bench.core.send_datagram(b"").unwrap();
    let input = ClientDatagram::Input { number: 1, view_acknowledged: 2, body: Bytes::new() };
    assert_eq!(bench.did(), [Did::Datagram(FIRST, input)]);
    assert!(bench.core.acknowledge_at.is_none(), "nothing is left to say");
    views.repeat();
    show(&mut views, &mut bench);
    bench.wake();
    let acknowledged = Did::Datagram(FIRST, ClientDatagram::ViewAcknowledge { view: 2 });
    assert_eq!(bench.did(), [acknowledged]);
    assert_eq!(bench.event(), None, "it was shown before");
}

#[test]
fn unread_datagrams_are_dropped_from_the_oldest() {
    let mut bench = Bench::attached();
    for number in 0..limits::CLIENT_QUEUED_DATAGRAMS as u16 + 3 {
        let mut bytes = BytesMut::new();
        encode_datagram(&number.to_le_bytes(), &mut bytes);
        bench.core.handle_datagram(bench.now, FIRST, bytes.freeze());
    }
    assert_eq!(bench.core.dropped_datagrams(), 3);
    assert_eq!(bench.event(), Some(Event::Datagram { body: Bytes::from_static(&[3, 0]) }));
    bench.core.handle_datagram(bench.now, FIRST, Bytes::from_static(b"\xffnonsense"));
}

#[test]
fn redirects_are_followed_and_bounded() {
    let mut bench = Bench::new();
    for hop in 0..=limits::CLIENT_REDIRECTS as u32 {
        let open = bench.open(LinkId(hop));
        assert_eq!(open.ticket.is_some(), hop > 0);
        bench.say(LinkId(hop), ServerFrame::Redirect(place(hop as u16 + 5)));
    }
    let did = bench.did();
    assert!(matches!(did[..], [Did::Close(..)]), "in a circle: {did:?}");
    bench.wake();
    let next = LinkId(limits::CLIENT_REDIRECTS as u32 + 1);
    assert_eq!(bench.did(), [Did::Connect(next, address(2), None)], "begins again at a front door");
}

#[test]
fn a_place_that_is_not_reached_in_time_is_relayed_to() {
    let mut bench = Bench::new();
    assert!(!bench.open(FIRST).relay);
    bench.say(FIRST, ServerFrame::Redirect(place(5)));
    bench.did();
    assert_eq!(bench.core.next_wake(), Some(bench.now + limits::CLIENT_REACH_TIMEOUT));
    bench.wake();
    assert!(matches!(bench.did()[..], [Did::Close(SECOND, _)]));
    bench.wake();
    let third = LinkId(2);
    let open = bench.open(third);
    assert!(open.relay && open.ticket.is_none());
}

#[test]
fn who_is_twice_told_that_it_is_not_there_asks_to_be_relayed() {
    let mut bench = Bench::new();
    let refused =
        || ServerFrame::Refused(Refused { cause: Reason::NotHere, message: String::new(), retry_after_ms: 0 });
    for id in 0..3 {
        assert_eq!(bench.open(LinkId(id)).relay, id == 2, "try {id}");
        bench.say(LinkId(id), refused());
        bench.did();
        bench.wake();
    }
}

#[test]
fn a_redirect_names_the_certificate_to_expect() {
    let mut bench = Bench::new();
    bench.open(FIRST);
    bench.say(FIRST, ServerFrame::Redirect(place(5)));
    let connect = Did::Connect(SECOND, address(5), Some(place(5).certificate_sha256));
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Closed), connect]);
}

#[test]
fn refusals_are_final_where_only_other_input_helps() {
    for cause in [Reason::TokenExpired, Reason::NoSuchSession, Reason::SessionFull, Reason::JoinRefused] {
        let mut bench = Bench::new();
        bench.open(FIRST);
        bench.say(FIRST, refused(cause));
        assert_eq!(bench.event(), Some(Event::Failed { reason: cause, message: "no".into() }));
        assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Closed)]);
        assert!(bench.core.is_done());
        assert_eq!(bench.core.next_wake(), None);
        assert_eq!(bench.core.send("x".into()), Err(SendError::Done));
    }
}

#[test]
fn refusals_that_pass_are_waited_for() {
    let mut bench = Bench::new();
    bench.open(FIRST);
    let busy = Refused { cause: Reason::Overloaded, message: String::new(), retry_after_ms: 1_500 };
    bench.say(FIRST, ServerFrame::Refused(busy));
    assert_eq!(bench.core.next_wake(), Some(bench.now + Duration::from_millis(1_500)));
    bench.did();
    bench.wake();
    assert_eq!(bench.did(), [Did::Connect(SECOND, address(2), None)]);
}

#[test]
fn a_refused_resume_token_is_left_out_at_once() {
    let mut bench = Bench::attached();
    bench.cut(FIRST);
    bench.wake();
    assert!(!bench.open(SECOND).resume.unwrap().token.is_empty());
    bench.say(SECOND, refused(Reason::ResumeInvalid));
    let resume = bench.open(THIRD).resume.unwrap();
    assert!(resume.token.is_empty());
    assert_eq!(resume.branch, Branch(epoch(1)), "the standing is kept");
}

#[test]
fn a_resume_token_is_shown_once() {
    let mut bench = Bench::attached();
    bench.cut(FIRST);
    bench.wake();
    bench.open(SECOND);
    bench.cut(SECOND);
    bench.wake();
    assert!(bench.open(THIRD).resume.unwrap().token.is_empty());
}

#[test]
fn a_lost_seat_is_told_with_what_it_took_along() {
    let mut bench = Bench::attached();
    bench.core.send("a".into()).unwrap();
    bench.core.send("b".into()).unwrap();
    bench.cut(FIRST);
    bench.wake();
    bench.did();
    bench.core.handle_connected(bench.now, SECOND);
    bench.did();
    bench.say(SECOND, ServerFrame::Attached(Box::new(attached())));
    assert!(matches!(bench.event(), Some(Event::Disconnected { .. })));
    assert!(matches!(bench.event(), Some(Event::Attached(seat)) if seat.joined && seat.lost_messages == 2));
    assert_eq!(bench.core.send("c".into()), Ok(1), "both numberings begin");
    assert_eq!(bench.did().len(), 1);
}

#[test]
fn a_stay_that_is_over_is_left_out_until_there_is_another() {
    let mut bench = Bench::attached();
    bench.core.send("a".into()).unwrap();
    bench.cut(FIRST);
    bench.event();
    bench.wake();
    assert_eq!(bench.open(SECOND).resume.unwrap().joined, 2);
    bench.say(SECOND, refused(Reason::SeatExpired));
    assert_eq!(bench.open(THIRD).resume, None, "at once, and without what is over");
    // The session lets the player in; the answer never comes. The next finds a seat of which this client knows nothing.
    bench.cut(THIRD);
    bench.wake();
    assert_eq!(bench.open(LinkId(3)).resume, None);
    let another = Attached { joined: 9, last_output: 4, ..kept() };
    bench.say(LinkId(3), ServerFrame::Attached(Box::new(another)));
    assert!(matches!(bench.event(), Some(Event::Attached(seat)) if seat.joined && seat.lost_messages == 1));
    bench.say(LinkId(3), message(5));
    assert!(matches!(bench.event(), Some(Event::Message { number: 5, .. })));
    assert_eq!(bench.core.send("b".into()), Ok(1));
    bench.cut(LinkId(3));
    bench.event();
    bench.wake();
    assert_eq!(bench.open(LinkId(4)).resume.unwrap().joined, 9);
}

#[test]
fn a_target_at_which_the_stay_is_over_leaves_the_old_place() {
    let mut bench = Bench::attached();
    bench.say(FIRST, ServerFrame::Moving(place(2)));
    bench.open(SECOND);
    bench.say(SECOND, refused(Reason::SeatExpired));
    assert!(bench.core.is_attached());
    bench.core.handle_lost(bench.now, FIRST, Lost::Closed(Reason::Moved, String::new()));
    assert!(matches!(bench.event(), Some(Event::Disconnected { .. })));
    bench.wake();
    assert!(bench.open(THIRD).resume.is_some(), "whoever leads the session now says whether it is over");
}

#[test]
fn impossible_standings_end_it() {
    for wrong in [
        Attached { last_input: 7, ..kept() },
        Attached { last_output: 3, ..kept() },
        Attached { session: "echo/one@0000000000000008".parse().unwrap(), ..kept() },
    ] {
        let mut bench = Bench::attached();
        bench.cut(FIRST);
        bench.event();
        bench.wake();
        bench.open(SECOND);
        bench.say(SECOND, ServerFrame::Attached(Box::new(wrong)));
        assert!(matches!(bench.event(), Some(Event::Failed { .. })));
    }
}

#[test]
fn nobody_of_an_older_epoch_is_believed() {
    let mut bench = Bench::new();
    bench.open(FIRST);
    bench.say(FIRST, ServerFrame::Attached(Box::new(Attached { epoch: epoch(5), ..attached() })));
    bench.cut(FIRST);
    bench.wake();
    bench.open(SECOND);
    bench.say(SECOND, ServerFrame::Attached(Box::new(Attached { epoch: epoch(4), ..kept() })));
    assert_eq!(bench.did(), [Did::Close(SECOND, Reason::NotHere)]);
    assert!(!bench.core.is_attached() && !bench.core.is_done());
}

#[test]
fn rewound_comes_before_anything_of_the_new_branch() {
    let mut bench = Bench::attached();
    for body in ["a", "b", "c"] {
        bench.core.send(body.into()).unwrap();
    }
    (1..=4).for_each(|number| bench.say(FIRST, message(number)));
    (0..4).for_each(|_| _ = bench.event());
    bench.cut(FIRST);
    bench.event();
    bench.wake();
    bench.open(SECOND);
    let branch = Branch(epoch(2));
    let back = Attached { branch, epoch: epoch(2), last_input: 1, last_output: 2, ..kept() };
    bench.say(SECOND, ServerFrame::Attached(Box::new(back)));
    assert_eq!(bench.did(), [], "nothing before rewound");
    bench.say(SECOND, ServerFrame::Rewound(Rewound { branch, tick: 9, last_input: 1, last_output: 2 }));
    let numbers: Vec<_> = bench.did();
    assert!(matches!(
        numbers[..],
        [
            Did::Frame(SECOND, ClientFrame::Message { number: 2, .. }),
            Did::Frame(SECOND, ClientFrame::Message { number: 3, .. })
        ]
    ));
    assert!(matches!(bench.event(), Some(Event::Attached(_))));
    let event = Event::Rewound { tick: 9, last_input: 1, last_output: 2, lost_messages: 0, superseded: true };
    assert_eq!(bench.event(), Some(event), "messages that came are withdrawn");
    bench.say(SECOND, message(3));
    assert!(matches!(bench.event(), Some(Event::Message { number: 3, .. })), "three again, of the new branch");
}

/// A client that has said seven things, of which the last two are safe and were let go of, or are not.
fn has_said_seven(are_safe: bool) -> Bench {
    let mut bench = Bench::attached();
    for number in 1..=7 {
        bench.core.send(format!("old {number}").into()).unwrap();
    }
    let up_to = if are_safe { 7 } else { 5 };
    bench.say(FIRST, ServerFrame::Acknowledge { up_to, tier: Tier::Volatile });
    bench
}

/// Comes to a branch that has so many of its messages, of which these are of one line with the branch before.
fn come_to(bench: &mut Bench, (from, to): (LinkId, LinkId), number: u64, last_input: u64, shared: u64) -> Vec<u64> {
    bench.cut(from);
    while bench.event().is_some() {}
    bench.wake();
    bench.open(to);
    let branch = Branch(epoch(number));
    let back = Attached { branch, epoch: epoch(number), last_input, last_output: 0, ..kept() };
    bench.say(to, ServerFrame::Attached(Box::new(back)));
    bench.did();
    bench.say(to, ServerFrame::Rewound(Rewound { branch, tick: 0, last_input: shared, last_output: 0 }));
    let said = |did| match did {
        Did::Frame(_, ClientFrame::Message { number, .. }) => Some(number),
        _ => None,
    };
    bench.did().into_iter().filter_map(said).collect()
}

fn lost(bench: &mut Bench) -> u64 {
    std::iter::from_fn(|| bench.event())
        .find_map(|event| match event {
            Event::Rewound { lost_messages, .. } => Some(lost_messages),
            _ => None,
        })
        .unwrap_or(0)
}

#[test]
fn what_was_applied_on_the_branch_that_it_comes_back_to_is_not_said_again_and_what_is_new_is_not_taken_for_it() {
    // Two were let go of and lost: what is said after that has their numbers, and is something else.
    let mut bench = has_said_seven(true);
    assert!(come_to(&mut bench, (FIRST, SECOND), 2, 5, 5).is_empty());
    assert_eq!(lost(&mut bench), 2);
    for body in ["new", "newer"] {
        bench.core.send(body.into()).unwrap();
    }
    assert_eq!(bench.did().len(), 2);
    assert_eq!(come_to(&mut bench, (SECOND, THIRD), 3, 7, 5), [8, 9]);
    assert_eq!(lost(&mut bench), 0, "those two are there");

    // None was let go of: they are the same on both, and the branch that goes on has them.
    let mut bench = has_said_seven(false);
    assert_eq!(come_to(&mut bench, (FIRST, SECOND), 2, 5, 5), [6, 7]);
    assert_eq!(lost(&mut bench), 0);
    bench.core.send("new".into()).unwrap();
    assert_eq!(come_to(&mut bench, (SECOND, THIRD), 3, 7, 5), [8]);
    assert_eq!(lost(&mut bench), 0);
}

#[test]
fn whether_promises_are_withdrawn_is_told_apart() {
    // Ticks that were shown and committed, messages that came; what is kept of each; whether that withdraws a promise.
    let cases =
        [((9, 4, 0), (4, 0), false), ((9, 5, 0), (4, 0), true), ((9, 4, 2), (4, 1), true), ((9, 4, 2), (4, 2), false)];
    for ((shown, committed, messages), (tick, last_output), expected) in cases {
        let mut bench = Bench::attached();
        let (mut views, mut bytes) = (ViewEncoder::new(), BytesMut::new());
        views.offer("view".into(), shown, committed).unwrap();
        while views.next_fragment(1200, &mut bytes).unwrap() {
            bench.core.handle_datagram(bench.now, FIRST, bytes.split().freeze());
        }
        (1..=messages).for_each(|number| bench.say(FIRST, message(number)));
        (0..=messages).for_each(|_| assert!(bench.event().is_some()));
        bench.cut(FIRST);
        bench.event();
        bench.wake();
        bench.open(SECOND);
        let branch = Branch(epoch(2));
        let back = Attached { branch, epoch: epoch(2), tick, last_input: 0, last_output, ..kept() };
        bench.say(SECOND, ServerFrame::Attached(Box::new(back)));
        bench.say(SECOND, ServerFrame::Rewound(Rewound { branch, tick, last_input: 0, last_output }));
        assert!(matches!(bench.event(), Some(Event::Attached(_))));
        let event = bench.event();
        let Some(Event::Rewound { superseded, .. }) = event else { panic!("{event:?}") };
        assert_eq!(superseded, expected, "{shown} shown, {committed} committed, {messages} came");
    }
}

#[test]
fn a_move_sends_to_both_sides_until_the_target_answers() {
    let mut bench = Bench::attached();
    bench.core.send("a".into()).unwrap();
    bench.did();
    bench.say(FIRST, ServerFrame::Moving(place(2)));
    let did = bench.did();
    assert_eq!(did, [Did::Connect(SECOND, address(2), Some(place(2).certificate_sha256))]);
    bench.core.handle_connected(bench.now, SECOND);
    let did = bench.did();
    assert!(matches!(&did[0], Did::Frame(SECOND, ClientFrame::Open(open))
        if open.ticket.is_some() && open.resume.as_ref().unwrap().token.is_empty()));
    assert!(matches!(did[1], Did::Frame(SECOND, ClientFrame::Message { number: 1, .. })), "unretired: {did:?}");
    bench.core.send("b".into()).unwrap();
    bench.core.send_datagram(b"d").unwrap();
    assert_eq!(bench.did().len(), 4, "both sides");
    bench.say(FIRST, message(1));
    let answer = Attached { epoch: epoch(2), last_input: 1, ..kept() };
    bench.say(SECOND, ServerFrame::Attached(Box::new(answer)));
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Moved)], "b is on its way already");
    assert!(matches!(bench.event(), Some(Event::Message { number: 1, .. })));
    assert_eq!(bench.event(), Some(Event::Moved { address: address(2) }));
    bench.say(SECOND, message(1));
    assert_eq!(bench.event(), None, "it came from the old place");
    bench.say(FIRST, message(2));
    assert_eq!(bench.event(), None, "nobody listens to the old place");
}

#[test]
fn a_stay_is_not_over_because_the_leader_of_an_older_epoch_does_not_know_it() {
    let there = || Attached { epoch: epoch(2), joined: 9, ..kept() };
    let mut bench = Bench::new();
    bench.open(FIRST);
    bench.say(FIRST, ServerFrame::Attached(Box::new(Attached { seat: Seat::New, ..there() })));
    bench.core.send("a".into()).unwrap();
    bench.cut(FIRST);
    while bench.event().is_some() {}
    bench.wake();
    bench.open(SECOND);
    bench.say(SECOND, refused(Reason::SeatExpired));
    assert_eq!(bench.open(THIRD).resume, None);
    bench.say(THIRD, ServerFrame::Attached(Box::new(attached())));
    bench.wake();
    let resume = bench.open(LinkId(3)).resume.expect("what it is in goes on elsewhere");
    assert_eq!(resume.joined, 9);
    bench.say(LinkId(3), ServerFrame::Attached(Box::new(there())));
    assert!(matches!(bench.event(), Some(Event::Attached(seat)) if !seat.joined && seat.lost_messages == 0));
    let again = |did: &Did| matches!(did, Did::Frame(LinkId(3), ClientFrame::Message { number: 1, .. }));
    assert!(bench.did().iter().any(again), "what it had said is said again");
}

#[test]
fn numbers_that_another_client_of_the_player_has_used_are_not_used_again() {
    let mut bench = Bench::attached();
    for text in ["there", "lost"] {
        bench.core.send(text.into()).unwrap();
    }
    bench.cut(FIRST);
    while bench.event().is_some() {}
    bench.wake();
    bench.open(SECOND);
    // Both branches have the first; on this one another client has said up to the fiftieth.
    let (branch, epoch) = (Branch(epoch(2)), epoch(2));
    bench.say(SECOND, ServerFrame::Attached(Box::new(Attached { branch, epoch, last_input: 50, ..kept() })));
    bench.say(SECOND, ServerFrame::Rewound(Rewound { branch, tick: 0, last_input: 1, last_output: 0 }));
    bench.core.send("new".into()).unwrap();
    let said: Vec<(u64, Bytes)> = bench
        .did()
        .into_iter()
        .filter_map(|did| match did {
            Did::Frame(SECOND, ClientFrame::Message { number, body }) => Some((number, body)),
            _ => None,
        })
        .collect();
    assert_eq!(said, [(51, "lost".into()), (52, "new".into())]);
}

#[test]
fn a_seat_that_is_not_there_after_a_move_is_told_as_lost() {
    // It was on a branch that lost: the leader of the other has never heard of this player.
    let mut bench = Bench::attached();
    bench.core.send("a".into()).unwrap();
    bench.say(FIRST, ServerFrame::Moving(place(2)));
    bench.open(SECOND);
    bench.core.handle_lost(bench.now, FIRST, Lost::Closed(Reason::Moved, String::new()));
    bench.say(SECOND, refused(Reason::SeatExpired));
    assert_eq!(bench.open(THIRD).resume, None, "at once, and without what is over");
    let another = Attached { joined: 9, epoch: epoch(2), ..attached() };
    bench.say(THIRD, ServerFrame::Attached(Box::new(another)));
    assert!(matches!(bench.event(), Some(Event::Attached(seat)) if seat.joined && seat.lost_messages == 1));
    assert_eq!(bench.core.send("b".into()), Ok(1), "both numberings begin");
}

#[test]
fn the_old_place_may_go_before_the_target_answers() {
    let mut bench = Bench::attached();
    bench.say(FIRST, ServerFrame::Moving(place(2)));
    bench.open(SECOND);
    bench.core.handle_lost(bench.now, FIRST, Lost::Closed(Reason::Moved, String::new()));
    assert_eq!(bench.event(), None, "nothing to worry about");
    bench.say(SECOND, ServerFrame::Attached(Box::new(Attached { epoch: epoch(2), ..kept() })));
    assert_eq!(bench.event(), Some(Event::Moved { address: address(2) }));

    let mut bench = Bench::attached();
    bench.say(FIRST, ServerFrame::Moving(place(2)));
    bench.open(SECOND);
    bench.cut(FIRST);
    bench.cut(SECOND);
    assert!(matches!(bench.event(), Some(Event::Disconnected { .. })), "now there is");
}

#[test]
fn a_target_that_fails_leaves_the_old_place() {
    let mut bench = Bench::attached();
    bench.say(FIRST, ServerFrame::Moving(place(2)));
    bench.open(SECOND);
    bench.say(SECOND, refused(Reason::TicketInvalid));
    assert!(bench.core.is_attached());
    assert_eq!(bench.event(), None);
    bench.core.send("a".into()).unwrap();
    assert_eq!(bench.did().len(), 2, "closed the target, wrote to the old place");
}

#[test]
fn what_ends_an_attachment_for_good_is_the_last_event() {
    for reason in [Reason::Kicked, Reason::Replaced, Reason::TooSlow, Reason::SeatExpired] {
        let mut bench = Bench::attached();
        bench.say(FIRST, ServerFrame::Detached { reason, message: "why".into() });
        assert_eq!(bench.event(), Some(Event::Detached { reason, message: "why".into() }));
        assert!(bench.core.is_done());
        // The same where only the close code arrives.
        let mut bench = Bench::attached();
        bench.core.handle_lost(bench.now, FIRST, Lost::Closed(reason, String::new()));
        assert!(matches!(bench.event(), Some(Event::Detached { reason: given, .. }) if given == reason));
    }
    let mut bench = Bench::attached();
    bench.say(FIRST, ServerFrame::Finished { outcome: "1-0".into() });
    let event = bench.event().unwrap();
    assert!(event.is_last());
    assert_eq!(event, Event::Finished { outcome: "1-0".into() });
}

#[test]
fn what_passes_is_survived() {
    for reason in [Reason::Draining, Reason::Stopping, Reason::Idle, Reason::Closed, Reason::Unknown(999)] {
        let mut bench = Bench::attached();
        bench.core.handle_lost(bench.now, FIRST, Lost::Closed(reason, String::new()));
        assert!(matches!(bench.event(), Some(Event::Disconnected { .. })), "{reason}");
        bench.wake();
        bench.open(SECOND);
    }
    let mut bench = Bench::attached();
    bench.say(FIRST, ServerFrame::GoingAway { reason: Reason::Draining });
    assert_eq!(bench.event(), Some(Event::GoingAway { reason: Reason::Draining }));
    assert!(bench.core.is_attached());
    for (frame, event) in [(ServerFrame::Paused, Event::Paused), (ServerFrame::Resumed, Event::Resumed)] {
        bench.say(FIRST, frame);
        assert_eq!(bench.event(), Some(event));
    }
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    for frame in [
        message(2),
        ServerFrame::Acknowledge { up_to: 1, tier: Tier::Volatile },
        ServerFrame::Attached(Box::new(attached())),
        ServerFrame::Rewound(Rewound { branch: Branch(epoch(1)), tick: 0, last_input: 0, last_output: 0 }),
    ] {
        let mut bench = Bench::attached();
        bench.say(FIRST, frame);
        assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Protocol)]);
        assert!(matches!(bench.event(), Some(Event::Disconnected { .. })));
    }
    let mut bench = Bench::attached();
    bench.core.handle_stream(bench.now, FIRST, &[0xff; 9]);
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Protocol)]);
}

#[test]
fn leaving_delivers_what_was_sent_first_and_ends_in_time() {
    let mut bench = Bench::attached();
    bench.core.send("bye".into()).unwrap();
    bench.core.leave(bench.now);
    let did = bench.did();
    assert!(matches!(did[..], [Did::Frame(_, ClientFrame::Message { .. }), Did::Frame(_, ClientFrame::Leave)]));
    assert_eq!(bench.core.send("more".into()), Err(SendError::Done));
    bench.say(FIRST, ServerFrame::Detached { reason: Reason::Left, message: String::new() });
    assert!(matches!(bench.event(), Some(Event::Detached { reason: Reason::Left, .. })));

    let mut bench = Bench::attached();
    bench.core.leave(bench.now);
    assert_eq!(bench.core.next_wake(), Some(bench.now + limits::LEAVE_TIMEOUT));
    bench.did();
    bench.wake();
    assert!(matches!(bench.event(), Some(Event::Detached { reason: Reason::Left, .. })));
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Left)]);
}

#[test]
fn a_client_that_is_refused_until_it_gives_up_says_why() {
    for is_reached_at_last in [true, false] {
        let mut bench = Bench::new();
        for link in 0.. {
            bench.open(LinkId(link));
            bench.say(LinkId(link), refused(Reason::Overloaded));
            bench.wake();
            if bench.core.is_done() || !is_reached_at_last {
                break;
            }
        }
        // The last tries may find nobody: then that is what there is to say.
        while !bench.core.is_done() {
            bench.wake();
        }
        match bench.event() {
            Some(Event::Failed { reason: Reason::Overloaded, message }) => {
                assert!(is_reached_at_last && message == "no", "{message}");
            }
            Some(Event::Failed { reason: Reason::Unreachable, .. }) => assert!(!is_reached_at_last),
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn a_client_that_reaches_nobody_gives_up() {
    let mut bench = Bench::new();
    let began = bench.now;
    let mut tries = 0;
    while !bench.core.is_done() {
        tries += bench.did().iter().filter(|did| matches!(did, Did::Connect(..))).count();
        bench.wake();
    }
    assert_eq!(bench.now - began, limits::CLIENT_GIVE_UP);
    assert!((5..=12).contains(&tries), "{tries}");
    assert!(matches!(bench.event(), Some(Event::Failed { reason: Reason::Unreachable, .. })));
}

#[test]
fn a_try_that_nobody_answers_is_made_again() {
    let mut bench = Bench::new();
    bench.open(FIRST);
    assert_eq!(bench.core.next_wake(), Some(bench.now + limits::CLIENT_ATTACH_TIMEOUT));
    bench.wake();
    assert!(matches!(bench.did()[..], [Did::Close(FIRST, _)]));
    assert!(!bench.core.is_done());
    bench.wake();
    assert_eq!(bench.did(), [Did::Connect(SECOND, address(2), None)], "at the next door");
}

#[test]
fn a_door_that_is_not_reached_is_left_for_the_next_and_each_round_has_longer() {
    let mut bench = Bench::new();
    let mut patience = Vec::new();
    for number in 0..8 {
        assert!(bench.did().iter().any(|did| matches!(did, Did::Connect(..))));
        let begun = bench.now;
        bench.wake();
        patience.push((bench.now - begun).as_millis() / limits::CLIENT_REACH_TIMEOUT.as_millis());
        if number < 7 {
            bench.wake();
        }
    }
    assert_eq!(patience, [1, 1, 2, 2, 4, 4, 8, 8]);
    // One that is reached has all the time that a try has.
    let mut bench = Bench::new();
    bench.open(FIRST);
    assert_eq!(bench.core.next_wake(), Some(bench.now + limits::CLIENT_ATTACH_TIMEOUT));
    // And so has the only one.
    let mut bench = Bench::new();
    bench.core.config.doors.truncate(1);
    bench.wake();
    bench.wake();
    assert_eq!(bench.core.next_wake(), Some(bench.now + limits::CLIENT_ATTACH_TIMEOUT));
}

#[test]
fn a_stranger_at_the_door_is_told_at_once() {
    let mut bench = Bench::new();
    bench.core.handle_lost(bench.now, FIRST, Lost::Untrusted("another certificate".into()));
    let failed = Event::Failed { reason: Reason::Unreachable, message: "another certificate".into() };
    assert_eq!(bench.event(), Some(failed));
}

#[test]
fn targets_read_back() {
    for text in ["pong/one", "arena?eu/ranked", "arena?"] {
        assert_eq!(text.parse::<TargetText>().unwrap().to_string(), text);
    }
    assert_eq!("arena".parse::<TargetText>().unwrap().to_string(), "arena?");
    for wrong in ["", "/", "pong/", "Pong/one", "pong/a b"] {
        assert!(wrong.parse::<TargetText>().is_err(), "{wrong}");
    }
    let long = format!("arena?{}", "c".repeat(limits::CRITERIA_BYTES + 1));
    assert!(long.parse::<TargetText>().is_err());
}

#[test]
fn an_honest_server_cannot_fill_the_queue_and_a_hostile_one_is_left() {
    // Nothing is acknowledged that was not taken: so the server's own outbox bounds what waits here.
    let mut outbox = Outbox::new(1024, 1 << 20);
    let mut bench = Bench::attached();
    while let Ok(number) = outbox.push(Bytes::from_static(b"m")) {
        bench.say(FIRST, message(number));
    }
    assert_eq!(bench.did(), []);
    assert!(bench.core.is_attached());
    for number in outbox.last() + 1..=limits::CLIENT_QUEUED_EVENTS as u64 + 1 {
        bench.say(FIRST, message(number));
    }
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Protocol)]);
    let mut bench = Bench::attached();
    let body = Bytes::from(vec![0; 64 << 10]);
    (1..=40).for_each(|number| bench.say(FIRST, ServerFrame::Message { number, body: body.clone() }));
    assert_eq!(bench.did(), [Did::Close(FIRST, Reason::Protocol)]);
}
