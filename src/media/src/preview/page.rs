//! What a page says of itself: OpenGraph, and what stands for it where there is none. The page is read as a stream of
//! tokens; no tree is built, so its depth does not matter.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::{Duration, Instant},
};

use html5ever::{
    Attribute,
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};

/// The most characters of a value.
pub(super) const MAX_VALUE: usize = 1000;

/// The longest name of a property, and how many are kept.
const MAX_NAME: usize = 50;
const MAX_PROPERTIES: usize = 50;

/// How much of a page is read, in pieces of this size, and for how long. A tag with many attributes costs the square of
/// their number.
const MAX_PAGE: usize = 4 << 20;
const PIECE: usize = 4096;
const MAX_TIME: Duration = Duration::from_secs(2);

/// How much of its text describes a page that does not describe itself.
const MAX_TEXT: usize = 500;

/// Elements whose text is not what a page is about.
const ASIDE: [&str; 10] = [
    "nav", "header", "footer", "aside", "noscript", "svg", "form", "select", "button", "figure",
];

/// What was found in a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// `og:…`, `twitter:…` and `description`, the first of each.
    pub properties: BTreeMap<String, String>,
    /// `<title>`.
    pub title: String,
    /// The beginning of its text.
    pub text: String,
    /// `<link rel="image_src">`.
    pub image: Option<String>,
    /// Where its oEmbed description is.
    pub oembed: Option<String>,
}

/// Reads a page as far as it is worth it.
pub(super) fn read(text: &str) -> Page {
    let until = Instant::now() + MAX_TIME;
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    let input = BufferQueue::default();
    let mut rest = text.get(..floor(text, MAX_PAGE)).unwrap_or_default();
    while !rest.is_empty() && Instant::now() < until && !tokenizer.sink.is_complete() {
        let (piece, behind) = rest.split_at(floor(rest, PIECE));
        rest = behind;
        input.push_back(StrTendril::from_slice(piece));
        // It pauses behind each script.
        while !matches!(tokenizer.feed(&input), html5ever::TokenizerResult::Done) {}
    }
    tokenizer.sink.into_page()
}

/// The last boundary of a character up to `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Cuts a value, on one line.
pub(super) fn tidy(value: &str, most: usize) -> String {
    let mut tidy = String::new();
    for word in value.split_whitespace() {
        if !tidy.is_empty() {
            tidy.push(' ');
        }
        let left = most.saturating_sub(tidy.chars().count());
        tidy.extend(word.chars().filter(|c| !c.is_control()).take(left));
        if word.chars().count() >= left {
            break;
        }
    }
    tidy
}

/// Collects while the tokenizer reads.
#[derive(Default)]
struct Sink {
    page: RefCell<Page>,
    /// The element whose text is all that comes until its end.
    raw: RefCell<Option<String>>,
    /// An element of [`ASIDE`], and how many of the same name are open.
    aside: RefCell<Option<(String, u32)>>,
    in_body: Cell<bool>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) => match tag.kind {
                TagKind::StartTag => self.start(&tag),
                TagKind::EndTag => {
                    self.end(&tag.name);
                    TokenSinkResult::Continue
                }
            },
            Token::CharacterTokens(text) => {
                self.text(&text);
                TokenSinkResult::Continue
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

impl Sink {
    fn is_complete(&self) -> bool {
        self.page.borrow().text.len() >= 4 * MAX_TEXT
    }

    fn into_page(self) -> Page {
        let mut page = self.page.into_inner();
        page.title = tidy(&page.title, MAX_VALUE);
        page.text = tidy(&page.text, MAX_TEXT);
        page
    }

    fn start(&self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        match name {
            "meta" => self.meta(&tag.attrs),
            "link" => self.link(&tag.attrs),
            "body" => self.in_body.set(true),
            _ => self.open(name),
        }
        let kind = match name {
            "title" | "textarea" => RawKind::Rcdata,
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => RawKind::Rawtext,
            "script" => RawKind::ScriptData,
            "plaintext" => return TokenSinkResult::Plaintext,
            _ => return TokenSinkResult::Continue,
        };
        *self.raw.borrow_mut() = Some(name.to_owned());
        TokenSinkResult::RawData(kind)
    }

    fn open(&self, name: &str) {
        let mut aside = self.aside.borrow_mut();
        match &mut *aside {
            Some((open, depth)) if open == name => *depth = depth.saturating_add(1),
            Some(_) => {}
            None if ASIDE.contains(&name) => *aside = Some((name.to_owned(), 1)),
            None => {}
        }
        self.page.borrow_mut().break_text();
    }

    fn end(&self, name: &str) {
        let mut raw = self.raw.borrow_mut();
        if raw.as_deref() == Some(name) {
            *raw = None;
        }
        let mut aside = self.aside.borrow_mut();
        if let Some((open, depth)) = &mut *aside
            && open == name
        {
            *depth -= 1;
            if *depth == 0 {
                *aside = None;
            }
        }
        self.page.borrow_mut().break_text();
    }

    fn text(&self, text: &str) {
        let mut page = self.page.borrow_mut();
        match self.raw.borrow().as_deref() {
            Some("title") if page.title.len() < 4 * MAX_VALUE => page.title.push_str(text),
            Some(_) => {}
            None => {
                let counts = self.in_body.get() && self.aside.borrow().is_none();
                if counts && page.text.len() < 4 * MAX_TEXT {
                    page.text.push_str(text);
                }
            }
        }
    }

    fn meta(&self, attributes: &[Attribute]) {
        let name = attribute(attributes, "property").or_else(|| attribute(attributes, "name"));
        let (Some(name), Some(content)) = (name, attribute(attributes, "content")) else {
            return;
        };
        let name = name.trim().to_ascii_lowercase();
        let wanted =
            name.starts_with("og:") || name.starts_with("twitter:") || name == "description";
        let content = tidy(content, MAX_VALUE);
        let properties = &mut self.page.borrow_mut().properties;
        if wanted
            && name.len() <= MAX_NAME
            && !content.is_empty()
            && (properties.len() < MAX_PROPERTIES)
        {
            properties.entry(name).or_insert(content);
        }
    }

    fn link(&self, attributes: &[Attribute]) {
        let relation = attribute(attributes, "rel").unwrap_or_default();
        let Some(target) = attribute(attributes, "href").filter(|target| target.len() <= 2048)
        else {
            return;
        };
        let mut page = self.page.borrow_mut();
        let kind = attribute(attributes, "type").unwrap_or_default();
        if relation.eq_ignore_ascii_case("image_src") && page.image.is_none() {
            page.image = Some(target.to_owned());
        } else if relation.eq_ignore_ascii_case("alternate")
            && kind == "application/json+oembed"
            && page.oembed.is_none()
        {
            page.oembed = Some(target.to_owned());
        }
    }
}

impl Page {
    /// Words of two elements are two words.
    fn break_text(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }
}

fn attribute<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    let mut found = attributes.iter();
    let found = found.find(|attribute| &*attribute.name.local == name)?;
    Some(&found.value)
}

#[cfg(test)]
mod tests;
