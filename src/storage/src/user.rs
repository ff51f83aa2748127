//! Users, local and remote: the number that stands for a user id, and the accounts of local ones.

use minicbor::{Decode, Encode};
use ruma_common::{OwnedUserId, UserId};

use crate::{
    Order, Result, Txn, View, decode, encode,
    table::{ACCOUNT, ERASED_USER, NEXT_USER_NUMBER, USER_ID, USER_NUMBER},
};

/// Stands for a user in keys, in change records and in memory. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct UserNumber(#[n(0)] pub u64);

/// The number of a user, if anything was ever remembered of them.
pub fn number(view: &dyn View, user_id: &UserId) -> Result<Option<UserNumber>> {
    let key = USER_NUMBER.key().raw(user_id.as_bytes());
    view.get(&key)?.map(|value| read_number(&value)).transpose()
}

/// The numbers of many users, in their order.
pub fn numbers(view: &dyn View, user_ids: &[&UserId]) -> Result<Vec<Option<UserNumber>>> {
    let keys: Vec<_> = user_ids
        .iter()
        .map(|user_id| USER_NUMBER.key().raw(user_id.as_bytes()))
        .collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|value| value.map(|value| read_number(&value)).transpose())
        .collect()
}

/// The number of a user, given now if there was none.
pub fn ensure(txn: &mut Txn<'_>, user_id: &UserId) -> Result<UserNumber> {
    if let Some(number) = number(txn, user_id)? {
        return Ok(number);
    }
    // Whoever gives a number moves the counter, so what is not there after the counter was read is
    // not there when the batch is applied either.
    let counter = NEXT_USER_NUMBER.key();
    let next = match txn.get_guarded(&counter)? {
        Some(value) => read_number(&value)?.0,
        None => 1,
    };
    if let Some(number) = number(txn, user_id)? {
        return Ok(number);
    }
    txn.put(counter, (next + 1).to_be_bytes());
    txn.put(
        USER_NUMBER.key().raw(user_id.as_bytes()),
        next.to_be_bytes(),
    );
    txn.put(USER_ID.key().u64(next), user_id.as_bytes());
    Ok(UserNumber(next))
}

/// The user id that a number stands for.
pub fn id(view: &dyn View, user: UserNumber) -> Result<Option<OwnedUserId>> {
    let value = view.get(&USER_ID.key().u64(user.0))?;
    value.as_deref().map(read_id).transpose()
}

/// The user ids of many numbers, in their order.
pub fn ids(view: &dyn View, users: &[UserNumber]) -> Result<Vec<Option<OwnedUserId>>> {
    let keys: Vec<_> = users.iter().map(|user| USER_ID.key().u64(user.0)).collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|value| value.as_deref().map(read_id).transpose())
        .collect()
}

/// What this server knows of one of its own users. Whoever has no such row is remote, or nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    /// When it was made, in milliseconds since 1970.
    #[n(0)]
    pub created_ts: u64,
    /// The password's argon2id hash in PHC form; none when nobody can log in with a password.
    #[n(1)]
    pub password_hash: Option<String>,
    /// May use the admin API.
    #[n(2)]
    pub admin: bool,
    /// Is closed for good: no login, no token, and the name stays taken.
    #[n(3)]
    pub deactivated: bool,
    /// Cannot be used until an administrator unlocks it; tokens stay.
    #[n(4)]
    pub locked: bool,
    /// May read but hardly write.
    #[n(5)]
    pub suspended: bool,
    /// Has no password, and may do little: see the specification on guest access.
    #[n(7)]
    #[cbor(default)]
    pub guest: bool,
}

/// The account of a local user.
pub fn account(view: &dyn View, user: UserNumber) -> Result<Option<Account>> {
    let value = view.get(&ACCOUNT.key().u64(user.0))?;
    value.map(|value| decode(ACCOUNT, &value)).transpose()
}

/// The accounts of many users, in their order.
pub fn accounts_of(view: &dyn View, users: &[UserNumber]) -> Result<Vec<Option<Account>>> {
    let keys: Vec<_> = users.iter().map(|user| ACCOUNT.key().u64(user.0)).collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|value| value.map(|value| decode(ACCOUNT, &value)).transpose())
        .collect()
}

/// The account of a local user, by which this batch decides something.
pub fn account_guarded(txn: &mut Txn<'_>, user: UserNumber) -> Result<Option<Account>> {
    let value = txn.get_guarded(&ACCOUNT.key().u64(user.0))?;
    value.map(|value| decode(ACCOUNT, &value)).transpose()
}

