//! Account data that clients keep here, global and for a room.

use ruma_common::UserId;
use serde_json::value::RawValue;
use storage::{account_data, room::RoomNumber, user::UserNumber};

use crate::{Users, is_open, push_rules};

/// The largest content of one type.
pub const MAX_ACCOUNT_DATA_BYTES: usize = 64 * 1_024;

/// Why account data is not set.
#[derive(Debug, thiserror::Error)]
pub enum AccountDataError {
    /// 405 `M_BAD_JSON`: the server keeps this type itself.
    #[error("Cannot set {0} through this API")]
    ServerManaged(String),
    /// `M_BAD_JSON`: the content is not an object.
    #[error("The content is not a JSON object")]
    NotAnObject,
    /// `M_TOO_LARGE`: more than 64 KiB, or a type of more than 255 bytes.
    #[error("The account data is too large")]
    TooLarge,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Users {
    /// The content of one type. `m.push_rules` always has one.
    pub fn account_data(
        &self,
        user: UserNumber,
        user_id: &UserId,
        room: Option<RoomNumber>,
        event_type: &str,
    ) -> storage::Result<Option<Box<RawValue>>> {
        let view = self.store.snapshot();
        if room.is_none() && event_type == push_rules::EVENT_TYPE {
            return push_rules::content(&*view, user, user_id).map(Some);
        }
        let content = account_data::get(&*view, user, room, event_type)?;
        // MSC3391: what was deleted, or set to `{}`, "should be considered to not exist".
        Ok(content.filter(|content| !account_data::is_deleted(content)))
    }

    /// Deletes one type: clients that have it are told an empty object.
    pub async fn delete_account_data(
        &self,
        user: UserNumber,
        room: Option<RoomNumber>,
        event_type: &str,
    ) -> Result<(), AccountDataError> {
        must_be_clients(event_type)?;
        let commit = self.store.write::<_, AccountDataError>(|txn| {
            Ok(account_data::delete(txn, user, room, event_type)?)
        })?;
        commit.durable().await;
        Ok(())
    }

    /// All account data of a room.
    pub fn room_account_data(
        &self,
        user: UserNumber,
        room: RoomNumber,
    ) -> storage::Result<Vec<account_data::Entry>> {
        self.store
            .read(|view| account_data::list(view, user, Some(room)))
    }

    /// Sets the content of one type.
    pub async fn set_account_data(
        &self,
        user: UserNumber,
        room: Option<RoomNumber>,
        event_type: &str,
        content: &RawValue,
    ) -> Result<(), AccountDataError> {
        must_be_clients(event_type)?;
        if content.get().len() > MAX_ACCOUNT_DATA_BYTES || event_type.len() > 255 {
            return Err(AccountDataError::TooLarge);
        }
        if !content.get().trim_start().starts_with('{') {
            return Err(AccountDataError::NotAnObject);
        }
        let commit = self.store.write::<_, AccountDataError>(|txn| {
            if is_open(txn, user)? {
                account_data::put(txn, user, room, event_type, content)?;
            }
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }
}

/// > 405: This `type` of account data is controlled by the server; it cannot be modified by clients. Errcode:
/// > `M_BAD_JSON`.
fn must_be_clients(event_type: &str) -> Result<(), AccountDataError> {
    if ["m.fully_read", push_rules::EVENT_TYPE].contains(&event_type) {
        return Err(AccountDataError::ServerManaged(event_type.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;
    use serde_json::{json, value::to_raw_value};
    use storage::{room::RoomNumber, user::Account};

    use super::{AccountDataError, MAX_ACCOUNT_DATA_BYTES};
    use crate::testing::House;

    #[tokio::test]
    async fn rooms_and_global_are_apart() {
        let house = House::new().await;
        let (users, alice) = (&house.users, user_id!("@alice:example.org"));
        let content = to_raw_value(&json!({ "a": 1 })).unwrap();
        users
            .set_account_data(house.alice, Some(RoomNumber(1)), "m.x", &content)
            .await
            .unwrap();
        let get = |room| users.account_data(house.alice, alice, room, "m.x").unwrap();
        assert_eq!(get(Some(RoomNumber(1))).unwrap().get(), r#"{"a":1}"#);
        assert!(get(None).is_none());
        assert!(get(Some(RoomNumber(2))).is_none());
    }

    #[tokio::test]
    async fn what_the_server_keeps_is_not_set_by_clients() {
        let house = House::new().await;
        let content = to_raw_value(&json!({})).unwrap();
        for event_type in ["m.push_rules", "m.fully_read"] {
            for room in [None, Some(RoomNumber(1))] {
                let users = &house.users;
                let refused = users
                    .set_account_data(house.alice, room, event_type, &content)
                    .await;
                assert!(matches!(refused, Err(AccountDataError::ServerManaged(_))));
                let refused = users.delete_account_data(house.alice, room, event_type);
                let refused = refused.await;
                assert!(matches!(refused, Err(AccountDataError::ServerManaged(_))));
            }
        }
    }

    #[tokio::test]
    async fn what_is_deleted_or_set_to_nothing_is_not_there() {
        let house = House::new().await;
        let (users, alice) = (&house.users, user_id!("@alice:example.org"));
        let get = || users.account_data(house.alice, alice, None, "m.x").unwrap();
        let full = to_raw_value(&json!({ "a": 1 })).unwrap();
        for empty in [None, Some("{}"), Some("{ \n }")] {
            let set = users.set_account_data(house.alice, None, "m.x", &full);
            set.await.unwrap();
            assert!(get().is_some());
            match empty {
                Some(text) => {
                    let empty = serde_json::from_str(text).unwrap();
                    let set = users.set_account_data(house.alice, None, "m.x", empty);
                    set.await.unwrap();
                }
                None => {
                    let delete = users.delete_account_data(house.alice, None, "m.x");
                    delete.await.unwrap();
                }
            }
            assert!(get().is_none());
        }
    }

    #[tokio::test]
    async fn what_comes_while_an_account_closes_is_not_kept() {
        let house = House::new().await;
        let commit = house.store.write::<_, storage::Error>(|txn| {
            let closed = Account {
                deactivated: true,
                ..Account::default()
            };
            storage::user::put_account(txn, house.alice, &closed);
            Ok(())
        });
        commit.unwrap().durable().await;
        let (users, alice) = (&house.users, house.alice);
        let content = to_raw_value(&json!({ "a": 1 })).unwrap();
        let set = users.set_account_data(alice, None, "m.x", &content);
        set.await.unwrap();
        let name = to_raw_value("Alice").unwrap();
        let set = users.set_profile_field(alice, "displayname", &name);
        set.await.unwrap();
        users.add_filter(alice, &content).await.unwrap();
        let tag = users.set_tag(alice, RoomNumber(1), "u.x", serde_json::Map::new());
        tag.await.unwrap();
        house.store.read(|view| {
            for room in [None, Some(RoomNumber(1))] {
                let kept = storage::account_data::list(view, alice, room).unwrap();
                assert!(kept.is_empty());
            }
            assert!(storage::profile::fields(view, alice).unwrap().is_empty());
            assert_eq!(storage::filter::next_number(view, alice).unwrap(), 0);
        });
    }

    #[tokio::test]
    async fn limits_hold() {
        let house = House::new().await;
        let users = &house.users;
        let of_size = |size: usize| to_raw_value(&json!({ "a": "b".repeat(size - 8) })).unwrap();
        users
            .set_account_data(house.alice, None, "m.x", &of_size(MAX_ACCOUNT_DATA_BYTES))
            .await
            .unwrap();
        let large = of_size(MAX_ACCOUNT_DATA_BYTES + 1);
        let refused = users
            .set_account_data(house.alice, None, "m.x", &large)
            .await;
        assert!(matches!(refused, Err(AccountDataError::TooLarge)));
        for bad in [json!([]), json!(1), json!("{}"), json!(null)] {
            let bad = to_raw_value(&bad).unwrap();
            let refused = users.set_account_data(house.alice, None, "m.x", &bad).await;
            assert!(matches!(refused, Err(AccountDataError::NotAnObject)));
        }
    }
}
