//! Floor 5: what operators do, whichever way they ask: commands to the running server, or to its data when it is stopped.
//!
//! | module | owns |
//! |---|---|
//! | `command` | the commands and their answers, as they travel to a running server |
//! | `operator` | doing them |
//! | `backup` | copying everything that a server knows, verifying and restoring the copy |

pub mod backup;
mod command;
mod operator;

pub use command::{Command, Outcome, Report};
pub use operator::{CommandError, Operator, Options};
