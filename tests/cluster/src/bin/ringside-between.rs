//! Stands between a node's process and its successor, and passes on what they say to each other, until the moment that it is
//! told of: then one of the two ends as a crash ends it. For tests of what becomes of a handover. To the old process it is the
//! successor, and what it runs, with the arguments that it has, is told nothing of it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

use ringside_cluster_tests::between::{Moment, RUNS, UNTIL};
use ringside_node::handover::channel::{self, Heard, Mouth, Sockets};
use ringside_node::handover::messages::Said;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let told = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (program, moment): (OsString, Moment) = (told(RUNS).into(), told(UNTIL).parse().expect("a moment"));
    let (ours, theirs) = UnixStream::pair()?;
    let mut successor =
        Command::new(program).args(std::env::args_os().skip(1)).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    let (to_new, mut from_new) = channel::open(ours)?;
    let (to_old, mut from_old) = channel::open(io::stdin().as_fd().try_clone_to_owned()?.into())?;
    loop {
        tokio::select! {
            heard = from_old.next() => {
                let Some(heard) = heard else { break };
                match (&heard, moment) {
                    (Heard::Said(Said::Take, _), Moment::SuccessorBeforeTake) => return end(&mut successor),
                    (Heard::Said(Said::Take, _), Moment::OldBeforeTake) => return end_parent(),
                    _ => pass_on(&to_new, heard),
                }
            }
            heard = from_new.next() => {
                let Some(heard) = heard else { break };
                let has_taken = matches!(heard, Heard::Said(Said::Taken, _));
                match moment {
                    Moment::SuccessorAfterTake if has_taken => return end(&mut successor),
                    Moment::OldAfterTake if has_taken => return end_parent(),
                    Moment::OldStandsStill if has_taken => {
                        signal_parent("-STOP")?;
                        pass_on(&to_old, heard);
                    }
                    Moment::SuccessorAfterTaken if has_taken => {
                        pass_on(&to_old, heard);
                        end(&mut successor)?;
                        // The old process has heard that, and ends.
                        while from_old.next().await.is_some() {}
                        break;
                    }
                    _ => pass_on(&to_old, heard),
                }
            }
        }
    }
    Ok(ExitCode::FAILURE)
}

fn pass_on(to: &Mouth, heard: Heard) {
    let is_passed = match heard {
        Heard::Said(Said::Take, descriptors) => to.hand_over(Sockets::of(descriptors).expect("all sockets")),
        Heard::Said(said, _) => to.say(&said),
        Heard::Directory(message) => to.tell(&message),
        // One that does not get through comes by another way.
        Heard::Checkpoint { from, to: worker, body } => {
            to.pass(from, worker, &body);
            return;
        }
    };
    assert!(is_passed, "there is room for what they say");
}

fn end(successor: &mut Child) -> io::Result<ExitCode> {
    successor.kill()?;
    successor.wait()?;
    Ok(ExitCode::FAILURE)
}

fn end_parent() -> io::Result<ExitCode> {
    signal_parent("-KILL")?;
    Ok(ExitCode::FAILURE)
}

/// The old process is the one that started this.
fn signal_parent(signal: &str) -> io::Result<()> {
    let old = std::os::unix::process::parent_id().to_string();
    let signalled = Command::new("kill").args([signal, &old]).status()?;
    assert!(signalled.success(), "process {old} was there");
    Ok(())
}
