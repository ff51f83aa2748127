//! Tags of rooms: the account data `m.tag`, one tag at a time.

use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use storage::{account_data, room::RoomNumber, user::UserNumber};

use crate::{MAX_ACCOUNT_DATA_BYTES, Users, is_open};

/// The type of the account data that holds the tags of a room.
const EVENT_TYPE: &str = "m.tag";
/// The longest name of a tag.
///
/// > A tag cannot exceed 255 bytes.
const MAX_TAG_BYTES: usize = 255;

/// Why a tag is not set.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// `M_INVALID_PARAM`: the name is longer than 255 bytes.
    #[error("The tag is longer than 255 bytes")]
    NameTooLong,
    /// `M_INVALID_PARAM`: the order is no number between 0 and 1.
    #[error("The order of a tag is a number between 0 and 1")]
    InvalidOrder,
    /// `M_TOO_LARGE`: all tags of the room together would exceed 64 KiB.
    #[error("The tags of this room are too large")]
    TooLarge,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Users {
    /// The tags of a room, by name.
    pub fn tags(&self, user: UserNumber, room: RoomNumber) -> storage::Result<Map<String, Value>> {
        let stored = self
            .store
            .read(|view| account_data::get(view, user, Some(room), EVENT_TYPE))?;
        Ok(parse(stored.as_deref()))
    }

    /// Sets a tag; `order` and other fields are in `tag`.
    pub async fn set_tag(
        &self,
        user: UserNumber,
        room: RoomNumber,
        name: &str,
        tag: Map<String, Value>,
    ) -> Result<(), TagError> {
        if name.len() > MAX_TAG_BYTES {
            return Err(TagError::NameTooLong);
        }
        // > `order`: A number in a range `[0,1]` describing a relative position of the room under the
        // > given tag.
        let order_is_valid = match tag.get("order") {
            None => true,
            Some(order) => order
                .as_f64()
                .is_some_and(|order| (0.0..=1.0).contains(&order)),
        };
        if !order_is_valid {
            return Err(TagError::InvalidOrder);
        }
        self.edit_tags(user, room, |tags| {
            tags.insert(name.to_owned(), Value::Object(tag.clone()));
        })
        .await
    }

    /// Removes a tag, if it is there.
    pub async fn delete_tag(
        &self,
        user: UserNumber,
        room: RoomNumber,
        name: &str,
    ) -> Result<(), TagError> {
        self.edit_tags(user, room, |tags| {
            tags.remove(name);
        })
        .await
    }

    async fn edit_tags(
        &self,
        user: UserNumber,
        room: RoomNumber,
        change: impl Fn(&mut Map<String, Value>),
    ) -> Result<(), TagError> {
        let commit = self.store.write(|txn| {
            let stored = account_data::get_guarded(txn, user, Some(room), EVENT_TYPE)?;
            let old = parse(stored.as_deref());
            let mut tags = old.clone();
            change(&mut tags);
            if tags == old || !is_open(txn, user)? {
                return Ok(());
            }
            let content = serde_json::json!({ "tags": tags });
            let content = to_raw_value(&content).expect("a map is JSON");
            if content.get().len() > MAX_ACCOUNT_DATA_BYTES {
                return Err(TagError::TooLarge);
            }
            account_data::put(txn, user, Some(room), EVENT_TYPE, &content)?;
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }
}

/// Clients may have set the account data as a whole, so it can be anything.
fn parse(stored: Option<&RawValue>) -> Map<String, Value> {
    let content = stored.and_then(|content| serde_json::from_str::<Value>(content.get()).ok());
    match content {
        Some(Value::Object(mut content)) => match content.remove("tags") {
            Some(Value::Object(tags)) => tags,
            _ => Map::new(),
        },
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use storage::room::RoomNumber;

    use super::TagError;
    use crate::testing::House;

    const ROOM: RoomNumber = RoomNumber(1);

    fn tag(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[tokio::test]
    async fn tags_are_set_and_removed_one_at_a_time() {
        let house = House::new().await;
        let users = &house.users;
        let set = |name, value| users.set_tag(house.alice, ROOM, name, tag(value));
        set("m.favourite", json!({ "order": 0.5 })).await.unwrap();
        set("u.work", json!({})).await.unwrap();
        let tags = users.tags(house.alice, ROOM).unwrap();
        assert_eq!(
            Value::Object(tags),
            json!({ "m.favourite": { "order": 0.5 }, "u.work": {} })
        );
        for name in ["m.favourite", "unknown"] {
            users.delete_tag(house.alice, ROOM, name).await.unwrap();
        }
        let tags = users.tags(house.alice, ROOM).unwrap();
        assert_eq!(Value::Object(tags), json!({ "u.work": {} }));
        assert!(users.tags(house.alice, RoomNumber(2)).unwrap().is_empty());
    }

    #[tokio::test]
    async fn limits_hold() {
        let house = House::new().await;
        let users = &house.users;
        let long = "a".repeat(256);
        let refused = users.set_tag(house.alice, ROOM, &long, Map::new()).await;
        assert!(matches!(refused, Err(TagError::NameTooLong)));
        for order in [json!(-0.1), json!(1.1), json!("0.5"), json!(null)] {
            let tag = tag(json!({ "order": order }));
            let refused = users.set_tag(house.alice, ROOM, "u.x", tag).await;
            assert!(matches!(refused, Err(TagError::InvalidOrder)));
        }
        let large = tag(json!({ "x": "a".repeat(65_536) }));
        let refused = users.set_tag(house.alice, ROOM, "u.x", large).await;
        assert!(matches!(refused, Err(TagError::TooLarge)));
    }
}
