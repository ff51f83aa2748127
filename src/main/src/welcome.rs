//! What the operator reads when the server starts: in the log what the configuration leaves open, on the terminal how
//! the first account is made.

use std::{io::Write as _, net::SocketAddr};

use auth::Auth;
use config::{Config, Durability, RegistrationMode};

/// Logs who starts, and what of its configuration is good for trying out only.
pub(crate) fn log(config: &Config) {
    tracing::info!(
        version = %env!("CARGO_PKG_VERSION"),
        server.name = %config.server.name,
        storage.path = %config.storage.path.display(),
        "Hearth starts"
    );
    for warning in warnings(config) {
        tracing::warn!("{warning}");
    }
    if config.server.public_url.is_none() && config.server.name != "localhost" {
        tracing::info!(
            "server.public_url is not set: clients that know the server name only do not find this server"
        );
    }
}

fn warnings(config: &Config) -> Vec<&'static str> {
    let all = [
        (
            config.server.name == "localhost",
            "server.name is localhost: good for trying out. It cannot be changed once the database exists",
        ),
        (
            config.registration.mode == RegistrationMode::Open,
            "registration.mode is open: whoever reaches this server makes accounts",
        ),
        (
            !config.rate_limits.enabled,
            "rate_limits.enabled is false: nothing slows down who guesses passwords",
        ),
        (
            config.storage.durability != Durability::Sync,
            "storage.durability is not sync: a power cut takes what was acknowledged last",
        ),
    ];
    let given = all.into_iter().filter(|(is_so, _)| *is_so);
    given.map(|(_, warning)| warning).collect()
}

/// Where somebody on this machine reaches the server: what clients are told, or the first address.
pub(crate) fn url(public_url: Option<&str>, address: Option<SocketAddr>) -> String {
    match (public_url, address) {
        (Some(url), _) => url.to_owned(),
        (None, Some(address)) => format!("http://{address}"),
        (None, None) => "this server".to_owned(),
    }
}

/// While there is no account: the token with which the first administrator registers. On standard output and not in
/// the log, which others may read.
pub(crate) async fn first_administrator(auth: &Auth, url: &str) -> Result<(), storage::Error> {
    if let Some(token) = auth.first_administrator_token().await? {
        // A terminal that is gone does not stop the server.
        let _ = writeln!(
            std::io::stdout(),
            "There is no account yet. The first one becomes administrator: register it in a client whose homeserver is \
             {url}, with this registration token, which is valid once and until the next start. Or make it here, with \
             `hearth user create NAME --admin`.\n\n    {token}\n"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use config::{Config, Durability};

    use super::{url, warnings};

    #[test]
    fn what_is_good_for_trying_out_only_is_said() {
        let mut config = Config::default();
        let [localhost] = warnings(&config)[..] else {
            panic!("{:?}", warnings(&config));
        };
        assert!(localhost.contains("server.name"));
        config.server.name = "example.org".try_into().unwrap();
        assert!(warnings(&config).is_empty());
        config.rate_limits.enabled = false;
        config.storage.durability = Durability::Os;
        assert_eq!(warnings(&config).len(), 2);
    }

    #[test]
    fn a_client_is_told_where_to_go() {
        let address = Some("127.0.0.1:8008".parse().unwrap());
        assert_eq!(url(None, address), "http://127.0.0.1:8008");
        assert_eq!(url(Some("https://m.example"), address), "https://m.example");
    }
}
