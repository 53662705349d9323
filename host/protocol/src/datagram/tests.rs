use proptest::prelude::*;

use super::*;

fn head() -> impl Strategy<Value = ViewHead> {
    (any::<u64>(), any::<u64>(), 0u64..3).prop_map(|(tick, lag, back)| ViewHead {
        tick,
        committed_tick: tick - lag % tick.max(1),
        baseline: back,
    })
}

proptest! {
    #[test]
    fn inputs_read_back(number: u64, view_acknowledged: u64, body in prop::collection::vec(any::<u8>(), 0..=1000)) {
        let datagram = ClientDatagram::Input { number, view_acknowledged, body: body.clone().into() };
        let mut bytes = Vec::new();
        datagram.encode(&mut bytes);
        prop_assert!(bytes.len() <= body.len() + INPUT_HEADER_BYTES);
        prop_assert_eq!(ClientDatagram::decode(bytes.into()), Ok(datagram));
    }

    #[test]
    fn fragments_read_back(
        number in 4u64..,
        count in 1u8..=VIEW_FRAGMENTS as u8,
        index: prop::sample::Index,
        head in head(),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let index = index.index(usize::from(count)) as u8;
        let header = FragmentHeader { number, index, count, head: (index == 0).then_some(head) };
        let datagram = ServerDatagram::ViewFragment { header, body: body.clone().into() };
        let mut bytes = Vec::new();
        datagram.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), header.size() + body.len());
        prop_assert!(header.size() <= FRAGMENT_HEADER_BYTES);
        prop_assert_eq!(ServerDatagram::decode(bytes.into()), Ok(datagram));
    }

    #[test]
    fn headers_are_small_for_51_days(number in 1u64..1 << 28, tick in 0u64..1 << 28, lag in 0u64..128, back in 0u64..128) {
        let head = ViewHead { tick, committed_tick: tick.saturating_sub(lag), baseline: number.saturating_sub(back) };
        for (index, count) in [(0, 1), (0, 90), (89, 90)] {
            let header = FragmentHeader { number, index, count, head: (index == 0).then_some(head) };
            prop_assert!(header.size() <= 12);
        }
    }
}

#[test]
fn an_ordinary_view_costs_four_bytes() {
    let head = ViewHead { tick: 90, committed_tick: 90, baseline: 0 };
    assert_eq!(FragmentHeader { number: 30, index: 0, count: 1, head: Some(head) }.size(), 3);
    let head = ViewHead { tick: 9_000, committed_tick: 9_000, baseline: 0 };
    assert_eq!(FragmentHeader { number: 100, index: 0, count: 1, head: Some(head) }.size(), 4);
}

#[test]
fn contradictions_are_refused() {
    let server = |bytes: &[u8]| ServerDatagram::decode(Bytes::copy_from_slice(bytes));
    let header = Err(DatagramError::Header("view"));
    assert_eq!(server(&[]), Err(DatagramError::Empty));
    assert_eq!(server(&[0x01, 1, 1]), Err(DatagramError::UnknownKind(0x01)));
    assert_eq!(server(&[0x10, 0, 5]), header, "view 0 is none");
    assert_eq!(server(&[0x14, 1, 1, 5]), header, "the first of one is a whole");
    assert_eq!(server(&[0x14, 1, 97, 5]), header, "too many fragments");
    assert_eq!(server(&[0x18, 1, 0, 2]), header, "a further one is not the first");
    assert_eq!(server(&[0x18, 1, 2, 2]), header, "an index beyond the count");
    assert_eq!(server(&[0x19, 1, 1, 2]), header, "a further one has no head");
    assert_eq!(server(&[0x11, 1, 5, 6]), header, "committed before the beginning");
    assert_eq!(server(&[0x11, 1, 5, 0]), header, "a flag without its field");
    assert_eq!(server(&[0x12, 3, 5, 3]), header, "baseline 0 is none");
    let mut long = vec![0x20];
    long.resize(DATAGRAM_BODY_BYTES + 2, 0);
    assert_eq!(server(&long), Err(DatagramError::TooLong("guest")));

    let client = |bytes: &[u8]| ClientDatagram::decode(Bytes::copy_from_slice(bytes));
    assert_eq!(client(&[0x01, 0x80]), Err(DatagramError::Header("input")));
    assert_eq!(client(&[0x02, 5, 0]), Err(DatagramError::TooLong("view acknowledge")));
    assert_eq!(client(&[0x20, 5]), Err(DatagramError::UnknownKind(0x20)));
    let mut long = vec![0x01, 1, 1];
    long.resize(DATAGRAM_BODY_BYTES + 4, 0);
    assert_eq!(client(&long), Err(DatagramError::TooLong("input")));
}
