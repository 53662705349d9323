//! The wire format does not change by accident: what is encoded today equals the committed vectors, and those decode
//! to today's values.

#![allow(clippy::unwrap_used)]

mod samples;

use std::path::PathBuf;

use ringside_protocol::channel::Outbox;
use ringside_protocol::datagram::{ClientDatagram, ServerDatagram};
use ringside_protocol::frame::{ClientFrame, FrameDecoder, ServerFrame, WireFrame};
use ringside_protocol::token::{ResumeClaims, SealedClaims, TicketClaims};

/// Where a file of golden vectors lies.
fn golden(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(file)
}

/// The vectors of a file's text: a name and hexadecimal digits a line, `#` begins a comment.
fn parse(text: &str) -> Vec<(String, Vec<u8>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, digits) = line.split_once(' ').unwrap();
            (name.to_owned(), digits.as_bytes().chunks(2).map(byte).collect())
        })
        .collect()
}

fn byte(pair: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
}

/// The text of a file with these vectors.
fn print(vectors: &[samples::Vector]) -> String {
    let mut text =
        String::from("# name, bytes; made by `RINGSIDE_REGENERATE_GOLDEN=1 cargo test -p ringside-protocol`\n");
    for (name, bytes) in vectors {
        text.push_str(name);
        text.push(' ');
        bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
        text.push('\n');
    }
    text
}

#[test]
fn encoding_equals_the_golden_vectors() {
    for (file, vectors) in samples::files() {
        let text = print(&vectors);
        if std::env::var_os("RINGSIDE_REGENERATE_GOLDEN").is_some() {
            std::fs::write(golden(file), &text).unwrap();
        }
        let committed = std::fs::read_to_string(golden(file)).unwrap();
        assert_eq!(text, committed, "{file}: the wire format changed");
    }
}

fn committed(file: &str) -> Vec<(String, Vec<u8>)> {
    let vectors = parse(&std::fs::read_to_string(golden(file)).unwrap());
    assert!(!vectors.is_empty());
    vectors
}

fn frames<F: WireFrame + PartialEq + std::fmt::Debug>(file: &str, expected: Vec<(&'static str, F)>) {
    let vectors = committed(file);
    assert_eq!(vectors.len(), expected.len());
    for ((name, bytes), (expected_name, frame)) in vectors.iter().zip(expected) {
        assert_eq!(name, expected_name);
        let mut input = &bytes[..];
        assert_eq!(FrameDecoder::<F>::default().next(&mut input), Ok(Some(frame)), "{name}");
        assert!(input.is_empty());
    }
}

#[test]
fn golden_frames_decode() {
    frames::<ClientFrame>("client-frames.hex", samples::client_frames());
    frames::<ServerFrame>("server-frames.hex", samples::server_frames());
}

#[test]
fn golden_datagrams_claims_and_outboxes_decode() {
    for (name, bytes) in committed("client-datagrams.hex") {
        assert!(ClientDatagram::decode(bytes.into()).is_ok(), "{name}");
    }
    for (name, bytes) in committed("server-datagrams.hex") {
        assert!(ServerDatagram::decode(bytes.into()).is_ok(), "{name}");
    }
    for (name, bytes) in committed("sealed-claims.hex") {
        assert!(TicketClaims::from_bytes(&bytes).is_ok() || ResumeClaims::from_bytes(&bytes).is_ok(), "{name}");
    }
    for (name, bytes) in committed("outbox.hex") {
        let outbox: Outbox = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(outbox.after(0).count(), outbox.len(), "{name}");
    }
}

#[test]
fn every_kind_of_frame_has_a_vector() {
    let kinds = |frames: Vec<Vec<u8>>| {
        let kinds: std::collections::BTreeSet<u8> = frames.into_iter().map(|bytes| bytes[0]).collect();
        kinds.len()
    };
    let client = samples::client_frames().iter().map(|(_, frame)| postcard::to_allocvec(frame).unwrap()).collect();
    assert_eq!(kinds(client), ClientFrame::NAMES.len());
    let server = samples::server_frames().iter().map(|(_, frame)| postcard::to_allocvec(frame).unwrap()).collect();
    assert_eq!(kinds(server), ServerFrame::NAMES.len());
}
