//! Labelled images: the MNIST and CIFAR-10 files, and folders with a `labels.csv`.

use crate::{
    DataError, Idx, MAX_IDX_BYTES, MAX_IMAGE_BYTES, MAX_NPY_BYTES, Npy, NpyData, Pixels, decode_image, read,
};
use std::path::{Path, PathBuf};

/// The largest `labels.csv` read, in bytes.
const MAX_CSV_BYTES: u64 = 16 << 20;

/// One image with its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// File name, or number within the set.
    pub name: String,
    /// The image.
    pub pixels: Pixels,
    /// Index of its class.
    pub label: usize,
}

/// The two halves of MNIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// 60,000 images to train on.
    Train,
    /// 10,000 images to test on.
    Test,
}

/// Reads one half of MNIST from `folder`: `train-…` or `t10k-images-idx3-ubyte` with the labels beside it,
/// each plain or with `.gz`.
pub fn mnist(folder: impl AsRef<Path>, split: Split) -> Result<Vec<Labelled>, DataError> {
    let prefix = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let file = |name: &str| zipped(folder.as_ref().join(format!("{prefix}-{name}-ubyte")));
    labelled_arrays(file("images-idx3"), file("labels-idx1"))
}

/// Reads the CIFAR-10 test images of `folder` as they came out of JPEG: `test_jpeg_x.npy`, bytes of shape
/// `[n, height, width, 3]`, and `test_jpeg_y.npy`, bytes of shape `[n]`.
pub fn cifar10_jpeg_test(folder: impl AsRef<Path>) -> Result<Vec<Labelled>, DataError> {
    let file = |name: &str| folder.as_ref().join(name);
    labelled_arrays(file("test_jpeg_x.npy"), file("test_jpeg_y.npy"))
}

/// The file with `.gz` if there is one, else the one without.
fn zipped(path: PathBuf) -> PathBuf {
    let mut with = path.clone().into_os_string();
    with.push(".gz");
    let with = PathBuf::from(with);
    if with.exists() { with } else { path }
}

/// The file with the labels of a file of images, where it lies beside it by its name: `…labels-idx1…` of `…images-idx3…`,
/// either with `.gz` or plain, `…_y.npy` of `…_x.npy`.
pub fn labels_beside(images: impl AsRef<Path>) -> Option<PathBuf> {
    let images = images.as_ref();
    let name = images.file_name()?.to_str()?;
    let labels = match name.strip_suffix("_x.npy") {
        Some(stem) => images.with_file_name(format!("{stem}_y.npy")),
        None if name.contains("images-idx3") => {
            let plain = name.strip_suffix(".gz").unwrap_or(name);
            zipped(images.with_file_name(plain.replace("images-idx3", "labels-idx1")))
        }
        None => return None,
    };
    labels.is_file().then_some(labels)
}

/// Reads the images of one array and their labels of another. Images: idx of bytes `[n, height, width]`, or npy of bytes
/// `[n, height, width, 1 or 3]` or `[n, height, width]`, told apart by the suffix `.npy`. Labels: as many whole numbers from
/// 0 on.
pub fn labelled_arrays(
    images: impl AsRef<Path>,
    labels: impl AsRef<Path>,
) -> Result<Vec<Labelled>, DataError> {
    let (images, labels) = (images.as_ref(), labels.as_ref());
    let pixels = array_images(images)?;
    let array = Array::read(labels)?;
    let bad = |why: String| DataError::BadSet { what: labels.display().to_string(), why };
    let classes =
        array.classes().ok_or_else(|| bad("labels are no list of whole numbers from 0 on".into()))?;
    if pixels.len() != classes.len() {
        let (n, m, of) = (pixels.len(), classes.len(), images.display());
        return Err(bad(format!("{n} images of {of} and {m} labels do not match")));
    }
    let labelled = |(i, (pixels, label))| Labelled { name: format!("{i}"), pixels, label };
    let pairs = pixels.into_iter().zip(classes).enumerate();
    Ok(pairs.map(labelled).collect())
}

