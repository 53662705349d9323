//! The old process's side: starts the successor, gives it the sessions and at last the sockets; or abandons it, and goes on.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ringside_core::ids::Node;
use ringside_core::leadership::record::Motive;
use ringside_worker::command::Passage;
use ringside_worker::replication::Contacts;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::channel::{self, Ear, Heard, Mouth, Sockets};
use super::formats::Formats;
use super::messages::{Hello, Said, contacts};
use super::progress::phase;
use crate::cluster::wire::Message as PeerMessage;
use crate::control::{self, Companion, SessionName};
use crate::operator::Desk;
use crate::operator::away::WIDEST;
use crate::operator::giving::{Given, Giving, Occasion};
use crate::pace::every;

/// How long the successor may take to say what it is.
const GREETING: Duration = Duration::from_secs(10);
/// How long it may take to compile the games and start its workers.
const LOADING: Duration = Duration::from_secs(120);
/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(3);
/// How long it may be that it does without this process as a follower in no more sessions. What is left then waits for who is gone.
const SPARING: Duration = Duration::from_secs(3);
/// How long it may take to say that it has the sockets.
const TAKING: Duration = Duration::from_secs(5);
/// How often it is told what the cluster is.
const SAID: Duration = Duration::from_millis(250);
/// Between two looks, of a process that did not stand still itself.
const STALL: Duration = Duration::from_secs(1);
/// How long it may be that no session gets there.
const STANDSTILL: Duration = Duration::from_secs(30);
/// For how long what others are about to give this node is waited for: longer than a move takes that is about to be granted.
const ARRIVING: Duration = Duration::from_secs(3);
/// How soon it is looked for sessions again.
const AGAIN: Duration = Duration::from_millis(20);

/// A successor that runs; killed when it is let go of.
struct Successor(Option<Child>);

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // One that has ended cannot be killed.
            let _ = child.start_kill();
        }
    }
}

/// Has a run of a program take over from this process. It has when this returns, and serves as soon as this process has
/// ended.
///
/// # Errors
/// Why the successor was abandoned: it has ended by then, and this process leads what it led.
pub async fn run(desk: &Desk, binary: &Path, sockets: &Sockets) -> Result<(), String> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| format!("no socket to speak over: {error}"))?;
    let mut successor = Successor(Some(start(binary, theirs)?));
    let (mouth, ear) = channel::open(ours).map_err(|error| format!("no thread to speak: {error}"))?;
    let mut begun = None;
    let taken = hand_over(desk, sockets, (&mouth, ear), &mut begun).await;
    if let Err(why) = taken {
        let ended = kill(&mut successor).await;
        if let Some(node) = begun {
            desk.control.heard(control::Message::Parted { node, is_over: true }).await;
        }
        return Err(match ended {
            Some(status) => format!("{why} ({status})"),
            None => why,
        });
    }
    // It outlives this process.
    drop(successor.0.take());
    Ok(())
}

fn start(binary: &Path, socket: UnixStream) -> Result<Child, String> {
    let ours = std::env::args_os().skip(1).filter(|argument| argument != SUCCEED);
    let arguments = ours.chain([OsString::from(SUCCEED)]);
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::from(OwnedFd::from(socket)));
    command.spawn().map_err(|error| format!("{} cannot be started: {error}", binary.display()))
}

/// The flag that tells a run that it is a successor.
pub const SUCCEED: &str = "--succeed";

/// Ends a successor that has not ended; how it ended, if it had by itself.
async fn kill(successor: &mut Successor) -> Option<std::process::ExitStatus> {
    let child = successor.0.as_mut()?;
    // What it wrote last may be how it ended: it has a moment for that.
    if let Ok(Ok(status)) = timeout(Duration::from_millis(200), child.wait()).await {
        successor.0 = None;
        return Some(status);
    }
    let _ = child.start_kill();
    let _ = child.wait().await;
    successor.0 = None;
    None
}

