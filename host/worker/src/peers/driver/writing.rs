//! Writes what waits on marked connections.

use super::Peers;

impl Peers {
    /// Gives QUIC what it takes of all that waits.
    pub(super) fn write_all(&mut self) {
        let mut links = std::mem::take(&mut self.unwritten);
        for link in links.drain(..) {
            let talk =
                self.talks.get_mut(link.index as usize).and_then(Option::as_mut).filter(|talk| talk.link == link);
            let Some(talk) = talk else { continue };
            talk.unwritten = false;
            let Some(quic) = self.endpoint.link(link) else { continue };
            talk.write_frames(quic);
            talk.write_longs(quic);
        }
        // Nothing marks a connection meanwhile: the list that grew is kept.
        self.unwritten = links;
    }
}
