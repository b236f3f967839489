//! Comparisons of many elements, in parts that are computed at the same time.

use oblivia_mpc::{
    Cost, Divisible, Link, MpcError, Radix, Session, Shares, Windows, in_shards, in_shards_cost, max_pool,
    max_pool_cost, relu, relu_cost,
};
use rayon::ThreadPool;

/// Elements of a part at least. Both parties cut alike: the parts are in the plan's costs.
const PART: usize = 1 << 14;
/// Parts at most.
const MOST_PARTS: usize = 16;

/// Sizes of the parts of `n` things of `each` elements.
fn parts(n: usize, each: usize) -> Vec<usize> {
    let count = (n.saturating_mul(each) / PART).clamp(1, MOST_PARTS.min(n.max(1)));
    (0..count).map(|i| n * (i + 1) / count - n * i / count).collect()
}

fn total(costs: &[Cost]) -> Cost {
    match costs {
        [one] => one.clone(),
        all => in_shards_cost(all),
    }
}

fn relus_costs(n: usize, bits: u32, radix: Radix) -> Vec<Cost> {
    parts(n, 1).into_iter().map(|n| relu_cost(bits, radix).times(n)).collect()
}

/// Of [`relus`].
pub(super) fn relus_cost(n: usize, bits: u32, radix: Radix) -> Cost {
    total(&relus_costs(n, bits, radix))
}

/// [`relu`], in parts where there are many elements.
pub(super) async fn relus<L: Link, P: Divisible>(
    cx: &mut Session<L, P>,
    pool: &ThreadPool,
    x: &Shares,
    radix: Radix,
) -> Result<Shares, MpcError> {
    let costs = relus_costs(x.len(), x.width(), radix);
    if costs.len() == 1 {
        return relu(cx, x, radix).await;
    }
    let operands = cut(x, &parts(x.len(), 1))?;
    let done = in_shards(cx, pool, operands, &costs, |mut cx, x| {
        Box::pin(async move {
            let y = relu(&mut cx, &x, radix).await?;
            cx.finish().await?;
            Ok(y)
        })
    });
    Shares::concat(&done.await?.iter().collect::<Vec<_>>())
}

/// Elements of a plane.
fn plane(windows: &Windows) -> usize {
    let [height, width] = windows.size;
    height.saturating_mul(width)
}

fn pool_costs(windows: &Windows, bits: u32, radix: Radix) -> Vec<Cost> {
    let of = |channels| max_pool_cost(&Windows { channels, ..*windows }, bits, radix);
    parts(windows.channels, plane(windows)).into_iter().map(of).collect()
}

/// Of [`pools`].
pub(super) fn pool_cost(windows: &Windows, bits: u32, radix: Radix) -> Cost {
    total(&pool_costs(windows, bits, radix))
}

/// [`max_pool`], in parts by channels where there are many elements.
pub(super) async fn pools<L: Link, P: Divisible>(
    cx: &mut Session<L, P>,
    pool: &ThreadPool,
    x: &Shares,
    windows: &Windows,
    radix: Radix,
) -> Result<Shares, MpcError> {
    let costs = pool_costs(windows, x.width(), radix);
    if costs.len() == 1 {
        return max_pool(cx, x, windows, radix).await;
    }
    let each = plane(windows).max(1);
    let sizes: Vec<usize> = parts(windows.channels, each).into_iter().map(|n| n * each).collect();
    let windows = *windows;
    let done = in_shards(cx, pool, cut(x, &sizes)?, &costs, |mut cx, x| {
        let windows = Windows { channels: x.len() / each, ..windows };
        Box::pin(async move {
            let y = max_pool(&mut cx, &x, &windows, radix).await?;
            cx.finish().await?;
            Ok(y)
        })
    });
    Shares::concat(&done.await?.iter().collect::<Vec<_>>())
}

/// Pieces of these sizes, in order.
fn cut(x: &Shares, sizes: &[usize]) -> Result<Vec<Shares>, MpcError> {
    let mut from = 0;
    let piece = |&n: &usize| {
        from += n;
        x.slice(from - n, n)
    };
    sizes.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_near_equal_and_everything_together() {
        for (n, each) in [
            (0, 1),
            (1, 1),
            (PART, 1),
            (2 * PART - 1, 1),
            (2 * PART, 1),
            (1 << 21, 1),
            (3, 1 << 20),
            (64, 1 << 15),
        ] {
            let found = parts(n, each);
            assert_eq!(found.iter().sum::<usize>(), n);
            assert!(found.len() <= MOST_PARTS && found.len() <= n.max(1), "{n} of {each}: {found:?}");
            let (least, most) = (found.iter().min().unwrap(), found.iter().max().unwrap());
            assert!(most - least <= 1);
        }
        assert_eq!(parts(2 * PART - 1, 1).len(), 1);
        assert_eq!(parts(2 * PART, 1).len(), 2);
    }
}
