//! Server notices, as administrators' tools know them from Synapse.

use std::sync::Arc;

use ::room::Notice;
use ruma_common::{OwnedEventId, OwnedTransactionId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Error, Result, Services, answer::Json, client::actor, extract::Own};

/// The body. Who may not ask learns nothing of what is wrong with it, so all is optional here.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    user_id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    state_key: Option<String>,
    content: Option<Box<RawValue>>,
}

/// `POST /_synapse/admin/v1/send_server_notice`, `PUT /_synapse/admin/v1/send_server_notice/{txnId}`
pub(crate) async fn send(services: Arc<Services>, call: Own<Body>) -> Result<Json> {
    #[derive(Serialize)]
    struct Answer {
        event_id: OwnedEventId,
    }

    if !call.requester.is_administrator() {
        return Err(Error::forbidden("You are not a server admin"));
    }
    let txn_id = call
        .path
        .first()
        .map(|id| OwnedTransactionId::from(id.as_str()));
    let (body, actor) = (call.body, actor(call.requester));
    let missing = |name| move || Error::missing_param(format!("missing field `{name}`"));
    let user_id = body.user_id.ok_or_else(missing("user_id"))?;
    let user_id: OwnedUserId =
        UserId::parse(user_id).map_err(|_| Error::invalid_param("user_id is no user ID"))?;
    let notice = Notice {
        event_type: body
            .event_type
            .unwrap_or_else(|| "m.room.message".to_owned()),
        state_key: body.state_key,
        content: body.content.ok_or_else(missing("content"))?,
        txn_id,
    };
    let rooms = &services.rooms;
    let event_id = rooms.send_server_notice(&actor, &user_id, notice).await?;
    let administrator = &actor.user_id;
    tracing::info!(user.id = %user_id, %administrator, event.id = %event_id, "an administrator sent a notice");
    Json::of(&Answer { event_id })
}
