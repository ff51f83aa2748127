//! Tests of thumbnails, hostile files first.

use std::{
    io::Cursor,
    sync::Arc,
    time::{Duration, Instant},
};

use image::{
    AnimationDecoder as _, Delay, DynamicImage, Frame, GenericImageView as _, ImageFormat, Rgba,
    RgbaImage,
    codecs::{
        gif::{GifDecoder, GifEncoder, Repeat},
        webp::WebPDecoder,
    },
};
use storage::media::ThumbnailKind;

use super::{
    Method, ThumbnailError, ThumbnailRequest,
    decode::Deadline,
    render::{Rendered, render, render_until},
};
use crate::{Access, MediaId, testing::House};

const SMALL: ThumbnailKind = ThumbnailKind {
    width: 32,
    height: 32,
    crop: true,
    animated: false,
};

fn picture(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        Rgba([(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8, 255])
    })
}

fn file(image: &RgbaImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::ImageRgba8(image.clone());
    if format == ImageFormat::Jpeg {
        image.to_rgb8().write_to(&mut bytes, format).unwrap();
    } else {
        image.write_to(&mut bytes, format).unwrap();
    }
    bytes.into_inner()
}

fn gif(width: u32, height: u32, frames: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
    encoder.set_repeat(Repeat::Infinite).unwrap();
    for number in 0..frames {
        let shade = (number * 40) as u8;
        let buffer = RgbaImage::from_pixel(width, height, Rgba([shade, 0, 255 - shade, 255]));
        let delay = Delay::from_numer_denom_ms(50, 1);
        encoder
            .encode_frame(Frame::from_parts(buffer, 0, 0, delay))
            .unwrap();
    }
    drop(encoder);
    bytes
}

fn thumbnail(bytes: &[u8], kind: ThumbnailKind) -> Result<Rendered, ThumbnailError> {
    render(
        Box::new(Cursor::new(bytes.to_vec())),
        bytes.len() as u64,
        kind,
    )
}

fn made(bytes: &[u8], kind: ThumbnailKind) -> (DynamicImage, &'static str) {
    match thumbnail(bytes, kind).unwrap() {
        Rendered::Image(bytes, content_type) => {
            (image::load_from_memory(&bytes).unwrap(), content_type)
        }
        Rendered::Original(_) => panic!("not the original"),
    }
}

/// A PNG that claims a size and has hardly any data.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = file(&picture(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn d5_what_is_no_image_has_no_thumbnail() {
    let html = b"<html><script>alert(1)</script>";
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    let pdf = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>";
    let polyglot = [
        &b"GIF89a\x10\0\x10\0\0\0\0*/=1;"[..],
        &[b'x'; 300],
        b";alert(1)",
    ]
    .concat();
    let png_and_html = [&b"\x89PNG\r\n\x1a\n"[..], html].concat();
    let jpeg_and_pdf = [&b"\xff\xd8\xff\xe0"[..], pdf].concat();
    let webp = b"RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\xff".to_vec();
    let files: [&[u8]; 9] = [
        b"",
        html,
        svg,
        pdf,
        &polyglot,
        &png_and_html,
        &jpeg_and_pdf,
        &webp,
        b"\x89PNG\r\n\x1a\n",
    ];
    for bytes in files {
        for animated in [false, true] {
            let answer = thumbnail(bytes, ThumbnailKind { animated, ..SMALL });
            assert!(
                matches!(answer, Err(ThumbnailError::Unsupported)),
                "{bytes:?} {answer:?}"
            );
        }
    }
}

