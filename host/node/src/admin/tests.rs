//! The admin API over a real socket, with a control task that has no workers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use reqwest::{Client, Method, StatusCode};
use ringside_core::directory::Limits;
use ringside_protocol::frame::Certificate;
use ringside_sandbox::{Sandbox, SandboxConfig};
use ringside_test_support::guests;
use ringside_test_support::wait::until;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::*;
use crate::catalogue::Catalogue;
use crate::cluster::games::Games;
use crate::cluster::peers::Peers;
use crate::cluster::secret::ClusterSecret;
use crate::control::{self, Control, Identity};
use crate::limits::UPLOADS;
use crate::recorder::Recorder;
use crate::renewal::Shown;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Api {
    client: Client,
    services: Arc<Services>,
    address: SocketAddr,
}

impl Api {
    async fn start() -> Api {
        Api::bounded(bounds()).await
    }

    async fn bounded(bounds: Bounds) -> Api {
        let store = Store::memory();
        let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(4) }).unwrap();
        let (control, queue) = Control::queue(Default::default());
        let identity = Identity {
            node: 1,
            generation: 1,
            started: std::time::Instant::now(),
            certificate: ringside_protocol::frame::Certificate([0; 32]),
        };
        tokio::spawn(control::run(
            control::Desk::new(identity, Limits { sessions: 10 }, false, BTreeMap::new()),
            queue,
        ));
        let nowhere = ([127, 0, 0, 1], 1).into();
        let about = NodeInfo {
            node: "1".to_owned(),
            cluster: "c".to_owned(),
            admin: String::new(),
            version: "test".to_owned(),
            pid: 1,
            uptime_s: 0,
            state: String::new(),
            store: store.name().to_owned(),
            certificate_sha256: String::new(),
            resolve: String::new(),
            certificate_not_after_s: 0,
            links: nowhere,
            gossip: nowhere,
            draining: false,
            sessions: 0,
            games: 0,
            workers: Vec::new(),
            other_doors: Vec::new(),
        };
        let secret = ClusterSecret::generate(std::time::SystemTime::now()).unwrap();
        let catalogue = Arc::new(Catalogue::new(sandbox, store.clone()));
        let desk = Desk {
            games: Games::new(Arc::clone(&catalogue), control.clone()),
            control,
            catalogue,
            recorder: Recorder::start(store.clone()),
            peers: Peers::alone(&secret),
            about: Arc::new(about),
            started: std::time::Instant::now(),
            certificate: watch::channel(Shown { sha256: Certificate([7; 32]), not_after_s: 9 }).1,
            leaving: Default::default(),
            upgrades: Default::default(),
            moves: Arc::default(),
        };
        let tokens = TokenKey::new(secret.token_key()).unwrap();
        let metrics = Metrics::default();
        let services =
            Services { secret: SECRET.to_owned(), desk, store, tokens, bounds, metrics, counted: None, log: None };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let services = Arc::new(services);
        tokio::spawn(serve(listener, services.clone(), std::future::pending()));
        Api { client: crate::http::client().no_proxy().build().unwrap(), services, address }
    }

    /// A connection with the head of a request on it, and no body yet.
    async fn begins(&self, request: &str, header: &str) -> tokio::net::TcpStream {
        let mut stream = tokio::net::TcpStream::connect(self.address).await.expect("a connection");
        let head = format!("{request} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n{header}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a head is written");
        stream
    }

    async fn ask(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(SECRET);
        let response = request.body(body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

#[tokio::test]
async fn nothing_is_said_without_the_token() {
    let api = Api::start().await;
    for token in [None, Some(""), Some("0123456789abcdef0123456789abcdeX"), Some(&SECRET[1..])] {
        for path in ["/v1/node", "/v1/sessions", "/metrics", "/v1/games/pong"] {
            let mut request = api.client.get(format!("http://{}{path}", api.address));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path} {token:?}");
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["error"], "unauthorized");
            assert!(body["hint"].as_str().unwrap().contains("admin.token"));
        }
    }
    assert_eq!(api.ask(Method::GET, "/v1/node", "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_module_is_pushed_listed_and_pushed_again() {
    let api = Api::start().await;
    let (status, pushed) = api.ask(Method::POST, "/v1/modules", guests::module("pong")).await;
    assert_eq!(status, StatusCode::OK, "{pushed}");
    assert_eq!((&pushed["game"], &pushed["version"], &pushed["new"]), (&json!("pong"), &json!(1), &json!(true)));
    assert!(pushed["imports"].as_array().unwrap().iter().any(|name| name.as_str().unwrap().contains("set-view")));
    let (_, again) = api.ask(Method::POST, "/v1/modules", guests::module("pong")).await;
    assert_eq!((&again["version"], &again["new"]), (&json!(1), &json!(false)));
    let (_, game) = api.ask(Method::GET, "/v1/games/pong", "").await;
    assert_eq!((&game["tick_rate"], &game["versions"][0]["module"]), (&json!(60), &pushed["module"]));
}

#[tokio::test]
async fn bad_modules_are_refused_with_the_reason() {
    let api = Api::start().await;
    let (status, body) = api.ask(Method::POST, "/v1/modules", "GIF89a").await;
    assert_eq!((status, &body["error"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("module_refused")));
    assert!(body["what"].as_str().unwrap().contains("not a WebAssembly module"), "{body}");
    let (_, games) = api.ask(Method::GET, "/v1/games", "").await;
    assert_eq!(games, json!({ "games": [], "covers": { "nodes": 1, "answered": 1 } }));
}

/// The refusal comes although the body is never sent: only its length is.
#[tokio::test]
async fn an_upload_that_says_it_is_too_large_is_not_read() {
    let api = Api::start().await;
    let mut stream = api.begins("POST /v1/modules", "content-length: 104857600").await;
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("a module may have 32768 KiB"), "{answer}");
}

#[tokio::test]
async fn an_upload_that_lies_about_its_length_is_cut_off() {
    let api = Api::start().await;
    let mut stream = api.begins("POST /v1/modules", "transfer-encoding: chunked").await;
    let (mut reader, mut writer) = stream.split();
    let chunk = [b"100000\r\n".as_slice(), &[0; 1 << 20], b"\r\n"].concat();
    let sending = async { while writer.write_all(&chunk).await.is_ok() {} };
    let mut answer = vec![0; 4096];
    // The server may close while the client still writes: then the client sees an error instead of the answer.
    tokio::select! {
        read = reader.read(&mut answer) => {
            let answer = String::from_utf8_lossy(&answer[..read.unwrap_or(0)]);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
        }
        () = sending => {}
    }
    assert_eq!(api.ask(Method::GET, "/v1/node", "").await.0, StatusCode::OK, "the node goes on");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let api = Api::start().await;
    let padded = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2));
    let (status, answer) = api.ask(Method::POST, "/v1/sessions", padded(BODY_BYTES)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "it is read: {answer}");
    let (status, answer) = api.ask(Method::POST, "/v1/sessions", padded(BODY_BYTES + 1)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let bounds = Bounds { body: std::time::Duration::from_millis(50), ..bounds() };
    let api = Api::bounded(bounds).await;
    for path in ["POST /v1/modules", "POST /v1/sessions"] {
        let mut stream = api.begins(path, "content-length: 100\r\nconnection: close").await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("did not arrive in time"), "{answer}");
    }
}

