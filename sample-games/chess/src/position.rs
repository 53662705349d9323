//! The board and what was played on it: the only file that names owlchess.

use std::collections::BTreeMap;

use owlchess::chain::{BaseMoveChain, Repeat};
use owlchess::types::{DrawReason, OutcomeFilter};
use owlchess::{Board, Color, Move, Piece, WinReason};
use ringside_guest::{Refusal, Slot};

use crate::{Reason, notation};

/// A position and its history.
pub struct Position {
    chain: BaseMoveChain<Repetitions>,
    moves: Vec<String>,
}

/// How a match would end in this position.
pub struct Ending {
    /// Who wins; nobody in a draw.
    pub winner: Option<Slot>,
    /// How.
    pub reason: Reason,
    /// It ends at once; otherwise a player may claim it.
    pub must: bool,
}

/// How often each position came. Ordered: a hash map's order would be another on each platform.
#[derive(Debug, Default, Clone)]
struct Repetitions(BTreeMap<u64, usize>);

impl Repeat for Repetitions {
    fn push(&mut self, board: &Board) {
        *self.0.entry(board.zobrist_hash()).or_default() += 1;
    }

    fn pop(&mut self, board: &Board) {
        let hash = board.zobrist_hash();
        match self.0.get_mut(&hash) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.0.remove(&hash)),
            None => panic!("taken back more often than played"),
        }
    }

    fn count(&self, board: &Board) -> usize {
        self.0.get(&board.zobrist_hash()).copied().unwrap_or(0)
    }
}

impl Position {
    /// The initial position.
    pub fn new() -> Self {
        Position { chain: BaseMoveChain::new_initial(), moves: Vec::new() }
    }

    /// Whose turn it is.
    pub fn to_move(&self) -> Slot {
        slot(self.chain.last().side())
    }

    /// The position in Forsyth-Edwards notation.
    pub fn fen(&self) -> String {
        self.chain.last().as_fen()
    }

    /// All moves, in SAN.
    pub fn moves(&self) -> &[String] {
        &self.moves
    }

    /// Plays a move and answers it in SAN.
    ///
    /// # Errors
    /// If the text is no move, or no legal one. Nothing has changed then.
    pub fn play(&mut self, text: &str) -> Result<&str, Refusal> {
        let played = self.legal_move(text)?;
        let san = played.san(self.chain.last())?.to_string();
        self.chain.push(played)?;
        self.moves.push(san);
        Ok(&self.moves[self.moves.len() - 1])
    }

    /// How the match ends here, if it does or may.
    pub fn ending(&self) -> Option<Ending> {
        use owlchess::Outcome::{Draw, Win};

        let outcome = self.chain.calc_outcome()?;
        let must = outcome.passes(OutcomeFilter::Strict);
        let (winner, reason) = match outcome {
            Win { side, reason: WinReason::Checkmate } => (Some(slot(side)), Reason::Checkmate),
            Draw(DrawReason::Stalemate) => (None, Reason::Stalemate),
            Draw(DrawReason::InsufficientMaterial) => (None, Reason::InsufficientMaterial),
            Draw(DrawReason::Repeat3 | DrawReason::Repeat5) => (None, Reason::Repetition),
            Draw(DrawReason::Moves50 | DrawReason::Moves75) => (None, Reason::FiftyMoves),
            // The other outcomes do not come from the board.
            _ => return None,
        };
        Some(Ending { winner, reason, must })
    }

    /// Whether this player has nothing left but the king.
    pub fn has_bare_king(&self, slot: Slot) -> bool {
        let color = if slot.0 == 0 { Color::White } else { Color::Black };
        let board = self.chain.last();
        board.color(color) == board.piece2(color, Piece::King)
    }

    fn legal_move(&self, text: &str) -> Result<Move, Refusal> {
        if !notation::is_move(text) {
            return Err("that is no move, neither in SAN (Nf3) nor in UCI (g1f3)".into());
        }
        let board = self.chain.last();
        let found = Move::from_san(text, board).or_else(|_| Move::from_uci_legal(text, board));
        found.map_err(|_| Refusal::from(format_args!("{text} is no legal move here")))
    }
}

fn slot(color: Color) -> Slot {
    Slot(if color == Color::White { 0 } else { 1 })
}
