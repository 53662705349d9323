//! Players: each sends numbered messages until they are safe, sees views, follows its session to wherever it is, and has
//! its history checked.

use std::collections::BTreeMap;

use ringside_core::ids::{Epoch, Position};
use ringside_core::leadership::lineage::Lineage;
use ringside_core::leadership::newer;
use ringside_core::leadership::record::PartitionPolicy;
use ringside_simulation_kit::history::{Event as Seen, Heard, History};
use ringside_simulation_kit::scheduler::Micros;

use super::conditions::Condition;
use super::outputs::Act;
use super::packet::{Hello, Packet, Said};
use super::plant::Plant;
use super::world::{Event, World};

/// Time between two words of a player.
const PACE: Micros = 100_000;
/// Messages that are not safe yet, at most.
const UNSAFE: u64 = 12;
/// A player that hears nothing for so long asks elsewhere.
const PATIENCE: Micros = 400_000;

/// A player.
#[derive(Debug)]
pub struct Player {
    history: History,
    epoch: Option<Epoch>,
    lineage: Lineage,
    position: Position,
    committed: Position,
    /// The machine that it asks.
    guess: usize,
    /// The one that it asked last because nobody answered.
    next: usize,
    /// The machine from which it reaches others.
    from: usize,
    heard_at: Micros,
    sent: u64,
    safe: u64,
    /// When each message that is not safe was sent first.
    waiting: BTreeMap<u64, Micros>,
}

