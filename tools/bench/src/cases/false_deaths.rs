//! Who is believed dead when a node stands still for a while: by the node itself when it wakes, to whom everybody was
//! silent, and by the others, during and after. Ours are real nodes, whose views count (gossip, own-stall guard, probes,
//! damping); the reference is bare chitchat with the same settings, a process a node, which believes its failure detector.
//! Both stand still at the same time, so that what slows the machine slows both. The ratio is against at least one death.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bench::{BenchError, Context};
use crate::figure::{Figure, rounded};
use crate::machine::{SERVER_CORE, keep};
use crate::nodes::{Cluster, PATIENCE};
use crate::process::{Line, Process};

/// Nodes of each side.
const NODES: u64 = 5;
/// How long a node stands still, s.
const STALLS_S: [f64; 5] = [0.1, 0.3, 1.0, 3.0, 10.0];
/// The longest, for the record.
const LONGEST_S: f64 = 30.0;
/// A belief counts as left over when it is still held so long after the node woke.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// How long after it woke all is looked at.
const LOOK: Duration = Duration::from_secs(4);

/// What a stall did to beliefs.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Deaths {
    /// Peers that the node believed dead after it woke.
    by_it: f64,
    /// Peers that believed it dead while it stood still or later.
    of_it: f64,
    /// Peers that still did a second after it woke.
    afterwards: f64,
    /// When after waking everybody believed everybody alive again, ms.
    whole_ms: f64,
}

/// A node whose views are followed.
struct Watched<'a> {
    number: u64,
    process: &'a Process,
    views: Vec<(Instant, BTreeSet<u64>)>,
}

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let cluster = Cluster::start(context, "stalls", NODES, &[])?;
    let bare = bare_nodes()?;
    let mut ours: Vec<Watched<'_>> = cluster.nodes().map(|(number, process)| Watched::new(number, process)).collect();
    let mut reference: Vec<Watched<'_>> =
        (1..).zip(&bare).map(|(number, process)| Watched::new(number, process)).collect();
    let mut stalls = STALLS_S.to_vec();
    if context.is_full() {
        stalls.push(LONGEST_S);
    }
    let rounds = if context.is_full() { 5 } else { 3 };
    let mut seen = vec![(Deaths::default(), Deaths::default()); stalls.len()];
    let mut turn = 0;
    for _ in 0..rounds {
        for (seen, seconds) in seen.iter_mut().zip(&stalls) {
            // Not always the same one: whoever comes and goes often is kept out for a while.
            let victim = turn % NODES as usize;
            turn += 1;
            let (one, other) = stall(&mut ours, &mut reference, victim, Duration::from_secs_f64(*seconds))?;
            (seen.0, seen.1) = (seen.0.plus(one), seen.1.plus(other));
        }
    }
    let mut figures = Vec::new();
    let mut total = (0.0, 0.0);
    for ((ours, reference), seconds) in seen.iter().zip(&stalls) {
        let (ours, reference) = (ours.over(rounds), reference.over(rounds));
        total = (total.0 + ours.by_it + ours.afterwards, total.1 + reference.by_it + reference.afterwards);
        let by_it = figure(format!("{seconds} s, peers it believes dead"), ours.by_it, reference.by_it, rounds);
        let of_it =
            figure(format!("{seconds} s, believe it dead after"), ours.afterwards, reference.afterwards, rounds);
        figures.push(by_it.with("whole_ms", times(&ours, &reference, |deaths| deaths.whole_ms)));
        figures.push(of_it.with("meanwhile", times(&ours, &reference, |deaths| deaths.of_it)));
    }
    figures.push(figure(format!("all, of {} peers", NODES - 1), total.0, total.1, rounds));
    Ok(figures)
}

/// Something of both sides, for people.
fn times(ours: &Deaths, reference: &Deaths, pick: fn(&Deaths) -> f64) -> String {
    format!("{} / {}", rounded(pick(ours)), rounded(pick(reference)))
}

fn figure(case: String, value: f64, reference: f64, rounds: usize) -> Figure {
    let ratio = value / reference.max(1.0);
    let name = "false_deaths";
    let figure = Figure { name, case, value, unit: "nodes", reference, ratio, spread: 0.0, extra: Default::default() };
    figure.with("rounds", rounds)
}

/// Bare nodes on the server's core.
fn bare_nodes() -> Result<Vec<Process>, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::Process)?;
    let mut nodes: Vec<Process> = Vec::new();
    for number in 1..=NODES {
        let mut command = Command::new(&program);
        command.args(["serve", "bare", "--node", &number.to_string()]);
        if let Some(first) = nodes.first() {
            command.args(["--seeds", first.said("/gossip")?]);
        }
        keep(&mut command, SERVER_CORE);
        nodes.push(Process::start(command)?);
    }
    Ok(nodes)
}

