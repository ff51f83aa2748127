//! Devices as their owner sees them.

use config::RegistrationMode::Open;
use ruma_common::device_id;

use crate::{
    DeviceError, Requester,
    testing::{House, login},
};

async fn phone(house: &House) -> Requester {
    house.user("alice").await;
    let request = login("alice", "secret", Some("PHONE"));
    let session = house.auth.login(request).await.unwrap();
    house.auth.requester(&session.access_token).await.unwrap()
}

#[tokio::test]
async fn a_device_is_renamed_by_its_owner() {
    let house = House::new(Open);
    let alice = phone(&house).await;
    let phone = device_id!("PHONE");
    let name = |requester: &Requester| house.auth.device(requester, phone).unwrap();
    house.auth.rename_device(&alice, phone, None).await.unwrap();
    assert_eq!(
        name(&alice).unwrap().display_name.as_deref(),
        Some("A device")
    );
    house
        .auth
        .rename_device(&alice, phone, Some("Mine"))
        .await
        .unwrap();
    assert_eq!(name(&alice).unwrap().display_name.as_deref(), Some("Mine"));
    let long = "a".repeat(101);
    let refused = house.auth.rename_device(&alice, phone, Some(&long)).await;
    assert!(matches!(refused, Err(DeviceError::Invalid(_))));
    let unknown = device_id!("UNKNOWN");
    let refused = house.auth.rename_device(&alice, unknown, Some("x")).await;
    assert!(matches!(refused, Err(DeviceError::NotFound)));
    let bob = house.user("bob").await;
    let bob = house.auth.requester(&bob.access_token).await.unwrap();
    assert!(name(&bob).is_none());
    let refused = house.auth.rename_device(&bob, phone, Some("x")).await;
    assert!(matches!(refused, Err(DeviceError::NotFound)));
    // Nor does a deletion reach devices of others.
    house
        .auth
        .delete_devices(&bob, &[phone.to_owned()])
        .await
        .unwrap();
    assert!(name(&alice).is_some());
    house
        .auth
        .delete_devices(&alice, &[phone.to_owned(), unknown.to_owned()])
        .await
        .unwrap();
    assert!(name(&alice).is_none());
}

#[tokio::test]
async fn last_seen_is_shown_at_once_and_written_later() {
    let house = House::new(Open);
    let alice = phone(&house).await;
    let position = house.store.snapshot().position();
    house.clock.advance_ms(5);
    house.auth.seen(&alice, "192.0.2.1".parse().unwrap());
    let seen = || {
        house
            .auth
            .device(&alice, device_id!("PHONE"))
            .unwrap()
            .unwrap()
    };
    assert_eq!(seen().last_seen_ts, Some(1_000_005));
    assert_eq!(seen().last_seen_ip.as_deref(), Some("192.0.2.1"));
    let restarted = house.restarted(Open);
    let unwritten = restarted.device(&alice, device_id!("PHONE")).unwrap();
    assert_eq!(unwritten.unwrap().last_seen_ts, None);
    house.auth.write_last_seen().await.unwrap();
    let written = restarted.devices(&alice).unwrap();
    let written = written.iter().find(|device| device.device_id == "PHONE");
    assert_eq!(written.unwrap().last_seen_ts, Some(1_000_005));
    // Followers have nothing to do with it.
    assert_eq!(house.store.snapshot().position(), position);
}
