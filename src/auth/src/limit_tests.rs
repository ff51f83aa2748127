//! Limits on getting in, with a clock that tests move.

use std::{net::IpAddr, time::Duration};

use config::RateLimits;
use limit::TooSoon;
use serde_json::{Value, json};

use crate::{
    LoginError, LoginRequest, NewDevice, RegisterError, RegistrationRequest, Session, UiaError,
    testing::{House, login, uia},
};

fn house() -> House {
    House::with_limits(&RateLimits::default())
}

impl House {
    async fn log_in(&self, password: &str) -> Result<Session, LoginError> {
        self.auth.login(login("alice", password, None)).await
    }
}

fn from(address: &str, request: LoginRequest) -> LoginRequest {
    LoginRequest {
        address: Some(address.parse().unwrap()),
        ..request
    }
}

fn wait(error: &LoginError) -> Option<u64> {
    match error {
        LoginError::TooSoon(TooSoon { retry_after }) => Some(retry_after.as_secs()),
        _ => None,
    }
}

#[tokio::test]
async fn e4_wrong_passwords_of_an_account_are_counted_whoever_tries_them() {
    let house = house();
    house.user("alice").await;
    // Also of an account that is not there, so that nothing is told.
    for name in ["alice", "nobody"] {
        let attempt = |n: u32, name: &str, password: &str| {
            let address = format!("192.0.2.{n}");
            let request = from(&address, login(name, password, None));
            let auth = house.auth.clone();
            async move { auth.login(request).await.unwrap_err() }
        };
        let capitals = format!("@{}:example.org", name.to_ascii_uppercase());
        for n in 0..3 {
            let error = attempt(n, if n == 1 { &capitals } else { name }, "wrong").await;
            assert!(matches!(error, LoginError::Forbidden), "{error}");
        }
        let refused = attempt(4, name, "wrong").await;
        assert_eq!(wait(&refused), Some(6));
        assert_eq!(
            wait(&attempt(5, name, "secret").await),
            Some(6),
            "the right one, too"
        );
        house.clock.advance_ms(6000);
        let error = attempt(6, name, "wrong").await;
        assert!(matches!(error, LoginError::Forbidden), "{error}");
    }
    house.clock.advance_ms(6000);
    house.log_in("secret").await.unwrap();
}

#[tokio::test]
async fn many_wrong_passwords_at_once_are_counted_too() {
    let house = house();
    house.user("alice").await;
    let attempts = (0..50).map(|_| {
        let auth = house.auth.clone();
        tokio::spawn(async move { auth.login(login("alice", "wrong", None)).await.unwrap_err() })
    });
    let mut checked = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        checked += usize::from(matches!(attempt.await.unwrap(), LoginError::Forbidden));
    }
    assert_eq!(checked, 3);
}

#[tokio::test]
async fn right_passwords_are_no_failures_but_logins() {
    let house = house();
    house.user("alice").await;
    for _ in 0..5 {
        house.log_in("secret").await.unwrap();
    }
    let refused = house.log_in("secret").await;
    assert_eq!(wait(&refused.unwrap_err()), Some(334));
    house.clock.advance_ms(334_000);
    house.log_in("secret").await.unwrap();
}

#[tokio::test]
async fn e4_an_address_tries_many_accounts() {
    let house = house();
    for n in 0..5 {
        let request = from("2001:db8::1", login(&format!("user{n}"), "x", None));
        let error = house.auth.login(request).await.unwrap_err();
        assert!(matches!(error, LoginError::Forbidden));
    }
    let request = || from("2001:db8:0:7f::2", login("user9", "x", None));
    let refused = house.auth.login(request()).await.unwrap_err();
    assert_eq!(wait(&refused), Some(334));
    let neighbour = Some("2001:db8::3".parse().unwrap());
    let token = house
        .auth
        .login_with_token("x", NewDevice::default(), neighbour);
    assert_eq!(wait(&token.await.unwrap_err()), Some(334));
    house.clock.advance_ms(334_000);
    let error = house.auth.login(request()).await.unwrap_err();
    assert!(matches!(error, LoginError::Forbidden));
}

#[tokio::test]
async fn passwords_are_not_guessed_by_confirming_either() {
    let house = house();
    let session = house.user("alice").await;
    let alice = house.auth.requester(&session.access_token).await.unwrap();
    let confirm = async |password: &str| {
        let body = json!({ "auth": {
            "type": "m.login.password", "password": password,
            "identifier": { "type": "m.id.user", "user": "alice" },
        } });
        house.auth.confirm(&alice, &uia("/devices", &body)).await
    };
    for _ in 0..10 {
        confirm("secret").await.unwrap();
    }
    for _ in 0..3 {
        assert!(matches!(
            confirm("wrong").await,
            Err(UiaError::Challenge(_))
        ));
    }
    let refused = confirm("secret").await.unwrap_err();
    let expected = Duration::from_secs(6);
    assert!(
        matches!(refused, UiaError::TooSoon(TooSoon { retry_after }) if retry_after == expected)
    );
    house.clock.advance_ms(6000);
    confirm("secret").await.unwrap();
}

async fn register(
    house: &House,
    name: &str,
    auth: Value,
    address: &str,
) -> Result<(), RegisterError> {
    let request = RegistrationRequest {
        username: Some(name.to_owned()),
        password: Some("secret".to_owned()),
        address: Some(address.parse::<IpAddr>().unwrap()),
        ..RegistrationRequest::default()
    };
    let uia = uia("/register", &json!({ "auth": auth }));
    house.auth.register(request, &uia).await.map(drop)
}

#[tokio::test]
async fn e4_accounts_from_an_address_are_counted_and_questions_are_not() {
    let house = house();
    let dummy = || json!({ "type": "m.login.dummy" });
    for n in 0..20 {
        let asked = register(&house, &format!("x{n}"), json!({}), "192.0.2.1").await;
        assert!(matches!(
            asked,
            Err(RegisterError::Uia(UiaError::Challenge(_)))
        ));
    }
    for n in 0..3 {
        register(&house, &format!("user{n}"), dummy(), "192.0.2.1")
            .await
            .unwrap();
        let taken = register(&house, "user0", dummy(), "192.0.2.1").await;
        assert!(taken.is_err());
    }
    for auth in [dummy(), json!({})] {
        let refused = register(&house, "user3", auth, "192.0.2.1")
            .await
            .unwrap_err();
        let RegisterError::TooSoon(TooSoon { retry_after }) = refused else {
            panic!("{refused}");
        };
        assert_eq!(retry_after.as_secs(), 6);
    }
    register(&house, "other", dummy(), "192.0.2.2")
        .await
        .unwrap();
    house.clock.advance_ms(6000);
    register(&house, "user3", dummy(), "192.0.2.1")
        .await
        .unwrap();
}

#[tokio::test]
async fn registration_tokens_are_not_guessed_by_registering() {
    let house = house();
    let first = house
        .auth
        .first_administrator_token()
        .await
        .unwrap()
        .unwrap();
    let guess = |token: &str| json!({ "type": "m.login.registration_token", "token": token });
    for _ in 0..5 {
        let wrong = register(&house, "root", guess("x"), "192.0.2.1").await;
        assert!(matches!(
            wrong,
            Err(RegisterError::Uia(UiaError::Challenge(_)))
        ));
    }
    let refused = register(&house, "root", guess(&first), "192.0.2.1").await;
    assert!(matches!(
        refused,
        Err(RegisterError::Uia(UiaError::TooSoon(_)))
    ));
    house.clock.advance_ms(10_000);
    register(&house, "root", guess(&first), "192.0.2.1")
        .await
        .unwrap();
}
