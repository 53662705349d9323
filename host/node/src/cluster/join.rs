//! Finding the cluster: the nodes named with `--join`, and those that were there when this node ran last, are greeted
//! until one answers. What is wrong (another cluster's secret, a number that is taken, another release) ends the start
//! with a reason; silence is waited out for a while, that of remembered nodes for a moment only: they may be gone for
//! good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ringside_core::ids::Node;
use ringside_core::membership::View;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::links::{Hello, LinkError, Links, Refusal};
use super::wire::Message;

/// How long nodes that are to be joined may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nodes that are only remembered may take.
const REMEMBERED_PATIENCE: Duration = Duration::from_secs(3);
/// How long further answers are waited for after the first.
const MORE: Duration = Duration::from_millis(300);
/// How long a node that found others over their links waits for their gossip before it says so.
const SAY: Duration = Duration::from_secs(10);
/// How long it waits in all.
const GIVE_UP: Duration = Duration::from_secs(60);
/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// Nodes that may be there.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// They are there, says whoever starts the node.
    pub named: &'a [SocketAddr],
    /// They were there when this node ran last.
    pub remembered: &'a [SocketAddr],
}

/// What the greetings of a round said.
#[derive(Debug, Default)]
struct Round {
    found: Vec<Hello>,
    /// Where this node itself answers: who joins only itself would wait for ever.
    itself: Option<SocketAddr>,
    silence: Option<LinkError>,
}

/// Those who answer: at least one, unless none was named.
///
/// # Errors
/// [`LinkError`]: the first refusal, or the last silence of those who were named.
pub async fn seeds(links: &Links<Message>, me: Node, candidates: Candidates<'_>) -> Result<Vec<Hello>, LinkError> {
    let Candidates { named, remembered } = candidates;
    if named.is_empty() && remembered.is_empty() {
        return Ok(Vec::new());
    }
    let patience = if named.is_empty() { REMEMBERED_PATIENCE } else { PATIENCE };
    let deadline = Instant::now() + patience;
    let mut has_said = false;
    loop {
        let round = greet(links, me, candidates, deadline).await?;
        if !round.found.is_empty() {
            return Ok(round.found);
        }
        if let (Some(address), None, false) = (round.itself, &round.silence, named.is_empty()) {
            return Err(LinkError::Itself { address });
        }
        if Instant::now() >= deadline {
            if named.is_empty() {
                tracing::info!("none of the nodes that were there last time answers: this one begins alone");
            }
            return round.silence.filter(|_| !named.is_empty()).map_or(Ok(Vec::new()), Err);
        }
        if let (Some(error), false) = (round.silence, has_said) {
            tracing::info!(%error, "waiting for a node to join");
            has_said = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Greets all at a time. Once one has answered the others have a moment.
async fn greet(
    links: &Links<Message>,
    me: Node,
    candidates: Candidates<'_>,
    mut until: Instant,
) -> Result<Round, LinkError> {
    let Candidates { named, remembered } = candidates;
    let remembered = remembered.iter().filter(|address| !named.contains(address));
    let all = named.iter().map(|address| (*address, true)).chain(remembered.map(|address| (*address, false)));
    let mut greetings: FuturesUnordered<_> =
        all.map(async |(address, is_named)| (is_named, links.greet(address).await)).collect();
    let mut round = Round::default();
    while let Ok(Some((is_named, answer))) = timeout_at(until, greetings.next()).await {
        match answer {
            Ok(hello) if hello.node == me.id.0 => round.itself = Some(hello.links),
            Ok(hello) => {
                until = until.min(Instant::now() + MORE);
                round.found.push(hello);
            }
            Err(error @ LinkError::Unreachable { .. }) if is_named => round.silence = Some(error),
            // Others may have come to the address of a node that was there once.
            Err(LinkError::Unreachable { .. } | LinkError::OtherCluster { .. }) if !is_named => {}
            Err(LinkError::Refused { refusal: Refusal::Busy, .. }) if !is_named => {}
            Err(error) => return Err(error),
        }
    }
    Ok(round)
}

/// Links to other nodes answer, their gossip does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "links answer, gossip does not: nothing was heard for {0} s from the nodes that were found; let UDP through to and \
     from the gossip addresses of all nodes (--gossip, `ringside node show`)"
)]
pub struct NoGossip(u64);

/// Returns when another node is in the view.
///
/// # Errors
/// [`NoGossip`] after a minute.
pub async fn heard(views: watch::Receiver<Arc<View>>) -> Result<(), NoGossip> {
    heard_within(views, SAY, GIVE_UP).await
}

async fn heard_within(mut views: watch::Receiver<Arc<View>>, say: Duration, give_up: Duration) -> Result<(), NoGossip> {
    let start = Instant::now();
    let mut has_others = async |until| {
        let others = views.wait_for(|view| view.nodes().count() > 1);
        // Where views end, so does the node: that is said elsewhere.
        timeout_at(until, others).await.is_ok()
    };
    if has_others(start + say).await {
        return Ok(());
    }
    tracing::warn!("{}", NoGossip(say.as_secs()));
    match has_others(start + give_up).await {
        true => Ok(()),
        false => Err(NoGossip(give_up.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::SystemTime;

    use ringside_core::ids::NodeId;
    use tokio::sync::mpsc;

    use super::super::links::VERSIONS;
    use super::super::secret::ClusterSecret;
    use super::*;

    fn start(secret: &ClusterSecret, node: u64) -> (Links<Message>, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let links = socket.local_addr().unwrap();
        let own = Hello { versions: VERSIONS, node, generation: 1, links, gossip: links };
        let (inbox, _) = mpsc::channel(1);
        (Links::start(own, secret, socket, Arc::new(|_| Ok(())), inbox).unwrap(), links)
    }

    #[tokio::test]
    async fn a_node_does_not_find_itself() {
        let secret = ClusterSecret::generate(SystemTime::now()).unwrap();
        let ((one, own), (_two, other)) = (start(&secret, 1), start(&secret, 2));
        let me = Node { id: NodeId(1), generation: 1 };
        let seeds = async |named: &[SocketAddr], remembered: &[SocketAddr]| {
            let found = super::seeds(&one, me, Candidates { named, remembered }).await;
            found.map(|found| found.into_iter().map(|hello| hello.node).collect::<Vec<_>>())
        };
        assert_eq!(seeds(&[own, other], &[]).await.unwrap(), [2]);
        assert_eq!(seeds(&[], &[own, other]).await.unwrap(), [2]);
        let error = seeds(&[own], &[]).await.unwrap_err();
        assert!(error.to_string().contains("is this node itself"), "{error}");
    }

    #[tokio::test]
    async fn gossip_that_is_not_heard_ends_the_start_with_a_reason() {
        let (_views, view) = watch::channel(Arc::new(View::new([])));
        let error = heard_within(view, Duration::ZERO, Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().starts_with("links answer, gossip does not"), "{error}");
    }
}
