//! Who must hear of the leader's record, until they have.
//!
//! Two kinds of listeners are told nothing by heartbeats: the home, and members that do not count any more. Both must know.
//! A follower that was taken out while its link was cut believes that it counts; should the leader then fall silent, that
//! follower asks the members of a record that is old (of which only the leader may be left) and the home. If the home's copy
//! is as old as the follower's, nothing that it hears speaks against it, and it leads with a log that ends where it was taken
//! out. So a word that is lost is said again until it is answered, with growing pauses, for it may be for ever.

use crate::ids::Epoch;
use crate::leadership::message::{Ack, Message, Output, Party};
use crate::leadership::record::{Member, Record};
use crate::leadership::timing::{INTRODUCTION_US, REMINDER_US};
use crate::limits;

use super::Leader;

/// Something to be told until it is answered.
#[derive(Debug)]
pub(super) struct Reminder {
    /// Of which record.
    number: u64,
    due: u64,
    pause: u64,
}

impl Reminder {
    fn new(now: u64, number: u64) -> Reminder {
        Reminder { number, due: now, pause: INTRODUCTION_US }
    }

    /// Whether it is to be told now; the next time is later each time.
    fn is_due(&mut self, now: u64) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + self.pause;
            self.pause = (self.pause * 2).min(REMINDER_US);
        }
        is_due
    }
}

impl Leader {
    /// The session has another home, which knows nothing yet.
    pub fn handle_home(&mut self, now: u64) {
        if !self.is_over() {
            self.home = Some(Reminder::new(now, self.record.number));
        }
    }

    /// The record that counts is another one: the home is told.
    pub(super) fn tell_home(&mut self) {
        let now = self.last_turn;
        self.home = Some(Reminder::new(now, self.record.number));
        self.remind_home(now);
    }

    fn remind_home(&mut self, now: u64) {
        if self.home.as_mut().is_some_and(|home| home.is_due(now)) {
            let message = Message::Lead { record: Box::new(Record::clone(&self.record)), end: Some(self.end) };
            self.outputs.push_back(Output::Send { to: Party::Home, message });
        }
    }

    /// The home says what it has.
    pub(super) fn home_has(&mut self, epoch: Epoch, number: u64) {
        let is_told = |home: &Reminder| epoch == self.record.epoch && number >= home.number;
        if self.home.as_ref().is_some_and(is_told) {
            self.home = None;
        }
    }

    /// These do not count any more, or never followed this epoch: they are told. Beyond [`limits::FORMER`] whoever was told
    /// of the oldest record is left to the home.
    pub(super) fn tell_former(&mut self, former: impl IntoIterator<Item = Member>) {
        let (now, number) = (self.last_turn, self.record.number);
        for who in former.into_iter().filter(|who| *who != self.me) {
            self.former.insert(who, Reminder::new(now, number));
            while self.former.len() > limits::FORMER {
                let oldest = self.former.iter().min_by_key(|(_, reminder)| reminder.number).map(|(who, _)| *who);
                self.former.retain(|who, _| Some(*who) != oldest);
            }
        }
    }

    /// One that was to be told has answered, in this epoch and with a record no older than that.
    pub(super) fn heard_of_record(&mut self, who: Member, ack: &Ack) {
        let knows = |reminder: &Reminder| ack.epoch == self.record.epoch && ack.record >= reminder.number;
        if self.former.get(&who).is_some_and(knows) {
            self.former.remove(&who);
        }
    }

    /// One that was to be told has nothing of the session (any more): it will never lead it by what it had.
    pub fn handle_absent(&mut self, who: Member) {
        self.former.remove(&who);
    }

    /// Tells again who has not answered.
    pub(super) fn remind(&mut self, now: u64) {
        self.remind_home(now);
        let due: Vec<Member> =
            self.former.iter_mut().filter_map(|(who, reminder)| reminder.is_due(now).then_some(*who)).collect();
        due.into_iter().for_each(|who| self.correct(who));
    }
}
