//! Sessions, as people read them.

mod replication;

use super::table;
use crate::api::{ExplainedStep, Explanation, Moved, SessionInfo};

/// Which sessions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Those that are led.
    Live,
    /// Those that are in the store until somebody asks for them.
    Evicted,
    /// Those that ended last.
    Ended,
}

/// Sessions as a table.
pub fn list(sessions: &[SessionInfo], listing: Listing) -> String {
    if sessions.is_empty() {
        let none = match listing {
            Listing::Ended => "No session has ended yet.",
            Listing::Evicted => "No session is in the store.",
            Listing::Live => "No sessions. Create one: ringside session create GAME",
        };
        return none.to_owned();
    }
    if listing == Listing::Evicted {
        let rows: Vec<Vec<String>> = sessions.iter().map(evicted_row).collect();
        return table::columns(&["session", "last node", "evicted", "timer"], &rows);
    }
    if listing == Listing::Ended {
        let rows: Vec<Vec<String>> = sessions.iter().map(ended_row).collect();
        return table::columns(&["session", "node", "ended", "reason"], &rows);
    }
    let rows: Vec<Vec<String>> = sessions.iter().map(live_row).collect();
    table::columns(&["session", "state", "node", "worker", "players", "age", "recorded"], &rows)
}

/// By its whole name: a key may have been used again.
fn ended_row(session: &SessionInfo) -> Vec<String> {
    let ago = format!("{} ago", table::duration(session.age_s));
    vec![
        session.session.clone(),
        session.node.clone(),
        ago,
        table::plain(session.reason.as_deref().unwrap_or_default()),
    ]
}

/// By its whole name, as those that ended.
fn evicted_row(session: &SessionInfo) -> Vec<String> {
    vec![
        session.session.clone(),
        session.node.clone(),
        format!("{} ago", table::duration(session.age_s)),
        timer(session),
    ]
}

/// When a timer of a session is due that nobody leads.
fn timer(session: &SessionInfo) -> String {
    match session.timer_in_s {
        None => "none".to_owned(),
        Some(0) => "due".to_owned(),
        Some(seconds) => format!("in {}", table::duration(seconds)),
    }
}

fn live_row(session: &SessionInfo) -> Vec<String> {
    vec![
        format!("{}/{}", session.game, session.key),
        session.state.clone(),
        session.node.clone(),
        session.worker.map_or_else(|| "-".to_owned(), |worker| worker.to_string()),
        players(session),
        table::duration(session.age_s),
        if session.record { "yes" } else { "no" }.to_owned(),
    ]
}

fn players(session: &SessionInfo) -> String {
    let expected = if session.reserved > 0 { format!(" (+{} expected)", session.reserved) } else { String::new() };
    format!("{}/{}{expected}", session.players, session.seats)
}

fn recorded(session: &SessionInfo) -> String {
    let ended = session.detail.as_ref().and_then(|detail| detail.recording_ended.as_deref());
    match ended {
        Some(why) => format!("no longer: {}", table::plain(why)),
        None => if session.record { "yes" } else { "no" }.to_owned(),
    }
}

/// One session.
pub fn show(session: &SessionInfo) -> String {
    let mut facts = vec![("session", session.session.clone()), ("state", session.state.clone())];
    if session.state == "ended" {
        // Nothing is known any more of its players or of whether it was recorded.
        facts.push(("ended", format!("{} ago", table::duration(session.age_s))));
    } else if session.state == "evicted" {
        facts.push(("evicted", format!("{} ago", table::duration(session.age_s))));
        facts.push(("timer", timer(session)));
    } else {
        facts.extend([
            ("players", players(session)),
            ("age", table::duration(session.age_s)),
            ("recorded", recorded(session)),
        ]);
    }
    facts.push(("node", session.node.clone()));
    facts.extend(session.worker.map(|worker| ("worker", worker.to_string())));
    facts.extend(session.reason.as_deref().map(|reason| ("reason", table::plain(reason))));
    let Some(detail) = &session.detail else { return table::facts(&facts) };
    if detail.paused {
        let why = detail.paused_why.as_deref().map(|why| format!(": {}", table::plain(why))).unwrap_or_default();
        facts.push(("paused", format!("yes{why}")));
    }
    facts.extend([
        ("module", detail.module.clone()),
        ("epoch", detail.epoch.to_string()),
        ("position", detail.position.to_string()),
        ("tick", detail.tick.to_string()),
        ("session time", format!("{:.3} s", detail.time_us as f64 / 1e6)),
        ("memory", table::size(detail.memory_bytes)),
        ("CPU", format!("{:.3} s", detail.cpu_us as f64 / 1e6)),
    ]);
    facts.extend(detail.kept.iter().map(|object| ("kept", table::plain(object))));
    if !detail.stats_hex.is_empty() {
        facts.push(("statistics", format!("{} (hexadecimal)", detail.stats_hex)));
    }
    let counters: Vec<String> = detail.counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
    facts.push(("counters", counters.join(", ")));
    let rows: Vec<Vec<String>> = detail
        .players
        .iter()
        .map(|player| {
            let connected = if player.connected { "yes" } else { "no" };
            vec![
                player.slot.to_string(),
                player.player.clone(),
                connected.to_owned(),
                player.last_input.to_string(),
                player.unacknowledged.to_string(),
            ]
        })
        .collect();
    let players = table::columns(&["slot", "player", "connected", "messages", "unacknowledged"], &rows);
    let replication = detail.replication.as_ref().map(replication::show).unwrap_or_default();
    format!("{}\n{replication}{players}", table::facts(&facts))
}

