//! Checkpoints on their way in: parts of several, put together. Bounded by [`CHECKPOINTS_IN`]; the bytes of each by the
//! link's own bound.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ringside_core::leadership::record::Member;

use super::wire;
use crate::limits::CHECKPOINTS_IN;

/// Something long on its way in.
#[derive(Debug)]
struct Arrival {
    from: Member,
    stream: u64,
    bytes: BytesMut,
}

/// What is on its way in.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(VecDeque<Arrival>);

/// It is not about sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotOurs;

impl Arrivals {
    /// The next part of something; the whole where it is the last. Beyond the bound the oldest is given up.
    ///
    /// # Errors
    /// [`NotOurs`]; nothing was taken.
    pub fn take(&mut self, from: Member, stream: u64, part: &Bytes, last: bool) -> Result<Option<Bytes>, NotOurs> {
        let known = self.0.iter().position(|one| (one.from, one.stream) == (from, stream));
        if known.is_none() && !wire::is_ours(part) {
            return Err(NotOurs);
        }
        let before = known.and_then(|at| self.0.remove(at));
        let mut one = before.unwrap_or_else(|| Arrival { from, stream, bytes: BytesMut::new() });
        one.bytes.extend_from_slice(part);
        if last {
            return Ok(Some(one.bytes.freeze()));
        }
        if self.0.len() >= CHECKPOINTS_IN {
            self.0.pop_front();
        }
        self.0.push_back(one);
        Ok(None)
    }

    /// What was on its way from somebody does not come any more.
    pub fn forget(&mut self, from: Member) {
        self.0.retain(|one| one.from != from);
    }
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{Node, NodeId, WorkerId};

    use super::*;

    fn member(id: u64) -> Member {
        Member { node: Node { id: NodeId(id), generation: 1 }, worker: WorkerId(0) }
    }

    fn first() -> Bytes {
        let mut body = Vec::new();
        wire::begin(&mut body);
        body.into()
    }

    #[test]
    fn parts_are_put_together_by_where_they_come_from() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.take(member(1), 1, &Bytes::from("else"), false), Err(NotOurs));
        for stream in [1, 2] {
            assert_eq!(arrivals.take(member(1), stream, &first(), false), Ok(None));
        }
        let whole = arrivals.take(member(1), 1, &Bytes::from("one"), true).unwrap().unwrap();
        assert_eq!(&whole[..], [&first()[..], b"one"].concat());
        arrivals.forget(member(1));
        assert_eq!(arrivals.take(member(1), 2, &Bytes::from("two"), true), Err(NotOurs));
    }

    #[test]
    fn checkpoints_beyond_the_bound_are_given_up_oldest_first() {
        let mut arrivals = Arrivals::default();
        for stream in 0..=CHECKPOINTS_IN as u64 {
            assert_eq!(arrivals.take(member(1), stream, &first(), false), Ok(None));
        }
        assert_eq!(arrivals.0.len(), CHECKPOINTS_IN);
        assert_eq!(arrivals.take(member(1), 0, &Bytes::from("rest"), true), Err(NotOurs));
        assert!(arrivals.take(member(1), 1, &Bytes::from("rest"), true).unwrap().is_some());
    }
}
