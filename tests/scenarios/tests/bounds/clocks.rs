//! Nodes whose clocks differ: a token's time is looked at once, by the door.

use ringside_core::ids::{Node, NodeId, WorkerId};
use ringside_core::routing::tickets::era;
use ringside_protocol::frame::{ClientFrame, ServerFrame};
use ringside_protocol::reason::Reason;
use ringside_simulation::worker::identity;
use ringside_worker::Resolved;
use ringside_worker::authority::Authority;

use crate::stage::{SECOND, Stage, address, open};

#[test]
fn a_leader_whose_clock_is_ahead_takes_whom_a_door_sends() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    stage.pass(3600 * SECOND);
    // The door's clock is an hour behind this one's: the token is good there for another minute.
    let token = identity::token_for("ann", 60);
    let mut door = Authority::new(identity::keys(), node(identity::NODE + 1), WorkerId(0), &[1; 32]);
    let place = Resolved {
        session: session.clone(),
        node: identity::NODE,
        generation: identity::GENERATION,
        era: era(3600 * SECOND),
        worker: WorkerId(0),
        address: address(0, 0),
        certificate: identity::CERTIFICATE,
    };
    let ticket = door.ticket(&"ann".parse().expect("a player"), &place, 1, 0);
    for (number, (ticket, is_let_in)) in [(None, false), (Some(ticket), true)].into_iter().enumerate() {
        let id = stage.connected(address(1, number));
        let ClientFrame::Open(mut asked) = open("ann", &session) else { panic!("an open frame") };
        (asked.token, asked.ticket) = (token.clone(), ticket);
        stage.say(id, &ClientFrame::Open(asked));
        let first = stage.until("an answer", SECOND, |stage| stage.link(id).frames.first().cloned());
        match first {
            ServerFrame::Attached(_) => assert!(is_let_in),
            ServerFrame::Refused(refused) => {
                assert!(!is_let_in && refused.cause == Reason::TokenExpired, "{refused:?}");
                assert!(refused.message.contains("the clocks differ"), "{}", refused.message);
            }
            frame => panic!("{frame:?}"),
        }
    }
}

fn node(id: u64) -> Node {
    Node { id: NodeId(id), generation: identity::GENERATION }
}
