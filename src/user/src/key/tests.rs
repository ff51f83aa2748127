//! Keys of devices: what is taken, what is refused, what is shown. And keys that sign, for the tests of cross-signing.

use std::collections::BTreeMap;

use event::{
    json,
    signature::{SigningKey, insert_of},
};
use ruma_common::{DeviceId, OwnedDeviceId, UserId, device_id, user_id};
use serde_json::{Value, json, value::RawValue};
use storage::{device::Device, user::UserNumber};

use super::{KeyError, KeyOwner, KeyUpload, MAX_ONE_TIME_KEY_BYTES};
use crate::testing::House;

/// An Ed25519 key, and what it signs.
pub(crate) struct Signer(SigningKey);

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_seed([seed; 32], "1").unwrap())
    }

    pub(crate) fn public(&self) -> String {
        self.0.public_key_base64()
    }

    /// The object with this key's signature beside those that it has.
    pub(crate) fn sign(&self, object: &Value, user_id: &UserId, key_name: &str) -> Value {
        let mut object = json::parse_object(&object.to_string()).unwrap();
        let mut signed = object.clone();
        signed.remove("signatures");
        signed.remove("unsigned");
        let signature = self.0.sign_base64(json::to_string(&signed).as_bytes());
        let key_id = format!("ed25519:{key_name}");
        insert_of(&mut object, user_id.as_str(), &key_id, &signature).unwrap();
        serde_json::from_str(&json::to_string(&object)).unwrap()
    }
}

pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

/// Identity keys, not signed.
pub(crate) fn unsigned_keys(user_id: &UserId, device_id: &DeviceId, signer: &Signer) -> Value {
    json!({
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            format!("curve25519:{device_id}"): "3C5BFWi2Y8MaVvjM8M22DBmh24PmgR0nPvJOIArzgyI",
            format!("ed25519:{device_id}"): signer.public(),
        },
        "signatures": {},
    })
}

pub(crate) fn device_keys(user_id: &UserId, device_id: &DeviceId, signer: &Signer) -> Value {
    let keys = unsigned_keys(user_id, device_id, signer);
    signer.sign(&keys, user_id, device_id.as_str())
}

impl House {
    /// A device of a user that may be new.
    pub(crate) async fn device(&self, user_id: &UserId, device_id: &DeviceId) -> UserNumber {
        let commit = self.store.write::<_, storage::Error>(|txn| {
            let user = storage::user::ensure(txn, user_id)?;
            let device = Device {
                display_name: Some(format!("{device_id} of somebody")),
                ..Device::default()
            };
            storage::device::put(txn, user, device_id, &device);
            Ok(user)
        });
        commit.unwrap().durable().await
    }

    /// Uploads identity keys.
    pub(crate) async fn upload(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        keys: &Value,
    ) -> Result<BTreeMap<String, u64>, KeyError> {
        let user = self.store.read(|view| storage::user::number(view, user_id));
        let keys = raw(keys);
        let upload = KeyUpload {
            device_keys: Some(&keys),
            ..KeyUpload::default()
        };
        let owner = KeyOwner {
            user: user.unwrap().unwrap(),
            user_id,
            device_id,
        };
        self.users.upload_keys(owner, &upload).await
    }

    /// What a user is told of another one's keys.
    pub(crate) async fn query(&self, asker: UserNumber, user_id: &UserId) -> Value {
        let wanted = BTreeMap::from([(user_id.to_owned(), Vec::new())]);
        let keys = self.users.query_keys(asker, wanted).await.unwrap();
        serde_json::to_value(keys).unwrap()
    }

