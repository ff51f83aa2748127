//! Cross-signing keys and signatures: who may upload what, and who sees it.

use std::collections::BTreeMap;

use ruma_common::{DeviceId, UserId, device_id, user_id};
use serde_json::{Value, json, value::RawValue};
use storage::user::UserNumber;

use super::{Confirmation, CrossSigningError, CrossSigningUpload, Owner, RefusedSignature};
use crate::{
    key::tests::{Signer, device_keys, raw},
    testing::House,
};

fn alice() -> &'static UserId {
    user_id!("@alice:example.org")
}

fn bob() -> &'static UserId {
    user_id!("@bob:example.org")
}

fn key(user_id: &UserId, usage: &str, signer: &Signer) -> Value {
    let public = signer.public();
    json!({
        "user_id": user_id,
        "usage": [usage],
        "keys": { format!("ed25519:{public}"): public },
    })
}

/// A user with a phone, and their cross-signing keys of these seeds: master, self-signing, user-signing.
struct Person {
    user: UserNumber,
    user_id: &'static UserId,
    phone: Signer,
    signers: [Signer; 3],
}

impl Person {
    async fn new(house: &House, user_id: &'static UserId, seed: u8) -> Self {
        let device_id = device_id!("PHONE");
        let user = house.device(user_id, device_id).await;
        let phone = Signer::new(seed);
        let keys = device_keys(user_id, device_id, &phone);
        house.upload(user_id, device_id, &keys).await.unwrap();
        Self {
            user,
            user_id,
            phone,
            signers: [seed + 1, seed + 2, seed + 3].map(Signer::new),
        }
    }

    fn owner(&self) -> Owner<'static> {
        Owner {
            user: self.user,
            user_id: self.user_id,
        }
    }

    fn master(&self) -> Value {
        key(self.user_id, "master", &self.signers[0])
    }

    /// One of the two others, signed by the master key.
    fn signed(&self, n: usize, usage: &str) -> Value {
        let master = &self.signers[0];
        let key = key(self.user_id, usage, &self.signers[n]);
        master.sign(&key, self.user_id, &master.public())
    }

    fn all(&self) -> [Option<Value>; 3] {
        [
            Some(self.master()),
            Some(self.signed(1, "self_signing")),
            Some(self.signed(2, "user_signing")),
        ]
    }

    async fn set(
        &self,
        house: &House,
        keys: [Option<Value>; 3],
        confirmation: Confirmation,
    ) -> Result<(), CrossSigningError> {
        let [master, self_signing, user_signing] = keys.map(|key| key.map(|key| raw(&key)));
        let upload = CrossSigningUpload {
            master_key: master.as_deref(),
            self_signing_key: self_signing.as_deref(),
            user_signing_key: user_signing.as_deref(),
        };
        let users = &house.users;
        users
            .set_cross_signing_keys(self.owner(), &upload, confirmation)
            .await
    }

    /// Uploads a signed key; why it was refused.
    async fn sign(
        &self,
        house: &House,
        of: &UserId,
        id: &str,
        signed: &Value,
    ) -> Option<RefusedSignature> {
        let signed = raw(signed);
        let keys = BTreeMap::from([(id.to_owned(), &*signed as &RawValue)]);
        let signed = BTreeMap::from([(of.to_owned(), keys)]);
        let refused = house.users.add_signatures(self.owner(), &signed).await;
        refused
            .unwrap()
            .into_values()
            .flatten()
            .map(|(_, reason)| reason)
            .next()
    }
}

async fn two() -> (House, Person, Person) {
    let house = House::new().await;
    let (a, b) = (
        Person::new(&house, alice(), 10).await,
        Person::new(&house, bob(), 20).await,
    );
    for person in [&a, &b] {
        let set = person.set(&house, person.all(), Confirmation::Missing);
        set.await.unwrap();
    }
    (house, a, b)
}

