//! What comes in over the links goes to whoever it is for. Questions are answered beside the stream of messages, a
//! bounded number at a time.

use bytes::Bytes;
use ringside_core::ids::Node;
use tokio::sync::mpsc;

use super::links::Arrival;
use super::member::Member;
use super::peers::Peers;
use super::wire::{Message, Probe, Step};
use crate::control;
use crate::limits::LINK_INBOX;
use crate::operator;

/// Between the links and [`run`].
pub fn queue<M>() -> (mpsc::Sender<Arrival<M>>, mpsc::Receiver<Arrival<M>>) {
    mpsc::channel(LINK_INBOX)
}

/// Hands on until the links end.
pub async fn run(mut arrivals: mpsc::Receiver<Arrival<Message>>, member: Member, peers: Peers, desk: operator::Desk) {
    while let Some(arrival) = arrivals.recv().await {
        let sender = arrival.sender();
        let from = sender.node;
        match arrival.message {
            Message::Member(words) => member.heard(sender, words).await,
            Message::Directory { to, message } if to == peers.me() => {
                desk.control.heard(control::Message::Directory(from, message)).await;
            }
            Message::Signal { game, key, source, body } => {
                let body = Bytes::from(body);
                desk.control.heard(control::Message::Signal { game, key, source, body }).await;
            }
            Message::Probe { step, probe } => pass(&peers, &desk, from, step, probe).await,
            Message::Answer { number, index, part, is_last } => {
                peers.handle_answer(from.id, number, index, &part, is_last);
            }
            Message::Ask { number, to, ask } if to == peers.me() => {
                let Some(place) = peers.take_question() else { continue };
                let (desk, peers) = (desk.clone(), peers.clone());
                tokio::spawn(async move {
                    let answer = operator::here::answer(&desk, from.id, ask).await;
                    peers.answer(sender, number, &answer).await;
                    drop(place);
                });
            }
            // What is for an earlier run of this node is none of its business.
            Message::Directory { .. } | Message::Ask { .. } => {}
        }
    }
}

/// Passes a probe on. As helper this node only carries it: not by way of the control task, for a follower waits.
async fn pass(peers: &Peers, desk: &operator::Desk, from: Node, step: Step, probe: Box<Probe>) {
    let carry = |to: Node, step: Step, probe: Box<Probe>| {
        let view = peers.view();
        if let Some(seen) = view.node(to.id).filter(|seen| seen.node == to) {
            peers.tell(seen, Message::Probe { step, probe });
        }
    };
    match step {
        Step::Ask if probe.prober == from => carry(probe.target, Step::Try, probe),
        Step::Try if probe.target == peers.me() => {
            desk.control.heard(control::Message::Try(from, probe)).await;
        }
        Step::There if probe.target == from => carry(probe.prober, Step::Reached, probe),
        Step::Reached if probe.prober == peers.me() => {
            desk.control.heard(control::Message::Reached(probe)).await;
        }
        // Of another run, or of nobody whose it is to say.
        _ => {}
    }
}
