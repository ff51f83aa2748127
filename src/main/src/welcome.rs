//! What the operator of a new server reads on the terminal.

use std::io::Write as _;

use auth::Auth;

/// While there is no account: the token with which the first administrator registers. On standard output and not in
/// the log, which others may read.
pub(crate) async fn first_administrator(auth: &Auth) -> Result<(), storage::Error> {
    if let Some(token) = auth.first_administrator_token().await? {
        // A terminal that is gone does not stop the server.
        let _ = writeln!(
            std::io::stdout(),
            "There is no account yet. Register with this registration token, valid once and until the next start; \
             the account becomes administrator:\n\n    {token}\n"
        );
    }
    Ok(())
}
