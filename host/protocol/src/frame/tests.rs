use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::reason::Reason;

fn message(number: u64, length: usize) -> ClientFrame {
    ClientFrame::Message { number, body: Bytes::from(vec![7; length]) }
}

fn read<F: WireFrame>(decoder: &mut FrameDecoder<F>, mut bytes: &[u8]) -> Result<Vec<F>, FrameError> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        frames.extend(decoder.next(&mut bytes)?);
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        lengths in prop::collection::vec(0usize..400, 1..12),
        cuts in prop::collection::vec(1usize..300, 1..40),
    ) {
        let frames: Vec<_> = lengths.iter().zip(1..).map(|(&length, number)| message(number, length)).collect();
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let mut decoder = FrameDecoder::<ClientFrame>::default();
        let mut got = Vec::new();
        let mut cuts = cuts.iter().cycle();
        while !bytes.is_empty() {
            let piece = bytes.split_to((*cuts.next().unwrap()).min(bytes.len()));
            got.extend(read(&mut decoder, &piece).unwrap());
        }
        prop_assert_eq!(got, frames);
        prop_assert_eq!(decoder.buffered(), 0);
    }
}

#[test]
fn one_byte_at_a_time() {
    let frame = message(300, limits::MESSAGE_BYTES);
    let mut decoder = FrameDecoder::<ClientFrame>::default();
    let mut got = Vec::new();
    for byte in frame.to_bytes() {
        got.extend(read(&mut decoder, &[byte]).unwrap());
        assert!(decoder.buffered() <= limits::CLIENT_FRAME_BYTES + 3);
    }
    assert_eq!(got, [frame]);
}

#[test]
fn a_long_frame_is_refused_by_its_length_alone() {
    let mut decoder = FrameDecoder::<ClientFrame>::new(limits::OPEN_FRAME_BYTES);
    let bytes = message(1, limits::OPEN_FRAME_BYTES).to_bytes();
    let error = decoder.next(&mut &bytes[..2]).unwrap_err();
    assert!(error.is_too_large(), "{error}");
    assert_eq!(decoder.buffered(), 0);
    decoder.set_limit(limits::CLIENT_FRAME_BYTES);
    assert_eq!(read(&mut decoder, &bytes).unwrap().len(), 1);
}

#[test]
fn endless_and_empty_lengths_are_malformed() {
    for bytes in [&[0u8][..], &[0x80, 0x00], &[0xff; 4], &[0x80, 0x80, 0x80, 0x80]] {
        let mut decoder = FrameDecoder::<ClientFrame>::default();
        assert!(matches!(read(&mut decoder, bytes), Err(FrameError::Length { .. } | FrameError::TooLarge { .. })));
        let mut decoder = FrameDecoder::<ClientFrame>::default();
        assert!(bytes.iter().any(|byte| read(&mut decoder, &[*byte]).is_err()));
    }
}

#[test]
fn errors_name_the_frame_and_the_reason() {
    let text = |bytes: &[u8]| ClientFrame::decode(bytes).unwrap_err().to_string();
    assert_eq!(text(&[9]), "a client frame of unknown kind 9");
    assert_eq!(text(&[1, 5, 3, 0]), "a client message frame is malformed: it ends too soon");
    assert_eq!(text(&[3, 0]), "a client leave frame is malformed: bytes follow its end");
    assert_eq!(
        ServerFrame::decode(&[4, 1, 9]).unwrap_err().to_string(),
        "a server acknowledge frame is malformed: a field with a value that it cannot have"
    );
    assert_eq!(
        ServerFrame::decode(&[]).unwrap_err().to_string(),
        "a server frame's length is malformed",
        "an empty frame has no kind"
    );
}

#[test]
fn fields_beyond_their_limits_are_malformed() {
    let open = |token: usize, criteria: usize| {
        ClientFrame::Open(Box::new(Open {
            version: VERSION,
            token: "t".repeat(token),
            target: Target::FindOrCreate { game: "pong".parse().unwrap(), criteria: "c".repeat(criteria) },
            mode: Mode::Attach,
            resume: None,
            ticket: None,
            relay: false,
        }))
    };
    let accepted = |frame: ClientFrame| ClientFrame::decode(&frame.to_bytes()[2..]).is_ok();
    assert!(accepted(open(limits::TOKEN_BYTES, limits::CRITERIA_BYTES)));
    assert!(!accepted(open(limits::TOKEN_BYTES + 1, 0)));
    assert!(!accepted(open(300, limits::CRITERIA_BYTES + 1)));
    assert!(Opaque::new(vec![0; limits::TICKET_BYTES]).is_some());
    assert!(Opaque::new(vec![0; limits::TICKET_BYTES + 1]).is_none());

    let text = "é".repeat(limits::REASON_BYTES);
    let cut = cut_reason(&text);
    assert_eq!(cut.len(), limits::REASON_BYTES);
    let refused = |message| ServerFrame::Refused(Refused { cause: Reason::Overloaded, message, retry_after_ms: 5 });
    assert!(ServerFrame::decode(&refused(cut).to_bytes()[2..]).is_ok());
    assert!(ServerFrame::decode(&refused(text).to_bytes()[2..]).is_err());
}

#[test]
fn the_longest_open_frame_fits_its_limit() {
    use crate::ids::{Branch, Epoch, Incarnation};
    let branch = Branch(Epoch { number: u64::MAX, node: u64::MAX, node_generation: u64::MAX });
    let opaque = || Opaque::new(vec![1; limits::TICKET_BYTES]).unwrap();
    let open = Open {
        version: u16::MAX,
        token: "t".repeat(limits::TOKEN_BYTES),
        target: Target::FindOrCreate {
            game: "g".repeat(40).parse().unwrap(),
            criteria: "c".repeat(limits::CRITERIA_BYTES),
        },
        mode: Mode::Standby,
        resume: Some(Resume {
            token: opaque(),
            incarnation: Incarnation(u64::MAX),
            joined: u64::MAX,
            branch,
            last_output: u64::MAX,
        }),
        ticket: Some(opaque()),
        relay: true,
    };
    assert!(ClientFrame::Open(Box::new(open)).to_bytes().len() <= limits::OPEN_FRAME_BYTES);
}

#[test]
fn secrets_are_not_shown() {
    let open = Open {
        version: VERSION,
        token: "SECRET".into(),
        target: Target::Session { game: "pong".parse().unwrap(), key: "one".parse().unwrap() },
        mode: Mode::Attach,
        resume: None,
        ticket: Opaque::new(&b"SECRET"[..]),
        relay: false,
    };
    assert!(!format!("{open:?}").contains("SECRET"));
    assert!(!format!("{open:?}").contains("83"), "not as numbers either");
}
