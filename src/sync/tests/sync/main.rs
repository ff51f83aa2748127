//! What users see in sync while they do things in rooms: real rooms on a store of their own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, also in its helper functions"
)]

mod device_list;
mod fleeting;
mod foreign;
mod forks;
mod joined;
mod lazy;
mod left;
mod poll;
mod property;
mod receipt;
mod server;
mod to_device;
