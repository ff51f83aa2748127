//! What the device has of one-time keys and fallback keys: in every answer, from one row.

use room::Actor;
use storage::{View, one_time_key};

use crate::{reader::Result, response::Answer};

/// Fills it in.
pub(crate) fn fill(view: &dyn View, actor: &Actor, answer: &mut Answer) -> Result<()> {
    let Some(device_id) = &actor.device_id else {
        return Ok(());
    };
    let held = one_time_key::held(view, actor.user, device_id)?;
    answer.device_one_time_keys_count = user::key::counts(&held);
    answer.device_unused_fallback_key_types = held.unused_fallback().map(str::to_owned).collect();
    Ok(())
}
