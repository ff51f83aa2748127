//! The client-server API: handlers that translate. A file is named after the module of `ruma-client-api` that has
//! its request types.

pub(crate) mod discovery;
