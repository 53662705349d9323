//! Which texts are moves at all. owlchess' parsers panic on some that are not (`K`, `Qx`), and accept UCI's "no move"
//! (`0000`), so nothing else reaches them.

/// Whether a text has the form of a move in SAN or UCI; says nothing of any position.
pub fn is_move(text: &str) -> bool {
    let unmarked = text.strip_suffix(['+', '#']).unwrap_or(text);
    matches!(unmarked, "O-O" | "O-O-O") || is_uci(text.as_bytes()) || is_san(unmarked.as_bytes())
}

/// `g1f3`, `e7e8q`.
fn is_uci(text: &[u8]) -> bool {
    match text {
        [from @ .., b'n' | b'b' | b'r' | b'q'] if from.len() == 4 => is_uci(from),
        [file1, rank1, file2, rank2] => is_square(*file1, *rank1) && is_square(*file2, *rank2),
        _ => false,
    }
}

/// `Nf3`, `R1xg5`, `Qh4xe1`, `e4`, `exd8=Q`.
fn is_san(text: &[u8]) -> bool {
    match text {
        [b'N' | b'B' | b'R' | b'Q' | b'K', from @ .., file, rank] => is_square(*file, *rank) && is_origin(from),
        [before @ .., b'=', b'N' | b'B' | b'R' | b'Q'] => is_pawn_move(before),
        _ => is_pawn_move(text),
    }
}

fn is_pawn_move(text: &[u8]) -> bool {
    match text {
        [file, rank] => is_square(*file, *rank),
        [b'a'..=b'h', b'x', file, rank] => is_square(*file, *rank),
        _ => false,
    }
}

/// What may stand between a piece and its destination: file, rank and the sign of a capture, all optional.
fn is_origin(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"x").unwrap_or(text);
    matches!(text, [] | [b'a'..=b'h'] | [b'1'..=b'8'] | [b'a'..=b'h', b'1'..=b'8'])
}

fn is_square(file: u8, rank: u8) -> bool {
    (b'a'..=b'h').contains(&file) && (b'1'..=b'8').contains(&rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_told_from_other_texts() {
        let good = "e4 exd5 e8=Q exd8=N+ Nf3 Nbd7 R1xg5 Qh4xe1# Kxc3 O-O O-O-O+ e2e4 e7e8q";
        good.split(' ').for_each(|text| assert!(is_move(text), "{text}"));
        let bad = "K Kx Kxx Nf9 i4 e9 exd exd5x e8=K e8=q 0000 0-0 -- + # e4++ e2e4k O-O-O-O Nf3! xe4 N";
        bad.split(' ').for_each(|text| assert!(!is_move(text), "{text}"));
        assert!(!is_move("") && !is_move("é4") && !is_move(" e4"));
    }
}
