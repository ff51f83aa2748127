//! What a JPEG costs before it is decoded: a progressive one keeps all its coefficients in memory, and each of its scans
//! goes over the whole image.

use std::io::{self, BufRead};

/// Passes over the largest image that are bearable; libjpeg's progressive files have ten.
const MAX_PASSES: u64 = 12;

/// Bytes for each pixel: three coefficients of two bytes and three colours.
const PROGRESSIVE_BYTES: u64 = 9;

/// What there is to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    progressive: bool,
    scans: u64,
}

/// Counts the markers. Those in embedded previews count too: it is a bound.
pub(super) fn work(input: &mut dyn BufRead) -> io::Result<Work> {
    let mut work = Work::default();
    let mut marker = false;
    loop {
        let bytes = input.fill_buf()?;
        let length = bytes.len();
        if length == 0 {
            return Ok(work);
        }
        for byte in bytes {
            if marker {
                work.scans += u64::from(*byte == 0xda);
                work.progressive |= matches!(byte, 0xc2 | 0xc6 | 0xca | 0xce);
            }
            marker = *byte == 0xff;
        }
        input.consume(length);
    }
}

impl Work {
    /// Whether an image of so many pixels stays within memory, and within a bounded number of passes over the largest.
    pub(super) fn is_bearable(&self, pixels: u64, max_pixels: u64, max_bytes: u64) -> bool {
        let passes = pixels.saturating_mul(self.scans) <= max_pixels.saturating_mul(MAX_PASSES);
        let memory = pixels.saturating_mul(PROGRESSIVE_BYTES) <= max_bytes;
        passes && (memory || !self.progressive)
    }
}

#[cfg(test)]
mod tests {
    use super::{Work, work};

    #[test]
    fn d5_scans_times_pixels_are_bounded() {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xc2, 0, 9];
        for _ in 0..50 {
            bytes.extend([0xff, 0xda, 0, 8, 1, 2, 0xff, 0, 0xda]);
        }
        let work = work(&mut bytes.as_slice()).unwrap();
        let expected = Work {
            progressive: true,
            scans: 50,
        };
        assert_eq!(work, expected);
        assert!(work.is_bearable(24, 100, 1000));
        assert!(!work.is_bearable(25, 100, 1000));
        assert!(!work.is_bearable(24, 100, 24 * 9 - 1));
    }
}
