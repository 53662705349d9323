//! Finding the cluster: the nodes named with `--join` are greeted until one answers. What is wrong (another cluster's
//! secret, a number that is taken, another release) ends the start with a reason; silence is waited out for a while.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::links::{Hello, LinkError, Links};
use super::wire::Message;

/// How long nodes that are to be joined may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// Where the gossip of those who answer is reached; at least one does.
///
/// # Errors
/// [`LinkError`]: the first refusal, or the last silence.
pub async fn seeds(links: &Links<Message>, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, LinkError> {
    let deadline = Instant::now() + PATIENCE;
    let mut has_said = false;
    loop {
        let greetings = addresses.iter().map(|address| links.greet(*address));
        let answers: Vec<Result<Hello, LinkError>> = futures_util::future::join_all(greetings).await;
        let mut found = Vec::new();
        let mut silence = None;
        for answer in answers {
            match answer {
                Ok(hello) => found.push(hello.gossip),
                Err(error @ LinkError::Unreachable { .. }) => silence = Some(error),
                Err(error) => return Err(error),
            }
        }
        match silence {
            _ if !found.is_empty() || addresses.is_empty() => return Ok(found),
            Some(error) if Instant::now() >= deadline => return Err(error),
            silence => {
                if let (Some(error), false) = (silence, has_said) {
                    tracing::info!(%error, "waiting for a node to join");
                    has_said = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
