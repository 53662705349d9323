//! A player of the echo game who knows that nothing was lost or doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ringside_client::{Attachment, Client, Event, Options, SendError, Trust};
use ringside_test_support::node::Node;
use ringside_test_support::sequence::Sequence;
use ringside_test_support::wait::{until, within};
use tokio::task::JoinHandle;

pub struct Player {
    pub client: Client,
    sequence: Sequence,
    hash: u64,
    /// How often the connection was lost.
    pub disconnected: u32,
}

/// A match that is played until it is told to stop.
pub struct Match {
    player: JoinHandle<Player>,
    stops: Arc<AtomicBool>,
    /// How many things its player has said that were answered.
    answered: Arc<AtomicU64>,
}

impl Match {
    /// Its player says so many things, takes them back, and says the next a while later.
    pub fn play(mut player: Player, count: u64, pause: Duration) -> Match {
        let stops = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&stops);
        let answered = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&answered);
        let player = tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                player.exchange(count).await;
                counted.fetch_add(count, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
            }
            player
        });
        Match { player, stops, answered }
    }

    /// Waits until its player was answered so many times more.
    pub async fn goes_on(&self, count: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        let is_there = async || {
            assert!(!self.player.is_finished(), "something was lost or doubled, or took too long");
            (self.answered.load(Ordering::Relaxed) >= goal).then_some(())
        };
        until("play to go on", is_there).await;
    }

    /// Each message came once and in order, or it would have ended. Its player.
    pub async fn end(self) -> Player {
        self.stops.store(true, Ordering::Relaxed);
        let mut player = self.player.await.expect("it was played to the end");
        player.exchange(20).await;
        player
    }
}

/// How a player enters by a node.
pub fn options(node: &Node, token: &str, target: &str) -> Options {
    let trust = Trust::CertificateSha256(vec![node.certificate()]);
    Options::new([node.address()], trust, token.to_owned(), target).expect("a target")
}

impl Player {
    /// Enters by a node.
    pub async fn join(node: &Node, name: &str, target: &str) -> Player {
        Player::join_with(options(node, &node.token(name), target), name).await
    }

    /// Enters as the options say.
    pub async fn join_with(options: Options, name: &str) -> Player {
        let client = within("the player to be attached", Client::connect(options)).await;
        let client = client.unwrap_or_else(|error| panic!("{name} is not let in: {error}"));
        Player { client, sequence: Sequence::new(name, 1), hash: echo::EMPTY, disconnected: 0 }
    }

    pub fn attachment(&self) -> &Attachment {
        self.client.attachment()
    }

    /// How much of what it has said is not answered.
    pub fn outstanding(&self) -> u64 {
        self.sequence.outstanding()
    }

    /// Sends a body, and does not wait for it.
    pub fn send(&mut self) {
        self.try_send().expect("room for a message");
    }

    fn try_send(&mut self) -> Result<u64, SendError> {
        let body = postcard::to_stdvec(&ringside_guest::Bytes(self.sequence.send())).expect("plain bytes");
        self.client.send(body)
    }

    /// Says something: nothing if it is answered, or the event with which the session is over for the player.
    pub async fn last(&mut self) -> Option<Event> {
        let is_sent = self.try_send();
        assert!(matches!(is_sent, Ok(_) | Err(SendError::Done)), "{is_sent:?}");
        loop {
            match within("an answer", self.client.next()).await.expect("a last event") {
                Event::Message { body, .. } => {
                    self.take(&body);
                    return None;
                }
                event if event.is_last() => return Some(event),
                _ => {}
            }
        }
    }

    /// What the game's memory has of a player who was the first to join.
    pub fn row(&self) -> [u8; 16] {
        let mut row = [0; 16];
        row[..8].copy_from_slice(&self.sequence.returned().to_le_bytes());
        row[8..].copy_from_slice(&self.hash.to_le_bytes());
        row
    }

    /// Sends bodies and takes them back, a few at a time on their way.
    pub async fn exchange(&mut self, count: u64) {
        self.exchange_at_once(count, 4).await;
    }

    /// The same, so many at a time on their way.
    pub async fn exchange_at_once(&mut self, count: u64, at_once: u64) {
        let goal = self.sequence.returned() + count;
        self.say(count, goal, at_once).await;
    }

    /// Waits until all that was said is answered.
    pub async fn answered(&mut self) {
        let goal = self.sequence.returned() + self.sequence.outstanding();
        self.say(0, goal, 0).await;
    }

    /// Sends so many bodies, and takes some back until this one is there.
    async fn say(&mut self, mut unsent: u64, goal: u64, at_once: u64) {
        while self.sequence.returned() < goal {
            while unsent > 0 && self.sequence.outstanding() < at_once {
                self.send();
                unsent -= 1;
            }
            match within("a reply", self.client.next()).await.expect("the session goes on") {
                Event::Message { body, .. } => self.take(&body),
                Event::Disconnected { cause } => {
                    eprintln!("player: disconnected: {cause}");
                    self.disconnected += 1;
                }
                Event::Attached(at) => eprintln!("player: attached at node {}", at.node),
                Event::Moved { .. } => eprintln!("player: moved"),
                event => assert!(!event.is_last(), "{event:?}"),
            }
        }
    }

    /// Waits until the connection is lost; answers why it was.
    pub async fn lost(&mut self) -> String {
        loop {
            match within("the connection to be lost", self.client.next()).await.expect("the session goes on") {
                Event::Message { body, .. } => self.take(&body),
                Event::Disconnected { cause } => {
                    self.disconnected += 1;
                    return cause;
                }
                event => assert!(!event.is_last(), "{event:?}"),
            }
        }
    }

    /// Whether nothing that it has said was answered since it listened last.
    pub async fn is_not_answered(&mut self) -> bool {
        // Only what has come already.
        while let Ok(event) = tokio::time::timeout(Duration::ZERO, self.client.next()).await {
            let event = event.expect("the session goes on");
            assert!(!event.is_last(), "{event:?}");
            if matches!(event, Event::Message { .. }) {
                return false;
            }
        }
        true
    }

    /// Waits until the leader says that the session stands still.
    pub async fn paused(&mut self) {
        loop {
            match within("the session to be paused", self.client.next()).await.expect("the session goes on") {
                Event::Message { body, .. } => self.take(&body),
                Event::Paused => return,
                event => assert!(!event.is_last(), "{event:?}"),
            }
        }
    }

    fn take(&mut self, body: &[u8]) {
        let reply: echo::Reply = postcard::from_bytes(body).expect("a reply of the echo game");
        self.sequence.receive(&reply.body.0).expect("each once and in order");
        self.hash = echo::extend(self.hash, &reply.body.0);
        assert_eq!((reply.number, reply.hash), (self.sequence.returned(), self.hash), "the session has the same");
    }
}
