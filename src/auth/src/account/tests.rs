//! Changing and closing accounts.

use config::RegistrationMode::Open;
use ruma_common::user_id;

use crate::{
    AccountChange, AccountError, Erasure, LoginError, OtherDevices, RegisterError, Requester,
    Session, TokenError,
    testing::{House, login, register},
};

async fn requester(house: &House, session: &Session) -> Requester {
    let token = &session.access_token;
    house.auth.requester(token).await.unwrap()
}

async fn token_of(house: &House, device_id: &str) -> String {
    let request = login("alice", "secret", Some(device_id));
    house.auth.login(request).await.unwrap().access_token
}

#[tokio::test]
async fn a_new_password_replaces_the_old_and_ends_other_sessions() {
    let house = House::new(Open);
    let session = house.user("alice").await;
    let alice = requester(&house, &session).await;
    let phone = token_of(&house, "PHONE").await;
    house.auth.requester(&phone).await.unwrap();
    house
        .auth
        .change_password(&alice, "new", OtherDevices::LogOut)
        .await
        .unwrap();
    let other = house.auth.requester(&phone).await;
    assert!(matches!(other, Err(TokenError::Unknown)));
    requester(&house, &session).await;
    let old = house.auth.login(login("alice", "secret", None)).await;
    assert!(matches!(old, Err(LoginError::Forbidden)));
    house.auth.login(login("alice", "new", None)).await.unwrap();
    let weak = house
        .auth
        .change_password(&alice, "", OtherDevices::Keep)
        .await;
    assert!(matches!(weak, Err(AccountError::WeakPassword(_))));
}

#[tokio::test]
async fn other_sessions_can_be_kept() {
    let house = House::new(Open);
    let session = house.user("alice").await;
    let alice = requester(&house, &session).await;
    let phone = token_of(&house, "PHONE").await;
    house
        .auth
        .change_password(&alice, "new", OtherDevices::Keep)
        .await
        .unwrap();
    house.auth.requester(&phone).await.unwrap();
}

#[tokio::test]
async fn an_administrator_resets_a_password() {
    let house = House::new(Open);
    let session = house.user("alice").await;
    let reset = |user_id, others| house.auth.reset_password(user_id, "new", others);
    reset(user_id!("@alice:example.org"), OtherDevices::LogOut)
        .await
        .unwrap();
    let ended = house.auth.requester(&session.access_token).await;
    assert!(matches!(ended, Err(TokenError::Unknown)));
    house.auth.login(login("alice", "new", None)).await.unwrap();
    let unknown = reset(user_id!("@nobody:example.org"), OtherDevices::Keep).await;
    assert!(matches!(unknown, Err(AccountError::NotFound)));
}

#[tokio::test]
async fn changes_are_seen_at_once_by_sessions_that_are_known() {
    let house = House::new(Open);
    let session = house.user("alice").await;
    let alice = user_id!("@alice:example.org");
    assert!(!requester(&house, &session).await.is_admin);
    let change = |change| house.auth.change_account(alice, change);
    change(AccountChange::Admin(true)).await.unwrap();
    change(AccountChange::Suspended(true)).await.unwrap();
    let now = requester(&house, &session).await;
    assert!(now.is_admin && now.is_suspended);
    let account = house.auth.account(alice).unwrap().unwrap();
    assert!(account.admin && account.suspended && account.password_hash.is_none());
    change(AccountChange::Locked(true)).await.unwrap();
    let token = &session.access_token;
    let locked = house.auth.requester(token).await;
    assert!(matches!(locked, Err(TokenError::Locked)));
    let leaving = house.auth.requester_to_log_out(token).await.unwrap();
    house.auth.logout(&leaving).await.unwrap();
    let gone = house.auth.requester_to_log_out(token).await;
    assert!(matches!(gone, Err(TokenError::Unknown)));
}

#[tokio::test]
async fn a_closed_account_is_gone_but_for_its_name() {
    let house = House::new(Open);
    let session = house.user("alice").await;
    let alice = user_id!("@alice:example.org");
    let number = requester(&house, &session).await.user;
    let content = serde_json::value::to_raw_value(&serde_json::json!({})).unwrap();
    let commit = house.store.write::<_, storage::Error>(|txn| {
        storage::account_data::put(txn, number, None, "m.direct", &content)
    });
    commit.unwrap().durable().await;
    house.auth.deactivate(alice, Erasure::Erase).await.unwrap();
    let ended = house.auth.requester(&session.access_token).await;
    assert!(matches!(ended, Err(TokenError::Unknown)));
    let closed = house.auth.login(login("alice", "secret", None)).await;
    assert!(matches!(closed, Err(LoginError::Deactivated)));
    let body = serde_json::json!({ "auth": { "type": "m.login.dummy" } });
    let taken = register(&house.auth, "alice", body).await;
    assert!(matches!(taken, Err(RegisterError::UserInUse)));
    house.store.read(|view| {
        assert!(storage::profile::fields(view, number).unwrap().is_empty());
        assert!(storage::device::list(view, number).unwrap().is_empty());
        assert!(
            storage::account_data::list(view, number, None)
                .unwrap()
                .is_empty()
        );
        let account = storage::user::account(view, number).unwrap().unwrap();
        assert!(account.deactivated && account.password_hash.is_none());
        assert!(storage::user::is_erased(view, number).unwrap());
    });
    let change = house
        .auth
        .change_account(alice, AccountChange::Admin(true))
        .await;
    assert!(matches!(change, Err(AccountError::Deactivated)));
    let reset = house
        .auth
        .reset_password(alice, "new", OtherDevices::Keep)
        .await;
    assert!(matches!(reset, Err(AccountError::Deactivated)));
    // Again does nothing.
    house.auth.deactivate(alice, Erasure::Keep).await.unwrap();
    let erased = house
        .store
        .read(|view| storage::user::is_erased(view, number));
    assert!(erased.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn no_login_slips_into_an_account_that_closes() {
    let house = House::new(Open);
    house.user("alice").await;
    let logins: Vec<_> = (0..50)
        .map(|_| {
            let auth = house.auth.clone();
            tokio::spawn(async move {
                let session = auth.login(login("alice", "secret", None)).await.ok()?;
                let token = session.access_token;
                let _ = auth.requester(&token).await;
                Some(token)
            })
        })
        .collect();
    house
        .auth
        .deactivate(user_id!("@alice:example.org"), Erasure::Keep)
        .await
        .unwrap();
    for login in logins {
        if let Some(token) = login.await.unwrap() {
            let ended = house.auth.requester(&token).await;
            assert!(matches!(ended, Err(TokenError::Unknown)));
        }
    }
}
