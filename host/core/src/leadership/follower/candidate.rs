//! Suspicion and candidacy: a follower that counts and hears nothing asks every member of its newest record, and the
//! home, and promotes itself if nothing that it is told speaks against it.
//!
//! **Whom it asks, and why all.** A record that took this follower out counted when every member that it left had
//! acknowledged it. So any of those knows; who is gone (does not answer, and nobody else reaches it) took its knowledge
//! with it, and with a member also all that was released on its word. In a cluster that is cut, members on the other side
//! are gone, too: where the chain is in the store, the store decides between the sides; where it is in the log the game
//! has said that both may go on.
//!
//! **A yes is a promise, too.** It counts for [`RIGHT_US`] from the sending of the question, and binds who gave it for
//! [`PROMISE_US`] from its arrival: until then it acknowledges nothing of an older epoch, so a leader that came back
//! cannot take this follower out behind its back.
//!
//! **Of several who stand the one with more of the log goes first**, so that as little as possible that players saw is
//! withdrawn; the others wait for it as long as it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::Epoch;
use crate::leadership::message::{Answer, Ask, Message, Output, Party, Stand};
use crate::leadership::record::{Cause, ChainHome, Member, Tier};
use crate::leadership::timing::{ANSWER_US, HEARTBEAT_US, PROBE_US, PROMISE_US, RIGHT_US, SUSPICION_US};

use super::{Bound, Follower, Phase};

/// A candidacy.
#[derive(Debug)]
pub(super) struct Round {
    epoch: Epoch,
    /// Of which record the members are asked.
    record: (Epoch, u64),
    voices: BTreeMap<Party, Voice>,
    next_ask: u64,
    next_probe: u64,
    /// Whether the store has told its newest record.
    is_read: bool,
}

/// One who was asked.
#[derive(Debug)]
struct Voice {
    /// Its answer, and when the question was sent.
    stand: Option<(Stand, u64)>,
    /// Asked, or reached by somebody else, last without an answer.
    waits_since: u64,
}

impl Voice {
    /// What it says now; nothing once the answer is too old.
    fn says(&self, now: u64) -> Option<Stand> {
        self.stand.filter(|(_, asked_at)| now < asked_at + RIGHT_US).map(|(stand, _)| stand)
    }

    /// Of two answers, the one to the later question counts.
    fn heard(&mut self, answer: (Stand, u64)) {
        if self.stand.is_none_or(|before| before.1 <= answer.1) {
            self.stand = Some(answer);
        }
    }

    fn is_gone(&self, now: u64) -> bool {
        self.says(now).is_none() && now >= self.silent_since() + ANSWER_US
    }

    /// When its silence begins, or began.
    fn silent_since(&self) -> u64 {
        self.stand.map_or(self.waits_since, |(_, asked_at)| self.waits_since.max(asked_at + RIGHT_US))
    }
}

impl Follower {
    /// Whether it may stand at all.
    fn is_eligible(&self) -> bool {
        let may_promote = self.terms.may_promote() || self.leader().is_some_and(|who| self.over == Some(who.node));
        let has_log = self.has_log && self.record.as_ref().is_some_and(|record| self.is_of(record));
        self.counts && has_log && !self.has_diverged && self.bound.is_none() && may_promote
    }

    /// When silence becomes suspicion; never for one that may not stand.
    pub(super) fn suspects_at(&self) -> u64 {
        if self.is_eligible() { self.heard_at + SUSPICION_US } else { u64::MAX }
    }

    /// Where the next record is made.
    fn next_home(&self) -> ChainHome {
        let next = self.record.as_ref().map(|record| record.next_home(&self.terms));
        next.unwrap_or_else(|| self.terms.home())
    }

    fn leader(&self) -> Option<Member> {
        self.record.as_ref().map(|record| record.leader)
    }

