//! The commands of operators: to the running server through its admin socket, or to its data when none runs.

mod client;
mod password;

use std::{io::Write as _, os::unix::fs::MetadataExt as _, path::Path};

use admin::{
    Outcome,
    backup::{self, Made, Target},
};
use config::Config;
use storage::Clock;

use crate::{
    arguments::{Backup, Command, Report, Token, User, Verify},
    compose,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Does what the operator wants and prints what was done.
pub(crate) async fn run(config: &Config, command: Command) -> Result<()> {
    let command = match command {
        Command::User(User::Create { name, admin }) => admin::Command::CreateUser {
            name,
            password: password::read()?,
            admin,
        },
        Command::User(User::Password { name, keep_devices }) => admin::Command::SetPassword {
            name,
            password: password::read()?,
            keep_devices,
        },
        Command::Token(Token::Create {
            token,
            uses,
            expires,
        }) => admin::Command::CreateToken {
            token,
            uses,
            valid_ms: expires,
        },
        Command::Report(Report::List { limit, before }) => {
            admin::Command::ListReports { limit, before }
        }
        Command::Backup(Backup {
            command: Some(Verify::Verify { directory }),
            ..
        }) => return verify(&directory),
        Command::Backup(Backup {
            directory, earlier, ..
        }) => {
            let directory = directory.ok_or("backup: where to?")?;
            admin::Command::Backup {
                // The server has another working directory.
                directory: std::path::absolute(directory)?,
                earlier: earlier.map(std::path::absolute).transpose()?,
            }
        }
        Command::Restore { directory } => return restore(config, &directory),
    };
    let outcome = match client::connect(&config.server.admin_socket).await? {
        Some(mut server) => server.ask(&command).await?,
        None => run_here(config, command).await?,
    };
    print(&outcome)
}

/// On the data of a server that is stopped.
async fn run_here(config: &Config, command: admin::Command) -> Result<Outcome> {
    let path = &config.storage.path;
    if !path.join("db").exists() {
        return Err(format!(
            "no server answers at {}, and there is no database in {}: is this the configuration of the server?",
            config.server.admin_socket.display(),
            path.display()
        )
        .into());
    }
    check_user(path)?;
    let ground = match compose::open(config).await {
        Err(compose::StartError::Storage(storage::Error::InUse(_))) => {
            return Err(format!(
                "a server has the database in {} open, but none answers at its admin socket {}: it is starting or \
                 stopping, or its configuration names another server.admin_socket",
                path.display(),
                config.server.admin_socket.display()
            )
            .into());
        }
        ground => ground?,
    };
    let outcome = ground.operator.run(command).await;
    ground.store.close().await;
    Ok(outcome?)
}

/// Files that another user makes in the data directory are closed to the server.
fn check_user(data: &Path) -> Result<()> {
    let owner = std::fs::metadata(data)?.uid();
    // Where it cannot be known, the database will say what it may not do.
    let us = std::fs::metadata("/proc/self").map_or(owner, |us| us.uid());
    if us != owner {
        return Err(format!(
            "{} belongs to the user with the number {owner}: run this as that user",
            data.display()
        )
        .into());
    }
    Ok(())
}

fn verify(directory: &Path) -> Result<()> {
    let manifest = backup::verify(directory)?;
    say(&format!(
        "{} is a whole backup of {}: {} files, {} bytes",
        directory.display(),
        manifest.server_name,
        manifest.files,
        manifest.bytes
    ))?;
    warn_of_bucket(manifest.media_in_bucket);
    Ok(())
}

/// What an operator must not find out when the files are gone.
fn warn_of_bucket(media_in_bucket: bool) {
    if media_in_bucket {
        eprintln!(
            "hearth: the files of media are in a bucket (media.s3_bucket) and NOT in this backup: it is whole only with a \
             copy of the bucket"
        );
    }
}

fn restore(config: &Config, directory: &Path) -> Result<()> {
    let target = Target {
        directory: config.storage.path.clone(),
        media: config.media.path.clone(),
        server_name: config.server.name.clone(),
        now_ms: Clock::system().now_ms(),
    };
    let restored = backup::restore(directory, &target)?;
    say(&format!(
        "{} of {} was restored into {}",
        directory.display(),
        restored.manifest.server_name,
        target.directory.display()
    ))?;
    warn_of_bucket(restored.manifest.media_in_bucket);
    Ok(())
}

fn print(outcome: &Outcome) -> Result<()> {
    match outcome {
        Outcome::UserCreated { user_id } => say(&format!("{user_id} was made")),
        Outcome::PasswordSet { user_id } => say(&format!("{user_id} has another password")),
        // Alone, for scripts.
        Outcome::TokenCreated { token } => say(token),
        Outcome::Reports { reports } => reports
            .iter()
            .try_for_each(|report| say(&serde_json::to_string(report)?)),
        Outcome::BackupMade(made) => print_backup(made),
    }
}

fn print_backup(made: &Made) -> Result<()> {
    warn_of_bucket(made.media_in_bucket);
    if made.missing > 0 {
        eprintln!(
            "hearth: {} files of media are missing or damaged on the server, and not in the backup",
            made.missing
        );
    }
    say(&format!(
        "{} is a backup: {} files, {} bytes",
        made.directory.display(),
        made.files,
        made.bytes
    ))
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
