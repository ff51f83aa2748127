//! Stored filters.

use std::sync::Arc;

use ruma_client_api::filter::{create_filter, get_filter};

use crate::{
    Args, Error, Result, Services,
    answer::{Json, raw},
    client::must_be,
};

/// `POST /_matrix/client/v3/user/{userId}/filter`
pub(crate) async fn create(
    services: Arc<Services>,
    args: Args<create_filter::v3::Request>,
) -> Result<create_filter::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    // ruma has checked the definition; it is kept as it was sent, with fields that only later versions know.
    let filter = raw(&args.body)?;
    let filter_id = services
        .users
        .add_filter(args.requester.user, filter)
        .await?;
    Ok(create_filter::v3::Response::new(filter_id))
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
pub(crate) async fn get(
    services: Arc<Services>,
    args: Args<get_filter::v3::Request>,
) -> Result<Json> {
    must_be(&args.requester, &args.request.user_id)?;
    let filter = services
        .users
        .filter(args.requester.user, &args.request.filter_id)?;
    filter
        .map(Json::from)
        .ok_or_else(|| Error::not_found("No such filter"))
}
