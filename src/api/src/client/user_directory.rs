//! Finding users.

use std::sync::Arc;

use ruma_client_api::user_directory::search_users::v3;

use crate::{Args, Result, Services, client::actor};

/// `POST /_matrix/client/v3/user_directory/search`
pub(crate) async fn search(
    services: Arc<Services>,
    args: Args<v3::Request>,
) -> Result<v3::Response> {
    let request = args.request;
    let limit = usize::try_from(u64::from(request.limit)).unwrap_or(usize::MAX);
    let found = services
        .rooms
        .search_users(&actor(args.requester), &request.search_term, limit)
        .await?;
    let users = found.results.into_iter().map(|found| {
        let mut user = v3::User::new(found.user_id);
        user.display_name = found.display_name;
        user.avatar_url = found.avatar_url;
        user
    });
    Ok(v3::Response::new(users.collect(), found.limited))
}
