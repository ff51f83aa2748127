//! The route tables, and the router made from them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    handler::Handler,
    response::Response,
    routing::{MethodFilter, MethodRouter, get},
};
use futures::future::BoxFuture;
use http::Method;
use limit::Limit;

use crate::{
    Error, Services,
    client::{
        account, admin, alias, backup, capabilities, config, context, dehydrated_device, device,
        directory, discovery, filter, keys, knock, media, membership, message, mutual_rooms,
        old_sync, openid, peeking, presence, profile, push, pusher, read_marker, receipt, redact,
        relations, reporting, room, server_notices, session, space, state, sync, tag, thirdparty,
        threads, to_device, typing, user_directory, voip,
    },
    endpoint::{
        Call, Endpoint, adjusted, at, endpoint, interactive, own, own_of_user, own_query,
        streaming, with_default, with_limits,
    },
    extract::{ForGuests, Limits},
    layer::layered,
};

/// The client-server API: accounts.
fn client() -> Vec<Endpoint> {
    vec![
        // what a client asks first
        endpoint(discovery::versions).for_guests(),
        endpoint(discovery::well_known_client).for_guests(),
        endpoint(discovery::support).for_guests(),
        endpoint(capabilities::capabilities).for_guests(),
        // sessions
        endpoint(session::login_types).for_guests(),
        with_limits(LOGIN, session::login),
        interactive(session::login_token),
        endpoint(session::refresh),
        endpoint(session::logout).for_guests(),
        endpoint(session::logout_all).for_guests(),
        // accounts
        interactive(account::register),
        endpoint(account::username_availability).limited(Limit::UsernameAvailability),
        endpoint(account::registration_token_validity).limited(Limit::RegistrationTokenValidity),
        endpoint(account::whoami).for_guests(),
        interactive(account::change_password),
        interactive(account::deactivate),
        endpoint(account::third_party_ids),
        endpoint(openid::request_token),
        endpoint(admin::whois),
        endpoint(admin::is_locked),
        endpoint(admin::lock),
        endpoint(admin::is_suspended),
        endpoint(admin::suspend),
        // users
        endpoint(profile::profile).for_guests(),
        endpoint(profile::display_name).for_guests(),
        endpoint(profile::set_display_name)
            .for_guests()
            .limited(Limit::Message),
        endpoint(profile::avatar_url).for_guests(),
        endpoint(profile::set_avatar_url).limited(Limit::Message),
        endpoint(profile::get_field).for_guests(),
        endpoint(profile::set_field).limited(Limit::Message),
        endpoint(profile::delete_field).limited(Limit::Message),
        at(&DISPLAY_NAME, "displayname", profile::delete_field)
            .for_guests()
            .limited(Limit::Message),
        at(&AVATAR_URL, "avatar_url", profile::delete_field).limited(Limit::Message),
        endpoint(filter::create),
        endpoint(filter::get),
        endpoint(config::get_global),
        endpoint(config::set_global),
        endpoint(config::get_room),
        endpoint(config::set_room),
        own_of_user(Method::DELETE, DELETE_GLOBAL, config::delete_global),
        own_of_user(Method::DELETE, DELETE_ROOM, config::delete_room),
        endpoint(tag::tags),
        endpoint(tag::create),
        endpoint(tag::delete),
        endpoint(push::all).also(&["/_matrix/client/v3/pushrules"]),
        endpoint(push::global).also(&["/_matrix/client/v3/pushrules/global"]),
        endpoint(push::rule),
        endpoint(push::actions),
        endpoint(push::enabled),
        endpoint(push::set),
        endpoint(push::delete),
        endpoint(push::set_enabled),
        endpoint(push::set_actions),
        endpoint(pusher::pushers),
        endpoint(pusher::set_pusher),
        endpoint(pusher::notifications),
    ]
}

/// The client-server API: what devices send each other, and what they keep for later ones.
fn encryption() -> Vec<Endpoint> {
    vec![
        // messages to devices
        with_limits(LARGE, to_device::send).for_guests(),
        endpoint(dehydrated_device::put),
        endpoint(dehydrated_device::get),
        endpoint(dehydrated_device::delete),
        endpoint(dehydrated_device::events),
        own_of_user(
            Method::GET,
            DEHYDRATED_EVENTS,
            dehydrated_device::events_by_query,
        ),
        // key backups
        endpoint(backup::create).limited(Limit::KeyRequests),
        endpoint(backup::latest),
        endpoint(backup::version),
        endpoint(backup::update),
        endpoint(backup::delete),
        with_limits(LARGE, backup::put_keys).limited(Limit::KeyRequests),
        with_limits(LARGE, backup::put_keys_of_room).limited(Limit::KeyRequests),
        endpoint(backup::put_key).limited(Limit::KeyRequests),
        endpoint(backup::keys),
        endpoint(backup::keys_of_room),
        endpoint(backup::key),
        endpoint(backup::delete_keys),
        endpoint(backup::delete_keys_of_room),
        endpoint(backup::delete_key),
    ]
}

