//! The successor's side: says what it is, starts its workers beside the old process's, takes the sessions, then the sockets,
//! and is the node.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use ringside_core::ids::Node;
use ringside_core::membership::View;
use ringside_core::routing::tickets::era;
use ringside_sandbox::CHECKPOINT_VERSION;
use ringside_sandbox::checkpoint_versions::{self, For};
use ringside_worker::replication::Contacts;
use tokio::time::timeout;

use super::channel::{self, Ear, Heard, Mouth, Sockets};
use super::formats::Formats;
use super::messages::{Cluster, Hello, Said};
use crate::cluster::wire::Message as PeerMessage;
use crate::config::Config;
use crate::control::{self, Companion, Control};
use crate::hex;
use crate::node::{Begun, Kept, NodeError, Running};
use crate::pace::every;
use crate::state_directory::find_node;

/// How long the old process may take to answer.
const WELCOME: Duration = Duration::from_secs(15);
/// How often this one says that it is there.
const ALIVE: Duration = Duration::from_millis(250);
/// How long the old process may take to end, which has given everything.
const FAREWELL: Duration = Duration::from_secs(6);
/// How often it is looked whether the old process counts anywhere where it need not.
const LOOK: Duration = Duration::from_millis(20);
/// How long what it had may stay in use after it was killed.
const BINDING: Duration = Duration::from_secs(15);

/// How soon it is tried again to bind what the old process has had.
const BIND_AGAIN: Duration = Duration::from_millis(20);

/// What a successor begins with that has its sockets.
pub struct Succession {
    /// The sockets.
    pub sockets: Sockets,
    /// The run before.
    pub former: Node,
    /// Its process, as the node's file says while it is the node.
    pub process: Option<u32>,
    /// The cluster as that run saw it last.
    pub view: Arc<View>,
    /// Whether that run ended before it had given everything.
    pub is_cut_short: bool,
}

fn refused(why: impl Into<String>) -> NodeError {
    NodeError::Handover(why.into())
}

/// Takes over from the process at the other end of standard input.
///
/// # Errors
/// It does not take this one, or is gone without a reason to go on.
pub async fn run(mut config: Config) -> Result<Running, NodeError> {
    let stream = std::io::stdin().as_fd().try_clone_to_owned().map_err(NodeError::System)?;
    let (mouth, mut ear) = channel::open(UnixStream::from(stream)).map_err(NodeError::System)?;
    let release = env!("CARGO_PKG_VERSION").to_owned();
    mouth.say(&Said::Hello(Hello { release, formats: Formats::own(), objects: true, spares: true }));
    let (former, cluster) = match ear.next_said(WELCOME).await {
        Some(Said::Welcome { node, cluster, checkpoint }) => {
            // It follows what it gave, and takes what it is sent of that. One that says nothing of versions knows the first.
            let newest = checkpoint.unwrap_or(CHECKPOINT_VERSION);
            checkpoint_versions::write_at_most(For::Predecessor, Some(newest));
            (node, cluster)
        }
        Some(Said::Refused { why }) => return Err(refused(why)),
        Some(_) => return Err(refused("the process that is to be succeeded says what makes no sense")),
        None => return Err(refused("no process that is to be succeeded answers on standard input")),
    };
    // The old process has the configured ones.
    let configured = config.clone();
    config.listen.set_port(0);
    config.peers = Some(config.peers()).map(|mut at| {
        at.set_port(0);
        at
    });
    let (begun, process) = match begin(config, former).await {
        Ok(begun) => begun,
        Err(error) => {
            mouth.say(&Said::Failed { why: error.to_string() });
            // It is read before this process ends.
            let _ = timeout(ALIVE, ear.next()).await;
            return Err(error);
        }
    };
    let control = begun.control().clone();
    let mut view = cluster.view();
    accompany(&control, former, &view, &cluster, mouth.clone()).await;
    mouth.say(&begun.ready());
    let mut has_all = false;
    let taken = take_sessions(&begun, &control, (&mouth, &mut ear), former, (&mut view, &mut has_all)).await;
    let (sockets, is_cut_short) = match taken {
        Some(sockets) => {
            // Who counts on the old process does so no longer.
            control.heard(control::Message::Parted { node: former, is_over: false }).await;
            let _ = control.status().await;
            mouth.say(&Said::Taken);
            wait_for_end(&mut ear).await;
            (sockets, false)
        }
        None if control.sessions().await.is_ok_and(|sessions| !sessions.is_empty()) => {
            tracing::error!(
                "the process before ended in the middle of the handover: its sessions are lost but for those here"
            );
            control.heard(control::Message::Parted { node: former, is_over: true }).await;
            (bind(&begun, &configured).await?, !has_all)
        }
        None => return Err(refused("the process before ended, or has given this one up")),
    };
    checkpoint_versions::write_at_most(For::Predecessor, None);
    begun.succeed(Succession { sockets, former, process, view, is_cut_short }).await
}

