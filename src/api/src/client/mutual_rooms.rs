//! Rooms that two users share. ruma knows the proposal's path only, and not what the specification added.

use std::sync::Arc;

use ::room::MutualRoomsToken;
use ruma_common::{OwnedRoomId, OwnedUserId, UserId};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Error, Result, Services,
    answer::Json,
    client::{actor, token},
    extract::Own,
};

/// "A list of room IDs that the user shares with the specified `user_id`."
#[derive(Serialize)]
struct Answer {
    joined: Vec<OwnedRoomId>,
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    /// As clients of the proposal know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch_token: Option<String>,
}

/// `GET /_matrix/client/v1/mutual_rooms`
pub(crate) async fn stable(services: Arc<Services>, call: Own<Value>) -> Result<Json> {
    let from = call.query("from").map(str::to_owned);
    Json::of(&answer(&services, call, from.as_deref()).await?)
}

/// `GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms`
pub(crate) async fn unstable(services: Arc<Services>, call: Own<Value>) -> Result<Json> {
    let from = call.query("from").or_else(|| call.query("batch_token"));
    let from = from.map(str::to_owned);
    let mut answer = answer(&services, call, from.as_deref()).await?;
    answer.next_batch_token = answer.next_batch.clone();
    Json::of(&answer)
}

async fn answer(services: &Services, call: Own<Value>, from: Option<&str>) -> Result<Answer> {
    let from: Option<MutualRoomsToken> = token(from, "pagination")?;
    let with = call.query("user_id");
    let with = with.ok_or_else(|| Error::missing_param("missing query parameter user_id"))?;
    // "The `user_id` parameter was missing, non-compliant, or was the sender's own user ID."
    let with: OwnedUserId =
        UserId::parse(with).map_err(|_| Error::invalid_param("user_id is no user ID"))?;
    let actor = actor(call.requester);
    let shared = services.rooms.mutual_rooms(&actor, &with, from).await?;
    Ok(Answer {
        joined: shared.joined,
        count: shared.count,
        next_batch: shared.next_batch.map(|token| token.to_string()),
        next_batch_token: None,
    })
}
