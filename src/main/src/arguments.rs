//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Hearth, a Matrix homeserver. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "hearth", version)]
pub(crate) struct Arguments {
    /// The configuration file; without it ./config.toml, /etc/hearth/config.toml or the defaults
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Sets one option, over the file and the environment; the value is TOML, a bare word is a string
    // Not global: clap would forget those before the command when there is one behind it.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Starts in spite of a database that came back without acknowledged data; it goes on without them
    #[arg(long)]
    pub accept_data_loss: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What operators do. Through the admin socket when the server runs, on its data when it does not; as the user of the
/// server, with its configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes and changes accounts
    #[command(subcommand)]
    User(User),
    /// Makes registration tokens
    #[command(subcommand)]
    Token(Token),
    /// Shows what users have reported
    #[command(subcommand)]
    Report(Report),
    /// Backs up the database, the signing key and media, or verifies a backup
    Backup(Backup),
    /// Restores a backup into the empty data directory of the configuration
    Restore {
        /// The backup
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Makes an account; asks for its password (one line of the standard input if that is no terminal)
    Create {
        /// The user name (`alice`) or the whole user id
        name: String,
        /// Makes it an administrator
        #[arg(long)]
        admin: bool,
    },
    /// Sets a user's password and logs their devices out; asks for it as `create` does
    Password {
        /// The user name (`alice`) or the whole user id
        name: String,
        /// Leaves the devices logged in
        #[arg(long)]
        keep_devices: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Makes a token with which people register while registration.mode is "token", and prints it
    Create {
        /// The token itself; by default a random one
        #[arg(long, value_name = "TEXT")]
        token: Option<String>,
        /// How often it may be used; by default any number of times
        #[arg(long, value_name = "NUMBER")]
        uses: Option<u64>,
        /// For how long it may be used: 30m, 12h, 7d or 2w; by default without end
        #[arg(long, value_name = "TIME", value_parser = duration_ms)]
        expires: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    /// Lists reports of events, rooms and users, one JSON object on each line, the newest first
    List {
        /// At most so many; 1000 are the most
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
        /// Only those with a number below this one
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Backup {
    /// Where to: a directory that is empty or not there yet
    #[arg(value_name = "DIR", required = true)]
    pub directory: Option<PathBuf>,
    /// An earlier backup on the same file system: files of media that it has are shared with it
    #[arg(long, value_name = "DIR")]
    pub earlier: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<Verify>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verify {
    /// Reads a whole backup and compares it with its manifest
    Verify {
        /// The backup
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// A number and a unit, in milliseconds.
fn duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number and m, h, d or w, such as 7d".to_owned();
    let number = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit_ms: u64 = match text.get(number.len()..) {
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        Some("d") => 86_400_000,
        Some("w") => 604_800_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit_ms).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Arguments, Backup, Command, Token, Verify, duration_ms};

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_option_is_forgotten() {
        let line = "hearth --set a.b=1 --set c.d=2 user create alice --admin --config f";
        let arguments = parse(line).unwrap();
        assert_eq!(arguments.set, ["a.b=1", "c.d=2"]);
        assert!(arguments.config.is_some() && arguments.command.is_some());
        assert!(parse("hearth --set a.b=1 token create --set c.d=2").is_err());
        assert!(parse("hearth --config f").unwrap().command.is_none());
    }

    #[test]
    fn a_backup_is_made_or_verified() {
        let backup = |line| match parse(line).unwrap().command {
            Some(Command::Backup(backup)) => backup,
            other => panic!("{other:?}"),
        };
        let Backup {
            directory,
            earlier,
            command,
        } = backup("hearth backup /b --earlier /a");
        assert!(directory.is_some() && earlier.is_some() && command.is_none());
        let Backup {
            directory, command, ..
        } = backup("hearth backup verify /b");
        assert!(directory.is_none() && matches!(command, Some(Verify::Verify { .. })));
        assert!(parse("hearth backup").is_err());
    }

    #[test]
    fn passwords_are_no_arguments() {
        assert!(parse("hearth user create alice secret").is_err());
        assert!(parse("hearth user create alice --password secret").is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration_ms("90m"), Ok(5_400_000));
        assert_eq!(duration_ms("2w"), Ok(1_209_600_000));
        for wrong in ["", "7", "d", "7 d", "-1d", "7y", "99999999999999999w"] {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
        let line = "hearth token create --uses 3 --expires 1h";
        let Some(Command::Token(Token::Create { uses, expires, .. })) =
            parse(line).unwrap().command
        else {
            panic!("not a token");
        };
        assert_eq!((uses, expires), (Some(3), Some(3_600_000)));
    }
}
