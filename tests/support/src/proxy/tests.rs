use super::*;
use crate::wait::within;

async fn echo_server() -> SocketAddr {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], from).await;
        }
    });
    address
}

async fn client(proxy: &Proxy) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    socket.connect(proxy.address()).await.unwrap();
    socket
}

#[tokio::test]
async fn a_good_link_carries_both_ways_and_keeps_clients_apart() {
    let proxy = Proxy::start(echo_server().await, Faults::default(), 1).await.unwrap();
    let clients = [client(&proxy).await, client(&proxy).await];
    for (number, client) in clients.iter().enumerate() {
        client.send(&[number as u8]).await.unwrap();
    }
    for (number, client) in clients.iter().enumerate() {
        let mut buffer = [0; 8];
        let length = within("an echo", client.recv(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..length], &[number as u8]);
    }
    assert_eq!(proxy.clients().len(), 2);
    assert_eq!(proxy.tally(), Tally { passed: 4, ..Tally::default() });
}

#[tokio::test]
async fn a_cut_swallows_everything_until_it_ends() {
    let proxy = Proxy::start(echo_server().await, Faults::default(), 1).await.unwrap();
    let client = client(&proxy).await;
    let mut buffer = [0; 8];
    client.send(b"a").await.unwrap();
    within("an echo", client.recv(&mut buffer)).await.unwrap();
    assert!(proxy.cut(client.local_addr().unwrap(), Duration::from_secs(3600)));
    client.send(b"b").await.unwrap();
    crate::wait::until("the packet to fall into the cut", || async { (proxy.tally().cut == 1).then_some(()) }).await;
    assert_eq!(proxy.fewest_cuts(), 1);
    assert_eq!(proxy.cut_all(Duration::ZERO), 1);
    client.send(b"c").await.unwrap();
    let length = within("an echo after the cut", client.recv(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..length], b"c");
    assert!(proxy.cut(client.local_addr().unwrap(), Duration::from_secs(3600)));
    proxy.mend(client.local_addr().unwrap());
    client.send(b"d").await.unwrap();
    let length = within("an echo after it is mended", client.recv(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..length], b"d");
}

#[tokio::test]
async fn a_rough_link_loses_some_and_doubles_some() {
    let proxy = Proxy::start(echo_server().await, Faults::rough(), 7).await.unwrap();
    let client = client(&proxy).await;
    for number in 0..200u8 {
        client.send(&[number]).await.unwrap();
        if number % 20 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let tally = crate::wait::until("all packets to have met their fate", || async {
        let tally = proxy.tally();
        (tally.passed + tally.dropped + tally.doubled >= 300).then_some(tally)
    })
    .await;
    assert!(tally.dropped > 0 && tally.doubled > 0 && tally.delayed > 0, "{tally:?}");
}
