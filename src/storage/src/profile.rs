//! Profiles of local users: one row for each field.

use ruma_common::{OwnedMxcUri, UserId};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{
    Change, Key, KeyReader, Order, Result, Txn, View,
    table::PROFILE,
    user::{self, UserNumber},
};

pub mod carry;

/// The field with the display name.
pub const DISPLAYNAME: &str = "displayname";
/// The field with the address of the avatar.
pub const AVATAR_URL: &str = "avatar_url";

/// What of a profile is copied into member events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name to show.
    pub displayname: Option<String>,
    /// The avatar's address.
    pub avatar_url: Option<OwnedMxcUri>,
}

/// Names and values, ordered by name.
pub type Fields = Vec<(String, Box<RawValue>)>;

/// Display name and avatar of a user; empty for one without a profile.
pub fn get(view: &dyn View, user: UserNumber) -> Result<Profile> {
    Ok(Profile {
        displayname: read(view, user, DISPLAYNAME)?,
        avatar_url: read(view, user, AVATAR_URL)?,
    })
}

/// Display name and avatar of a user, by which this batch decides something.
pub fn get_guarded(txn: &mut Txn<'_>, user: UserNumber) -> Result<Profile> {
    for name in [DISPLAYNAME, AVATAR_URL] {
        txn.get_guarded(&key(user, name))?;
    }
    get(txn, user)
}

/// Display name and avatar of a user by id; empty for one without a profile.
pub fn of(view: &dyn View, user_id: &UserId) -> Result<Profile> {
    match user::number(view, user_id)? {
        Some(user) => get(view, user),
        None => Ok(Profile::default()),
    }
}

/// One field as JSON.
pub fn field(view: &dyn View, user: UserNumber, name: &str) -> Result<Option<Box<RawValue>>> {
    let value = view.get(&key(user, name))?;
    value.as_deref().map(raw).transpose()
}

/// All fields as JSON, by name.
pub fn fields(view: &dyn View, user: UserNumber) -> Result<Fields> {
    let range = PROFILE.key().u64(user.0).prefix_range();
    view.scan(&range, Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, value)| {
            let name = KeyReader::text_behind_number(&key)
                .ok_or_else(|| PROFILE.corrupt("a key without a field name"))?;
            Ok((name.to_owned(), raw(&value)?))
        })
        .collect()
}

/// Sets a field.
pub fn put_field(txn: &mut Txn<'_>, user: UserNumber, name: &str, value: &RawValue) {
    txn.put(key(user, name), value.get().as_bytes());
    txn.change(Change::Profile { user: user.0 });
}

/// Removes a field.
pub fn delete_field(txn: &mut Txn<'_>, user: UserNumber, name: &str) -> Result<()> {
    let key = key(user, name);
    if txn.get(&key)?.is_some() {
        txn.delete(key);
        txn.change(Change::Profile { user: user.0 });
    }
    Ok(())
}

fn key(user: UserNumber, name: &str) -> Key {
    PROFILE.key().u64(user.0).raw(name.as_bytes())
}

/// A field of the wrong type, which a later server may have written, is as good as none.
fn read<T: DeserializeOwned>(view: &dyn View, user: UserNumber, name: &str) -> Result<Option<T>> {
    let value = view.get(&key(user, name))?;
    Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
}

fn raw(value: &[u8]) -> Result<Box<RawValue>> {
    serde_json::from_slice(value).map_err(|error| PROFILE.corrupt(error))
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use crate::{
        Error,
        profile::{self, Profile},
        user::UserNumber,
    };

    #[tokio::test]
    async fn fields_are_kept_apart() {
        let (_dir, store) = crate::store_for_tests();
        let user = UserNumber(1);
        store
            .write::<_, Error>(|txn| {
                let name = to_raw_value("Alice").unwrap();
                profile::put_field(txn, user, profile::DISPLAYNAME, &name);
                profile::put_field(txn, user, "m.tz", &to_raw_value("Europe/Paris").unwrap());
                Ok(())
            })
            .unwrap()
            .durable()
            .await;
        store.read(|view| {
            let expected = Profile {
                displayname: Some("Alice".to_owned()),
                avatar_url: None,
            };
            assert_eq!(profile::get(view, user).unwrap(), expected);
            let names: Vec<_> = profile::fields(view, user)
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(names, ["displayname", "m.tz"]);
        });
        store
            .write::<_, Error>(|txn| profile::delete_field(txn, user, profile::DISPLAYNAME))
            .unwrap()
            .durable()
            .await;
        store.read(|view| {
            assert_eq!(profile::get(view, user).unwrap(), Profile::default());
            assert!(profile::fields(view, UserNumber(2)).unwrap().is_empty());
        });
    }
}