/// The client-server API: files, calls, other networks.
fn files() -> Vec<Endpoint> {
    vec![
        // calls and other networks
        endpoint(voip::turn_server).for_guests(),
        endpoint(thirdparty::protocols),
        endpoint(thirdparty::protocol),
        endpoint(thirdparty::location_for_protocol),
        endpoint(thirdparty::user_for_protocol),
        endpoint(thirdparty::location_for_room_alias),
        endpoint(thirdparty::user_for_user_id),
        // media
        streaming(media::upload).limited(Limit::MediaCreate),
        endpoint(media::create).limited(Limit::MediaCreate),
        streaming(media::upload_to).limited(Limit::MediaCreate),
        endpoint(media::config).for_guests(),
        endpoint(media::download).for_guests(),
        endpoint(media::download_as).for_guests(),
        endpoint(media::thumbnail).for_guests(),
        endpoint(media::preview).limited(Limit::MediaCreate),
        endpoint(media::legacy_preview).limited(Limit::MediaCreate),
        endpoint(media::legacy_config).for_guests(),
        endpoint(media::legacy_download),
        endpoint(media::legacy_download_as),
        endpoint(media::legacy_thumbnail),
    ]
}

/// The client-server API: devices and their keys.
fn devices() -> Vec<Endpoint> {
    vec![
        // devices
        endpoint(device::devices).for_guests(),
        endpoint(device::device).for_guests(),
        endpoint(device::update).for_guests(),
        interactive(device::delete),
        interactive(device::delete_many),
        // keys
        endpoint(keys::upload)
            .for_guests()
            .limited(Limit::KeyRequests),
        endpoint(keys::query)
            .for_guests()
            .limited(Limit::KeyRequests),
        endpoint(keys::claim)
            .for_guests()
            .limited(Limit::KeyRequests),
        endpoint(keys::changes).limited(Limit::KeyRequests),
        interactive(keys::upload_cross_signing).limited(Limit::KeyRequests),
        endpoint(keys::upload_signatures).limited(Limit::KeyRequests),
    ]
}

/// The client-server API: rooms.
fn rooms() -> Vec<Endpoint> {
    vec![
        endpoint(sync::sync).for_guests(),
        own_of_user(Method::GET, EVENTS, old_sync::events)
            .also(&["/_matrix/client/r0/events"])
            .for_guests(),
        own_of_user(Method::GET, EVENT, old_sync::event)
            .also(&["/_matrix/client/r0/events/{event_id}"])
            .for_guests(),
        own_of_user(Method::GET, INITIAL_SYNC, old_sync::initial_sync)
            .also(&["/_matrix/client/r0/initialSync"]),
        endpoint(peeking::room_initial_sync).for_guests(),
        with_limits(LARGE, room::create),
        endpoint(alias::get).for_guests(),
        endpoint(alias::create),
        endpoint(alias::delete),
        endpoint(alias::list),
        endpoint(directory::visibility),
        adjusted(directory::default_visibility, directory::set_visibility),
        endpoint(directory::list).for_guests(),
        adjusted(directory::drop_null_filters, directory::search),
        // membership
        endpoint(membership::join).for_guests(),
        endpoint(membership::join_by_id_or_alias).for_guests(),
        endpoint(knock::knock),
        endpoint(membership::leave).for_guests(),
        endpoint(membership::forget),
        endpoint(membership::invite),
        endpoint(membership::kick),
        endpoint(membership::ban),
        endpoint(membership::unban),
        endpoint(membership::members).for_guests(),
        endpoint(membership::joined_members),
        endpoint(membership::joined_rooms),
        // events
        endpoint(message::send).for_guests(),
        with_default("dir=f", message::messages).for_guests(),
        endpoint(context::context).for_guests(),
        endpoint(room::event).for_guests(),
        endpoint(room::summary).for_guests(),
        endpoint(room::event_at),
        endpoint(relations::all),
        endpoint(relations::of_rel_type),
        endpoint(relations::of_event_type),
        endpoint(threads::list),
        endpoint(room::upgrade),
        endpoint(space::hierarchy),
        endpoint(reporting::event).limited(Limit::Reports),
        endpoint(reporting::room).limited(Limit::Reports),
        endpoint(reporting::user).limited(Limit::Reports),
        endpoint(redact::redact),
        // people
        with_limits(RECEIPT, receipt::create),
        endpoint(read_marker::set),
        adjusted(typing::default_timeout, typing::set),
        endpoint(user_directory::search).limited(Limit::UserDirectory),
        own_of_user(Method::GET, MUTUAL_ROOMS, mutual_rooms::stable),
        own_of_user(Method::GET, MUTUAL_ROOMS_UNSTABLE, mutual_rooms::unstable),
        endpoint(presence::get),
        endpoint(presence::set).limited(Limit::PresencePerUser),
        // state
        endpoint(state::all).for_guests(),
        endpoint(state::get).for_guests().also(&STATE_WITHOUT_KEY),
        endpoint(state::send).for_guests().also(&STATE_WITHOUT_KEY),
    ]
}

