//! Content types and names of files, and the headers with which content is served so that a browser neither runs nor
//! guesses anything.

use std::fmt::Write as _;

/// "Servers SHOULD restrict `Content-Type` headers to one of the following values when serving content with
/// `Content-Disposition: inline`".
const INLINE: [&str; 26] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// Headers of every answer with content.
///
/// "When serving content, the server SHOULD provide a `Content-Security-Policy` header. The recommended policy is […]";
/// "The server SHOULD additionally provide `Cross-Origin-Resource-Policy: cross-origin`".
pub const SECURITY_HEADERS: [(&str, &str); 3] = [
    (
        "content-security-policy",
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; \
         object-src 'self';",
    ),
    ("cross-origin-resource-policy", "cross-origin"),
    ("x-content-type-options", "nosniff"),
];

/// What is served when no type, or none that is one, was declared.
const UNKNOWN: &str = "application/octet-stream";

/// The longest declared type; longer ones are dropped.
const MAX_TYPE: usize = 255;

/// The longest name of a file in bytes.
const MAX_FILE_NAME: usize = 1024;

/// A media type, parsed once: trimmed, type and subtype in lower case, with its parameters if they are well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    text: String,
    essence: usize,
}

impl ContentType {
    /// The declared type, or `application/octet-stream` if it is none.
    pub fn parse(declared: &str) -> Self {
        let declared = declared.trim();
        let (essence, parameters) = declared.split_once(';').unwrap_or((declared, ""));
        let essence = essence.trim().to_ascii_lowercase();
        let is_type = essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
        if !is_type || declared.len() > MAX_TYPE {
            return Self {
                text: UNKNOWN.to_owned(),
                essence: UNKNOWN.len(),
            };
        }
        let mut text = essence.clone();
        for parameter in parameters.split(';').map(str::trim) {
            // A quoted value may hold anything, so it is not taken over.
            if let Some((name, value)) = parameter.split_once('=')
                && is_token(name)
                && is_token(value)
            {
                let _ = write!(text, "; {}={value}", name.to_ascii_lowercase());
            }
        }
        Self {
            text,
            essence: essence.len(),
        }
    }