/// What became of a move.
pub fn moved(moved: &Moved) -> String {
    let Moved { session, from, to, was_there, took_ms } = moved;
    if *was_there {
        return format!("{session} is led by node {to} already");
    }
    format!("{session} is led by node {to} (before: node {from}; {took_ms} ms from the order on)")
}

/// Why a session is where it is.
pub fn explain(explanation: &Explanation) -> String {
    let facts = table::facts(&[
        ("session", explanation.session.clone()),
        ("node", explanation.node.clone()),
        ("worker", explanation.worker.to_string()),
        ("position", format!("{} on ring {}", explanation.position, explanation.ring)),
        ("policy", explanation.policy.clone()),
        ("bound", format!("{} % of a node's share of all load", explanation.bound_percent)),
        ("all load", table::load(explanation.total_us)),
        ("all weight", format!("{} %", explanation.total_weight)),
    ]);
    let rows: Vec<Vec<String>> = explanation.steps.iter().map(step).collect();
    format!(
        "{facts}\nFrom its position on, the ring comes to:\n{}",
        table::columns(&["node", "load", "bound", ""], &rows)
    )
}

fn step(step: &ExplainedStep) -> Vec<String> {
    let verdict = match step.verdict.as_str() {
        "loaded" => "has its share: passed over",
        "refused" => "was asked and refused",
        other => other,
    };
    vec![step.node.clone(), table::load(step.load_us), table::load(step.capacity_us), verdict.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SessionDetail;

    fn session(state: &str) -> SessionInfo {
        SessionInfo {
            session: "tug/one@000000000000000f".into(),
            game: "tug".into(),
            key: "one".into(),
            node: "1".into(),
            state: state.into(),
            worker: Some(0),
            players: 1,
            seats: 2,
            reserved: 0,
            age_s: 61,
            timer_in_s: None,
            record: true,
            reason: None,
            detail: None,
        }
    }

    #[test]
    fn an_ended_session_is_shown_with_what_is_known_of_it() {
        let over = SessionInfo { reason: Some("finished".into()), worker: None, record: false, ..session("ended") };
        let shown = show(&over);
        assert!(shown.contains("1m01s ago") && shown.contains("finished"), "{shown}");
        assert!(!shown.contains("recorded") && !shown.contains("players"), "not known any more:\n{shown}");
        assert_eq!(
            list(std::slice::from_ref(&over), Listing::Ended).lines().nth(1),
            Some("tug/one@000000000000000f  1     1m01s ago  finished")
        );
        let detail = SessionDetail { stats_hex: "2a".into(), ..SessionDetail::default() };
        let with_stats = show(&SessionInfo { detail: Some(detail), ..session("live") });
        assert!(with_stats.contains("statistics    2a (hexadecimal)"), "{with_stats}");
        let paused =
            SessionDetail { paused: true, paused_why: Some("it is cut off".into()), ..SessionDetail::default() };
        let paused = show(&SessionInfo { detail: Some(paused), ..session("live") });
        assert!(paused.contains("paused        yes: it is cut off"), "{paused}");
        assert!(!with_stats.contains("paused"), "{with_stats}");
        let live = show(&session("live"));
        assert!(live.contains("recorded") && live.contains("1/2"), "{live}");
        assert!(list(&[session("live")], Listing::Live).contains("tug/one  live   1     0       1/2      1m01s  yes"));
    }

    #[test]
    fn a_placement_is_explained_step_by_step() {
        let step = |node: &str, load_us, verdict: &str| ExplainedStep {
            node: node.into(),
            load_us,
            capacity_us: 62_500,
            verdict: verdict.into(),
        };
        let explanation = Explanation {
            session: "tug/one@000000000000000f".into(),
            node: "3".into(),
            worker: 0,
            position: "d62a67ecb5d57e56".into(),
            ring: "00000000000000aa".into(),
            policy: "ring".into(),
            bound_percent: 125,
            total_us: 150_000,
            total_weight: 300,
            steps: vec![step("2", 90_000, "loaded"), step("3", 30_000, "chosen")],
        };
        let text = explain(&explanation);
        assert!(text.contains("d62a67ecb5d57e56") && text.contains("125 %"), "{text}");
        assert!(text.contains("2     9.0 %  6.2 %  has its share"), "{text}");
        assert!(text.contains("3     3.0 %  6.2 %  chosen"), "{text}");
    }
}
