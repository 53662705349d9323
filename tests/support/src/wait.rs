//! Waiting for events, with a bound that only a broken program reaches. No test sleeps for a fixed time.

use std::time::Duration;

/// How long anything that must happen may take, on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What `event` brings.
///
/// # Panics
/// If it does not come within [`PATIENCE`]; `what` says what was waited for.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(brought) => brought,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Asks again and again until `ask` has an answer: for facts that only a question to another process can find out.
///
/// # Panics
/// As [`within`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
