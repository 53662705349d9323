//! A path with a known delay, in front of a server on loopback: every packet passes, in order, so much later. In order
//! matters: a handshake whose packets overtake each other waits for a timer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::BenchError;

/// The longest datagram that passes.
const SIZE: usize = 2048;

/// A path; nothing passes any more when it is dropped.
pub struct Delayed {
    _task: JoinSet<()>,
}

/// A packet under way, and when it arrives.
type Packet = (Instant, Vec<u8>);

impl Delayed {
    /// A path from an address to a server's, which delays each way.
    pub async fn start(front: SocketAddr, server: SocketAddr, delay: Duration) -> Result<Delayed, BenchError> {
        let front = Arc::new(UdpSocket::bind(front).await.map_err(BenchError::setup)?);
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Ends with this task, and so with the path.
            let mut flows = JoinSet::new();
            let mut known: HashMap<SocketAddr, UnboundedSender<Packet>> = HashMap::new();
            let mut buffer = [0; SIZE];
            loop {
                let Ok((length, client)) = front.recv_from(&mut buffer).await else { continue };
                let packet = (Instant::now() + delay, buffer[..length].to_vec());
                let flow = known.entry(client).or_insert_with(|| {
                    let (up, packets) = unbounded_channel();
                    flows.spawn(pass(Arc::clone(&front), client, server, packets, delay));
                    up
                });
                // What a broken flow does not take is lost, as on a network.
                let _ = flow.send(packet);
            }
        });
        Ok(Delayed { _task: task })
    }
}

/// A client's packets, both ways.
async fn pass(
    front: Arc<UdpSocket>,
    client: SocketAddr,
    server: SocketAddr,
    mut up: UnboundedReceiver<Packet>,
    delay: Duration,
) {
    let Ok(socket) = UdpSocket::bind(("127.0.0.1", 0)).await else { return };
    let (back, mut down) = unbounded_channel::<Packet>();
    let read = async {
        let mut buffer = [0; SIZE];
        loop {
            if let Ok((length, _)) = socket.recv_from(&mut buffer).await {
                let _ = back.send((Instant::now() + delay, buffer[..length].to_vec()));
            }
        }
    };
    let forth = async {
        while let Some((at, packet)) = up.recv().await {
            tokio::time::sleep_until(at).await;
            let _ = socket.send_to(&packet, server).await;
        }
    };
    let return_them = async {
        while let Some((at, packet)) = down.recv().await {
            tokio::time::sleep_until(at).await;
            let _ = front.send_to(&packet, client).await;
        }
    };
    tokio::join!(read, forth, return_them);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_arrive_late_and_in_order_both_ways() {
        let server = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let front = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        let delay = Duration::from_millis(5);
        let path = Delayed::start(front, server.local_addr().unwrap(), delay).await.unwrap();
        let client = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let begun = Instant::now();
        for number in 0..20 {
            client.send_to(&[number], front).await.unwrap();
        }
        let mut buffer = [0; 8];
        for number in 0..20 {
            let (_, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(buffer[0], number);
            server.send_to(&[number], from).await.unwrap();
        }
        for number in 0..20 {
            client.recv_from(&mut buffer).await.unwrap();
            assert_eq!(buffer[0], number);
        }
        assert!(begun.elapsed() >= 2 * delay);
        drop(path);
    }
}
