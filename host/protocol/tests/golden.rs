//! The wire format does not change by accident: what is encoded today equals the committed vectors, and those decode
//! to today's values.

#![allow(clippy::unwrap_used)]

mod samples;

use ringside_golden::{GoldenFile, Vector};
use ringside_protocol::channel::Outbox;
use ringside_protocol::datagram::{ClientDatagram, ServerDatagram};
use ringside_protocol::frame::{ClientFrame, FrameDecoder, ServerFrame, WireFrame};
use ringside_protocol::token::{ResumeClaims, SealedClaims, TicketClaims};

/// A file of golden vectors.
fn golden(name: &'static str) -> GoldenFile {
    let (package_directory, package) = (env!("CARGO_MANIFEST_DIR"), "ringside-protocol");
    GoldenFile { package_directory, name, package, version: "frame::VERSION" }
}

#[test]
fn encoding_equals_the_golden_vectors() {
    for (file, vectors) in samples::files() {
        let vectors: Vec<Vector> = vectors.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        golden(file).check(&vectors);
    }
}

fn frames<F: WireFrame + PartialEq + std::fmt::Debug>(file: &'static str, expected: Vec<(&'static str, F)>) {
    let vectors = golden(file).committed();
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
    for (name, bytes) in golden("client-datagrams.hex").committed() {
        assert!(ClientDatagram::decode(bytes.into()).is_ok(), "{name}");
    }
    for (name, bytes) in golden("server-datagrams.hex").committed() {
        assert!(ServerDatagram::decode(bytes.into()).is_ok(), "{name}");
    }
    for (name, bytes) in golden("sealed-claims.hex").committed() {
        assert!(TicketClaims::from_bytes(&bytes).is_ok() || ResumeClaims::from_bytes(&bytes).is_ok(), "{name}");
    }
    for (name, bytes) in golden("outbox.hex").committed() {
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