#[tokio::test]
async fn uploads_at_a_time_are_bounded_and_their_turns_come_back() {
    let api = Api::start().await;
    let mut under_way = Vec::new();
    for _ in 0..UPLOADS {
        under_way.push(api.begins("POST /v1/modules", "content-length: 8").await);
    }
    until("both turns to be taken", async || (api.services.desk.catalogue.turns() == 0).then_some(())).await;
    let (status, body) = api.ask(Method::POST, "/v1/modules", guests::module("pong")).await;
    assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("busy")), "{body}");
    drop(under_way);
    until("the turns to come back", async || (api.services.desk.catalogue.turns() == UPLOADS).then_some(())).await;
    assert_eq!(api.ask(Method::POST, "/v1/modules", guests::module("pong")).await.0, StatusCode::OK);
}

/// Its turn is not given back before its work is over: else many who go away could have any number compiled at once.
#[tokio::test]
async fn an_upload_whose_client_goes_away_is_finished_and_keeps_its_turn_until_then() {
    let api = Api::start().await;
    let module = guests::module("arena");
    let length = format!("content-length: {}", module.len());
    let mut stream = api.begins("POST /v1/modules", &length).await;
    stream.write_all(&module).await.unwrap();
    until("the turn to be taken", async || (api.services.desk.catalogue.turns() == UPLOADS - 1).then_some(())).await;
    drop(stream);
    let served = until("the turn to come back", async || {
        let free = api.services.desk.catalogue.turns() == UPLOADS;
        free.then(|| api.services.desk.catalogue.games().len())
    });
    assert_eq!(served.await, 1, "the game is served by the time that the turn is free");
}

