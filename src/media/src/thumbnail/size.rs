//! How large a thumbnail becomes.

use crate::Method;

/// Which part of the image is taken, from its centre, and to which size it shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Width and height of the part.
    pub(super) part: (u32, u32),
    /// Width and height of the thumbnail, never more than the part's.
    pub(super) size: (u32, u32),
}

/// The plan for an image, or nothing where the original is what was asked for.
///
/// "Servers MUST NOT upscale thumbnails under any circumstance. Servers MUST NOT return a smaller thumbnail than
/// requested, unless the original content makes that impossible."
pub(super) fn plan(image: (u32, u32), wanted: (u32, u32), method: Method) -> Option<Plan> {
    // "When the content is smaller than the requested dimensions, servers should return the original content".
    if image.0 <= wanted.0 && image.1 <= wanted.1 {
        return None;
    }
    match method {
        Method::Scale => scale(image, wanted),
        Method::Crop => Some(crop(image, wanted)),
    }
}

/// One side is as requested, the other as requested or longer.
fn scale(image: (u32, u32), wanted: (u32, u32)) -> Option<Plan> {
    if wanted.0 >= image.0 || wanted.1 >= image.1 {
        return None;
    }
    let by_width = (wanted.0, times(image.1, wanted.0, image.0));
    let by_height = (times(image.0, wanted.1, image.1), wanted.1);
    let size = if by_width.1 >= wanted.1 {
        by_width
    } else {
        by_height
    };
    Some(Plan { part: image, size })
}

/// The largest part with the aspect that was asked for; as large as it was asked for if there are pixels enough.
fn crop(image: (u32, u32), wanted: (u32, u32)) -> Plan {
    let by_width = (image.0, times(wanted.1, image.0, wanted.0));
    let by_height = (times(wanted.0, image.1, wanted.1), image.1);
    let part = if by_width.1 <= image.1 {
        by_width
    } else {
        (by_height.0.min(image.0), by_height.1)
    };
    let size = (part.0.min(wanted.0), part.1.min(wanted.1));
    Plan { part, size }
}

/// `a * b / c`, rounded, at least 1.
fn times(a: u32, b: u32, c: u32) -> u32 {
    let (a, b, c) = (u64::from(a), u64::from(b), u64::from(c.max(1)));
    u32::try_from((a * b + c / 2) / c)
        .unwrap_or(u32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Plan, plan};
    use crate::Method;

    #[test]
    fn sizes() {
        let scale = |image, wanted| plan(image, wanted, Method::Scale).map(|plan| plan.size);
        assert_eq!(scale((1000, 500), (320, 240)), Some((480, 240)));
        assert_eq!(scale((500, 1000), (320, 240)), Some((320, 640)));
        assert_eq!(scale((640, 480), (320, 240)), Some((320, 240)));
        assert_eq!(scale((320, 240), (320, 240)), None);
        assert_eq!(scale((4000, 100), (800, 600)), None);
        let crop = |image, wanted| plan(image, wanted, Method::Crop);
        let cropped = |part, size| Some(Plan { part, size });
        assert_eq!(crop((1000, 500), (96, 96)), cropped((500, 500), (96, 96)));
        assert_eq!(crop((50, 500), (100, 100)), cropped((50, 50), (50, 50)));
        assert_eq!(crop((90, 90), (100, 100)), None);
        assert_eq!(crop((1, 30_000), (96, 96)), cropped((1, 1), (1, 1)));
    }

    proptest! {
        #[test]
        fn never_larger_than_the_image_and_never_smaller_than_asked_if_possible(
            image in (1_u32..5000, 1_u32..5000),
            wanted in (1_u32..=u32::MAX, 1_u32..=u32::MAX),
            small in (1_u32..5000, 1_u32..5000),
            crop: bool,
        ) {
            let method = if crop { Method::Crop } else { Method::Scale };
            for wanted in [wanted, small] {
                let Some(Plan { part, size }) = plan(image, wanted, method) else { continue };
                prop_assert!(part.0 <= image.0 && part.1 <= image.1);
                prop_assert!(size.0 <= part.0 && size.1 <= part.1);
                prop_assert!(size.0 >= 1 && size.1 >= 1);
                if image.0 >= wanted.0 && image.1 >= wanted.1 {
                    prop_assert!(size.0 >= wanted.0 && size.1 >= wanted.1, "{:?} {:?} {:?}", image, wanted, size);
                }
            }
        }
    }
}
