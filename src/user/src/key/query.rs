//! Keys of devices and of cross-signing, as others see them.

use std::collections::{BTreeMap, BTreeSet};

use event::{json, signature::insert_of};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedDeviceId, OwnedServerName, OwnedUserId, UserId,
};
use serde::Serialize;
use serde_json::value::RawValue;
use storage::{
    View,
    cross_signing::{self, CrossSigningKey, Usage},
    device, device_key,
    key_signature::{self, Target},
    user::UserNumber,
};

use super::{DeviceMap, KeyError};
use crate::Users;

/// Of how many users keys may be asked for at once.
pub const MAX_QUERIED_USERS: usize = 10_000;

/// More users than this are read on a thread that may block.
const FEW_USERS: usize = 32;

/// Why a server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    status: u16,
    message: &'static str,
}

impl Failure {
    /// This server does not speak to others.
    pub(super) const UNREACHABLE: Self = Self {
        status: 503,
        message: "The server cannot be reached",
    };
}

/// What was asked for, as clients are told.
#[derive(Debug, Default, Serialize)]
pub struct QueriedKeys {
    /// "If any remote homeservers could not be reached, they are recorded here."
    pub failures: BTreeMap<OwnedServerName, Failure>,
    /// "Information on the queried devices."
    pub device_keys: BTreeMap<OwnedUserId, DeviceMap<Box<RawValue>>>,
    /// "Information on the master signing keys of the queried users."
    pub master_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    /// "Information on the self-signing keys of the queried users."
    pub self_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    /// "Information on the user-signing key of the user making the request."
    pub user_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
}

/// Who asks.
struct Asker {
    user: UserNumber,
    /// The id of their user-signing key: signatures by an earlier one are of no use.
    user_signing_key: Option<String>,
}

impl Users {
    /// The keys of users: all of their devices, or some of them.
    pub async fn query_keys(
        &self,
        asker: UserNumber,
        wanted: BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
    ) -> Result<QueriedKeys, KeyError> {
        if wanted.len() > MAX_QUERIED_USERS {
            return Err(KeyError::invalid(
                "Keys of too many users are asked for at once",
            ));
        }
        let view = self.store.snapshot();
        if wanted.len() <= FEW_USERS {
            return Ok(self.read_keys(&*view, asker, &wanted)?);
        }
        let users = self.clone();
        let read = move |_: &_| users.read_keys(&*view, asker, &wanted);
        Ok(self.store.read_heavy(read).await?)
    }

    fn read_keys(
        &self,
        view: &dyn View,
        asker: UserNumber,
        wanted: &BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
    ) -> storage::Result<QueriedKeys> {
        let key = cross_signing::get(view, asker, Usage::UserSigning)?;
        let asker = Asker {
            user: asker,
            user_signing_key: key.map(|key| format!("ed25519:{}", key.public_key)),
        };
        let mut found = QueriedKeys::default();
        for (user_id, devices) in wanted {
            if !self.is_local(user_id) {
                let server = user_id.server_name().to_owned();
                found.failures.insert(server, Failure::UNREACHABLE);
                continue;
            }
            // Security B12: who does not exist looks like who has no keys.
            let mut of_user = BTreeMap::new();
            if let Some(user) = storage::user::number(view, user_id)? {
                of_user = devices_of(view, (user, user_id), devices)?;
                cross_signing_of(view, (user, user_id), &asker, &mut found)?;
            }
            found.device_keys.insert(user_id.clone(), of_user);
        }
        Ok(found)
    }
}

