//! What a player's bot says and hears in a room: the arena's bot over Ringside's datagrams. Used against Ringside and
//! against the ordinary quinn server, so that both see the same players.

use std::sync::Mutex;
use std::sync::PoisonError;

use arena::bot;
use bytes::{Bytes, BytesMut};
use ringside_guest::Slot;
use ringside_protocol::datagram::{ServerDatagram, encode_input};

/// One player.
pub struct Bot {
    slot: Slot,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Datagrams that were sent.
    sent: u64,
    /// Number of the newest view.
    seen: u64,
    view: Bytes,
}

impl Bot {
    /// The bot in a slot.
    pub fn new(slot: u16) -> Bot {
        Bot { slot: Slot(slot), state: Mutex::default() }
    }

    /// The next input, from what the bot sees.
    pub fn input(&self) -> Bytes {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let view = ringside_guest::decode(&state.view).ok();
        let input = view.map_or_else(arena::Input::default, |view| bot::policy(self.slot, &view));
        state.sent += 1;
        let mut bytes = BytesMut::new();
        encode_input(state.sent, state.seen, &ringside_guest::encode(&input), &mut bytes);
        bytes.freeze()
    }

    /// A datagram came.
    pub fn received(&self, datagram: &Bytes) {
        if let Ok(ServerDatagram::ViewFragment { header, body }) = ServerDatagram::decode(datagram.clone()) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if header.number > state.seen {
                (state.seen, state.view) = (header.number, body);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside_protocol::datagram::{ClientDatagram, FragmentHeader, ViewHead};

    #[test]
    fn a_bot_answers_the_newest_view_that_it_saw() {
        let bot = Bot::new(1);
        let mut world = arena::world::World::<20>::default();
        world.join(Slot(0), || 0.1);
        world.join(Slot(1), || 0.9);
        let view = world.view();
        let head = ViewHead { tick: 9, committed_tick: 9, baseline: 0 };
        let header = FragmentHeader { number: 5, index: 0, count: 1, head: Some(head) };
        let body = Bytes::from(ringside_guest::encode(&view));
        let mut datagram = BytesMut::new();
        ServerDatagram::ViewFragment { header, body }.encode(&mut datagram);
        bot.received(&datagram.freeze());
        let Ok(ClientDatagram::Input { number, view_acknowledged, body }) = ClientDatagram::decode(bot.input()) else {
            panic!("no input")
        };
        assert_eq!((number, view_acknowledged), (1, 5));
        let input: arena::Input = ringside_guest::decode(&body).unwrap();
        assert_eq!(input, bot::policy(Slot(1), &view));
        assert_ne!(input, arena::Input::default());
    }
}
