//! `/sync`.

use std::{convert::Infallible, sync::Arc};

use ::room::Actor;
use ::sync::{Filter, PresenceState, StateAfter, SyncRequest};
use auth::Requester;
use axum::body::Body;
use futures::stream;
use http::{HeaderValue, header};
use limit::Limit;
use ruma_client_api::sync::sync_events::v3::{Filter as RequestedFilter, Request};

use crate::{
    Args, Error, Result, Services,
    answer::{Answer, Json},
    client::{actor, presence::presence_state, token},
};

/// As MSC4222 had it, which matrix-js-sdk goes on to ask for.
const USE_STATE_AFTER: &str = "org.matrix.msc4222.use_state_after";

/// `GET /_matrix/client/v3/sync`
pub(crate) async fn sync(services: Arc<Services>, args: Args<Request>) -> Result<SyncAnswer> {
    let written = args.query_parameter("filter").unwrap_or_default();
    let proposed = args.query_parameter(USE_STATE_AFTER);
    let request = args.request;
    let use_state_after = match (request.use_state_after, proposed.as_deref()) {
        (true, _) => Some(StateAfter::Specified),
        (false, Some("true")) => Some(StateAfter::Proposed),
        (false, _) => None,
    };
    let filter = filter(&services, &args.requester, (request.filter, written))?;
    let actor = actor(args.requester);
    let set_presence = announced(&services, &actor, presence_state(&request.set_presence)?);
    let body = services
        .syncer
        .sync(SyncRequest {
            actor,
            since: token(request.since.as_deref(), "sync")?,
            filter: Arc::new(filter),
            full_state: request.full_state,
            use_state_after,
            set_presence,
            timeout: request.timeout.unwrap_or_default(),
        })
        .await?;
    Ok(SyncAnswer(body))
}

/// An answer, written while it is sent where it is large.
pub(crate) struct SyncAnswer(::sync::Body);

impl Answer for SyncAnswer {
    fn into_response(self) -> Result<http::Response<Body>> {
        let pieces = match self.0 {
            ::sync::Body::Whole(bytes) => return Json(bytes).into_response(),
            ::sync::Body::Pieces(pieces) => pieces.map(Ok::<_, Infallible>),
        };
        let mut response = http::Response::new(Body::from_stream(stream::iter(pieces)));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}

fn parse(filter: &str) -> Result<Filter> {
    Filter::parse(filter).map_err(|error| Error::invalid_param(format!("filter: {error}")))
}

/// The presence that a request sets. Whoever changes it too often is not refused: the change does not count.
fn announced(services: &Services, actor: &Actor, asked: PresenceState) -> PresenceState {
    let known = services.syncer.device_presence(actor);
    match known.filter(|known| *known != asked && asked != PresenceState::Offline) {
        Some(known) => {
            let toll = services.limits.user(&actor.user_id);
            match toll.own(Limit::PresencePerUser).pay() {
                Ok(()) => asked,
                Err(_) => known,
            }
        }
        None => asked,
    }
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
