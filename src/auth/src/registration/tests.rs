//! Who may register, and that the right to it is used up once.

use config::RegistrationMode::{Closed, Open, Token};
use ruma_common::UserId;
use serde_json::{Value, json};
use storage::registration_token::{self, RegistrationToken};

use crate::{
    Auth, NewDevice, RegisterError, RegistrationRequest,
    testing::{House, challenge, register, uia},
};

fn with_token(token: &str) -> Value {
    json!({ "auth": { "type": "m.login.registration_token", "token": token } })
}

fn dummy() -> Value {
    json!({ "auth": { "type": "m.login.dummy" } })
}

async fn add_token(house: &House, token: &str, uses_allowed: Option<u64>, expires: Option<u64>) {
    let row = RegistrationToken {
        uses_allowed,
        completed: 0,
        expires_ts: expires,
    };
    let commit = house.store.write::<_, storage::Error>(|txn| {
        registration_token::put(txn, token, &row);
        Ok(())
    });
    commit.unwrap().durable().await;
}

fn errcode(error: &RegisterError) -> Value {
    match error {
        RegisterError::Uia(error) => challenge(error)["errcode"].clone(),
        error => panic!("not of interactive authentication: {error}"),
    }
}

#[tokio::test]
async fn open_registration_begins_a_session() {
    let house = House::new(Open);
    let request = RegistrationRequest {
        username: Some("Alice".to_owned()),
        password: Some("secret".to_owned()),
        device: NewDevice {
            device_id: Some("PHONE".into()),
            initial_device_display_name: Some("My phone".to_owned()),
            ..NewDevice::default()
        },
        ..RegistrationRequest::default()
    };
    let registered = house
        .auth
        .register(request, &uia("/register", &dummy()))
        .await
        .unwrap();
    assert_eq!(registered.user_id, "@alice:example.org");
    let session = registered.session.unwrap();
    let requester = house.auth.requester(&session.access_token).await.unwrap();
    assert_eq!(requester.user_id, "@alice:example.org");
    assert_eq!(requester.device_id.as_deref(), Some("PHONE".into()));
    assert!(!requester.is_admin);
    let device = house.auth.device(&requester, "PHONE".into()).unwrap();
    assert_eq!(device.unwrap().display_name.as_deref(), Some("My phone"));
    let profile = house
        .store
        .read(|view| storage::profile::of(view, &requester.user_id))
        .unwrap();
    assert_eq!(profile.displayname.as_deref(), Some("alice"));
}

#[tokio::test]
async fn without_a_name_one_is_given_and_login_can_be_inhibited() {
    let house = House::new(Open);
    let request = RegistrationRequest {
        password: Some("secret".to_owned()),
        inhibit_login: true,
        ..RegistrationRequest::default()
    };
    let registered = house
        .auth
        .register(request, &uia("/register", &dummy()))
        .await
        .unwrap();
    assert!(!registered.user_id.localpart().is_empty());
    assert!(registered.session.is_none());
}

#[tokio::test]
async fn a_first_request_is_told_the_flows_and_its_session_completes() {
    let house = House::new(Open);
    let asked = register(&house.auth, "alice", json!({})).await.unwrap_err();
    let RegisterError::Uia(asked) = asked else {
        panic!("{asked}");
    };
    let asked = challenge(&asked);
    assert_eq!(asked["flows"], json!([{ "stages": ["m.login.dummy"] }]));
    assert_eq!(asked["params"], json!({}));
    assert!(asked.get("errcode").is_none());
    // The body was `{}` when the session began.
    let body = json!({
        "username": "alice",
        "auth": { "type": "m.login.dummy", "session": asked["session"] },
    });
    register(&house.auth, "alice", body.clone()).await.unwrap();
    // The session ended with its completion.
    let again = register(&house.auth, "bob", body).await.unwrap_err();
    assert_eq!(errcode(&again), "M_FORBIDDEN");
}

#[tokio::test]
async fn names_are_checked_before_authentication() {
    let house = House::new(Open);
    house.user("alice").await;
    let taken = register(&house.auth, "alice", json!({})).await;
    assert!(matches!(taken, Err(RegisterError::UserInUse)));
    let taken = register(&house.auth, "ALICE", json!({})).await;
    assert!(matches!(taken, Err(RegisterError::UserInUse)));
    let invalid = register(&house.auth, "al ice", json!({})).await;
    assert!(matches!(invalid, Err(RegisterError::InvalidUsername(_))));
    let available = house.auth.check_available("bob").unwrap();
    assert_eq!(available, "@bob:example.org");
    let taken = house.auth.check_available("alice");
    assert!(matches!(taken, Err(RegisterError::UserInUse)));
}

#[tokio::test]
async fn passwords_are_required() {
    let house = House::new(Open);
    let mut request = RegistrationRequest {
        username: Some("alice".to_owned()),
        ..RegistrationRequest::default()
    };
    let uia = uia("/register", &dummy());
    let missing = house.auth.register(request.clone(), &uia).await;
    assert!(matches!(missing, Err(RegisterError::MissingPassword)));
    for bad in [String::new(), "a".repeat(513)] {
        request.password = Some(bad);
        let weak = house.auth.register(request.clone(), &uia).await;
        assert!(matches!(weak, Err(RegisterError::WeakPassword(_))));
    }
}

