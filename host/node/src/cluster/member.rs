//! The task that drives membership: what gossip and links bring goes in; facts to gossip, messages to links and views to
//! the control task come out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringside_core::ids::{Certificate, Node, NodeId};
use ringside_core::membership::{Config, Fact, Ignored, Membership, Message as Words, Output, Sender, View};
use ringside_core::routing::tickets::era;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::fact;
use super::gossip::Gossip;
use super::links::{Admit, Destination, Hello, Links, Refusal};
use super::pulse::Pulses;
use super::wire::Message;
use crate::control::Control;
use crate::limits::{MEMBER_ORDERS, REFUSED_RUNS};
use crate::pace::every;

/// How often loads are exchanged.
const SECOND: Duration = Duration::from_secs(1);

/// How long a run that takes over waits for the others' gossip.
const HEARING: Duration = Duration::from_secs(2);

/// What the task is told.
enum Order {
    Activate,
    Drain,
    Leave,
    Certified(Certificate),
    Heard(Destination, Words),
}

/// Processes that may not link to this node: their numbers belong to others.
#[derive(Clone, Default)]
pub struct Doorkeeper {
    refused: Arc<Mutex<BTreeSet<Node>>>,
}

impl Doorkeeper {
    /// What the links ask.
    pub fn admit(&self) -> Admit {
        let refused = Arc::clone(&self.refused);
        Arc::new(move |hello: &Hello| {
            let node = Node { id: NodeId(hello.node), generation: hello.generation };
            match refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&node) {
                true => Err(Refusal::DuplicateNode { node: hello.node, address: hello.links }),
                false => Ok(()),
            }
        })
    }

    fn refuse(&self, node: Node) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= REFUSED_RUNS {
            refused.pop_first();
        }
        refused.insert(node);
    }
}

/// The way to the task; cheap to clone.
#[derive(Clone)]
pub struct Member {
    orders: mpsc::Sender<Order>,
    view: watch::Receiver<Arc<View>>,
    duplicate: watch::Receiver<Option<Node>>,
    ignored: watch::Receiver<Ignored>,
}

/// What the task works with.
pub struct Parts {
    /// What the node says of itself at first.
    pub fact: Fact,
    /// When the node began: the eras of its tickets count from then.
    pub node_started: std::time::Instant,
    /// Whether there are others to find.
    pub has_seeds: bool,
    /// Where its gossip is advertised.
    pub gossip_address: SocketAddr,
    /// Running gossip.
    pub gossip: Arc<Gossip>,
    /// Running links.
    pub links: Links<Message>,
    /// Who is kept out.
    pub doorkeeper: Doorkeeper,
    /// The directory's owner.
    pub control: Control,
    /// Of a run that takes over: the others that the run before saw. The directory hears of no view that lacks one of them
    /// at first, for it goes by that run's.
    pub succeeds: Option<BTreeSet<NodeId>>,
}

impl Member {
    /// Starts the task: the node joins, and becomes active after [`Member::activate`].
    pub fn start(parts: Parts) -> Member {
        let started = Instant::now();
        let membership = Membership::new(
            0,
            Config { fact: parts.fact.clone(), has_seeds: parts.has_seeds, succeeds: parts.succeeds.is_some() },
        );
        let (orders, queue) = mpsc::channel(MEMBER_ORDERS);
        let (views, view) = watch::channel(membership.view().clone());
        let (duplicates, duplicate) = watch::channel(None);
        let (all_ignored, ignored) = watch::channel(Ignored::default());
        let node = parts.fact.node;
        let pulses = Pulses::new(node.id.0, node.generation, parts.gossip_address);
        let task = Task { membership, pulses, parts, started, views, duplicates, all_ignored };
        tokio::spawn(task.run(queue));
        Member { orders, view, duplicate, ignored }
    }

    /// The cluster as this node sees it, and each change.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// What gossip said that was ignored, as it is counted.
    pub fn ignored(&self) -> watch::Receiver<Ignored> {
        self.ignored.clone()
    }

