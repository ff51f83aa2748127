//! Who may see an event.

mod rule;

pub use self::rule::HistoryVisibility;
