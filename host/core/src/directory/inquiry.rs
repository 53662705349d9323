//! The question before creation: which nodes are asked for which names. One question to a node is on its way at a time;
//! names that come up meanwhile go together in the next, so that a change of the ring under load costs a few messages.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, RESEND_US, Timer};
use super::message::{Lead, Message, Name};
use crate::ids::Node;
use crate::limits::QUESTION_NAMES;
use crate::ring::RingDigest;

#[derive(Debug, Default)]
struct Inquiry {
    /// The question that is on its way.
    sent: Option<(u64, BTreeSet<Name>)>,
    next: BTreeSet<Name>,
}

/// The questions to all nodes.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    last: u64,
    nodes: BTreeMap<Node, Inquiry>,
}

impl Inquiries {
    /// A node is to be asked for a name.
    pub fn ask(&mut self, cx: &mut Context<'_>, node: Node, name: &Name) {
        let inquiry = self.nodes.entry(node).or_default();
        if inquiry.sent.as_ref().is_none_or(|(_, names)| !names.contains(name)) {
            inquiry.next.insert(name.clone());
        }
        self.send_next(cx, node);
    }

    /// An answer came. The names that it answers, each with what is known of it; empty if it means nothing.
    pub fn handle_told(
        &mut self,
        cx: &mut Context<'_>,
        from: Node,
        number: u64,
        ring: RingDigest,
        known: Vec<Lead>,
    ) -> Vec<(Name, Option<Lead>)> {
        let Some(inquiry) = self.nodes.get_mut(&from) else { return Vec::new() };
        if inquiry.sent.as_ref().is_none_or(|(asked, _)| *asked != number) || ring != cx.cluster.digest() {
            // Another ring: it could still be ordered to lead what it denies. It is asked again.
            return Vec::new();
        }
        let (_, names) = inquiry.sent.take().unwrap_or_default();
        cx.timers.cancel(&Timer::Inquiry(from));
        let mut known: BTreeMap<Name, Lead> =
            known.into_iter().map(|lead| (super::message::name_of(&lead.session), lead)).collect();
        self.send_next(cx, from);
        names.into_iter().map(|name| (known.remove(&name), name)).map(|(lead, name)| (name, lead)).collect()
    }

    /// No answer came: the question is repeated. The names in it.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>, node: Node) -> Vec<Name> {
        let Some((number, names)) = self.nodes.get(&node).and_then(|inquiry| inquiry.sent.as_ref()) else {
            return Vec::new();
        };
        send(cx, node, *number, names);
        names.iter().cloned().collect()
    }

    /// The ring changed: all questions are moot.
    pub fn clear(&mut self, cx: &mut Context<'_>) {
        std::mem::take(&mut self.nodes).into_keys().for_each(|node| cx.timers.cancel(&Timer::Inquiry(node)));
    }

    /// A node is gone.
    pub fn handle_gone(&mut self, cx: &mut Context<'_>, node: Node) {
        self.nodes.remove(&node);
        cx.timers.cancel(&Timer::Inquiry(node));
    }

    fn send_next(&mut self, cx: &mut Context<'_>, node: Node) {
        let Some(inquiry) = self.nodes.get_mut(&node) else { return };
        if inquiry.sent.is_some() {
            return;
        }
        let names: BTreeSet<Name> = std::iter::from_fn(|| inquiry.next.pop_first()).take(QUESTION_NAMES).collect();
        if names.is_empty() {
            self.nodes.remove(&node);
            return;
        }
        self.last += 1;
        send(cx, node, self.last, &names);
        inquiry.sent = Some((self.last, names));
    }
}

fn send(cx: &mut Context<'_>, node: Node, number: u64, names: &BTreeSet<Name>) {
    let names = names.iter().cloned().collect();
    cx.send(node, Message::Question { number, ring: cx.cluster.digest(), names });
    cx.timers.set(cx.now + RESEND_US, Timer::Inquiry(node));
}