#[tokio::test]
async fn the_first_keys_need_no_confirmation_and_others_do() {
    let (house, a, _) = two().await;
    let missing = Confirmation::Missing;
    // "The request contains no new keys."
    a.set(&house, a.all(), missing).await.unwrap();
    a.set(&house, [Some(a.master()), None, None], missing)
        .await
        .unwrap();
    a.set(&house, [None, a.all()[1].clone(), None], missing)
        .await
        .unwrap();
    let other = Person {
        signers: [40, 41, 42].map(Signer::new),
        phone: Signer::new(10),
        ..a
    };
    let new = || [Some(other.master()), None, None];
    let refused = other.set(&house, new(), missing).await;
    assert!(matches!(refused, Err(CrossSigningError::Unconfirmed)));
    let mut mixed = a.all();
    mixed[1] = Some({
        let key = key(alice(), "self_signing", &Signer::new(50));
        a.signers[0].sign(&key, alice(), &a.signers[0].public())
    });
    let refused = a.set(&house, mixed.clone(), missing).await;
    assert!(matches!(refused, Err(CrossSigningError::Unconfirmed)));
    a.set(&house, mixed, Confirmation::Given).await.unwrap();
    other.set(&house, new(), Confirmation::Given).await.unwrap();
    let shown = house.query(a.user, alice()).await;
    assert_eq!(shown["master_keys"][alice().as_str()], other.master());
    // What the old master key signed is gone with it.
    assert_eq!(shown["self_signing_keys"], json!({}));
    assert_eq!(shown["user_signing_keys"], json!({}));
}

#[tokio::test]
async fn keys_are_shown_to_whom_the_specification_says() {
    let (house, a, b) = two().await;
    let [master, self_signing, user_signing] = a.all().map(Option::unwrap);
    for (asker, own) in [
        (a.user, json!({ alice(): user_signing })),
        (b.user, json!({})),
    ] {
        let shown = house.query(asker, alice()).await;
        assert_eq!(shown["master_keys"], json!({ alice(): master }));
        assert_eq!(shown["self_signing_keys"], json!({ alice(): self_signing }));
        assert_eq!(shown["user_signing_keys"], own);
    }
}

#[tokio::test]
async fn b11_cross_signing_keys_are_what_they_must_be() {
    let house = House::new().await;
    let a = Person::new(&house, alice(), 10).await;
    let given = Confirmation::Given;
    let invalid = |result| matches!(result, Err(CrossSigningError::Invalid(_)));
    let bad_json = |result| matches!(result, Err(CrossSigningError::BadJson(_)));
    let wrong = |result| matches!(result, Err(CrossSigningError::Signature(_)));
    let public = a.signers[0].public();
    for (name, value) in [
        ("user_id", json!(bob())),
        ("usage", json!(["self_signing"])),
        ("usage", json!([])),
        ("keys", json!({})),
        (
            "keys",
            json!({ format!("ed25519:{public}"): a.signers[1].public() }),
        ),
        ("keys", json!({ "ed25519:x": "x" })),
        (
            "keys",
            json!({ format!("ed25519:{public}"): public, "ed25519:x": "x" }),
        ),
    ] {
        let mut master = a.master();
        master[name] = value;
        assert!(
            invalid(
                a.set(&house, [Some(master.clone()), None, None], given)
                    .await
            ),
            "{master}"
        );
    }
    for (name, value) in [
        ("user_id", json!(1)),
        ("usage", json!("master")),
        ("keys", json!([])),
        ("keys", json!({ "ed25519:x": 1 })),
        ("signatures", json!([])),
        ("extra", json!(0.5)),
    ] {
        let mut master = a.master();
        master[name] = value;
        assert!(
            bad_json(
                a.set(&house, [Some(master.clone()), None, None], given)
                    .await
            ),
            "{master}"
        );
    }
    let mut large = a.master();
    large["extra"] = "a".repeat(20_000).into();
    let refused = a.set(&house, [Some(large), None, None], given).await;
    assert!(matches!(refused, Err(CrossSigningError::TooLarge)));
    // Without a master key there is nobody who signs.
    let refused = a.set(&house, [None, a.all()[1].clone(), None], given).await;
    assert!(matches!(refused, Err(CrossSigningError::NoMasterKey)));
    let not_signed = key(alice(), "self_signing", &a.signers[1]);
    let of_another = a.signers[2].sign(&not_signed, alice(), &public);
    for forged in [not_signed, of_another] {
        let keys = [Some(a.master()), Some(forged), None];
        assert!(wrong(a.set(&house, keys, given).await));
    }
    let mut master = a.master();
    master["signatures"] = json!({ alice(): { "ed25519:PHONE": "forged" } });
    assert!(wrong(
        a.set(&house, [Some(master), None, None], given).await
    ));
    // "The public key of one of the keys is the same as one of the user's device IDs."
    house.device(alice(), public.as_str().into()).await;
    let refused = a.set(&house, [Some(a.master()), None, None], given).await;
    assert!(matches!(refused, Err(CrossSigningError::KeyIdInUse)));
    let shown = house.query(a.user, alice()).await;
    assert_eq!(shown["master_keys"], json!({}));
}

