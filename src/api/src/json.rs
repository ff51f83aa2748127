//! What every JSON body must be before ruma sees it: UTF-8, one JSON object, not nested deeper than a peer can
//! parse.

use serde::de::IgnoredAny;

use crate::{Error, Result};

/// Nested arrays and objects of a body, the outermost one included.
const MAX_DEPTH: usize = event::json::MAX_OWN_DEPTH;

/// Checks a body. One that is empty passes: ruma takes it for `{}`.
pub(crate) fn check(body: &[u8]) -> Result<()> {
    if body.is_empty() {
        return Ok(());
    }
    let text =
        std::str::from_utf8(body).map_err(|_| Error::not_json("The request body is not UTF-8"))?;
    if depth(text) > MAX_DEPTH {
        return Err(Error::bad_json("The request body is nested too deeply"));
    }
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|_| Error::not_json("The request body is not JSON"))?;
    if !text.trim_start().starts_with('{') {
        return Err(Error::bad_json("The request body is not a JSON object"));
    }
    Ok(())
}

/// How deep brackets outside of strings nest, in a text that need not be JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

/// Moves behind the quote that ends a string.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    fn errcode(body: &[u8]) -> &'static str {
        match check(body) {
            Ok(()) => "",
            Err(error) if format!("{error:?}").contains("NotJson") => "M_NOT_JSON",
            Err(_) => "M_BAD_JSON",
        }
    }

    #[test]
    fn bodies() {
        let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n)).into_bytes();
        let cases: &[(&[u8], &str)] = &[
            (b"", ""),
            (b"{}", ""),
            (b" \n{\"a\": [1.5, null]}\n", ""),
            (b"{\"a\": \"\\\"[[[\"}", ""),
            (&deep(63), ""),
            (&deep(64), "M_BAD_JSON"),
            (&deep(100_000), "M_BAD_JSON"),
            (b"[]", "M_BAD_JSON"),
            (b"null", "M_BAD_JSON"),
            (b"1", "M_BAD_JSON"),
            (b"{", "M_NOT_JSON"),
            (b"{} {}", "M_NOT_JSON"),
            (b"{\"a\": NaN}", "M_NOT_JSON"),
            (b"{\"a\": \"\x81\"}", "M_NOT_JSON"),
            (b"\"\\", "M_NOT_JSON"),
            (b" ", "M_NOT_JSON"),
        ];
        for (body, expected) in cases {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_eq!(errcode(body), *expected, "{shown}");
        }
    }
}