/// > For each device, the information returned will be the same as uploaded via `/keys/upload`, with the addition of an
/// > `unsigned` property.
fn devices_of(
    view: &dyn View,
    (user, user_id): (UserNumber, &UserId),
    wanted: &[OwnedDeviceId],
) -> storage::Result<DeviceMap<Box<RawValue>>> {
    let mut keys = device_key::list(view, user)?;
    // > or to an empty list to indicate all devices for the corresponding user
    if !wanted.is_empty() {
        let wanted: BTreeSet<_> = wanted.iter().collect();
        keys.retain(|(device_id, _)| wanted.contains(device_id));
    }
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut signatures: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (device_id, key_id, signature) in key_signature::of_devices(view, user)? {
        let of_device = signatures.entry(device_id).or_default();
        of_device.push((key_id, signature));
    }
    let devices: BTreeMap<_, _> = device::list(view, user)?.into_iter().collect();
    let mut shown = BTreeMap::new();
    for (device_id, keys) in keys {
        let mut object = parse(&keys)?;
        let signatures = signatures.remove(&device_id).unwrap_or_default();
        add(&mut object, user_id, signatures)?;
        let device = devices.get(&device_id);
        let name = device.and_then(|device| device.display_name.clone());
        if let Some(name) = name {
            let name = CanonicalJsonValue::String(name);
            let unsigned = [("device_display_name".to_owned(), name)];
            let unsigned = CanonicalJsonValue::Object(unsigned.into_iter().collect());
            object.insert("unsigned".to_owned(), unsigned);
        }
        shown.insert(device_id, raw(&object)?);
    }
    Ok(shown)
}

fn cross_signing_of(
    view: &dyn View,
    (user, user_id): (UserNumber, &UserId),
    asker: &Asker,
    found: &mut QueriedKeys,
) -> storage::Result<()> {
    let [master, self_signing, user_signing] = cross_signing::all(view, user)?;
    if let Some(master) = master {
        let shown = master_key(view, (user, user_id), asker, &master)?;
        found.master_keys.insert(user_id.to_owned(), shown);
    }
    if let Some(key) = self_signing {
        let shown = raw(&parse(&key.json)?)?;
        found.self_signing_keys.insert(user_id.to_owned(), shown);
    }
    // > Information on the user-signing key of the user making the request, if they queried their own device information.
    if let Some(key) = user_signing.filter(|_| user == asker.user) {
        let shown = raw(&parse(&key.json)?)?;
        found.user_signing_keys.insert(user_id.to_owned(), shown);
    }
    Ok(())
}

/// > To avoid leaking of social graphs, servers will only allow users to see: signatures made by the user's own master
/// > signing, self-signing or user-signing keys […] or signatures made by other users' devices about their respective
/// > master signing keys.
fn master_key(
    view: &dyn View,
    (user, user_id): (UserNumber, &UserId),
    asker: &Asker,
    master: &CrossSigningKey,
) -> storage::Result<Box<RawValue>> {
    let mut object = parse(&master.json)?;
    let target = Target::Master(&master.public_key);
    let own = key_signature::by_signer(view, user, target, user)?;
    add(&mut object, user_id, own)?;
    if asker.user != user
        && let Some(key_id) = &asker.user_signing_key
    {
        let mut theirs = key_signature::by_signer(view, user, target, asker.user)?;
        theirs.retain(|(by, _)| by == key_id);
        if !theirs.is_empty()
            && let Some(asker) = storage::user::id(view, asker.user)?
        {
            add(&mut object, &asker, theirs)?;
        }
    }
    raw(&object)
}

fn add(
    object: &mut CanonicalJsonObject,
    signer: &UserId,
    signatures: Vec<(String, String)>,
) -> storage::Result<()> {
    for (key_id, signature) in signatures {
        insert_of(object, signer.as_str(), &key_id, &signature).map_err(corrupt)?;
    }
    Ok(())
}

fn parse(text: &str) -> storage::Result<CanonicalJsonObject> {
    json::parse_object(text).map_err(corrupt)
}

fn raw(object: &CanonicalJsonObject) -> storage::Result<Box<RawValue>> {
    RawValue::from_string(json::to_string(object)).map_err(corrupt)
}

fn corrupt(reason: impl ToString) -> storage::Error {
    storage::Error::Corrupt {
        table: "keys",
        reason: reason.to_string(),
    }
}
