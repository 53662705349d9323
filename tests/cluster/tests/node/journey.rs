//! What a game author types on the first day, from an empty directory to a match.

use ringside_test_support::directory::Directory;
use ringside_test_support::guests;
use ringside_test_support::node::Node;

#[test]
fn from_nothing_to_a_match() {
    let directory = Directory::new();
    let node = Node::start(&directory.path().join("state"), &[]);
    assert!(node.ready()["store"].as_str().unwrap().contains("state/store"), "the store is named at start");

    let pushed = node.ringside(&["push", &guests::module_path("pong").to_string_lossy()]).succeeded();
    for fact in ["game         pong", "version      1 (new)", "module       ", "size         ", "compiled in  "] {
        assert!(pushed.contains(fact), "{fact} is not in\n{pushed}");
    }
    assert!(pushed.contains("imports      ") && pushed.contains("set-view"), "{pushed}");
    let again = node.push("pong");
    assert_eq!((again["version"].as_u64(), again["new"].as_bool()), (Some(1), Some(false)));

    let games = node.ringside(&["game", "list"]).succeeded();
    assert!(games.contains("pong") && games.contains("60 Hz"), "{games}");
    assert!(node.ringside(&["game", "show", "pong"]).succeeded().contains("late joining"));

    let created = node.ringside(&["session", "create", "pong", "--key", "final"]).succeeded();
    assert!(created.contains("pong/final@") && created.contains("ringside play pong --session final"), "{created}");
    let same = node.ringside(&["session", "create", "pong", "--key", "final", "--json"]).json();
    assert_eq!(same["created"], false, "asking twice with one key gives one session");

    let played = ["play", "pong", "--session", "final", "--bots", "2", "--headless", "--seconds", "2", "--json"];
    let summary = node.ringside(&played).json();
    assert_eq!(summary["session"], same["session"]);
    assert!(summary["views"].as_u64().unwrap() > 60, "{summary}");
    assert_eq!(summary["disconnects"], 0);

    let ended = node.ringside(&["session", "list", "--ended", "--json"]).json();
    assert_eq!(ended["sessions"][0]["session"], same["session"], "pong ends when both have left");
}

#[test]
fn sessions_are_listed_shown_and_ended() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    assert!(node.ringside(&["session", "list"]).succeeded().contains("ringside session create GAME"));
    node.ringside(&["session", "create", "arena", "--key", "a"]).succeeded();
    node.ringside(&["session", "create", "arena", "--key", "b"]).succeeded();
    let listed = node.ringside(&["session", "list", "--json"]).json();
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(2));
    let shown = node.ringside(&["session", "show", "arena/a", "--json"]).json();
    assert_eq!((&shown["state"], &shown["detail"]["epoch"]), (&"live".into(), &1.into()));
    assert_eq!(shown["detail"]["module"].as_str().map(str::len), Some(64));
    node.ringside(&["session", "end", "arena/a", "--reason", "the hall closes"]).succeeded();
    let ended = node.ringside(&["session", "show", "arena/a"]).succeeded();
    assert!(ended.contains("the hall closes"), "{ended}");
    let error = node.ringside(&["session", "end", "arena/a"]).failed();
    assert!(error.contains("no live session arena/a") && error.contains("hint: ringside session list"), "{error}");
}

#[test]
fn seven_bots_and_one_more_find_each_other() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    let eight = ["play", "arena", "--bots", "8", "--headless", "--seconds", "2", "--json"];
    let summary = node.ringside(&eight).json();
    assert_eq!((&summary["bots"], summary["failures"].as_array().map(Vec::len)), (&8.into(), Some(0)), "{summary}");
    assert!(summary["views"].as_u64().unwrap() > 8 * 20, "{summary}");
    let sessions = node.ringside(&["session", "list", "--json"]).json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "all were sent to one match: {sessions}");
}
