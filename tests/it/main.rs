//! All tests from outside: one binary, a module for each door of the server.
//!
//! The server is `target/debug/hearth`, or what `$HEARTH` names: build it first (`cargo build`; `tests/run` does).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected fails; clippy knows only `#[test]` functions for tests"
)]

mod bad_input;
mod client;
mod connection;
mod gateway;
mod hostile;
mod operation;
mod operator;
mod power_cut;
mod server;
mod tidy;
