//! Spaces: the rooms in them.

use std::sync::Arc;

use ::room::HierarchyRequest;
use ruma_client_api::space::get_hierarchy;

use crate::{
    Args, Result, Services,
    answer::Json,
    client::{actor, token},
};

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
pub(crate) async fn hierarchy(
    services: Arc<Services>,
    args: Args<get_hierarchy::v1::Request>,
) -> Result<Json> {
    let request = args.request;
    let hierarchy = HierarchyRequest {
        suggested_only: request.suggested_only,
        max_depth: request.max_depth.map(u64::from),
        limit: request.limit.map(u64::from),
        from: token(request.from.as_deref(), "pagination")?,
    };
    let page = services
        .rooms
        .hierarchy(&actor(args.requester), &request.room_id, hierarchy)
        .await?;
    Json::of(&page)
}
