//! Media: which file an `mxc://` address names, and how often each file is named. The bytes are in files or in an
//! object store, under the SHA-256 of their content.
//!
//! A file that nothing names any more is noted as garbage; whoever removes it calls [`forget`] afterwards.

pub mod pending;
pub mod preview;
pub mod usage;

use minicbor::{Decode, Encode};
use ruma_common::ServerName;

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    table::{MEDIA, MEDIA_BLOB, MEDIA_GARBAGE, MEDIA_THUMBNAIL},
    user::UserNumber,
};

/// SHA-256 of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct BlobHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// What an `mxc://` address names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Media {
    /// The file.
    #[n(0)]
    pub blob: BlobHash,
    /// Its bytes.
    #[n(1)]
    pub size: u64,
    /// The type that the uploader declared.
    #[n(2)]
    pub content_type: Option<String>,
    /// The name that the uploader gave it.
    #[n(3)]
    pub file_name: Option<String>,
    /// Who uploaded it here; nobody for media of other servers.
    #[n(4)]
    pub uploader: Option<UserNumber>,
    /// When it came, in milliseconds since 1970.
    #[n(5)]
    pub created_ts: u64,
    /// It is served to those who authenticate only: it came after the old endpoints were frozen.
    #[n(6)]
    pub authenticated: bool,
    /// This address is not served.
    #[n(7)]
    pub quarantined: bool,
}

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Blob {
    /// Its bytes.
    #[n(0)]
    pub size: u64,
    /// How many addresses and thumbnails name it.
    #[n(1)]
    pub references: u64,
    /// The content is not served under any address, present or future.
    #[n(2)]
    pub quarantined: bool,
}

/// Which thumbnail of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThumbnailKind {
    /// The width that was asked for.
    pub width: u32,
    /// The height that was asked for.
    pub height: u32,
    /// `crop` rather than `scale`.
    pub crop: bool,
    /// Whether it may be animated.
    pub animated: bool,
}

/// A thumbnail that was made.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Thumbnail {
    /// The file, or nothing where the original serves as its own thumbnail.
    #[n(0)]
    pub blob: Option<BlobHash>,
    /// Its bytes.
    #[n(1)]
    pub size: u64,
    /// Its type.
    #[n(2)]
    pub content_type: String,
}

impl Thumbnail {
    /// The original of this size and type as its own thumbnail.
    pub fn original(size: u64, content_type: &str) -> Self {
        Self {
            blob: None,
            size,
            content_type: content_type.to_owned(),
        }
    }
}

fn media_key(origin: &ServerName, media_id: &str) -> Key {
    MEDIA.key().text(origin.as_str()).raw(media_id.as_bytes())
}

fn blob_key(hash: BlobHash) -> Key {
    MEDIA_BLOB.key().raw(&hash.0)
}

fn garbage_key(hash: BlobHash) -> Key {
    MEDIA_GARBAGE.key().raw(&hash.0)
}

fn thumbnail_key(source: BlobHash, kind: ThumbnailKind) -> Key {
    MEDIA_THUMBNAIL
        .key()
        .raw(&source.0)
        .u32(kind.width)
        .u32(kind.height)
        .u8(u8::from(kind.crop))
        .u8(u8::from(kind.animated))
}

/// What `mxc://<origin>/<media_id>` names.
pub fn get(view: &dyn View, origin: &ServerName, media_id: &str) -> Result<Option<Media>> {
    let value = view.get(&media_key(origin, media_id))?;
    value.map(|value| decode(MEDIA, &value)).transpose()
}

/// Names a file whose bytes are already durable. The address must be new.
pub fn put(txn: &mut Txn<'_>, origin: &ServerName, media_id: &str, media: &Media) -> Result<()> {
    let key = media_key(origin, media_id);
    txn.expect_absent(key.clone());
    txn.put(key, encode(media));
    refer(txn, media.blob, media.size)
}

