//! A password from the operator.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

/// More than any password has.
const MAX_LINE: u64 = 64 << 10;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPassword {
    #[error("the password cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the two passwords differ")]
    Differ,
    #[error("there is no password on the standard input")]
    Empty,
}

/// Asks for it twice without showing it; without a terminal, the first line of the standard input.
pub(crate) fn read() -> Result<String, NoPassword> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("The same again: ")? != password {
            return Err(NoPassword::Differ);
        }
        return Ok(password);
    }
    let mut line = String::new();
    stdin.lock().take(MAX_LINE).read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(NoPassword::Empty);
    }
    Ok(password.to_owned())
}