/// Makes or replaces an account that was read guarded in the same batch.
pub fn put_account(txn: &mut Txn<'_>, user: UserNumber, account: &Account) {
    txn.put(ACCOUNT.key().u64(user.0), encode(account));
}

/// Notes that a user wished to be forgotten: who was not in the room then sees their events redacted.
pub fn erase(txn: &mut Txn<'_>, user: UserNumber) {
    txn.put(ERASED_USER.key().u64(user.0), []);
}

/// Whether a user wished to be forgotten.
pub fn is_erased(view: &dyn View, user: UserNumber) -> Result<bool> {
    Ok(view.get(&ERASED_USER.key().u64(user.0))?.is_some())
}

/// At most `limit` local users with a number above `after`.
pub fn accounts(
    view: &dyn View,
    after: UserNumber,
    limit: usize,
) -> Result<Vec<(UserNumber, Account)>> {
    let range = ACCOUNT
        .key()
        .u64(after.0.saturating_add(1))
        .until_end_of(&ACCOUNT.key());
    view.scan(&range, Order::Forward, limit)?
        .into_iter()
        .map(|(key, value)| {
            let number = crate::KeyReader::new(&key)
                .u64()
                .ok_or_else(|| ACCOUNT.corrupt("short key"))?;
            Ok((UserNumber(number), decode(ACCOUNT, &value)?))
        })
        .collect()
}

/// Whether there is an account at all.
pub fn has_accounts(view: &dyn View) -> Result<bool> {
    Ok(view
        .first(&ACCOUNT.key().prefix_range(), Order::Forward)?
        .is_some())
}

fn read_number(value: &[u8]) -> Result<UserNumber> {
    let bytes = value
        .try_into()
        .map_err(|_| USER_NUMBER.corrupt("a number has eight bytes"))?;
    Ok(UserNumber(u64::from_be_bytes(bytes)))
}

fn read_id(value: &[u8]) -> Result<OwnedUserId> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| UserId::parse(text).ok())
        .ok_or_else(|| USER_ID.corrupt("not a user id"))
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;

    use crate::{Error, user};

    #[tokio::test]
    async fn a_number_is_given_once_and_leads_back() {
        let (_dir, store) = crate::store_for_tests();
        let alice = user_id!("@alice:example.org");
        let bob = user_id!("@bob:example.com");
        let (first, second) = store
            .write::<_, Error>(|txn| Ok((user::ensure(txn, alice)?, user::ensure(txn, bob)?)))
            .unwrap()
            .durable()
            .await;
        assert_ne!(first, second);
        let again = store
            .write::<_, Error>(|txn| user::ensure(txn, alice))
            .unwrap()
            .durable()
            .await;
        assert_eq!(again, first);
        store.read(|view| {
            assert_eq!(
                user::ids(view, &[second, first]).unwrap(),
                [Some(bob.to_owned()), Some(alice.to_owned())]
            );
            assert_eq!(user::number(view, bob).unwrap(), Some(second));
            assert_eq!(
                user::number(view, user_id!("@carol:example.org")).unwrap(),
                None
            );
        });
    }

    #[tokio::test]
    async fn a_number_given_between_look_and_write_is_kept() {
        let (_dir, store) = crate::store_for_tests();
        let alice = user_id!("@alice:example.org");
        let mut first = None;
        let ours = store.write::<_, Error>(|txn| {
            let ours = user::ensure(txn, alice)?;
            if first.is_none() {
                let theirs = store.write::<_, Error>(|txn| user::ensure(txn, alice))?;
                first = Some(*theirs.value());
            }
            Ok(ours)
        });
        assert_eq!(Some(ours.unwrap().durable().await), first);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_at_once_get_different_numbers() {
        let (_dir, store) = crate::store_for_tests();
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move {
                    let user_id =
                        ruma_common::UserId::parse(format!("@u{}:example.org", n % 50)).unwrap();
                    store
                        .write::<_, Error>(|txn| user::ensure(txn, &user_id))
                        .unwrap()
                        .durable()
                        .await
                })
            })
            .collect();
        let mut numbers = std::collections::BTreeSet::new();
        for task in tasks {
            numbers.insert(task.await.unwrap());
        }
        assert_eq!(numbers.len(), 50);
    }
}
