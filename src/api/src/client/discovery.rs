//! What a client asks before it knows anything: versions, the well-known document.

use std::{collections::BTreeMap, sync::Arc};

use ruma_client_api::discovery::{
    discover_homeserver::{self, HomeserverInfo},
    discover_support, get_supported_versions,
};
use serde_json::{Map, json};

use crate::{Args, Error, Result, Services, answer::Json};

/// The versions of the specification of which everything that clients derive from them is served, without a hole.
const VERSIONS: [&str; 11] = [
    "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11",
];

/// Features by the name of their proposal; only what works here. Many are in the specification by now: older clients ask
/// for them by this name.
const UNSTABLE_FEATURES: &[&str] = &[
    // jump to date
    "org.matrix.msc3030",
    // threads, their list, the direction and the recursion of relations
    "org.matrix.msc3440.stable",
    "org.matrix.msc3715.stable",
    "org.matrix.msc3856.stable",
    "fi.mau.msc2815",
    "org.matrix.msc3874",
    "org.matrix.msc3912",
    "org.matrix.msc3981",
    // private receipts, receipts and unread counts of threads
    "org.matrix.msc2285.stable",
    "org.matrix.msc3771",
    "org.matrix.msc3773",
    // mentions
    "org.matrix.msc3952_intentional_mentions",
    // redactions that are sent like other events
    "com.beeper.msc4169",
    // state as of the end of timelines
    "org.matrix.msc4222",
    // media that need a token
    "org.matrix.msc3916.stable",
    "org.matrix.msc4180",
    // cross-signing
    "org.matrix.e2e_cross_signing",
    // dehydrated devices
    "org.matrix.msc3814",
    // login tokens
    "org.matrix.msc3882",
    // types of rooms in the directory
    "org.matrix.msc3827.stable",
    // fields of profiles, time zones among them
    "uk.tcpip.msc4133",
    "uk.tcpip.msc4133.stable",
    "us.cloke.msc4175",
    "us.cloke.msc4175.stable",
    // account data that is deleted, also with its device
    "org.matrix.msc3391",
    "org.matrix.msc3890",
    // who may invite a user
    "org.matrix.msc4155",
    "org.matrix.msc4380",
    "org.matrix.msc4380.stable",
    // rooms that two users share
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    // pushers that another device switches
    "org.matrix.msc3881",
    // locking and suspending
    "uk.timedout.msc4323",
];

/// `GET /_matrix/client/versions`
pub(crate) async fn versions(
    _: Arc<Services>,
    _: Args<get_supported_versions::Request>,
) -> Result<get_supported_versions::Response> {
    let versions = VERSIONS.map(str::to_owned).to_vec();
    let mut response = get_supported_versions::Response::new(versions);
    response.unstable_features = UNSTABLE_FEATURES
        .iter()
        .map(|feature| ((*feature).to_owned(), true))
        .collect::<BTreeMap<_, _>>();
    Ok(response)
}

/// `GET /.well-known/matrix/client`
pub(crate) async fn well_known_client(
    services: Arc<Services>,
    _: Args<discover_homeserver::Request>,
) -> Result<discover_homeserver::Response> {
    // "404: No server discovery information available."
    let url = services
        .public_url
        .clone()
        .ok_or_else(|| Error::not_found("No discovery information"))?;
    Ok(discover_homeserver::Response::new(HomeserverInfo::new(url)))
}

/// `GET /.well-known/matrix/support`
pub(crate) async fn support(
    services: Arc<Services>,
    _: Args<discover_support::Request>,
) -> Result<Json> {
    let mut support = Map::new();
    if !services.support_contacts.is_empty() {
        let contacts = json!(services.support_contacts);
        support.insert("contacts".to_owned(), contacts);
    }
    if let Some(page) = &services.support_page {
        support.insert("support_page".to_owned(), page.as_str().into());
    }
    // "At least one of `contacts` or `support_page` is required." "404: No server support information available."
    if support.is_empty() {
        return Err(Error::not_found("No support information"));
    }
    Json::of(&support)
}
