//! What tests of whole servers share.

pub mod power_cut_fs;
