//! The client form of an event, and what is added on reading.

mod form;

pub use self::form::{Form, stripped};
