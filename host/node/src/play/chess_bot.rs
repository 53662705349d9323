//! A modest chess player: mates if it can, else takes what is worth most, else moves anything. The same position gives
//! the same move.

use owlchess::{Board, Color, Move, movegen::legal};
use ringside_protocol::ids::Slot;

/// The bot's move in UCI; `None` where it is not its turn or there is no move.
pub fn choose(fen: &str, slot: Slot) -> Option<String> {
    let board = Board::from_fen(fen).ok()?;
    let turn = if board.side() == Color::White { Slot(0) } else { Slot(1) };
    if turn != slot {
        return None;
    }
    let moves = legal::gen_all(&board);
    let best = moves.iter().max_by_key(|candidate| (worth(&board, candidate), scatter(fen, candidate)))?;
    Some(best.uci().to_string())
}

fn worth(board: &Board, candidate: &Move) -> u32 {
    let Ok(after) = board.make_move(*candidate) else { return 0 };
    if after.is_check() && legal::gen_all(&after).is_empty() {
        return 100;
    }
    material(board) - material(&after).min(material(board))
}

/// What the side that did not move last has, roughly.
fn material(board: &Board) -> u32 {
    let fen = board.as_fen();
    let pieces = fen.split(' ').next().unwrap_or_default();
    pieces
        .chars()
        .map(|piece| match piece.to_ascii_lowercase() {
            'q' => 9,
            'r' => 5,
            'b' | 'n' => 3,
            'p' => 1,
            _ => 0,
        })
        .sum()
}

/// Spreads moves of equal worth, the same way each time.
fn scatter(fen: &str, candidate: &Move) -> u64 {
    let text = format!("{fen}{}", candidate.uci());
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_mates_takes_and_waits() {
        let mate = "6k1/5ppp/8/8/8/8/8/R3K3 w - - 0 1";
        assert_eq!(choose(mate, Slot(0)).as_deref(), Some("a1a8"));
        assert_eq!(choose(mate, Slot(1)), None);
        let hanging = "4k3/8/8/3q4/4P3/8/8/4K3 w - - 0 1";
        assert_eq!(choose(hanging, Slot(0)).as_deref(), Some("e4d5"));
        assert_eq!(choose("nonsense", Slot(0)), None);
    }
}
