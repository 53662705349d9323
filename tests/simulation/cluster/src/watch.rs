//! The checkers: what is looked at when something happens, and what is looked at when everything is over.

use std::collections::BTreeMap;

use ringside_core::directory::{Ending, Name};
use ringside_core::ids::{Epoch, Node, SessionId};
use ringside_core::limits;
use ringside_core::membership::{State, View};
use ringside_core::placement;
use ringside_core::ring::Position;
use ringside_simulation_kit::scheduler::Micros;

use crate::conditions::Condition;
use crate::plan::PEACE;
use crate::plant::Plant;
use crate::process::{Request, name_text};
use crate::world::{Phase, World};

/// How long everybody must agree before everybody is asked.
const AGREED: Micros = 2_000_000;
/// How long the rest takes after everybody was asked.
const REST: Micros = 3_000_000;

impl World {
    /// A process's tables are within their bounds.
    pub fn watch_sizes(&mut self, slot: usize) {
        let leaks = self.is_planted(Plant::HoldsMore);
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let mut sizes = process.directory.sizes();
        if leaks {
            process.leaked += limits::DUPLICATES / 100;
            sizes.duplicates += process.leaked;
        }
        let holds = sizes.requests <= limits::WAITING_REQUESTS
            && sizes.entries <= limits::HOME_ENTRIES
            && sizes.waiting <= 2 * limits::HOME_WAITING
            && sizes.duplicates <= limits::DUPLICATES
            && process.directory.workers().iter().map(|(_, load)| load.ticking).sum::<u64>()
                <= crate::process::SESSIONS as u64;
        self.checks.check(Condition::Bounded, holds, || format!("m{slot}: {sizes:?}"));
    }

    /// A process sees something else.
    pub fn watch_view(&mut self, slot: usize, view: &View) {
        let now = self.now();
        self.truth.rings.insert(view.ring_digest(), view.ring().clone());
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let me = process.node;
        let gone: Vec<Node> = process.sees.keys().copied().filter(|node| !view.has(*node)).collect();
        for node in gone {
            let other = self.processes().find(|(_, process)| process.node == node);
            let excuse = match other {
                None => true,
                Some((_, other)) => {
                    other.is_leaving
                        || other.was_still(now)
                        || self.network.troubled() + 3_000_000 > now
                        || other.membership.own().state == State::Gone
                        || other.started + 3_000_000 > now
                }
            };
            self.checks.check(Condition::NoFalseDeath, excuse, || format!("{me} believes that {node} is gone"));
        }
    }

    /// Whoever has this view has this ring.
    pub fn watch_owners(&mut self, slot: usize) {
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let view = process.membership.view();
        let ring = process.directory.ring();
        let first = *self.truth.views.entry(view.digest()).or_insert_with(|| view.ring_digest());
        self.checks.check(Condition::EqualViewsEqualOwners, first == ring, || {
            format!("m{slot} makes ring {ring} of view {}, others {first}", view.digest())
        });
        // The digest stands for the owners: look at a few.
        let Some(known) = self.truth.rings.get(&ring) else { return };
        let same = (0..4_u64).all(|part| {
            let position = Position(part.wrapping_mul(0x3333_3333_3333_3333) ^ ring.0);
            known.home(position).map(|member| member.node) == view.ring().home(position).map(|member| member.node)
        });
        self.checks
            .check(Condition::EqualViewsEqualOwners, same, || format!("ring {ring} has other owners at m{slot}"));
    }

    /// A session begins at a process.
    pub fn watch_create(&mut self, slot: usize, session: &SessionId, epoch: Epoch) {
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let me = process.node;
        let before = self.truth.begun.insert((session.clone(), epoch), me);
        self.checks.check(Condition::OneLeaderPerEpoch, before.is_none(), || {
            format!("{session} begins at {me}, and began at {before:?}, in {epoch:?}")
        });
        let name = (session.game.clone(), session.key.clone());
        self.watch_decision(slot, &name);
        self.watch_idempotence(slot, &name, session);
    }

    fn watch_decision(&mut self, slot: usize, name: &Name) {
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let Some(entry) = process.directory.get(&name.0, &name.1) else { return };
        let decision = entry.decision;
        let (is_here, is_its) =
            (decision.node() == Some(process.node.id), decision.position == Position::of_key(&name.0, &name.1));
        let follows = self
            .truth
            .rings
            .get(&decision.ring)
            .is_some_and(|ring| placement::reproduce(decision, ring).as_ref() == Ok(decision));
        let seen = format!("{} at m{slot} by {decision:?}", name_text(name));
        self.checks.check(Condition::Explained, is_here && is_its && follows, || seen);
    }

