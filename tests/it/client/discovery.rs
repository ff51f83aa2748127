//! Versions, the well-known document.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{server::TestServer, tidy};

/// Every feature that is advertised by the name of its proposal, and the test that shows that it works.
const FEATURES: &[(&str, &str)] = &[
    ("com.beeper.msc4169", "redactions_name_their_target_twice"),
    (
        "fi.mau.msc2815",
        "originals_are_for_moderators_until_they_expire",
    ),
    (
        "org.matrix.e2e_cross_signing",
        "cross_signing_from_the_first_key_to_the_reset",
    ),
    (
        "org.matrix.msc2285.stable",
        "a_private_receipt_is_for_its_owner",
    ),
    ("org.matrix.msc3030", "jump_to_date"),
    (
        "org.matrix.msc3391",
        "what_is_deleted_or_set_to_nothing_is_not_there",
    ),
    (
        "org.matrix.msc3440.stable",
        "threads_are_listed_by_their_latest_activity",
    ),
    (
        "org.matrix.msc3715.stable",
        "children_come_by_relation_and_event_type",
    ),
    ("org.matrix.msc3771", "threaded_receipts"),
    (
        "org.matrix.msc3773",
        "threads_have_counts_of_their_own_for_those_who_ask",
    ),
    ("org.matrix.msc3814", "a_device_waits_for_its_user"),
    ("org.matrix.msc3827.stable", "rooms_are_searched_for"),
    (
        "org.matrix.msc3856.stable",
        "threads_are_listed_by_their_latest_activity",
    ),
    ("org.matrix.msc3874", "pages_are_filtered_by_relation"),
    (
        "org.matrix.msc3881",
        "pushers_are_set_listed_switched_and_deleted",
    ),
    (
        "org.matrix.msc3882",
        "a_session_lends_a_login_to_another_device",
    ),
    (
        "org.matrix.msc3890",
        "settings_of_a_device_go_with_it_and_deleted_account_data_is_told",
    ),
    (
        "org.matrix.msc3912",
        "related_events_and_those_of_a_banned_user_go_too",
    ),
    ("org.matrix.msc3916.stable", "d7_new_media_need_a_token"),
    (
        "org.matrix.msc3952_intentional_mentions",
        "unread_counts_come_with_the_event",
    ),
    (
        "org.matrix.msc3981",
        "children_come_by_relation_and_event_type",
    ),
    (
        "org.matrix.msc4155",
        "blocked_invites_are_refused_at_every_door",
    ),
    ("org.matrix.msc4180", "d7_new_media_need_a_token"),
    (
        "org.matrix.msc4222",
        "a_limited_timeline_has_the_state_at_its_start",
    ),
    (
        "org.matrix.msc4380",
        "blocked_invites_are_refused_at_every_door",
    ),
    (
        "org.matrix.msc4380.stable",
        "blocked_invites_are_refused_at_every_door",
    ),
    (
        "uk.half-shot.msc2666.query_mutual_rooms",
        "shared_rooms_are_counted_and_paged",
    ),
    (
        "uk.half-shot.msc2666.query_mutual_rooms.stable",
        "shared_rooms_are_counted_and_paged",
    ),
    ("uk.tcpip.msc4133", "fields_of_clients_own_making"),
    ("uk.tcpip.msc4133.stable", "fields_of_clients_own_making"),
    (
        "uk.timedout.msc4323",
        "only_administrators_moderate_and_not_each_other",
    ),
    ("us.cloke.msc4175", "fields_of_clients_own_making"),
    ("us.cloke.msc4175.stable", "fields_of_clients_own_making"),
];

#[tokio::test]
async fn every_feature_that_is_advertised_has_a_test() {
    let server = TestServer::start().await;
    let body = server.get("/_matrix/client/versions").await.ok();
    let features: BTreeMap<&str, _> = FEATURES.iter().map(|(name, _)| (*name, true)).collect();
    assert_eq!(body["unstable_features"], json!(features));
    let tests: Vec<_> = FEATURES
        .iter()
        .map(|(_, test)| (*test).to_owned())
        .collect();
    let missing = tidy::missing_tests(&tests);
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[tokio::test]
async fn versions_have_no_hole() {
    let server = TestServer::start().await;
    let body = server.get("/_matrix/client/versions").await.ok();
    let versions = body["versions"].as_array().unwrap();
    for minor in 1..=11 {
        assert!(versions.contains(&json!(format!("v1.{minor}"))), "{body}");
    }
}

#[tokio::test]
async fn the_well_known_document_names_the_public_url() {
    let server = TestServer::start_with(&["server.public_url=https://matrix.example"]).await;
    assert_eq!(
        server.get("/.well-known/matrix/client").await.ok(),
        json!({ "m.homeserver": { "base_url": "https://matrix.example" } })
    );
}

#[tokio::test]
async fn without_a_public_url_there_is_no_well_known_document() {
    let server = TestServer::start_with(&[]).await;
    let answer = server.get("/.well-known/matrix/client").await;
    answer.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn who_helps_is_told_where_somebody_does() {
    const PATH: &str = "/.well-known/matrix/support";
    let server = TestServer::start().await;
    server.get(PATH).await.error(404, "M_NOT_FOUND");
    let server = TestServer::start_with(&[
        "server.support_page=https://example.org/help",
        "server.support_contacts=[{ role = \"m.role.admin\", matrix_id = \"@admin:example.org\" }]",
    ])
    .await;
    assert_eq!(
        server.get(PATH).await.ok(),
        json!({
            "contacts": [{ "role": "m.role.admin", "matrix_id": "@admin:example.org" }],
            "support_page": "https://example.org/help",
        })
    );
}
