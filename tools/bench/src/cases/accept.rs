//! How many players a second a core lets in: handshake, token, seat and answer, against an ordinary quinn loop that
//! accepts and answers. Counted by the server's CPU time, so that the load's own speed does not matter.

use std::time::Duration;

use crate::bench::{BenchError, Context};
use crate::child::Running;
use crate::figure::Figure;
use crate::load::accept::Accepted;
use crate::machine::{LOAD_CORE, SERVER_CORE};
use crate::statistics::Paired;

/// One turn of a load.
const SLICE: Duration = Duration::from_millis(1500);

/// Measures.
pub fn rate(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let mut returning = ringside(context, &[])?;
    let mut ours = ringside(context, &["--fresh"])?;
    let mut plain = quinn(&[])?;
    let mut careful = quinn(&["--retry"])?;
    for side in [&mut returning, &mut ours, &mut plain, &mut careful] {
        side.connections_a_cpu_second()?;
    }
    let (mut of_returning, mut against_careful, mut against_plain) = Default::default();
    for _ in 0..context.pairs(7) {
        let (back, value) = (returning.connections_a_cpu_second()?, ours.connections_a_cpu_second()?);
        let (plain, careful) = (plain.connections_a_cpu_second()?, careful.connections_a_cpu_second()?);
        Paired::push(&mut of_returning, back, plain);
        Paired::push(&mut against_careful, value, careful);
        Paired::push(&mut against_plain, value, plain);
    }
    let figure = |case: &str, pairs| Figure::paired("accept_rate", case, "1/s", pairs).with_target(0.9, false);
    Ok(vec![
        figure("against a loop with Retry", &against_careful),
        figure("with the same tokens, against a bare loop", &of_returning),
        figure("against a bare loop", &against_plain),
    ])
}

fn ringside(context: &Context, options: &[&str]) -> Result<Side, BenchError> {
    let guest = context.guest_path("echo");
    let guest = guest.to_str().ok_or_else(|| BenchError::Setup("the guests' directory is not UTF-8".into()))?;
    let server = Running::start(SERVER_CORE, &["serve", "worker", guest])?;
    let door = server.ready().split(' ').next().unwrap_or_default();
    let load = Running::start(LOAD_CORE, &[&["load", "worker-accept", door], options].concat())?;
    Ok(Side { load, server })
}

fn quinn(options: &[&str]) -> Result<Side, BenchError> {
    let server = Running::start(SERVER_CORE, &[&["serve", "quinn-accept"], options].concat())?;
    let load = Running::start(LOAD_CORE, &["load", "quinn-accept", server.ready()])?;
    Ok(Side { load, server })
}

struct Side {
    // Ended in this order.
    load: Running,
    server: Running,
}

impl Side {
    fn connections_a_cpu_second(&mut self) -> Result<f64, BenchError> {
        let before = self.server.cpu_time()?;
        let accepted: Accepted = self.load.slice(SLICE)?;
        let used = self.server.cpu_time()?.saturating_sub(before);
        if accepted.failed > accepted.connections / 100 {
            let Accepted { connections, failed } = accepted;
            return Err(BenchError::Child(format!("let {connections} connections in and failed {failed}")));
        }
        Ok(accepted.connections as f64 / used.as_secs_f64())
    }
}