    /// A home that must have known of a session of this key does not begin another: it goes by the ring under which
    /// that one was begun at its own order, or it has come to its present ring since, as has that one's leader, and so
    /// has asked it or been told by it.
    fn watch_idempotence(&mut self, slot: usize, name: &Name, session: &SessionId) {
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let ring = process.directory.ring();
        let Some(home) = self.truth.home(ring, name) else { return };
        let Some((_, at_home)) = self.processes().find(|(_, process)| process.node == home) else { return };
        let (its_ring, before, since) = at_home.ring;
        if its_ring != ring || at_home.was_still(self.now()) {
            return;
        }
        let was_its = before.and_then(|before| self.truth.home(before, name)) == Some(home);
        let decided = self.truth.ordered.get(session).copied().unwrap_or(self.now());
        let mut violation = None;
        let others = self.truth.led.get(name).into_iter().flatten().filter(|((_, other), _)| other != session);
        for ((leader, other), led) in others {
            let Some((_, leading)) = self.processes().find(|(_, process)| process.node == *leader) else { continue };
            // Given up already, and its worker is only about to hear of it.
            if leading.directory.get(&name.0, &name.1).is_none_or(|entry| entry.id != other) {
                continue;
            }
            let (leaders_ring, _, leader_since) = leading.ring;
            let sees_since = at_home.sees.get(leader).copied().unwrap_or(Micros::MAX);
            let ordered =
                led.home == home && led.since > since && sees_since < led.since && !leading.was_still(self.now());
            let told = leaders_ring == ring && since > led.since && leader_since > led.since && !was_its;
            if ordered && leaders_ring == ring || told && sees_since < decided {
                violation = Some(format!("{session} at m{slot}, and {other} is led by {leader}"));
            }
        }
        let holds = violation.is_none();
        self.checks.check(Condition::CreationIdempotent, holds, || violation.unwrap_or_default());
    }

    /// A directory wants a session ended.
    pub fn watch_end(&mut self, slot: usize, node: Node, session: &SessionId, why: &Ending) {
        let now = self.now();
        let name = (session.game.clone(), session.key.clone());
        let led = self.truth.get(&name, node, session);
        let plays = self.machines[slot].process.as_ref().and_then(|process| process.plays.get(session));
        let has_reason = match why {
            Ending::TooLate => led.is_none_or(|led| !led.is_live),
            Ending::Empty => {
                let is_empty = plays.is_none_or(|play| play.players.is_empty());
                is_empty && led.is_none_or(|led| led.empty_since + limits::EMPTY_SESSION_US <= now + 1_000_000)
            }
            Ending::Superseded(winner) => {
                winner != session
                    && (&winner.game, &winner.key) == (&session.game, &session.key)
                    && self.truth.ever.contains(winner)
            }
        };
        self.checks.check(Condition::EndsHaveReasons, has_reason, || format!("{session} at {node}: {why}"));
        if let Ending::Superseded(winner) = why {
            let goes_on = self.truth.gives_way(session, winner);
            self.checks
                .check(Condition::OneGoesOn, goes_on, || format!("{session} and {winner} give way to each other"));
        }
    }

    /// Looks how far everything has come.
    pub fn look(&mut self) {
        let now = self.now();
        if now <= PEACE + 250_000 {
            self.network.calm(now);
        }
        self.watch_overdue();
        let agreed = self.disagreement().is_empty();
        match self.phase {
            Phase::Trouble if !agreed => self.agreed_since = None,
            Phase::Trouble => {
                let since = *self.agreed_since.get_or_insert(now);
                if now >= since + AGREED {
                    self.checks.check(Condition::ViewsAgree, true, || "");
                    (self.phase, self.phase_began) = (Phase::Quiet, now);
                }
            }
            // A home does not know at once that a session is over: who asks just then is told of what was. And one that waits
            // for a successor of a session's leader says that the session is lost to all who came meanwhile.
            Phase::Quiet => {
                if !self.somebody_waits() {
                    (self.phase, self.phase_began) = (Phase::Serving, now);
                    self.everybody_asks();
                }
            }
            Phase::Serving => {
                if !self.somebody_waits() {
                    (self.phase, self.phase_began) = (Phase::Resting, now);
                }
            }
            Phase::Resting => {
                if now >= self.phase_began + REST {
                    let seen = format!("they agreed and do not any more: {}", self.disagreement());
                    self.checks.check(Condition::ViewsAgree, agreed, || seen);
                    self.watch_end_state();
                    self.is_done = true;
                }
            }
        }
    }