#[tokio::test]
async fn signatures_are_merged_into_what_they_sign() {
    let (house, a, b) = two().await;
    let phone: &DeviceId = device_id!("PHONE");
    let [master, self_signing, user_signing] = [0, 1, 2].map(|n| a.signers[n].public());
    let keys = device_keys(alice(), phone, &a.phone);
    let signed = a.signers[1].sign(&keys, alice(), &self_signing);
    assert_eq!(a.sign(&house, alice(), "PHONE", &signed).await, None);
    let by_phone = a.phone.sign(&a.master(), alice(), "PHONE");
    assert_eq!(a.sign(&house, alice(), &master, &by_phone).await, None);
    let of_bob = a.signers[2].sign(&b.master(), alice(), &user_signing);
    let bobs = b.signers[0].public();
    assert_eq!(a.sign(&house, bob(), &bobs, &of_bob).await, None);
    for asker in [a.user, b.user] {
        let shown = house.query(asker, alice()).await;
        let device = &shown["device_keys"][alice().as_str()]["PHONE"];
        assert_eq!(device["signatures"], signed["signatures"]);
        assert_eq!(shown["master_keys"][alice().as_str()], by_phone);
    }
    // "Users will not be able to see signatures made by other users' user-signing keys."
    let shown = house.query(a.user, bob()).await;
    assert_eq!(shown["master_keys"][bob().as_str()], of_bob);
    let shown = house.query(b.user, bob()).await;
    assert_eq!(shown["master_keys"][bob().as_str()], b.master());
    // What a device signed goes with it, and what signed it.
    let commit = house
        .store
        .write(|txn| storage::device::delete(txn, a.user, phone));
    commit.unwrap().durable().await;
    let shown = house.query(b.user, alice()).await;
    assert_eq!(shown["master_keys"][alice().as_str()], a.master());
    assert_eq!(shown["device_keys"], json!({ alice(): {} }));
}

