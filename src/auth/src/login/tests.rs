//! Logins: whom they let in, and what a device that logs in again leaves behind.

use config::RegistrationMode::Open;
use storage::user::Account;

use crate::{
    Identifier, LoginError, NewDevice, Session, TokenError,
    testing::{House, login},
};

async fn change_account(house: &House, session: &Session, change: impl Fn(&mut Account)) {
    let commit = house.store.write::<_, storage::Error>(|txn| {
        let user = storage::user::ensure(txn, &session.user_id)?;
        let mut account = storage::user::account(txn, user)?.unwrap();
        change(&mut account);
        storage::user::put_account(txn, user, &account);
        Ok(())
    });
    commit.unwrap().durable().await;
}

#[tokio::test]
async fn users_are_named_by_id_or_localpart_in_any_case() {
    let house = House::new(Open);
    house.user("alice").await;
    for name in ["alice", "@alice:example.org", "ALICE", "@Alice:example.org"] {
        let session = house.auth.login(login(name, "secret", None)).await.unwrap();
        assert_eq!(session.user_id, "@alice:example.org");
    }
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_look_the_same() {
    let house = House::new(Open);
    house.user("alice").await;
    let mut answers = Vec::new();
    for name in ["alice", "nobody", "@alice:example.com", "", "@", "al ice"] {
        answers.push(house.auth.login(login(name, "wrong", None)).await);
    }
    let mut other = login("alice", "secret", None);
    other.identifier = Identifier::Other;
    answers.push(house.auth.login(other).await);
    for answer in answers {
        assert!(matches!(answer, Err(LoginError::Forbidden)));
    }
}

#[tokio::test]
async fn a_device_that_logs_in_again_drops_its_old_token() {
    let house = House::new(Open);
    house.user("alice").await;
    let first = house
        .auth
        .login(login("alice", "secret", Some("PHONE")))
        .await
        .unwrap();
    let other = house
        .auth
        .login(login("alice", "secret", Some("LAPTOP")))
        .await
        .unwrap();
    // Remembered, and still dropped.
    let requester = house.auth.requester(&first.access_token).await.unwrap();
    let again = house
        .auth
        .login(login("alice", "secret", Some("PHONE")))
        .await
        .unwrap();
    let old = house.auth.requester(&first.access_token).await;
    assert!(matches!(old, Err(TokenError::Unknown)));
    house.auth.requester(&again.access_token).await.unwrap();
    house.auth.requester(&other.access_token).await.unwrap();
    // The devices: of the registration, the phone and the laptop.
    assert_eq!(house.auth.devices(&requester).unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_100_logins_at_once_with_one_device_one_token_is_left() {
    let house = House::new(Open);
    house.user("alice").await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let auth = house.auth.clone();
            tokio::spawn(async move { auth.login(login("alice", "secret", Some("PHONE"))).await })
        })
        .collect();
    let mut left = 0;
    let mut sessions = Vec::new();
    for task in tasks {
        sessions.push(task.await.unwrap().unwrap());
    }
    for session in sessions {
        left += u32::from(house.auth.requester(&session.access_token).await.is_ok());
    }
    assert_eq!(left, 1);
}

#[tokio::test]
async fn bad_device_descriptions_are_refused() {
    let house = House::new(Open);
    house.user("alice").await;
    let long = "a".repeat(256);
    for device_id in ["", long.as_str()] {
        let refused = house
            .auth
            .login(login("alice", "secret", Some(device_id)))
            .await;
        assert!(matches!(refused, Err(LoginError::Device(_))));
    }
    let mut request = login("alice", "secret", None);
    request.device.initial_device_display_name = Some("é".repeat(101));
    let refused = house.auth.login(request).await;
    assert!(matches!(refused, Err(LoginError::Device(_))));
}

#[tokio::test]
async fn closed_and_locked_accounts_stay_out() {
    let house = House::new(Open);
    let alice = house.user("alice").await;
    change_account(&house, &alice, |account| account.locked = true).await;
    let locked = house.auth.login(login("alice", "secret", None)).await;
    assert!(matches!(locked, Err(LoginError::Locked)));
    // The state of the account is for those who know the password.
    let wrong = house.auth.login(login("alice", "wrong", None)).await;
    assert!(matches!(wrong, Err(LoginError::Forbidden)));
    let token = house.auth.requester(&alice.access_token).await;
    assert!(matches!(token, Err(TokenError::Locked)));
    let bob = house.user("bob").await;
    change_account(&house, &bob, |account| account.deactivated = true).await;
    let deactivated = house.auth.login(login("bob", "secret", None)).await;
    assert!(matches!(deactivated, Err(LoginError::Deactivated)));
    let token = house.auth.requester(&bob.access_token).await;
    assert!(matches!(token, Err(TokenError::Unknown)));
}

#[tokio::test]
async fn neither_passwords_nor_tokens_are_on_disk() {
    let house = House::new(Open);
    let session = house.user("alice").await;
    let token = session.access_token.as_bytes();
    for family in storage::table::Family::ALL {
        let range = storage::Range {
            family,
            start: vec![0],
            end: vec![0xff],
        };
        let rows = house
            .store
            .read(|view| storage::View::scan(view, &range, storage::Order::Forward, usize::MAX))
            .unwrap();
        for (key, value) in rows {
            for bytes in [key, value] {
                assert!(!bytes.windows(token.len()).any(|window| window == token));
                assert!(!bytes.windows(6).any(|window| window == b"secret"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_login_token_is_good_for_one_of_100_logins() {
    let house = House::new(Open);
    let session = house.user("alice").await;
    let token = &session.access_token;
    let alice = house.auth.requester(token).await.unwrap();
    let token = house.auth.login_token(&alice).await.unwrap();
    assert_eq!(token.expires_in_ms, 120_000);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (auth, token) = (house.auth.clone(), token.login_token.clone());
            tokio::spawn(async move {
                auth.login_with_token(&token, NewDevice::default(), None)
                    .await
            })
        })
        .collect();
    let mut let_in = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(session) => let_in.push(session),
            Err(error) => assert!(matches!(error, LoginError::Forbidden)),
        }
    }
    assert_eq!(let_in.len(), 1);
    assert_eq!(let_in[0].user_id, alice.user_id);
}

#[tokio::test]
async fn a_login_token_ends_after_two_minutes() {
    let house = House::new(Open);
    let session = house.user("alice").await;
    let token = &session.access_token;
    let alice = house.auth.requester(token).await.unwrap();
    let late = house.auth.login_token(&alice).await.unwrap();
    house.clock.advance_ms(120_000);
    for token in [late.login_token.as_str(), "hlt_x", ""] {
        let refused = house
            .auth
            .login_with_token(token, NewDevice::default(), None)
            .await;
        assert!(matches!(refused, Err(LoginError::Forbidden)));
    }
    // It does not authenticate either.
    let refused = house.auth.requester(&late.login_token).await;
    assert!(matches!(refused, Err(TokenError::Unknown)));
}
