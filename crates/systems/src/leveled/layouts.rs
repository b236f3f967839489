//! Layouts a planner tries.

use oblivia_pack::circuit::Window;
use oblivia_pack::{Axis, Layout};

/// A grid position: how far neighbours of an axis are apart, and how many slots one channel's block takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Grid {
    y: usize,
    x: usize,
    /// Slots from the first to behind the last element of a channel.
    block: usize,
}

/// Strides of the most significant digit of rows and columns: where a window's outputs fall if the window moves by one
/// stride. `None` for axes that a stride does not step through evenly.
fn grid(input: &Layout, window: &Window) -> Option<Grid> {
    let step = |axis: usize| -> Option<usize> {
        if window.input[1 + axis] == 1 {
            return Some(1);
        }
        let mut stride = window.stride[axis] as u32;
        for d in &input.axes()[1 + axis].digits {
            if stride < d.radix || d.radix == 1 {
                return Some((d.stride * stride) as usize);
            }
            if !stride.is_multiple_of(d.radix) {
                return None;
            }
            stride /= d.radix;
        }
        None
    };
    let (y, x) = (step(0)?, step(1)?);
    let block = (window.output[1] - 1) * y + (window.output[2] - 1) * x + 1;
    Some(Grid { y, x, block })
}

/// Where the client may put its input for a first layer.
pub(super) fn inputs(shape: [usize; 3], first: &Window, slots: usize) -> Vec<Layout> {
    let [c, h, w] = shape;
    let mut found = Vec::new();
    let mut push = |vectors: usize, axes: [Axis; 3], extent: usize| {
        let extent = extent.next_power_of_two();
        for period in [extent, slots] {
            if let Ok(layout) = Layout::new(shape, slots, vectors, axes.clone(), period)
                && !found.contains(&layout)
            {
                found.push(layout);
            }
        }
    };
    // Phases of the stride as blocks.
    let [sh, sw] = first.stride;
    if (sh > 1 || sw > 1) && first.kernel != [h, w] && h > 1 {
        let (rows, columns) = ((h + first.pads[0]).div_ceil(sh), (w + first.pads[1]).div_ceil(sw));
        let block = (rows * columns).next_power_of_two();
        let y = Axis::new(first.pads[0], &[(sh, sw * block), (rows, columns)]);
        let x = Axis::new(first.pads[1], &[(sw, block), (columns, 1)]);
        push(1, [Axis::strided(c, sh * sw * block), y, x], c * sh * sw * block);
    }
    // Row-major, channels one after the other, as many to a vector as fit.
    let block = (h * w).next_power_of_two().min(slots);
    let each = (slots / block).min(c).max(1);
    let axes = |block| {
        [Axis::new(0, &[(each, block), (c.div_ceil(each), slots)]), Axis::strided(h, w), Axis::strided(w, 1)]
    };
    push(c.div_ceil(each), axes(block), each * block);
    if c * h * w <= slots {
        let axes = [Axis::strided(c, h * w), Axis::strided(h, w), Axis::strided(w, 1)];
        push(1, axes, c * h * w);
    }
    found.extend(interleaved(shape, first, slots));
    found
}

/// Phases of the stride as blocks with copies of each side by side, one for every map if there is room, so that neither
/// phases nor maps take rotations of their own.
fn interleaved(shape: [usize; 3], first: &Window, slots: usize) -> Option<Layout> {
    let [c, h, w] = shape;
    let [sh, sw] = first.stride;
    if first.kernel == [h, w] || h == 1 {
        return None;
    }
    let (rows, columns) = ((h + first.pads[0]).div_ceil(sh), (w + first.pads[1]).div_ceil(sw));
    let block = (rows * columns).next_power_of_two();
    let blocks = (c * sh * sw).next_power_of_two();
    let copies = (slots / (blocks * block)).min(first.output[0].next_power_of_two());
    let pitch = copies * block;
    let y = Axis::new(first.pads[0], &[(sh, sw * pitch), (rows, columns)]);
    let x = Axis::new(first.pads[1], &[(sw, pitch), (columns, 1)]);
    let axes = [Axis::strided(c, sh * sw * pitch), y, x];
    Layout::new(shape, slots, 1, axes, blocks * pitch)
        .ok()?
        .with_inner_copies(copies, block)
        .ok()
        .filter(|_| copies > 1)
}

