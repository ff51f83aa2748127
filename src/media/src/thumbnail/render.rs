//! From the bytes of an image to the bytes of its thumbnail. Runs on the pool.

use image::{
    Frame, Frames, GenericImageView, ImageError, Rgba, RgbaImage, imageops,
    metadata::{LoopCount, Orientation},
};
use storage::media::ThumbnailKind;

use super::{
    Method, Result, ThumbnailError,
    decode::{self, Content, Deadline, Format, Image, Input, MAX_FRAMES},
    encode,
    size::{Plan, plan},
    webp::Animation,
};

/// The largest animated thumbnail where the original cannot take its place.
const MAX_ANIMATION: usize = 16 << 20;

/// What a thumbnail turned out to be.
#[derive(Debug)]
pub(super) enum Rendered {
    /// The original, which is of this type.
    Original(&'static str),
    /// An image of this type.
    Image(Vec<u8>, &'static str),
}

/// Makes a thumbnail of a file of `source_size` bytes.
pub(super) fn render(input: Input, source_size: u64, kind: ThumbnailKind) -> Result<Rendered> {
    render_until(input, source_size, kind, Deadline::new())
}

/// As [`render`], with another time.
pub(super) fn render_until(
    input: Input,
    source_size: u64,
    kind: ThumbnailKind,
    deadline: Deadline,
) -> Result<Rendered> {
    let Image {
        format,
        size,
        orientation,
        content,
    } = decode::open(input, deadline)?;
    let method = if kind.crop {
        Method::Crop
    } else {
        Method::Scale
    };
    let turned = turns(orientation);
    let plan = plan(swapped(size, turned), (kind.width, kind.height), method);
    let job = Job {
        format,
        method,
        whole: Plan { part: size, size },
        // Parts are taken from the centre, so turning them is exchanging their sides.
        plan: plan.map(|plan| Plan {
            part: swapped(plan.part, turned),
            size: swapped(plan.size, turned),
        }),
        orientation,
        source_size,
        deadline,
    };
    match content {
        Content::Still(decoder) => {
            let image = decode::pixels_of(decoder, deadline)?;
            job.still(&image, false)
        }
        Content::Moving(mut frames, loops) => {
            let first = match frames.next() {
                Some(frame) => frame.map_err(|error| deadline.blame(&error))?,
                None => return Err(ThumbnailError::Unsupported),
            };
            if kind.animated {
                job.moving(first, frames, loops)
            } else {
                // "When `false`, the server MUST NOT return an animated thumbnail."
                let moves = frames.next().is_some();
                job.still(first.buffer(), moves)
            }
        }
    }
}

struct Job {
    format: Format,
    method: Method,
    /// Nothing is cut off or shrunk.
    whole: Plan,
    plan: Option<Plan>,
    orientation: Orientation,
    source_size: u64,
    deadline: Deadline,
}

impl Job {
    /// A still thumbnail. The original `moves` if it cannot stand for itself.
    fn still<I>(&self, image: &I, moves: bool) -> Result<Rendered>
    where
        I: GenericImageView<Pixel = Rgba<u8>> + 'static,
    {
        let plan = match self.plan {
            Some(plan) => plan,
            None if moves => self.whole,
            None => return Ok(self.original()),
        };
        let mut small = image::DynamicImage::ImageRgba8(shrink(image, plan));
        small.apply_orientation(self.orientation);
        self.deadline.check()?;
        let (bytes, content_type) = encode::still(small.into_rgba8(), self.format)
            .map_err(|error| self.deadline.blame(&error))?;
        // A larger image in fewer bytes is better in both respects.
        let wasteful = bytes.len() as u64 >= self.source_size;
        if wasteful && !moves && self.method == Method::Scale {
            return Ok(self.original());
        }
        Ok(Rendered::Image(bytes, content_type))
    }

    /// An animated thumbnail, if there is more than one frame.
    fn moving(&self, first: Frame, rest: Frames<'static>, loops: LoopCount) -> Result<Rendered> {
        let mut animation = self
            .plan
            .map(|plan| (plan, Animation::new(plan.size, loops)));
        let budget = match self.method {
            Method::Scale => usize::try_from(self.source_size).unwrap_or(usize::MAX),
            Method::Crop => MAX_ANIMATION,
        };
        let picture = first.buffer().clone();
        let mut count = 0;
        for frame in std::iter::once(Ok(first)).chain(rest) {
            self.deadline.check()?;
            let frame = match frame {
                Ok(frame) => frame,
                // What is cut off or damaged behind the first frame plays up to there, as it does in browsers.
                Err(error) => match self.deadline.blame(&error) {
                    ThumbnailError::Unsupported => break,
                    reason => return Err(reason),
                },
            };
            count += 1;
            if count > MAX_FRAMES {
                return Err(ThumbnailError::TooLarge);
            }
            animation = self.push(animation, &frame, budget)?;
        }
        match (animation, self.plan, self.method) {
            _ if count == 1 => self.still(&picture, false),
            (Some((_, animation)), ..) => Ok(Rendered::Image(animation.finish(), "image/webp")),
            (None, Some(_), Method::Crop) => self.still(&picture, true),
            (None, ..) => Ok(self.original()),
        }
    }

    /// Appends a frame to the animation, or gives the animation up when it becomes too large. Frames are still counted
    /// then.
    fn push(
        &self,
        animation: Option<(Plan, Animation)>,
        frame: &Frame,
        budget: usize,
    ) -> Result<Option<(Plan, Animation)>> {
        let Some((plan, mut animation)) = animation else {
            return Ok(None);
        };
        let small = shrink(frame.buffer(), plan);
        let failed = |error: ImageError| self.deadline.blame(&error);
        animation
            .push(&small, frame.delay().into())
            .map_err(failed)?;
        Ok((animation.len() < budget).then_some((plan, animation)))
    }

    fn original(&self) -> Rendered {
        Rendered::Original(self.format.content_type())
    }
}

fn shrink<I>(image: &I, plan: Plan) -> RgbaImage
where
    I: GenericImageView<Pixel = Rgba<u8>> + 'static,
{
    let (width, height) = plan.part;
    let left = image.width().saturating_sub(width) / 2;
    let top = image.height().saturating_sub(height) / 2;
    let part = imageops::crop_imm(image, left, top, width, height);
    if plan.size == plan.part {
        return part.to_image();
    }
    imageops::thumbnail(&*part, plan.size.0, plan.size.1)
}

/// Whether width and height change places.
fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn swapped((width, height): (u32, u32), turned: bool) -> (u32, u32) {
    if turned {
        (height, width)
    } else {
        (width, height)
    }
}
