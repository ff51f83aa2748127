//! How many bytes a user has uploaded lately: counted in pieces of a window of time, so that a row is small whatever is
//! uploaded.

use minicbor::{Decode, Encode};

use crate::{Key, Result, Txn, View, decode, encode, table::MEDIA_USAGE, user::UserNumber};

/// Into how many pieces a window is divided. A piece counts until all of it is older than the window.
const PIECES: u64 = 32;

#[derive(Debug, Default, Encode, Decode)]
struct Usage {
    #[n(0)]
    pieces: Vec<Piece>,
}

#[derive(Debug, Encode, Decode)]
struct Piece {
    /// Its place in time: the time in lengths of a piece.
    #[n(0)]
    number: u64,
    #[n(1)]
    bytes: u64,
}

fn key(user: UserNumber, window_ms: u64) -> Key {
    MEDIA_USAGE.key().u64(user.0).u64(window_ms)
}

/// The bytes that a user has uploaded in the last `window_ms`.
pub fn used(view: &dyn View, user: UserNumber, window_ms: u64, now_ms: u64) -> Result<u64> {
    let value = view.get(&key(user, window_ms))?;
    let usage = value.map(|value| decode(MEDIA_USAGE, &value)).transpose()?;
    Ok(sum(&current(usage.unwrap_or_default(), window_ms, now_ms)))
}

/// Counts bytes; false, and nothing, if they would be more than `most` in the window.
pub fn add(
    txn: &mut Txn<'_>,
    user: UserNumber,
    (window_ms, most): (u64, u64),
    now_ms: u64,
    bytes: u64,
) -> Result<bool> {
    let key = key(user, window_ms);
    let value = txn.get_guarded(&key)?;
    let usage = value.map(|value| decode(MEDIA_USAGE, &value)).transpose()?;
    let mut usage = current(usage.unwrap_or_default(), window_ms, now_ms);
    if sum(&usage).saturating_add(bytes) > most {
        return Ok(false);
    }
    let number = piece_at(window_ms, now_ms);
    match usage.pieces.iter_mut().find(|piece| piece.number == number) {
        Some(piece) => piece.bytes += bytes,
        None => usage.pieces.push(Piece { number, bytes }),
    }
    txn.put(key, encode(&usage));
    Ok(true)
}

fn piece_at(window_ms: u64, now_ms: u64) -> u64 {
    now_ms / (window_ms / PIECES).max(1)
}

/// Without what is too old, or from a time that a clock has jumped back from.
fn current(mut usage: Usage, window_ms: u64, now_ms: u64) -> Usage {
    let now = piece_at(window_ms, now_ms);
    usage
        .pieces
        .retain(|piece| piece.number.abs_diff(now) <= PIECES);
    usage
}

fn sum(usage: &Usage) -> u64 {
    let bytes = usage.pieces.iter().map(|piece| piece.bytes);
    bytes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::{add, used};
    use crate::{Error, user::UserNumber};

    #[tokio::test]
    async fn bytes_count_for_their_window() {
        let (_dir, store) = crate::store_for_tests();
        let user = UserNumber(1);
        let upload = |now_ms, bytes| {
            let commit = store.write::<_, Error>(|txn| add(txn, user, (3200, 1000), now_ms, bytes));
            *commit.unwrap().value()
        };
        assert!(upload(10_000, 600));
        assert!(upload(11_000, 400));
        assert!(!upload(12_000, 1));
        let other = store.write::<_, Error>(|txn| add(txn, UserNumber(2), (3200, 1), 0, 1));
        assert!(other.unwrap().durable().await);
        assert_eq!(
            store.read(|view| used(view, user, 3200, 13_000)).unwrap(),
            1000
        );
        assert_eq!(
            store.read(|view| used(view, user, 3200, 13_300)).unwrap(),
            400
        );
        assert!(upload(13_300, 600));
        assert!(!upload(13_300, 1));
    }
}
