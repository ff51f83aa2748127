//! Writing still thumbnails.

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder as _, ImageResult, RgbaImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
};

use super::decode::Format;

/// Of 100.
const JPEG_QUALITY: u8 = 80;

/// An image as a file, and its type: JPEG where the source was compressed with loss and nothing shines through, else
/// PNG, which keeps the alpha.
pub(super) fn still(image: RgbaImage, source: Format) -> ImageResult<(Vec<u8>, &'static str)> {
    let (width, height) = image.dimensions();
    let opaque = image
        .pixels()
        .all(|pixel| pixel.0 == [pixel.0[0], pixel.0[1], pixel.0[2], u8::MAX]);
    let mut bytes = Vec::new();
    if !opaque {
        PngEncoder::new(&mut bytes).write_image(&image, width, height, ExtendedColorType::Rgba8)?;
        return Ok((bytes, "image/png"));
    }
    let image = DynamicImage::ImageRgba8(image).into_rgb8();
    if matches!(source, Format::Jpeg | Format::WebP) {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        encoder.write_image(&image, width, height, ExtendedColorType::Rgb8)?;
        Ok((bytes, "image/jpeg"))
    } else {
        PngEncoder::new(&mut bytes).write_image(&image, width, height, ExtendedColorType::Rgb8)?;
        Ok((bytes, "image/png"))
    }
}
