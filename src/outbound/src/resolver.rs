//! Names to addresses that were looked at. What this returns is what is connected to: nobody resolves a second time.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::Rules;

/// Who knows the addresses of a name.
pub(crate) trait Lookup: Send + Sync + 'static {
    /// The addresses of a name, all of them.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system.
pub(crate) struct System;

impl Lookup for System {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// The name stands for an address that is not asked.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to an address that is not allowed")]
pub(crate) struct Forbidden;

/// A resolver that refuses names.
pub(crate) struct Checked<L> {
    rules: Arc<Rules>,
    lookup: L,
}

impl<L: Lookup> Checked<L> {
    pub(crate) fn new(rules: Arc<Rules>, lookup: L) -> Self {
        Self { rules, lookup }
    }
}

impl<L: Lookup> Resolve for Checked<L> {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.rules.clone();
        let found = self.lookup.lookup(name.as_str().to_owned());
        Box::pin(async move {
            let found = found.await?;
            // One forbidden address beside others is a name that is meant to be resolved twice.
            if found.iter().any(|address| !rules.permits(*address)) {
                return Err(Forbidden.into());
            }
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            let addresses: Addrs = Box::new(addresses.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}
