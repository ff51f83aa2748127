//! Decoding what a stranger sent: the decoder is chosen by the first bytes from an allow list, dimensions are checked
//! before pixels are decoded, and memory and time are bounded.

use std::{
    io::{self, BufRead, Read, Seek, SeekFrom},
    time::{Duration, Instant},
};

use image::{
    AnimationDecoder as _, DynamicImage, Frames, ImageDecoder, ImageError, Limits,
    codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder},
    metadata::{LoopCount, Orientation},
};

use super::{Result, ThumbnailError, jpeg};

/// The most pixels of an image, or of one frame.
const MAX_PIXELS: u64 = 32 << 20;

/// The most memory of one decoder.
const MAX_BYTES: u64 = 256 << 20;

/// The most frames of an animation.
pub(super) const MAX_FRAMES: usize = 2000;

/// How long one thumbnail may take. It is measured by the wall: on a busy machine less than this much of a processor.
const MAX_TIME: Duration = Duration::from_secs(10);

/// What an animation needs for each pixel: canvas, frame, the frame on the canvas, and a copy, of four bytes each.
const MOVING_BYTES: u64 = 16;

/// What is decoded from.
pub(super) type Input = Box<dyn Source>;

/// Bytes with a beginning and an end.
pub(super) trait Source: BufRead + Seek + Send {}

impl<T: BufRead + Seek + Send> Source for T {}

/// What is decoded at all. No SVG, nothing that calls another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    Gif,
    WebP,
}

impl Format {
    /// By the first bytes; what was declared says nothing.
    fn of(head: &[u8]) -> Option<Self> {
        let webp = || head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP");
        if head.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if head.starts_with(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") {
            Some(Self::Gif)
        } else {
            webp().then_some(Self::WebP)
        }
    }

    /// The media type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
        }
    }
}

/// When it has taken too long.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn new() -> Self {
        Self::after(MAX_TIME)
    }

    pub(super) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    pub(super) fn is_over(self) -> bool {
        Instant::now() > self.0
    }

    pub(super) fn check(self) -> Result<()> {
        if self.is_over() {
            Err(ThumbnailError::TooLarge)
        } else {
            Ok(())
        }
    }

    /// What an error of the decoder means.
    pub(super) fn blame(self, error: &ImageError) -> ThumbnailError {
        if self.is_over() || matches!(error, ImageError::Limits(_)) {
            ThumbnailError::TooLarge
        } else {
            ThumbnailError::Unsupported
        }
    }
}

/// An image whose pixels are not decoded yet.
pub(super) struct Image {
    pub(super) format: Format,
    /// Width and height as they are stored.
    pub(super) size: (u32, u32),
    /// What makes the stored image upright.
    pub(super) orientation: Orientation,
    pub(super) content: Content,
}

