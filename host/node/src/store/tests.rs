use ringside_golden::GoldenFile;

use super::*;
use crate::scratch::Scratch;

fn version(byte: u8) -> Version {
    Version { module: ModuleHash([byte; 32]), size_bytes: 10, pushed_ms: 1 }
}

fn session(key: &str, incarnation: u64) -> SessionId {
    format!("pong/{key}@{incarnation:016x}").parse().unwrap()
}

#[tokio::test]
async fn versions_are_numbered_and_the_same_module_is_one_version() {
    let scratch = Scratch::new("store-versions");
    for store in [Store::local(&scratch.0).unwrap(), Store::memory()] {
        let pong: GameName = "pong".parse().unwrap();
        assert_eq!(store.push(&pong, &version(1)).await.unwrap(), (1, true));
        assert_eq!(store.push(&pong, &version(1)).await.unwrap(), (1, false));
        assert_eq!(store.push(&pong, &version(2)).await.unwrap(), (2, true));
        assert_eq!(store.push(&pong, &version(1)).await.unwrap(), (3, true), "rolling back is a new version");
        let numbers: Vec<u32> = store.versions(&pong).await.unwrap().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(store.games().await.unwrap(), [pong]);
    }
}

#[tokio::test]
async fn pushes_at_once_all_get_numbers_of_their_own() {
    let scratch = Scratch::new("store-race");
    let store = Store::local(&scratch.0).unwrap();
    let pong: GameName = "pong".parse().unwrap();
    let pushes = (0..8).map(|byte| {
        let (store, pong) = (store.clone(), pong.clone());
        tokio::spawn(async move { store.push(&pong, &version(byte)).await.unwrap() })
    });
    let mut numbers = Vec::new();
    for push in pushes.collect::<Vec<_>>() {
        numbers.push(push.await.unwrap().0);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn a_game_has_a_last_version() {
    let store = Store::memory();
    let pong: GameName = "pong".parse().unwrap();
    assert!(store.create(&version_path(&pong, VERSIONS), sealed(&encode(&version(1))).into()).await.unwrap());
    assert_eq!(store.push(&pong, &version(1)).await.unwrap(), (VERSIONS, false));
    assert!(matches!(store.push(&pong, &version(2)).await, Err(StoreError::Exhausted(_))));
}

const PUBLISHED: GoldenFile = GoldenFile {
    package_directory: env!("CARGO_MANIFEST_DIR"),
    name: "game-versions-1.hex",
    package: "ringside-node",
    version: "store::VERSION_FORMAT",
};

#[tokio::test]
async fn versions_of_the_published_format_are_written_and_read_as_they_were() {
    let (store, pong) = (Store::memory(), "pong".parse::<GameName>().unwrap());
    let first = Version { module: ModuleHash([0xab; 32]), size_bytes: 47_061, pushed_ms: 1_760_000_000_000 };
    assert_eq!(store.push(&pong, &first).await.unwrap(), (1, true));
    let object = store.get(&version_path(&pong, 1)).await.unwrap().unwrap();
    PUBLISHED.check(&[("first".to_owned(), object.to_vec())]);
    let other = Store::memory();
    for (_, bytes) in PUBLISHED.committed() {
        assert!(other.create(&version_path(&pong, 1), bytes.into()).await.unwrap());
    }
    assert_eq!(other.versions(&pong).await.unwrap(), [(1, first)]);
}

#[tokio::test]
async fn modules_are_checked_against_their_hash() {
    let scratch = Scratch::new("store-modules");
    let store = Store::local(&scratch.0).unwrap();
    let bytes = Bytes::from_static(b"module");
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let hash = ModuleHash(digest.as_ref().try_into().unwrap());
    assert!(matches!(store.module(hash).await, Err(StoreError::Missing(_))));
    store.put_module(hash, bytes.clone()).await.unwrap();
    store.put_module(hash, bytes.clone()).await.unwrap();
    assert_eq!(store.module(hash).await.unwrap(), bytes);
    std::fs::write(scratch.0.join(format!("modules/{hash}.wasm")), "other").unwrap();
    assert!(matches!(store.module(hash).await, Err(StoreError::Damaged { .. })));
    store.put_module(hash, bytes.clone()).await.unwrap();
    assert!(store.module(hash).await.is_err(), "what is there is left alone");
    store.replace_module(hash, bytes.clone()).await.unwrap();
    assert_eq!(store.module(hash).await.unwrap(), bytes);
}

#[tokio::test]
async fn damaged_versions_are_named() {
    let scratch = Scratch::new("store-damage");
    let store = Store::local(&scratch.0).unwrap();
    let pong: GameName = "pong".parse().unwrap();
    store.push(&pong, &version(1)).await.unwrap();
    std::fs::write(scratch.0.join("games/pong/versions/000001"), "nonsense").unwrap();
    let error = store.versions(&pong).await.unwrap_err().to_string();
    assert!(error.contains("object games/pong/versions/000001 is damaged"), "{error}");
}

#[tokio::test]
async fn recordings_are_segments_in_order() {
    let store = Store::memory();
    let (first, second) = (session("final", 1), session("final", 2));
    let of = |part: Option<u64>, number| {
        let part = part.map(|number| Epoch { number, node: 0xa, node_generation: 7 });
        Segment { part, number }
    };
    // Those of later leaders follow, in the order of their epochs.
    let all = [of(None, 1), of(None, 2), of(None, 3), of(Some(2), 1), of(Some(2), 2), of(Some(10), 1)];
    for at in [3, 1, 5, 0, 4, 2] {
        assert!(store.put_segment(&first, all[at], Bytes::from(vec![at as u8])).await.unwrap());
    }
    assert!(!store.put_segment(&first, all[0], Bytes::new()).await.unwrap(), "a segment is written once");
    // The first part of it is in another store.
    store.put_segment(&second, of(Some(2), 1), Bytes::new()).await.unwrap();
    store.put_segment(&session("finals", 3), all[0], Bytes::new()).await.unwrap();
    assert_eq!(store.segments(&first).await.unwrap(), all);
    assert_eq!(store.segment(&first, all[4]).await.unwrap(), Bytes::from_static(&[4]));
    let pong: GameName = "pong".parse().unwrap();
    assert_eq!(store.newest_recording(&pong, "final").await.unwrap(), Some(second));
    assert_eq!(store.newest_recording(&pong, "none").await.unwrap(), None);
    assert!(store.segments(&session("none", 1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn parts_of_logs_are_kept_up_to_a_bound() {
    let store = Store::memory();
    let (first, second) = (session("final", 1), session("final", 2));
    for number in 0..KEPT {
        let name = store.keep(&first, &format!("branch-{number}.recording"), Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(name, format!("kept/pong/final@0000000000000001/branch-{number}.recording"));
    }
    let more = store.keep(&first, "more", Bytes::new()).await.unwrap_err().to_string();
    assert!(more.contains("8 objects below kept/pong/final@0000000000000001") && more.contains("delete"), "{more}");
    assert_eq!(store.kept(&first).await.unwrap().len(), KEPT);
    let large = Bytes::from(vec![0; KEPT_BYTES + 1]);
    assert!(matches!(store.keep(&second, "large", large).await, Err(StoreError::Full { .. })));
    let others = (3..).map(|number| session("final", number)).take(KEPT_OF_GAME - KEPT);
    for other in others {
        store.keep(&other, "one", Bytes::new()).await.unwrap();
    }
    assert!(matches!(
        store.keep(&second, "one", Bytes::new()).await,
        Err(StoreError::Full { of_game: KEPT_OF_GAME, .. })
    ));
    assert!(store.kept(&second).await.unwrap().is_empty());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let error = Store::local(Path::new("/proc/store")).err().unwrap().to_string();
    assert!(error.contains("store: cannot use directory /proc/store"), "{error}");
}
