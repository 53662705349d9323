//! Writes what waits on marked connections.

use super::Peers;

impl Peers {
    /// Gives QUIC what it takes of all that waits.
    pub(super) fn write_all(&mut self) {
        let mut links = std::mem::take(&mut self.unwritten);
        for link in links.drain(..) {
            // One that is gone has nothing to be written, nor a mark.
            let Some((talk, quic)) = self.talk_and_quic(link) else { continue };
            talk.unwritten = false;
            talk.write_frames(quic);
            talk.write_longs(quic);
        }
        // Nothing marks a connection meanwhile: the list that grew is kept.
        self.unwritten = links;
    }
}
