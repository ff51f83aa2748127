//! Format traps, by room version.
