//! How a session is replicated, as people read it.

use crate::api::{ChangeInfo, EpochInfo, FollowerInfo, MemberInfo, ReplicationInfo};
use crate::cli::table;

/// Who leads and follows it, how far each is, and how that came to be.
pub fn show(info: &ReplicationInfo) -> String {
    let lineage: Vec<String> =
        info.lineage.iter().map(|term| format!("{} from {}", epoch(&term.epoch), term.first)).collect();
    let degraded = match info.degraded {
        true => "yes: fewer have its log than its tier promises, and acknowledgements say so",
        false => "no",
    };
    let stored = info.stored.map(|stored| format!(", {stored} in the store")).unwrap_or_default();
    let facts = table::facts(&[
        ("tier", format!("{}, {}", info.tier, info.policy)),
        ("leader", member(&info.leader)),
        ("led in", format!("epoch {} (record {})", epoch(&info.epoch), info.record)),
        ("lineage", lineage.join(", ")),
        (
            "log",
            format!("{} ({} committed, checkpoint at {}{})", info.position, info.committed, info.checkpoint, stored),
        ),
        ("followers", format!("{} of {} in sync", in_sync(info), info.wanted)),
        ("degraded", degraded.to_owned()),
    ]);
    let followers: Vec<Vec<String>> = info.followers.iter().map(follower).collect();
    let followers = match followers.is_empty() {
        true => String::new(),
        false => {
            table::columns(&["follower", "in sync", "kind", "entries behind", "to replay", "late, ms"], &followers)
                + "\n"
        }
    };
    let history: Vec<Vec<String>> = info.history.iter().map(change).collect();
    let history = match history.is_empty() {
        true => String::new(),
        false => table::columns(&["led by", "epoch", "after entry", "cause"], &history) + "\n",
    };
    format!("{facts}\n{followers}{history}")
}

fn in_sync(info: &ReplicationInfo) -> usize {
    info.followers.iter().filter(|follower| follower.in_sync).count()
}

fn member(member: &MemberInfo) -> String {
    format!("node {}, worker {}", member.node, member.worker)
}

fn epoch(epoch: &EpochInfo) -> String {
    format!("{} of node {}", epoch.number, epoch.node)
}

fn follower(follower: &FollowerInfo) -> Vec<String> {
    let place = MemberInfo { node: follower.node.clone(), worker: follower.worker };
    let in_sync = if follower.in_sync { "yes" } else { "no" };
    vec![
        member(&place),
        in_sync.to_owned(),
        follower.kind.clone(),
        follower.lag.to_string(),
        follower.replay_lag.to_string(),
        follower.late_ms.map_or("-".to_owned(), |late| late.to_string()),
    ]
}

fn change(change: &ChangeInfo) -> Vec<String> {
    let cause = match change.cause.as_str() {
        "created" => "it began",
        "promoted" => "promoted: its leader was gone",
        "granted" => "granted: it was moved",
        "drained" => "drained: its node left",
        "rebalanced" => "rebalanced: the ring has it here since it changed",
        "relieved" => "relieved: its node had too much to do",
        "recovered" => "recovered: it went on from the store",
        "activated" => "activated: somebody asked for it, or a timer was due",
        "healed" => "healed: both sides of a cut went on, and this one won",
        "raised" => "raised: it heard of a newer epoch, and of nobody who leads in it",
        other => other,
    };
    vec![member(&change.leader), epoch(&change.epoch), change.position.to_string(), cause.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::TermInfo;

    #[test]
    fn a_replicated_session_is_shown_with_who_follows_it_and_how_it_came_to_be_led() {
        let member = |node: &str| MemberInfo { node: node.into(), worker: 0 };
        let epoch = |number, node: &str| EpochInfo { number, node: node.into(), generation: 7 };
        let change = |number, node: &str, position, cause: &str| ChangeInfo {
            leader: member(node),
            epoch: epoch(number, node),
            position,
            cause: cause.into(),
        };
        let info = ReplicationInfo {
            tier: "replicated".into(),
            policy: "available".into(),
            wanted: 1,
            degraded: false,
            leader: member("2"),
            followers: vec![FollowerInfo {
                node: "3".into(),
                worker: 1,
                in_sync: true,
                lag: 2,
                kind: "keeps the log".into(),
                replay_lag: 5,
                late_ms: Some(17),
            }],
            record: 4,
            epoch: epoch(2, "2"),
            lineage: vec![TermInfo { epoch: epoch(1, "1"), first: 1 }, TermInfo { epoch: epoch(2, "2"), first: 91 }],
            position: 120,
            committed: 118,
            checkpoint: 80,
            stored: Some(118),
            history: vec![change(1, "1", 0, "created"), change(2, "2", 90, "promoted")],
        };
        let text = show(&info);
        for expected in [
            "replicated, available",
            "node 2, worker 0",
            "1 of node 1 from 1, 2 of node 2 from 91",
            "120 (118 committed, checkpoint at 80, 118 in the store)",
            "1 of 1 in sync",
            "node 3, worker 1  yes      keeps the log  2               5          17",
            "promoted: its leader was gone",
        ] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
        let alone = ReplicationInfo { degraded: true, followers: Vec::new(), ..info };
        assert!(show(&alone).contains("0 of 1 in sync") && show(&alone).contains("yes: fewer have its log"));
    }
}
