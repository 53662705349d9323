//! Players that play by themselves and remember what they saw.

use std::time::Instant;

use ringside_client::{Client, Event};
use ringside_guest::Slot;
use ringside_protocol::reason::Reason;
use ringside_test_support::echo_history::EchoHistory;
use ringside_test_support::wait::within;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::bench::Bench;

/// How a bot says what it wants.
#[derive(Clone, Copy)]
pub enum By {
    /// By messages: each has its effect once.
    Message,
    /// By datagrams: some may be lost.
    Datagram,
}

/// What a bot saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// The ticks of the views that were shown.
    pub ticks: Vec<u64>,
    /// The newest view.
    pub view: Vec<u8>,
    /// Messages that it sent.
    pub sent: u64,
    pub rejected: Vec<(u64, Reason)>,
    pub paused: usize,
    pub resumed: usize,
    pub moved: usize,
    pub disconnected: usize,
    /// The last event of all.
    pub last: Option<Event>,
}

type Policy = Box<dyn FnMut(Slot, &[u8]) -> Vec<u8> + Send>;

/// Called whenever a player knows that its connection is lost.
pub type OnLoss = Box<dyn FnMut() + Send>;

/// A player that answers each view.
pub struct Bot {
    pub client: Client,
    pub seen: Seen,
    pub on_loss: Option<OnLoss>,
    slot: Slot,
    by: By,
    policy: Policy,
}

impl Bot {
    /// A bot whose inputs are what `policy` says about each view.
    pub fn new<V: DeserializeOwned, I: Serialize>(
        client: Client,
        by: By,
        mut policy: impl FnMut(Slot, &V) -> I + Send + 'static,
    ) -> Bot {
        let slot = Slot(client.attachment().slot.0);
        let policy = Box::new(move |slot: Slot, body: &[u8]| {
            let view = postcard::from_bytes(body).expect("a view of the game");
            postcard::to_stdvec(&policy(slot, &view)).unwrap()
        });
        Bot { client, seen: Seen::default(), on_loss: None, slot, by, policy }
    }

    /// Plays until it is told to stop, or the session is over for it.
    pub async fn play(mut self, mut stop: watch::Receiver<bool>) -> Bot {
        loop {
            let event = tokio::select! {
                event = within("a bot's event", self.client.next()) => event,
                _ = stop.wait_for(|stop| *stop) => return self,
            };
            let Some(event) = event else { return self };
            if let Event::View(view) = &event {
                let input = (self.policy)(self.slot, &view.body);
                match self.by {
                    // There may be no connection at the moment, or too much on its way.
                    By::Datagram => drop(self.client.send_datagram(input)),
                    By::Message => self.seen.sent += u64::from(self.client.send(input).is_ok()),
                }
            }
            self.note(event);
        }
    }

    /// Plays no further, but looks on until the session has all that was sent, and a view shows a tick after `tick`.
    pub async fn settle(&mut self, tick: u64) {
        while self.client.unacknowledged() > 0 || self.seen.ticks.last().is_none_or(|&seen| seen <= tick) {
            let event = within("a bot's event", self.client.next()).await.expect("the session goes on");
            self.note(event);
        }
    }

    fn note(&mut self, event: Event) {
        let seen = &mut self.seen;
        match event {
            Event::View(view) => {
                seen.ticks.push(view.tick);
                seen.view = view.body.to_vec();
            }
            Event::Rejected { number, cause } => seen.rejected.push((number, cause)),
            Event::Paused => seen.paused += 1,
            Event::Resumed => seen.resumed += 1,
            Event::Moved { .. } => seen.moved += 1,
            Event::Disconnected { .. } => {
                seen.disconnected += 1;
                self.on_loss.iter_mut().for_each(|tell| tell());
            }
            event if event.is_last() => seen.last = Some(event),
            _ => {}
        }
    }
}

/// Bots that play in the background.
pub struct Bots {
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<Bot>>,
}

impl Bots {
    pub fn start(bots: Vec<Bot>) -> Bots {
        let (stop, stopped) = watch::channel(false);
        let tasks = bots.into_iter().map(|bot| tokio::spawn(bot.play(stopped.clone()))).collect();
        Bots { stop, tasks }
    }

    /// Tells all to stop and takes them back.
    pub async fn stop(self) -> Vec<Bot> {
        self.stop.send_replace(true);
        self.end().await
    }

    /// Waits until the session is over for each.
    pub async fn end(self) -> Vec<Bot> {
        let mut bots = Vec::new();
        for task in self.tasks {
            bots.push(within("a bot's end", task).await.unwrap());
        }
        bots
    }
}

/// A player of the echo game that verifies every promise.
pub struct Echoist {
    pub client: Client,
    pub disconnected: usize,
    pub on_loss: Option<OnLoss>,
    history: EchoHistory,
}

impl Echoist {
    pub fn new(client: Client, player: &str, seed: u64) -> Echoist {
        let history = EchoHistory::new(player, seed, Instant::now());
        Echoist { client, disconnected: 0, on_loss: None, history }
    }

    /// A player in a session of the echo game.
    pub async fn join(bench: &Bench, player: &str, target: &str) -> Echoist {
        Echoist::new(bench.join(player, target).await, player, 1)
    }

    /// Sends `count` bodies and takes them back, at most `window` at a time on their way.
    pub async fn exchange(&mut self, count: u64, window: u64) {
        let goal = self.history.answered() + count;
        let mut unsent = count;
        while self.history.answered() < goal {
            while unsent > 0 && self.history.outstanding() < window {
                self.client.send(self.history.next_message()).unwrap();
                self.history.sent().unwrap();
                unsent -= 1;
            }
            match within("a reply", self.client.next()).await.expect("the session goes on") {
                Event::Message { body, .. } => {
                    self.history.reply(&postcard::from_bytes(&body).unwrap()).unwrap();
                }
                Event::Rewound { tick, last_output, .. } => self.history.rewound(tick, last_output, false).unwrap(),
                Event::View(view) => self.history.view(view.tick, view.committed_tick).unwrap(),
                Event::Disconnected { cause } => {
                    self.history.note(format_args!("disconnected: {cause}"));
                    self.disconnected += 1;
                    self.on_loss.iter_mut().for_each(|tell| tell());
                }
                event => assert!(!event.is_last(), "{event:?}"),
            }
        }
    }
}
