//! The door over real sockets: what waits, what is given up, and how it closes.

use std::net::SocketAddr;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::admin;
use crate::limits::ADMIN_CONNECTIONS;

const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct Open {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn open(router: Router, bounds: Bounds) -> Open {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        serve(listener, Plain, router, bounds, stopped).await;
    });
    Open { address, stop, served }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn connect(open: &Open) -> TcpStream {
    TcpStream::connect(open.address).await.expect("a connection")
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes).await.expect("an answer");
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(ASKED).await.expect("asked");
    answer(stream).await
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_until_one_ends() {
    let open = open(hello(), admin::bounds()).await;
    let mut inside = Vec::new();
    for _ in 0..ADMIN_CONNECTIONS {
        inside.push(connect(&open).await);
    }
    let mut beyond = connect(&open).await;
    beyond.write_all(ASKED).await.expect("the system takes it");
    let refused = beyond.try_read(&mut [0]).expect_err("nothing is answered to it");
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    // Who was answered gives the seat back, whether it goes away or not.
    let mut last = inside.pop().expect("one of them");
    assert!(ask(&mut last).await.ends_with("hello"));
    assert!(answer(&mut beyond).await.ends_with("hello"), "its turn has come");
    let mut rest = Vec::new();
    last.read_to_end(&mut rest).await.expect("closed in order");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn who_stays_silent_or_never_ends_a_head_is_closed() {
    let bounds = Bounds { connections: 1, head: Duration::from_millis(50), ..admin::bounds() };
    let open = open(hello(), bounds).await;
    for head in [&b""[..], b"GET / HTTP/1.1\r\nhost: ", ASKED] {
        let mut stream = connect(&open).await;
        stream.write_all(head).await.expect("written");
        let mut rest = Vec::new();
        // Also after an answer: the connection is not kept for nothing.
        stream.read_to_end(&mut rest).await.expect("closed in order");
        assert_eq!(rest.ends_with(b"hello"), head == ASKED);
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let open = open(hello(), admin::bounds()).await;
    let mut stream = connect(&open).await;
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(HTTP_HEAD_BYTES));
    stream.write_all(head.as_bytes()).await.expect("written");
    let refused = answer(&mut stream).await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_closed() {
    let large = Router::new().route("/", get(async || vec![0u8; 64 << 20]));
    let bounds = Bounds { connections: 1, write_stall: Duration::from_millis(50), ..admin::bounds() };
    let open = open(large, bounds).await;
    let mut deaf = connect(&open).await;
    deaf.write_all(ASKED).await.expect("written");
    // There is one seat: the next is answered only once the deaf one has lost it.
    let mut next = connect(&open).await;
    assert!(ask(&mut next).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_under_way_is_finished_at_the_stop() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (entered, leave) = (entered.clone(), leave.clone());
        post(async move || {
            entered.notify_one();
            leave.notified().await;
            "done"
        })
    };
    let open = open(Router::new().route("/", slow), admin::bounds()).await;
    let (mut busy, mut idle) = (connect(&open).await, connect(&open).await);
    busy.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.expect("written");
    entered.notified().await;
    open.stop.send(()).expect("it still serves");
    assert_eq!(answer(&mut idle).await, "", "an idle connection is closed");
    leave.notify_one();
    assert!(answer(&mut busy).await.ends_with("done"));
    open.served.await.expect("it ends");
}
