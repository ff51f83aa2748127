//! What the tests of whole servers and the load programs share.

pub mod http;
pub mod power_cut_fs;
pub mod server;
