//! What players are told, and whether it may be so: replies once and in order, views that grow, the newest that wins.

use bytes::Bytes;
use ringside_client::core::{Attachment, Event};
use ringside_protocol::reason::Reason;
use ringside_protocol::view::View;

use super::World;
use crate::worker::conditions::Condition;
use crate::worker::plant::Plant;
use crate::worker::player::Game;

impl World<'_> {
    pub(super) fn player_hears(&mut self, player: usize, event: Event) {
        let Some(process) = self.players[player].as_mut() else { return };
        let (name, game) = (process.name.clone(), process.game);
        match event {
            Event::Attached(attachment) => self.attached(player, name, game, &attachment),
            Event::View(view) => self.sees(player, &name, game, &view),
            Event::Message { number, body } => {
                let is_first = !std::mem::replace(&mut process.has_heard, true);
                if game == Game::Echo {
                    self.reply(player, &name, number, &body, is_first);
                }
                self.say(player, format_args!("hears message {number}, {} bytes", body.len()));
            }
            Event::Rejected { number, cause } => {
                let number = if self.plant == Some(Plant::RejectsAnother) { number + 1 } else { number };
                if self.plant == Some(Plant::HidesRejection) {
                    return;
                }
                let expected = self.expected.get_mut(&(player, number)).filter(|expected| !expected.told);
                let expected = expected.map(|expected| {
                    expected.told = true;
                    expected.cause
                });
                self.checks.check(Condition::Rejections, expected == Some(cause), || {
                    format!("{name}: message {number} was rejected ({cause:?}), expected was {expected:?}")
                });
                self.say(player, format_args!("message {number} is rejected: {cause:?}"));
            }
            Event::Detached { reason, message } => {
                if reason == Reason::Replaced {
                    self.replaced(player, &name);
                }
                self.say(player, format_args!("is out: {reason:?} {message}"));
            }
            Event::Failed { reason, message } => {
                self.say(player, format_args!("gives up: {reason:?} {message}"));
            }
            other => {
                if matches!(other, Event::Disconnected { .. } | Event::Moved { .. }) {
                    self.loses_connection(player);
                }
                self.say(player, format_args!("hears {other:?}"));
            }
        }
    }

    /// What was said of messages on a connection may be lost with it: it is said again on another.
    pub(super) fn loses_connection(&mut self, player: usize) {
        for (_, expected) in self.expected.range_mut((player, 0)..=(player, u64::MAX)) {
            expected.due = false;
        }
    }

    /// Whoever is told that everything was taken was told before of each message that the game failed on.
    pub(super) fn look_at_rejections(&mut self, player: usize) {
        let playing = self.players[player].as_ref().filter(|process| process.core.is_attached());
        let Some(process) = playing.filter(|process| process.core.unacknowledged() == 0) else { return };
        let at_the_end = self.finale.is_some();
        for (&(_, number), expected) in self.expected.range((player, 0)..=(player, u64::MAX)) {
            self.checks.check(Condition::Rejections, expected.told || !(expected.due || at_the_end), || {
                format!("{}: message {number} was not rejected, {:?} was expected", process.name, expected.cause)
            });
        }
    }

    fn attached(&mut self, player: usize, name: String, game: Game, attachment: &Attachment) {
        let Some(process) = self.players[player].as_mut() else { return };
        let is_first = !std::mem::replace(&mut process.was_attached, true);
        if attachment.joined {
            // What became of messages of another stay nobody is told.
            self.expected.retain(|&(other, _), _| other != player);
        }
        let &Attachment { joined, last_input, slot, .. } = attachment;
        self.newest.insert(name.clone(), player);
        let ledger = self.ledgers.entry(name).or_default();
        match (joined, is_first) {
            (true, _) if last_input == 0 => ledger.begin(),
            // Another process of the player joined in between.
            (true, _) | (false, true) => ledger.go_on_after(last_input),
            (false, false) => {}
        }
        let (replied, said) = (ledger.replied(), ledger.said());
        self.say(player, format_args!("is attached, {slot:?}, joined {joined}, {last_input} messages before"));
        if game != Game::Echo {
            return;
        }
        self.checks.check(Condition::ExactlyOnce, (replied..=said).contains(&last_input), || {
            format!("the session has {last_input} messages; {said} were said, {replied} answered")
        });
        if self.plant == Some(Plant::DoublesAfterResume)
            && !is_first
            && !joined
            && let Some(process) = self.players[player].as_mut()
        {
            let _ = process.core.send(Bytes::from_static(&[2, b'x', b'x']));
        }
    }

    fn sees(&mut self, player: usize, name: &str, game: Game, view: &View) {
        let Some(process) = self.players[player].as_mut() else { return };
        let shown = std::mem::replace(&mut process.shown, view.tick);
        let newest = self.stages.iter().find(|stage| stage.game == game).map_or(u64::MAX, |stage| stage.watch.tick());
        let shows_old = self.plant == Some(Plant::ShowsOldView) && view.tick.is_multiple_of(97);
        let tick = if shows_old { view.tick.saturating_sub(30) } else { view.tick };
        // What the view itself says of its tick; none where it is not a view of this game.
        let told = match game {
            Game::Citizens => ringside_guest::decode::<bad_citizens::View>(&view.body).map(|view| view.tick).ok(),
            Game::Arena => ringside_guest::decode::<arena::View>(&view.body).map(|_| tick).ok(),
            Game::Echo | Game::Pong => Some(tick),
        };
        let fits = (shown..=newest).contains(&tick) && told.is_some_and(|told| told <= tick);
        self.checks.check(Condition::ViewsGrow, fits, || {
            format!("{name} is shown tick {tick} ({told:?}) after {shown}; the session is at {newest}")
        });
        self.say(player, format_args!("sees tick {tick}, {} bytes", view.body.len()));
    }

    fn reply(&mut self, player: usize, name: &str, number: u64, body: &[u8], is_first: bool) {
        // A process that was replaced may still hear what was sent to it before.
        if self.newest.get(name) != Some(&player) {
            return;
        }
        match self.plant.filter(|_| number % 50 == 17 && !is_first) {
            Some(Plant::LosesReply) => return,
            Some(Plant::SwapsReplies) => {
                self.held_back = Some((number, body.to_vec()));
                return;
            }
            Some(Plant::DoublesReply) => self.hears_reply(name, number, body, is_first),
            _ => {}
        }
        self.hears_reply(name, number, body, is_first);
        if let Some((number, body)) = self.held_back.take() {
            self.hears_reply(name, number, &body, false);
        }
    }

    fn hears_reply(&mut self, name: &str, number: u64, body: &[u8], is_first: bool) {
        let fits = self.ledgers.entry(name.to_owned()).or_default().hear(number, body, is_first);
        self.checks
            .check(Condition::ExactlyOnce, fits.is_ok(), || format!("{name}: {}", fits.err().unwrap_or_default()));
    }

    /// A process is told that a newer connection of its player took over: another process of that player is there to
    /// have made it, and whoever was told this has stopped.
    fn replaced(&mut self, player: usize, name: &str) {
        let mine = self.players[player].as_ref().map_or(0, |process| process.started);
        let others = (self.players.iter().enumerate()).filter(|&(other, _)| other != player);
        let another = others.flat_map(|(_, process)| process).any(|other| other.name == name && !other.core.is_done());
        let once = self.told_replaced.insert(mine);
        self.checks.check(Condition::NewestWins, another && once, || {
            format!("{name}: process {mine} was told of a newer one; there is another: {another}, told once: {once}")
        });
        if self.plant == Some(Plant::StaysWhenReplaced)
            && let Some(process) = self.players[player].take()
        {
            let mut start = self.plan.cast[player].clone();
            start.name = process.name;
            self.started -= 1;
            let newer = self.started;
            self.plan.cast[player] = start;
            self.start(player);
            self.started = newer + 1;
            if let Some(again) = self.players[player].as_mut() {
                again.started = mine;
            }
        }
    }
}