impl Player {
    /// One that has seen nothing.
    pub fn new(guess: usize) -> Player {
        Player {
            history: History::default(),
            epoch: None,
            lineage: Lineage::default(),
            position: 0,
            committed: 0,
            guess,
            next: guess,
            from: guess,
            heard_at: 0,
            sent: 0,
            safe: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// The number of the message that it sends next.
    pub fn next_number(&self) -> u64 {
        self.sent + 1
    }

    /// How long its oldest message has waited.
    pub fn waits(&self, now: Micros) -> Micros {
        self.waiting.values().next().map_or(0, |at| now - at)
    }
}

impl World {
    fn note(&mut self, session: usize, player: usize, event: &Seen) {
        let checks = &mut self.checks;
        self.players[session][player].history.handle(event, &mut |promise, holds, seen| {
            checks.check(Condition::from(promise), holds, || format!("player {player} of {session}: {seen}"));
        });
    }

    /// A player sends what it has to send.
    pub fn player_acts(&mut self, session: usize, player: usize) {
        let (now, machines) = (self.now(), self.machines.len());
        let wants = self.random.happens(0.5);
        let it = &mut self.players[session][player];
        if now >= it.heard_at + PATIENCE {
            // Each in turn: who is told of another place may be told so by one that knows no better.
            it.next = (it.next + 1) % machines;
            it.guess = it.next;
        }
        if wants && it.sent < it.safe + UNSAFE {
            it.sent += 1;
            it.waiting.insert(it.sent, now);
            let number = it.sent;
            self.note(session, player, &Seen::Sent { number });
        }
        let it = &self.players[session][player];
        let messages = (it.safe, it.sent);
        let lineage = it.lineage.clone();
        let hello = Hello { epoch: it.epoch, lineage, position: it.position, committed: it.committed, messages };
        let (from, to) = (it.from % machines, it.guess % machines);
        self.post(from, to, Packet::Hello { session, player, hello });
        let after = PACE + self.random.below(10_000);
        self.scheduler.after(after, Event::Player { session, player });
    }

    /// A player comes to a machine.
    pub fn greeted(&mut self, slot: usize, session: usize, player: usize, hello: Hello) {
        let Some(replica) = self.machines[slot].replica(session) else { return };
        let Some(leader) = replica.leader() else {
            let leader = replica.follower().and_then(|it| it.record()).map(|record| record.leader);
            if let Some(leader) = leader {
                let said = Said::Elsewhere { slot: self.slot_of(leader) };
                self.say_to(slot, session, player, said);
            }
            return;
        };
        if let Some(epoch) = hello.epoch.filter(|epoch| newer(*epoch, leader.epoch())) {
            return self.act(slot, session, Act::Seen(epoch));
        }
        let twice = self.is_planted(Plant::AppliesTwice) && self.random.happens(0.1);
        let last = replica.log.newest().last[player];
        let mut numbers: Vec<u64> = (hello.messages.0 + 1..=hello.messages.1).collect();
        let is_new = numbers.iter().position(|number| *number > last);
        if let Some(first) = is_new.filter(|first| first + 2 < numbers.len())
            && self.is_planted(Plant::TakesOutOfOrder)
        {
            numbers.swap(first, first + 1);
        }
        for number in numbers {
            if number > last || twice {
                self.act(slot, session, Act::Input { player, number });
            }
        }
        self.show(slot, session, player, &hello);
    }

    /// A leader shows a player what there is.
    fn show(&mut self, slot: usize, session: usize, player: usize, hello: &Hello) {
        let now = self.now();
        let is_available = self.terms[session].policy == PartitionPolicy::Available;
        let (hides, forgets) = (self.is_planted(Plant::HidesARewind), self.is_planted(Plant::DropsTheQueueOnAMove));
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let Some(replica) = process.replicas[session].as_mut() else { return };
        replica.players.insert(player, 0);
        let Some(leader) = replica.leader().filter(|_| !replica.is_paused) else { return };
        let (epoch, end) = (leader.epoch(), replica.log.end());
        let committed = match self.plant {
            Some(Plant::CommitsWhatItShows) => end,
            Some(Plant::CommitsWhatIsToCome) => end + 10,
            _ => replica.release.map_or(0, |release| release.committed),
        };
        let kept = match hello.epoch {
            Some(seen) if seen != epoch => {
                let kept = leader.record().lineage.kept(end, &hello.lineage, hello.position);
                kept.unwrap_or(hello.position.min(leader.committed().max(hello.committed)))
            }
            _ => hello.position.min(end),
        };
        let rewound = (kept < hello.position && !hides).then_some((kept, is_available && kept < hello.committed));
        let (state, before) = (replica.log.newest(), replica.log.state(kept));
        let heard = Heard {
            position: end,
            hash: state.hash,
            before: before.map(|before| (kept, before.hash)),
            last: state.last[player],
            count: state.count[player],
            committed,
        };
        let mut safe = replica.log.state(replica.safe).map_or(0, |state| state.last[player]);
        if forgets {
            safe = safe.max(replica.held.get(&player).copied().unwrap_or(0));
        }
        let newest = self.truth.newest[session];
        // One of its own, of which the store has not told it yet, is no other leader's.
        let me = leader.record().leader;
        let is_later = |newest: Epoch| newer(newest, epoch) && !me.owns(newest);
        // Whose log was sealed doubts when the store, which may be slow, has taken nothing more for a while.
        let patience = if self.truth.is_taken_over(session, epoch) { 2_500_000 } else { 1_100_000 };
        let is_late = newest.is_some_and(|(newest, at)| is_later(newest) && now > at + patience);
        if !is_available {
            self.checks.check(Condition::ViewsPause, !is_late, || format!("m{slot} shows {session} in {epoch:?}"));
        }
        let (answers, lineage) = ((hello.epoch, hello.position), leader.record().lineage.clone());
        self.say_to(slot, session, player, Said::View { epoch, answers, rewound, lineage, heard, safe });
    }

    /// Tells a player something.
    pub fn say_to(&mut self, slot: usize, session: usize, player: usize, said: Said) {
        let (now, to) = (self.now(), self.players[session][player].from % self.machines.len());
        let [first, second] = self.network.carry(now, slot, to);
        for delay in [second, first].into_iter().flatten() {
            self.scheduler.after(delay, Event::Told { session, player, said: said.clone() });
        }
    }

    /// A player is told something.
    pub fn told(&mut self, session: usize, player: usize, said: Said) {
        let now = self.now();
        let it = &mut self.players[session][player];
        match said {
            Said::Elsewhere { slot } => {
                if now >= it.heard_at + PATIENCE {
                    // There is the time of a few words to be heard there.
                    (it.guess, it.heard_at) = (slot, (now + 3 * PACE).saturating_sub(PATIENCE));
                }
            }
            Said::Superseded { over, by, fork, slot } if it.epoch == Some(over) => {
                (it.epoch, it.guess, it.heard_at) = (Some(by), slot, now);
                (it.position, it.committed) = (it.position.min(fork), it.committed.min(fork));
                self.note(session, player, &Seen::Superseded { to: fork });
            }
            Said::Superseded { .. } => {}
            Said::View { epoch, answers, rewound, lineage, heard, safe } => {
                if it.epoch.is_some_and(|known| newer(known, epoch)) {
                    return;
                }
                let is_same = it.epoch == Some(epoch);
                let is_answer = if is_same { answers.0 == it.epoch } else { answers == (it.epoch, it.position) };
                if !is_answer || is_same && heard.position < it.position {
                    return;
                }
                it.lineage = lineage;
                self.take_view(session, player, epoch, rewound, heard, safe);
            }
        }
    }

    fn take_view(
        &mut self,
        session: usize,
        player: usize,
        epoch: Epoch,
        rewound: Option<(Position, bool)>,
        heard: Heard,
        safe: u64,
    ) {
        let now = self.now();
        if let Some((to, is_fork)) = rewound {
            let event = if is_fork { Seen::Superseded { to } } else { Seen::Rewound { to } };
            self.note(session, player, &event);
            let it = &mut self.players[session][player];
            (it.position, it.committed) = (it.position.min(to), it.committed.min(to));
        }
        self.note(session, player, &Seen::Heard(heard));
        let it = &mut self.players[session][player];
        (it.epoch, it.position, it.heard_at) = (Some(epoch), heard.position, now);
        it.committed = it.committed.max(heard.committed);
        if safe > it.safe {
            it.safe = safe;
            it.waiting.retain(|number, _| *number > safe);
            self.note(session, player, &Seen::Acknowledged { number: safe });
        }
    }

    /// At the end: of a player that has come to where the session is led, in that epoch.
    pub fn settle_history(
        &mut self,
        session: usize,
        player: usize,
        epoch: Epoch,
        settled: &[(u64, Position)],
        last: u64,
    ) {
        if self.players[session][player].epoch != Some(epoch) {
            return;
        }
        for (number, position) in settled.iter().copied() {
            self.note(session, player, &Seen::Settled { number, position });
        }
        self.note(session, player, &Seen::Ended { last });
    }
}
