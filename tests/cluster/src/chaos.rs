//! Chaos: five real nodes, a hundred sessions, players in each who verify every promise, and faults that a seed draws, one
//! after another. In between everything heals; at the end every session must answer again that its tier promises to.
//! The same seed draws the same faults, of which the machine makes what it will: a run is not repeated exactly.
//!
//! Nodes fail one at a time: with two copies of a session, two failures at once may take both. Moves are under way while they do.

mod bot;
mod driver;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use ringside_client::{Options, Trust};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::{Network, Quality};
use ringside_test_support::random::Random;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use bot::Played;
pub use driver::Faults;

use bot::{Bot, Phase};

/// Nodes of the cluster.
pub const NODES: u64 = 5;
/// Players of a session, at most.
const SEATS: u64 = 3;
const LAN: Quality = Quality { delay: Duration::from_micros(200), loss_permille: 0 };

/// A game, and what its sessions promise.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The module.
    pub game: &'static str,
    /// How many of a hundred sessions are its.
    pub share: u64,
    /// Whether a session outlives its node.
    pub outlives: bool,
    /// Whether both sides of a cut may go on, so that what one of them said is withdrawn; without a cut nothing ever is.
    pub forks: bool,
}

/// What has happened to the cluster, as far as players must know to tell what was promised to them.
#[derive(Debug, Default)]
struct Happened {
    /// Whether it was ever cut: players may be told of forks from then on.
    was_cut: AtomicBool,
    /// How often a fault that a volatile session need not survive has begun, or its consequences were over.
    deadly: AtomicU64,
}

/// What is played. A further tier is a row.
pub const KINDS: &[Kind] = &[
    Kind { game: "echo", share: 15, outlives: false, forks: false },
    Kind { game: "echo-replicated", share: 20, outlives: true, forks: true },
    Kind { game: "echo-kept", share: 10, outlives: true, forks: true },
    Kind { game: "echo-ticking", share: 5, outlives: true, forks: true },
    Kind { game: "echo-consistent", share: 30, outlives: true, forks: false },
    Kind { game: "echo-durable", share: 15, outlives: true, forks: false },
    // Its records are in the store: there is one branch, whatever its policy.
    Kind { game: "echo-lasting", share: 5, outlives: true, forks: false },
];

/// What a run is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What draws the faults.
    pub seed: u64,
    /// For how long there are faults.
    pub length: Duration,
    /// Sessions, each with one to three players.
    pub sessions: u64,
    /// Where histories of broken promises are written.
    pub directory: PathBuf,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// What drew the faults.
    pub seed: u64,
    /// What was done to the cluster.
    pub faults: Faults,
    /// What players did and saw, in all.
    pub played: Played,
    /// Why there were no cuts, if there were none.
    pub no_cuts: Option<String>,
    /// Promises that were broken, each with where its history is.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { seed, faults, played, no_cuts, violations } = self;
        writeln!(
            f,
            "seed {seed}; faults: {} kills ({} while sessions moved), {} stops, {} drains, {} upgrades, {} times without the store, {} cuts and \
             {} times of loss{}, {} moves ({} not made); {} changes of leaders",
            faults.kills,
            faults.kills_in_moves,
            faults.stops,
            faults.drains,
            faults.upgrades,
            faults.without_store,
            faults.cuts,
            faults.losses,
            no_cuts.as_ref().map_or_else(String::new, |why| format!(" ({why})")),
            faults.moves,
            faults.not_moved,
            faults.epochs,
        )?;
        writeln!(
            f,
            "players: {} messages answered, {} views, {} came in again, {} rewound, {} told that a volatile session was lost; longest \
             wait for an answer {} ms",
            played.messages,
            played.views,
            played.attached,
            played.rewound,
            played.lost,
            played.longest.as_millis(),
        )?;
        write!(f, "violations: {}", violations.len())?;
        violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// Runs it to its end.
