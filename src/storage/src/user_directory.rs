//! The user directory: by which words local users are found, and who can be found by everybody. Kept by one follower,
//! which makes it anew when [`version`] is not its own.

use std::ops::ControlFlow;

use minicbor::{Decode, Encode};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    room::RoomNumber,
    table::{DIRECTORY_STATE, DIRECTORY_USER, DIRECTORY_WORD, OPEN_MEMBER, OPEN_ROOM},
    user::UserNumber,
};

/// What stands in the directory of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// The words by which the user is found, each once.
    #[n(0)]
    pub words: Vec<String>,
}

fn user_key(user: UserNumber) -> Key {
    DIRECTORY_USER.key().u64(user.0)
}

fn word_key(word: &str, user: UserNumber) -> Key {
    DIRECTORY_WORD.key().text(word).u64(user.0)
}

fn open_key(room: RoomNumber) -> Key {
    OPEN_ROOM.key().u64(room.0)
}

fn member_key(user: UserNumber, room: RoomNumber) -> Key {
    OPEN_MEMBER.key().u64(user.0).u64(room.0)
}

/// Replaces what stands in the directory of a user.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, entry: &Entry) -> Result<()> {
    let old = match txn.get(&user_key(user))? {
        Some(row) => decode::<Entry>(DIRECTORY_USER, &row)?.words,
        None => Vec::new(),
    };
    for word in old.iter().filter(|word| !entry.words.contains(word)) {
        txn.delete(word_key(word, user));
    }
    for word in entry.words.iter().filter(|word| !old.contains(word)) {
        txn.put(word_key(word, user), []);
    }
    txn.put(user_key(user), encode(entry));
    Ok(())
}

/// What stands in the directory of many users, in their order.
pub fn entries(view: &dyn View, users: &[UserNumber]) -> Result<Vec<Option<Entry>>> {
    let keys: Vec<_> = users.iter().map(|user| user_key(*user)).collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map(|row| decode(DIRECTORY_USER, &row)).transpose())
        .collect()
}

/// Shows the words that begin with a prefix, in their order, each with a user, until `visitor` breaks.
pub fn visit_words(
    view: &dyn View,
    prefix: &str,
    visitor: &mut dyn FnMut(&str, UserNumber) -> ControlFlow<()>,
) -> Result<()> {
    let range = DIRECTORY_WORD.key().raw(prefix.as_bytes()).prefix_range();
    let mut failed = None;
    view.visit(&range, Order::Forward, &mut |key, _| {
        let mut reader = KeyReader::new(key);
        match reader.text().zip(reader.u64()) {
            Some((word, user)) => visitor(&word, UserNumber(user)),
            None => {
                failed = Some(DIRECTORY_WORD.corrupt("malformed row"));
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Whether everybody may join or read a room.
pub fn is_open(view: &dyn View, room: RoomNumber) -> Result<bool> {
    Ok(view.get(&open_key(room))?.is_some())
}

/// Notes whether everybody may join or read a room.
pub fn set_open(txn: &mut Txn<'_>, room: RoomNumber, open: bool) {
    if open {
        txn.put(open_key(room), []);
    } else {
        txn.delete(open_key(room));
    }
}

/// Notes whether a user is in a room that everybody may join or read.
pub fn set_open_member(txn: &mut Txn<'_>, room: RoomNumber, user: UserNumber, is: bool) {
    if is {
        txn.put(member_key(user, room), []);
    } else {
        txn.delete(member_key(user, room));
    }
}

/// Whether a user is noted as in a room that everybody may join or read.
pub fn is_open_member(view: &dyn View, room: RoomNumber, user: UserNumber) -> Result<bool> {
    Ok(view.get(&member_key(user, room))?.is_some())
}

/// Whether a user is in any room that everybody may join or read.
pub fn in_open_room(view: &dyn View, user: UserNumber) -> Result<bool> {
    let range = OPEN_MEMBER.key().u64(user.0).prefix_range();
    Ok(view.first(&range, Order::Forward)?.is_some())
}

/// As what the directory was made; `None` if it was not.
pub fn version(view: &dyn View) -> Result<Option<u32>> {
    let row = view.get(&DIRECTORY_STATE.key())?;
    row.map(|row| {
        let bytes = row
            .try_into()
            .map_err(|_| DIRECTORY_STATE.corrupt("malformed row"))?;
        Ok(u32::from_be_bytes(bytes))
    })
    .transpose()
}

/// Notes that all of it was made.
pub fn set_version(txn: &mut Txn<'_>, version: u32) {
    txn.put(DIRECTORY_STATE.key(), version.to_be_bytes());
}

/// Empties the directory.
pub fn clear(txn: &mut Txn<'_>) {
    for table in [DIRECTORY_WORD, DIRECTORY_USER, OPEN_ROOM, OPEN_MEMBER] {
        txn.delete_range(table.key().prefix_range());
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::{
        Entry, clear, entries, in_open_room, put, set_open_member, set_version, version,
        visit_words,
    };
    use crate::{Error, Store, View, room::RoomNumber, user::UserNumber};

    async fn write(store: &Store, closure: impl Fn(&mut crate::Txn<'_>) -> Result<(), Error>) {
        store.write(closure).unwrap().durable().await;
    }

    fn found(view: &dyn View, prefix: &str) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        visit_words(view, prefix, &mut |word, user| {
            found.push((word.to_owned(), user.0));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    fn entry(words: &[&str]) -> Entry {
        Entry {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[tokio::test]
    async fn words_follow_their_user() {
        let (_dir, store) = crate::store_for_tests();
        let [a, b] = [1, u64::MAX].map(UserNumber);
        write(&store, |txn| {
            put(txn, a, &entry(&["alice", "al"]))?;
            put(txn, b, &entry(&["alice", "ålice"]))
        })
        .await;
        store.read(|view| {
            let all = [("al", a), ("alice", a), ("alice", b)];
            assert_eq!(
                found(view, "al"),
                all.map(|(word, user)| (word.to_owned(), user.0))
            );
            assert_eq!(found(view, "å"), [("ålice".to_owned(), b.0)]);
            assert_eq!(found(view, "alicex"), []);
            assert_eq!(entries(view, &[b, UserNumber(5)]).unwrap()[1], None);
        });
        write(&store, |txn| put(txn, a, &entry(&["alice", "cooper"]))).await;
        store.read(|view| {
            assert_eq!(found(view, "al").len(), 2);
            assert_eq!(found(view, "coo"), [("cooper".to_owned(), a.0)]);
        });
    }

    #[tokio::test]
    async fn what_everybody_can_find() {
        let (_dir, store) = crate::store_for_tests();
        let (user, room) = (UserNumber(4), RoomNumber(u64::MAX));
        let is_found = || store.read(|view| in_open_room(view, user)).unwrap();
        assert!(!is_found());
        write(&store, |txn| {
            set_open_member(txn, room, user, true);
            set_open_member(txn, RoomNumber(1), user, true);
            set_version(txn, 7);
            Ok(())
        })
        .await;
        assert!(is_found());
        write(&store, |txn| {
            set_open_member(txn, room, user, false);
            Ok(())
        })
        .await;
        assert!(is_found());
        write(&store, |txn| {
            clear(txn);
            Ok(())
        })
        .await;
        assert!(!is_found());
        assert_eq!(store.read(|view| version(view)).unwrap(), Some(7));
    }
}
