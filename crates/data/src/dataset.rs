//! Labelled images: the MNIST and CIFAR-10 files, and folders with a `labels.csv`.

use crate::{
    DataError, Idx, MAX_IDX_BYTES, MAX_IMAGE_BYTES, MAX_NPY_BYTES, Npy, NpyData, Pixels, decode_image, read,
};
use std::path::Path;

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
    let images = idx(folder.as_ref(), &format!("{prefix}-images-idx3-ubyte"))?;
    let labels = idx(folder.as_ref(), &format!("{prefix}-labels-idx1-ubyte"))?;
    let bad = |why: String| DataError::BadSet { what: format!("{prefix} images and labels"), why };
    let (&[n, rows, columns], &[m]) = (images.dims(), labels.dims()) else {
        return Err(bad(format!("have shapes {:?} and {:?}", images.dims(), labels.dims())));
    };
    if n != m || rows == 0 || columns == 0 {
        return Err(bad(format!("{n} images of {columns}×{rows} pixels and {m} labels do not match")));
    }
    let pairs = images.data().chunks(rows * columns).zip(labels.data()).enumerate();
    let labelled = pairs.map(|(i, (image, &label))| {
        let pixels = Pixels::new(columns, rows, 1, image.to_vec())?;
        Ok(Labelled { name: i.to_string(), pixels, label: usize::from(label) })
    });
    labelled.collect()
}

/// Reads the CIFAR-10 test images of `folder` as they came out of JPEG: `test_jpeg_x.npy`, bytes of shape
/// `[n, height, width, 3]`, and `test_jpeg_y.npy`, bytes of shape `[n]`.
pub fn cifar10_jpeg_test(folder: impl AsRef<Path>) -> Result<Vec<Labelled>, DataError> {
    let npy = |name: &str| {
        let path = folder.as_ref().join(name);
        Npy::parse(&read(&path, MAX_NPY_BYTES)?)
            .map_err(|e| DataError::BadSet { what: path.display().to_string(), why: e.to_string() })
    };
    let (images, labels) = (npy("test_jpeg_x.npy")?, npy("test_jpeg_y.npy")?);
    let bad = |why: String| DataError::BadSet { what: "test_jpeg images and labels".into(), why };
    let (NpyData::U8(x), NpyData::U8(y)) = (images.data(), labels.data()) else {
        return Err(bad("are not bytes".into()));
    };
    let (&[n, height, width, 3], &[m]) = (images.shape(), labels.shape()) else {
        return Err(bad(format!("have shapes {:?} and {:?}", images.shape(), labels.shape())));
    };
    if n != m || height == 0 || width == 0 {
        return Err(bad(format!("{n} images of {width}×{height} pixels and {m} labels do not match")));
    }
    let pairs = x.chunks(height * width * 3).zip(y).enumerate();
    let labelled = pairs.map(|(i, (image, &label))| {
        let pixels = Pixels::new(width, height, 3, image.to_vec())?;
        Ok(Labelled { name: i.to_string(), pixels, label: usize::from(label) })
    });
    labelled.collect()
}

fn idx(folder: &Path, name: &str) -> Result<Idx, DataError> {
    let zipped = folder.join(format!("{name}.gz"));
    let path = if zipped.exists() { zipped } else { folder.join(name) };
    Idx::parse(&read(&path, MAX_IDX_BYTES)?)
        .map_err(|e| DataError::BadSet { what: path.display().to_string(), why: e.to_string() })
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
        assert!(error.contains("1 images of 2×1 pixels and 2 labels"), "{error}");
        std::fs::write(dir.path().join("t10k-labels-idx1-ubyte"), labels(1)).unwrap();
        let set = mnist(dir.path(), Split::Test).unwrap();
        assert_eq!(
            set,
            [Labelled { name: "0".into(), pixels: Pixels::new(2, 1, 1, vec![5, 6]).unwrap(), label: 3 }]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_labels_never_panic(text in "(file,label\n)?.{0,80}") {
            crate::fuzz::labels(text.as_bytes());
        }
    }
}
