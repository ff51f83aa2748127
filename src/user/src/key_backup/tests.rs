//! Versions, the better copy of a key, and who writes at the same time.

use ruma_common::room_id;
use serde_json::{Value, json, value::to_raw_value};

use super::{
    KeyBackupError, KeyBackupMetadata, KeyBackupState, KeyScope, MAX_BACKUP_JSON_BYTES, RoomKeys,
};
use crate::testing::House;

fn metadata(algorithm: &str) -> KeyBackupMetadata {
    KeyBackupMetadata {
        algorithm: algorithm.to_owned(),
        auth_data: to_raw_value(&json!({ "public_key": algorithm })).unwrap(),
        version: None,
    }
}

fn key(is_verified: bool, first_message_index: u32, forwarded_count: u32) -> Value {
    json!({
        "is_verified": is_verified,
        "first_message_index": first_message_index,
        "forwarded_count": forwarded_count,
        "session_data": { "ciphertext": format!("{is_verified} {first_message_index} {forwarded_count}") },
    })
}

fn keys(keys: &Value) -> RoomKeys {
    serde_json::from_str(&keys.to_string()).unwrap()
}

fn shown(keys: &RoomKeys) -> Value {
    serde_json::to_value(keys).unwrap()
}

async fn create(house: &House) -> String {
    let metadata = metadata("m.test");
    let created = house.users.create_key_backup(house.alice, &metadata);
    created.await.unwrap()
}

async fn put(house: &House, version: &str, new: &Value) -> Result<KeyBackupState, KeyBackupError> {
    let users = &house.users;
    users
        .put_backup_keys(house.alice, version, &keys(new))
        .await
}

