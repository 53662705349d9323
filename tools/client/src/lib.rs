//! A Ringside client: connects to a session, sends messages and datagrams, receives views, messages and datagrams,
//! and makes lost connections and moves invisible.
//!
//! [`core`] is the protocol as a state machine without I/O, clock or threads; [`shell`] drives it with quinn and
//! tokio, and is what applications use:
//!
//! ```no_run
//! # async fn play() -> Result<(), Box<dyn std::error::Error>> {
//! use ringside_client::{Client, Event, Options, Trust};
//!
//! let options = Options::new(["127.0.0.1:4433".parse()?], Trust::InsecureLoopback, "token", "pong/one")?;
//! let mut client = Client::connect(options).await?;
//! client.send(&b"hello"[..])?;
//! while let Some(event) = client.next().await {
//!     if let Event::View(view) = event {
//!         println!("tick {}: {} bytes", view.tick, view.body.len());
//!     }
//! }
//! # Ok(()) }
//! ```

pub mod core;
pub mod shell;

pub use ringside_protocol as protocol;

pub use crate::core::{Arrival, Attachment, Event, SendError, TargetText};
pub use crate::shell::{Client, ConnectError, Options, Sender, Trust, resolve};