///
/// # Panics
/// Where the cluster does not come up, before there is any fault.
pub async fn run(plan: &Plan) -> Report {
    let mut report = Report { seed: plan.seed, ..Report::default() };
    let mut cluster = match Network::new(NODES as u8, LAN) {
        Ok(network) => Cluster::start_on(network, NODES).await,
        Err(why) => {
            report.no_cuts = Some(format!("no network of namespaces: {why}"));
            Cluster::start(NODES).await
        }
    };
    cluster.keep_ports();
    for kind in KINDS {
        cluster.node(1).push(kind.game);
    }
    cluster.agreed().await;
    let began = Instant::now();
    let (say, phase) = watch::channel(Phase::Playing);
    let random = Random::new(plan.seed);
    let happened = Arc::<Happened>::default();
    let mut bots = JoinSet::new();
    let mut promised = Vec::new();
    for (number, kind) in (0..plan.sessions).zip(deal(plan.sessions)) {
        let by = number % NODES + 1;
        // A session that does not outlive its node is made again by whoever comes back to it.
        let mut target = format!("{}?chaos=c{number}", kind.game);
        if kind.outlives {
            let key = format!("c{number}");
            cluster.node(by).ringside(&["session", "create", kind.game, "--key", &key]).succeeded();
            target = format!("{}/{key}", kind.game);
            promised.push((kind.game, key));
        }
        for seat in 0..number % SEATS + 1 {
            let player = format!("player-{number}-{seat}");
            let options = enter(&cluster, by, &player, &target);
            let seed = random.fork(number * SEATS + seat).next();
            bots.spawn(Bot::new((player, kind), options, seed, (began, Arc::clone(&happened))).play(phase.clone()));
        }
    }
    let seed = random.fork(plan.sessions * SEATS).next();
    let driver = driver::Driver::new(cluster, seed, (promised, happened), plan.length);
    // On a thread of its own: it waits for processes.
    let driven = tokio::task::spawn_blocking(|| {
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(driver.run()))
        })
        .join()
    })
    .await;
    // What is left of it lives until the players are done.
    let _cluster = match driven {
        Ok(Ok(Ok((cluster, faults, failure)))) => {
            report.faults = faults;
            report.violations.extend(failure);
            Some(cluster)
        }
        other => {
            let why = match other {
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(panic)) => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into()),
                _ => "its driver ended".into(),
            };
            report.violations.push(format!("the cluster does not heal: {why}"));
            None
        }
    };
    let _ = say.send(Phase::Ending);
    while let Some(done) = bots.join_next().await {
        match done {
            Ok(Ok(played)) => report.played.add(&played),
            Ok(Err(violation)) => report.violations.push(violation.kept_in(&plan.directory, plan.seed)),
            Err(error) => report.violations.push(format!("a player: {error}")),
        }
    }
    report
}

/// Which game each session is of: by the shares, mixed.
fn deal(sessions: u64) -> impl Iterator<Item = Kind> {
    let all: u64 = KINDS.iter().map(|kind| kind.share).sum();
    (0..sessions).map(move |number| {
        // A step that has no common divisor with the sum of shares deals evenly from the first on.
        let mut at = number * 37 % all;
        *KINDS
            .iter()
            .find(|kind| {
                let is_it = at < kind.share;
                at = at.saturating_sub(kind.share);
                is_it
            })
            .unwrap_or(&KINDS[0])
    })
}

/// How a player enters: by any node, beginning with one.
fn enter(cluster: &Cluster, by: u64, player: &str, target: &str) -> Options {
    let doors = (0..NODES).map(|step| cluster.node((by - 1 + step) % NODES + 1));
    let trust = Trust::CertificateSha256(cluster.nodes().map(|(_, node)| node.certificate()).collect());
    let token = cluster.node(by).token(player);
    let options = Options::new(doors.map(|node| node.address()), trust, token, target);
    let options = options.unwrap_or_else(|error| panic!("{target}: {error}"));
    // A player who may not wait for the cluster to heal says nothing about it.
    Options { give_up_after: Duration::from_secs(300), ..options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_sessions_are_dealt_by_the_shares() {
        for kind in KINDS {
            let dealt = deal(100).filter(|other| other.game == kind.game).count() as u64;
            assert_eq!(dealt, kind.share, "{}", kind.game);
        }
    }
}
