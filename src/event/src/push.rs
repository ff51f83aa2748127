//! Push rules: the defaults, what they make of an event, and what the rules of one user make of it. Pure.
//!
//! Client-Server API, "Push rules". [`Traits`] are read from an event once; by them the defaults are judged without asking
//! who reads. [`UserRules`] are the rules of one user in a form in which most are decided without looking at the event.

mod defaults;
mod evaluate;
mod lookup;
mod pattern;
mod rules;
#[cfg(test)]
mod tests;
mod traits;

pub use self::{
    defaults::{defaults, in_force},
    evaluate::{Context, Reader},
    pattern::contains_word,
    rules::{Interest, Outcome, UserRules},
    traits::{Kind, RoomMention, Traits, Verdict},
};
