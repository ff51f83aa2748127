//! Bytes of a page to text, whatever it was written in.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Where in a page its own word on the encoding is looked for.
const PRESCAN: usize = 1024;

/// The text of a page: by its byte order mark, by the header, by what the page says itself, as UTF-8 if it is that, and
/// else as browsers read what says nothing.
pub(super) fn decode<'a>(bytes: &'a [u8], content_type: &str) -> Cow<'a, str> {
    let declared = parameter(content_type).or_else(|| {
        let head = bytes.get(..PRESCAN).unwrap_or(bytes);
        parameter(&String::from_utf8_lossy(head))
    });
    let known = Encoding::for_bom(bytes)
        .map(|(encoding, _)| encoding)
        .or(declared);
    if let Some(encoding) = known {
        return encoding.decode(bytes).0;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // Cut in the middle of a character, or with a few bad bytes, it still is UTF-8.
        Err(error) if error.valid_up_to() > bytes.len() / 2 => UTF_8.decode(bytes).0,
        Err(_) => WINDOWS_1252.decode(bytes).0,
    }
}

/// The encoding of the first `charset=` in a text.
fn parameter(text: &str) -> Option<&'static Encoding> {
    let lower = text.to_ascii_lowercase();
    let (_, rest) = lower.split_once("charset=")?;
    let rest = rest.trim_start_matches(['"', '\'', ' ']);
    let label = rest.split(['"', '\'', ';', ' ', '>', '/']).next()?;
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn pages_of_every_encoding_are_read() {
        let cases: [(&[u8], &str, &str); 8] = [
            ("grün".as_bytes(), "text/html", "grün"),
            (b"gr\xfcn", "text/html", "grün"),
            (b"gr\xfcn", "text/html; charset=ISO-8859-1", "grün"),
            (
                b"\x93\xfa\x96\x7b",
                "text/html;charset=\"Shift_JIS\"",
                "日本",
            ),
            (b"\xff\xfea\0b\0", "text/html; charset=utf-8", "ab"),
            (
                b"<meta charset='windows-1251'>\xcc",
                "text/html",
                "<meta charset='windows-1251'>М",
            ),
            (b"a", "text/html; charset=nonsense", "a"),
            (b"", "", ""),
        ];
        for (bytes, content_type, text) in cases {
            assert_eq!(
                decode(bytes, content_type),
                text,
                "{bytes:?} {content_type}"
            );
        }
    }
}