    /// Looks at the leader's silence.
    pub(super) fn watch(&mut self, now: u64) {
        match self.phase {
            Phase::Following if now >= self.suspects_at() => {
                self.phase = Phase::Suspecting(now);
                let leader = self.leader().map(Party::Member);
                leader.into_iter().for_each(|leader| self.outputs.push_back(Output::Probe(leader)));
            }
            // It may have come to count without being told.
            Phase::Following if !self.counts && self.next_home() == ChainHome::Store && now >= self.promised_until => {
                self.forgive(now);
                self.chain.read(now);
            }
            // It was taken out, most likely, and must hear so to be begun anew.
            Phase::Following if self.counts && self.has_diverged && now >= self.promised_until => {
                self.forgive(now);
                self.leader().into_iter().for_each(|leader| self.acknowledge(leader));
            }
            Phase::Suspecting(_) | Phase::Standing(_) if !self.is_eligible() => self.stop_standing(),
            Phase::Suspecting(since) if now >= since + PROBE_US => self.stand(now),
            Phase::Standing(_) => self.pursue(now),
            _ => {}
        }
    }

    /// Another node has reached somebody just now.
    pub fn handle_reached(&mut self, now: u64, whom: Party) {
        if let Phase::Standing(round) = &mut self.phase
            && let Some(voice) = round.voices.get_mut(&whom)
        {
            voice.waits_since = now;
        }
        if self.leader().map(Party::Member) == Some(whom) {
            self.ask_what_is_new();
            self.leader_lives(now);
        }
    }

    /// The leader is there and does not speak to this one: it may have taken it out, and what it said of that was lost.
    /// Leader and home answer what they are told if they know something newer.
    fn ask_what_is_new(&mut self) {
        let Some(record) = self.record.clone().filter(|_| !matches!(self.phase, Phase::Following)) else { return };
        for whom in [Party::Member(record.leader), Party::Home] {
            self.send(whom, Message::Lead { record: Box::new((*record).clone()), end: None });
        }
    }

    /// The leader is there, for somebody else at least: this follower waits, for as long as after a word of its own. If
    /// it does not count any more, the leader's side will say so.
    fn leader_lives(&mut self, now: u64) {
        self.forgive(now);
        self.stop_standing();
    }