pub(super) enum Content {
    Still(Box<dyn ImageDecoder>),
    /// Whole pictures of the image's size; there may be only one.
    Moving(Frames<'static>, LoopCount),
}

/// Reads as much of the image as says how large it is.
pub(super) fn open(mut input: Input, deadline: Deadline) -> Result<Image> {
    let failed = |error: ImageError| deadline.blame(&error);
    let head = read_head(&mut input).map_err(|error| failed(error.into()))?;
    let format = Format::of(&head).ok_or(ThumbnailError::Unsupported)?;
    let input = Timed { input, deadline };
    match format {
        Format::Png => open_png(input, deadline),
        Format::Jpeg => open_jpeg(input, deadline),
        Format::Gif => {
            let mut decoder = GifDecoder::new(input).map_err(failed)?;
            let size = check_moving(decoder.dimensions())?;
            decoder.set_limits(limits()).map_err(failed)?;
            Ok(moving(
                format,
                size,
                decoder.loop_count(),
                decoder.into_frames(),
            ))
        }
        Format::WebP => {
            let decoder = WebPDecoder::new(input).map_err(failed)?;
            if decoder.has_animation() {
                let size = check_moving(decoder.dimensions())?;
                Ok(moving(
                    format,
                    size,
                    decoder.loop_count(),
                    decoder.into_frames(),
                ))
            } else {
                // Its metadata is of any size that it claims, so its orientation is not asked for.
                still(format, Orientation::NoTransforms, decoder)
            }
        }
    }
}

fn open_png(input: Timed, deadline: Deadline) -> Result<Image> {
    let failed = |error: ImageError| deadline.blame(&error);
    let mut decoder = PngDecoder::with_limits(input, limits()).map_err(failed)?;
    if decoder.is_apng().map_err(failed)? {
        let size = check_moving(decoder.dimensions())?;
        let decoder = decoder.apng().map_err(failed)?;
        let loops = decoder.loop_count();
        return Ok(moving(Format::Png, size, loops, decoder.into_frames()));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    still(Format::Png, orientation, decoder)
}

fn open_jpeg(mut input: Timed, deadline: Deadline) -> Result<Image> {
    let failed = |error: ImageError| deadline.blame(&error);
    let work = jpeg::work(&mut input).map_err(|error| failed(error.into()))?;
    input
        .seek(SeekFrom::Start(0))
        .map_err(|error| failed(error.into()))?;
    let mut decoder = JpegDecoder::new(input).map_err(failed)?;
    if !work.is_bearable(pixels(decoder.dimensions()), MAX_PIXELS, MAX_BYTES) {
        return Err(ThumbnailError::TooLarge);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    still(Format::Jpeg, orientation, decoder)
}

fn still(
    format: Format,
    orientation: Orientation,
    mut decoder: impl ImageDecoder + 'static,
) -> Result<Image> {
    let size = decoder.dimensions();
    check_size(size, decoder.total_bytes())?;
    decoder
        .set_limits(limits())
        .map_err(|_| ThumbnailError::TooLarge)?;
    Ok(Image {
        format,
        size,
        orientation,
        content: Content::Still(Box::new(decoder)),
    })
}

fn moving(format: Format, size: (u32, u32), loops: LoopCount, frames: Frames<'static>) -> Image {
    Image {
        format,
        size,
        orientation: Orientation::NoTransforms,
        content: Content::Moving(frames, loops),
    }
}

/// Decodes the pixels of a still image.
pub(super) fn pixels_of(
    decoder: Box<dyn ImageDecoder>,
    deadline: Deadline,
) -> Result<DynamicImage> {
    let image = DynamicImage::from_decoder(decoder).map_err(|error| deadline.blame(&error))?;
    deadline.check()?;
    Ok(image)
}

fn pixels((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

fn check_size(size: (u32, u32), bytes: u64) -> Result<()> {
    if pixels(size) == 0 {
        return Err(ThumbnailError::Unsupported);
    }
    if pixels(size) > MAX_PIXELS || bytes > MAX_BYTES {
        return Err(ThumbnailError::TooLarge);
    }
    Ok(())
}

fn check_moving(size: (u32, u32)) -> Result<(u32, u32)> {
    check_size(size, pixels(size).saturating_mul(MOVING_BYTES))?;
    Ok(size)
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

fn read_head(input: &mut Input) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(12).read_to_end(&mut head)?;
    input.seek(SeekFrom::Start(0))?;
    Ok(head)
}

/// An input that ends with an error when the time is over.
struct Timed {
    input: Input,
    deadline: Deadline,
}

impl Timed {
    fn check(&self) -> io::Result<()> {
        if self.deadline.is_over() {
            Err(io::Error::other("the time is over"))
        } else {
            Ok(())
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.input.read(buffer)
    }
}

impl BufRead for Timed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
    }
}

impl Seek for Timed {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.input.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, MAX_BYTES, check_moving, check_size};
    use crate::ThumbnailError;

    #[test]
    fn d5_the_first_bytes_choose_from_an_allow_list() {
        assert_eq!(Format::of(b"\x89PNG\r\n\x1a\n...."), Some(Format::Png));
        assert_eq!(Format::of(b"\xff\xd8\xff\xe0"), Some(Format::Jpeg));
        assert_eq!(Format::of(b"GIF89a"), Some(Format::Gif));
        assert_eq!(Format::of(b"RIFF\x04\0\0\0WEBPVP8 "), Some(Format::WebP));
        let others: [&[u8]; 9] = [
            b"",
            b"<svg xmlns=",
            b"<?xml version",
            b"%PDF-1.7",
            b"%!PS-Adobe",
            b"BM",
            b"II*\0",
            b"RIFF\x04\0\0\0WAVE",
            b"\0\0\0\x20ftypavif",
        ];
        for head in others {
            assert_eq!(Format::of(head), None, "{head:?}");
        }
    }

    #[test]
    fn d5_pixels_and_bytes_have_a_limit() {
        assert!(check_size((8192, 4096), 1).is_ok());
        let too_large = |answer| matches!(answer, Err(ThumbnailError::TooLarge));
        assert!(too_large(check_size((8193, 4096), 1)));
        assert!(too_large(check_size((60_000, 60_000), 1)));
        assert!(too_large(check_size((u32::MAX, u32::MAX), u64::MAX)));
        assert!(check_size((1, 1), MAX_BYTES).is_ok());
        assert!(too_large(check_size((1, 1), MAX_BYTES + 1)));
        assert!(check_moving((4096, 4096)).is_ok());
        assert!(check_moving((4096, 4097)).is_err());
        assert!(matches!(
            check_size((0, 5), 0),
            Err(ThumbnailError::Unsupported)
        ));
    }
}
