//! Refreshing: answers may be lost, and nothing old outlives the use of what is new.

use config::RegistrationMode::Open;

use crate::{
    AccountChange, TokenError, Tokens,
    testing::{House, login},
};

const LIFETIME_MS: u64 = 5 * 60 * 1_000;

async fn refreshable(house: &House) -> Tokens {
    house.user("alice").await;
    let mut request = login("alice", "secret", Some("PHONE"));
    request.device.refresh_token = true;
    let session = house.auth.login(request).await.unwrap();
    Tokens {
        access_token: session.access_token,
        refresh_token: session.refresh_token,
        expires_in_ms: session.expires_in_ms,
    }
}

fn refresh_token(tokens: &Tokens) -> &str {
    tokens.refresh_token.as_deref().unwrap()
}

async fn works(house: &House, tokens: &Tokens) -> bool {
    house.auth.requester(&tokens.access_token).await.is_ok()
}

#[tokio::test]
async fn an_expired_token_logs_out_softly_and_is_refreshed() {
    let house = House::new(Open);
    let first = refreshable(&house).await;
    assert_eq!(first.expires_in_ms, Some(LIFETIME_MS));
    assert!(works(&house, &first).await);
    house.clock.advance_ms(LIFETIME_MS);
    let expired = house.auth.requester(&first.access_token).await;
    assert!(matches!(expired, Err(TokenError::Expired)));
    let second = house.auth.refresh(refresh_token(&first)).await.unwrap();
    let requester = house.auth.requester(&second.access_token).await.unwrap();
    assert_eq!(requester.device_id.as_deref(), Some("PHONE".into()));
    // Its first use has ended the first pair.
    let old = house.auth.requester(&first.access_token).await;
    assert!(matches!(old, Err(TokenError::Unknown)));
    let old = house.auth.refresh(refresh_token(&first)).await;
    assert!(matches!(old, Err(TokenError::Unknown)));
    assert!(works(&house, &second).await);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let house = House::new(Open);
    let first = refreshable(&house).await;
    let lost = house.auth.refresh(refresh_token(&first)).await.unwrap();
    assert!(works(&house, &first).await);
    let second = house.auth.refresh(refresh_token(&first)).await.unwrap();
    // Using the refresh token of a pair is using the pair.
    let third = house.auth.refresh(refresh_token(&second)).await.unwrap();
    for ended in [&lost, &first] {
        assert!(!works(&house, ended).await);
        assert!(house.auth.refresh(refresh_token(ended)).await.is_err());
    }
    assert!(works(&house, &second).await);
    assert!(works(&house, &third).await);
    assert!(!works(&house, &second).await);
}

#[tokio::test]
async fn refreshing_without_end_keeps_a_bounded_number_of_tokens() {
    let house = House::new(Open);
    let first = refreshable(&house).await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(house.auth.refresh(refresh_token(&first)).await.unwrap());
    }
    assert!(works(&house, &first).await);
    let requester = house.auth.requester(&first.access_token).await.unwrap();
    let device = house
        .store
        .read(|view| storage::device::get(view, requester.user, "PHONE".into()))
        .unwrap();
    assert_eq!(device.unwrap().tokens.len(), 16);
    assert!(!works(&house, &answers[0]).await);
    assert!(works(&house, &answers[49]).await);
    assert!(!works(&house, &first).await);
}

#[tokio::test]
async fn refresh_tokens_authenticate_nothing_and_access_tokens_refresh_nothing() {
    let house = House::new(Open);
    let tokens = refreshable(&house).await;
    let refused = house.auth.requester(refresh_token(&tokens)).await;
    assert!(matches!(refused, Err(TokenError::Unknown)));
    for token in [tokens.access_token.as_str(), "", "hrt_x"] {
        let refused = house.auth.refresh(token).await;
        assert!(matches!(refused, Err(TokenError::Unknown)));
    }
}

#[tokio::test]
async fn locked_accounts_and_deleted_devices_do_not_refresh() {
    let house = House::new(Open);
    let tokens = refreshable(&house).await;
    let requester = house.auth.requester(&tokens.access_token).await.unwrap();
    let lock = |locked| {
        let user_id = &requester.user_id;
        house
            .auth
            .change_account(user_id, AccountChange::Locked(locked))
    };
    lock(true).await.unwrap();
    let refused = house.auth.refresh(refresh_token(&tokens)).await;
    assert!(matches!(refused, Err(TokenError::Locked)));
    lock(false).await.unwrap();
    house.auth.refresh(refresh_token(&tokens)).await.unwrap();
    house.auth.logout(&requester).await.unwrap();
    let refused = house.auth.refresh(refresh_token(&tokens)).await;
    assert!(matches!(refused, Err(TokenError::Unknown)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn first_uses_at_the_same_moment_leave_one_pair() {
    let house = House::new(Open);
    let first = refreshable(&house).await;
    let mut pairs = Vec::new();
    for _ in 0..5 {
        pairs.push(house.auth.refresh(refresh_token(&first)).await.unwrap());
    }
    let uses: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let (auth, token) = (house.auth.clone(), pair.access_token.clone());
            tokio::spawn(async move { auth.requester(&token).await.is_ok() })
        })
        .collect();
    for used in uses {
        used.await.unwrap();
    }
    let mut left = 0;
    for pair in &pairs {
        left += u32::from(works(&house, pair).await);
    }
    assert_eq!(left, 1);
}
