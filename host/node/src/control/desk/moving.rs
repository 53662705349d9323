//! A session goes to another node, step by step; whoever orders it asks until it is there.

use ringside_core::ids::{Node, NodeId, SessionId};
use ringside_core::leadership::leader::MoveError;
use ringside_core::leadership::record::Motive;
use ringside_core::rebalance::Going;
use ringside_worker::Command;
use ringside_worker::command::MoveRefused;

use super::Desk;
use crate::control::{ControlError, MoveState, Reply, SessionName};
use crate::limits::DEPARTED;

impl Desk {
    /// Where a session of this node goes when it leaves, if not to these.
    pub(super) fn elsewhere(&mut self, name: &SessionName, tried: &[NodeId], reply: Reply<Option<Node>>) {
        let session = self.find(name).map(|entry| entry.id.clone());
        let place = session.map(|session| self.directory.elsewhere(&session, tried));
        let _ = reply.send(place.ok_or_else(|| ControlError::NoSuchSession(name.to_string())));
    }

    /// What is to go to other nodes by itself now. A node that leaves, or has not arrived, keeps what it has for that.
    pub(super) fn wave(&mut self, now: u64, at_most: usize, reply: Reply<Vec<Going>>) {
        let wave = match self.draining || self.joining || self.recovering {
            true => Vec::new(),
            false => self.directory.wave(now, at_most),
        };
        let _ = reply.send(Ok(wave));
    }

    /// A session that was led here is led by another node. Who asks for no followers is not followed here for long, and whoever
    /// moves it asks a little later where it is.
    pub(super) fn note_departed(&mut self, session: &SessionId, to: Node) {
        if self.departed.len() == DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back((session.clone(), to));
    }

    /// The next step. A session that is followed here is led by whom its follower knows, one that has just left by whom it went to.
    pub(super) fn move_session(
        &mut self,
        now: u64,
        name: &SessionName,
        (to, motive): (Node, Motive),
        reply: Reply<MoveState>,
    ) {
        let me = self.directory.me();
        let Some(entry) = self.find(name) else {
            let followed = self.directory.followed().find(|(session, ..)| name.is(session));
            let left = || self.departed.iter().rev().find(|(session, _)| name.is(session)).map(|(_, to)| *to);
            let leader = followed.map(|(.., leader)| leader.node).or_else(left);
            let _ = reply.send(leader.map(MoveState::Led).ok_or_else(|| ControlError::NoSuchSession(name.to_string())));
            return;
        };
        let (session, worker) = (entry.id.clone(), entry.worker);
        let is_there = self.is_beside(to) || self.view.as_ref().is_some_and(|view| view.has(to));
        let at_once = match () {
            () if to == me => Some(MoveState::Led(me)),
            () if !is_there => Some(MoveState::Refused(format!("node {} is not in the cluster any more", to.id))),
            () => None,
        };
        if let Some(state) = at_once {
            let _ = reply.send(Ok(state));
            return;
        }
        // Said at each step: one that is not said again for a while is let go of.
        self.directory.handle_wanted(now, &session, to);
        let Some(member) = self.directory.followers(&session).into_iter().find(|member| member.node == to) else {
            let _ = reply.send(Ok(MoveState::Waits("does not follow it: it may have no room, or not its module")));
            return;
        };
        // A full queue drops the order and with it the reply: the caller hears that the node is overloaded.
        let answer = Box::new(move |begun: Result<(), MoveRefused>| {
            let state = match begun {
                Ok(()) => MoveState::Begun,
                Err(MoveRefused::Leader(MoveError::NotInSync)) => MoveState::Waits(
                    "follows it and is not in sync: it is behind, or the session has all that it asks for",
                ),
                Err(MoveRefused::Leader(MoveError::Busy)) => MoveState::Waits("waits for another change of its record"),
                // The directory will hear of that, too.
                Err(MoveRefused::NotHere) => MoveState::Waits("waits for who leads it now"),
            };
            let _ = reply.send(Ok(state));
        });
        let _ = self.send(worker, Command::Move { session, to: member, motive, reply: answer });
    }
}
