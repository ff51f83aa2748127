//! Profiles: display names, avatars and fields of clients' own making.

use std::sync::Arc;

use auth::Requester;
use ruma_client_api::profile::{
    delete_profile_field, get_avatar_url, get_display_name, get_profile, get_profile_field,
    set_avatar_url, set_display_name, set_profile_field,
};
use ruma_common::UserId;
use serde_json::value::to_raw_value;

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{must_be, must_not_be_suspended},
};

const DISPLAYNAME: &str = "displayname";
const AVATAR_URL: &str = "avatar_url";

/// `GET /_matrix/client/v3/profile/{userId}`
pub(crate) async fn profile(
    services: Arc<Services>,
    args: Args<get_profile::v3::Request>,
) -> Result<Json> {
    let fields = services.users.profile(&args.request.user_id)?;
    let fields = fields.ok_or_else(|| Error::not_found("No such user"))?;
    Ok(Json::object(fields))
}

/// `GET /_matrix/client/v3/profile/{userId}/displayname`
pub(crate) async fn display_name(
    services: Arc<Services>,
    args: Args<get_display_name::v3::Request>,
) -> Result<Json> {
    field(&services, &args.request.user_id, DISPLAYNAME)
}

/// `GET /_matrix/client/v3/profile/{userId}/avatar_url`
pub(crate) async fn avatar_url(
    services: Arc<Services>,
    args: Args<get_avatar_url::v3::Request>,
) -> Result<Json> {
    field(&services, &args.request.user_id, AVATAR_URL)
}

fn field(services: &Services, user_id: &UserId, name: &str) -> Result<Json> {
    let value = services.users.profile_field(user_id, name)?;
    let value = value.ok_or_else(|| Error::not_found("No such profile field"))?;
    Ok(Json::object([(name.to_owned(), value)]))
}

/// `PUT /_matrix/client/v3/profile/{userId}/displayname`
pub(crate) async fn set_display_name(
    services: Arc<Services>,
    args: Args<set_display_name::v3::Request>,
) -> Result<set_display_name::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    must_not_be_suspended(&args.requester)?;
    let name = args.request.displayname.as_deref();
    set(&services, &args.requester, DISPLAYNAME, name).await?;
    Ok(set_display_name::v3::Response::new())
}

/// `PUT /_matrix/client/v3/profile/{userId}/avatar_url`
pub(crate) async fn set_avatar_url(
    services: Arc<Services>,
    args: Args<set_avatar_url::v3::Request>,
) -> Result<set_avatar_url::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    must_not_be_suspended(&args.requester)?;
    let url = args.request.avatar_url.as_ref().map(AsRef::as_ref);
    set(&services, &args.requester, AVATAR_URL, url).await?;
    Ok(set_avatar_url::v3::Response::new())
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`
pub(crate) async fn get_field(
    services: Arc<Services>,
    args: Args<get_profile_field::v3::Request>,
) -> Result<Json> {
    let request = args.request;
    field(&services, &request.user_id, request.field.as_str())
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`
pub(crate) async fn set_field(
    services: Arc<Services>,
    args: Args<set_profile_field::v3::Request>,
) -> Result<set_profile_field::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    must_not_be_suspended(&args.requester)?;
    let name = args.request.value.field_name();
    let value = to_raw_value(&args.request.value.value()).expect("JSON serialises");
    services
        .users
        .set_profile_field(args.requester.user, name.as_str(), &value)
        .await?;
    Ok(set_profile_field::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
pub(crate) async fn delete_field(
    services: Arc<Services>,
    args: Args<delete_profile_field::v3::Request>,
) -> Result<delete_profile_field::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    must_not_be_suspended(&args.requester)?;
    let name = args.request.field.as_str();
    services
        .users
        .delete_profile_field(args.requester.user, name)
        .await?;
    Ok(delete_profile_field::v3::Response::new())
}

/// Clients clear a field with an empty string, with `null` or by leaving it out.
async fn set(
    services: &Services,
    requester: &Requester,
    name: &str,
    value: Option<&str>,
) -> Result<()> {
    let users = &services.users;
    match value.filter(|value| !value.is_empty()) {
        Some(value) => {
            let value = to_raw_value(value).expect("a string serialises");
            users
                .set_profile_field(requester.user, name, &value)
                .await?;
        }
        None => users.delete_profile_field(requester.user, name).await?,
    }
    Ok(())
}