/// Binds what the process before has had. One that was killed may still be ending: of its descriptors those of sockets are not
/// the first to be closed.
async fn bind(begun: &Begun, config: &Config) -> Result<Sockets, NodeError> {
    let until = tokio::time::Instant::now() + BINDING;
    loop {
        match begun.bind(config).await {
            Err(error) if is_in_use(&error) && tokio::time::Instant::now() < until => {
                tracing::debug!(%error, "the sockets of the process before are not free yet");
                tokio::time::sleep(BIND_AGAIN).await;
            }
            bound => return bound,
        }
    }
}

fn is_in_use(error: &NodeError) -> bool {
    let mut causes = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    causes.any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    })
}

/// Also the process that is succeeded.
async fn begin(config: Config, former: Node) -> Result<(Begun, Option<u32>), NodeError> {
    let kept = Kept::open_beside(config)?;
    let process = find_node(kept.state.path()).ok().map(|file| file.pid);
    if kept.identity.node != former.id.0 || kept.identity.generation <= former.generation {
        return Err(refused("it is started on another state directory than the node that it is to succeed"));
    }
    let mut begun = Begun::start(kept).await?;
    begun.run();
    Ok((begun, process))
}

/// Workers and directory learn of the old process, and of the cluster.
async fn accompany(control: &Control, former: Node, view: &Arc<View>, cluster: &Cluster, mouth: Mouth) {
    let eras = cluster.eras();
    let seen = view.node(former.id);
    let contacts = seen.map(|seen| Contacts {
        peers: seen.contact.peers.clone(),
        workers: seen.contact.workers.clone(),
        certificate: seen.contact.certificate,
        era: eras.get(&former).copied().unwrap_or_default(),
    });
    let Some(contacts) = contacts else { return };
    let outlet = Box::new(move |message: &PeerMessage| mouth.tell(message));
    let companion = Companion { node: former, contacts, outlet, passage: None, is_successor: false };
    control.heard(control::Message::Companion(Box::new(companion))).await;
    show(control, view, eras).await;
}

async fn show(control: &Control, view: &Arc<View>, eras: BTreeMap<Node, u32>) {
    control.eras(eras).await;
    control.view(Arc::clone(view)).await;
}

/// Takes sessions until the sockets come; none if the old process is gone without. Notes the cluster as it is, and when all
/// sessions were given.
async fn take_sessions(
    begun: &Begun,
    control: &Control,
    (mouth, ear): (&Mouth, &mut Ear),
    former: Node,
    (view, has_all): (&mut Arc<View>, &mut bool),
) -> Option<Sockets> {
    let (mut alive, mut look) = (every(ALIVE), every(LOOK));
    let mut is_sparing = false;
    loop {
        tokio::select! {
            heard = ear.next() => match heard? {
                Heard::Directory(message) => {
                    if let PeerMessage::Directory { to, message } = *message
                        && to == begun.me()
                    {
                        control.heard(control::Message::Directory(former, message)).await;
                    }
                }
                Heard::Checkpoint { from, to, body } => {
                    control.heard(control::Message::Passed { from, to, body }).await;
                }
                Heard::Said(Said::Cluster(cluster), _) => {
                    *view = cluster.view();
                    let eras = cluster.eras();
                    control.heard(control::Message::CompanionEra(eras.get(&former).copied().unwrap_or_default())).await;
                    show(control, view, eras).await;
                }
                Heard::Said(Said::Spare, _) => {
                    control.heard(control::Message::Spare(former)).await;
                    (is_sparing, *has_all) = (true, true);
                }
                Heard::Said(Said::Take, descriptors) => return Sockets::of(descriptors),
                Heard::Said(..) => {}
            },
            _ = look.tick(), if is_sparing => {
                if control.status().await.is_ok_and(|status| status.spare == 0) {
                    // What finds no room is said again.
                    is_sparing = !mouth.say(&Said::Spared { left: 0 });
                }
            }
            _ = alive.tick() => {
                mouth.say(&Said::Alive { era: era(begun.started().elapsed().as_micros() as u64) });
                // A worker may have come to lead the last ones after it was told.
                if is_sparing {
                    control.heard(control::Message::Spare(former)).await;
                    if let Ok(left) = control.status().await.map(|status| status.spare) {
                        mouth.say(&Said::Spared { left });
                    }
                }
            }
        }
    }
}

/// Two processes never read one socket.
async fn wait_for_end(ear: &mut Ear) {
    let end = async { while ear.next().await.is_some() {} };
    if timeout(FAREWELL, end).await.is_err() {
        tracing::warn!("the process before has given everything and has not ended yet");
    }
}

impl Begun {
    /// What the old process is told when sessions may come.
    fn ready(&self) -> Said {
        let (workers, peers, certificate) = self.contacts();
        Said::Ready { node: self.me(), workers, peers, certificate: hex::encode(&certificate.0), games: self.games() }
    }
}
