//! Who acts or reads.

use ruma_common::{OwnedDeviceId, OwnedUserId};
use storage::user::UserNumber;

use crate::ActError;

/// A local user with the device whose token the request carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user_id: OwnedUserId,
    /// The user's number.
    pub user: UserNumber,
    /// The device; none for an application service's user without one.
    pub device_id: Option<OwnedDeviceId>,
    /// Whether the account is suspended: see [`Self::must_not_be_suspended`].
    pub is_suspended: bool,
    /// Whether the user is a guest.
    pub is_guest: bool,
}

impl Actor {
    /// A user in whose name the server itself acts or reads.
    pub fn without_device(user_id: OwnedUserId, user: UserNumber) -> Self {
        Self {
            user_id,
            user,
            device_id: None,
            is_suspended: false,
            is_guest: false,
        }
    }

    /// For everything but what suspended users are left with: reading, leaving rooms and rejecting invites, redacting
    /// their own events.
    ///
    /// > When a client attempts to perform an action while suspended, the server MUST respond with a `403 Forbidden`
    /// > error response with `M_USER_SUSPENDED` as the error code.
    pub(crate) fn must_not_be_suspended(&self) -> Result<(), ActError> {
        if self.is_suspended {
            return Err(ActError::Suspended);
        }
        Ok(())
    }
}