async fn hand_over(
    desk: &Desk,
    sockets: &Sockets,
    (mouth, mut ear): (&Mouth, Ear),
    begun: &mut Option<Node>,
) -> Result<(), String> {
    let hello = match ear.next_said(GREETING).await {
        Some(Said::Hello(hello)) => hello,
        Some(_) => return Err("it does not say what it is".to_owned()),
        None => return Err(format!("it ended, or did not say what it is within {} s", GREETING.as_secs())),
    };
    let Hello { release, formats, objects, spares } = hello;
    if let Err(differs) = Formats::own().takes(&formats) {
        let why = format!("release {release} cannot take over: {differs}");
        mouth.say(&Said::Refused { why: why.clone() });
        return Err(why);
    }
    desk.upgrades.note(|shown| {
        shown.release = Some(release);
        shown.phase = phase::LOADING.to_owned();
    });
    let me = desk.peers.me();
    let cluster = desk.control.cluster().await.map_err(|error| error.to_string())?;
    mouth.say(&Said::Welcome { node: me, cluster, checkpoint: Some(Formats::own().checkpoint) });
    let (node, contacts) = match ear.next_said(LOADING).await {
        Some(Said::Ready { node, workers, peers, certificate, .. }) if node.id == me.id => {
            let contacts = contacts(workers, peers, &certificate);
            (node, contacts.ok_or("what it says of its workers makes no sense")?)
        }
        Some(Said::Failed { why }) => return Err(format!("it cannot start: {why}")),
        Some(_) => return Err("it says something else than that it is ready".to_owned()),
        None => return Err(format!("it ended, or was not ready within {} s", LOADING.as_secs())),
    };
    *begun = Some(node);
    tracing::info!(successor = %node, "the sessions of this node go to another run of it");
    let passage = objects.then(|| passage(desk, mouth.clone()));
    accompany(desk, node, (contacts, passage), mouth.clone()).await;
    desk.upgrades.note(|shown| shown.phase = phase::MOVING.to_owned());
    tokio::select! {
        heard = listen(desk, node, mouth, &mut ear, |_| false) => return Err(heard.err().unwrap_or_default()),
        given = give_all(desk, node) => given?,
    }
    desk.upgrades.note(|shown| shown.phase = phase::TAKING.to_owned());
    if spares && mouth.say(&Said::Spare) {
        be_spared(desk, node, mouth, &mut ear).await?;
    }
    let sockets = sockets.try_clone().map_err(|error| format!("the sockets cannot be passed: {error}"))?;
    mouth.hand_over(sockets);
    let taken = async {
        loop {
            match ear.next().await {
                Some(Heard::Said(Said::Taken, _)) => return true,
                Some(heard) => hear(desk, node, heard).await,
                None => return false,
            }
        }
    };
    tokio::select! {
        // What came while this process stood still is heard first.
        biased;
        taken = taken => if taken { Ok(()) } else { Err("it ended before it had the sockets".to_owned()) },
        () = run_for(TAKING) => Err(format!("it did not say within {} s that it has the sockets", TAKING.as_secs())),
    }
}

/// Returns when this process has run for so long: time in which it stood still counts for little, for it heard nothing then.
async fn run_for(length: Duration) {
    let mut left = length;
    while !left.is_zero() {
        let begun = Instant::now();
        tokio::time::sleep(SAID).await;
        left = left.saturating_sub(begun.elapsed().min(STALL));
    }
}

/// Checkpoints go to the successor as memory objects.
fn passage(desk: &Desk, mouth: Mouth) -> Passage {
    let upgrades = desk.upgrades.clone();
    Passage(Arc::new(move |from, to, body| {
        let is_passed = mouth.pass(from, to, body);
        if is_passed {
            upgrades.note(|shown| shown.passed += 1);
        }
        is_passed
    }))
}

/// Workers and directory learn of the successor.
async fn accompany(desk: &Desk, node: Node, (contacts, passage): (Contacts, Option<Passage>), mouth: Mouth) {
    let outlet = Box::new(move |message: &PeerMessage| mouth.tell(message));
    let companion = Companion { node, contacts, outlet, passage, is_successor: true };
    desk.control.heard(control::Message::Companion(Box::new(companion))).await;
}