/// A layout of columns: tap t of position p at t·positions + p, as many taps to a vector as fit.
pub(super) fn columns(shape: [usize; 3], slots: usize) -> Option<Layout> {
    let [taps, h, w] = shape;
    let each = (slots / (h * w)).min(taps).max(1);
    let c = Axis::new(0, &[(each, h * w), (taps.div_ceil(each), slots)]);
    Layout::new(shape, slots, taps.div_ceil(each), [c, Axis::strided(h, w), Axis::strided(w, 1)], slots).ok()
}

/// Where a layer's results may go, with the fold that brings them there.
pub(super) fn outputs(input: &Layout, window: &Window) -> Vec<(Layout, usize)> {
    let (slots, p, shape) = (input.slots(), input.period(), window.output);
    let [m, h, w] = shape;
    let mut found: Vec<(Layout, usize)> = Vec::new();
    let mut push = |vectors: usize, axes: [Axis; 3], period: usize, fold: usize| {
        if let Ok(layout) = Layout::new(shape, slots, vectors, axes, period) {
            let one = (layout, fold);
            if !found.contains(&one) {
                found.push(one);
            }
        }
    };
    // All results side by side, folded as far as they leave room: rows of a dense layer.
    let elements = m * h * w;
    let rows = elements.next_power_of_two();
    if rows <= p {
        let axes = [Axis::strided(m, h * w), Axis::strided(h, w), Axis::strided(w, 1)];
        push(1, axes.clone(), rows, rows);
        if rows < slots {
            push(1, axes, slots.min(p.max(rows)), p);
        }
    }
    // Rows shared out among the copies of the input.
    if h * w == 1 && p < slots {
        let copies = slots / p;
        let each = rows.div_ceil(copies);
        push(1, [Axis::new(0, &[(each, 1), (copies, p)]), Axis::default(), Axis::default()], slots, each);
    }
    let Some(g) = grid(input, window) else { return found };
    // One map per inner copy, folded over channels and phases.
    let (copies, pitch) = (input.inner_copies().radix as usize, input.inner_copies().stride as usize);
    if copies > 1 {
        let vectors = m.div_ceil(copies);
        let maps = Axis::new(0, &[(copies, pitch), (vectors, slots)]);
        let fold = copies * pitch;
        push(vectors, [maps, Axis::strided(h, g.y), Axis::strided(w, g.x)], fold, fold);
    }
    let (y, x) = (Axis::strided(h, g.y), Axis::strided(w, g.x));
    let block = g.block.next_power_of_two();
    // One map per copy of the input, folded over channels and phases.
    if p < slots && m * p <= slots && block < p {
        push(1, [Axis::strided(m, p), y.clone(), x.clone()], slots, block);
    }
    // Maps in the gaps that strides leave, then one after the other, as many to a vector as fit.
    for (gap_y, gap_x) in [(gap(g.y, g.x * w.max(1)), g.x), (1, 1)] {
        let (low, mid) = (gap_x.min(m).max(1), gap_y.min(m.div_ceil(gap_x.max(1))).max(1));
        let unit = (g.y / gap_y.max(1)).max(1);
        let grid_block = (h * g.y).max(block).next_power_of_two();
        let high = m.div_ceil(low * mid);
        for block in [grid_block, h * g.y] {
            if block == 0 || block > slots {
                continue;
            }
            let each = (slots / block).min(high).max(1);
            let vectors = high.div_ceil(each);
            let mut digits = vec![(low, 1)];
            digits.extend([(mid, unit), (each, block), (vectors, slots)]);
            let extent = (each * block).next_power_of_two().max(p);
            for period in [extent.min(slots), slots] {
                push(vectors, [Axis::new(0, &digits), y.clone(), x.clone()], period, p);
            }
        }
    }
    found
}

/// How many rows fit between neighbouring rows.
fn gap(y: usize, width: usize) -> usize {
    (y / width.max(1)).max(1)
}