    fn somebody_waits(&self) -> bool {
        self.processes().any(|(_, process)| !process.requests.is_empty())
    }

    /// Whoever waits too long was forgotten.
    fn watch_overdue(&mut self) {
        let now = self.now();
        let overdue = self.processes().find_map(|(slot, process)| {
            let until = ringside_core::directory::REQUEST_US + 1_000_000;
            let is_late = |request: &Request| request.asked_at + until + process.stood_us - request.stood_us < now;
            let late = process.requests.iter().find(|(_, request)| is_late(request));
            late.filter(|_| now >= process.stalled_until)
                .map(|(number, _)| format!("request {number} of m{slot} is forgotten"))
        });
        if let Some(seen) = overdue {
            self.checks.check(Condition::AnsweredOnce, false, || seen);
        }
    }

    /// Why the cluster is not at rest; empty if it is.
    pub fn disagreement(&self) -> String {
        if self.starting > 0 {
            return "somebody is about to start".to_owned();
        }
        let mut views = BTreeMap::new();
        for (slot, process) in self.processes() {
            views.entry(process.membership.view().digest()).or_insert_with(Vec::new).push(slot);
            if self.now() < process.stalled_until || process.is_leaving {
                return format!("m{slot} is not awake");
            }
            if process.membership.own().state != State::Active {
                return format!("m{slot} keeps away");
            }
            if !process.directory.is_settled(process.clock(self.now())) {
                return format!("m{slot} has not been told everything");
            }
        }
        if views.len() > 1 { format!("{views:?}") } else { String::new() }
    }

    /// Nobody writes what somebody cannot read, nor less than all could.
    fn watch_written(&mut self) {
        let least = self.processes().map(|(_, process)| process.membership.own().reads.newest).min();
        let wrong: Vec<String> = self
            .processes()
            .filter(|(_, process)| Some(process.writes) != least)
            .map(|(slot, process)| format!("m{slot} writes version {}, all read {least:?}", process.writes))
            .collect();
        self.checks.check(Condition::WritesWhatAllRead, wrong.is_empty(), || wrong.join("; "));
    }

    /// Everything is over: every session has one leader, every entry is right.
    fn watch_end_state(&mut self) {
        self.watch_replicas();
        self.watch_written();
        let twice: Vec<String> = self
            .truth
            .led
            .iter()
            .filter(|(_, all)| all.len() > 1)
            .map(|(name, all)| format!("{}: {:?}", name_text(name), all.keys().collect::<Vec<_>>()))
            .collect();
        self.checks.check(Condition::OneSessionPerKey, twice.is_empty(), || twice.join("; "));
        let wrong = self.wrong_entries();
        self.checks.check(Condition::EntriesRight, wrong.is_none(), || wrong.unwrap_or_default());
    }

    /// The first session or entry that does not fit the other.
    fn wrong_entries(&self) -> Option<String> {
        for (name, all) in &self.truth.led {
            for ((leader, session), led) in all.iter().filter(|(_, led)| led.is_live) {
                let (_, leading) = self.processes().find(|(_, process)| process.node == *leader)?;
                let home = self.truth.home(leading.directory.ring(), name)?;
                let (_, at_home) = self.processes().find(|(_, process)| process.node == home)?;
                let entry = at_home.directory.entry(&name.0, &name.1);
                let is_right = entry.is_some_and(|entry| {
                    (&entry.session, entry.leader, entry.worker, entry.epoch)
                        == (session, *leader, led.worker, led.epoch)
                        && entry.is_live
                });
                if !is_right {
                    return Some(format!("{session} is led by {leader}, and its home {home} knows {entry:?}"));
                }
            }
        }
        for (slot, process) in self.processes() {
            let listed = process.directory.listed().map(|(_, lead)| lead);
            for lead in process.directory.entries().chain(listed) {
                let name = (lead.session.game.clone(), lead.session.key.clone());
                if self.truth.get(&name, lead.leader, &lead.session).is_none() {
                    return Some(format!("m{slot} knows {}, which {} does not lead", lead.session, lead.leader));
                }
            }
        }
        None
    }
}
