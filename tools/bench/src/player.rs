//! Players who enter a cluster as people's programs do, by the client: timed from the first packet to the seat.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringside_client::{Arrival, Client, Event, Options};

use crate::bench::BenchError;
use crate::identity::Door;
use crate::nodes::PATIENCE;

/// The runtime of a load.
pub fn runtime() -> Result<tokio::runtime::Runtime, BenchError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::setup)
}

/// A socket for any number of players, one after the other.
pub fn endpoint(server: SocketAddr) -> Result<quinn::Endpoint, BenchError> {
    ringside_client::shell::endpoint(server).map_err(BenchError::setup)
}

/// Enters a session of the guest `echo` and leaves it; answers how long it took until the player had a seat, and how they
/// came there.
pub async fn enter(
    endpoint: &quinn::Endpoint,
    door: &Door,
    player: &str,
    key: &str,
) -> Result<(Duration, Arrival), BenchError> {
    let options = options(endpoint, door, player, key)?;
    let begun = Instant::now();
    let client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
    let taken = begun.elapsed();
    let arrival = client.attachment().arrival;
    patiently(client.leave()).await?;
    Ok((taken, arrival))
}

/// Enters, sends a message, and returns when its answer is there.
pub async fn echo(endpoint: &quinn::Endpoint, door: &Door, player: &str, key: &str) -> Result<(), BenchError> {
    let options = options(endpoint, door, player, key)?;
    let mut client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
    let body = ringside_guest::encode(&ringside_guest::Bytes(b"hello".to_vec()));
    client.send(body).map_err(BenchError::setup)?;
    loop {
        match patiently(client.next()).await? {
            Some(Event::Message { .. }) => return Ok(()),
            Some(event) if !event.is_last() => {}
            event => return Err(BenchError::Child(format!("answered {event:?} to a message"))),
        }
    }
}

/// What a player of the guest `echo` says to enter.
fn options(endpoint: &quinn::Endpoint, door: &Door, player: &str, key: &str) -> Result<Options, BenchError> {
    options_of(endpoint, door, player, &format!("echo/{key}"))
}

/// What a player says to enter a session.
pub fn options_of(endpoint: &quinn::Endpoint, door: &Door, player: &str, target: &str) -> Result<Options, BenchError> {
    let token = door.token(player, 0)?;
    let options = Options::new([door.address], door.trust(), token, target).map_err(BenchError::setup)?;
    Ok(Options { endpoint: Some(endpoint.clone()), ..options })
}

/// What should happen soon enough.
pub async fn patiently<T>(event: impl Future<Output = T>) -> Result<T, BenchError> {
    tokio::time::timeout(PATIENCE, event).await.map_err(|_| BenchError::Child("does not answer a player".into()))
}

/// Players on a thread of their own, so that the commands of the test keep none of them waiting.
pub struct Players<T> {
    thread: JoinHandle<Result<Vec<T>, BenchError>>,
    stop: Arc<AtomicBool>,
}

impl<T: Send + 'static> Players<T> {
    /// So many in each session, each of whom does the same until told to stop.
    pub fn start<F>(
        door: Door,
        sessions: Vec<(String, usize)>,
        does: impl Fn(Options, Arc<AtomicBool>) -> F + Send + 'static,
    ) -> Result<Players<T>, BenchError>
    where
        F: Future<Output = Result<T, BenchError>> + 'static,
    {
        let stop = Arc::<AtomicBool>::default();
        let stops = Arc::clone(&stop);
        let play = move || {
            runtime()?.block_on(tokio::task::LocalSet::new().run_until(async {
                let endpoint = endpoint(door.address)?;
                let mut players = Vec::new();
                for (session, count) in &sessions {
                    for number in 0..*count {
                        let who = format!("player-{number}");
                        let options = options_of(&endpoint, &door, &who, session)?;
                        players.push(tokio::task::spawn_local(does(options, Arc::clone(&stops))));
                    }
                }
                let mut all = Vec::new();
                for player in players {
                    all.push(player.await.map_err(BenchError::setup)??);
                }
                Ok(all)
            }))
        };
        let thread = std::thread::Builder::new().spawn(play).map_err(BenchError::setup)?;
        Ok(Players { thread, stop })
    }

    /// Tells them to stop; answers what each has come to.
    pub fn finish(self) -> Result<Vec<T>, BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(BenchError::Child("a player panicked".into())))
    }
}

/// Watches; answers when each newer view came: a new connection begins with what the player has seen. A player who is put out ends
/// the measurement.
pub async fn see(options: Options, stop: Arc<AtomicBool>) -> Result<Vec<Instant>, BenchError> {
    let mut client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
    let (mut arrivals, mut seen) = (Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        match patiently(client.next()).await? {
            Some(Event::View(view)) => {
                if seen.replace(view.tick).is_none_or(|seen| view.tick > seen) {
                    arrivals.push(Instant::now());
                }
            }
            Some(Event::Disconnected { cause }) => return Err(BenchError::Child(format!("lost a player: {cause}"))),
            Some(event) if !event.is_last() => {}
            event => return Err(BenchError::Child(format!("{event:?} in place of a view"))),
        }
    }
    Ok(arrivals)
}

/// Times between two views next to each other, of which at least one part lies within a time, ms.
pub fn gaps(arrivals: &[Instant], (from, to): (Instant, Instant)) -> Vec<f64> {
    let pairs = arrivals.windows(2).filter(|pair| pair[1] > from && pair[0] < to);
    pairs.map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect()
}
