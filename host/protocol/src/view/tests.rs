use proptest::prelude::*;

use super::*;
use crate::datagram::{SMALLEST_MAX_DATAGRAM, ServerDatagram};

fn fragments(encoder: &mut ViewEncoder, most: usize) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    loop {
        let mut bytes = Vec::new();
        if !encoder.next_fragment(most, &mut bytes).unwrap() {
            return datagrams;
        }
        assert!(bytes.len() <= most);
        datagrams.push(bytes);
    }
}

fn take(decoder: &mut ViewDecoder, datagram: &[u8]) -> Fragment {
    match ServerDatagram::decode(Bytes::copy_from_slice(datagram)).unwrap() {
        ServerDatagram::ViewFragment { header, body } => decoder.take(header, body),
        other => panic!("{other:?}"),
    }
}

fn body(seed: u8, length: usize) -> Bytes {
    (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect::<Vec<_>>().into()
}

#[test]
fn a_small_view_is_one_datagram() {
    let (mut encoder, mut decoder) = (ViewEncoder::new(), ViewDecoder::new());
    encoder.offer(body(1, 100), 7, 5).unwrap();
    let sent = fragments(&mut encoder, 1200);
    assert_eq!((sent.len(), sent[0].len()), (1, 104));
    let view = View { number: 1, tick: 7, committed_tick: 5, body: body(1, 100) };
    assert_eq!(take(&mut decoder, &sent[0]), Fragment::Complete(view));
    assert_eq!(take(&mut decoder, &sent[0]), Fragment::Repeated);
    assert_eq!(decoder.newest(), 1);
}

#[test]
fn the_largest_view_fits_the_smallest_datagrams_and_no_larger_one_is_taken() {
    let (mut encoder, mut decoder) = (ViewEncoder::new(), ViewDecoder::new());
    let largest = body(1, VIEW_BYTES);
    encoder.offer(largest.clone(), u64::MAX, 0).unwrap();
    let sent = fragments(&mut encoder, SMALLEST_MAX_DATAGRAM);
    let last = sent.iter().rev().map(|datagram| take(&mut decoder, datagram)).last();
    assert!(matches!(last, Some(Fragment::Complete(view)) if view.body == largest));
    assert_eq!(encoder.offer(body(1, VIEW_BYTES + 1), 1, 1), Err(ViewError::TooLong(VIEW_BYTES + 1)));
    assert_eq!(encoder.number(), 1);
    encoder.offer(largest, 1, 1).unwrap();
    let mut none = Vec::new();
    assert_eq!(encoder.next_fragment(100, &mut none), Err(ViewError::DatagramTooSmall(100)));
    assert!(none.is_empty() && encoder.is_pending());
}

#[test]
fn the_newest_is_repeated_until_acknowledged() {
    let mut encoder = ViewEncoder::new();
    assert!(!encoder.repeat(), "there is none");
    encoder.offer(body(1, 10), 1, 1).unwrap();
    let first = fragments(&mut encoder, 1200);
    assert!(encoder.repeat());
    assert_eq!(fragments(&mut encoder, 1200), first, "the same view under the same number");
    encoder.offer(body(2, 10), 2, 2).unwrap();
    fragments(&mut encoder, 1200);
    assert!(encoder.acknowledge(1));
    assert!(encoder.repeat(), "an older view's acknowledgement is not the newest's");
    assert!(encoder.acknowledge(2));
    assert!(!encoder.is_pending() && !encoder.repeat() && !encoder.is_unacknowledged());
    assert!(!encoder.acknowledge(3), "never sent");
}

#[test]
fn a_newer_view_replaces_a_half_sent_one() {
    let (mut encoder, mut decoder) = (ViewEncoder::new(), ViewDecoder::new());
    encoder.offer(body(1, 3000), 1, 1).unwrap();
    let mut half = Vec::new();
    encoder.next_fragment(1200, &mut half).unwrap();
    encoder.offer(body(2, 20), 2, 2).unwrap();
    let sent = fragments(&mut encoder, 1200);
    assert_eq!(sent.len(), 1);
    assert_eq!(take(&mut decoder, &half), Fragment::Partial);
    assert!(matches!(take(&mut decoder, &sent[0]), Fragment::Complete(View { number: 2, .. })));
    assert_eq!(take(&mut decoder, &half), Fragment::Stale);
}

#[test]
fn a_path_that_shrinks_begins_the_view_again() {
    let (mut encoder, mut decoder) = (ViewEncoder::new(), ViewDecoder::new());
    encoder.offer(body(1, 5000), 1, 1).unwrap();
    let mut first = Vec::new();
    encoder.next_fragment(1400, &mut first).unwrap();
    take(&mut decoder, &first);
    let sent = fragments(&mut encoder, 1162);
    let last = sent.iter().map(|datagram| take(&mut decoder, datagram)).last();
    assert!(matches!(last, Some(Fragment::Complete(view)) if view.number == 2 && view.body == body(1, 5000)));
}

#[test]
fn contradicting_fragments_are_not_used() {
    let mut decoder = ViewDecoder::new();
    let head = ViewHead { tick: 1, committed_tick: 1, baseline: 0 };
    let fragment = |index, count| FragmentHeader { number: 5, index, count, head: (index == 0).then_some(head) };
    assert_eq!(decoder.take(fragment(1, 3), body(1, 9)), Fragment::Partial);
    assert_eq!(decoder.take(fragment(1, 3), body(1, 9)), Fragment::Stale);
    assert_eq!(decoder.take(fragment(0, 2), body(1, 9)), Fragment::Unusable);
    assert_eq!(decoder.take(fragment(2, 3), body(1, VIEW_BYTES)), Fragment::Unusable, "too long in all");
    let delta = FragmentHeader { head: Some(ViewHead { baseline: 4, ..head }), ..fragment(0, 3) };
    assert_eq!(decoder.take(delta, body(1, 9)), Fragment::Unusable, "no baseline is at hand");
    assert_eq!(decoder.take(fragment(0, 3), body(1, 9)), Fragment::Partial);
    assert!(matches!(decoder.take(fragment(2, 3), body(1, 9)), Fragment::Complete(_)));
}

proptest! {
    #[test]
    fn whatever_the_network_does_views_are_whole_and_newer(
        views in prop::collection::vec((0usize..5000, 700usize..1500), 1..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        repeated_at in 700usize..1500,
    ) {
        let mut encoder = ViewEncoder::new();
        let mut sent = Vec::new();
        for (seed, (length, most)) in views.iter().enumerate() {
            encoder.offer(body(seed as u8 + 1, *length), seed as u64, 0).unwrap();
            sent.extend(fragments(&mut encoder, *most));
        }
        let mut decoder = ViewDecoder::new();
        let mut newest = 0;
        // Any order, with losses and duplicates; then the repetition of the newest, in order.
        for pick in order {
            if let Fragment::Complete(view) = take(&mut decoder, &sent[pick.index(sent.len())]) {
                prop_assert!(view.number > newest);
                newest = view.number;
                prop_assert_eq!(&view.body, &body(newest as u8, views[newest as usize - 1].0));
            }
        }
        encoder.acknowledge(decoder.newest());
        if encoder.repeat() {
            for datagram in fragments(&mut encoder, repeated_at) {
                take(&mut decoder, &datagram);
            }
        }
        prop_assert_eq!(decoder.newest(), encoder.number(), "the newest arrives by repetition, however the path changed");
    }
}
