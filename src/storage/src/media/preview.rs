//! Previews of URLs, and the images that were fetched for them, each until its time is over.

use std::ops::ControlFlow;

use minicbor::{Decode, Encode};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    table::{PREVIEW_IMAGE, URL_PREVIEW},
};

/// What is known of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Preview {
    /// The answer as it is sent.
    #[n(0)]
    pub json: String,
    /// From when on the URL is asked again, in milliseconds since 1970.
    #[n(1)]
    pub expires_ms: u64,
}

/// SHA-256 of a URL.
pub type UrlHash = [u8; 32];

fn key(url: &UrlHash) -> Key {
    URL_PREVIEW.key().raw(url)
}

/// What is known of a URL, perhaps for too long.
pub fn get(view: &dyn View, url: &UrlHash) -> Result<Option<Preview>> {
    let value = view.get(&key(url))?;
    value.map(|value| decode(URL_PREVIEW, &value)).transpose()
}

/// Keeps a preview in place of an earlier one.
pub fn put(txn: &mut Txn<'_>, url: &UrlHash, preview: &Preview) {
    txn.put(key(url), encode(preview));
}

/// Notes that an image was fetched for a preview, and until when it is kept.
pub fn put_image(txn: &mut Txn<'_>, media_id: &str, until_ms: u64) {
    txn.put(
        PREVIEW_IMAGE.key().u64(until_ms).raw(media_id.as_bytes()),
        [],
    );
}

/// Removes at most `limit` previews whose time is over. Answers how many.
pub fn remove_expired(txn: &mut Txn<'_>, now_ms: u64, limit: usize) -> Result<usize> {
    let mut expired = Vec::new();
    let mut wrong = None;
    let all = URL_PREVIEW.key().prefix_range();
    txn.visit(&all, Order::Forward, &mut |key, value| {
        match decode::<Preview>(URL_PREVIEW, value) {
            Ok(preview) if preview.expires_ms <= now_ms => {
                expired.push(URL_PREVIEW.key().raw(key.get(1..).unwrap_or_default()));
            }
            Ok(_) => {}
            Err(error) => wrong = Some(error),
        }
        if wrong.is_none() && expired.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    if let Some(error) = wrong {
        return Err(error);
    }
    let removed = expired.len();
    for key in expired {
        txn.delete(key);
    }
    Ok(removed)
}

/// At most `limit` media ids of images whose time is over, with that time.
pub fn expired_images(view: &dyn View, now_ms: u64, limit: usize) -> Result<Vec<(u64, String)>> {
    let until = PREVIEW_IMAGE.key().u64(now_ms.saturating_add(1));
    let range = PREVIEW_IMAGE.key().until(&until);
    let rows = view.scan(&range, Order::Forward, limit)?;
    rows.into_iter()
        .map(|(key, _)| {
            let mut key = KeyReader::new(&key);
            let until_ms = key
                .u64()
                .ok_or_else(|| PREVIEW_IMAGE.corrupt("a key without a time"))?;
            let media_id = String::from_utf8_lossy(key.rest()).into_owned();
            Ok((until_ms, media_id))
        })
        .collect()
}

/// Forgets an image that was removed.
pub fn forget_image(txn: &mut Txn<'_>, (until_ms, media_id): &(u64, String)) {
    txn.delete(PREVIEW_IMAGE.key().u64(*until_ms).raw(media_id.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::{Preview, expired_images, forget_image, get, put, put_image, remove_expired};
    use crate::Error;

    #[tokio::test]
    async fn previews_and_images_end_with_their_time() {
        let (_dir, store) = crate::store_for_tests();
        let preview = |expires_ms| Preview {
            json: "{}".to_owned(),
            expires_ms,
        };
        let commit = store.write::<_, Error>(|txn| {
            put(txn, &[1; 32], &preview(10));
            put(txn, &[2; 32], &preview(20));
            put_image(txn, "a", 10);
            put_image(txn, "b", 20);
            Ok(())
        });
        commit.unwrap().durable().await;
        let commit = store.write::<_, Error>(|txn| {
            let images = expired_images(txn, 10, 9)?;
            for image in &images {
                forget_image(txn, image);
            }
            Ok((remove_expired(txn, 10, 9)?, images))
        });
        let (removed, images) = commit.unwrap().durable().await;
        assert_eq!((removed, images), (1, vec![(10, "a".to_owned())]));
        store.read(|view| {
            assert_eq!(get(view, &[1; 32]).unwrap(), None);
            assert_eq!(get(view, &[2; 32]).unwrap(), Some(preview(20)));
            assert_eq!(expired_images(view, 99, 9).unwrap(), [(20, "b".to_owned())]);
        });
    }
}