/// Takes an address away; false if there was none. The last one makes its file garbage.
pub fn delete(txn: &mut Txn<'_>, origin: &ServerName, media_id: &str, now_ms: u64) -> Result<bool> {
    let key = media_key(origin, media_id);
    let Some(row) = txn.get_guarded(&key)? else {
        return Ok(false);
    };
    let media: Media = decode(MEDIA, &row)?;
    txn.delete(key);
    release(txn, media.blob, now_ms)?;
    Ok(true)
}

/// What is known of a file.
pub fn blob(view: &dyn View, hash: BlobHash) -> Result<Option<Blob>> {
    let value = view.get(&blob_key(hash))?;
    value.map(|value| decode(MEDIA_BLOB, &value)).transpose()
}

/// At most `limit` files behind `after`, in the order of their hashes.
pub fn blobs(
    view: &dyn View,
    after: Option<BlobHash>,
    limit: usize,
) -> Result<Vec<(BlobHash, Blob)>> {
    let range = match after {
        // The first key behind it: hashes have one length.
        Some(after) => blob_key(after).u8(0).until_end_of(&MEDIA_BLOB.key()),
        None => MEDIA_BLOB.key().prefix_range(),
    };
    let rows = view.scan(&range, Order::Forward, limit)?;
    rows.into_iter()
        .map(|(key, value)| {
            let hash = KeyReader::new(&key).rest().try_into();
            let hash = hash.map_err(|_| MEDIA_BLOB.corrupt("a key that is no hash"))?;
            Ok((BlobHash(hash), decode(MEDIA_BLOB, &value)?))
        })
        .collect()
}

/// Those of some files that no row knows.
pub fn unknown(view: &dyn View, hashes: &[BlobHash]) -> Result<Vec<BlobHash>> {
    let keys: Vec<Key> = hashes.iter().map(|hash| blob_key(*hash)).collect();
    let rows = view.get_many(&keys)?;
    let known = hashes.iter().zip(rows);
    Ok(known
        .filter_map(|(hash, row)| row.is_none().then_some(*hash))
        .collect())
}

/// Stops, or begins again, to serve a content. It holds for later uploads of the same bytes too.
pub fn set_quarantined(txn: &mut Txn<'_>, hash: BlobHash, quarantined: bool) -> Result<()> {
    let mut blob = read_blob(txn, hash)?.unwrap_or(UNKNOWN);
    blob.quarantined = quarantined;
    txn.put(blob_key(hash), encode(&blob));
    Ok(())
}

/// A thumbnail of a file.
pub fn thumbnail(
    view: &dyn View,
    source: BlobHash,
    kind: ThumbnailKind,
) -> Result<Option<Thumbnail>> {
    let value = view.get(&thumbnail_key(source, kind))?;
    value
        .map(|value| decode(MEDIA_THUMBNAIL, &value))
        .transpose()
}

/// How many thumbnails of a file are kept, counted up to `limit`.
pub fn thumbnail_count(view: &dyn View, source: BlobHash, limit: usize) -> Result<usize> {
    let range = MEDIA_THUMBNAIL.key().raw(&source.0).prefix_range();
    Ok(view.scan(&range, Order::Forward, limit)?.len())
}

/// Keeps a thumbnail whose bytes are already durable, in place of an earlier one. False, and nothing, if its source is
/// gone.
pub fn put_thumbnail(
    txn: &mut Txn<'_>,
    source: BlobHash,
    kind: ThumbnailKind,
    thumbnail: &Thumbnail,
    now_ms: u64,
) -> Result<bool> {
    if read_blob(txn, source)?.is_none_or(|blob| blob.references == 0) {
        return Ok(false);
    }
    let key = thumbnail_key(source, kind);
    let before = txn.get_guarded(&key)?;
    // First the new one: it may be the same file.
    if let Some(blob) = thumbnail.blob {
        refer(txn, blob, thumbnail.size)?;
    }
    if let Some(before) = before {
        let before: Thumbnail = decode(MEDIA_THUMBNAIL, &before)?;
        if let Some(blob) = before.blob {
            release(txn, blob, now_ms)?;
        }
    }
    txn.put(key, encode(thumbnail));
    Ok(true)
}

