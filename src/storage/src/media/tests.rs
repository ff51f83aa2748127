//! Tests of the rows of media: counting, garbage, quarantine.

use ruma_common::server_name;

use super::{BlobHash, Media, Thumbnail, ThumbnailKind};
use crate::{Error, Store, Txn, media};

const FILE: BlobHash = BlobHash([1; 32]);
const SMALL: BlobHash = BlobHash([2; 32]);

fn row(blob: BlobHash) -> Media {
    Media {
        blob,
        size: 5,
        content_type: Some("image/png".to_owned()),
        file_name: None,
        uploader: None,
        created_ts: 1,
        authenticated: true,
        quarantined: false,
    }
}

async fn write(store: &Store, mut change: impl FnMut(&mut Txn<'_>) -> Result<(), Error>) {
    store
        .write::<_, Error>(|txn| change(txn))
        .unwrap()
        .durable()
        .await;
}

#[tokio::test]
async fn the_last_address_makes_the_file_garbage_and_a_new_one_saves_it() {
    let (_dir, store) = crate::store_for_tests();
    let origin = server_name!("example.org");
    write(&store, |txn| media::put(txn, origin, "a", &row(FILE))).await;
    write(&store, |txn| media::put(txn, origin, "b", &row(FILE))).await;
    write(&store, |txn| {
        assert!(media::delete(txn, origin, "a", 7)?);
        assert!(!media::delete(txn, origin, "absent", 7)?);
        Ok(())
    })
    .await;
    assert!(!store.read(|view| media::is_garbage(view, FILE)).unwrap());
    write(&store, |txn| media::delete(txn, origin, "b", 7).map(drop)).await;
    store.read(|view| {
        assert!(media::get(view, origin, "b").unwrap().is_none());
        assert_eq!(media::garbage(view, 7, 9).unwrap(), []);
        assert_eq!(media::garbage(view, 8, 9).unwrap(), [FILE]);
    });
    write(&store, |txn| media::put(txn, origin, "c", &row(FILE))).await;
    store.read(|view| {
        assert_eq!(media::garbage(view, 8, 9).unwrap(), []);
        assert_eq!(media::blob(view, FILE).unwrap().unwrap().references, 1);
    });
    // Too late: it is named again.
    write(&store, |txn| media::forget(txn, FILE, 9)).await;
    assert!(
        store
            .read(|view| media::blob(view, FILE))
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn thumbnails_go_with_their_source() {
    let (_dir, store) = crate::store_for_tests();
    let origin = server_name!("example.org");
    let kind = ThumbnailKind {
        width: 32,
        height: 32,
        crop: true,
        animated: false,
    };
    let thumbnail = Thumbnail {
        blob: Some(SMALL),
        size: 2,
        content_type: "image/png".to_owned(),
    };
    write(&store, |txn| {
        assert!(!media::put_thumbnail(txn, FILE, kind, &thumbnail, 1)?);
        Ok(())
    })
    .await;
    write(&store, |txn| media::put(txn, origin, "a", &row(FILE))).await;
    for _ in 0..2 {
        write(&store, |txn| {
            assert!(media::put_thumbnail(txn, FILE, kind, &thumbnail, 1)?);
            Ok(())
        })
        .await;
    }
    store.read(|view| {
        assert_eq!(media::blob(view, SMALL).unwrap().unwrap().references, 1);
        assert_eq!(media::thumbnail_count(view, FILE, 5).unwrap(), 1);
        let found = media::thumbnail(view, FILE, kind).unwrap();
        assert_eq!(found, Some(thumbnail.clone()));
    });
    write(&store, |txn| media::delete(txn, origin, "a", 7).map(drop)).await;
    write(&store, |txn| media::forget(txn, FILE, 7)).await;
    store.read(|view| {
        assert_eq!(media::thumbnail(view, FILE, kind).unwrap(), None);
        assert_eq!(media::blob(view, FILE).unwrap(), None);
        assert_eq!(media::garbage(view, 8, 9).unwrap(), [SMALL]);
    });
}

#[tokio::test]
async fn d7_quarantine_outlives_the_file() {
    let (_dir, store) = crate::store_for_tests();
    let origin = server_name!("example.org");
    write(&store, |txn| media::put(txn, origin, "a", &row(FILE))).await;
    write(&store, |txn| media::set_quarantined(txn, FILE, true)).await;
    write(&store, |txn| media::delete(txn, origin, "a", 7).map(drop)).await;
    write(&store, |txn| media::forget(txn, FILE, 7)).await;
    store.read(|view| {
        assert!(media::blob(view, FILE).unwrap().unwrap().quarantined);
        assert_eq!(media::garbage(view, 8, 9).unwrap(), []);
    });
    write(&store, |txn| media::put(txn, origin, "b", &row(FILE))).await;
    let blob = store.read(|view| media::blob(view, FILE)).unwrap().unwrap();
    assert!(blob.quarantined);
    assert_eq!(blob.references, 1);
}
