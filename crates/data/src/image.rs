//! PNG and JPEG images, and the step from pixels to a model's input.

use crate::DataError;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use oblivia_nn::{ImageInput, Shape, Tensor};
use std::fmt;
use std::io::Cursor;

/// The largest image file read, in bytes (64 MiB).
pub const MAX_IMAGE_BYTES: u64 = 64 << 20;
/// The largest image decoded, in pixels (2^25, e.g. 8192×4096).
pub const MAX_PIXELS: u64 = 1 << 25;
/// The longest side decoded, in pixels.
const MAX_SIDE: u32 = 1 << 15;

/// An image with 8 bits per channel, rows from the top, channels interleaved.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    width: usize,
    height: usize,
    channels: usize,
    data: Vec<u8>,
}

impl fmt::Debug for Pixels {
    /// Shows the size alone: the picture may be private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({self})")
    }
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(self.width, self.height, self.channels))
    }
}

fn describe(width: usize, height: usize, channels: usize) -> String {
    format!("{width}×{height} {}", if channels == 1 { "grey" } else { "colour" })
}

impl Pixels {
    /// Takes `width·height·channels` bytes; 1 channel is grey, 3 are red, green, blue.
    pub fn new(width: usize, height: usize, channels: usize, data: Vec<u8>) -> Result<Self, DataError> {
        let bytes = width.checked_mul(height).and_then(|n| n.checked_mul(channels));
        if !matches!(channels, 1 | 3) || bytes.is_none_or(|n| n == 0 || n != data.len()) {
            let why = format!("{} bytes for {width}×{height} pixels of {channels} channels", data.len());
            return Err(DataError::BadImage { why });
        }
        Ok(Self { width, height, channels, data })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// 1 or 3.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The bytes, channels interleaved.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The middle `width` columns of the middle `height` rows; the extra one of an odd remainder is on the right and below.
    /// `None` where the image is smaller.
    pub fn centre(&self, width: usize, height: usize) -> Option<Self> {
        let left = self.width.checked_sub(width)? / 2;
        let top = self.height.checked_sub(height)? / 2;
        let rows = self.data.chunks(self.width * self.channels).skip(top).take(height);
        let row =
            |r: &[u8]| r.iter().skip(left * self.channels).take(width * self.channels).copied().collect();
        let data = rows.flat_map(|r| -> Vec<u8> { row(r) }).collect();
        Self::new(width, height, self.channels, data).ok()
    }

    /// The model's input: `(pixel − mean) / std` per channel, computed in double precision, as
    /// `[channels, height, width]`.
    ///
    /// The size must be the model's. A grey picture fits a colour model and a colour picture whose channels
    /// are all equal fits a grey one, because that changes no value; nothing else is converted.
    pub fn to_tensor(&self, input: &ImageInput) -> Result<Tensor, DataError> {
        let mismatch = |remedy| DataError::ImageMismatch {
            found: self.to_string(),
            expected: describe(input.width, input.height, input.channels),
            remedy,
        };
        if (self.width, self.height) != (input.width, input.height) {
            return Err(mismatch("crop or scale it to that size first"));
        }
        let is_grey = || self.data.chunks(3).all(|p| matches!(p, [r, g, b] if r == g && g == b));
        if self.channels == 3 && input.channels == 1 && !is_grey() {
            return Err(mismatch("convert it to grey levels first"));
        }
        if input.mean.len() != input.channels || input.std.len() != input.channels {
            return Err(mismatch("the model's preprocessing lacks a mean or std for a channel"));
        }
        let shape = Shape::new([input.channels, input.height, input.width])?;
        let mut x = Vec::with_capacity(shape.elements());
        for (c, (&mean, &std)) in input.mean.iter().zip(&input.std).enumerate() {
            let source = match (self.channels, input.bgr) {
                (1, _) => 0,
                (_, true) => 2 - c.min(2),
                (_, false) => c,
            };
            let pixels = self.data.iter().skip(source).step_by(self.channels);
            x.extend(pixels.map(|&p| ((f64::from(p) - f64::from(mean)) / f64::from(std)) as f32));
        }
        Ok(Tensor::new(shape, x)?)
    }
}

/// Decodes a PNG or JPEG file given as bytes, told apart by its first bytes.
///
/// Files above [`MAX_IMAGE_BYTES`], images above [`MAX_PIXELS`], more than 8 bits per channel and
/// transparency are refused; an alpha channel that is opaque everywhere is dropped.
pub fn decode_image(bytes: &[u8]) -> Result<Pixels, DataError> {
    let bad = |why: String| DataError::BadImage { why };
    if bytes.len() as u64 > MAX_IMAGE_BYTES {
        let found = bytes.len() as u64;
        return Err(DataError::TooLarge { what: "bytes of the image".into(), found, max: MAX_IMAGE_BYTES });
    }
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        Ok(other) => return Err(bad(format!("it is a {other:?} file"))),
        Err(_) => return Err(bad("it is neither PNG nor JPEG".into())),
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_PIXELS * 16);
    let reader = || {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits.clone());
        reader
    };
    let (width, height) = reader().into_dimensions().map_err(|e| bad(e.to_string()))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(DataError::TooLarge {
            what: "pixels of the image".into(),
            found: pixels,
            max: MAX_PIXELS,
        });
    }
    let (width, height) = (width as usize, height as usize);
    match reader().decode().map_err(|e| bad(e.to_string()))? {
        DynamicImage::ImageLuma8(i) => Pixels::new(width, height, 1, i.into_raw()),
        DynamicImage::ImageRgb8(i) => Pixels::new(width, height, 3, i.into_raw()),
        DynamicImage::ImageLumaA8(i) => Pixels::new(width, height, 1, opaque::<2>(&i.into_raw())?),
        DynamicImage::ImageRgba8(i) => Pixels::new(width, height, 3, opaque::<4>(&i.into_raw())?),
        other => Err(bad(format!("its pixels are {:?}", other.color()))),
    }
}