/// Whose key under which name, what is uploaded for it, and why it is refused.
type Forgery = (&'static UserId, String, Value, RefusedSignature);

/// What Alice uploads for her own keys.
fn own_forgeries(a: &Person) -> Vec<Forgery> {
    let [master, self_signing, _] = [0, 1, 2].map(|n| a.signers[n].public());
    let keys = device_keys(alice(), device_id!("PHONE"), &a.phone);
    let by_self_signing = a.signers[1].sign(&keys, alice(), &self_signing);
    let by_phone = a.phone.sign(&a.master(), alice(), "PHONE");
    let phone = || "PHONE".to_owned();
    let invalid = RefusedSignature::Invalid;
    vec![
        (alice(), phone(), forged(&keys, &self_signing), invalid),
        (alice(), phone(), keys.clone(), invalid),
        // Another key than the one that may.
        (
            alice(),
            phone(),
            a.signers[0].sign(&keys, alice(), &master),
            invalid,
        ),
        (
            alice(),
            phone(),
            a.signers[2].sign(&keys, alice(), &self_signing),
            invalid,
        ),
        (
            alice(),
            phone(),
            changed(&by_self_signing),
            RefusedSignature::Different,
        ),
        (
            alice(),
            "TABLET".to_owned(),
            by_self_signing,
            RefusedSignature::NotFound,
        ),
        (
            alice(),
            self_signing,
            a.signed(1, "self_signing"),
            RefusedSignature::NotFound,
        ),
        (
            alice(),
            master.clone(),
            forged(&a.master(), "PHONE"),
            invalid,
        ),
        (alice(), master.clone(), forged(&by_phone, "PHONE"), invalid),
        (alice(), master, a.master(), invalid),
    ]
}

/// What Alice uploads for keys of others.
fn forgeries_of_others(a: &Person, b: &Person) -> Vec<Forgery> {
    let [master, _, user_signing] = [0, 1, 2].map(|n| a.signers[n].public());
    let bobs = || b.signers[0].public();
    let of_bob = a.signers[2].sign(&b.master(), alice(), &user_signing);
    let by_another = a.signers[1].sign(&b.master(), alice(), &user_signing);
    let device = device_keys(bob(), device_id!("PHONE"), &b.phone);
    let device = a.signers[2].sign(&device, alice(), &user_signing);
    let large = json!({ "a": "a".repeat(60_000) });
    let (carol, remote) = (
        user_id!("@carol:example.org"),
        user_id!("@bob:elsewhere.org"),
    );
    use RefusedSignature::{BadJson, Different, Invalid, NotFound, TooLarge};
    vec![
        (bob(), bobs(), forged(&b.master(), &user_signing), Invalid),
        (bob(), bobs(), by_another, Invalid),
        (bob(), bobs(), changed(&of_bob), Different),
        (bob(), master, of_bob.clone(), NotFound),
        // Devices of others are theirs to sign.
        (bob(), "PHONE".to_owned(), device, NotFound),
        (carol, bobs(), of_bob.clone(), NotFound),
        (remote, bobs(), of_bob, NotFound),
        (bob(), bobs(), json!([]), BadJson),
        (bob(), bobs(), large, TooLarge),
    ]
}

fn forged(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object["signatures"][alice().as_str()][format!("ed25519:{name}")] = "x".into();
    object
}

fn changed(object: &Value) -> Value {
    let mut object = object.clone();
    object["extra"] = 1.into();
    object
}

#[tokio::test]
async fn b11_forged_signatures_are_refused_one_by_one() {
    let (house, a, b) = two().await;
    let own = own_forgeries(&a).into_iter();
    for (of, id, signed, reason) in own.chain(forgeries_of_others(&a, &b)) {
        let refused = a.sign(&house, of, &id, &signed).await;
        assert_eq!(refused, Some(reason), "{id} {signed}");
    }
    let keys = device_keys(alice(), device_id!("PHONE"), &a.phone);
    for asker in [a.user, b.user] {
        let shown = house.query(asker, alice()).await;
        let device = &shown["device_keys"][alice().as_str()]["PHONE"];
        assert_eq!(device["signatures"], keys["signatures"]);
        assert_eq!(shown["master_keys"][alice().as_str()], a.master());
        let shown = house.query(asker, bob()).await;
        assert_eq!(shown["master_keys"][bob().as_str()], b.master());
    }
}

#[tokio::test]
async fn a_signature_of_somebody_else_is_news_for_the_signer_alone() {
    let (house, a, b) = two().await;
    let before = house.store.read(|view| view.position());
    let user_signing = a.signers[2].public();
    let of_bob = a.signers[2].sign(&b.master(), alice(), &user_signing);
    let bobs = b.signers[0].public();
    assert_eq!(a.sign(&house, bob(), &bobs, &of_bob).await, None);
    house.store.read(|view| {
        let signed = |signer| storage::device_list::signed_since(view, signer, before).unwrap();
        assert_eq!(signed(a.user), [b.user]);
        assert!(signed(b.user).is_empty());
        assert!(
            storage::device_list::since(view, before)
                .unwrap()
                .is_empty()
        );
    });
}
