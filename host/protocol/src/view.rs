//! Views on their way: numbered, cut into datagrams, newest first. Each connection has its own numbers.
//!
//! [`ViewEncoder`] holds the newest view until it is acknowledged and cuts it into fragments for whoever has room to
//! send; a newer view replaces one that is unsent or half sent. [`ViewDecoder`] puts the newest together and drops
//! what is older. Views travel in full for now: `baseline` is 0. Neither side knows the time: the caller decides when
//! to [`ViewEncoder::repeat`].

use bytes::{BufMut, Bytes};

use crate::datagram::{FragmentHeader, ViewHead};
use crate::limits::{VIEW_BYTES, VIEW_FRAGMENTS};

/// Why a view cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// It is longer than [`VIEW_BYTES`]; the one before stays.
    #[error("a view of {0} bytes is too long")]
    TooLong(usize),
    /// The path carries such small datagrams that the view would need more than [`VIEW_FRAGMENTS`]; it stays pending.
    #[error("datagrams of {0} bytes are too small for the view")]
    DatagramTooSmall(usize),
}

/// The newest view and what of it is still to be sent.
#[derive(Debug, Clone, Default)]
pub struct ViewEncoder {
    number: u64,
    acknowledged: u64,
    body: Bytes,
    tick: u64,
    committed_tick: u64,
    /// Bytes of each fragment but the last, once the first was sent: one number is always cut in one way.
    cut: Option<usize>,
    /// The fragment that is next; `None` where nothing waits.
    next: Option<usize>,
}

impl ViewEncoder {
    /// One that has sent nothing.
    pub fn new() -> Self {
        ViewEncoder::default()
    }

    /// Takes a newer view; what was not sent of the one before never will be. Answers its number.
    ///
    /// # Errors
    /// [`ViewError::TooLong`]; nothing changed.
    pub fn offer(&mut self, body: Bytes, tick: u64, committed_tick: u64) -> Result<u64, ViewError> {
        if body.len() > VIEW_BYTES {
            return Err(ViewError::TooLong(body.len()));
        }
        self.number += 1;
        self.body = body;
        self.tick = tick;
        self.committed_tick = committed_tick;
        self.cut = None;
        self.next = Some(0);
        Ok(self.number)
    }

    /// Whether a fragment waits to be sent.
    pub fn is_pending(&self) -> bool {
        self.next.is_some()
    }

    /// Whether the newest view was offered and not yet acknowledged.
    pub fn is_unacknowledged(&self) -> bool {
        self.acknowledged < self.number
    }

    /// Number of the newest view; 0 before any.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Sends the newest view again from its beginning if it is not acknowledged; answers whether there is one.
    /// For the keep-alive. A view that is half sent is left to finish.
    pub fn repeat(&mut self) -> bool {
        if self.is_unacknowledged() && !self.is_pending() {
            self.next = Some(0);
        }
        self.is_pending()
    }

    /// The client has view `number`. A number that was never sent is ignored, and answers false.
    pub fn acknowledge(&mut self, number: u64) -> bool {
        if number > self.number {
            return false;
        }
        self.acknowledged = self.acknowledged.max(number);
        if number == self.number {
            self.next = None;
        }
        true
    }

    /// Appends the next fragment to `out` as a whole datagram of at most `most` bytes; false where nothing is pending.
    /// If `most` has become too small for how the view was cut, the view begins again under a new number.
    ///
    /// # Errors
    /// [`ViewError::DatagramTooSmall`]; nothing was written.
    pub fn next_fragment(&mut self, most: usize, out: &mut impl BufMut) -> Result<bool, ViewError> {
        let Some(next) = self.next else { return Ok(false) };
        if let Some(cut) = self.cut {
            let header = self.header(next, self.count(cut));
            if header.size() + cut.min(self.body.len()) <= most {
                self.put_fragment(header, cut, out);
                return Ok(true);
            }
        }
        let cut = self.choose_cut(most)?;
        if self.cut.replace(cut).is_some() {
            self.number += 1;
        }
        self.next = Some(0);
        self.put_fragment(self.header(0, self.count(cut)), cut, out);
        Ok(true)
    }

