//! Two nodes that ask each other.

use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use ringside_core::ids::Certificate;
use ringside_core::membership::{Contact, Fact, State};
use tokio::sync::mpsc;

use super::super::links::{Arrival, Hello, VERSIONS};
use super::super::secret::ClusterSecret;
use super::*;

fn fact(number: u64, address: std::net::SocketAddr) -> Fact {
    let node = Node { id: NodeId(number), generation: 1 };
    Fact { state: State::Active, ..Fact::new(node, Contact::at(address, Certificate([0; 32]))) }
}

fn links(secret: &ClusterSecret, number: u64) -> (Links<Message>, Fact, mpsc::Receiver<Arrival<Message>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let own = Hello { versions: VERSIONS, node: number, generation: 1, links: address, gossip: address };
    let (inbox, arrivals) = mpsc::channel(16);
    let links = Links::start(own, secret, socket, Arc::new(|_| Ok(())), inbox).unwrap();
    (links, fact(number, address), arrivals)
}

fn peers(links: Links<Message>, own: &Fact, facts: &[&Fact]) -> Peers {
    let view = View::new(facts.iter().map(|fact| (*fact, fact.state)));
    Peers::new(own.node, links, watch::channel(Arc::new(view)).1)
}

impl Peers {
    /// Of a node that is alone.
    pub fn alone(secret: &ClusterSecret) -> Peers {
        let (links, own, _) = links(secret, 1);
        peers(links, &own, &[&own])
    }
}

struct Two {
    asker: Peers,
    answerer: Peers,
    to_asker: mpsc::Receiver<Arrival<Message>>,
    to_answerer: mpsc::Receiver<Arrival<Message>>,
}

impl Two {
    fn new() -> Two {
        let secret = ClusterSecret::generate(SystemTime::now()).unwrap();
        let (first_links, first, to_asker) = links(&secret, 1);
        let (second_links, second, to_answerer) = links(&secret, 2);
        let facts = [&first, &second];
        Two {
            asker: peers(first_links, &first, &facts),
            answerer: peers(second_links, &second, &facts),
            to_asker,
            to_answerer,
        }
    }

    /// Asks, and has the other answer with these bytes.
    async fn ask(&mut self, ask: Ask, answer: Vec<u8>) -> Option<Vec<u8>> {
        let seen = self.asker.others().pop().unwrap();
        let asking = self.asker.ask(&seen, ask, Duration::from_secs(30));
        let answering = async {
            let arrival = self.to_answerer.recv().await.expect("the question arrives");
            let Message::Ask { number, .. } = arrival.message else { panic!("a question") };
            self.answerer.answer(arrival.sender(), number, &answer).await;
            std::future::pending::<()>().await;
        };
        let taking = async {
            while let Some(Arrival { node, message, .. }) = self.to_asker.recv().await {
                let Message::Answer { number, index, part, is_last } = message else { panic!("parts of the answer") };
                self.asker.handle_answer(NodeId(node), number, index, &part, is_last);
            }
        };
        tokio::select! {
            answer = asking => answer,
            () = answering => None,
            () = taking => None,
        }
    }
}

#[tokio::test]
async fn answers_come_whole_in_as_many_parts_as_they_need() {
    let mut two = Two::new();
    for length in [0, 1, PART_BYTES, PART_BYTES + 1, 40 * PART_BYTES + 7] {
        let answer: Vec<u8> = (0..length).map(|at| at as u8).collect();
        assert_eq!(two.ask(Ask::Games, answer.clone()).await, Some(answer));
    }
    assert_eq!(two.ask(Ask::Games, vec![0; Ask::Games.answer_bytes() + 1]).await, None, "too long is none");
    assert!(two.asker.waiting.lock().unwrap().pending.is_empty());
}

#[tokio::test]
async fn who_is_not_seen_yet_is_answered_at_once() {
    let mut two = Two::new();
    // As just after a join: the asker sees the other, which sees itself alone.
    let alone = View::new([(&fact(2, ([127, 0, 0, 1], 1).into()), State::Active)]);
    two.answerer.view = watch::channel(Arc::new(alone)).1;
    assert!(two.answerer.others().is_empty());
    assert_eq!(two.ask(Ask::Node, b"here".to_vec()).await, Some(b"here".to_vec()));
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_question_is_none() {
    let two = Two::new();
    let seen = two.asker.others().pop().unwrap();
    for (from, index, part, is_none) in [
        (NodeId(3), 0, b"x".to_vec(), false),
        (NodeId(2), 1, b"x".to_vec(), true),
        (NodeId(2), 0, vec![0; (8 << 20) + 1], true),
    ] {
        let asking = two.asker.ask(&seen, Ask::Node, Duration::from_secs(30));
        let answering = async {
            let number = two.asker.waiting.lock().unwrap().last;
            two.asker.handle_answer(from, number, index, &part, false);
            let is_gone = !two.asker.waiting.lock().unwrap().pending.contains_key(&number);
            assert_eq!(is_gone, is_none, "{from} {index}");
            two.asker.handle_answer(NodeId(2), number, 0, b"true", true);
        };
        // The question is asked before it is answered: futures of a join are polled in order.
        let (answer, ()) = futures_util::future::join(asking, answering).await;
        assert_eq!(answer.is_none(), is_none, "{from} {index}");
    }
}

#[tokio::test]
async fn questions_that_wait_are_bounded_and_silence_is_none() {
    let two = Two::new();
    let seen = two.asker.others().pop().unwrap();
    let patience = Duration::from_millis(50);
    let asked = (0..QUESTIONS + 10).map(|_| two.asker.ask(&seen, Ask::Node, patience));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(Option::is_none));
    let waiting = two.asker.waiting.lock().unwrap();
    assert_eq!((waiting.last, waiting.pending.len()), (QUESTIONS as u64, 0), "the rest were refused at once");
}

#[tokio::test]
async fn questions_that_are_answered_at_a_time_are_bounded_and_the_rest_is_dropped_and_counted() {
    let two = Two::new();
    let taken: Vec<_> = (0..ANSWERS).map(|_| two.answerer.take_question().expect("a place")).collect();
    assert!(two.answerer.clone().take_question().is_none());
    let dropped = || two.answerer.links.counters().unanswered.load(Ordering::Relaxed);
    assert_eq!(dropped(), 1);
    drop(taken);
    assert!(two.answerer.take_question().is_some());
    assert_eq!(dropped(), 1);
}