/// The images of one array as [`labelled_arrays`] takes them.
pub fn array_images(path: impl AsRef<Path>) -> Result<Vec<Pixels>, DataError> {
    let path = path.as_ref();
    let array = Array::read(path)?;
    let bad = |why: String| DataError::BadSet { what: path.display().to_string(), why };
    let (height, width, channels) = match *array.dims() {
        [_, height, width] => (height, width, 1),
        [_, height, width, channels @ (1 | 3)] => (height, width, channels),
        ref dims => {
            return Err(bad(format!(
                "shape {dims:?} is not that of images, [n, height, width] or [n, height, width, 3]"
            )));
        }
    };
    let (Some(bytes), true) = (array.bytes(), height > 0 && width > 0) else {
        return Err(bad(format!("images are bytes; these are not, or have no pixels ({width}×{height})")));
    };
    let images = bytes.chunks(height * width * channels);
    images.map(|image| Pixels::new(width, height, channels, image.to_vec())).collect()
}

/// An array of either format.
enum Array {
    Idx(Idx),
    Npy(Npy),
}

impl Array {
    fn read(path: &Path) -> Result<Self, DataError> {
        let read = match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
            true => Npy::parse(&read(path, MAX_NPY_BYTES)?).map(Self::Npy),
            false => Idx::parse(&read(path, MAX_IDX_BYTES)?).map(Self::Idx),
        };
        read.map_err(|e| DataError::BadSet { what: path.display().to_string(), why: e.to_string() })
    }

    fn dims(&self) -> &[usize] {
        match self {
            Self::Idx(idx) => idx.dims(),
            Self::Npy(npy) => npy.shape(),
        }
    }

    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Idx(idx) => Some(idx.data()),
            Self::Npy(npy) => match npy.data() {
                NpyData::U8(bytes) => Some(bytes),
                _ => None,
            },
        }
    }

    /// As class indices.
    fn classes(&self) -> Option<Vec<usize>> {
        let [_] = self.dims() else { return None };
        match self {
            Self::Npy(npy) => match npy.data() {
                NpyData::I32(v) => v.iter().map(|&v| usize::try_from(v).ok()).collect(),
                NpyData::I64(v) => v.iter().map(|&v| usize::try_from(v).ok()).collect(),
                NpyData::U8(v) => Some(v.iter().map(|&v| usize::from(v)).collect()),
                NpyData::F32(_) | NpyData::F64(_) => None,
            },
            Self::Idx(idx) => Some(idx.data().iter().map(|&v| usize::from(v)).collect()),
        }
    }
}

/// Reads a folder of images with a `labels.csv` (header `file,label` or `file,class`, one line per image,
/// labels as class indices), in the order of its lines.
pub fn labelled_folder(folder: impl AsRef<Path>) -> Result<Vec<Labelled>, DataError> {
    let folder = folder.as_ref();
    let csv = folder.join("labels.csv");
    let shown = csv.display().to_string();
    let bytes = read(&csv, MAX_CSV_BYTES)?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(DataError::BadSet { what: shown, why: "is not UTF-8 text".into() });
    };
    let rows = parse_labels(&text).map_err(|why| DataError::BadSet { what: shown, why })?;
    let mut out = Vec::new();
    for (file, label) in rows {
        let path = folder.join(file);
        let pixels = decode_image(&read(&path, MAX_IMAGE_BYTES)?)
            .map_err(|e| DataError::BadSet { what: path.display().to_string(), why: e.to_string() })?;
        out.push(Labelled { name: file.to_owned(), pixels, label });
    }
    Ok(out)
}