/// At most `limit` files that nothing has named since `before_ms`.
pub fn garbage(view: &dyn View, before_ms: u64, limit: usize) -> Result<Vec<BlobHash>> {
    let mut hashes = Vec::new();
    let mut wrong = None;
    view.visit(
        &MEDIA_GARBAGE.key().prefix_range(),
        Order::Forward,
        &mut |key, value| {
            match read_garbage(key, value) {
                Ok((hash, since_ms)) if since_ms < before_ms => hashes.push(hash),
                Ok(_) => {}
                Err(error) => wrong = Some(error),
            }
            if wrong.is_none() && hashes.len() < limit {
                std::ops::ControlFlow::Continue(())
            } else {
                std::ops::ControlFlow::Break(())
            }
        },
    )?;
    wrong.map_or(Ok(hashes), Err)
}

/// Whether nothing names the file.
pub fn is_garbage(view: &dyn View, hash: BlobHash) -> Result<bool> {
    Ok(view.get(&garbage_key(hash))?.is_some())
}

/// Forgets a file whose bytes were removed, with its thumbnails. Only that it is quarantined is kept.
pub fn forget(txn: &mut Txn<'_>, hash: BlobHash, now_ms: u64) -> Result<()> {
    let blob = read_blob(txn, hash)?.unwrap_or(UNKNOWN);
    if blob.references > 0 {
        return Ok(());
    }
    let range = MEDIA_THUMBNAIL.key().raw(&hash.0).prefix_range();
    for (key, value) in txn.scan(&range, Order::Forward, usize::MAX)? {
        let thumbnail: Thumbnail = decode(MEDIA_THUMBNAIL, &value)?;
        if let Some(blob) = thumbnail.blob {
            release(txn, blob, now_ms)?;
        }
        txn.delete(MEDIA_THUMBNAIL.key().raw(key.get(1..).unwrap_or_default()));
    }
    txn.delete(garbage_key(hash));
    if !blob.quarantined {
        txn.delete(blob_key(hash));
    }
    Ok(())
}

fn refer(txn: &mut Txn<'_>, hash: BlobHash, size: u64) -> Result<()> {
    let known = read_blob(txn, hash)?;
    if known.is_some_and(|blob| blob.references == 0) {
        txn.delete(garbage_key(hash));
    }
    let mut blob = known.unwrap_or(UNKNOWN);
    blob.size = size;
    blob.references += 1;
    txn.put(blob_key(hash), encode(&blob));
    Ok(())
}

fn release(txn: &mut Txn<'_>, hash: BlobHash, now_ms: u64) -> Result<()> {
    let mut blob = read_blob(txn, hash)?.unwrap_or(UNKNOWN);
    blob.references = blob
        .references
        .checked_sub(1)
        .ok_or_else(|| MEDIA_BLOB.corrupt("a file was released more often than it was named"))?;
    if blob.references == 0 {
        txn.put(garbage_key(hash), now_ms.to_be_bytes());
    }
    txn.put(blob_key(hash), encode(&blob));
    Ok(())
}

/// A file that nobody has heard of.
const UNKNOWN: Blob = Blob {
    size: 0,
    references: 0,
    quarantined: false,
};

/// The count is right only if no other batch changes it meanwhile.
fn read_blob(txn: &mut Txn<'_>, hash: BlobHash) -> Result<Option<Blob>> {
    let row = txn.get_guarded(&blob_key(hash))?;
    row.map(|row| decode(MEDIA_BLOB, &row)).transpose()
}

fn read_garbage(key: &[u8], value: &[u8]) -> Result<(BlobHash, u64)> {
    let hash = KeyReader::new(key).rest().try_into();
    let since_ms = value.try_into().map(u64::from_be_bytes);
    match (hash, since_ms) {
        (Ok(hash), Ok(since_ms)) => Ok((BlobHash(hash), since_ms)),
        _ => Err(MEDIA_GARBAGE.corrupt("not a hash and a time")),
    }
}

#[cfg(test)]
mod tests;
