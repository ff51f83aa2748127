//! What handlers call.

use ipnet::IpNet;

/// The domain crates' handles and what of the configuration an answer shows. Made in `main/src/compose.rs`; no
/// function below this floor gets it.
pub struct Services {
    /// Where clients reach this server from outside: `server.public_url`.
    pub public_url: Option<String>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}
