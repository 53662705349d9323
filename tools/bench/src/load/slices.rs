//! Loads that work in slices: the parent says `slice MILLISECONDS`, the load works for that long and answers with one
//! JSON line. Between slices it is silent, so that two loads can take turns.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::bench::BenchError;

/// The parent's wishes.
pub struct Wishes(mpsc::UnboundedReceiver<Duration>);

impl Wishes {
    /// Says `ready` and listens from now on. When the input ends, so does the process.
    pub fn listen() -> Wishes {
        let (sender, receiver) = mpsc::unbounded_channel();
        println!("ready");
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                let wish = line.strip_prefix("slice ").and_then(|text| text.parse().ok()).map(Duration::from_millis);
                if wish.is_none_or(|wish| sender.send(wish).is_err()) {
                    break;
                }
            }
            std::process::exit(0);
        });
        Wishes(receiver)
    }

    /// The next slice's length.
    pub async fn next(&mut self) -> Option<Duration> {
        self.0.recv().await
    }
}

/// Answers the parent.
pub fn reply(answer: &impl Serialize) -> Result<(), BenchError> {
    println!("{}", serde_json::to_string(answer).map_err(BenchError::setup)?);
    Ok(())
}