#[test]
fn d5_bombs_are_refused_before_they_are_decoded() {
    let begun = Instant::now();
    let mut gif = gif(1, 1, 1);
    gif[6..10].copy_from_slice(&[0xff; 4]);
    for bytes in [
        png_claiming(60_000, 60_000),
        png_claiming(8193, 4096),
        png_claiming(1, 0x7fff_ffff),
        png_claiming(0x7fff_ffff, 1),
        gif,
    ] {
        let answer = thumbnail(&bytes, SMALL);
        assert!(
            matches!(answer, Err(ThumbnailError::TooLarge)),
            "{answer:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn d5_2000_frames_are_an_animation_and_2001_are_not() {
    let animated = ThumbnailKind {
        animated: true,
        ..SMALL
    };
    let answer = thumbnail(&gif(1, 1, 2000), animated);
    assert!(
        matches!(answer, Ok(Rendered::Original("image/gif"))),
        "{answer:?}"
    );
    for size in [1, 40] {
        let answer = thumbnail(&gif(size, size, 2001), animated);
        assert!(
            matches!(answer, Err(ThumbnailError::TooLarge)),
            "{answer:?}"
        );
    }
    // A still thumbnail needs the first frames only.
    assert_eq!(made(&gif(40, 40, 2001), SMALL).0.dimensions(), (32, 32));
}

#[test]
fn d5_time_is_bounded() {
    let kind = ThumbnailKind {
        animated: true,
        ..SMALL
    };
    let bytes = gif(40, 40, 100);
    let size = bytes.len() as u64;
    let over = Deadline::after(Duration::ZERO);
    let answer = render_until(Box::new(Cursor::new(bytes)), size, kind, over);
    assert!(matches!(answer, Err(ThumbnailError::TooLarge)));
}

#[test]
fn d5_damaged_files_are_refused_and_nothing_panics() {
    let animated = gif(40, 40, 3);
    let files = [
        file(&picture(60, 40), ImageFormat::Png),
        file(&picture(60, 40), ImageFormat::Jpeg),
        file(&picture(60, 40), ImageFormat::WebP),
        animated,
    ];
    for bytes in files {
        for cut in [8, 12, 20, 33, bytes.len() / 3, bytes.len() / 2] {
            for kind in [
                SMALL,
                ThumbnailKind {
                    animated: true,
                    ..SMALL
                },
            ] {
                let _ = thumbnail(&bytes[..cut.min(bytes.len())], kind);
            }
        }
        for place in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xff;
            let _ = thumbnail(
                &damaged,
                ThumbnailKind {
                    animated: true,
                    ..SMALL
                },
            );
        }
    }
    let png = file(&picture(60, 40), ImageFormat::Png);
    let answer = thumbnail(&png[..png.len() / 2], SMALL);
    assert!(
        matches!(answer, Err(ThumbnailError::Unsupported)),
        "{answer:?}"
    );
}

#[test]
fn thumbnails_have_the_size_and_the_type() {
    let scale = ThumbnailKind {
        width: 64,
        height: 48,
        crop: false,
        animated: false,
    };
    for (format, content_type) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::WebP, "image/jpeg"),
        (ImageFormat::Gif, "image/png"),
    ] {
        let bytes = file(&picture(400, 200), format);
        let (image, served) = made(&bytes, scale);
        assert_eq!((image.dimensions(), served), ((96, 48), content_type));
        assert_eq!(made(&bytes, SMALL).0.dimensions(), (32, 32));
        let large = ThumbnailKind {
            width: 400,
            height: 200,
            ..scale
        };
        assert!(matches!(
            thumbnail(&bytes, large),
            Ok(Rendered::Original(_))
        ));
    }
}

#[test]
fn alpha_is_kept() {
    let image = RgbaImage::from_fn(100, 100, |x, _| {
        Rgba([200, 100, 50, if x < 50 { 0 } else { 255 }])
    });
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let (small, content_type) = made(&file(&image, format), SMALL);
        assert_eq!(content_type, "image/png");
        assert_eq!(small.get_pixel(2, 16).0[3], 0);
        assert_eq!(small.get_pixel(30, 16), Rgba([200, 100, 50, 255]));
    }
}

#[test]
fn animations_move_only_if_asked() {
    let bytes = gif(80, 60, 4);
    let moving = ThumbnailKind {
        animated: true,
        ..SMALL
    };
    let Ok(Rendered::Image(webp, "image/webp")) = thumbnail(&bytes, moving) else {
        panic!("an animation");
    };
    let frames = WebPDecoder::new(Cursor::new(webp)).unwrap().into_frames();
    let frames = frames.collect_frames().unwrap();
    assert_eq!(frames.len(), 4);
    assert_eq!(frames[0].buffer().dimensions(), (32, 32));
    assert_eq!(frames[0].delay().numer_denom_ms(), (50, 1));
    let (still, content_type) = made(&bytes, SMALL);
    assert_eq!((still.dimensions(), content_type), ((32, 32), "image/png"));
    // Even where the original has the right size.
    let large = ThumbnailKind {
        width: 100,
        height: 100,
        ..SMALL
    };
    assert_eq!(made(&bytes, large).0.dimensions(), (80, 60));
    let answer = thumbnail(
        &bytes,
        ThumbnailKind {
            animated: true,
            ..large
        },
    );
    assert!(matches!(answer, Ok(Rendered::Original("image/gif"))));
    // What cannot move is still.
    let jpeg = file(&picture(80, 60), ImageFormat::Jpeg);
    assert_eq!(made(&jpeg, moving).1, "image/jpeg");
    let one = gif(80, 60, 1);
    assert_eq!(made(&one, moving).1, "image/png");
}