    async fn upload_one_time(
        &self,
        keys: &[(&str, Value)],
        fallback: &[(&str, Value)],
    ) -> Result<BTreeMap<String, u64>, KeyError> {
        let raws = |keys: &[(&str, Value)]| -> Vec<_> {
            let keys = keys.iter();
            keys.map(|(name, key)| ((*name).to_owned(), raw(key)))
                .collect()
        };
        let (keys, fallback) = (raws(keys), raws(fallback));
        fn of(keys: &[(String, Box<RawValue>)]) -> Vec<(&str, &RawValue)> {
            let keys = keys.iter();
            keys.map(|(name, key)| (name.as_str(), &**key)).collect()
        }
        let upload = KeyUpload {
            device_keys: None,
            one_time_keys: of(&keys),
            fallback_keys: of(&fallback),
        };
        self.users.upload_keys(self.phone(), &upload).await
    }

    fn phone(&self) -> KeyOwner<'static> {
        KeyOwner {
            user: self.alice,
            user_id: user_id!("@alice:example.org"),
            device_id: device_id!("PHONE"),
        }
    }

    async fn claim(&self) -> Option<String> {
        let wanted = [(
            user_id!("@alice:example.org").to_owned(),
            BTreeMap::from([(OwnedDeviceId::from("PHONE"), "signed_curve25519".to_owned())]),
        )];
        let claimed = self.users.claim_keys(&wanted.into()).await.unwrap();
        let keys = claimed.one_time_keys.into_values().flatten();
        keys.flat_map(|(_, keys)| keys.into_keys()).next()
    }
}

fn one_time_key(key: &str) -> Value {
    json!({ "key": key, "signatures": { "@alice:example.org": { "ed25519:PHONE": "x" } } })
}

async fn house() -> House {
    let house = House::new().await;
    house
        .device(user_id!("@alice:example.org"), device_id!("PHONE"))
        .await;
    house
}

#[tokio::test]
async fn keys_are_shown_as_they_were_uploaded_with_the_name_of_the_device() {
    let house = house().await;
    let (alice, phone) = (user_id!("@alice:example.org"), device_id!("PHONE"));
    let mut keys = device_keys(alice, phone, &Signer::new(1));
    keys["extra"] = json!({ "signed": "too" });
    let mut keys = Signer::new(1).sign(&keys, alice, "PHONE");
    // Signatures of others, which nobody has checked, and what the server adds are not the client's to say.
    keys["signatures"]["@bob:example.org"] = json!({ "ed25519:X": "forged" });
    keys["unsigned"] = json!({ "device_display_name": "nonsense" });
    let counts = house.upload(alice, phone, &keys).await.unwrap();
    assert_eq!(
        counts,
        BTreeMap::from([("signed_curve25519".to_owned(), 0)])
    );
    keys["signatures"]
        .as_object_mut()
        .unwrap()
        .remove("@bob:example.org");
    keys["unsigned"]["device_display_name"] = "PHONE of somebody".into();
    let shown = house.query(house.alice, alice).await;
    assert_eq!(shown["device_keys"]["@alice:example.org"]["PHONE"], keys);
    assert_eq!(shown["failures"], json!({}));
    let nobody = user_id!("@nobody:example.org");
    let shown = house.query(house.alice, nobody).await;
    assert_eq!(shown["device_keys"], json!({ "@nobody:example.org": {} }));
    let remote = house
        .query(house.alice, user_id!("@bob:elsewhere.org"))
        .await;
    assert!(remote["failures"]["elsewhere.org"].is_object());
    assert_eq!(remote["device_keys"], json!({}));
}

