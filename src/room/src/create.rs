//! `POST /createRoom`: a room and everything it begins with, in one commit.

mod plan;


pub use self::plan::{CreateRoom, InitialState, Preset, Visibility};
use crate::CreateError;