const EVENTS: &str = "/_matrix/client/v3/events";
const EVENT: &str = "/_matrix/client/v3/events/{event_id}";
const INITIAL_SYNC: &str = "/_matrix/client/v3/initialSync";

const DELETE_GLOBAL: &str =
    "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/account_data/{event_type}";
const DELETE_ROOM: &str = "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/rooms/{room_id}/account_data/{event_type}";

const DEHYDRATED_EVENTS: &str =
    "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events";

const MUTUAL_ROOMS: &str = "/_matrix/client/v1/mutual_rooms";
const MUTUAL_ROOMS_UNSTABLE: &str =
    "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms";

const NOTICE: &str = "/_synapse/admin/v1/send_server_notice";
const NOTICE_IN_TRANSACTION: &str = "/_synapse/admin/v1/send_server_notice/{txn_id}";

/// Fields that have endpoints of their own for reading and setting.
const DISPLAY_NAME: [&str; 2] = [
    "/_matrix/client/r0/profile/{user_id}/displayname",
    "/_matrix/client/v3/profile/{user_id}/displayname",
];
const AVATAR_URL: [&str; 2] = [
    "/_matrix/client/r0/profile/{user_id}/avatar_url",
    "/_matrix/client/v3/profile/{user_id}/avatar_url",
];

/// "When an empty string, the trailing slash on this endpoint is optional."
const STATE_WITHOUT_KEY: [&str; 4] = [
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}/",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/",
];

/// What operators' tools know from Synapse, and what others ask who is shown an OpenID token.
fn others() -> Vec<Endpoint> {
    let path = "/_synapse/admin/v1/register";
    vec![
        own(Method::GET, path, account::shared_secret_nonce),
        own(Method::POST, path, account::shared_secret_register),
        own_of_user(Method::POST, NOTICE, server_notices::send),
        own_of_user(Method::PUT, NOTICE_IN_TRANSACTION, server_notices::send),
        own_query("/_matrix/federation/v1/openid/userinfo", openid::userinfo),
    ]
}

const LOGIN: Limits = Limits {
    precheck: session::precheck_login,
    ..Limits::DEFAULT
};

const RECEIPT: Limits = Limits {
    precheck: receipt::precheck,
    ..Limits::DEFAULT
};

/// Bodies that may hold many events or keys: 200 of 64 KiB.
const LARGE: Limits = Limits {
    body: 13_107_200,
    ..Limits::DEFAULT
};

fn endpoints() -> impl Iterator<Item = Endpoint> {
    let parts = [
        client(),
        files(),
        devices(),
        encryption(),
        rooms(),
        others(),
    ];
    parts.into_iter().flatten()
}

/// For load balancers; answered without touching anything.
const HEALTH: &str = "/health";

/// A method and a path that are served.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path in axum's syntax (`{room_id}`).
    pub path: &'static str,
    /// Whether nobody is let in without an access token.
    pub needs_token: bool,
}

/// Everything that is served.
pub fn routes() -> Vec<Route> {
    let health = Route {
        method: Method::GET,
        path: HEALTH,
        needs_token: false,
    };
    let of_endpoints = endpoints().flat_map(|endpoint| {
        endpoint.paths.into_iter().map(move |path| Route {
            method: endpoint.method.clone(),
            path,
            needs_token: endpoint.needs_token,
        })
    });
    std::iter::once(health).chain(of_endpoints).collect()
}

/// The whole API as one service.
pub fn router(services: Arc<Services>) -> Router {
    let mut paths: BTreeMap<&'static str, MethodRouter<()>> = BTreeMap::new();
    for endpoint in endpoints() {
        let filter = MethodFilter::try_from(endpoint.method.clone())
            .expect("ruma declares standard methods");
        for path in &endpoint.paths {
            let handler = Erased {
                services: services.clone(),
                limit: endpoint.limit,
                is_for_guests: endpoint.is_for_guests,
                call: endpoint.call.clone(),
            };
            let methods = paths.remove(path).unwrap_or_default();
            paths.insert(path, methods.on(filter, handler));
        }
    }
    let mut router = Router::new().route(HEALTH, get("OK"));
    for (path, methods) in paths {
        router = router.route(path, methods);
    }
    let router = router
        .method_not_allowed_fallback(async || Error::wrong_method().into_response())
        .fallback(async || Error::unknown_endpoint().into_response());
    layered(router)
}

/// The one type of handler that axum sees.
#[derive(Clone)]
struct Erased {
    services: Arc<Services>,
    limit: Option<Limit>,
    is_for_guests: bool,
    call: Arc<Call>,
}

impl Handler<(), ()> for Erased {
    type Future = BoxFuture<'static, Response>;

    fn call(self, mut request: Request<Body>, _: ()) -> Self::Future {
        if let Some(limit) = self.limit {
            request.extensions_mut().insert(limit);
        }
        if self.is_for_guests {
            request.extensions_mut().insert(ForGuests);
        }
        Box::pin(async move {
            let answer = (self.call)(self.services, request);
            answer.await.unwrap_or_else(Error::into_response)
        })
    }
}