#[tokio::test]
async fn faults_in_requests_are_named() {
    let api = Api::start().await;
    let too_long = format!(r#"{{"player":"ada","ttl_s":{}}}"#, TOKEN_LIFETIME_S + 1);
    let table = [
        (Method::GET, "/v1/nothing", "", 404, "there is no such path"),
        (Method::PUT, "/v1/node", "", 400, "does not take this method"),
        (Method::GET, "/v1/games/Pong", "", 400, "game name \"Pong\" is not valid"),
        (Method::GET, "/v1/games/pong", "", 404, "no game is called pong"),
        (Method::GET, "/v1/sessions/pong/a", "", 404, "there is no live session pong/a"),
        (Method::GET, "/v1/sessions/pong/a@12", "", 400, "session id"),
        (Method::DELETE, "/v1/sessions/pong/a", "", 404, "there is no live session pong/a"),
        (Method::GET, "/v1/sessions/pong/a/recording", "", 404, "there is no recording of pong/a"),
        (Method::GET, "/v1/sessions?ended=perhaps", "", 400, "ended"),
        (Method::POST, "/v1/sessions", "", 400, "missing field `game`"),
        (Method::POST, "/v1/sessions", "{", 400, "the body is not understood"),
        (Method::POST, "/v1/sessions", r#"{"game":"pong","colour":1}"#, 400, "unknown field `colour`"),
        (Method::POST, "/v1/sessions", r#"{"game":"pong","config_hex":"0"}"#, 400, "`config_hex` is no hexadecimal"),
        (Method::POST, "/v1/sessions", r#"{"game":"pong","key":"a b"}"#, 400, "session key \"a b\" is not valid"),
        (Method::POST, "/v1/sessions", r#"{"game":"pong"}"#, 404, "no game is called pong"),
        (Method::POST, "/v1/sessions", r#"{"game":"pong","node":"7"}"#, 404, "no node \"7\" is in the cluster"),
        (Method::GET, "/v1/sessions/pong/a/placement", "", 404, "there is no live session pong/a"),
        (Method::POST, "/v1/cluster/7/drain", r#"{"grace_ms":1}"#, 404, "no node \"7\" is in the cluster"),
        (Method::POST, "/v1/cluster/1/drain", "{}", 400, "missing field `grace_ms`"),
        (Method::POST, "/v1/tokens", r#"{"player":"","ttl_s":1}"#, 400, "player id \"\" is not valid"),
        (Method::POST, "/v1/tokens", r#"{"player":"ada","ttl_s":0}"#, 400, "`ttl_s` is 0: expected 1 to"),
        (Method::POST, "/v1/tokens", &too_long, 400, "expected 1 to 31536000"),
    ];
    for (method, path, body, status, what) in table {
        let (got, answer) = api.ask(method.clone(), path, body.to_owned()).await;
        assert_eq!(got.as_u16(), status, "{method} {path} {body}: {answer}");
        assert!(answer["what"].as_str().unwrap().contains(what), "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn a_node_without_workers_says_so() {
    let api = Api::start().await;
    api.ask(Method::POST, "/v1/modules", guests::module("pong")).await;
    let (status, body) = api.ask(Method::POST, "/v1/sessions", r#"{"game":"pong"}"#).await;
    assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("draining")), "{body}");
}

#[tokio::test]
async fn tokens_are_issued_and_metrics_shown() {
    let api = Api::start().await;
    let (status, issued) = api.ask(Method::POST, "/v1/tokens", r#"{"player":"ada","ttl_s":60}"#).await;
    assert_eq!((status, issued["token"].as_str().unwrap().split('.').count()), (StatusCode::OK, 3));
    let page = api.client.get(format!("http://{}/metrics", api.address)).bearer_auth(SECRET);
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(page.contains("ringside_sessions 0"), "{page}");
}

#[tokio::test]
async fn the_description_names_every_path() {
    let api = Api::start().await;
    let response = api.client.get(format!("http://{}/openapi.json", api.address)).send().await.unwrap();
    let document: Value = response.json().await.unwrap();
    for path in [
        "/v1/node",
        "/v1/cluster",
        "/v1/cluster/{node}/drain",
        "/v1/directory",
        "/v1/modules",
        "/v1/games/{game}",
        "/v1/sessions/{game}/{key}/placement",
        "/v1/sessions/{game}/{key}/recording",
        "/metrics",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}
