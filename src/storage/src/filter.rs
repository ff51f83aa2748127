//! Filters that clients have stored, numbered for each user.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    Key, KeyReader, Order, Result, Txn, View,
    table::{FILTER, FILTER_NUMBER},
    user::UserNumber,
};

/// One of the filters of a user.
pub fn get(view: &dyn View, user: UserNumber, number: u32) -> Result<Option<Box<RawValue>>> {
    let value = view.get(&FILTER.key().u64(user.0).u32(number))?;
    value
        .map(|value| serde_json::from_slice(&value).map_err(|error| FILTER.corrupt(error)))
        .transpose()
}

/// The number of a filter with exactly this text, if the user has stored it.
pub fn find(view: &dyn View, user: UserNumber, filter: &RawValue) -> Result<Option<u32>> {
    let value = view.get(&number_key(user, filter))?;
    value.as_deref().map(read_number).transpose()
}

/// The number that the user's next filter gets. One is never removed alone, so it is also how
/// many there are.
pub fn next_number(view: &dyn View, user: UserNumber) -> Result<u32> {
    let range = FILTER.key().u64(user.0).prefix_range();
    let Some((key, _)) = view.first(&range, Order::Reverse)? else {
        return Ok(0);
    };
    let mut reader = KeyReader::new(&key);
    let last = reader.u64().and_then(|_| reader.u32());
    Ok(last.ok_or_else(|| FILTER.corrupt("short key"))? + 1)
}

/// Stores a filter under the next number of the same batch, which did not find it.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, number: u32, filter: &RawValue) {
    let key = FILTER.key().u64(user.0).u32(number);
    txn.expect_absent(key.clone());
    txn.put(key, filter.get().as_bytes());
    txn.expect_absent(number_key(user, filter));
    txn.put(number_key(user, filter), number.to_be_bytes());
}

/// Removes all filters of a user, for good.
pub fn delete_all(txn: &mut Txn<'_>, user: UserNumber) {
    for table in [FILTER, FILTER_NUMBER] {
        txn.delete_range(table.key().u64(user.0).prefix_range());
    }
}

fn number_key(user: UserNumber, filter: &RawValue) -> Key {
    let hash = Sha256::digest(filter.get().as_bytes());
    FILTER_NUMBER.key().u64(user.0).raw(&hash)
}

fn read_number(value: &[u8]) -> Result<u32> {
    let bytes = value
        .try_into()
        .map_err(|_| FILTER.corrupt("a number has four bytes"))?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use crate::{Error, filter, user::UserNumber};

    #[tokio::test]
    async fn numbers_count_up_for_each_user() {
        let (_dir, store) = crate::store_for_tests();
        let first = RawValue::from_string("{}".to_owned()).unwrap();
        let second = RawValue::from_string(r#"{"room":{}}"#.to_owned()).unwrap();
        store
            .write::<_, Error>(|txn| {
                for (user, text) in [(1, &first), (1, &second), (2, &second)] {
                    let number = filter::next_number(txn, UserNumber(user))?;
                    filter::put(txn, UserNumber(user), number, text);
                }
                Ok(())
            })
            .unwrap()
            .durable()
            .await;
        store.read(|view| {
            assert_eq!(filter::next_number(view, UserNumber(1)).unwrap(), 2);
            assert_eq!(filter::find(view, UserNumber(1), &second).unwrap(), Some(1));
            assert_eq!(filter::find(view, UserNumber(2), &first).unwrap(), None);
            let stored = filter::get(view, UserNumber(1), 1).unwrap().unwrap();
            assert_eq!(stored.get(), second.get());
            assert!(filter::get(view, UserNumber(2), 1).unwrap().is_none());
        });
    }
}
