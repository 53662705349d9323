//! Finding the cluster: the nodes named with `--join`, and those that were there when this node ran last, are greeted
//! until one answers. What is wrong (another cluster's secret, a number that is taken, another release) ends the start
//! with a reason; silence is waited out for a while, that of remembered nodes for a moment only: they may be gone for
//! good.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::links::{Hello, LinkError, Links, Refusal};
use super::wire::Message;

/// How long nodes that are to be joined may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nodes that are only remembered may take.
const REMEMBERED_PATIENCE: Duration = Duration::from_secs(3);
/// How long further answers are waited for after the first.
const MORE: Duration = Duration::from_millis(300);
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
    silence: Option<LinkError>,
}

/// Those who answer: at least one, unless none was named.
///
/// # Errors
/// [`LinkError`]: the first refusal, or the last silence of those who were named.
pub async fn seeds(links: &Links<Message>, candidates: Candidates<'_>) -> Result<Vec<Hello>, LinkError> {
    let Candidates { named, remembered } = candidates;
    if named.is_empty() && remembered.is_empty() {
        return Ok(Vec::new());
    }
    let patience = if named.is_empty() { REMEMBERED_PATIENCE } else { PATIENCE };
    let deadline = Instant::now() + patience;
    let mut has_said = false;
    loop {
        let round = greet(links, candidates, deadline).await?;
        if !round.found.is_empty() {
            return Ok(round.found);
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
async fn greet(links: &Links<Message>, candidates: Candidates<'_>, mut until: Instant) -> Result<Round, LinkError> {
    let Candidates { named, remembered } = candidates;
    let remembered = remembered.iter().filter(|address| !named.contains(address));
    let all = named.iter().map(|address| (*address, true)).chain(remembered.map(|address| (*address, false)));
    let mut greetings: FuturesUnordered<_> =
        all.map(async |(address, is_named)| (is_named, links.greet(address).await)).collect();
    let mut round = Round::default();
    while let Ok(Some((is_named, answer))) = timeout_at(until, greetings.next()).await {
        match answer {
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
