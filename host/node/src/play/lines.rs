//! Lines from standard input, read on a thread of its own: whoever waits for the next one can stop waiting, and the
//! program can end while nobody types.

use std::io::{BufRead, stdin};

use tokio::sync::mpsc;

/// Lines that may wait for the program.
const WAITING: usize = 16;

/// Lines as they are typed, without their ends; closed where the input ends. What is no UTF-8 is replaced.
pub fn typed() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(WAITING);
    std::thread::spawn(move || pass_on(stdin().lock(), &sender));
    lines
}

fn pass_on(mut input: impl BufRead, lines: &mpsc::Sender<String>) {
    let mut line = Vec::new();
    while matches!(input.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        if lines.blocking_send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_and_close_with_the_input() {
        let (sender, mut lines) = mpsc::channel(WAITING);
        pass_on(&b"roll\r\n\nh\xffold"[..], &sender);
        drop(sender);
        let read: Vec<String> = std::iter::from_fn(|| lines.blocking_recv()).collect();
        assert_eq!(read, ["roll", "", "h\u{fffd}old"]);
    }
}
