//! When the devices and keys of users changed last, one row for each user, and the same rows in the order of the changes.
//! Besides, for each user, whose master keys they signed when: their other devices are told of that, nobody else is.

use crate::{
    Change, Key, KeyReader, Order, Position, Result, Txn, View,
    event::split_position,
    table::{DEVICE_LIST, DEVICE_LIST_ORDER, SIGNED_USER, SIGNED_USER_ORDER, Table},
    user::UserNumber,
};

/// Writes down that the devices or keys of a user changed: a device came, went or was renamed, or a key or a signature
/// that others see.
pub fn touch(txn: &mut Txn<'_>, user: UserNumber) -> Result<()> {
    let key = DEVICE_LIST.key().u64(user.0);
    if let Some(stamp) = txn.get_guarded(&key)? {
        let old = read_stamp(DEVICE_LIST, &stamp)?;
        txn.delete(DEVICE_LIST_ORDER.key().u64(old).u64(user.0));
    }
    txn.put_stamped(key, &[]);
    txn.put_at_position(DEVICE_LIST_ORDER.key(), &user.0.to_be_bytes(), []);
    txn.change(Change::DeviceList { user: user.0 });
    Ok(())
}

/// When the devices or keys of a user changed last, if ever.
pub fn changed_at(view: &dyn View, user: UserNumber) -> Result<Option<Position>> {
    let row = view.get(&DEVICE_LIST.key().u64(user.0))?;
    match row {
        Some(row) => Ok(split_position(DEVICE_LIST, &row)?.0),
        None => Ok(None),
    }
}

/// The users whose devices or keys changed after a position, each once, in the order of the last changes.
pub fn since(view: &dyn View, after: Position) -> Result<Vec<UserNumber>> {
    let prefix = DEVICE_LIST_ORDER.key();
    list(view, &prefix, after, DEVICE_LIST_ORDER, 8)
}

/// Writes down that a user signed the master key of another one.
pub fn touch_signed(txn: &mut Txn<'_>, signer: UserNumber, signed: UserNumber) -> Result<()> {
    let key = SIGNED_USER.key().u64(signer.0).u64(signed.0);
    if let Some(stamp) = txn.get_guarded(&key)? {
        let old = read_stamp(SIGNED_USER, &stamp)?;
        let order = SIGNED_USER_ORDER.key().u64(signer.0).u64(old).u64(signed.0);
        txn.delete(order);
    }
    txn.put_stamped(key, &[]);
    let prefix = SIGNED_USER_ORDER.key().u64(signer.0);
    txn.put_at_position(prefix, &signed.0.to_be_bytes(), []);
    txn.change(Change::SignedUser { user: signer.0 });
    Ok(())
}

/// The users whose master keys a user signed after a position.
pub fn signed_since(
    view: &dyn View,
    signer: UserNumber,
    after: Position,
) -> Result<Vec<UserNumber>> {
    let prefix = SIGNED_USER_ORDER.key().u64(signer.0);
    list(view, &prefix, after, SIGNED_USER_ORDER, 16)
}

fn list(
    view: &dyn View,
    prefix: &Key,
    after: Position,
    table: Table,
    skipped: usize,
) -> Result<Vec<UserNumber>> {
    let first = prefix.clone().u64(after.0.saturating_add(1));
    view.scan(&first.until_end_of(prefix), Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, _)| {
            let mut reader = KeyReader::new(&key);
            let user = reader.skip(skipped).and_then(|()| reader.u64());
            user.map(UserNumber)
                .ok_or_else(|| table.corrupt("malformed row"))
        })
        .collect()
}

fn read_stamp(table: Table, row: &[u8]) -> Result<u64> {
    let stamp = row.first_chunk().copied().map(u64::from_be_bytes);
    stamp.ok_or_else(|| table.corrupt("malformed row"))
}

#[cfg(test)]
mod tests {
    use crate::{Error, Position, Store, device_list, user::UserNumber};

    async fn touch(store: &Store, users: &[u64]) -> Position {
        let commit = store.write::<_, Error>(|txn| {
            for user in users {
                device_list::touch(txn, UserNumber(*user))?;
            }
            Ok(())
        });
        let commit = commit.unwrap();
        let position = commit.position();
        commit.durable().await;
        position
    }

    #[tokio::test]
    async fn each_user_is_listed_once_where_they_changed_last() {
        let (_dir, store) = crate::store_for_tests();
        let first = touch(&store, &[1, 1]).await;
        let second = touch(&store, &[2, 3]).await;
        touch(&store, &[1]).await;
        store.read(|view| {
            let since = |after| device_list::since(view, after).unwrap();
            let numbers = |users: &[u64]| users.iter().copied().map(UserNumber).collect::<Vec<_>>();
            assert_eq!(since(Position(0)), numbers(&[2, 3, 1]));
            assert_eq!(since(first), numbers(&[2, 3, 1]));
            assert_eq!(since(second), numbers(&[1]));
            assert_eq!(since(Position(u64::MAX)), numbers(&[]));
            let at = |user| device_list::changed_at(view, UserNumber(user)).unwrap();
            assert_eq!((at(2), at(9)), (Some(second), None));
        });
    }

    #[tokio::test]
    async fn whom_somebody_signed_is_theirs() {
        let (_dir, store) = crate::store_for_tests();
        let (alice, bob, carol) = (UserNumber(1), UserNumber(2), UserNumber(3));
        for signed in [bob, carol, bob] {
            let commit =
                store.write::<_, Error>(|txn| device_list::touch_signed(txn, alice, signed));
            commit.unwrap().durable().await;
        }
        store.read(|view| {
            let signed = |user| device_list::signed_since(view, user, Position(0)).unwrap();
            assert_eq!(signed(alice), [carol, bob]);
            assert!(signed(bob).is_empty());
        });
    }
}
