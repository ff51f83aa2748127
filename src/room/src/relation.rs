//! Reading relations: what is bundled with an event, pages of what points to one, and the threads of a room.

mod bundle;
mod children;
mod filter;
mod page;
mod threads;

pub(crate) use self::bundle::Bundle;
pub use self::{
    page::{RelationsPage, RelationsRequest},
    threads::{ThreadsPage, ThreadsRequest},
};