    /// How many bytes each fragment carries where a datagram carries `most`.
    fn choose_cut(&self, most: usize) -> Result<usize, ViewError> {
        let number = self.number + 1;
        let size = |index, count| FragmentHeader { number, ..self.header(index, count) }.size();
        if size(0, 1) + self.body.len() <= most {
            return Ok(self.body.len().max(1));
        }
        let cut = most.saturating_sub(size(0, VIEW_FRAGMENTS).max(size(1, VIEW_FRAGMENTS)));
        if cut == 0 || self.count(cut) > VIEW_FRAGMENTS {
            return Err(ViewError::DatagramTooSmall(most));
        }
        Ok(cut)
    }

    fn count(&self, cut: usize) -> usize {
        self.body.len().div_ceil(cut).max(1)
    }

    fn header(&self, index: usize, count: usize) -> FragmentHeader {
        let head = ViewHead { tick: self.tick, committed_tick: self.committed_tick, baseline: 0 };
        FragmentHeader {
            number: self.number,
            index: index as u8,
            count: count as u8,
            head: (index == 0).then_some(head),
        }
    }

    fn put_fragment(&mut self, header: FragmentHeader, cut: usize, out: &mut impl BufMut) {
        let index = usize::from(header.index);
        let end = ((index + 1) * cut).min(self.body.len());
        header.encode(out);
        out.put_slice(&self.body[(index * cut).min(end)..end]);
        self.next = (end < self.body.len()).then_some(index + 1);
    }
}

/// A view that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its number on its connection, from 1.
    pub number: u64,
    /// The tick that it shows.
    pub tick: u64,
    /// The last committed tick; what is newer is provisional.
    pub committed_tick: u64,
    /// What the player may see.
    pub body: Bytes,
}

/// What a fragment led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fragment {
    /// A view newer than all before is complete: acknowledge it.
    Complete(View),
    /// More fragments are needed.
    Partial,
    /// The newest view came again: acknowledge it again.
    Repeated,
    /// It belongs to an older view, or was there already.
    Stale,
    /// It cannot be used: fragments contradict each other, the view is too long, or the baseline is not at hand.
    Unusable,
}

/// Puts the newest view together; keeps at most one that is not complete.
#[derive(Debug, Clone, Default)]
pub struct ViewDecoder {
    complete: u64,
    number: u64,
    head: Option<ViewHead>,
    parts: Vec<Option<Bytes>>,
    missing: usize,
    bytes: usize,
}

impl ViewDecoder {
    /// One that has seen nothing.
    pub fn new() -> Self {
        ViewDecoder::default()
    }

    /// Number of the newest complete view, to acknowledge; 0 before any.
    pub fn newest(&self) -> u64 {
        self.complete
    }

    /// Takes a fragment.
    pub fn take(&mut self, header: FragmentHeader, body: Bytes) -> Fragment {
        if header.number <= self.complete {
            return if header.number == self.complete { Fragment::Repeated } else { Fragment::Stale };
        }
        if header.number < self.number {
            return Fragment::Stale;
        }
        if header.head.is_some_and(|head| head.baseline != 0) {
            return Fragment::Unusable;
        }
        if header.number > self.number {
            self.begin(header.number, usize::from(header.count));
        }
        self.add(header, body)
    }

    fn begin(&mut self, number: u64, count: usize) {
        self.number = number;
        self.head = None;
        self.bytes = 0;
        self.missing = count;
        self.parts.clear();
        self.parts.resize(count, None);
    }

    fn add(&mut self, header: FragmentHeader, body: Bytes) -> Fragment {
        let index = usize::from(header.index);
        if self.parts.len() != usize::from(header.count) || index >= self.parts.len() {
            return Fragment::Unusable;
        }
        if self.parts[index].is_some() {
            return Fragment::Stale;
        }
        if self.bytes + body.len() > VIEW_BYTES {
            return Fragment::Unusable;
        }
        self.bytes += body.len();
        self.missing -= 1;
        self.head = self.head.or(header.head);
        self.parts[index] = Some(body);
        match self.head {
            Some(head) if self.missing == 0 => self.finish(head),
            _ => Fragment::Partial,
        }
    }

    fn finish(&mut self, head: ViewHead) -> Fragment {
        self.complete = self.number;
        let body = match &mut self.parts[..] {
            [only] => only.take().unwrap_or_default(),
            parts => {
                let mut whole = Vec::with_capacity(self.bytes);
                parts.iter().flatten().for_each(|part| whole.extend_from_slice(part));
                whole.into()
            }
        };
        self.parts.clear();
        Fragment::Complete(View { number: self.number, tick: head.tick, committed_tick: head.committed_tick, body })
    }
}

#[cfg(test)]
mod tests;
