//! Rooms against a naive model: every event through the same door, every outcome compared as full maps.

mod histories;
mod hostile;
mod learnt;
mod model;
mod outcomes;
mod world;
