//! Workers that lead and follow sessions, as a model: a leader counts whoever follows as long as their processes are there,
//! and of a leader that died one that counted comes to lead. What really happens between them is the other simulator's.

use std::collections::BTreeSet;

use ringside_core::directory::Action;
use ringside_core::ids::{Node, NodeId, SessionId, WorkerId};
use ringside_core::leadership::message::Message as Words;
use ringside_core::leadership::record::{Cause, ChainHome, Member, Record};

use crate::conditions::Condition;
use crate::plant::Plant;
use crate::process::{FOLLOWERS, Play};
use crate::truth::Led;
use crate::world::{Event, World};

impl World {
    /// What a directory wants of replicated sessions.
    pub fn replicate(&mut self, slot: usize, action: Action) {
        match action {
            Action::Follow { terms, worker, .. } => self.follow(slot, terms.session, worker),
            Action::Unfollow { session, .. } => self.unfollow(slot, &session),
            Action::Recruit { session, member, .. } => self.recruit(slot, &session, member),
            Action::NewHome { session, .. } => self.tell_home(slot, &session),
            _ => {}
        }
    }

    fn follow(&mut self, slot: usize, session: SessionId, worker: WorkerId) {
        if self.is_planted(Plant::ForgetsFollowers) {
            return;
        }
        let now = self.now();
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        process.follows.insert(session.clone(), worker);
        process.directory.handle_followed(process.clock(now), &session, Ok(()));
    }

    fn unfollow(&mut self, slot: usize, session: &SessionId) {
        let now = self.now();
        let Some(me) = self.machines[slot].process.as_ref().map(|process| process.node) else { return };
        let counts = self.processes().any(|(_, process)| {
            let record = process.plays.get(session).and_then(|play| play.record.as_ref());
            record.is_some_and(|record| record.in_sync.iter().any(|member| member.node == me))
        });
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        if !counts {
            process.follows.remove(session);
        }
        process.directory.handle_unfollowed(process.clock(now), session, !counts);
    }

    /// A leader takes in who follows, if it has room.
    fn recruit(&mut self, slot: usize, session: &SessionId, member: Member) {
        if !self.is_following(member.node, session) {
            return;
        }
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let Some(record) = process.plays.get_mut(session).and_then(|play| play.record.as_mut()) else { return };
        if record.in_sync.len() < FOLLOWERS && !record.counts(member) {
            let in_sync: BTreeSet<Member> = record.in_sync.iter().copied().chain([member]).collect();
            *record = record.with_set(in_sync, record.position + 1, Cause::Admitted);
            self.tell_record(slot, session);
        }
    }

    fn is_following(&self, node: Node, session: &SessionId) -> bool {
        self.processes().any(|(_, process)| process.node == node && process.follows.contains_key(session))
    }

    /// Leaders take out who is gone.
    pub fn remove_silent(&mut self, slot: usize) {
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let plays = process.plays.iter().filter_map(|(session, play)| Some((session, play.record.as_ref()?)));
        let changed: Vec<(SessionId, BTreeSet<Member>)> = plays
            .map(|(session, record)| {
                let remaining = record.in_sync.iter().filter(|member| self.is_following(member.node, session));
                (session, record, remaining.copied().collect::<BTreeSet<Member>>())
            })
            .filter(|(_, record, remaining)| record.in_sync != *remaining)
            .map(|(session, _, remaining)| (session.clone(), remaining))
            .collect();
        for (session, remaining) in changed {
            let process = self.machines[slot].process.as_mut();
            let record = process.and_then(|process| process.plays.get_mut(&session)?.record.as_mut());
            if let Some(record) = record {
                *record = record.with_set(remaining, record.position + 1, Cause::Removed);
            }
            self.tell_record(slot, &session);
        }
    }

    /// A record counts: the directory and the home are told.
    fn tell_record(&mut self, slot: usize, session: &SessionId) {
        let now = self.now();
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let clock = process.clock(now);
        if let Some(record) = process.plays.get(session).and_then(|play| play.record.as_ref()) {
            process.directory.handle_record(clock, session, record);
        }
        self.tell_home(slot, session);
    }