/// Has one node of each side stand still at the same time.
fn stall(
    ours: &mut [Watched<'_>],
    reference: &mut [Watched<'_>],
    victim: usize,
    length: Duration,
) -> Result<(Deaths, Deaths), BenchError> {
    wait_until_whole(ours)?;
    wait_until_whole(reference)?;
    let begun = Instant::now();
    ours[victim].process.stand_still()?;
    reference[victim].process.stand_still()?;
    std::thread::sleep(length);
    let woke = Instant::now();
    ours[victim].process.go_on()?;
    reference[victim].process.go_on()?;
    std::thread::sleep(LOOK);
    let deaths = |side: &mut [Watched<'_>]| {
        side.iter_mut().for_each(Watched::read);
        Deaths::count(side, victim, begun, woke)
    };
    Ok((deaths(ours), deaths(reference)))
}

fn wait_until_whole(side: &mut [Watched<'_>]) -> Result<(), BenchError> {
    let deadline = Instant::now() + PATIENCE;
    while !side.iter_mut().all(|node| {
        node.read();
        node.last().len() as u64 == NODES
    }) {
        if Instant::now() > deadline {
            return Err(BenchError::Child(format!("of {NODES} do not all see each other within {PATIENCE:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl<'a> Watched<'a> {
    fn new(number: u64, process: &'a Process) -> Watched<'a> {
        Watched { number, process, views: vec![(Instant::now(), BTreeSet::new())] }
    }

    fn read(&mut self) {
        let view = |line: Line| Some((line.at, nodes_of(&line.text)?));
        self.views.extend(self.process.logged().filter_map(view));
    }

    fn last(&self) -> &BTreeSet<u64> {
        &self.views[self.views.len() - 1].1
    }

    /// The view that held at a moment, and those after it.
    fn since(&self, from: Instant) -> &[(Instant, BTreeSet<u64>)] {
        let after = self.views.partition_point(|(at, _)| *at <= from);
        &self.views[after.saturating_sub(1)..]
    }

    fn at(&self, moment: Instant) -> &BTreeSet<u64> {
        &self.since(moment)[0].1
    }
}

/// The nodes of a view in a line of a log; `None` where it tells of no view.
fn nodes_of(line: &str) -> Option<BTreeSet<u64>> {
    let (_, nodes) = line.split_once("the cluster ")?.1.split_once("nodes=\"")?;
    let nodes = nodes.split('"').next()?.split(", ");
    nodes.map(|node| u64::from_str_radix(node.split(' ').next()?, 16).ok()).collect()
}

impl Deaths {
    fn count(side: &[Watched<'_>], victim: usize, begun: Instant, woke: Instant) -> Deaths {
        let number = side[victim].number;
        let missing = |view: &BTreeSet<u64>| NODES as f64 - view.len() as f64;
        let others = || side.iter().filter(|node| node.number != number);
        let count = |believes: &dyn Fn(&Watched<'_>) -> bool| others().filter(|node| believes(node)).count() as f64;
        let of_it = |node: &Watched<'_>| node.since(begun).iter().any(|(_, view)| !view.contains(&number));
        let afterwards = |node: &Watched<'_>| !node.at(woke + AFTERWARDS).contains(&number);
        let healed = |node: &Watched<'_>| {
            let views = node.since(woke);
            let last_broken = views.iter().rposition(|(_, view)| missing(view) > 0.0);
            match last_broken {
                None => Duration::ZERO,
                Some(at) => views.get(at + 1).map_or(LOOK, |(healed, _)| *healed - woke),
            }
        };
        let whole = side.iter().map(healed).max().unwrap_or_default();
        Deaths {
            by_it: side[victim].since(woke).iter().map(|(_, view)| missing(view)).fold(0.0, f64::max),
            of_it: count(&of_it),
            afterwards: count(&afterwards),
            whole_ms: whole.as_secs_f64() * 1e3,
        }
    }

    fn plus(self, other: Deaths) -> Deaths {
        Deaths {
            by_it: self.by_it + other.by_it,
            of_it: self.of_it + other.of_it,
            afterwards: self.afterwards + other.afterwards,
            whole_ms: self.whole_ms + other.whole_ms,
        }
    }

    fn over(self, rounds: usize) -> Deaths {
        let rounds = rounds as f64;
        Deaths {
            by_it: self.by_it / rounds,
            of_it: self.of_it / rounds,
            afterwards: self.afterwards / rounds,
            whole_ms: self.whole_ms / rounds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_read_from_both_sides_logs() {
        let ours = r#"2026-01-01T00:00:00Z  INFO the cluster ring=ab12 nodes="1 Active, a Joining""#;
        assert_eq!(nodes_of(ours), Some(BTreeSet::from([1, 10])));
        assert_eq!(nodes_of(r#"the cluster nodes="3 Active""#), Some(BTreeSet::from([3])));
        assert_eq!(nodes_of("INFO something else"), None);
    }
}
