//! The threads of a room.

use std::sync::Arc;

use ::room::ThreadsRequest;
use ruma_client_api::threads::get_threads::{self, v1::IncludeThreads};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{actor, page_token},
};

/// `GET /_matrix/client/v1/rooms/{roomId}/threads`
pub(crate) async fn list(
    services: Arc<Services>,
    args: Args<get_threads::v1::Request>,
) -> Result<Json> {
    #[derive(Serialize)]
    struct Threads {
        chunk: Vec<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_batch: Option<String>,
    }

    let request = args.request;
    let wanted = ThreadsRequest {
        from: page_token(request.from.as_deref())?,
        limit: request.limit.map(Into::into),
        participated: match request.include {
            IncludeThreads::All => false,
            IncludeThreads::Participated => true,
            _ => return Err(Error::invalid_param("Unknown value of include")),
        },
    };
    let page = services
        .rooms
        .threads(&actor(args.requester), &request.room_id, wanted)
        .await?;
    Json::of(&Threads {
        chunk: page.chunk,
        next_batch: page.next_batch.map(|token| token.to_string()),
    })
}
