//! Maximum over windows of a plane, rows first and columns then: an h×w window takes w − 1 comparisons per row and output
//! column and h − 1 per output, fewer than h·w − 1 per output where windows overlap.

use crate::bits::require;
use crate::compare::Radix;
use crate::relu::{max_of, max_of_cost};
use crate::{Cost, Link, MpcError, PadSource, Session, Shares};

/// Windows on `channels` planes of `height` × `width` elements, channel by channel, row by row.
///
/// What a window covers outside the plane counts as its nearest element, which the window covers too; so padding never
/// wins, as −∞ would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Planes.
    pub channels: usize,
    /// Rows and columns of a plane.
    pub size: [usize; 2],
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Rows and columns from a window to the next.
    pub stride: [usize; 2],
    /// Rows above and columns left of the plane that the first window covers; below the kernel's.
    pub pad: [usize; 2],
    /// Rows and columns of the result; every window touches the plane.
    pub output: [usize; 2],
}

impl Windows {
    /// Refuses windows that miss the plane and planes without elements.
    fn check(&self) -> Result<(), MpcError> {
        for axis in [0, 1] {
            let [size, kernel, stride, pad, output] =
                [self.size, self.kernel, self.stride, self.pad, self.output].map(|v| v[axis]);
            let found = kernel as u64;
            require(size > 0 && output > 0, "elements of a plane", size.min(output) as u64, "at least 1")?;
            require(kernel > 0 && stride > 0, "size or stride of a window", found, "at least 1")?;
            require(pad < kernel, "padding before the first window", pad as u64, "below the window's size")?;
            let last = (output - 1).checked_mul(stride).filter(|at| *at < size.saturating_add(pad));
            require(
                last.is_some(),
                "windows in a row or column",
                output as u64,
                "so many that the last touches the plane",
            )?;
        }
        Ok(())
    }

    /// What output `o` of an axis covers.
    fn covered(&self, axis: usize, o: usize) -> impl Iterator<Item = usize> {
        let [size, kernel, stride, pad] = [self.size, self.kernel, self.stride, self.pad].map(|v| v[axis]);
        (0..kernel).map(move |k| (o * stride + k).saturating_sub(pad).min(size - 1))
    }

    /// Rows that some window covers, ascending.
    fn rows(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.output[0]).flat_map(|o| self.covered(0, o)).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// For each place of a window in a row, the index of its element for every channel, covered row and output column.
    fn row_indices(&self, rows: &[usize]) -> Vec<Vec<usize>> {
        let [height, width] = self.size;
        let mut out = vec![Vec::new(); self.kernel[1]];
        for channel in 0..self.channels {
            for row in rows {
                for o in 0..self.output[1] {
                    for (list, column) in out.iter_mut().zip(self.covered(1, o)) {
                        list.push((channel * height + row) * width + column);
                    }
                }
            }
        }
        out
    }

    /// The same for the columns of what the rows gave.
    fn column_indices(&self, rows: &[usize]) -> Vec<Vec<usize>> {
        let width = self.output[1];
        let mut out = vec![Vec::new(); self.kernel[0]];
        for channel in 0..self.channels {
            for o in 0..self.output[0] {
                for column in 0..width {
                    for (list, row) in out.iter_mut().zip(self.covered(0, o)) {
                        let row = rows.partition_point(|r| *r < row);
                        list.push((channel * rows.len() + row) * width + column);
                    }
                }
            }
        }
        out
    }
}

/// The greatest element of every window. Range as for [`crate::max`], between any two elements of a window.
///
/// # Errors
/// [`MpcError::Argument`] if the windows do not fit x; what the peer or the stocks cause.
pub async fn max_pool<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    windows: &Windows,
    radix: Radix,
) -> Result<Shares, MpcError> {
    windows.check()?;
    let [height, width] = windows.size;
    require(
        windows.channels.checked_mul(height).and_then(|v| v.checked_mul(width)) == Some(x.len()),
        "elements to pool",
        x.len() as u64,
        "channels × height × width",
    )?;
    let rows = windows.rows();
    let gather =
        |x: &Shares, lists: Vec<Vec<usize>>| lists.iter().map(|l| x.gather(l)).collect::<Result<Vec<_>, _>>();
    let across = max_of(cx, gather(x, windows.row_indices(&rows))?, radix).await?;
    max_of(cx, gather(&across, windows.column_indices(&rows))?, radix).await
}

/// Of [`max_pool`], all of it.
pub fn max_pool_cost(windows: &Windows, width: u32, radix: Radix) -> Cost {
    if windows.check().is_err() {
        return Cost::none();
    }
    let across = windows.channels * windows.rows().len() * windows.output[1];
    let down = windows.channels * windows.output[0] * windows.output[1];
    max_of_cost(windows.kernel[1], across, width, radix).then(&max_of_cost(
        windows.kernel[0],
        down,
        width,
        radix,
    ))
}