#[test]
fn a_photograph_stands_upright() {
    // EXIF with the one entry that says: turn by 90 degrees.
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let jpeg = file(&picture(100, 50), ImageFormat::Jpeg);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let bytes = [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat();
    let kind = ThumbnailKind {
        width: 25,
        height: 25,
        crop: false,
        animated: false,
    };
    assert_eq!(made(&bytes, kind).0.dimensions(), (25, 50));
}

fn request(width: u32, height: u32) -> ThumbnailRequest {
    ThumbnailRequest {
        width,
        height,
        method: Method::Crop,
        animated: false,
    }
}

async fn ask(house: &House, id: &MediaId, request: ThumbnailRequest) -> Option<Vec<u8>> {
    let asked = house
        .media
        .thumbnail(house.origin(), id, Access::Authenticated, request);
    match asked.await.unwrap() {
        Some(found) => Some(House::bytes(found).await),
        None => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d7_a_thumbnail_is_made_once() {
    let house = Arc::new(House::new().await);
    let id = house
        .upload(&file(&picture(300, 300), ImageFormat::Png), "image/png")
        .await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (house, id) = (house.clone(), id.clone());
        tasks.spawn(async move { ask(&house, &id, request(32, 32)).await.unwrap() });
    }
    let mut answers = tasks.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(house.media.inner.blobs.count("blob").await, 2);
    assert!(house.media.inner.thumbnails.flights.lock().is_empty());
    assert_eq!(ask(&house, &id, request(32, 32)).await.unwrap(), answers[0]);
}

#[tokio::test]
async fn thumbnails_are_not_kept_without_end() {
    let house = House::new().await;
    let id = house
        .upload(&file(&picture(90, 90), ImageFormat::Png), "image/png")
        .await;
    for size in 1..=super::KEPT as u32 + 5 {
        assert!(ask(&house, &id, request(size, size)).await.is_some());
    }
    assert_eq!(house.media.inner.blobs.count("blob").await, super::KEPT + 1);
}

#[tokio::test]
async fn d7_quarantine_and_deletion_take_the_thumbnails_too() {
    let house = House::new().await;
    let bytes = file(&picture(90, 90), ImageFormat::Png);
    let id = house.upload(&bytes, "image/png").await;
    assert!(ask(&house, &id, request(32, 32)).await.is_some());
    house
        .media
        .set_quarantined(house.origin(), &id, true)
        .await
        .unwrap();
    assert!(ask(&house, &id, request(32, 32)).await.is_none());
    let again = house.upload(&bytes, "image/png").await;
    assert!(ask(&house, &again, request(32, 32)).await.is_none());
    for id in [id, again] {
        assert!(house.media.delete(house.origin(), &id).await.unwrap());
        assert!(ask(&house, &id, request(32, 32)).await.is_none());
    }
    // The file, and then its thumbnail, which nothing names any more.
    assert_eq!(
        house.media.collect_garbage(Duration::ZERO).await.unwrap(),
        1
    );
    assert_eq!(
        house.media.collect_garbage(Duration::ZERO).await.unwrap(),
        1
    );
    assert_eq!(house.media.inner.blobs.count("blob").await, 0);
}

#[tokio::test]
async fn d5_a_refusal_is_remembered() {
    let house = House::new().await;
    let id = house.upload(b"%PDF-1.7", "image/png").await;
    for _ in 0..2 {
        let asked =
            house
                .media
                .thumbnail(house.origin(), &id, Access::Authenticated, request(32, 32));
        assert!(matches!(asked.await, Err(ThumbnailError::Unsupported)));
    }
    assert_eq!(house.media.inner.thumbnails.refused.len(), 1);
    let none = house
        .media
        .thumbnail(house.origin(), &id, Access::Authenticated, request(0, 32));
    assert!(matches!(none.await, Err(ThumbnailError::Unsupported)));
}

#[test]
fn gifs_of_the_tests_are_gifs() {
    let decoder = GifDecoder::new(Cursor::new(gif(4, 4, 3))).unwrap();
    assert_eq!(decoder.into_frames().count(), 3);
}
