//! Registration with a shared secret: nonces, the proof, and what it gives.

use aws_lc_rs::hmac;
use config::RegistrationMode::Open;

use super::{CAPACITY, LIFETIME_MS, Nonces, from_hex, mac_is_right};
use crate::{
    RegisterError, SharedSecretError, SharedSecretRegistration,
    testing::{House, login},
};

/// A request as a tool makes it that knows `secret`.
fn request(secret: &str, nonce: String, username: &str, admin: bool) -> SharedSecretRegistration {
    let flag = if admin { "admin" } else { "notadmin" };
    let text = format!("{nonce}\0{username}\0secret\0{flag}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let mac = hmac::sign(&key, text.as_bytes());
    SharedSecretRegistration {
        nonce,
        username: username.to_owned(),
        password: "secret".to_owned(),
        admin,
        user_type: None,
        displayname: None,
        mac: mac
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }
}

#[tokio::test]
async fn a_tool_that_knows_the_secret_registers_users_and_administrators() {
    let house = House::with_shared_secret();
    let auth = &house.auth;
    for (username, admin) in [("Root", true), ("user", false)] {
        let nonce = auth.shared_secret_nonce().unwrap();
        let request = request("hunter2", nonce, username, admin);
        let registered = auth
            .register_with_shared_secret(request.clone())
            .await
            .unwrap();
        let token = registered.session.unwrap().access_token;
        let requester = auth.requester(&token).await.unwrap();
        assert_eq!(requester.is_admin, admin);
        assert_eq!(requester.user_id.localpart(), username.to_lowercase());
        auth.login(login(username, "secret", None)).await.unwrap();
        let replayed = auth.register_with_shared_secret(request).await;
        assert!(matches!(replayed, Err(SharedSecretError::UnknownNonce)));
    }
    let nonce = auth.shared_secret_nonce().unwrap();
    let taken = auth
        .register_with_shared_secret(request("hunter2", nonce, "root", true))
        .await;
    assert!(matches!(
        taken,
        Err(SharedSecretError::Register(RegisterError::UserInUse))
    ));
}

#[tokio::test]
async fn without_the_secret_nobody_registers() {
    let house = House::with_shared_secret();
    let nonce = house.auth.shared_secret_nonce().unwrap();
    let wrong = request("hunter3", nonce.clone(), "eve", true);
    let refused = house.auth.register_with_shared_secret(wrong).await;
    assert!(matches!(refused, Err(SharedSecretError::WrongMac)));
    // The attempt has used the nonce up.
    let late = request("hunter2", nonce, "eve", true);
    let refused = house.auth.register_with_shared_secret(late).await;
    assert!(matches!(refused, Err(SharedSecretError::UnknownNonce)));
    let without = House::new(Open);
    let refused = without.auth.shared_secret_nonce();
    assert!(matches!(refused, Err(SharedSecretError::Disabled)));
}

#[test]
fn a_nonce_is_good_once_for_a_minute() {
    let mut nonces = Nonces::default();
    for nonce in ["a", "b"] {
        nonces.give(nonce.to_owned(), 0);
    }
    assert!(nonces.take("a", LIFETIME_MS - 1));
    assert!(!nonces.take("a", 0));
    assert!(!nonces.take("b", LIFETIME_MS));
    assert!(!nonces.take("c", 0));
    for n in 0..2 * CAPACITY {
        nonces.give(n.to_string(), 0);
    }
    assert_eq!(nonces.unused.len(), CAPACITY);
}

#[test]
fn the_mac_covers_every_part() {
    let mut request = SharedSecretRegistration {
        nonce: "thisisanonce".to_owned(),
        username: "pepper_roni".to_owned(),
        password: "pizza".to_owned(),
        admin: true,
        user_type: None,
        displayname: None,
        mac: String::new(),
    };
    // printf 'thisisanonce\0pepper_roni\0pizza\0admin' | openssl sha1 -hmac shared_secret
    request.mac = "48715842ad67d5dc9a9ee938a3bda4fcfae8d7c7".to_owned();
    assert!(mac_is_right("shared_secret", &request));
    assert!(!mac_is_right("other_secret", &request));
    request.admin = false;
    assert!(!mac_is_right("shared_secret", &request));
    request.admin = true;
    request.user_type = Some("bot".to_owned());
    assert!(!mac_is_right("shared_secret", &request));
}

#[test]
fn hexadecimal_digits_come_in_pairs() {
    assert_eq!(from_hex("00fFa1"), Some(vec![0, 255, 161]));
    assert_eq!(from_hex("0"), None);
    assert_eq!(from_hex("0g"), None);
    assert_eq!(from_hex("é"), None);
}