/// Returns when the successor counts on this process nowhere any longer where it need not, or gets no further with that.
async fn be_spared(desk: &Desk, node: Node, mouth: &Mouth, ear: &mut Ear) -> Result<(), String> {
    let mut left = usize::MAX;
    while left > 0 {
        let is_fewer = |said: &Said| matches!(said, Said::Spared { left: now } if *now < left);
        tokio::select! {
            heard = listen(desk, node, mouth, ear, is_fewer) => {
                if let Said::Spared { left: now } = heard? {
                    left = now;
                }
            }
            () = run_for(SPARING) => {
                tracing::warn!(left, "players of sessions in which the successor counts on this process wait when it ends");
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Hears the successor, and tells it of the cluster, until it says this; or until it is silent or gone: why it is to be
/// abandoned.
async fn listen(
    desk: &Desk,
    node: Node,
    mouth: &Mouth,
    ear: &mut Ear,
    is_it: impl Fn(&Said) -> bool,
) -> Result<Said, String> {
    let mut tell = every(SAID);
    let (mut heard_at, mut looked_at) = (Instant::now(), Instant::now());
    loop {
        tokio::select! {
            heard = ear.next() => match heard {
                None => return Err("it ended".to_owned()),
                Some(Heard::Said(Said::Failed { why }, _)) => return Err(format!("it cannot go on: {why}")),
                Some(Heard::Said(said, _)) if is_it(&said) => return Ok(said),
                Some(heard) => {
                    heard_at = Instant::now();
                    hear(desk, node, heard).await;
                }
            },
            _ = tell.tick() => {
                // Who stood still has not listened: the successor may lead everything by now, and is not to die for that.
                if std::mem::replace(&mut looked_at, Instant::now()).elapsed() > STALL {
                    heard_at = Instant::now();
                }
                if heard_at.elapsed() > SILENCE {
                    return Err(format!("it said nothing for {} s", SILENCE.as_secs()));
                }
                if let Ok(cluster) = desk.control.cluster().await {
                    mouth.say(&Said::Cluster(cluster));
                }
            }
        }
    }
}

async fn hear(desk: &Desk, node: Node, heard: Heard) {
    match heard {
        Heard::Directory(message) => {
            if let PeerMessage::Directory { to, message } = *message
                && to == desk.peers.me()
            {
                desk.control.heard(control::Message::Directory(node, message)).await;
            }
        }
        Heard::Said(Said::Alive { era }, _) => desk.control.heard(control::Message::CompanionEra(era)).await,
        Heard::Said(..) | Heard::Checkpoint { .. } => {}
    }
}

/// Gives the successor everything, whatever begins meanwhile, until little is left or as much begins as goes; then nothing
/// begins any more, and it gets the rest.
async fn give_all(desk: &Desk, to: Node) -> Result<(), String> {
    let sessions = desk.control.sessions().await.map_err(|error| error.to_string())?.len();
    desk.upgrades.note(|shown| shown.sessions = sessions);
    let mut before = None;
    give_those_there_are(desk, to, |count| match before.replace(count) {
        None => count == 0,
        Some(before) => count <= WIDEST || count > before / 2,
    })
    .await?;
    desk.control.drain().await;
    // Others may still give it what they had begun to.
    let until = Instant::now() + ARRIVING;
    loop {
        // Looked at first: what has arrived by then is given.
        let is_last = Instant::now() >= until || desk.control.status().await.is_ok_and(|status| status.arriving == 0);
        give_those_there_are(desk, to, |count| count == 0).await?;
        if is_last {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Gives sessions until their number is one to end with.
async fn give_those_there_are(desk: &Desk, to: Node, mut is_enough: impl FnMut(usize) -> bool) -> Result<(), String> {
    let mut giving = Giving::new(WIDEST);
    let mut succession = Succession { to, moved_at: Instant::now(), last_why: String::new() };
    loop {
        let sessions = desk.control.sessions().await.map_err(|error| error.to_string())?;
        if is_enough(sessions.len()) {
            return Ok(());
        }
        let live = sessions.into_iter().filter(|session| session.state == "live").map(|session| session.session);
        giving.give(desk, live, &mut succession).await;
        if succession.stands_still() {
            return Err(format!("no session got there for {} s; {}", STANDSTILL.as_secs(), succession.last_why));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Everything goes to the successor.
struct Succession {
    to: Node,
    moved_at: Instant,
    last_why: String,
}

impl Succession {
    fn stands_still(&self) -> bool {
        self.moved_at.elapsed() > STANDSTILL
    }
}

impl Occasion for Succession {
    /// Nowhere once none got there for long: however many are left, it is over when those that are under way are.
    async fn target(&mut self, _desk: &Desk, _session: &str, _name: &SessionName) -> Option<(Node, Motive)> {
        (!self.stands_still()).then_some((self.to, Motive::Order))
    }

    async fn note(&mut self, desk: &Desk, session: &str, given: &Given) {
        match given {
            Given::There(..) => {
                self.moved_at = Instant::now();
                desk.upgrades.note(|shown| shown.moved += 1);
            }
            Given::NotTaken(_, why) => {
                self.last_why = format!("{session}: {why}");
                tracing::debug!(session, why, "a session does not go to the successor yet");
            }
            Given::Nowhere | Given::Vanished => {}
        }
    }
}
