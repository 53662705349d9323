//! Room for bytes that are handed on and forgotten soon: packets, views, inputs. Pieces are cut from chunks of one size;
//! a chunk that is used up rests until all of its pieces are gone, and then serves again, so that a steady worker
//! allocates nothing for them. Where pieces live longer, chunks are given up and others are allocated.

use bytes::{Bytes, BytesMut};

/// Chunks that rest at most: with the one in use, pieces may live as long as it takes to fill this many.
const RESTING: usize = 2;

/// Chunks of `SIZE` bytes.
pub(crate) struct Arena<const SIZE: usize> {
    chunk: BytesMut,
    /// The one that rests longest is next.
    resting: [BytesMut; RESTING],
    next: usize,
}

impl<const SIZE: usize> Arena<SIZE> {
    /// One that has allocated nothing yet.
    pub(crate) fn new() -> Self {
        Arena { chunk: BytesMut::new(), resting: Default::default(), next: 0 }
    }

    /// A buffer with room for so many bytes, to be written and [`cut`](Arena::cut).
    pub(crate) fn room(&mut self, bytes: usize) -> &mut BytesMut {
        if self.chunk.capacity() - self.chunk.len() < bytes && !self.chunk.try_reclaim(bytes.max(SIZE)) {
            let resting = &mut self.resting[self.next];
            self.next = (self.next + 1) % RESTING;
            std::mem::swap(&mut self.chunk, resting);
            if !self.chunk.try_reclaim(bytes.max(SIZE)) {
                self.chunk = BytesMut::with_capacity(bytes.max(SIZE));
            }
        }
        &mut self.chunk
    }

    /// What was written since the last cut.
    pub(crate) fn cut(&mut self) -> BytesMut {
        self.chunk.split()
    }

    /// A copy of these bytes.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.copy_mut(bytes).freeze()
    }

    /// A copy of these bytes that may be changed.
    pub(crate) fn copy_mut(&mut self, bytes: &[u8]) -> BytesMut {
        self.room(bytes.len()).extend_from_slice(bytes);
        self.cut()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use super::*;

    /// How many chunks so many copies are cut from, each of which lives until `alive` later ones were made.
    fn chunks(pieces: usize, alive: usize) -> usize {
        let mut arena = Arena::<1000>::new();
        let (mut kept, mut first) = (VecDeque::new(), BTreeSet::new());
        for number in 0..pieces {
            let piece = arena.copy(&[number as u8; 100]);
            assert!(kept.iter().all(|(byte, piece): &(u8, Bytes)| piece.iter().all(|other| other == byte)));
            if number % 10 == 0 {
                first.insert(piece.as_ptr());
            }
            kept.push_back((number as u8, piece));
            if kept.len() > alive {
                kept.pop_front();
            }
        }
        first.len()
    }

    #[test]
    fn chunks_serve_again_when_their_pieces_are_gone() {
        assert_eq!(chunks(1_000, 0), 1);
        for alive in [5, 15] {
            assert_eq!(chunks(1_000, alive), 1 + RESTING, "{alive} pieces are alive");
        }
    }

    #[test]
    fn pieces_that_stay_keep_their_bytes_and_large_ones_fit() {
        assert!(chunks(200, 200) >= 20, "nothing is written over");
        let mut arena = Arena::<1000>::new();
        let large = arena.copy(&[1; 5000]);
        assert_eq!((large.len(), arena.copy(b"small").len()), (5000, 5));
    }
}
