//! A player of the echo game who verifies every promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringside_client::{Attachment, Client, Event, Options, SendError, Trust};
use ringside_protocol::reason::Reason;
use ringside_test_support::echo_history::EchoHistory;
use ringside_test_support::node::Node;
use ringside_test_support::wait::{until, within};
use tokio::task::JoinHandle;

pub struct Player {
    pub client: Client,
    seen: EchoHistory,
    /// How often the connection was lost.
    pub disconnected: u32,
    /// Whether both sides of a cut may go on with the session, so that what one of them said is withdrawn.
    pub may_fork: bool,
    /// How often it was told that the session went back.
    pub rewound: u32,
    /// … and that promises were withdrawn with that.
    pub superseded: u32,
    /// How often it sat down anew.
    pub stays: u32,
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
        let seen = EchoHistory::new(name, 1, Instant::now());
        Player { client, seen, disconnected: 0, may_fork: false, rewound: 0, superseded: 0, stays: 0 }
    }

    pub fn attachment(&self) -> &Attachment {
        self.client.attachment()
    }

    /// How much of what it has said is not answered.
    pub fn outstanding(&self) -> u64 {
        self.seen.outstanding()
    }

    /// Sends a body, and does not wait for it.
    pub fn send(&mut self) {
        self.try_send().expect("room for a message");
    }

    fn try_send(&mut self) -> Result<(), SendError> {
        self.client.send(self.seen.next_message())?;
        self.seen.sent().expect("every promise kept");
        Ok(())
    }

    /// Says something: nothing if it is answered, or the event with which the session is over for the player.
    pub async fn last(&mut self) -> Option<Event> {
        let is_sent = self.try_send();
        assert!(matches!(is_sent, Ok(()) | Err(SendError::Done)), "{is_sent:?}");
        loop {
            let event = within("an answer", self.client.next()).await.expect("a last event");
            if event.is_last() {
                return Some(event);
            }
            let is_answer = matches!(event, Event::Message { .. });
            self.take(event);
            if is_answer {
                return None;
            }
        }
    }

    /// Says something, and whether it is told that the session was lost with its node. A client whose connection is closed before it
    /// has read why it was refused is told by the close.
    pub async fn is_lost(&mut self) -> bool {
        match self.last().await {
            None => false,
            Some(
                Event::Failed { reason: Reason::NoSuchSession, message }
                | Event::Detached { reason: Reason::NoSuchSession, message },
            ) if message.contains("was lost") && message.contains("is gone") => true,
            Some(event) => panic!("{event:?}"),
        }
    }

    /// What the game's memory has of a player who was the first to join.
    pub fn row(&self) -> [u8; 16] {
        let mut row = [0; 16];
        row[..8].copy_from_slice(&self.seen.answered().to_le_bytes());
        row[8..].copy_from_slice(&self.seen.hash().to_le_bytes());
        row
    }

    /// Sends bodies and takes them back, a few at a time on their way.
    pub async fn exchange(&mut self, count: u64) {
        self.exchange_at_once(count, 4).await;
    }

    /// The same, so many at a time on their way.
    pub async fn exchange_at_once(&mut self, count: u64, at_once: u64) {
        let goal = self.seen.answered() + count;
        self.say(count, goal, at_once).await;
    }

    /// Waits until all that was said is answered.
    pub async fn answered(&mut self) {
        let goal = self.seen.answered() + self.seen.outstanding();
        self.say(0, goal, 0).await;
    }

    /// Sends so many bodies, and takes some back until this one is there.
    async fn say(&mut self, mut unsent: u64, mut goal: u64, at_once: u64) {
        while self.seen.answered() < goal {
            while unsent > 0 && self.seen.outstanding() < at_once {
                self.send();
                unsent -= 1;
            }
            let event = within("a reply", self.client.next()).await.expect("the session goes on");
            let (stays, answered) = (self.stays, self.seen.answered());
            self.take(event);
            if self.stays > stays {
                // What was on its way is lost: the rest is said in this stay.
                goal = if at_once > 0 { goal - answered } else { 0 };
                unsent = goal;
            }
        }
    }

    /// Waits until it is told that its seat is another one.
    pub async fn sits_down_anew(&mut self) {
        let stays = self.stays;
        while self.stays == stays {
            let event = within("a seat", self.client.next()).await.expect("the session goes on");
            self.take(event);
        }
    }

    /// Waits until it sees the session so many ticks later than it does now.
    pub async fn sees_it_go_on(&mut self, ticks: u64) {
        let mut first = None;
        loop {
            let event = within("a view", self.client.next()).await.expect("the session goes on");
            let seen = if let Event::View(view) = &event { Some(view.tick) } else { None };
            self.take(event);
            if seen.is_some_and(|tick| tick >= *first.get_or_insert(tick) + ticks) {
                return;
            }
        }
    }

    /// Waits until the connection is lost; answers why it was.
    pub async fn lost(&mut self) -> String {
        loop {
            let event = within("the connection to be lost", self.client.next()).await.expect("the session goes on");
            if let Some(cause) = self.take(event) {
                return cause;
            }
        }
    }

    /// Whether nothing that it has said was answered since it listened last.
    pub async fn is_not_answered(&mut self) -> bool {
        // Only what has come already.
        while let Ok(event) = tokio::time::timeout(Duration::ZERO, self.client.next()).await {
            let event = event.expect("the session goes on");
            let is_answer = matches!(event, Event::Message { .. });
            self.take(event);
            if is_answer {
                return false;
            }
        }
        true
    }

    /// Waits until the leader says that the session stands still.
    pub async fn paused(&mut self) {
        loop {
            let event = within("the session to be paused", self.client.next()).await.expect("the session goes on");
            let is_paused = event == Event::Paused;
            self.take(event);
            if is_paused {
                return;
            }
        }
    }

    /// Takes an event; why the connection is lost, if it is.
    fn take(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Message { body, .. } => {
                let reply: echo::Reply = postcard::from_bytes(&body).expect("a reply of the echo game");
                self.seen.reply(&reply).expect("every promise kept");
            }
            Event::Rewound { tick, last_output, superseded, .. } => {
                self.rewound += 1;
                self.superseded += u32::from(superseded);
                self.seen.note(format_args!("{event:?}"));
                if superseded && !self.may_fork {
                    panic!("{:?}", self.seen.broken("promises are withdrawn, and there was no fork"));
                }
                self.seen.rewound(tick, last_output, superseded).expect("every promise kept");
            }
            Event::Disconnected { cause } => {
                self.seen.note(format_args!("disconnected: {cause}"));
                self.disconnected += 1;
                return Some(cause);
            }
            Event::View(view) => self.seen.view(view.tick, view.committed_tick).expect("every promise kept"),
            Event::Attached(attachment) if attachment.joined => {
                self.seen.note(format_args!("{attachment:?}"));
                if !self.may_fork {
                    panic!("{:?}", self.seen.broken("the seat is gone, and there was no fork"));
                }
                self.seen.begin_again();
                self.stays += 1;
            }
            event => {
                assert!(!event.is_last(), "{event:?}");
                self.seen.note(format_args!("{event:?}"));
            }
        }
        None
    }
}
