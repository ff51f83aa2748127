//! Profiles: display name, avatar, and fields of clients' own making.

use serde_json::{Value, value::RawValue};
use storage::{profile, user::UserNumber};

use ruma_common::UserId;

use crate::{Users, is_open};

/// The longest display name.
pub const MAX_DISPLAYNAME_CHARS: usize = 256;
/// The longest address of an avatar.
pub const MAX_AVATAR_URL_CHARS: usize = 1_000;
/// The longest name of a field.
const MAX_KEY_BYTES: usize = 255;
/// All names and values of a profile together.
const MAX_PROFILE_BYTES: usize = 64 * 1_024;

/// Why a profile is not changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// `M_INVALID_PARAM`: the name of the field is outside the grammar.
    #[error("Invalid profile key")]
    InvalidKey,
    /// `M_KEY_TOO_LARGE`
    #[error("The profile key is too long")]
    KeyTooLarge,
    /// `M_BAD_JSON`: the value has the wrong type.
    #[error("{0}")]
    InvalidValue(&'static str),
    /// `M_INVALID_PARAM`: the display name or the address of the avatar is too long.
    #[error("{0}")]
    ValueTooLong(&'static str),
    /// `M_PROFILE_TOO_LARGE`
    #[error("The profile would exceed 64 KiB")]
    ProfileTooLarge,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Users {
    /// All fields of a local user, or none if there is no such user.
    pub fn profile(&self, user_id: &UserId) -> storage::Result<Option<profile::Fields>> {
        let view = self.store.snapshot();
        match self.active(&*view, user_id)? {
            Some(user) => profile::fields(&*view, user).map(Some),
            None => Ok(None),
        }
    }

    /// One field of a local user.
    ///
    /// > There is no profile field with this key for this user, or the user does not exist.
    pub fn profile_field(
        &self,
        user_id: &UserId,
        name: &str,
    ) -> storage::Result<Option<Box<RawValue>>> {
        let view = self.store.snapshot();
        match self.active(&*view, user_id)? {
            Some(user) => profile::field(&*view, user, name),
            None => Ok(None),
        }
    }

    /// Sets a field. A display name or an avatar that is `null` or empty is removed instead, as
    /// clients from before there was `DELETE` expect.
    pub async fn set_profile_field(
        &self,
        user: UserNumber,
        name: &str,
        value: &RawValue,
    ) -> Result<(), ProfileError> {
        check_key(name)?;
        let value = match name {
            profile::DISPLAYNAME => check_displayname(value)?.then_some(value),
            profile::AVATAR_URL => check_avatar_url(value)?.then_some(value),
            // > For `m.tz`, the value MUST be a valid identifier from the IANA Time Zone Database.
            // > Servers MAY choose to validate the value.
            "m.tz" => match parse(value)? {
                Value::String(_) => Some(value),
                _ => return Err(ProfileError::InvalidValue("m.tz is a string")),
            },
            _ => Some(value),
        };
        let Some(value) = value else {
            return self.delete_profile_field(user, name).await;
        };
        let commit = self.store.write(|txn| {
            if !is_open(txn, user)? {
                return Ok(());
            }
            let fields = profile::fields(txn, user)?;
            let mut size = name.len() + value.get().len();
            for (other, stored) in &fields {
                if other != name {
                    size += other.len() + stored.get().len();
                } else if stored.get() == value.get() {
                    return Ok(());
                }
            }
            // > the total profile MUST be under 64 KiB
            if size >= MAX_PROFILE_BYTES {
                return Err(ProfileError::ProfileTooLarge);
            }
            profile::put_field(txn, user, name, value);
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }

    /// Removes a field.
    ///
    /// > The profile field was deleted or it doesn't exist.
    pub async fn delete_profile_field(
        &self,
        user: UserNumber,
        name: &str,
    ) -> Result<(), ProfileError> {
        check_key(name)?;
        let commit = self
            .store
            .write::<_, ProfileError>(|txn| Ok(profile::delete_field(txn, user, name)?))?;
        commit.durable().await;
        Ok(())
    }
}

/// > This MUST be either `avatar_url`, `displayname`, `m.tz`, or a custom field following the Common
/// > Namespaced Identifier Grammar.
fn check_key(name: &str) -> Result<(), ProfileError> {
    if name.len() > MAX_KEY_BYTES {
        return Err(ProfileError::KeyTooLarge);
    }
    let part_is_valid = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let known = [profile::DISPLAYNAME, profile::AVATAR_URL].contains(&name);
    if known || (name.contains('.') && name.split('.').all(part_is_valid)) {
        Ok(())
    } else {
        Err(ProfileError::InvalidKey)
    }
}

/// Whether there is a display name.
fn check_displayname(value: &RawValue) -> Result<bool, ProfileError> {
    match parse(value)? {
        Value::Null => Ok(false),
        Value::String(text) if text.chars().count() > MAX_DISPLAYNAME_CHARS => Err(
            ProfileError::ValueTooLong("The display name has more than 256 characters"),
        ),
        Value::String(text) => Ok(!text.is_empty()),
        _ => Err(ProfileError::InvalidValue("A display name is a string")),
    }
}

/// Whether there is an avatar.
fn check_avatar_url(value: &RawValue) -> Result<bool, ProfileError> {
    match parse(value)? {
        Value::Null => Ok(false),
        Value::String(text) if text.chars().count() > MAX_AVATAR_URL_CHARS => Err(
            ProfileError::ValueTooLong("The avatar's address has more than 1000 characters"),
        ),
        Value::String(text) if text.is_empty() => Ok(false),
        // NOTSPEC: "For `avatar_url`, the value MUST be an MXC URI string." Clients and bridges write other texts, too, which
        // servers have always taken; nobody is made to fetch them.
        Value::String(_) => Ok(true),
        _ => Err(ProfileError::InvalidValue("An avatar is a string")),
    }
}

fn parse(value: &RawValue) -> Result<Value, ProfileError> {
    serde_json::from_str(value.get()).map_err(|_| ProfileError::InvalidValue("Not JSON"))
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;
    use serde_json::{Value, json, value::to_raw_value};

    use super::{ProfileError, check_key};
    use crate::{Users, testing::House};

    async fn set(house: &House, name: &str, value: Value) -> Result<(), ProfileError> {
        let value = to_raw_value(&value).unwrap();
        house
            .users
            .set_profile_field(house.alice, name, &value)
            .await
    }

    fn get(users: &Users, name: &str) -> Option<Value> {
        let alice = user_id!("@alice:example.org");
        let value = users.profile_field(alice, name).unwrap();
        value.map(|value| serde_json::from_str(value.get()).unwrap())
    }

    #[tokio::test]
    async fn fields_are_set_and_removed() {
        let house = House::new().await;
        set(&house, "displayname", json!("Alice")).await.unwrap();
        set(&house, "avatar_url", json!("mxc://example.org/a"))
            .await
            .unwrap();
        set(&house, "org.example.pet", json!({ "cat": 2 }))
            .await
            .unwrap();
        assert_eq!(get(&house.users, "displayname"), Some(json!("Alice")));
        assert_eq!(
            get(&house.users, "org.example.pet"),
            Some(json!({ "cat": 2 }))
        );
        let alice = user_id!("@alice:example.org");
        assert_eq!(house.users.profile(alice).unwrap().unwrap().len(), 3);
        set(&house, "displayname", json!("")).await.unwrap();
        set(&house, "avatar_url", json!(null)).await.unwrap();
        let users = &house.users;
        users
            .delete_profile_field(house.alice, "org.example.pet")
            .await
            .unwrap();
        assert_eq!(house.users.profile(alice).unwrap().unwrap().len(), 0);
        assert_eq!(get(&house.users, "displayname"), None);
    }

    #[tokio::test]
    async fn nobody_and_strangers_have_no_profile() {
        let house = House::new().await;
        for user_id in [user_id!("@bob:example.org"), user_id!("@alice:example.com")] {
            assert!(house.users.profile(user_id).unwrap().is_none());
            assert!(
                house
                    .users
                    .profile_field(user_id, "displayname")
                    .unwrap()
                    .is_none()
            );
        }
    }

    #[tokio::test]
    async fn limits_hold_at_n_and_not_at_n_plus_1() {
        let house = House::new().await;
        set(&house, "displayname", json!("é".repeat(256)))
            .await
            .unwrap();
        let too_long = set(&house, "displayname", json!("é".repeat(257))).await;
        assert!(matches!(too_long, Err(ProfileError::ValueTooLong(_))));
        let mxc = |length: usize| json!(format!("mxc://example.org/{}", "a".repeat(length - 18)));
        set(&house, "avatar_url", mxc(1_000)).await.unwrap();
        let too_long = set(&house, "avatar_url", mxc(1_001)).await;
        assert!(matches!(too_long, Err(ProfileError::ValueTooLong(_))));
        set(&house, "org.example.big", json!("a".repeat(60_000)))
            .await
            .unwrap();
        let too_large = set(&house, "org.example.other", json!("a".repeat(5_000))).await;
        assert!(matches!(too_large, Err(ProfileError::ProfileTooLarge)));
    }

    #[tokio::test]
    async fn values_of_the_wrong_type_are_refused() {
        let house = House::new().await;
        for (name, value) in [
            ("displayname", json!(3)),
            ("displayname", json!({})),
            ("avatar_url", json!(1)),
            ("avatar_url", json!([])),
            ("m.tz", json!(1)),
        ] {
            let refused = set(&house, name, value).await;
            assert!(
                matches!(refused, Err(ProfileError::InvalidValue(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn keys_follow_the_grammar() {
        for good in ["displayname", "avatar_url", "m.tz", "org.example_1.a2"] {
            check_key(good).unwrap();
        }
        for bad in ["", "custom", "m.", ".m", "m.Tz", "m..tz", "1.a", "m.t z"] {
            assert!(
                matches!(check_key(bad), Err(ProfileError::InvalidKey)),
                "{bad}"
            );
        }
        let long = format!("m.{}", "a".repeat(254));
        assert!(matches!(check_key(&long), Err(ProfileError::KeyTooLarge)));
    }
}
