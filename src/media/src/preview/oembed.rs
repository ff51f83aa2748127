//! oEmbed: what a site says of one of its pages in JSON. Some sites are asked directly, because their pages say little to
//! who is no browser; others name the place in the page.

use serde::Deserialize;
use url::Url;

use super::page::{self, MAX_VALUE, tidy};

/// Hosts, the beginning of the path of their pages, and whom to ask.
const PROVIDERS: [(&str, &str, &str); 7] = [
    ("twitter.com", "/", "https://publish.twitter.com/oembed"),
    ("x.com", "/", "https://publish.twitter.com/oembed"),
    ("youtube.com", "/watch", "https://www.youtube.com/oembed"),
    ("youtube.com", "/shorts/", "https://www.youtube.com/oembed"),
    ("youtu.be", "/", "https://www.youtube.com/oembed"),
    ("vimeo.com", "/", "https://vimeo.com/api/oembed.json"),
    ("soundcloud.com", "/", "https://soundcloud.com/oembed"),
];

/// Whom to ask for a URL instead of itself.
pub(super) fn provider(url: &Url) -> Option<Url> {
    let host = url.host_str()?;
    let host = host.strip_prefix("www.").unwrap_or(host);
    let host = host.strip_prefix("m.").unwrap_or(host);
    let mut providers = PROVIDERS.iter();
    let (.., endpoint) =
        providers.find(|(site, path, _)| *site == host && url.path().starts_with(path))?;
    let mut endpoint = Url::parse(endpoint).ok()?;
    endpoint
        .query_pairs_mut()
        .append_pair("url", url.as_str())
        .append_pair("format", "json");
    Some(endpoint)
}

/// The fields of an answer that say something here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OEmbed {
    #[serde(rename = "type")]
    kind: Option<String>,
    title: Option<String>,
    author_name: Option<String>,
    provider_name: Option<String>,
    thumbnail_url: Option<String>,
    /// The image itself, of a photo.
    url: Option<String>,
    html: Option<String>,
}

impl OEmbed {
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// As OpenGraph.
    pub(super) fn properties(self) -> Vec<(&'static str, String)> {
        let image = match self.kind.as_deref() {
            Some("photo") => self.url.or(self.thumbnail_url),
            _ => self.thumbnail_url,
        };
        let kind = match self.kind.as_deref() {
            Some("video") => Some("video.other".to_owned()),
            _ => None,
        };
        let text = self
            .html
            .map(|html| page::read(&format!("<body>{html}")).text);
        let title = self.title.or(self.author_name);
        [
            ("og:title", title),
            ("og:description", text),
            ("og:site_name", self.provider_name),
            ("og:type", kind),
            ("og:image", image),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, tidy(&value?, MAX_VALUE))))
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{OEmbed, provider};

    #[test]
    fn sites_are_asked_by_host_and_path() {
        let asked = |url: &str| provider(&Url::parse(url).unwrap()).map(String::from);
        assert_eq!(
            asked("https://www.youtube.com/watch?v=a&b").unwrap(),
            "https://www.youtube.com/oembed?url=https%3A%2F%2Fwww.youtube.com%2Fwatch%3Fv%3Da%26b&format=json"
        );
        assert!(asked("https://youtube.com/about").is_none());
        assert!(asked("https://youtube.com.example/watch").is_none());
    }

    #[test]
    fn an_answer_becomes_open_graph() {
        let answer =
            br#"{"type":"rich","author_name":"A","html":"<p>Hi <b>there</b></p><script>x</script>",
            "provider_name":"P","thumbnail_url":"https://e.example/t.png","width":5}"#;
        let properties = OEmbed::parse(answer).unwrap().properties();
        let expected = [
            ("og:title", "A"),
            ("og:description", "Hi there"),
            ("og:site_name", "P"),
            ("og:image", "https://e.example/t.png"),
        ];
        assert_eq!(
            properties,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
        let photo = OEmbed::parse(br#"{"type":"photo","url":"u"}"#).unwrap();
        assert_eq!(photo.properties(), [("og:image", "u".to_owned())]);
        for wrong in [&b"[]"[..], b"{", b"{\"title\":5}", b"", b"\xff"] {
            assert!(OEmbed::parse(wrong).is_none_or(|answer| answer.properties().is_empty()));
        }
    }
}
