//! What a call costs: a message of 256 bytes in and its answer out through the fold, against the bare typed call of the
//! same export of the same module, its argument lowered beforehand and its output not copied.

use bytes::Bytes;
use ringside_core::ids::Slot;
use ringside_core::log::Input;

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{SERVER_CORE, on_core, thread_time};
use crate::plain::{self, Plain};
use crate::play::{self, Play};
use crate::statistics::Paired;

/// Bytes of a message.
const BODY: usize = 256;
/// Calls between two looks at the clock.
const BATCH: u64 = 200;
/// Batches of a measurement.
const BATCHES: u64 = 100;

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let bytes = context.guest("echo")?;
    let body = ringside_guest::encode(&ringside_guest::Bytes(vec![7; BODY]));
    let pairs = on_core(SERVER_CORE, || {
        let sandbox = play::sandbox()?;
        let mut session = Play::start(&sandbox.upload(&bytes).map_err(BenchError::setup)?, &[])?;
        session.join(0)?;
        let mut guest = Plain::new(&plain::link(&plain::engine(None)?, &bytes)?)?;
        guest.start(&[])?;
        guest.join(0, "player-0")?;
        guest.sink().copies = false;
        let mut number = 0;
        Paired::measure(
            context.pairs(15),
            || through_the_fold(&mut session, &mut number, &body),
            || bare(&mut guest, &body),
        )
    })?;
    Ok(vec![Figure::paired("dispatch", format!("{BODY} B in and out"), "ns", &pairs).with_target(5.0, true)])
}

fn through_the_fold(session: &mut Play, number: &mut u64, body: &[u8]) -> Result<f64, BenchError> {
    let body = Bytes::copy_from_slice(body);
    let mut nanoseconds = 0;
    for _ in 0..BATCHES {
        let inputs: Vec<Input> =
            (1..=BATCH).map(|at| Input::Message { slot: Slot(0), number: *number + at, body: body.clone() }).collect();
        *number += BATCH;
        let begun = thread_time();
        for input in &inputs {
            session.apply(input)?;
        }
        nanoseconds += (thread_time() - begun).as_nanos();
        session.acknowledge()?;
    }
    Ok(nanoseconds as f64 / (BATCH * BATCHES) as f64)
}

fn bare(guest: &mut Plain, body: &[u8]) -> Result<f64, BenchError> {
    let mut nanoseconds = 0;
    for _ in 0..BATCHES {
        let arguments = (0..BATCH).map(|_| guest.lower(body)).collect::<Result<Vec<_>, _>>()?;
        let begun = thread_time();
        for argument in arguments {
            guest.message(0, argument)?;
        }
        nanoseconds += (thread_time() - begun).as_nanos();
    }
    Ok(nanoseconds as f64 / (BATCH * BATCHES) as f64)
}