#[tokio::test]
async fn versions_are_counted_and_never_given_twice() {
    let house = House::new().await;
    let (users, alice) = (&house.users, house.alice);
    assert!(matches!(
        users.key_backup(alice, None),
        Err(KeyBackupError::NotFound)
    ));
    assert_eq!(create(&house).await, "1");
    assert_eq!(create(&house).await, "2");
    let current = users.key_backup(alice, None).unwrap();
    assert_eq!(
        (&*current.version, current.count, &*current.etag),
        ("2", 0, "0")
    );
    assert_eq!(current.auth_data.get(), r#"{"public_key":"m.test"}"#);
    assert_eq!(users.key_backup(alice, Some("1")).unwrap().version, "1");
    for _ in 0..2 {
        users.delete_key_backup(alice, "2").await.unwrap();
    }
    assert_eq!(users.key_backup(alice, None).unwrap().version, "1");
    for unknown in ["0", "3", "01", "+1", "-1", "", "x", "99999999999999999999"] {
        let found = users.key_backup(alice, Some(unknown));
        assert!(matches!(found, Err(KeyBackupError::NotFound)), "{unknown}");
        let deleted = users.delete_key_backup(alice, unknown).await;
        assert!(
            matches!(deleted, Err(KeyBackupError::NotFound)),
            "{unknown}"
        );
    }
    users.delete_key_backup(alice, "1").await.unwrap();
    assert_eq!(create(&house).await, "3");
}

#[tokio::test]
async fn only_auth_data_changes() {
    let house = House::new().await;
    let (users, alice) = (&house.users, house.alice);
    let version = create(&house).await;
    let mut update = metadata("m.test");
    update.auth_data = to_raw_value(&json!({ "other": 1 })).unwrap();
    update.version = Some(version.clone());
    users
        .update_key_backup(alice, &version, &update)
        .await
        .unwrap();
    let shown = users.key_backup(alice, None).unwrap();
    assert_eq!(shown.auth_data.get(), r#"{"other":1}"#);
    update.version = Some("2".to_owned());
    let other = metadata("m.other");
    for update in [&update, &other] {
        let refused = users.update_key_backup(alice, &version, update).await;
        assert!(matches!(refused, Err(KeyBackupError::InvalidParam(_))));
    }
    update.version = None;
    let unknown = users.update_key_backup(alice, "9", &update).await;
    assert!(matches!(unknown, Err(KeyBackupError::NotFound)));
}

#[tokio::test]
async fn the_better_copy_of_a_key_stays() {
    let house = House::new().await;
    let version = create(&house).await;
    let cases = [
        ((false, 10, 5), (true, 11, 6), true),
        ((false, 10, 5), (false, 9, 6), true),
        ((false, 10, 5), (false, 10, 4), true),
        ((false, 10, 5), (false, 10, 5), false),
        ((false, 10, 5), (false, 11, 4), false),
        ((false, 10, 5), (false, 10, 6), false),
        ((true, 10, 5), (false, 9, 4), false),
        ((true, 10, 5), (true, 9, 6), true),
    ];
    for (number, (old, new, replaced)) in (0..).zip(cases) {
        let session = number.to_string();
        let (old, new) = (key(old.0, old.1, old.2), key(new.0, new.1, new.2));
        let put = async |key: &Value| {
            let keys = json!({ "!a:example.org": { &session: key } });
            put(&house, &version, &keys).await.unwrap()
        };
        let before = put(&old).await;
        assert_eq!(before.count, number + 1);
        let after = put(&new).await;
        assert_eq!(after.count, number + 1);
        assert_eq!(after.etag != before.etag, replaced, "{number}");
        let id = (room_id!("!a:example.org"), session.as_str());
        let stored = house.users.backup_key(house.alice, &version, id).unwrap();
        let stored: Value = serde_json::from_str(stored.get()).unwrap();
        assert_eq!(&stored, if replaced { &new } else { &old }, "{number}");
    }
}

#[tokio::test]
async fn keys_are_read_and_deleted_by_room_and_session() {
    let house = House::new().await;
    let (users, alice) = (&house.users, house.alice);
    let version = create(&house).await;
    let all = json!({
        "!a:example.org": { "1": key(true, 0, 0), "2": key(true, 0, 0) },
        "!b:example.org": { "1": key(true, 0, 0) },
        "!b:example.or": { "2": key(true, 0, 0) },
    });
    assert_eq!(put(&house, &version, &all).await.unwrap().count, 4);
    let read = users.backup_keys(alice, &version, None).await.unwrap();
    assert_eq!(shown(&read), all);
    let room_b = room_id!("!b:example.org");
    let read = users
        .backup_keys(alice, &version, Some(room_b))
        .await
        .unwrap();
    assert_eq!(
        shown(&read),
        json!({ "!b:example.org": { "1": key(true, 0, 0) } })
    );
    let delete = async |scope| {
        users
            .delete_backup_keys(alice, &version, scope)
            .await
            .unwrap()
    };
    let room_a = room_id!("!a:example.org");
    let one = delete(KeyScope::Session(room_a, "1")).await;
    assert_eq!((one.count, &*one.etag), (3, "2"));
    assert_eq!(delete(KeyScope::Session(room_a, "1")).await, one);
    let gone = users.backup_key(alice, &version, (room_a, "1"));
    assert!(matches!(gone, Err(KeyBackupError::KeyNotFound)));
    assert_eq!(delete(KeyScope::Room(room_b)).await.count, 2);
    assert_eq!(delete(KeyScope::All).await.count, 0);
    assert!(
        users
            .backup_keys(alice, &version, None)
            .await
            .unwrap()
            .is_empty()
    );
    let unknown = users.backup_keys(alice, "7", None).await;
    assert!(matches!(unknown, Err(KeyBackupError::NotFound)));
}

#[tokio::test]
async fn only_the_current_version_takes_keys() {
    let house = House::new().await;
    let new = json!({ "!a:example.org": { "1": key(true, 0, 0) } });
    let none = put(&house, "1", &new).await;
    assert!(matches!(none, Err(KeyBackupError::NotFound)));
    let first = create(&house).await;
    put(&house, &first, &new).await.unwrap();
    create(&house).await;
    for wrong in [&*first, "3", "x"] {
        let refused = put(&house, wrong, &new).await;
        let Err(KeyBackupError::WrongVersion { current_version }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(current_version, "2");
    }
    // What is in an older one can still be read, and goes with it.
    let read = house.users.backup_keys(house.alice, &first, None).await;
    assert_eq!(shown(&read.unwrap()), new);
    house
        .users
        .delete_key_backup(house.alice, &first)
        .await
        .unwrap();
    let gone = house.users.backup_keys(house.alice, &first, None).await;
    assert!(matches!(gone, Err(KeyBackupError::NotFound)));
}

#[tokio::test]
async fn bad_keys_are_refused_with_all_that_came_with_them() {
    let house = House::new().await;
    let version = create(&house).await;
    let mut bad = vec![json!({}), json!([]), json!(null)];
    for (field, value) in [
        ("first_message_index", json!(-1)),
        ("first_message_index", json!(1.5)),
        ("forwarded_count", json!("1")),
        ("is_verified", json!(1)),
        ("session_data", json!("x")),
        ("session_data", json!(null)),
    ] {
        let mut key = key(true, 0, 0);
        key[field] = value;
        bad.push(key);
    }
    for bad in bad {
        let new = json!({ "!a:example.org": { "1": key(true, 0, 0), "2": bad } });
        let refused = put(&house, &version, &new).await;
        assert!(matches!(refused, Err(KeyBackupError::BadJson(_))), "{bad}");
    }
    let mut large = key(true, 0, 0);
    large["session_data"] = json!({ "a": "b".repeat(MAX_BACKUP_JSON_BYTES) });
    let long = "s".repeat(256);
    for (session, key) in [("2", large), (&long, key(true, 0, 0))] {
        let new = json!({ "!a:example.org": { session: key } });
        let refused = put(&house, &version, &new).await;
        assert!(matches!(refused, Err(KeyBackupError::TooLarge)));
    }
    assert_eq!(house.users.key_backup(house.alice, None).unwrap().count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_devices_at_once_are_counted_exactly() {
    let house = House::new().await;
    let version = create(&house).await;
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let (users, alice, version) = (house.users.clone(), house.alice, version.clone());
            tokio::spawn(async move {
                // Each key is offered by two of them, at different indices.
                let sessions: serde_json::Map<_, _> = (0..10)
                    .map(|k| (format!("{}", n / 2 * 10 + k), key(false, n % 2, 0)))
                    .collect();
                let new = keys(&json!({ "!a:example.org": sessions }));
                users.put_backup_keys(alice, &version, &new).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(
        house.users.key_backup(house.alice, None).unwrap().count,
        200
    );
    let read = house.users.backup_keys(house.alice, &version, None).await;
    let read = shown(&read.unwrap());
    let sessions = read["!a:example.org"].as_object().unwrap();
    assert_eq!(sessions.len(), 200);
    assert!(sessions.values().all(|key| key["first_message_index"] == 0));
}
