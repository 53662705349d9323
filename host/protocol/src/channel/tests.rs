use proptest::prelude::*;

use super::*;
use crate::ids::Epoch;

fn body(number: u64) -> Bytes {
    Bytes::from(number.to_le_bytes().to_vec())
}

fn filled(count: u64) -> Outbox {
    let mut outbox = Outbox::new(1000, 1 << 20);
    (1..=count).for_each(|number| assert_eq!(outbox.push(body(number)), Ok(number)));
    outbox
}

fn branch(number: u64) -> Branch {
    Branch(Epoch { number, node: 1, node_generation: 1 })
}

#[test]
fn acknowledged_messages_are_let_go() {
    let mut outbox = filled(5);
    assert_eq!(outbox.acknowledge(3), Ok(3));
    assert_eq!(outbox.acknowledge(2), Ok(0), "old news");
    assert_eq!((outbox.first(), outbox.last(), outbox.len(), outbox.bytes()), (4, 5, 2, 16));
    assert_eq!(outbox.get(3), None);
    assert_eq!(outbox.get(4), Some(&body(4)));
    assert_eq!(outbox.acknowledge(6), Err(ChannelError::NeverSent { number: 6, last: 5 }));
    assert_eq!(outbox.acknowledge(u64::MAX), Err(ChannelError::NeverSent { number: u64::MAX, last: 5 }));
    assert_eq!(outbox.after(4).map(|(number, _)| number).collect::<Vec<_>>(), [5]);
    assert_eq!(outbox.after(u64::MAX).count(), 0);
    assert_eq!(outbox.acknowledge(5), Ok(2));
    assert!(outbox.is_empty());
    assert_eq!((outbox.first(), outbox.bytes()), (6, 0));
}

#[test]
fn both_bounds_hold() {
    let mut outbox = Outbox::new(2, 10);
    assert_eq!(outbox.push(Bytes::from_static(&[0; 20])), Ok(1), "one large message fits alone");
    assert!(matches!(outbox.push(Bytes::new()), Err(ChannelError::Full { messages: 1, bytes: 20 })));
    outbox.acknowledge(1).unwrap();
    assert_eq!(outbox.push(body(2)), Ok(2));
    assert!(matches!(outbox.push(body(3)), Err(ChannelError::Full { messages: 1, bytes: 8 })));
    assert_eq!(outbox.push(Bytes::new()), Ok(3));
    assert!(matches!(outbox.push(Bytes::new()), Err(ChannelError::Full { messages: 2, .. })));
    assert_eq!(outbox.last(), 3, "what was refused used no number");
}

#[test]
fn returning_clients_get_what_they_lack_or_a_reason() {
    let mut outbox = filled(8);
    outbox.acknowledge(3).unwrap();
    let claim = |number, last| Standing { branch: branch(number), last };
    assert_eq!(resume(claim(1, 5), branch(1), None, &outbox), Ok(Resumption::Continue { after: 5 }));
    assert_eq!(resume(claim(1, 3), branch(1), None, &outbox), Ok(Resumption::Continue { after: 3 }));
    assert_eq!(resume(claim(1, 9), branch(1), None, &outbox), Err(ChannelError::NeverSent { number: 9, last: 8 }));
    let since = resume(claim(1, 2), branch(1), None, &outbox);
    assert_eq!(since, Ok(Resumption::Continue { after: 3 }), "it acknowledged 3 since it said that");
    assert_eq!(outbox.can_resume_after(2), Err(ChannelError::NoLongerKept { number: 2, first: 4 }));
    assert_eq!(resume(claim(1, 9), branch(2), Some(6), &outbox), Ok(Resumption::Rewound { after: 6 }));
    assert_eq!(resume(claim(1, 4), branch(2), Some(6), &outbox), Ok(Resumption::Rewound { after: 4 }));
    assert_eq!(outbox.can_resume_after(2), Err(ChannelError::NoLongerKept { number: 2, first: 4 }));
    assert!(resume(claim(7, 4), branch(2), None, &outbox).is_err(), "a branch that nobody knows");
}

#[test]
fn numbers_begin_where_the_first_attachment_says() {
    let mut outbox = filled(2);
    outbox.renumber_after(40);
    assert_eq!(outbox.after(0).map(|(number, _)| number).collect::<Vec<_>>(), [41, 42]);
    assert_eq!(outbox.push(body(0)), Ok(43));
}

#[test]
fn an_inbox_tells_new_from_old_from_too_new() {
    let mut inbox = Inbox::default();
    assert_eq!(inbox.arrive(2), Arrival::Gap { expected: 1 });
    assert_eq!(inbox.arrive(1), Arrival::New);
    assert_eq!(inbox.arrive(1), Arrival::Duplicate);
    assert_eq!(inbox.arrive(0), Arrival::Duplicate);
    assert_eq!(inbox.judge(2), Arrival::New);
    assert_eq!(inbox.last(), 1);
    inbox.rewind(5);
    assert_eq!(inbox.last(), 1, "rewinding never goes forward");
    inbox.rewind(0);
    assert_eq!(inbox.arrive(1), Arrival::New);
    assert_eq!(Inbox::after(u64::MAX).judge(u64::MAX), Arrival::Duplicate);
}

/// What happens to a connection between an outbox and an inbox.
#[derive(Debug, Clone)]
enum Step {
    Push,
    /// The next message travels.
    Deliver,
    /// One that travelled before travels again.
    Again(u8),
    Acknowledge,
    /// The connection is cut: everything on the way is lost, and sending begins after what the inbox has.
    Cut,
    /// The outbox goes through its saved form.
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Push),
        3 => Just(Step::Deliver),
        1 => any::<u8>().prop_map(Step::Again),
        1 => Just(Step::Acknowledge),
        1 => Just(Step::Cut),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn exactly_once_in_order(steps in steps()) {
        let mut outbox = Outbox::new(16, 100);
        let mut inbox = Inbox::default();
        let (mut sent, mut taken, mut travelled) = (Vec::new(), Vec::new(), 0u64);
        for step in steps {
            match step {
                Step::Push => {
                    let next = sent.len() as u64 + 1;
                    if outbox.push(body(next)).is_ok() {
                        sent.push(body(next));
                    }
                }
                Step::Deliver | Step::Again(_) => {
                    let number = match step {
                        Step::Again(back) => travelled.saturating_sub(u64::from(back % 4)).max(1),
                        _ => travelled + 1,
                    };
                    let Some(message) = outbox.get(number).cloned() else { continue };
                    travelled = travelled.max(number);
                    if inbox.arrive(number) == Arrival::New {
                        taken.push(message);
                    }
                }
                Step::Acknowledge => {
                    outbox.acknowledge(inbox.last()).unwrap();
                }
                Step::Cut => {
                    outbox.can_resume_after(inbox.last()).unwrap();
                    travelled = inbox.last();
                }
                Step::Restore => {
                    let bytes = postcard::to_allocvec(&outbox).unwrap();
                    let restored: Outbox = postcard::from_bytes(&bytes).unwrap();
                    prop_assert_eq!(&restored, &outbox);
                    prop_assert_eq!(postcard::to_allocvec(&restored).unwrap(), bytes);
                }
            }
            prop_assert!(outbox.len() <= 16 && outbox.bytes() <= 100);
            prop_assert_eq!(&taken[..], &sent[..taken.len()]);
        }
        for (number, message) in outbox.after(inbox.last()) {
            prop_assert_eq!(inbox.arrive(number), Arrival::New);
            taken.push(message.clone());
        }
        prop_assert_eq!(taken, sent);
    }
}
