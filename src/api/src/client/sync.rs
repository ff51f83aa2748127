//! `/sync`.

use std::sync::Arc;

use ::sync::{Filter, SyncRequest};
use auth::Requester;
use ruma_client_api::sync::sync_events::v3::{Filter as RequestedFilter, Request};

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{actor, presence::presence_state, token},
};

/// `GET /_matrix/client/v3/sync`
pub(crate) async fn sync(services: Arc<Services>, args: Args<Request>) -> Result<Json> {
    let written = args.query_parameter("filter").unwrap_or_default();
    let request = args.request;
    let set_presence = presence_state(&request.set_presence)?;
    let filter = filter(&services, &args.requester, (request.filter, written))?;
    let body = services
        .syncer
        .sync(SyncRequest {
            actor: actor(args.requester),
            since: token(request.since.as_deref(), "sync")?,
            filter: Arc::new(filter),
            full_state: request.full_state,
            use_state_after: request.use_state_after,
            set_presence,
            timeout: request.timeout.unwrap_or_default(),
        })
        .await?;
    Ok(Json(body))
}

fn parse(filter: &str) -> Result<Filter> {
    Filter::parse(filter).map_err(|error| Error::invalid_param(format!("filter: {error}")))
}

/// "The ID of a filter created using the filter API or a filter JSON object encoded as a string."
fn filter(
    services: &Services,
    requester: &Requester,
    (filter, written): (Option<RequestedFilter>, String),
) -> Result<Filter> {
    let filter_id = match filter {
        None => return Ok(Filter::default()),
        Some(RequestedFilter::FilterDefinition(_)) => return parse(&written),
        Some(RequestedFilter::FilterId(filter_id)) => filter_id,
        Some(_) => return Err(Error::invalid_param("Unknown filter")),
    };
    let stored = services.users.filter(requester.user, &filter_id)?;
    let stored = stored.ok_or_else(|| Error::invalid_param("Unknown filter"))?;
    parse(stored.get())
}
