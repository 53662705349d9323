//! Names for error messages: which function an index means. Everything here comes from the uploaded file, so it is
//! cut and made printable before anyone sees it.

use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::upload_error::{Place, UploadError};

/// Longest name in a message, characters.
const SHOWN: usize = 100;

/// A name from the file, cut, and with everything escaped that a terminal could act on.
pub(super) fn printable(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Adds the function's name to an error that points into a function.
pub(super) fn name_function(mut error: UploadError, bytes: &[u8]) -> UploadError {
    let place = match &mut error {
        UploadError::Invalid { place, .. } | UploadError::Feature { place, .. } => Some(place),
        UploadError::Limit { place, .. } => place.as_mut(),
        _ => None,
    };
    if let Some(Place { function: Some((index, name @ None)), .. }) = place {
        *name = function_name(bytes, *index).map(|found| printable(&found));
    }
    error
}

fn function_name(bytes: &[u8], wanted: u32) -> Option<String> {
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(Payload::CustomSection(section)) = payload else {
            payload.ok()?;
            continue;
        };
        let KnownCustom::Name(subsections) = section.as_known() else { continue };
        for subsection in subsections {
            let Ok(Name::Function(names)) = subsection else { continue };
            let found = names.into_iter().map_while(Result::ok).find(|naming| naming.index == wanted);
            return found.map(|naming| naming.name.to_string());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_escaped() {
        assert_eq!(printable("plain::name<T>"), "plain::name<T>");
        assert_eq!(printable("red\u{1b}[31m"), "red\\u{1b}[31m");
        assert_eq!(printable(&"x".repeat(101)), format!("{}…", "x".repeat(100)));
    }

    #[test]
    fn an_error_in_a_function_gets_its_name() {
        let bytes = wat::parse_str("(module (func $first) (func $second))").expect("text");
        let error = UploadError::Invalid { message: "odd".to_string(), place: Place::in_function(1, 7) };
        assert_eq!(
            name_function(error, &bytes).to_string().split(':').next(),
            Some("invalid module at function 1 `second`, offset 0x7")
        );
    }
}
