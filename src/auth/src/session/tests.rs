//! How sessions end.

use config::RegistrationMode::Open;
use storage::Change;

use crate::{
    Requester, TokenError,
    testing::{House, login},
};

async fn session(house: &House, device_id: &str) -> (String, Requester) {
    let request = login("alice", "secret", Some(device_id));
    let session = house.auth.login(request).await.unwrap();
    let requester = house.auth.requester(&session.access_token).await.unwrap();
    (session.access_token, requester)
}

async fn is_out(house: &House, token: &str) -> bool {
    matches!(house.auth.requester(token).await, Err(TokenError::Unknown))
}

#[tokio::test]
async fn logout_ends_one_session_with_its_device() {
    let house = House::new(Open);
    house.user("alice").await;
    let (phone_token, phone) = session(&house, "PHONE").await;
    let (laptop_token, laptop) = session(&house, "LAPTOP").await;
    house.auth.logout(&phone).await.unwrap();
    assert!(is_out(&house, &phone_token).await);
    assert!(!is_out(&house, &laptop_token).await);
    assert!(
        house
            .auth
            .device(&laptop, "PHONE".into())
            .unwrap()
            .is_none()
    );
    // Again does nothing.
    house.auth.logout(&phone).await.unwrap();
}

#[tokio::test]
async fn logout_of_all_ends_all_sessions_of_one_user() {
    let house = House::new(Open);
    let alice = house.user("alice").await;
    let bob = house.user("bob").await;
    let (phone_token, phone) = session(&house, "PHONE").await;
    house.auth.logout_all(&phone).await.unwrap();
    assert!(is_out(&house, &phone_token).await);
    assert!(is_out(&house, &alice.access_token).await);
    assert!(!is_out(&house, &bob.access_token).await);
    assert!(house.auth.devices(&phone).unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_a_session_is_a_log_record() {
    let house = House::new(Open);
    house.user("alice").await;
    let (_, phone) = session(&house, "PHONE").await;
    house.auth.logout(&phone).await.unwrap();
    let row = house
        .store
        .read(|view| {
            let range = storage::table::LOG.key().prefix_range();
            storage::View::first(view, &range, storage::Order::Reverse)
        })
        .unwrap()
        .unwrap();
    let changes: Vec<Change> = storage::decode(storage::table::LOG, &row.1).unwrap();
    let user = phone.user.0;
    assert!(changes.contains(&Change::Session { user }));
    assert!(changes.contains(&Change::DeviceList { user }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn no_session_survives_a_logout_of_all_that_came_after_it() {
    let house = House::new(Open);
    house.user("alice").await;
    for round in 0..20 {
        let (token, requester) = session(&house, "PHONE").await;
        // Readers that look the token up while it ends.
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let (auth, token) = (house.auth.clone(), token.clone());
                tokio::spawn(async move { while auth.requester(&token).await.is_ok() {} })
            })
            .collect();
        house.auth.logout_all(&requester).await.unwrap();
        assert!(is_out(&house, &token).await, "round {round}");
        for reader in readers {
            reader.await.unwrap();
        }
    }
}
