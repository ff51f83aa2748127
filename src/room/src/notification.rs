//! Who is notified of an event: by default rules, without a row per member.

mod class;
mod count;
mod words;

pub use self::count::{UnreadCounts, unread_counts};