/// File names and labels of a `labels.csv`.
pub(crate) fn parse_labels(text: &str) -> Result<Vec<(&str, usize)>, String> {
    let mut lines = text.lines();
    if !matches!(lines.next().map(str::trim), Some("file,label" | "file,class")) {
        return Err("the first line must be `file,label`".into());
    }
    let mut out = Vec::new();
    for (i, line) in lines.enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let number = i + 2;
        let row = line.trim().split_once(',').and_then(|(file, label)| Some((file, label.parse().ok()?)));
        let Some((file, label)) = row else {
            return Err(format!("line {number} is not `file,number`"));
        };
        // Only names inside the folder, so that a set cannot point elsewhere.
        if Path::new(file).file_name().is_none_or(|name| name != file) || file.contains('\\') {
            return Err(format!("line {number}: the file must lie in the same folder"));
        }
        out.push((file, label));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_are_read_line_by_line() {
        let rows = parse_labels("file,label\n0000.png,7\n\n0001.png,2\n").unwrap();
        assert_eq!(rows, [("0000.png", 7), ("0001.png", 2)]);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for (text, expected) in [
            ("", "first line"),
            ("file,label\na.png", "line 2"),
            ("file,label\na.png,1\nb.png,x", "line 3"),
            ("file,label\n../secret.png,1", "same folder"),
            ("file,label\n/etc/passwd,1", "same folder"),
            ("file,label\n..,1", "same folder"),
        ] {
            assert!(parse_labels(text).unwrap_err().contains(expected), "{text}");
        }
    }

    #[test]
    fn images_and_labels_must_be_as_many() {
        let dir = tempfile::tempdir().unwrap();
        let images = [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2][..], &[5, 6]].concat();
        std::fs::write(dir.path().join("t10k-images-idx3-ubyte"), images).unwrap();
        let labels = |n: u8| [&[0, 0, 8, 1, 0, 0, 0, n][..], &vec![3; n.into()]].concat();
        std::fs::write(dir.path().join("t10k-labels-idx1-ubyte"), labels(2)).unwrap();
        let error = mnist(dir.path(), Split::Test).unwrap_err().to_string();
        assert!(error.contains("1 images of ") && error.contains("and 2 labels do not match"), "{error}");
        std::fs::write(dir.path().join("t10k-labels-idx1-ubyte"), labels(1)).unwrap();
        let set = mnist(dir.path(), Split::Test).unwrap();
        assert_eq!(
            set,
            [Labelled { name: "0".into(), pixels: Pixels::new(2, 1, 1, vec![5, 6]).unwrap(), label: 3 }]
        );
    }

    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn images_of_an_array_have_the_labels_that_lie_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("a_x.npy"), npy("|u1", "(2, 1, 1, 3)", &[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(labels_beside(file("a_x.npy")), None);
        std::fs::write(file("a_y.npy"), npy("<i4", "(2,)", &[7, 0, 0, 0, 9, 0, 0, 0])).unwrap();
        let labels = labels_beside(file("a_x.npy")).unwrap();
        let set = labelled_arrays(file("a_x.npy"), &labels).unwrap();
        assert_eq!(
            set.iter().map(|l| (l.label, l.pixels.data())).collect::<Vec<_>>(),
            [(7, &[1, 2, 3][..]), (9, &[4, 5, 6])]
        );
        for (images, labels) in
            [("t-images-idx3-ubyte", "t-labels-idx1-ubyte.gz"), ("t.images-idx3.gz", "t.labels-idx1")]
        {
            assert_eq!(labels_beside(file(images)), None);
            std::fs::write(file(labels), []).unwrap();
            assert_eq!(labels_beside(file(images)), Some(file(labels)));
        }
        assert_eq!(labels_beside(file("a_y.npy")), None);
    }

    #[test]
    fn arrays_that_are_no_labelled_images_are_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let (x, y) = (dir.path().join("x.npy"), dir.path().join("y.npy"));
        let image = npy("|u1", "(1, 1, 1)", &[5]);
        for (images, labels, expected) in [
            (
                npy("|u1", "(1, 1, 1, 2)", &[1, 2]),
                npy("|u1", "(1,)", &[1]),
                "x.npy: shape [1, 1, 1, 2] is not that of images",
            ),
            (npy("<i4", "(1, 1, 1)", &[0; 4]), npy("|u1", "(1,)", &[1]), "x.npy: images are bytes"),
            (npy("|u1", "(1, 0, 1)", &[]), npy("|u1", "(1,)", &[1]), "no pixels"),
            (image.clone(), npy("<f4", "(1,)", &[0; 4]), "y.npy: labels are no list of whole numbers"),
            (image.clone(), npy("<i4", "(1,)", &[255; 4]), "labels are no list of whole numbers"),
            (image.clone(), npy("|u1", "(1, 1)", &[1]), "labels are no list of whole numbers"),
            (image.clone(), npy("|u1", "(2,)", &[1, 2]), "and 2 labels do not match"),
            (image, b"PK".to_vec(), "y.npy: not a readable npy file"),
        ] {
            std::fs::write(&x, images).unwrap();
            std::fs::write(&y, labels).unwrap();
            let error = labelled_arrays(&x, &y).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_labels_never_panic(text in "(file,label\n)?.{0,80}") {
            crate::fuzz::labels(text.as_bytes());
        }
    }
}