    /// Returns when another process turns out to be this node: this one must end.
    pub async fn duplicate(&self) -> Node {
        let mut duplicate = self.duplicate.clone();
        match duplicate.wait_for(Option::is_some).await {
            Ok(found) => (*found).unwrap_or(Node { id: NodeId(0), generation: 0 }),
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns when the task has ended, which it does while others hold on to it only if it broke.
    pub async fn broken(&self) {
        self.orders.closed().await;
    }

    /// The node is ready for sessions.
    pub async fn activate(&self) {
        let _ = self.orders.send(Order::Activate).await;
    }

    /// The node takes no new sessions.
    pub async fn drain(&self) {
        let _ = self.orders.send(Order::Drain).await;
    }

    /// The node leaves.
    pub async fn leave(&self) {
        let _ = self.orders.send(Order::Leave).await;
    }

    /// The node's workers serve another certificate.
    pub async fn certified(&self, certificate: Certificate) {
        let _ = self.orders.send(Order::Certified(certificate)).await;
    }

    /// Another membership said something.
    pub async fn heard(&self, from: Destination, words: Words) {
        let _ = self.orders.send(Order::Heard(from, words)).await;
    }
}

struct Task {
    membership: Membership,
    pulses: Pulses,
    parts: Parts,
    started: Instant,
    views: watch::Sender<Arc<View>>,
    duplicates: watch::Sender<Option<Node>>,
    all_ignored: watch::Sender<Ignored>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut snapshots = self.parts.gossip.snapshots();
        let mut second = every(SECOND);
        loop {
            self.put_out().await;
            let due = self.membership.next_timeout().map(|due| self.started + Duration::from_micros(due));
            let due = due.unwrap_or_else(|| Instant::now() + SECOND);
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        // Gossip ends before this task only when the node ends.
                        return;
                    }
                    let news = self.pulses.hear(&snapshots.borrow_and_update());
                    let now = self.now();
                    news.iter().for_each(|(fact, age)| self.membership.handle_gossip(now, fact, *age));
                    self.all_ignored.send_replace(self.membership.ignored());
                }
                _ = second.tick() => {
                    let now = self.now();
                    let era = era(self.parts.node_started.elapsed().as_micros() as u64);
                    self.membership.handle_load(now, self.parts.control.load_us(), era);
                    self.parts.control.loads(self.membership.loads()).await;
                    self.parts.control.eras(self.eras(self.membership.view())).await;
                }
                () = tokio::time::sleep_until(due) => {
                    self.membership.handle_timeout(self.now());
                    if self.parts.succeeds.is_some() && self.started.elapsed() >= HEARING {
                        self.show(self.membership.view().clone()).await;
                    }
                }
            }
        }
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn obey(&mut self, order: Order) {
        let now = self.now();
        match order {
            Order::Activate => self.membership.activate(now),
            Order::Drain => self.membership.drain(now),
            Order::Leave => self.membership.leave(now),
            Order::Certified(certificate) => self.membership.handle_certificate(now, certificate),
            Order::Heard(from, words) => {
                let Destination { node, address: contact } = from;
                self.membership.handle_message(now, Sender { node, contact }, words);
            }
        }
    }

    async fn put_out(&mut self) {
        while let Some(output) = self.membership.poll_output() {
            match output {
                Output::Publish(fact) => {
                    self.parts.gossip.publish(fact::KEY, fact::encode(&fact)).await;
                }
                Output::Send { to, contact, message } => {
                    let to = Destination { node: to, address: contact };
                    self.parts.links.send(to, Message::Member(message));
                }
                Output::View(view) => self.show(view).await,
                Output::Refused(node) => {
                    tracing::error!(%node, "a process says that it is a node that is here already: it is kept out");
                    self.parts.doorkeeper.refuse(node);
                }
                Output::Duplicate(node) => {
                    self.duplicates.send_replace(Some(node));
                }
            }
        }
    }

    fn eras(&self, view: &View) -> BTreeMap<Node, u32> {
        view.nodes().filter_map(|seen| Some((seen.node, self.membership.era(seen.node)?))).collect()
    }

    async fn show(&mut self, view: Arc<View>) {
        let nodes: Vec<String> = view.nodes().map(|seen| format!("{} {:?}", seen.node.id, seen.state)).collect();
        tracing::info!(ring = %view.ring_digest(), nodes = nodes.join(", "), "the cluster");
        self.views.send_replace(Arc::clone(&view));
        if let Some(others) = &self.parts.succeeds {
            let lacks = others.iter().any(|id| view.node(*id).is_none());
            if lacks && self.started.elapsed() < HEARING {
                return;
            }
            self.parts.succeeds = None;
        }
        // Before the view: whoever is sent to a node needs a ticket of its era.
        self.parts.control.eras(self.eras(&view)).await;
        self.parts.control.view(view).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::links::VERSIONS;
    use super::*;

    #[test]
    fn runs_that_are_kept_out_are_bounded() {
        let doorkeeper = Doorkeeper::default();
        let admit = doorkeeper.admit();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let hello = |node| Hello { versions: VERSIONS, node, generation: 1, links: address, gossip: address };
        for node in 0..=REFUSED_RUNS as u64 {
            doorkeeper.refuse(Node { id: NodeId(node), generation: 1 });
        }
        assert!(admit(&hello(REFUSED_RUNS as u64)).is_err());
        assert!(admit(&hello(0)).is_ok(), "the first is let try again");
    }

    #[tokio::test]
    async fn orders_beyond_the_bound_wait_until_there_is_room() {
        let (orders, mut queue) = mpsc::channel(MEMBER_ORDERS);
        let view = watch::channel(Arc::new(View::new([]))).1;
        let (duplicate, ignored) = (watch::channel(None).1, watch::channel(Ignored::default()).1);
        // Its task takes nothing.
        let member = Member { orders, view, duplicate, ignored };
        let node = Node { id: NodeId(1), generation: 1 };
        for _ in 0..MEMBER_ORDERS {
            let from = Destination { node, address: ([127, 0, 0, 1], 1).into() };
            member.heard(from, Words::Ping(node)).await;
        }
        let leaving = member.leave();
        tokio::pin!(leaving);
        assert!((&mut leaving).now_or_never().is_none());
        assert!(matches!(queue.recv().await, Some(Order::Heard(..))));
        leaving.await;
        let rest: Vec<Order> = std::iter::from_fn(|| queue.try_recv().ok()).collect();
        assert_eq!(rest.len(), MEMBER_ORDERS);
        assert!(matches!(rest.last(), Some(Order::Leave)), "nothing is lost");
    }
}
