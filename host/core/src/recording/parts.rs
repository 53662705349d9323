//! The parts of a recording, one a leader, and which of their records count: the log that the last leader went on with has
//! some of what the leaders before it wrote, by its lineage, and of branches that lost nothing.

use super::{EndReason, Item, Reader, RecordingError};
use crate::ids::{Epoch, Node, Position};
use crate::leadership::lineage::{Lineage, Term};

/// A part of a recording, as far as it counts.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// At its first frame.
    pub reader: Reader<'a>,
    /// The last position of it that is in the log.
    pub until: Position,
}

/// What is to be known of a part before it is read.
struct Found<'a> {
    reader: Reader<'a>,
    epoch: Epoch,
    lineage: Lineage,
    /// It says that another branch went on.
    is_forked: bool,
}

/// The parts of a recording whose records are in one log, in its order.
///
/// Of several branches of a session it is the one that went on: that of the newest epoch whose part does not say that it
/// lost.
///
/// # Errors
/// Bytes that do not begin like a recording, or a part that does not.
pub fn parts(bytes: &[u8]) -> Result<Vec<Part<'_>>, RecordingError> {
    let first = Reader::new(bytes)?;
    let mut begins = vec![first];
    let mut lasts = Vec::new();
    let mut at = first;
    loop {
        let mut last = at;
        let mut next = at;
        while next.skip() {
            (last, at) = (at, next);
        }
        lasts.push(last);
        match Reader::at(bytes, at.offset()) {
            Ok(reader) => begins.push(reader),
            // Whoever reads the part that this one ends comes upon what is wrong here.
            Err(RecordingError::Magic) => break,
            Err(error) => return Err(error),
        }
        at = begins[begins.len() - 1];
    }
    let mut found: Vec<Found<'_>> = Vec::new();
    if begins.len() > 1 {
        found = begins.iter().zip(lasts).filter_map(|(part, last)| look(*part, last)).collect();
    }
    found.sort_by_key(|part| (!part.is_forked, part.epoch));
    let Some(mut newest) = found.pop() else { return Ok(vec![Part { reader: first, until: Position::MAX }]) };
    found.sort_by_key(|part| part.epoch);
    let mut parts = vec![Part { reader: newest.reader, until: Position::MAX }];
    while let Some(part) = found.pop() {
        let mut terms = newest.lineage.terms().iter();
        if part.epoch < newest.epoch && terms.any(|term| term.epoch == part.epoch) {
            // Epochs that its leader began without a part of their own are in it.
            let is_other = |term: &&Term| term.epoch == newest.epoch || !is_of(term.epoch, part.epoch);
            let end = terms.find(is_other).map_or(Position::MAX, |Term { first, .. }| first.saturating_sub(1));
            parts.push(Part { reader: part.reader, until: end });
            newest = part;
        }
    }
    parts.reverse();
    Ok(parts)
}

/// Whether two epochs are of one run of a node.
fn is_of(one: Epoch, other: Epoch) -> bool {
    Node::of_epoch(one) == Node::of_epoch(other)
}

fn look<'a>(mut frames: Reader<'a>, mut last: Reader<'a>) -> Option<Found<'a>> {
    let reader = frames;
    let Ok(Some(Item::Header(header))) = frames.next_item() else { return None };
    let lineage = match frames.next_item() {
        Ok(Some(Item::GoesOn { lineage })) => lineage,
        _ => Lineage::new(header.epoch),
    };
    let is_forked = matches!(last.next_item(), Ok(Some(Item::End { reason: EndReason::Forked, .. })));
    Some(Found { reader, epoch: header.epoch, lineage, is_forked })
}
