//! Questions to other nodes, with their answers: for operators, whose answers say how much of the cluster they cover,
//! and for a node that lacks a module. Every question has a deadline; an answer that does not come whole is none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringside_core::ids::{Node, NodeId};
use ringside_core::membership::{Seen, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::links::{Destination, Links, count};
use super::wire::{Ask, Message, PART_BYTES};
use crate::api::{Coverage, Failure};
use crate::limits::{ANSWERS, QUESTIONS};

/// How long an answer for an operator may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long all parts of an answer may wait for room.
const ROOM: Duration = Duration::from_secs(30);

/// An answer: what was asked for, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome<T> {
    /// What was asked for.
    #[serde(rename = "is")]
    Is(T),
    /// The node has it not, or will not.
    #[serde(rename = "failed")]
    Failed(Failure),
}

/// What all other nodes answered.
#[derive(Debug)]
pub struct Others<T> {
    /// Who answered what.
    pub answers: Vec<(NodeId, Outcome<T>)>,
    /// Who did not.
    pub silent: Vec<NodeId>,
}

impl<T> Others<T> {
    /// The answers that are none of a failure, and how much of the cluster they cover, this node included.
    pub fn covered(self) -> (Vec<(NodeId, T)>, Coverage) {
        let (mut answers, mut silent) = (Vec::new(), self.silent);
        let asked = self.answers.len() + silent.len() + 1;
        for (node, outcome) in self.answers {
            match outcome {
                Outcome::Is(answer) => answers.push((node, answer)),
                Outcome::Failed(_) => silent.push(node),
            }
        }
        let silent: Vec<String> = silent.iter().map(ToString::to_string).collect();
        (answers, Coverage { nodes: asked, answered: asked - silent.len(), silent })
    }
}

struct Pending {
    from: NodeId,
    bytes: Vec<u8>,
    next: u32,
    limit: usize,
    done: oneshot::Sender<Vec<u8>>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    pending: HashMap<u64, Pending>,
}

/// The way to other nodes.
#[derive(Clone)]
pub struct Peers {
    me: Node,
    links: Links<Message>,
    view: watch::Receiver<Arc<View>>,
    waiting: Arc<Mutex<Waiting>>,
    /// Places for questions of other nodes.
    answers: Arc<Semaphore>,
}

/// Forgets a question that nobody waits for any more.
struct Forget<'a>(&'a Mutex<Waiting>, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pending.remove(&self.1);
    }
}

impl Peers {
    /// Of this node, over its links, to those in its views.
    pub fn new(me: Node, links: Links<Message>, view: watch::Receiver<Arc<View>>) -> Peers {
        Peers { me, links, view, waiting: Arc::default(), answers: Arc::new(Semaphore::new(ANSWERS)) }
    }

    /// This node.
    pub fn me(&self) -> Node {
        self.me
    }

    /// The cluster as this node sees it.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// The other nodes that are present.
    pub fn others(&self) -> Vec<Seen> {
        self.view.borrow().nodes().filter(|seen| seen.node.id != self.me.id).cloned().collect()
    }

    /// Asks one node; `None` if it does not answer in time.
    pub async fn ask(&self, node: &Seen, ask: Ask, patience: Duration) -> Option<Vec<u8>> {
        let (done, answer) = oneshot::channel();
        let id = node.node.id;
        let pending = Pending { from: id, bytes: Vec::new(), next: 0, limit: ask.answer_bytes(), done };
        let number = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.pending.len() >= QUESTIONS {
                return None;
            }
            waiting.last += 1;
            let number = waiting.last;
            waiting.pending.insert(number, pending);
            number
        };
        let _forget = Forget(&self.waiting, number);
        if !self.links.send(node.into(), Message::Ask { number, to: node.node, ask }) {
            return None;
        }
        tokio::time::timeout(patience, answer).await.ok()?.ok()
    }

    /// Asks one node for something in JSON.
    pub async fn ask_for<T: DeserializeOwned>(&self, node: &Seen, ask: Ask, patience: Duration) -> Option<Outcome<T>> {
        serde_json::from_slice(&self.ask(node, ask, patience).await?).ok()
    }

    /// Asks all other nodes at a time.
    pub async fn ask_others<T: DeserializeOwned>(&self, ask: Ask, patience: Duration) -> Others<T> {
        let nodes = self.others();
        let asked = nodes.iter().map(|node| self.ask_for(node, ask.clone(), patience));
        let answers = futures_util::future::join_all(asked).await;
        let mut others = Others { answers: Vec::new(), silent: Vec::new() };
        for (node, answer) in nodes.iter().zip(answers) {
            match answer {
                Some(answer) => others.answers.push((node.node.id, answer)),
                None => others.silent.push(node.node.id),
            }
        }
        others
    }

    /// A part of an answer has come. Whatever does not fit to what was asked makes the answer none.
    pub fn handle_answer(&self, from: NodeId, number: u64, index: u32, part: &[u8], is_last: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pending) = waiting.pending.get_mut(&number).filter(|pending| pending.from == from) else { return };
        if index != pending.next || pending.bytes.len() + part.len() > pending.limit {
            waiting.pending.remove(&number);
            return;
        }
        pending.next += 1;
        pending.bytes.extend_from_slice(part);
        if is_last && let Some(pending) = waiting.pending.remove(&number) {
            let _ = pending.done.send(pending.bytes);
        }
    }

    /// A place for a question of another node, kept until it is answered. `None` where too many are: it is not.
    pub fn take_question(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.answers).try_acquire_owned().ok();
        if place.is_none() {
            count(&self.links.counters().unanswered);
        }
        place
    }

    /// Answers a question of another node, in parts, where it said that it is reached: it may see this node before this one
    /// sees it. Waits where the queue to it is full.
    pub async fn answer(&self, to: Destination, number: u64, bytes: &[u8]) {
        let mut parts: Vec<&[u8]> = bytes.chunks(PART_BYTES).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let count = parts.len();
        let send = async {
            for (index, part) in parts.into_iter().enumerate() {
                let message =
                    Message::Answer { number, index: index as u32, part: part.to_vec(), is_last: index + 1 == count };
                if !self.links.send_part(to, message).await {
                    return;
                }
            }
        };
        if tokio::time::timeout(ROOM, send).await.is_err() {
            tracing::debug!(node = %to.node, "an answer was given up: the link has no room");
        }
    }

    /// Sends something that needs no answer; answers whether it waits to be sent.
    pub fn tell(&self, to: &Seen, message: Message) -> bool {
        self.links.send(to.into(), message)
    }
}

#[cfg(test)]
mod tests;