/// Drops the last of `N` channels, which must be 255 everywhere.
fn opaque<const N: usize>(data: &[u8]) -> Result<Vec<u8>, DataError> {
    let mut out = Vec::with_capacity(data.len() / N * (N - 1));
    for pixel in data.as_chunks::<N>().0 {
        match pixel.split_last() {
            Some((255, colour)) => out.extend_from_slice(colour),
            _ => {
                let why = "it has transparent pixels; save it without an alpha channel".into();
                return Err(DataError::BadImage { why });
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
    use proptest::prelude::*;

    fn png(width: u32, height: u32, color: ExtendedColorType, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        PngEncoder::new(&mut out).write_image(data, width, height, color).unwrap();
        out
    }

    fn model(channels: usize, bgr: bool) -> ImageInput {
        let (mean, std) = (vec![10.0; channels], vec![2.0; channels]);
        ImageInput { width: 2, height: 1, channels, bgr, mean, std }
    }

    #[test]
    fn the_centre_of_an_image_leaves_out_as_much_on_each_side() {
        let grey = Pixels::new(4, 3, 1, (0..12).collect()).unwrap();
        assert_eq!(grey.centre(2, 1).unwrap().data(), [5, 6]);
        assert_eq!(grey.centre(1, 2).unwrap().data(), [1, 5]);
        assert_eq!(grey.centre(4, 3).as_ref(), Some(&grey));
        assert_eq!(grey.centre(5, 1), None);
        assert_eq!(grey.centre(1, 4), None);
        let colour = Pixels::new(3, 1, 3, (0..9).collect()).unwrap();
        assert_eq!(colour.centre(1, 1).unwrap().data(), [3, 4, 5]);
    }

    #[test]
    fn a_colour_image_becomes_planes_in_the_models_order() {
        let pixels = decode_image(&png(2, 1, ExtendedColorType::Rgb8, &[10, 12, 14, 20, 22, 24])).unwrap();
        assert_eq!(pixels.to_tensor(&model(3, false)).unwrap().data(), [0., 5., 1., 6., 2., 7.]);
        assert_eq!(pixels.to_tensor(&model(3, true)).unwrap().data(), [2., 7., 1., 6., 0., 5.]);
    }

    #[test]
    fn grey_and_colour_meet_only_where_no_value_changes() {
        let grey = decode_image(&png(2, 1, ExtendedColorType::L8, &[10, 20])).unwrap();
        assert_eq!(grey.to_tensor(&model(3, false)).unwrap().data(), [0., 5., 0., 5., 0., 5.]);
        let equal = decode_image(&png(2, 1, ExtendedColorType::Rgb8, &[10, 10, 10, 20, 20, 20])).unwrap();
        assert_eq!(equal.to_tensor(&model(1, false)).unwrap().data(), [0., 5.]);
        let colour = decode_image(&png(2, 1, ExtendedColorType::Rgb8, &[10, 12, 14, 20, 22, 24])).unwrap();
        let error = colour.to_tensor(&model(1, false)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the image is 2×1 colour, the model takes 2×1 grey; convert it to grey levels first"
        );
    }

    #[test]
    fn an_image_of_another_size_is_refused_not_resized() {
        let pixels = decode_image(&png(1, 2, ExtendedColorType::L8, &[0, 0])).unwrap();
        let error = pixels.to_tensor(&model(1, false)).unwrap_err();
        let expected = "the image is 1×2 grey, the model takes 2×1 grey; crop or scale it to that size first";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_opaque_alpha_channel_is_dropped_and_a_transparent_one_refused() {
        let opaque = png(2, 1, ExtendedColorType::La8, &[10, 255, 20, 255]);
        assert_eq!(decode_image(&opaque).unwrap().data(), [10, 20]);
        let clear = png(2, 1, ExtendedColorType::Rgba8, &[1, 2, 3, 255, 4, 5, 6, 254]);
        assert!(decode_image(&clear).unwrap_err().to_string().contains("transparent"));
    }

    #[test]
    fn more_than_eight_bits_and_other_formats_are_refused() {
        let deep = png(1, 1, ExtendedColorType::L16, &[1, 2]);
        assert!(decode_image(&deep).unwrap_err().to_string().contains("L16"));
        assert!(decode_image(b"GIF89a....").unwrap_err().to_string().contains("Gif"));
        assert!(decode_image(b"hello").unwrap_err().to_string().contains("neither PNG nor JPEG"));
    }

    #[test]
    fn a_small_file_that_announces_a_huge_image_is_refused() {
        let mut bytes = png(1, 1, ExtendedColorType::L8, &[0]);
        // Width and height of the header chunk, and its checksum.
        bytes[16..24].copy_from_slice(&[0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff]);
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        assert!(
            matches!(decode_image(&bytes), Err(DataError::TooLarge { .. })),
            "{:?}",
            decode_image(&bytes)
        );
    }

    proptest! {
        #[test]
        fn damaged_images_never_panic(at: prop::sample::Index, value: u8, cut: prop::sample::Index) {
            let mut bytes = png(5, 4, ExtendedColorType::Rgb8, &(0..60).collect::<Vec<u8>>());
            let i = at.index(bytes.len());
            bytes[i] = value;
            crate::fuzz::image(&bytes);
            crate::fuzz::image(&bytes[..cut.index(bytes.len())]);
        }
    }
}
