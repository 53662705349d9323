//! What comes in over the links goes to whoever it is for. Questions are answered beside the stream of messages, a
//! bounded number at a time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use super::links::Arrival;
use super::member::Member;
use super::peers::Peers;
use super::wire::Message;
use crate::control;
use crate::operator;

/// Messages that wait to be handed on. Beyond: the links wait.
pub const QUEUE: usize = 1024;
/// Questions that are answered at a time. Beyond: a question is not answered.
const ANSWERS: usize = 64;

/// Hands on until the links end.
pub async fn run(mut arrivals: mpsc::Receiver<Arrival<Message>>, member: Member, peers: Peers, desk: operator::Desk) {
    let answers = Arc::new(Semaphore::new(ANSWERS));
    while let Some(arrival) = arrivals.recv().await {
        let sender = arrival.sender();
        let from = sender.node;
        match arrival.message {
            Message::Member(words) => member.heard(from.id, words).await,
            Message::Directory { to, message } if to == peers.me() => {
                desk.control.heard(control::Message::Directory(from, message)).await;
            }
            Message::Signal { game, key, source, body } => {
                let body = Bytes::from(body);
                desk.control.heard(control::Message::Signal { game, key, source, body }).await;
            }
            Message::Answer { number, index, part, is_last } => {
                peers.handle_answer(from.id, number, index, &part, is_last);
            }
            Message::Ask { number, to, ask } if to == peers.me() => {
                let Ok(place) = Arc::clone(&answers).try_acquire_owned() else { continue };
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
