//! What users do in rooms, and what of rooms they are shown: the rules, at the level of the crate. Endpoints are tested
//! against a running server.

mod create;
mod departure;
mod erasure;
mod history;
mod limits;
mod members;
mod profile;
mod receipt;
mod redact;
mod relation;
mod restricted;
mod security;
mod send;
mod server;
mod suspended;
mod sweep;
mod unread;
mod unread_oracle;
mod user_directory;
mod visibility;