    fn tell_home(&mut self, slot: usize, session: &SessionId) {
        let now = self.now();
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let clock = process.clock(now);
        if let Some(record) = process.plays.get(session).and_then(|play| play.record.as_ref()) {
            let words = Words::Lead { record: Box::new(record.clone()), end: Some(record.position) };
            process.directory.handle_to_home(clock, session.clone(), record.leader.worker, words);
        }
    }

    /// A process is over: whoever counted comes to lead its sessions a while later.
    pub fn orphan(&mut self, plays: impl IntoIterator<Item = (SessionId, Play)>) {
        for (session, record) in plays.into_iter().filter_map(|(session, play)| Some((session, play.record?))) {
            let next = record.in_sync.iter().find_map(|member| {
                let (slot, _) = self.processes().find(|(_, process)| process.node == member.node)?;
                Some((slot, member.node))
            });
            if let Some((slot, node)) = next {
                let delay = 550_000 + self.random.below(100_000);
                let record = Box::new(record);
                self.scheduler.after(delay, Event::Promote { slot, node, session, record });
            }
        }
    }

    /// A follower leads.
    pub fn promote(&mut self, slot: usize, node: Node, session: &SessionId, record: &Record) {
        let now = self.now();
        let life = 5_000_000 + self.random.below(60_000_000);
        let Some(process) = self.process(slot, node) else { return };
        let Some(worker) = process.follows.remove(session) else { return };
        let me = Member { node, worker };
        let epoch = me.epoch_after(record.epoch.number);
        let cause = (Cause::Promoted, ChainHome::Log);
        let record = record.succeeded(me, epoch, BTreeSet::new(), record.position, cause);
        let clock = process.clock(now);
        process.plays.insert(session.clone(), Play { record: Some(record.clone()), ..Play::default() });
        self.say(slot, format_args!("comes to lead {session}"));
        let before = self.truth.begun.insert((session.clone(), epoch), node);
        self.checks
            .check(Condition::OneLeaderPerEpoch, before.is_none(), || format!("{session} is led in {epoch:?} twice"));
        // By nobody's order.
        let home = Node { id: NodeId(0), generation: 0 };
        let led = Led { slot, worker, epoch, since: now, home, is_live: true, empty_since: now };
        let name = (session.game.clone(), session.key.clone());
        self.truth.led.entry(name).or_default().insert((node, session.clone()), led);
        if let Some(process) = self.process(slot, node) {
            process.directory.handle_promoted(clock, session, worker, &record, &[]);
        }
        self.tell_home(slot, session);
        self.scheduler.after(life, Event::Over { slot, node, session: session.clone() });
    }

    /// Everything is over: whoever should have followers has them, and who came to lead is known.
    pub fn watch_replicas(&mut self) {
        let others = self.processes().count().saturating_sub(1);
        let mut looked = Vec::new();
        for (_, process) in self.processes() {
            for (session, play) in &process.plays {
                let Some(record) = &play.record else { continue };
                let counts = |member: &&Member| self.is_following(member.node, session);
                let in_sync = record.in_sync.iter().filter(counts).count();
                let is_followed = in_sync >= FOLLOWERS.min(others);
                looked.push((Condition::Followed, is_followed, format!("{session} is followed by {record:?}")));
                if record.cause == Cause::Created || record.epoch.number == 1 {
                    continue;
                }
                let name = (session.game.clone(), session.key.clone());
                let home = self.truth.home(process.directory.ring(), &name);
                let at_home = self.processes().find(|(_, process)| Some(process.node) == home);
                let entry = at_home.and_then(|(_, at_home)| at_home.directory.entry(&name.0, &name.1));
                let is_known = entry.is_some_and(|entry| (&entry.session, entry.leader) == (session, process.node));
                looked.push((Condition::SuccessorKnown, is_known, format!("{session}: its home knows {entry:?}")));
            }
        }
        for (condition, holds, seen) in looked {
            self.checks.check(condition, holds, || seen);
        }
    }
}
