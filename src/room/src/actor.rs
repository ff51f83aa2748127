//! Who acts or reads.

use ruma_common::{OwnedDeviceId, OwnedUserId};
use storage::user::UserNumber;

/// A local user with the device whose token the request carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user_id: OwnedUserId,
    /// The user's number.
    pub user: UserNumber,
    /// The device; none for an application service's user without one.
    pub device_id: Option<OwnedDeviceId>,
}
