//! How a load gets a seat at a measured worker: the open frame and its answer, over a connection that it made itself.

use std::sync::Arc;

use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime};
use ringside_protocol::frame::{ClientFrame, FrameDecoder, Mode, Open, ServerFrame, Target, VERSION, WireFrame};

use crate::bench::BenchError;
use crate::identity::Door;
use crate::machine::load_socket;

/// A seat, and the stream that it was opened on.
pub struct Inside {
    /// To the worker.
    pub send: SendStream,
    /// From the worker.
    pub receive: RecvStream,
    /// Holds what came behind the answer.
    pub decoder: FrameDecoder<ServerFrame>,
    /// The player's slot.
    pub slot: u16,
}

/// An endpoint of a load.
pub fn endpoint() -> Result<Endpoint, BenchError> {
    let socket = load_socket().map_err(BenchError::setup)?;
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime)).map_err(BenchError::setup)
}

/// The open frame of a player for a session.
pub fn open(door: &Door, player: &str, game: &str, key: &str) -> Result<Vec<u8>, BenchError> {
    open_with(door.token(player, 0)?, game, key, false)
}

/// The same with a token of the caller's, and for who wants to be relayed.
pub fn open_with(token: String, game: &str, key: &str, relay: bool) -> Result<Vec<u8>, BenchError> {
    let target = Target::Session {
        game: game.parse().map_err(BenchError::setup)?,
        key: key.parse().map_err(BenchError::setup)?,
    };
    let open = Open { version: VERSION, token, target, mode: Mode::Attach, resume: None, ticket: None, relay };
    Ok(ClientFrame::Open(Box::new(open)).to_bytes().to_vec())
}

/// Opens and waits for the seat.
pub async fn enter(connection: &Connection, open: &[u8]) -> Result<Inside, BenchError> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(BenchError::setup)?;
    send.write_all(open).await.map_err(BenchError::setup)?;
    let mut decoder = FrameDecoder::<ServerFrame>::default();
    let mut buffer = [0; 4096];
    loop {
        let length = receive.read(&mut buffer).await.map_err(BenchError::setup)?;
        let mut rest = &buffer[..length.ok_or_else(|| BenchError::Child("closed the stream".into()))?];
        match decoder.next(&mut rest).map_err(BenchError::setup)? {
            // Nothing follows the answer before the player speaks or the game has something to say; views are datagrams.
            Some(ServerFrame::Attached(attached)) => {
                while decoder.next(&mut rest).map_err(BenchError::setup)?.is_some() {}
                return Ok(Inside { send, receive, decoder, slot: attached.slot.0 });
            }
            Some(other) => return Err(BenchError::Child(format!("answered {other:?} to a player"))),
            None => {}
        }
    }
}
