//! Requests of this node's callers (players at its doors, its operators, its own lists), each on its way to a home:
//! repeated until answered, sent to another home when the ring changes, given up after [`REQUEST_US`].

use std::collections::BTreeMap;

use super::context::{Asker, Context, RESEND_US, Timer};
use super::lists::{DRAWS, drawn_key};
use super::message::{Denial, Message, Want};
use super::types::{Action, Placed, Refusal};
use crate::ids::Node;
use crate::limits;

/// How long a request may take in all, µs: a change of the ring, a question to all, and a worker's time to create.
pub const REQUEST_US: u64 = 15_000_000;

#[derive(Debug)]
struct Pending {
    asker: Asker,
    want: Want,
    /// The draw of a key, and how many were tried: where it is taken the next one is.
    draws: Option<(u64, u64)>,
    home: Option<Node>,
    until: u64,
}

/// The requests that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Doors {
    last: u64,
    pending: BTreeMap<u64, Pending>,
    /// Those of callers among them.
    callers: usize,
}

impl Doors {
    /// Requests of callers that wait.
    pub fn waiting(&self) -> usize {
        self.callers
    }

    /// Takes a request; `drawn` is what its key was drawn with.
    pub fn ask(&mut self, cx: &mut Context<'_>, asker: Asker, want: Want, drawn: Option<u64>) {
        let (is_caller, lists) = (matches!(asker, Asker::Caller(_)), self.pending.len() - self.callers);
        if (if is_caller { self.callers } else { lists }) >= limits::WAITING_REQUESTS {
            answer(cx, asker, Err(Refusal::Busy));
            return;
        }
        self.callers += usize::from(is_caller);
        self.last += 1;
        let until = cx.now.saturating_add(REQUEST_US);
        self.pending
            .insert(self.last, Pending { asker, want, draws: drawn.map(|random| (random, 0)), home: None, until });
        self.send(cx, self.last);
    }

    /// A home answered.
    pub fn handle_answer(
        &mut self,
        cx: &mut Context<'_>,
        from: Node,
        number: u64,
        result: Result<Box<Placed>, Denial>,
    ) {
        // An answer of a home that is none any more is as good: it was one when it answered.
        let Some(pending) = self.pending.get_mut(&number) else { return };
        match result {
            Ok(placed) => self.finish(cx, number, Ok(*placed)),
            Err(Denial::Refused(Refusal::KeyTaken(_))) if pending.draw_again() => self.send(cx, number),
            Err(Denial::Refused(refusal)) => self.finish(cx, number, Err(refusal)),
            // The views will agree in a moment, and then it is asked again.
            Err(Denial::OtherRing(_) | Denial::NotReady) if pending.home == Some(from) => {
                let at = pending.until.min(cx.now + RESEND_US);
                cx.timers.set(at, Timer::Door(number));
            }
            Err(Denial::OtherRing(_) | Denial::NotReady) => {}
        }
    }

    /// An answer is late.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>, number: u64) {
        match self.pending.get(&number) {
            Some(pending) if pending.until <= cx.now => self.finish(cx, number, Err(Refusal::TimedOut)),
            Some(_) => self.send(cx, number),
            None => {}
        }
    }

    /// The ring changed: every request goes to whoever is its home now.
    pub fn handle_ring(&mut self, cx: &mut Context<'_>) {
        let numbers: Vec<u64> = self.pending.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.send(cx, number));
    }

    fn send(&mut self, cx: &mut Context<'_>, number: u64) {
        let Some(pending) = self.pending.get_mut(&number) else { return };
        pending.home = cx.cluster.home(pending.want.position());
        let Some(home) = pending.home else { return self.finish(cx, number, Err(Refusal::NoWorker)) };
        let (want, until) = (Box::new(pending.want.clone()), pending.until);
        cx.send(home, Message::Ask { number, ring: cx.cluster.digest(), want });
        let at = if home == cx.me { until } else { until.min(cx.now + RESEND_US) };
        cx.timers.set(at, Timer::Door(number));
    }

    fn finish(&mut self, cx: &mut Context<'_>, number: u64, result: Result<Placed, Refusal>) {
        let Some(pending) = self.pending.remove(&number) else { return };
        self.callers -= usize::from(matches!(pending.asker, Asker::Caller(_)));
        cx.timers.cancel(&Timer::Door(number));
        if let Ok(placed) = &result
            && placed.leader == cx.me
        {
            cx.out.expected.push_back(placed.session.clone());
        }
        answer(cx, pending.asker, result);
    }
}

impl Pending {
    /// Takes the next key, if there is one to take.
    fn draw_again(&mut self) -> bool {
        let (Some((random, tried)), Want::Create { birth, .. }) = (&mut self.draws, &mut self.want) else {
            return false;
        };
        *tried += 1;
        let key = drawn_key(random.wrapping_add(*tried)).filter(|_| *tried < DRAWS);
        key.map(|key| birth.session.key = key).is_some()
    }
}

fn answer(cx: &mut Context<'_>, asker: Asker, answer: Result<Placed, Refusal>) {
    match asker {
        Asker::Caller(request) => cx.act(Action::Answer { request, answer }),
        Asker::List(list, name) => cx.out.formed.push_back((list, name, answer)),
    }
}
