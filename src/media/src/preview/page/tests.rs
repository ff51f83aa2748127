//! Pages, ordinary and hostile.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{MAX_VALUE, read, tidy};

#[test]
fn what_a_page_says_of_itself_is_found() {
    let page = read(
        "<!DOCTYPE html><html><head><title>A &amp; B\n <b></title>
         <meta property='og:title' content='First'><meta property=og:title content=Second>
         <meta name='description' content='  two   words '><META NAME=twitter:image CONTENT=/x.png>
         <link rel=alternate type=application/json+oembed href='/o?a=1&amp;b=2'>
         <link rel=image_src href=y.png><script>'<meta property=\"og:url\" content=no>'</script>
         <style>p { }</style></head><body><nav>Menu<nav>x</nav></nav><p>Hello</p><p>world</p>
         <script>document.write('<p>no</p>')</script><footer>no</footer></body></html>",
    );
    assert_eq!(page.title, "A & B <b>");
    assert_eq!(page.properties["og:title"], "First");
    assert_eq!(page.properties["description"], "two words");
    assert_eq!(page.properties["twitter:image"], "/x.png");
    assert_eq!(page.properties.len(), 3);
    assert_eq!(page.image.as_deref(), Some("y.png"));
    assert_eq!(page.oembed.as_deref(), Some("/o?a=1&b=2"));
    assert_eq!(page.text, "Hello world");
}

#[test]
fn d8_a_million_nested_tags_are_read() {
    let deep = format!(
        "<title>deep</title><body>{}<meta property=og:title content=end>",
        "<div>".repeat(500_000)
    );
    let began = Instant::now();
    let page = read(&deep);
    assert_eq!(page.title, "deep");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn d8_a_tag_with_endless_attributes_is_given_up() {
    let mut tag = "<title>many</title><a ".to_owned();
    for number in 0..400_000 {
        tag.push_str(&format!("a{number} "));
    }
    let began = Instant::now();
    assert_eq!(read(&tag).title, "many");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn limits_previews_of_50_properties_and_1000_characters() {
    let tags: Vec<String> = (0..60)
        .map(|number| {
            format!(
                "<meta property=og:{number:03} content={}>",
                "é".repeat(1001)
            )
        })
        .collect();
    let page = read(&tags.concat());
    assert_eq!(page.properties.len(), 50);
    assert!(
        page.properties
            .values()
            .all(|value| value.chars().count() == 1000)
    );
    let name = "x".repeat(47);
    let page = read(&format!(
        "<meta property='og:{name}' content=a><meta property='og:{name}x' content=a>"
    ));
    assert_eq!(page.properties.len(), 1);
}

proptest! {
    #[test]
    fn any_text_is_a_page(text in "(<|>|/|!|-|=|'|\"|&|;|title|script|meta|og:|\\PC){0,200}") {
        let page = read(&text);
        prop_assert!(page.title.chars().count() <= MAX_VALUE);
    }

    #[test]
    fn a_tidy_value_is_short_and_on_one_line(text in "\\PC*[\\s\\PC]*", most in 0_usize..50) {
        let tidied = tidy(&text, most);
        prop_assert!(tidied.chars().count() <= most + 1);
        prop_assert!(!tidied.contains(char::is_control));
    }
}
