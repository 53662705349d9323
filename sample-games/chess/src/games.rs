//! Published games, for tests: their moves and the positions in which they ended. Those were computed by another
//! implementation of the rules (python-chess) than the one that this game uses.

/// A game as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamousGame {
    /// Its file's name.
    pub name: &'static str,
    /// Who played white.
    pub white: &'static str,
    /// Who played black.
    pub black: &'static str,
    /// The year.
    pub year: &'static str,
    /// `1-0`, `0-1` or `1/2-1/2`.
    pub result: &'static str,
    /// The moves in SAN, white's first.
    pub moves: Vec<&'static str>,
    /// The final position in Forsyth-Edwards notation.
    pub final_fen: &'static str,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../games/", $name, ".pgn")))),*] };
}

const FILES: [(&str, &str); 17] = files![
    "immortal",
    "evergreen",
    "opera",
    "wiede-goetz",
    "steinitz-bardeleben",
    "rotlewi-rubinstein",
    "reti-tartakower",
    "lasker-thomas",
    "capablanca-marshall",
    "bogoljubov-alekhine",
    "gundersen-faul",
    "reinle-lange",
    "levin-santasiere",
    "byrne-fischer",
    "fischer-spassky",
    "deep-blue-kasparov",
    "kasparov-topalov",
];

/// Seventeen games, from 1851 to 1999: castling on both sides, en passant, promotion and underpromotion among them.
pub fn famous_games() -> Vec<FamousGame> {
    FILES.iter().map(|(name, pgn)| parse(name, pgn)).collect()
}

/// Reads one of our files: tags, an empty line, moves without comments or variations, the result.
fn parse(name: &'static str, pgn: &'static str) -> FamousGame {
    let (tags, moves) = pgn.split_once("\n\n").unwrap_or((pgn, ""));
    let tag = |key: &str| {
        let of =
            |line: &'static str| line.strip_prefix('[')?.strip_prefix(key)?.strip_prefix(" \"")?.strip_suffix("\"]");
        tags.lines().find_map(of).unwrap_or_default()
    };
    let result = tag("Result");
    let is_move = |word: &&str| !word.ends_with('.') && *word != result;
    FamousGame {
        name,
        white: tag("White"),
        black: tag("Black"),
        year: &tag("Date")[..4],
        result,
        moves: moves.split_whitespace().filter(is_move).collect(),
        final_fen: tag("FinalFEN"),
    }
}
