//! The benchmarks, by name.

mod accept;
mod checkpoints;
mod create;
mod dispatch;
mod drain;
mod echo;
mod failover;
mod false_deaths;
mod gossip;
mod handover;
mod join;
mod migration;
mod promotions;
mod recovery;
mod redirect;
mod relay;
mod replay;
mod replication;
mod ring;
mod room;
mod simulate;
mod tick;

use crate::bench::{BenchError, Context};
use crate::figure::Figure;

/// A benchmark.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it measures, against what.
    pub about: &'static str,
    /// Measures. The main figure comes last.
    pub measure: fn(&Context) -> Result<Vec<Figure>, BenchError>,
}

macro_rules! cases {
    ($($name:literal $measure:path, $about:literal;)+) => {
        /// All benchmarks.
        pub const ALL: &[Case] = &[$(Case { name: $name, about: $about, measure: $measure }),+];
    };
}

cases! {
    "room_cpu_vs_udp" room::against_udp, "CPU of a match and second against bare UDP with AES-GCM, the floor";
    "room_cpu_vs_quinn" room::against_quinn, "CPU of a match and second against an ordinary quinn server";
    "room_cpu_vs_colyseus" room::against_colyseus, "CPU of a match and second against Colyseus from npm";
    "echo_p50" echo::p50, "message, effect and reply against a bare quinn echo, median";
    "echo_p99" echo::p99, "the same, 99th percentile";
    "dispatch" dispatch::measure, "a call with 256 bytes in and out against the bare typed call";
    "tick_vs_plain" tick::measure, "a tick of the sample games against plain wasmtime, native beside it";
    "create_vs_raw" create::session, "a new session against a raw pooled instance and start";
    "idle_session_bytes" echo::idle, "what an idle session keeps, and what idle ones cost active ones";
    "replay_speed" replay::measure, "a recorded 60 Hz match folded again, against real time";
    "record_cost" room::record_cost, "CPU of a match and second with recording against without";
    "accept_rate" accept::rate, "players let in for a second of CPU against a bare quinn accept loop";
    "compile_ms" create::upload, "an upload against compiling the same bytes";
    "ring_lookup_ns" ring::lookup, "a name's owner by the ring against a plain binary search over the same points";
    "ring_moved_ratio" ring::moved, "names that a new node moves against the fewest that it must";
    "ring_peak_load" ring::peak, "names on the fullest node against its share";
    "redirect_cost" redirect::cost, "entering by the wrong node's door against the right one, time and round trips";
    "relay_vs_direct" relay::measure, "an echo through another node against straight to the leader, latency and CPU";
    "join_to_serving_ms" join::serving, "a fourth node from its start to its first session's first answer, against a lone one";
    "gossip_cpu" gossip::cpu, "CPU of a node's sealed gossip at 3, 10 and 50 nodes against bare chitchat";
    "gossip_bytes" gossip::bytes, "bytes that a node's sealed gossip sends at 3, 10 and 50 nodes against bare chitchat";
    "false_deaths" false_deaths::measure, "who is believed dead when a node stands still, against bare chitchat";
    "failover_ms" failover::measure, "players of a killed node's sessions until they are answered again, waiting at the follower against asking a door";
    "false_promotions" promotions::measure, "sessions that change their leader when its node stands still for 0.3 s or packets are lost, and for 1.5 s";
    "replication_leader_cpu" replication::cpu, "CPU of matches that are followed against the same alone, and of following against leading";
    "checkpoint_bytes_ratio" checkpoints::bytes, "bytes of the checkpoints that are written against the same ones whole";
    "checkpoint_stall_ms" checkpoints::stall, "CPU of the copy that a checkpoint begins with, in one turn of its worker, against a bare copy of as many bytes";
    "migration_lost" migration::exactly_once, "messages that are lost or doubled while their sessions move to and fro";
    "migration_gap_over_ms" migration::gap, "the longest gap between views in a move of a 60 Hz match, less the same player's 99th percentile without one";
    "drain_bystander_p99" drain::bystanders, "gaps between a player's views while another node gives all its matches away, against the same player's before";
    "drain_vs_bytes" drain::against_bytes, "giving all matches of a node away against their bytes over one QUIC connection";
    "handover_pause_ms" handover::measure, "a player's longest wait, for a reply or a view, while their node's process is replaced, against the same player's before";
    "handover_vs_cold" recovery::handover_vs_cold, "a player's wait while their node's process is replaced, against one that is killed and started again";
    "recover_sessions_per_s" recovery::speed, "durable sessions that a node takes up which was killed, against reading, folding and noting as much";
    "simulate_speed" simulate::speed, "virtual time of the simulators of clusters and of sessions against real time";
}

/// Figures that another benchmark measures beside its own.
pub const BESIDE: &[(&str, &str)] = &[
    ("failover_collateral", "failover_ms"),
    ("failover_lost_acked", "failover_ms"),
    ("migration_doubled", "migration_lost"),
    ("replication_follower_cpu", "replication_leader_cpu"),
];

/// The benchmark of that name, or the one that measures the figure of that name.
pub fn find(name: &str) -> Result<&'static Case, BenchError> {
    let beside = BESIDE.iter().find(|(figure, _)| *figure == name);
    let case = beside.map_or(name, |(_, case)| case);
    ALL.iter().find(|known| known.name == case).ok_or_else(|| BenchError::Unknown(name.to_owned()))
}

/// A benchmark's figures in the order in which they are shown: those that were asked for by their name come last.
pub fn in_order(mut figures: Vec<Figure>, asked: &str) -> Vec<Figure> {
    figures.sort_by_key(|figure| figure.name == asked && BESIDE.iter().any(|(beside, _)| *beside == asked));
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_beside_something_is_found_and_shown_last() {
        for (figure, case) in BESIDE {
            assert_eq!(find(figure).unwrap().name, *case);
        }
        assert_eq!(find("failover_ms").unwrap().name, "failover_ms");
        assert!(find("failover").is_err());
        let figure = |name, value| Figure {
            name,
            case: String::new(),
            value,
            unit: "ms",
            reference: 1.0,
            ratio: 1.0,
            spread: 0.0,
            extra: Default::default(),
        };
        let measured =
            || vec![figure("migration_doubled", 1.0), figure("migration_lost", 2.0), figure("migration_lost", 3.0)];
        let values = |asked| in_order(measured(), asked).iter().map(|figure| figure.value).collect::<Vec<f64>>();
        assert_eq!(values("migration_doubled"), [2.0, 3.0, 1.0]);
        assert_eq!(values("migration_lost"), [1.0, 2.0, 3.0]);
    }
}
