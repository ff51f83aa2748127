//! What a confirmation is good for: one operation, by one user, once.

use config::RegistrationMode::Open;
use serde_json::{Value, json};

use crate::{
    Requester, UiaError, UiaRequest,
    testing::{House, challenge, uia},
};

async fn requester(house: &House, name: &str) -> Requester {
    let session = house.user(name).await;
    house.auth.requester(&session.access_token).await.unwrap()
}

fn password(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}

/// The body of the 401 answer to a request.
async fn refused(house: &House, requester: &Requester, request: &UiaRequest) -> Value {
    challenge(&house.auth.confirm(requester, request).await.unwrap_err())
}

#[tokio::test]
async fn without_auth_nothing_succeeds() {
    let house = House::new(Open);
    let alice = requester(&house, "alice").await;
    for body in [json!({}), json!({ "auth": null }), json!({ "auth": {} })] {
        let asked = refused(&house, &alice, &uia("/devices", &body)).await;
        assert_eq!(asked["flows"], json!([{ "stages": ["m.login.password"] }]));
        assert!(asked["session"].is_string());
        assert!(asked.get("errcode").is_none());
        assert!(asked.get("completed").is_none());
    }
}

#[tokio::test]
async fn a_password_confirms_with_and_without_a_session() {
    let house = House::new(Open);
    let alice = requester(&house, "alice").await;
    let body = json!({ "devices": ["A"], "auth": password("alice", "secret") });
    house
        .auth
        .confirm(&alice, &uia("/devices", &body))
        .await
        .unwrap();
    let old_form =
        json!({ "type": "m.login.password", "user": alice.user_id, "password": "secret" });
    let body = json!({ "auth": old_form });
    house
        .auth
        .confirm(&alice, &uia("/devices", &body))
        .await
        .unwrap();
    let asked = refused(
        &house,
        &alice,
        &uia("/devices", &json!({ "devices": ["A"] })),
    )
    .await;
    let mut auth = password("@alice:example.org", "secret");
    auth["session"] = asked["session"].clone();
    let body = json!({ "devices": ["A"], "auth": auth });
    house
        .auth
        .confirm(&alice, &uia("/devices", &body))
        .await
        .unwrap();
    // Used up.
    let again = refused(&house, &alice, &uia("/devices", &body)).await;
    assert_eq!(again["errcode"], "M_FORBIDDEN");
}

#[tokio::test]
async fn a_wrong_password_may_be_tried_again_in_the_same_session() {
    let house = House::new(Open);
    let alice = requester(&house, "alice").await;
    let mut auth = password("alice", "wrong");
    let first = refused(&house, &alice, &uia("/devices", &json!({ "auth": auth }))).await;
    assert_eq!(first["errcode"], "M_FORBIDDEN");
    assert_eq!(first["error"], "Invalid password");
    auth["session"] = first["session"].clone();
    let second = refused(&house, &alice, &uia("/devices", &json!({ "auth": auth }))).await;
    assert_eq!(second["session"], first["session"]);
    auth["password"] = json!("secret");
    let request = uia("/devices", &json!({ "auth": auth }));
    house.auth.confirm(&alice, &request).await.unwrap();
}

#[tokio::test]
async fn a_session_is_bound_to_user_method_path_and_body() {
    let house = House::new(Open);
    let alice = requester(&house, "alice").await;
    let bob = requester(&house, "bob").await;
    let asked = refused(
        &house,
        &alice,
        &uia("/devices", &json!({ "devices": ["A"] })),
    )
    .await;
    let with_session = |user: &str, devices: Value| {
        let mut auth = password(user, "secret");
        auth["session"] = asked["session"].clone();
        json!({ "devices": devices, "auth": auth })
    };
    let body = with_session("alice", json!(["A"]));
    let other_body = with_session("alice", json!(["B"]));
    let of_bob = with_session("bob", json!(["A"]));
    let text = body.to_string();
    let put = UiaRequest::new("PUT", "/devices", text.as_bytes()).unwrap();
    for (requester, request) in [
        (&alice, uia("/devices", &other_body)),
        (&alice, uia("/other", &body)),
        (&alice, put),
        (&bob, uia("/devices", &of_bob)),
    ] {
        let answer = refused(&house, requester, &request).await;
        assert_eq!(answer["errcode"], "M_FORBIDDEN");
        assert_ne!(answer["session"], asked["session"]);
    }
    house.clock.advance_ms(15 * 60 * 1_000);
    let late = refused(&house, &alice, &uia("/devices", &body)).await;
    assert_eq!(late["errcode"], "M_FORBIDDEN");
}

#[tokio::test]
async fn the_password_of_another_user_confirms_nothing() {
    let house = House::new(Open);
    let alice = requester(&house, "alice").await;
    house.user("bob").await;
    for user in ["bob", "@bob:example.org", "@alice:example.com", ""] {
        let body = json!({ "auth": password(user, "secret") });
        let answer = house.auth.confirm(&alice, &uia("/devices", &body)).await;
        assert!(matches!(answer, Err(UiaError::OtherUser)), "{user}");
    }
    let by_mail = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "a@b" },
        "password": "secret",
    });
    let request = uia("/devices", &json!({ "auth": by_mail }));
    let answer = house.auth.confirm(&alice, &request).await;
    assert!(matches!(answer, Err(UiaError::OtherUser)));
}

#[tokio::test]
async fn only_offered_stages_count() {
    let house = House::new(Open);
    let alice = requester(&house, "alice").await;
    for auth in [
        json!({ "type": "m.login.dummy" }),
        json!({ "type": "m.login.registration_token", "token": "x" }),
        json!({ "type": "m.login.recaptcha", "response": "x" }),
    ] {
        let answer = refused(&house, &alice, &uia("/devices", &json!({ "auth": auth }))).await;
        assert_eq!(answer["errcode"], "M_FORBIDDEN");
        assert!(answer.get("completed").is_none());
    }
}

#[tokio::test]
async fn malformed_auth_is_bad_json() {
    let house = House::new(Open);
    let alice = requester(&house, "alice").await;
    for auth in [
        json!({ "type": "m.login.password" }),
        json!({ "type": "m.login.password", "user": "alice" }),
        json!({ "type": "m.login.password", "user": "alice", "password": 3 }),
        json!({ "type": "m.login.password", "identifier": {}, "password": "secret" }),
        json!({ "type": "m.login.password", "identifier": 3, "password": "secret" }),
    ] {
        let request = uia("/devices", &json!({ "auth": auth }));
        let answer = house.auth.confirm(&alice, &request).await;
        assert!(matches!(answer, Err(UiaError::BadJson(_))), "{auth}");
    }
}
