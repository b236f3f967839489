use crate::Modulus;

/// Results that a kernel works on at a time.
pub(crate) const GROUP: usize = 6;

/// A matrix of constants for [`super::dot_constants_into`], in the order in which that reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConstantMatrix {
    rows: usize,
    columns: usize,
    /// Rows in groups of [`GROUP`], the last one shorter; within a group column by column.
    words: Vec<u64>,
}

impl ConstantMatrix {
    /// The matrix with entries `entry(row, column)`, which are reduced modulo `m`.
    pub fn new(m: &Modulus, rows: usize, columns: usize, entry: impl Fn(usize, usize) -> u64) -> Self {
        let mut words = Vec::with_capacity(rows * columns);
        for start in (0..rows).step_by(GROUP) {
            for column in 0..columns {
                let group = start..(start + GROUP).min(rows);
                words.extend(group.map(|row| m.reduce_u64(entry(row, column))));
            }
        }
        Self { rows, columns, words }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The groups of rows in order: column `t` of a group of r rows at words t·r to t·r + r − 1.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[u64]> {
        let (columns, words) = (self.columns, &self.words);
        (0..self.rows).step_by(GROUP).map(move |start| {
            let end = (start + GROUP).min(self.rows);
            &words[start * columns..end * columns]
        })
    }
}