    pub(super) fn stop_standing(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Following) {
            Phase::Standing(round) => self.withdraw(round),
            Phase::Following | Phase::Suspecting(_) => {}
            other => self.phase = other,
        }
    }

    fn withdraw(&mut self, round: Round) {
        for whom in round.voices.into_keys().filter(|whom| *whom != Party::Home) {
            self.send(whom, Message::Withdraw(round.epoch));
        }
    }

    fn stand(&mut self, now: u64) {
        let Some(record) = self.record.clone() else { return };
        self.truncate(self.common_with(&record));
        let epoch = self.me.epoch_after(self.seen.max(record.epoch.number));
        self.seen = epoch.number;
        let members = record.members().filter(|who| *who != self.me).map(Party::Member);
        // Who was silent when it was asked before is as silent now: candidates that outbid each other must not keep a dead
        // member alive.
        let silent_since = |whom: &Party| match &self.phase {
            Phase::Standing(before) => before.voices.get(whom).map_or(now, |voice| voice.silent_since()),
            _ => now,
        };
        let voice = |whom| (whom, Voice { stand: None, waits_since: silent_since(&whom) });
        let voices = members.chain([Party::Home]).map(voice).collect();
        let is_read = self.next_home() == ChainHome::Log;
        self.phase = Phase::Standing(Round {
            epoch,
            record: (record.epoch, record.number),
            voices,
            next_ask: now,
            next_probe: now,
            is_read,
        });
        if !is_read {
            self.chain.read(now);
        }
        self.pursue(now);
    }

    /// Asks, probes, decides.
    fn pursue(&mut self, now: u64) {
        if matches!(self.phase, Phase::Standing(_)) && !self.is_eligible() {
            // What it was answered says that it does not count.
            return self.stop_standing();
        }
        let Some(record) = self.record.clone() else { return };
        let log = (self.lineage.epoch_at(self.end), self.end);
        let Phase::Standing(round) = &mut self.phase else { return };
        if self.seen > round.epoch.number || round.record != (record.epoch, record.number) {
            // A greater epoch was seen, or another set: all are asked again, for a greater one still.
            return self.stand(now);
        }
        let (epoch, candidate) = (round.epoch, self.me);
        let silent: Vec<Party> =
            round.voices.iter().filter(|(_, voice)| voice.says(now).is_none()).map(|(whom, _)| *whom).collect();
        if now >= round.next_probe {
            round.next_probe = now + PROBE_US;
            self.outputs.extend(silent.into_iter().map(Output::Probe));
        }
        if now >= round.next_ask {
            round.next_ask = now + HEARTBEAT_US;
            let ask = Ask { candidate, epoch, record: Box::new((*record).clone()), log, stamp_us: now };
            let all: Vec<Party> = round.voices.keys().copied().collect();
            all.into_iter().for_each(|whom| self.send(whom, Message::Ask(ask.clone())));
        }
        self.decide(now);
    }

    fn decide(&mut self, now: u64) {
        let Phase::Standing(round) = &self.phase else { return };
        let stands = |stand| round.voices.values().any(|voice| voice.says(now) == Some(stand));
        let is_settled = round.voices.values().all(|voice| voice.says(now).is_some() || voice.is_gone(now));
        if now < self.promised_until || !round.is_read || !is_settled || stands(Stand::Better) || stands(Stand::Lives) {
            return;
        }
        let Some(record) = self.record.clone() else { return };
        let agrees = |who: &Member| {
            round.voices.get(&Party::Member(*who)).is_some_and(|voice| voice.says(now) == Some(Stand::Yes))
        };
        let in_sync = record.in_sync.iter().copied().filter(|who| *who != self.me && agrees(who)).collect();
        let (epoch, home) = (round.epoch, self.terms.home());
        let next = Arc::new(record.succeeded(self.me, epoch, in_sync, self.end, (Cause::Promoted, home)));
        debug_assert_eq!(record.entitles(&next), Ok(()));
        // A leader that lost this follower may have gone on degraded, which only the store would tell.
        let is_complete = home == ChainHome::Store && self.terms.tier != Tier::Volatile;
        let promotion = self.promotion(now, next.clone(), is_complete, record.members().collect());
        match self.next_home() {
            ChainHome::Log => self.lead(promotion),
            ChainHome::Store => {
                self.phase = Phase::Making(promotion);
                self.chain.make(now, next);
            }
        }
    }

    pub(super) fn note_read(&mut self, now: u64) {
        if let Phase::Standing(round) = &mut self.phase {
            round.is_read = true;
            self.pursue(now);
        }
    }

    /// A candidate asks.
    pub(super) fn asked(&mut self, now: u64, ask: Ask) {
        self.seen = self.seen.max(ask.epoch.number);
        let (candidate, epoch, stamp_us) = (ask.candidate, ask.epoch, ask.stamp_us);
        let log = ask.log;
        self.learn(now, Arc::new(*ask.record));
        let Some(record) = self.record.clone() else { return };
        let is_recent = self.direct_at.is_some_and(|at| now < at + SUSPICION_US);
        let is_heard = is_recent && self.epoch == Some(record.epoch);
        let end = self.common_with(&record);
        let mine = (self.lineage.epoch_at(end), end);
        let is_better = (mine, std::cmp::Reverse(self.me)) > (log, std::cmp::Reverse(candidate));
        let has_say = record.names(self.me) && self.is_of(&record);
        let stand = if self.is_over() || !record.counts(candidate) || !has_say {
            Stand::Tells
        } else if is_heard {
            Stand::Lives
        } else if matches!(self.phase, Phase::Making(_)) || self.counts && !self.has_diverged && is_better {
            Stand::Better
        } else {
            self.stop_standing();
            self.bound = Some(Bound { to: candidate, epoch, heard_at: now });
            Stand::Yes
        };
        let answer =
            Answer { asked: epoch, number: self.seen, record: Some(Box::new((*record).clone())), stand, stamp_us };
        self.send(Party::Member(candidate), Message::Answer(answer));
    }

    /// Somebody answers.
    pub(super) fn answered(&mut self, now: u64, from: Party, answer: Answer) {
        self.seen = self.seen.max(answer.number);
        if let Some(record) = answer.record {
            self.learn(now, Arc::new(*record));
        }
        let Phase::Standing(round) = &mut self.phase else {
            if answer.stand == Stand::Yes {
                // It does not stand any more.
                self.send(from, Message::Withdraw(answer.asked));
            }
            return;
        };
        if let Some(voice) = round.voices.get_mut(&from) {
            voice.heard((answer.stand, answer.stamp_us));
        }
        if answer.stand == Stand::Lives && answer.stamp_us + PROMISE_US > now {
            return self.leader_lives(now);
        }
        self.pursue(now);
    }
}
