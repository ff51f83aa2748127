//! Filters that clients store and name in `/sync`.

use serde_json::value::RawValue;
use storage::{filter, user::UserNumber};

use crate::{Users, is_open};

/// The largest filter.
pub const MAX_FILTER_BYTES: usize = 64 * 1_024;
/// How many filters a user may store.
pub const MAX_FILTERS: u32 = 1_000;

/// Why a filter is not stored.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// `M_TOO_LARGE`
    #[error("The filter is larger than 64 KiB")]
    TooLarge,
    /// `M_RESOURCE_LIMIT_EXCEEDED`: the user has stored very many.
    #[error("Too many filters are stored")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Users {
    /// Stores a filter and returns its id. The same filter again has the same id.
    pub async fn add_filter(
        &self,
        user: UserNumber,
        filter: &RawValue,
    ) -> Result<String, FilterError> {
        if filter.get().len() > MAX_FILTER_BYTES {
            return Err(FilterError::TooLarge);
        }
        let commit = self.store.write(|txn| {
            if let Some(number) = filter::find(txn, user, filter)? {
                return Ok(number);
            }
            let number = filter::next_number(txn, user)?;
            if !is_open(txn, user)? {
                // Nobody asks for it again.
                return Ok(number);
            }
            if number >= MAX_FILTERS {
                return Err(FilterError::TooMany);
            }
            filter::put(txn, user, number, filter);
            Ok(number)
        })?;
        // > The ID of the filter that was created. Cannot start with a `{` as this character is used
        // > to determine if the filter provided is inline JSON or a previously declared filter by
        // > homeservers on some APIs.
        Ok(commit.durable().await.to_string())
    }

    /// A filter by its id. Ids are counted for each user, and give nobody a filter of another.
    pub fn filter(
        &self,
        user: UserNumber,
        filter_id: &str,
    ) -> storage::Result<Option<Box<RawValue>>> {
        match filter_id.parse() {
            Ok(number) => self.store.read(|view| filter::get(view, user, number)),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};
    use storage::user::UserNumber;

    use super::{FilterError, MAX_FILTERS};
    use crate::testing::House;

    #[tokio::test]
    async fn a_filter_is_its_owners() {
        let house = House::new().await;
        let filter = to_raw_value(&json!({ "room": {} })).unwrap();
        let id = house.users.add_filter(house.alice, &filter).await.unwrap();
        let again = house.users.add_filter(house.alice, &filter).await.unwrap();
        assert_eq!(id, again);
        let stored = house.users.filter(house.alice, &id).unwrap().unwrap();
        assert_eq!(stored.get(), filter.get());
        let stranger = UserNumber(house.alice.0 + 1);
        assert!(house.users.filter(stranger, &id).unwrap().is_none());
        for unknown in ["1", "-1", "", "x", "99999999999999"] {
            assert!(house.users.filter(house.alice, unknown).unwrap().is_none());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn limits_hold() {
        let house = House::new().await;
        let large = to_raw_value(&json!({ "a": "b".repeat(65_536) })).unwrap();
        let refused = house.users.add_filter(house.alice, &large).await;
        assert!(matches!(refused, Err(FilterError::TooLarge)));
        let tasks: Vec<_> = (0..=MAX_FILTERS)
            .map(|n| {
                let (users, alice) = (house.users.clone(), house.alice);
                tokio::spawn(async move {
                    let filter = to_raw_value(&json!({ "n": n })).unwrap();
                    users.add_filter(alice, &filter).await
                })
            })
            .collect();
        let mut refused = 0;
        for task in tasks {
            refused += u32::from(task.await.unwrap().is_err());
        }
        assert_eq!(refused, 1);
    }
}