    /// As a header.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a browser may show it in place.
    pub fn is_inline(&self) -> bool {
        let essence = self.text.get(..self.essence).unwrap_or_default();
        INLINE.contains(&essence)
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// A name as it is kept: nothing for an empty one.
///
/// NOTSPEC: control characters, which no file system and no header wants, are left out, and so is what goes beyond
/// 1,024 bytes.
pub(crate) fn file_name(name: &str) -> Option<String> {
    let mut kept = String::new();
    for character in name.chars().filter(|c| !c.is_control()) {
        if kept.len() + character.len_utf8() > MAX_FILE_NAME {
            break;
        }
        kept.push(character);
    }
    (!kept.is_empty()).then_some(kept)
}

/// The headers that differ from content to content. Together with [`SECURITY_HEADERS`] they are all that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentHeaders {
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Disposition`; ASCII, whatever the name.
    pub content_disposition: String,
}

impl ContentHeaders {
    /// For a file. "`Content-Disposition` MUST be one of `inline` or `attachment`. If the `Content-Type` is allowed in
    /// the restrictions for serving inline content, servers SHOULD use `inline`, otherwise they SHOULD use
    /// `attachment`. If the upload was made with a `filename`, this header MUST contain the same `filename`."
    pub(crate) fn new(content_type: &ContentType, name: Option<&str>) -> Self {
        let mut content_disposition = String::from(if content_type.is_inline() {
            "inline"
        } else {
            "attachment"
        });
        if let Some(name) = name.and_then(file_name) {
            push_file_name(&mut content_disposition, &name);
        }
        Self {
            content_type: content_type.as_str().to_owned(),
            content_disposition,
        }
    }

    /// For a thumbnail: "MUST be `inline`, and SHOULD contain a file name (e.g. `thumbnail.png`)".
    pub(crate) fn thumbnail(content_type: &str) -> Self {
        let suffix = content_type.rsplit('/').next().unwrap_or_default();
        Self::new(
            &ContentType::parse(content_type),
            Some(&format!("thumbnail.{suffix}")),
        )
    }
}

/// RFC 6266: a quoted string where that is unambiguous, else the encoding of RFC 8187.
fn push_file_name(header: &mut String, name: &str) {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\%".contains(&byte);
    if name.bytes().all(plain) {
        let _ = write!(header, "; filename=\"{name}\"");
        return;
    }
    header.push_str("; filename*=utf-8''");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            header.push(char::from(byte));
        } else {
            let _ = write!(header, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ContentHeaders, ContentType, file_name};

    fn disposition(content_type: &str, name: &str) -> String {
        ContentHeaders::new(&ContentType::parse(content_type), Some(name)).content_disposition
    }

    #[test]
    fn d6_only_the_allow_list_is_inline() {
        let inline = [
            "image/png",
            "IMAGE/PNG",
            " image/png ",
            "image/png; charset=x",
            "Image/Png ;a=b",
            "text/plain;charset=utf-8",
            "video/mp4",
            "audio/ogg",
            "application/json",
        ];
        for text in inline {
            assert!(ContentType::parse(text).is_inline(), "{text:?}");
        }
        let attached = [
            "text/html",
            "TEXT/HTML",
            " text/html",
            "text/html; image/png",
            "image/svg+xml",
            "image/svg+xml;image/png",
            "application/xml",
            "text/xml",
            "application/xhtml+xml",
            "text/javascript",
            "application/pdf",
            "image/png, text/html",
            "image/png\r\nX-Evil: 1",
            "image/",
            "/png",
            "image",
            "",
            "image/png/x",
            "image /png",
            "multipart/mixed",
            "application/octet-stream",
            "image/p\u{212a}ng",
            "text/html\0image/png",
        ];
        for text in attached {
            assert!(!ContentType::parse(text).is_inline(), "{text:?}");
        }
    }

    #[test]
    fn d6_types_are_folded_once_and_what_is_none_becomes_bytes() {
        let cases = [
            (" Text/HTML ; Charset=UTF-8 ", "text/html; charset=UTF-8"),
            ("image/png; a=\"x;y\"", "image/png"),
            ("image/png\r\nX: 1", "application/octet-stream"),
            ("", "application/octet-stream"),
            ("text/plain;;;b", "text/plain"),
        ];
        for (declared, served) in cases {
            let parsed = ContentType::parse(declared);
            assert_eq!(parsed.as_str(), served);
            assert_eq!(ContentType::parse(parsed.as_str()), parsed);
        }
        let long = format!("image/{}", "a".repeat(255));
        assert_eq!(
            ContentType::parse(&long).as_str(),
            "application/octet-stream"
        );
    }

    #[test]
    fn names_are_quoted_or_encoded() {
        assert_eq!(
            disposition("image/png", "a.png"),
            "inline; filename=\"a.png\""
        );
        assert_eq!(
            disposition("image/png", "name;with; semicolons"),
            "inline; filename=\"name;with; semicolons\""
        );
        assert_eq!(
            disposition("text/html", "\u{1f414}"),
            "attachment; filename*=utf-8''%F0%9F%90%94"
        );
        assert_eq!(
            disposition("image/png", "a\"; x=\"b%"),
            "inline; filename*=utf-8''a%22%3B%20x%3D%22b%25"
        );
        assert_eq!(disposition("image/png", ""), "inline");
        assert_eq!(disposition("image/png", "\r\n"), "inline");
    }

    #[test]
    fn names_have_1024_bytes_and_not_1025() {
        assert_eq!(file_name(&"a".repeat(1024)).unwrap().len(), 1024);
        assert_eq!(file_name(&"a".repeat(1025)).unwrap().len(), 1024);
        assert_eq!(file_name(&"ä".repeat(1000)).unwrap().len(), 1024);
    }

    proptest! {
        #[test]
        fn d6_headers_are_one_line_of_ascii(declared in "\\PC{0,40}|.{0,40}", name in ".{0,60}") {
            let headers = ContentHeaders::new(&ContentType::parse(&declared), Some(&name));
            for text in [&headers.content_type, &headers.content_disposition] {
                prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{:?}", text);
            }
        }
    }
}