#[tokio::test]
async fn b11_malformed_device_keys_are_refused() {
    let house = house().await;
    let (alice, phone) = (user_id!("@alice:example.org"), device_id!("PHONE"));
    let signer = Signer::new(1);
    let good = unsigned_keys(alice, phone, &signer);
    let with = |name: &str, value: Value| {
        let mut keys = good.clone();
        keys[name] = value;
        keys
    };
    let bad_json = |error| matches!(error, Err(KeyError::BadJson(_)));
    let invalid = |error| matches!(error, Err(KeyError::Invalid(_)));
    for name in ["user_id", "device_id", "algorithms", "keys", "signatures"] {
        for value in [json!(null), json!(1), json!([1])] {
            let keys = with(name, value);
            assert!(bad_json(house.upload(alice, phone, &keys).await), "{keys}");
        }
    }
    for (name, value) in [
        ("user_id", json!("@bob:example.org")),
        ("device_id", json!("TABLET")),
        ("keys", json!({})),
        ("keys", json!({ "ed25519:PHONE": "too short" })),
        ("keys", json!({ "ed25519:TABLET": signer.public() })),
        ("keys", json!({ "ed25519": signer.public() })),
    ] {
        let keys = with(name, value);
        assert!(invalid(house.upload(alice, phone, &keys).await), "{keys}");
    }
    let keys = with("extra", json!(1.5));
    assert!(bad_json(house.upload(alice, phone, &keys).await));
    let large = with("extra", json!("a".repeat(40_000)));
    let refused = house.upload(alice, phone, &large).await;
    assert!(matches!(refused, Err(KeyError::TooLarge(_))));
    assert_eq!(
        house.query(house.alice, alice).await["device_keys"],
        json!({ "@alice:example.org": {} })
    );
}

#[tokio::test]
async fn b11_a_forged_signature_of_the_device_is_refused() {
    let house = house().await;
    let (alice, phone) = (user_id!("@alice:example.org"), device_id!("PHONE"));
    let mut forged = vec![device_keys(alice, phone, &Signer::new(1)); 3];
    forged[0]["algorithms"] = json!([]);
    forged[1]["keys"]["ed25519:PHONE"] = Signer::new(2).public().into();
    forged[2]["signatures"]["@alice:example.org"]["ed25519:PHONE"] = "x".into();
    for keys in forged {
        let refused = house.upload(alice, phone, &keys).await;
        assert!(matches!(refused, Err(KeyError::Signature)), "{keys}");
    }
}

#[tokio::test]
async fn the_same_keys_again_are_no_change_and_others_end_what_the_old_ones_had() {
    let house = house().await;
    let (alice, phone) = (user_id!("@alice:example.org"), device_id!("PHONE"));
    let changed = || {
        let at = |view: &storage::Snapshot| storage::device_list::changed_at(view, house.alice);
        house.store.read(at).unwrap()
    };
    let keys = device_keys(alice, phone, &Signer::new(1));
    house.upload(alice, phone, &keys).await.unwrap();
    let first = changed();
    assert!(first.is_some());
    let names = [("signed_curve25519:A", one_time_key("a"))];
    house.upload_one_time(&names, &names).await.unwrap();
    house.upload(alice, phone, &keys).await.unwrap();
    assert_eq!(changed(), first);
    assert_eq!(house.claim().await.as_deref(), Some("signed_curve25519:A"));
    let other = device_keys(alice, phone, &Signer::new(2));
    house.upload(alice, phone, &other).await.unwrap();
    assert!(changed() > first);
    assert_eq!(house.claim().await, None);
}

#[tokio::test]
async fn one_time_keys_are_counted_and_uploading_them_again_changes_nothing() {
    let house = house().await;
    let keys: Vec<_> = ["A", "B", "C"].map(|id| (id, one_time_key(id))).into();
    let names = [
        "signed_curve25519:A",
        "signed_curve25519:B",
        "signed_curve25519:C",
    ];
    let upload = |from: usize, to: usize| {
        let keys: Vec<_> = (from..to).map(|n| (names[n], keys[n].1.clone())).collect();
        let house = &house;
        async move { house.upload_one_time(&keys, &[]).await.unwrap()["signed_curve25519"] }
    };
    assert_eq!(upload(0, 2).await, 2);
    assert_eq!(upload(0, 2).await, 2);
    assert_eq!(upload(1, 3).await, 3);
    assert_eq!(house.claim().await.as_deref(), Some(names[0]));
    // What was handed out does not come back: the answer to the first upload may have been lost.
    assert_eq!(upload(0, 3).await, 2);
    assert_eq!(house.claim().await.as_deref(), Some(names[1]));
    assert_eq!(house.claim().await.as_deref(), Some(names[2]));
    assert_eq!(house.claim().await, None);
}

