//! Changed profiles that are being carried into rooms: a queue of users, each with the last room that is done.

use minicbor::{Decode, Encode};

use crate::{
    Key, KeyReader, Order, Position, Result, Txn, View, decode, encode, room::RoomNumber,
    table::CARRIED_PROFILE, user::UserNumber,
};

/// How far a changed profile has been carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Carried {
    /// What is carried is the profile as of this position, or a later one.
    #[n(0)]
    pub since: Position,
    /// The last room that is done; rooms are done in the order of their numbers.
    #[n(1)]
    pub done: Option<RoomNumber>,
}

fn key(user: UserNumber) -> Key {
    CARRIED_PROFILE.key().u64(user.0)
}

/// Begins to carry a user's profile, or begins again.
pub fn begin(txn: &mut Txn<'_>, user: UserNumber, since: Position) {
    txn.put(key(user), encode(&Carried { since, done: None }));
}

/// At most `limit` users whose profile is being carried, behind `after`.
pub fn waiting(
    view: &dyn View,
    after: Option<UserNumber>,
    limit: usize,
) -> Result<Vec<(UserNumber, Carried)>> {
    let table = CARRIED_PROFILE.key();
    let first = match after {
        Some(after) => key(after).raw(&[0]),
        None => table.clone(),
    };
    view.scan(&first.until_end_of(&table), Order::Forward, limit)?
        .into_iter()
        .map(|(key, row)| {
            let user = KeyReader::new(&key)
                .u64()
                .ok_or_else(|| CARRIED_PROFILE.corrupt("short key"))?;
            Ok((UserNumber(user), decode(CARRIED_PROFILE, &row)?))
        })
        .collect()
}

/// Notes that a room is done, or that all are (`None`). `false`, and nothing is written, if the profile has changed
/// again since `known` was read.
pub fn advance(
    txn: &mut Txn<'_>,
    user: UserNumber,
    known: &Carried,
    done: Option<RoomNumber>,
) -> Result<bool> {
    let row = txn.get_guarded(&key(user))?;
    if row != Some(encode(known)) {
        return Ok(false);
    }
    match done {
        Some(_) => txn.put(key(user), encode(&Carried { done, ..*known })),
        None => txn.delete(key(user)),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{Carried, advance, begin, waiting};
    use crate::{Error, Position, room::RoomNumber, user::UserNumber};

    #[tokio::test]
    async fn a_change_on_the_way_begins_anew() {
        let (_dir, store) = crate::store_for_tests();
        let user = UserNumber(7);
        let begun = |since, done| Carried {
            since: Position(since),
            done,
        };
        let write = async |since| {
            let commit = store.write::<_, Error>(|txn| {
                begin(txn, user, Position(since));
                begin(txn, UserNumber(u64::MAX), Position(since));
                Ok(())
            });
            commit.unwrap().durable().await;
        };
        let step = async |known: Carried, done| {
            let commit = store.write::<_, Error>(|txn| advance(txn, user, &known, done));
            commit.unwrap().durable().await
        };
        let first = async || store.read(|view| waiting(view, None, 1)).unwrap().pop();
        write(5).await;
        let room = Some(RoomNumber(3));
        assert!(step(begun(5, None), room).await);
        assert_eq!(first().await, Some((user, begun(5, room))));
        write(6).await;
        assert!(!step(begun(5, room), Some(RoomNumber(4))).await);
        assert_eq!(first().await, Some((user, begun(6, None))));
        assert!(step(begun(6, None), None).await);
        let left = store.read(|view| waiting(view, Some(user), 9)).unwrap();
        assert_eq!(left.len(), 1);
        assert!(
            store
                .read(|view| waiting(view, Some(left[0].0), 9))
                .unwrap()
                .is_empty()
        );
        assert_eq!(first().await, left.first().copied());
    }
}
