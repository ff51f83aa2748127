//! Writing animated thumbnails: frames that the image crate compresses, in the container that it cannot write.
//!
//! "Servers SHOULD prefer to return `image/webp` thumbnails when supporting animation." The container is that of RFC
//! 9649, section 2.7: `VP8X`, `ANIM`, then an `ANMF` for each frame, all of them of the whole size.

use std::time::Duration;

use image::{
    ExtendedColorType, ImageResult, RgbaImage, codecs::webp::WebPEncoder, metadata::LoopCount,
};

/// `RIFF`, a size, `WEBP`: what stands before the chunk of a still image.
const HEADER: usize = 12;

/// Browsers show frames with hardly any time for this long, so that old animations keep their speed.
const DEFAULT_DELAY: Duration = Duration::from_millis(100);

/// Less than this is hardly any time.
const MIN_DELAY: Duration = Duration::from_millis(20);

/// An animation that is being written.
pub(super) struct Animation {
    bytes: Vec<u8>,
}

impl Animation {
    /// An animation without frames.
    pub(super) fn new(size: (u32, u32), loops: LoopCount) -> Self {
        let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
        // Animated, with alpha.
        let mut extended = vec![0x12, 0, 0, 0];
        extended.extend(u24(size.0.saturating_sub(1)));
        extended.extend(u24(size.1.saturating_sub(1)));
        push_chunk(&mut bytes, *b"VP8X", &extended);
        let loops = match loops {
            LoopCount::Infinite => 0,
            LoopCount::Finite(count) => u16::try_from(count.get()).unwrap_or(u16::MAX),
        };
        // A transparent background.
        let mut animation = vec![0, 0, 0, 0];
        animation.extend(loops.to_le_bytes());
        push_chunk(&mut bytes, *b"ANIM", &animation);
        Self { bytes }
    }

    /// Appends a frame.
    pub(super) fn push(&mut self, frame: &RgbaImage, delay: Duration) -> ImageResult<()> {
        let (width, height) = frame.dimensions();
        let mut still = Vec::new();
        WebPEncoder::new_lossless(&mut still).encode(
            frame,
            width,
            height,
            ExtendedColorType::Rgba8,
        )?;
        let delay = if delay < MIN_DELAY {
            DEFAULT_DELAY
        } else {
            delay
        };
        let delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        // At the top left.
        let mut chunk = vec![0; 6];
        chunk.extend(u24(width.saturating_sub(1)));
        chunk.extend(u24(height.saturating_sub(1)));
        chunk.extend(u24(delay_ms.min(0x00ff_ffff)));
        // In place of the frame before, not over it.
        chunk.push(0b10);
        chunk.extend_from_slice(still.get(HEADER..).unwrap_or_default());
        push_chunk(&mut self.bytes, *b"ANMF", &chunk);
        Ok(())
    }

    /// The bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let size = u32::try_from(self.bytes.len() - 8).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(4..8) {
            field.copy_from_slice(&size.to_le_bytes());
        }
        self.bytes
    }
}

fn push_chunk(bytes: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    bytes.extend(name);
    bytes.extend(
        u32::try_from(content.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    bytes.extend_from_slice(content);
    if content.len() % 2 == 1 {
        bytes.push(0);
    }
}

fn u24(value: u32) -> impl Iterator<Item = u8> {
    value.to_le_bytes().into_iter().take(3)
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, num::NonZeroU32, time::Duration};

    use image::{
        AnimationDecoder as _, ImageDecoder as _, Rgba, RgbaImage, codecs::webp::WebPDecoder,
        metadata::LoopCount,
    };

    use super::Animation;

    #[test]
    fn what_is_written_is_read_again() {
        let loops = LoopCount::Finite(NonZeroU32::new(3).unwrap());
        let mut animation = Animation::new((5, 3), loops);
        let frames: Vec<_> = (0..4_u8)
            .map(|number| {
                RgbaImage::from_fn(5, 3, |x, y| {
                    Rgba([x as u8 * 40, y as u8 * 60, number * 50, 255 - number * 80])
                })
            })
            .collect();
        for (number, frame) in frames.iter().enumerate() {
            let delay = Duration::from_millis(number as u64 * 30);
            animation.push(frame, delay).unwrap();
        }
        let bytes = animation.finish();
        let decoder = WebPDecoder::new(Cursor::new(bytes)).unwrap();
        assert!(decoder.has_animation());
        assert_eq!(decoder.dimensions(), (5, 3));
        assert!(matches!(decoder.loop_count(), LoopCount::Finite(count) if count.get() == 3));
        let read = decoder.into_frames().collect_frames().unwrap();
        assert_eq!(read.len(), 4);
        for ((read, written), delay) in read.iter().zip(&frames).zip([100, 30, 60, 90]) {
            assert_eq!(read.buffer(), written);
            assert_eq!(read.delay().numer_denom_ms(), (delay, 1));
        }
    }
}