#[tokio::test]
async fn stages_that_are_not_offered_do_not_count() {
    let house = House::new(Token);
    for auth in [
        json!({ "type": "m.login.dummy" }),
        json!({ "type": "m.login.password", "user": "alice", "password": "secret" }),
        json!({ "type": "m.login.nonsense" }),
    ] {
        let refused = register(&house.auth, "alice", json!({ "auth": auth })).await;
        assert_eq!(errcode(&refused.unwrap_err()), "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn token_registration_counts_uses_and_time() {
    let house = House::new(Token);
    add_token(&house, "twice", Some(2), None).await;
    add_token(&house, "early", None, Some(1_000_100)).await;
    assert!(house.auth.registration_token_is_valid("twice").unwrap());
    assert!(!house.auth.registration_token_is_valid("nope").unwrap());
    register(&house.auth, "a", with_token("twice"))
        .await
        .unwrap();
    register(&house.auth, "b", with_token("twice"))
        .await
        .unwrap();
    let third = register(&house.auth, "c", with_token("twice")).await;
    assert_eq!(errcode(&third.unwrap_err()), "M_UNAUTHORIZED");
    register(&house.auth, "d", with_token("early"))
        .await
        .unwrap();
    house.clock.advance_ms(100);
    let late = register(&house.auth, "e", with_token("early")).await;
    assert_eq!(errcode(&late.unwrap_err()), "M_UNAUTHORIZED");
    // A failed registration uses nothing up.
    let count = house
        .store
        .read(|view| registration_token::get(view, "early"))
        .unwrap();
    assert_eq!(count.unwrap().completed, 1);
}

#[tokio::test]
async fn closed_is_closed() {
    let house = House::new(Closed);
    add_token(&house, "token", None, None).await;
    let refused = register(&house.auth, "alice", with_token("token")).await;
    assert!(matches!(refused, Err(RegisterError::Disabled)));
    let refused = house.auth.check_available("alice");
    assert!(matches!(refused, Err(RegisterError::Disabled)));
    assert!(!house.auth.registration_token_is_valid("token").unwrap());
}

#[tokio::test]
async fn the_first_administrator_registers_with_the_token_of_the_start() {
    let house = House::new(Closed);
    let stale = house
        .auth
        .first_administrator_token()
        .await
        .unwrap()
        .unwrap();
    let auth = house.restarted(Closed);
    let token = auth.first_administrator_token().await.unwrap().unwrap();
    let refused = register(&auth, "alice", with_token(&stale)).await;
    assert_eq!(errcode(&refused.unwrap_err()), "M_UNAUTHORIZED");
    assert!(auth.registration_token_is_valid(&token).unwrap());
    let admin = register(&auth, "alice", with_token(&token)).await.unwrap();
    let session = admin.session.unwrap();
    let requester = auth.requester(&session.access_token).await.unwrap();
    assert!(requester.is_admin);
    // The door is closed behind them, also after a restart.
    let refused = register(&auth, "bob", with_token(&token)).await;
    assert!(matches!(refused, Err(RegisterError::Disabled)));
    let auth = house.restarted(Closed);
    assert_eq!(auth.first_administrator_token().await.unwrap(), None);
}

/// Registers 100 users at once and says how many there are.
async fn race(auth: &Auth, name: impl Fn(u32) -> String, body: &Value) -> usize {
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let (auth, name, body) = (auth.clone(), name(n), body.clone());
            tokio::spawn(async move { register(&auth, &name, body).await.is_ok() })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn b16_of_100_registrations_at_once_with_names_of_their_own_all_succeed() {
    let house = House::new(Open);
    let all = (0..100).map(|n| {
        let auth = house.auth.clone();
        tokio::spawn(async move { register(&auth, &format!("user{n}"), dummy()).await })
    });
    for registered in all.collect::<Vec<_>>() {
        registered.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_100_registrations_at_once_one_gets_the_name() {
    let house = House::new(Open);
    let won = race(&house.auth, |_| "alice".to_owned(), &dummy()).await;
    assert_eq!(won, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_100_registrations_at_once_one_becomes_administrator() {
    let house = House::new(Closed);
    let token = house
        .auth
        .first_administrator_token()
        .await
        .unwrap()
        .unwrap();
    let won = race(&house.auth, |n| format!("u{n}"), &with_token(&token)).await;
    assert_eq!(won, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_100_registrations_at_once_a_token_for_7_lets_7_in() {
    let house = House::new(Token);
    add_token(&house, "seven", Some(7), None).await;
    // Users of whom this server has heard before they register.
    let commit = house.store.write::<_, storage::Error>(|txn| {
        for n in 0..100 {
            let user_id = UserId::parse(format!("@u{n}:example.org")).unwrap();
            storage::user::ensure(txn, &user_id)?;
        }
        Ok(())
    });
    commit.unwrap().durable().await;
    let won = race(&house.auth, |n| format!("u{n}"), &with_token("seven")).await;
    assert_eq!(won, 7);
}
