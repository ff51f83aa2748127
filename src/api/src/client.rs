//! The client-server API: handlers that translate. A file is named after the module of `ruma-client-api` that has
//! its request types.

pub(crate) mod account;
pub(crate) mod capabilities;
pub(crate) mod config;
pub(crate) mod device;
pub(crate) mod discovery;
pub(crate) mod filter;
pub(crate) mod profile;
pub(crate) mod push;
pub(crate) mod session;

use auth::Requester;
use ruma_common::UserId;

use crate::{Error, Result};

/// What a user keeps here is for that user only.
fn must_be(requester: &Requester, user_id: &UserId) -> Result<()> {
    if requester.user_id == user_id {
        Ok(())
    } else {
        Err(Error::forbidden("This belongs to another user"))
    }
}
