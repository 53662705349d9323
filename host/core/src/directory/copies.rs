//! A home's copies of its sessions' leadership records: what a candidate for the lead asks for who cannot reach all
//! members of the record that it knows. They decide nothing; they are kept as long as the entry is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::Context;
use crate::ids::{Node, SessionId};
use crate::leadership::message::Message;
use crate::leadership::record::{Copy, Record};
use crate::limits::RECORD_COPIES;

/// The copies of this node.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<SessionId, Copy>);

impl Copies {
    /// A leader or follower says something. The answer, if there is one. One who tells a record for which there is no
    /// room hears nothing, and tells it again.
    pub fn handle(&mut self, session: &SessionId, message: Message) -> Option<Message> {
        match message {
            Message::Lead { record, .. } if record.session == *session => {
                if !self.0.contains_key(session) && self.0.len() >= RECORD_COPIES {
                    return None;
                }
                let newest = self.0.entry(session.clone()).or_default().told(&Arc::new(*record));
                Some(Message::Lead { record: Box::new(Record::clone(&newest)), end: None })
            }
            Message::Ask(ask) if ask.record.session == *session => {
                let unknown = Copy::default();
                Some(Message::Answer(self.0.get(session).unwrap_or(&unknown).answer(&ask)))
            }
            _ => None,
        }
    }

    /// Whether somebody else than a node may come to lead a session, or leads it.
    pub fn may_go_on_without(&self, cx: &Context<'_>, session: &SessionId, without: Node) -> bool {
        let Some(record) = self.0.get(session).and_then(Copy::newest) else { return false };
        record.members().any(|member| member.node != without && cx.cluster.present.contains(&member.node))
    }

    /// A session is over, or another home's.
    pub fn forget(&mut self, session: &SessionId) {
        self.0.remove(session);
    }

    /// Forgets all but these.
    pub fn retain(&mut self, keep: impl Fn(&SessionId) -> bool) {
        self.0.retain(|session, _| keep(session));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The newest record of a session.
    pub fn newest(&self, session: &SessionId) -> Option<&Arc<Record>> {
        self.0.get(session)?.newest()
    }
}
