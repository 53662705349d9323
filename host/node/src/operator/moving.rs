//! A session is led by another node because an operator says so, or because its node leaves: the node that leads it makes
//! the other one follow first, then gives it the lead, and answers when the other has it.

use std::time::Duration;

use ringside_core::ids::Node;
use ringside_core::leadership::record::Motive;
use tokio::time::Instant;

use super::{Desk, everywhere, here};
use crate::admin::ApiError;
use crate::api::Moved;
use crate::cluster::peers::Outcome;
use crate::cluster::wire::Ask;
use crate::control::{ControlError, MoveState, SessionName};

/// How long a move may take: a node that does not follow yet begins with a checkpoint.
const MOVING: Duration = Duration::from_secs(20);
/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(20);
/// How long another node may take to answer that it has moved a session.
const PATIENCE: Duration = Duration::from_secs(25);

/// Has a node lead a session, whoever leads it now.
///
/// # Errors
/// Why it was not moved; it is led where it was, unless that node is gone.
pub async fn anywhere(desk: &Desk, name: SessionName, to: &str) -> Result<Moved, ApiError> {
    let to = here::named(desk, to)?.node;
    match from_here(desk, name.clone(), (to, Motive::Order), MOVING, |_| ()).await {
        Ok(moved) => return Ok(moved),
        Err(Stuck::NotHere) => {}
        Err(stuck) => return Err(stuck.into_error(&name, to)),
    }
    // Whoever leads it answers when it is done; all others at once, that they do not.
    let ask = Ask::Move { session: name.to_string(), to };
    let others = desk.peers.ask_others::<Moved>(ask, PATIENCE).await;
    let mut why = None;
    for (_, outcome) in &others.answers {
        match outcome {
            Outcome::Is(moved) => return Ok(moved.clone()),
            Outcome::Failed(failure) if failure.error != "no_such_session" => why = Some(failure.clone()),
            Outcome::Failed(_) => {}
        }
    }
    Err(why.map_or_else(|| everywhere::nowhere(&name, others), ApiError::from))
}

/// The same, if this node leads it.
///
/// # Errors
/// [`anywhere`].
pub async fn here(desk: &Desk, name: SessionName, to: Node) -> Result<Moved, ApiError> {
    from_here(desk, name.clone(), (to, Motive::Order), MOVING, |_| ())
        .await
        .map_err(|stuck| stuck.into_error(&name, to))
}

/// Why it was not moved.
pub(crate) enum Stuck {
    NotHere,
    Control(ControlError),
    Refused(String),
    /// Another node leads it now.
    Elsewhere(Node),
    /// It is led here still, and that is how the other node stands to it.
    TimedOut(&'static str),
}

impl Stuck {
    /// In words, for a session that was to go to a node.
    pub(crate) fn to_string(&self, to: Node) -> String {
        match self {
            Stuck::NotHere => "it is not led here".to_owned(),
            Stuck::Control(error) => error.to_string(),
            Stuck::Refused(why) => why.clone(),
            Stuck::Elsewhere(node) => format!("node {} came to lead it meanwhile", node.id),
            Stuck::TimedOut(why) => format!("node {} {why}", to.id),
        }
    }

    fn into_error(self, name: &SessionName, to: Node) -> ApiError {
        match self {
            Stuck::NotHere => ControlError::NoSuchSession(name.to_string()).into(),
            Stuck::Control(error) => error.into(),
            Stuck::Refused(why) => ApiError::not_moved(why),
            Stuck::Elsewhere(_) => ApiError::not_moved(self.to_string(to)),
            Stuck::TimedOut(_) => ApiError::move_late(self.to_string(to)),
        }
    }
}

/// Gives a session of this node to another for a reason, within a time; whoever asks is told now and then why it is still
/// here.
pub(crate) async fn from_here(
    desk: &Desk,
    name: SessionName,
    (to, motive): (Node, Motive),
    patience: Duration,
    mut is_here: impl FnMut(&str),
) -> Result<Moved, Stuck> {
    let (began, me) = (Instant::now(), desk.peers.me());
    let session = match desk.control.session(name.clone()).await {
        Ok(info) if info.state == "live" => info.session,
        Ok(_) | Err(ControlError::NoSuchSession(_)) => return Err(Stuck::NotHere),
        Err(error) => return Err(Stuck::Control(error)),
    };
    // By now another may have its key.
    let name = session.parse().unwrap_or(name);
    let mut why = "does not follow it";
    while began.elapsed() < patience {
        match desk.control.move_session(name.clone(), to, motive).await.map_err(Stuck::Control)? {
            MoveState::Led(node) if node == to => {
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                let (from, to) = (me.id.to_string(), to.id.to_string());
                return Ok(Moved { session, was_there: from == to, from, to, took_ms });
            }
            MoveState::Led(node) => return Err(Stuck::Elsewhere(node)),
            MoveState::Begun => why = "did not come to lead it",
            MoveState::Waits(still) => why = still,
            MoveState::Refused(why) => return Err(Stuck::Refused(why)),
        }
        is_here(why);
        tokio::time::sleep(LOOK).await;
    }
    Err(Stuck::TimedOut(why))
}
