//! QUIC without cryptography, for virtual time: packets are what they say, so that a run depends on its seed alone and a
//! packet costs little. A checksum in place of the seal tells a damaged packet from a whole one. The handshake is the
//! exchange of transport parameters; nobody shows who they are. Our own, because the library for this turns on features of
//! QUIC's that the program does not have, and everything above QUIC was compiled twice.

use std::any::Any;
use std::sync::Arc;

use bytes::BytesMut;
use quinn_proto::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError};

/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 8;

/// Both ends' configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plaintext;

impl ClientConfig for Plaintext {
    fn start_session(
        self: Arc<Self>,
        _version: u32,
        _server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        Ok(Box::new(Exchange::new(Side::Client, *params)))
    }
}

impl ServerConfig for Plaintext {
    fn initial_keys(&self, _version: u32, _dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        Ok(keys())
    }

    fn retry_tag(&self, _version: u32, _orig_dst_cid: &ConnectionId, _packet: &[u8]) -> [u8; 16] {
        [0; 16]
    }

    fn start_session(self: Arc<Self>, _version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(Exchange::new(Side::Server, *params))
    }
}

/// The exchange of transport parameters, over the three levels that a handshake has.
struct Exchange {
    side: Side,
    own: TransportParameters,
    peers: Option<TransportParameters>,
    has_said: bool,
    /// Levels that are still to be gone up.
    levels: u8,
}

impl Exchange {
    fn new(side: Side, own: TransportParameters) -> Exchange {
        Exchange { side, own, peers: None, has_said: false, levels: 2 }
    }

    fn say(&mut self, buffer: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_said, true) {
            self.own.write(buffer);
        }
    }
}

impl Session for Exchange {
    fn initial_keys(&self, _dst_cid: &ConnectionId, _side: Side) -> Keys {
        keys()
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.peers.map(|peers| Box::new(peers) as Box<dyn Any>)
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        Some(false)
    }

    fn is_handshaking(&self) -> bool {
        self.peers.is_none() || !self.has_said && self.levels > 0
    }

    fn read_handshake(&mut self, mut buffer: &[u8]) -> Result<bool, TransportError> {
        if self.peers.is_none() {
            self.peers = Some(TransportParameters::read(self.side, &mut buffer)?);
        }
        Ok(true)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(self.peers)
    }

    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        // A client says its parameters in the first packet, a server in those of the level above.
        if self.side.is_client() || self.levels == 1 {
            self.say(buffer);
        }
        self.levels = self.levels.checked_sub(1)?;
        Some(keys())
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        Some(keys().packet)
    }

    fn is_valid_retry(&self, _orig_dst_cid: &ConnectionId, _header: &[u8], _payload: &[u8]) -> bool {
        true
    }

    fn export_keying_material(
        &self,
        _output: &mut [u8],
        _label: &[u8],
        _context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Ok(())
    }
}

fn keys() -> Keys {
    Keys {
        header: KeyPair { local: Box::new(Bare), remote: Box::new(Bare) },
        packet: KeyPair { local: Box::new(Bare), remote: Box::new(Bare) },
    }
}

/// Hides nothing.
struct Bare;

impl HeaderKey for Bare {
    fn decrypt(&self, _pn_offset: usize, _packet: &mut [u8]) {}

    fn encrypt(&self, _pn_offset: usize, _packet: &mut [u8]) {}

    fn sample_size(&self) -> usize {
        0
    }
}

impl PacketKey for Bare {
    fn encrypt(&self, _packet: u64, buffer: &mut [u8], header_len: usize) {
        let (header, payload) = buffer.split_at_mut(header_len);
        let (payload, checksum) = payload.split_at_mut(payload.len() - CHECKSUM_BYTES);
        checksum.copy_from_slice(&sum(header, payload));
    }

    fn decrypt(&self, _packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        let length = payload.len().checked_sub(CHECKSUM_BYTES).ok_or(CryptoError)?;
        let checksum = payload.split_off(length);
        if checksum[..] == sum(header, payload) { Ok(()) } else { Err(CryptoError) }
    }

    fn tag_len(&self) -> usize {
        CHECKSUM_BYTES
    }

    fn confidentiality_limit(&self) -> u64 {
        u64::MAX
    }

    fn integrity_limit(&self) -> u64 {
        u64::MAX
    }
}

/// A checksum of a packet, and of where its header ends.
fn sum(header: &[u8], payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let fold = |sum: u64, bytes: &[u8]| {
        bytes.chunks(8).fold(sum ^ bytes.len() as u64, |sum, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let product = u128::from(sum ^ u64::from_le_bytes(word)) * 0x9e37_79b9_7f4a_7c15;
            product as u64 ^ (product >> 64) as u64
        })
    };
    fold(fold(0x5851_f42d_4c95_7f2d, header), payload).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_packets_are_read_and_damaged_ones_are_not() {
        let mut packet: Vec<u8> = (0..100).collect();
        PacketKey::encrypt(&Bare, 0, &mut packet, 20);
        let open = |packet: &[u8], header: usize| {
            let mut payload = BytesMut::from(&packet[header..]);
            PacketKey::decrypt(&Bare, 0, &packet[..header], &mut payload).map(|()| payload)
        };
        assert_eq!(open(&packet, 20).unwrap()[..], packet[20..100 - CHECKSUM_BYTES]);
        for bit in 0..packet.len() * 8 {
            let mut damaged = packet.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&damaged, 20).is_err(), "bit {bit}");
        }
        assert!(open(&packet, 21).is_err());
        assert!(open(&packet[..25], 20).is_err());
    }
}
