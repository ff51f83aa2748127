//! The client-server API; a file for each module of the handlers.

mod account;
pub mod admin;
mod alias;
mod backup;
mod capabilities;
mod config;
mod device;
mod directory;
mod discovery;
mod filter;
mod knock;
mod limits;
mod media;
mod membership;
mod message;
mod presence;
mod profile;
mod push;
mod receipt;
mod redact;
mod relations;
mod room;
mod session;
mod state;
mod sync;
mod to_device;
mod typing;
