//! Addresses that were given out before their content: `mxc://` URIs of this server that wait for an upload.

use std::ops::ControlFlow;

use minicbor::{Decode, Encode};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    table::{MEDIA_PENDING, MEDIA_PENDING_OF_USER},
    user::UserNumber,
};

/// An address that waits for its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pending {
    /// Who alone may upload to it.
    #[n(0)]
    pub uploader: UserNumber,
    /// When it is gone, in milliseconds since 1970.
    #[n(1)]
    pub expires_ms: u64,
}

/// What a user has in waiting: one row, so that a batch can guard the number.
#[derive(Debug, Default, Encode, Decode)]
struct Own {
    #[n(0)]
    ids: Vec<OwnId>,
}

#[derive(Debug, Encode, Decode)]
struct OwnId {
    #[n(0)]
    media_id: String,
    #[n(1)]
    expires_ms: u64,
}

fn key(media_id: &str) -> Key {
    MEDIA_PENDING.key().raw(media_id.as_bytes())
}

fn own_key(user: UserNumber) -> Key {
    MEDIA_PENDING_OF_USER.key().u64(user.0)
}

/// What is known of an address that waits.
pub fn get(view: &dyn View, media_id: &str) -> Result<Option<Pending>> {
    let value = view.get(&key(media_id))?;
    value.map(|value| decode(MEDIA_PENDING, &value)).transpose()
}

/// Gives out an address, unless its user has `most` in waiting already: then it answers when the first of these is gone.
pub fn create(
    txn: &mut Txn<'_>,
    media_id: &str,
    pending: Pending,
    now_ms: u64,
    most: usize,
) -> Result<Result<(), u64>> {
    let mut own = own(txn, pending.uploader)?;
    own.ids.retain(|id| id.expires_ms > now_ms);
    if own.ids.len() >= most {
        let first = own.ids.iter().map(|id| id.expires_ms).min();
        return Ok(Err(first.unwrap_or(now_ms)));
    }
    own.ids.push(OwnId {
        media_id: media_id.to_owned(),
        expires_ms: pending.expires_ms,
    });
    txn.put(own_key(pending.uploader), encode(&own));
    txn.expect_absent(key(media_id));
    txn.put(key(media_id), encode(&pending));
    Ok(Ok(()))
}

/// Ends the waiting of an address, if it still waits.
pub fn take(txn: &mut Txn<'_>, media_id: &str) -> Result<Option<Pending>> {
    let Some(value) = txn.get_guarded(&key(media_id))? else {
        return Ok(None);
    };
    let pending: Pending = decode(MEDIA_PENDING, &value)?;
    let mut own = own(txn, pending.uploader)?;
    own.ids.retain(|id| id.media_id != media_id);
    if own.ids.is_empty() {
        txn.delete(own_key(pending.uploader));
    } else {
        txn.put(own_key(pending.uploader), encode(&own));
    }
    txn.delete(key(media_id));
    Ok(Some(pending))
}

/// At most `limit` addresses that waited too long.
pub fn expired(view: &dyn View, now_ms: u64, limit: usize) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut wrong = None;
    let all = MEDIA_PENDING.key().prefix_range();
    view.visit(&all, Order::Forward, &mut |key, value| {
        match read(key, value) {
            Ok((media_id, pending)) if pending.expires_ms <= now_ms => found.push(media_id),
            Ok(_) => {}
            Err(error) => wrong = Some(error),
        }
        if wrong.is_none() && found.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    wrong.map_or(Ok(found), Err)
}

fn read(key: &[u8], value: &[u8]) -> Result<(String, Pending)> {
    let media_id = String::from_utf8(KeyReader::new(key).rest().to_vec());
    let media_id = media_id.map_err(|_| MEDIA_PENDING.corrupt("a key that is no media id"))?;
    Ok((media_id, decode(MEDIA_PENDING, value)?))
}

fn own(txn: &mut Txn<'_>, user: UserNumber) -> Result<Own> {
    let value = txn.get_guarded(&own_key(user))?;
    let own = value.map(|value| decode(MEDIA_PENDING_OF_USER, &value));
    Ok(own.transpose()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Pending, create, expired, get, take};
    use crate::{Error, user::UserNumber};

    fn pending(user: u64, expires_ms: u64) -> Pending {
        Pending {
            uploader: UserNumber(user),
            expires_ms,
        }
    }

    #[tokio::test]
    async fn a_user_has_so_many_and_room_again_when_one_ends() {
        let (_dir, store) = crate::store_for_tests();
        let make = |id: &str, now_ms, pending: Pending| {
            let commit = store.write::<_, Error>(|txn| create(txn, id, pending, now_ms, 2));
            commit.unwrap().value().to_owned()
        };
        assert_eq!(make("a", 0, pending(1, 10)), Ok(()));
        assert_eq!(make("b", 0, pending(1, 20)), Ok(()));
        assert_eq!(make("c", 0, pending(1, 30)), Err(10));
        assert_eq!(make("d", 0, pending(2, 30)), Ok(()));
        // The first has expired.
        assert_eq!(make("c", 10, pending(1, 30)), Ok(()));
        assert_eq!(make("e", 10, pending(1, 30)), Err(20));
        let taken = store.write::<_, Error>(|txn| take(txn, "b")).unwrap();
        assert_eq!(taken.durable().await, Some(pending(1, 20)));
        assert_eq!(make("e", 10, pending(1, 30)), Ok(()));
    }

    #[tokio::test]
    async fn what_has_expired_is_found() {
        let (_dir, store) = crate::store_for_tests();
        for (id, expires_ms) in [("a", 10), ("b", 30), ("c", 20)] {
            let commit =
                store.write::<_, Error>(|txn| create(txn, id, pending(1, expires_ms), 0, 9));
            assert_eq!(commit.unwrap().durable().await, Ok(()));
        }
        store.read(|view| {
            assert_eq!(expired(view, 20, 9).unwrap(), ["a", "c"]);
            assert_eq!(expired(view, 20, 1).unwrap(), ["a"]);
            assert_eq!(get(view, "b").unwrap(), Some(pending(1, 30)));
        });
        let taken = store.write::<_, Error>(|txn| take(txn, "z")).unwrap();
        assert_eq!(taken.durable().await, None);
    }
}
