//! What one player of the echo has said and heard in a seat, whatever became of connections and processes: the proof of
//! exactly once. A reply carries the running hash over everything that the session was told, so a reply that fits
//! shows that all before it were applied once and in order.

use bytes::Bytes;

/// A seat's messages.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Bodies by number, from 1.
    said: Vec<Bytes>,
    /// The running hash after each.
    hashes: Vec<u64>,
    /// The highest reply that was seen.
    replied: u64,
    /// The last reply that the present process heard.
    last: u64,
}

impl Ledger {
    /// The player has a new seat.
    pub fn begin(&mut self) {
        *self = Ledger::default();
    }

    /// A process that knows nothing of those before it has found the seat again. What the session does not have was lost
    /// with the process before.
    pub fn go_on_after(&mut self, last_input: u64) {
        self.said.truncate(last_input as usize);
        self.hashes.truncate(last_input as usize);
    }

    /// The client has taken a message under this number.
    ///
    /// # Errors
    /// The number is not the next.
    pub fn say(&mut self, number: u64, body: Bytes) -> Result<(), String> {
        if number != self.said.len() as u64 + 1 {
            return Err(format!("message {number} was taken, {} were before it", self.said.len()));
        }
        let before = self.hashes.last().copied().unwrap_or(echo::EMPTY);
        self.hashes.push(echo::extend(before, &body));
        self.said.push(body);
        Ok(())
    }

    /// A reply came. The first that a new process hears may have been heard before it.
    ///
    /// # Errors
    /// What does not fit.
    pub fn hear(&mut self, number: u64, reply: &[u8], is_first: bool) -> Result<(), String> {
        let reply: echo::Reply = postcard::from_bytes(reply).map_err(|error| format!("reply {number}: {error}"))?;
        let index = number.wrapping_sub(1) as usize;
        let (Some(said), Some(&hash)) = (self.said.get(index), self.hashes.get(index)) else {
            return Err(format!("reply {number} came, {} were said", self.said.len()));
        };
        let in_order = if is_first { number <= self.replied + 1 } else { number == self.last + 1 };
        if !in_order {
            let last = if is_first { self.replied } else { self.last };
            return Err(format!("reply {number} came, {last} was the last before"));
        }
        if reply.number != number || reply.body.0 != *said {
            return Err(format!("reply {number} is the answer to {} or to other bytes", reply.number));
        }
        if reply.hash != hash {
            return Err(format!("reply {number}: the session was told something else, or in another order"));
        }
        self.replied = self.replied.max(number);
        self.last = number;
        Ok(())
    }

    /// Messages said.
    pub fn said(&self) -> u64 {
        self.said.len() as u64
    }

    /// The highest reply that was heard.
    pub fn replied(&self) -> u64 {
        self.replied
    }
}

#[cfg(test)]
mod tests {
    use ringside_guest::encode;

    use super::*;

    fn reply(number: u64, all: &[&[u8]]) -> Vec<u8> {
        let hash = all.iter().fold(echo::EMPTY, |hash, body| echo::extend(hash, body));
        let body = ringside_guest::Bytes(all[all.len() - 1].to_vec());
        encode(&echo::Reply { number, hash, body })
    }

    fn said(bodies: &[&'static [u8]]) -> Ledger {
        let mut ledger = Ledger::default();
        bodies.iter().zip(1..).for_each(|(body, number)| ledger.say(number, Bytes::from_static(body)).unwrap());
        ledger
    }

    #[test]
    fn what_was_said_once_in_order_fits() {
        let mut ledger = said(&[b"a", b"b"]);
        ledger.hear(1, &reply(1, &[b"a"]), true).unwrap();
        ledger.hear(2, &reply(2, &[b"a", b"b"]), false).unwrap();
        // A new process hears again what the one before it had not acknowledged.
        ledger.go_on_after(2);
        ledger.hear(2, &reply(2, &[b"a", b"b"]), true).unwrap();
        assert_eq!((ledger.said(), ledger.replied()), (2, 2));
    }

    #[test]
    fn losses_doubles_and_swaps_do_not_fit() {
        assert!(said(&[b"a", b"b"]).hear(1, &reply(1, &[b"b", b"a"]), true).unwrap_err().contains("something else"));
        assert!(said(&[b"a", b"b"]).hear(1, &reply(1, &[b"a", b"a"]), true).is_err());
        assert!(said(&[b"a", b"b"]).hear(1, &reply(2, &[b"a", b"b"]), true).unwrap_err().contains("answer to 2"));
        assert!(said(&[b"a"]).hear(2, &reply(2, &[b"a", b"b"]), true).unwrap_err().contains("1 were said"));
        assert!(said(&[b"a", b"b", b"c"]).hear(3, &reply(3, &[b"a", b"b", b"c"]), true).is_err(), "a gap");
        let mut ledger = said(&[b"a", b"b", b"c"]);
        ledger.hear(1, &reply(1, &[b"a"]), true).unwrap();
        let gap = ledger.hear(3, &reply(3, &[b"a", b"b", b"c"]), false).unwrap_err();
        assert!(gap.contains("reply 3 came, 1 was the last"), "{gap}");
        ledger.hear(2, &reply(2, &[b"a", b"b"]), false).unwrap();
        let twice = ledger.hear(2, &reply(2, &[b"a", b"b"]), false).unwrap_err();
        assert!(twice.contains("reply 2 came, 2 was the last"), "{twice}");
        assert!(said(&[b"a"]).say(1, Bytes::from_static(b"again")).is_err());
    }
}