#[tokio::test]
async fn b11_a_one_time_key_is_immutable() {
    let house = house().await;
    let upload = |key: Value| {
        let house = &house;
        async move {
            house
                .upload_one_time(&[("signed_curve25519:A", key)], &[])
                .await
        }
    };
    upload(one_time_key("a")).await.unwrap();
    // Signed again it is the same.
    let mut again = one_time_key("a");
    again["signatures"]["@alice:example.org"]["ed25519:PHONE"] = "y".into();
    upload(again).await.unwrap();
    let Err(KeyError::Invalid(message)) = upload(one_time_key("b")).await else {
        panic!("another key under the same name is taken");
    };
    assert!(message.starts_with("One time key signed_curve25519:A already exists"));
}

#[tokio::test]
async fn b11_malformed_one_time_keys_are_refused() {
    let house = house().await;
    let long = format!("signed_curve25519:{}", "A".repeat(300));
    for name in ["", "signed_curve25519", ":A", "signed_curve25519:", &long] {
        let refused = house
            .upload_one_time(&[(name, one_time_key("a"))], &[])
            .await;
        assert!(matches!(refused, Err(KeyError::Invalid(_))), "{name}");
    }
    for key in [
        json!("unsigned"),
        json!(1),
        json!({ "key": "a" }),
        json!({ "key": 1, "signatures": {} }),
        json!({ "key": "a", "signatures": { "@alice:example.org": "x" } }),
    ] {
        let refused = house
            .upload_one_time(&[("signed_curve25519:A", key)], &[])
            .await;
        assert!(matches!(refused, Err(KeyError::BadJson(_))));
    }
    let large = one_time_key(&"a".repeat(MAX_ONE_TIME_KEY_BYTES));
    let refused = house
        .upload_one_time(&[("signed_curve25519:A", large)], &[])
        .await;
    assert!(matches!(refused, Err(KeyError::TooLarge(_))));
    let two = [
        ("signed_curve25519:A", one_time_key("a")),
        ("signed_curve25519:B", one_time_key("b")),
    ];
    let refused = house.upload_one_time(&[], &two).await;
    assert!(matches!(refused, Err(KeyError::Invalid(_))));
}

#[tokio::test]
async fn b11_the_number_of_keys_is_bounded() {
    let house = house().await;
    let names: Vec<_> = (0..1_000)
        .map(|n| format!("signed_curve25519:{n:04}"))
        .collect();
    let keys: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), one_time_key(name)))
        .collect();
    house.upload_one_time(&keys, &[]).await.unwrap();
    let more = [("signed_curve25519:more", one_time_key("more"))];
    let refused = house.upload_one_time(&more, &[]).await;
    assert!(matches!(refused, Err(KeyError::Invalid(_))));
    house.claim().await.unwrap();
    house.upload_one_time(&more, &[]).await.unwrap();
    let algorithms: Vec<_> = (0..17).map(|n| format!("algorithm{n}:A")).collect();
    let many: Vec<_> = algorithms
        .iter()
        .map(|name| (name.as_str(), one_time_key("a")))
        .collect();
    let refused = house.upload_one_time(&[], &many).await;
    assert!(matches!(refused, Err(KeyError::Invalid(_))));
    house.upload_one_time(&[], &many[..16]).await.unwrap();
}

#[tokio::test]
async fn a_device_that_has_gone_gets_no_keys() {
    let house = House::new().await;
    let refused = house
        .upload_one_time(&[("signed_curve25519:A", one_time_key("a"))], &[])
        .await;
    assert!(matches!(refused, Err(KeyError::DeviceGone)));
    assert_eq!(house.claim().await, None);
}
