//! The search for a plan: the digits of every step and the source of correlated OTs that make one image, with its
//! set-up, cheapest on a link; or cheapest of those that move no more than so many bytes.

use super::choices::{HybridChoices, MAX_IMAGES, Supply};
use super::plan::{Base, Derived, MODE, PLANS, SYSTEM, describe_plan, traffic, wrap};
use super::{aided, stock, walk};
use oblivia_mpc::silent::LpnSet;
use oblivia_mpc::softspoken::FieldBits;
use oblivia_mpc::{Cost, Radix};
use oblivia_nn::PublicModel;
use oblivia_protocol::{Error, LinkRate, Plan, Traffic, Wish};

/// What time on a link costs.
#[derive(Clone, Copy)]
struct Prices {
    ns_per_byte: f64,
    /// One way.
    ns_per_message: f64,
}

impl From<LinkRate> for Prices {
    fn from(link: LinkRate) -> Self {
        Self {
            ns_per_byte: 8e9 / link.bits_per_second.max(1) as f64,
            ns_per_message: link.round_trip_us as f64 * 500.0,
        }
    }
}

/// The link a plan is made for.
fn link_of(plan: &str) -> Option<LinkRate> {
    match plan {
        "lan" => Some(LinkRate { bits_per_second: 1_000_000_000, round_trip_us: 100 }),
        "wan" => Some(LinkRate { bits_per_second: 100_000_000, round_trip_us: 40_000 }),
        _ => None,
    }
}

/// The best plan for `wish`.
pub(super) fn search(model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
    if let Some(mode) = wish.mode.as_deref().filter(|&m| m != MODE) {
        let why = format!("system `{SYSTEM}` has modes `{MODE}` and `{}`, not `{mode}`", aided::MODE);
        return Err(Error::Input(why));
    }
    let name = wish.plan.as_deref().unwrap_or(PLANS[0]);
    let Some(link) = link_of(name) else {
        let have = PLANS.join(", ");
        return Err(Error::Input(format!("system `{SYSTEM}` has no plan `{name}`; it has: {have}")));
    };
    let prices = Prices::from(wish.link.unwrap_or(link));
    let images = u64::from(wish.samples.max(1));
    let bytes = |t: &[Traffic; 3]| {
        let [setup, offline, online] = t.map(|t| t.up_bytes + t.down_bytes);
        setup.saturating_add(
            offline
                .saturating_add(online)
                .saturating_mul(images.div_ceil(u64::from(wish.group.unwrap_or(1)))),
        )
    };
    let base = Base::new(model)?;
    let group = wish.group.unwrap_or(1);
    if !(1..=MAX_IMAGES).contains(&group) {
        return Err(Error::Input(format!("a group of `{SYSTEM}` has 1 to {MAX_IMAGES} images, not {group}")));
    }
    let radices = vec![Radix::Four; base.steps.len() + 1];
    let choices = HybridChoices { radices, supply: Supply::ALL[0], images: group };
    let table = table(&Derived { base: base.clone(), choices, online: Cost::none() })?;
    let mut beyond = None;
    let mut best: Option<(f64, Derived)> = None;
    let mut least = u64::MAX;
    let max = wish.max_bytes.unwrap_or(u64::MAX);
    for supply in Supply::ALL {
        let fastest = fastest(&table, supply, prices);
        let changes = changes(&table, supply, prices, &fastest);
        // With the first `some` of the changes.
        let mut with = |some: usize| {
            let mut radices = fastest.clone();
            for (at, radix) in changes.iter().take(some) {
                if let Some(r) = radices.get_mut(*at) {
                    *r = *radix;
                }
            }
            let found = base.clone().with(HybridChoices { radices, supply, images: group });
            let d = found.map_err(|e| beyond = Some(e)).ok()?;
            let traffic = traffic(&d);
            Some((bytes(&traffic), traffic, d))
        };
        let mut found = with(0).filter(|f| f.0 <= max);
        if found.is_none() {
            found = with(changes.len());
            least = least.min(found.as_ref().map_or(u64::MAX, |f| f.0));
            found = found.filter(|f| f.0 <= max);
            let (mut too_few, mut enough) = (0, changes.len());
            while found.is_some() && too_few + 1 < enough {
                let some = too_few.midpoint(enough);
                match with(some).filter(|f| f.0 <= max) {
                    None => too_few = some,
                    fewer => (found, enough) = (fewer, some),
                }
            }
        }
        let Some((_, traffic, d)) = found else { continue };
        let price = price(&d, &traffic, prices);
        if best.as_ref().is_none_or(|(least, _)| price < *least) {
            best = Some((price, d));
        }
    }
    let Some((_, d)) = best else {
        if let Some(e) = beyond.filter(|_| least == u64::MAX) {
            return Err(e);
        }
        let name = &model.name;
        return Err(Error::Refused {
            why: format!(
                "no plan of `{SYSTEM}` for `{name}` moves at most {max} bytes for {images} images with their set-up; the least \
                 found is {least}: raise --max-bytes"
            ),
        });
    };
    let wrapped = wrap(name, &d.choices);
    Ok(describe_plan(&d, model, &wrapped))
}

/// Comparisons of every step and of the output, by radix.
fn table(d: &Derived) -> Result<Vec<[Cost; Radix::ALL.len()]>, Error> {
    let mut out = Vec::with_capacity(d.steps.len() + 1);
    for step in &d.steps {
        let mut row = Radix::ALL.map(|_| Cost::none());
        for (cost, radix) in row.iter_mut().zip(Radix::ALL) {
            *cost = walk::comparisons_cost(d, step, radix)?;
        }
        out.push(row);
    }
    out.push(Radix::ALL.map(|radix| walk::class_cost(d, radix)));
    Ok(out)
}

/// For every row the radix that takes least time.
fn fastest(table: &[[Cost; Radix::ALL.len()]], supply: Supply, prices: Prices) -> Vec<Radix> {
    let time = |cost: &Cost| time_of(cost, supply, prices);
    let least = |row: &[Cost; Radix::ALL.len()]| {
        let both = row.iter().zip(Radix::ALL);
        both.min_by(|a, b| time(a.0).total_cmp(&time(b.0))).map_or(Radix::Four, |(_, radix)| radix)
    };
    table.iter().map(least).collect()
}

/// Changes of single rows from the radices `fastest` to those that move fewest bytes. First is what takes least time for a byte
/// that it saves.
fn changes(
    table: &[[Cost; Radix::ALL.len()]],
    supply: Supply,
    prices: Prices,
    fastest: &[Radix],
) -> Vec<(usize, Radix)> {
    let mut out = Vec::new();
    for (at, (row, fastest)) in table.iter().zip(fastest).enumerate() {
        let points = row.iter().zip(Radix::ALL);
        let points = points.map(|(c, radix)| (bytes_of(c, supply), time_of(c, supply, prices), radix));
        let mut from = points.clone().find(|(.., radix)| radix == fastest);
        let mut steepest = 0.0f64;
        while let Some((bytes, time, _)) = from {
            let slope = |p: &(f64, f64, Radix)| (p.1 - time) / (bytes - p.0);
            let fewer = points.clone().filter(|p| p.0 < bytes);
            steepest = steepest.max(fewer.clone().map(|p| slope(&p)).fold(f64::INFINITY, f64::min));
            // The nearest of those on one line, but for rounding.
            from = fewer.filter(|p| slope(p) <= steepest * (1.0 + 1e-9)).max_by(|a, b| a.0.total_cmp(&b.0));
            out.extend(from.map(|p| (steepest, at, p.2)));
        }
    }
    // Those of a row are in this order already.
    out.sort_by(|a, b| a.0.total_cmp(&b.0));
    out.into_iter().map(|(_, at, radix)| (at, radix)).collect()
}

/// Nanoseconds of comparisons.
fn time_of(cost: &Cost, supply: Supply, prices: Prices) -> f64 {
    prices.ns_per_byte * bytes_of(cost, supply)
        + ns_per_cot(supply) * cost.cots() as f64
        + prices.ns_per_message * cost.changes() as f64
}

/// Bytes of comparisons and of their COTs.
fn bytes_of(cost: &Cost, supply: Supply) -> f64 {
    cost.bits() as f64 / 8.0 + bytes_per_cot(supply) * cost.cots() as f64
}

/// Half of the nanoseconds, measured, that both parties together take for a COT and the hash of a random OT: they work at the same
/// time.
fn ns_per_cot(supply: Supply) -> f64 {
    let both = match supply {
        Supply::Extension(FieldBits::Eight) => 74.0,
        Supply::Extension(_) => 24.0,
        Supply::Silent(LpnSet::B8) => 24.0,
        Supply::Silent(LpnSet::B9) => 20.0,
        Supply::Silent(LpnSet::B10 | LpnSet::B11) => 19.0,
        Supply::Silent(LpnSet::B12) => 21.0,
    };
    both / 2.0
}

/// Bytes that move for a COT.
fn bytes_per_cot(supply: Supply) -> f64 {
    match supply {
        Supply::Extension(FieldBits::Eight) => 15.0 / 8.0,
        Supply::Extension(_) => 31.0 / 8.0,
        Supply::Silent(set) => set.message_bytes() as f64 / set.net() as f64,
    }
}

/// Nanoseconds of COTs, traffic and messages of one image with its set-up.
fn price(d: &Derived, traffic: &[Traffic; 3], prices: Prices) -> f64 {
    let supply = d.choices.supply;
    let (bytes, messages) = traffic
        .iter()
        .fold((0, 0), |(bytes, messages), t| (bytes + t.up_bytes + t.down_bytes, messages + t.rounds));
    let below = supply.sets().iter().rev().skip(1).map(|s| 2 * s.outputs() as u64).sum::<u64>();
    let made = stock::made(supply, d.demand()) + below;
    prices.ns_per_byte * bytes as f64
        + prices.ns_per_message * messages as f64
        + ns_per_cot(supply) * made as f64
}

#[cfg(test)]
mod tests {
    use super::super::plan::derive;
    use super::super::tests::calibrated;
    use super::*;
    use oblivia_nn::Op;
    use oblivia_nn::testing::{Build, random_relu_model};

    fn plan(model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
        search(model, wish)
    }

    fn models() -> impl Iterator<Item = PublicModel> {
        (0..24).filter_map(|seed| Some(calibrated(random_relu_model(seed), 16, true)?.public))
    }

    #[test]
    fn a_plan_within_a_limit_moves_no_more_and_the_least_that_is_named_is_enough() {
        let (mut smaller, mut refused) = (0, 0);
        for model in models() {
            let free = plan(&model, &Wish::default()).unwrap().cost.traffic(3).total_bytes();
            for part in [100, 90, 80, 70, 60, 50] {
                let max = free * part / 100;
                let wish = Wish { max_bytes: Some(max), samples: 3, ..Wish::default() };
                match plan(&model, &wish) {
                    Ok(plan) => {
                        let bytes = plan.cost.traffic(3).total_bytes();
                        assert!(bytes <= max);
                        smaller += u32::from(bytes < free);
                    }
                    Err(e) => {
                        let text = e.to_string();
                        let least = text.split("least found is ").nth(1).and_then(|t| t.split(':').next());
                        let least: u64 = least.unwrap().parse().unwrap();
                        assert!(least > max, "{text}");
                        let wish = Wish { max_bytes: Some(least), ..wish };
                        assert!(plan(&model, &wish).unwrap().cost.traffic(3).total_bytes() <= least);
                        refused += 1;
                    }
                }
            }
        }
        assert!(smaller > 5 && refused > 20, "{smaller} smaller, {refused} refused");
    }

    #[test]
    fn bytes_are_saved_where_they_take_least_time_and_no_more_than_needed() {
        let costs = |n| Radix::ALL.map(|radix| oblivia_mpc::relu_cost(32, radix).times(n));
        let table = [costs(1000), costs(10)];
        let prices = Prices { ns_per_byte: 1.0, ns_per_message: 0.0 };
        let supply = Supply::Silent(LpnSet::B12);
        let first = fastest(&table, supply, prices);
        assert_eq!(first, [Radix::Sixteen; 2]);
        // Costs are as for one value, so neither row comes first; digits of 2 to 3 bits lie on the way.
        let found = changes(&table, supply, prices, &first);
        for row in [0, 1] {
            let of_row: Vec<_> = found.iter().filter(|(at, _)| *at == row).map(|(_, radix)| *radix).collect();
            assert_eq!(of_row, [Radix::Eight, Radix::Mixed, Radix::Four]);
        }

        let mut large = Build::new(1, [1, 64, 64]);
        for name in ["first", "second", "third"] {
            large.conv(name, 4, [3, 3], [1, 1], [1; 4], 1, true);
            large.op(&format!("relu of {name}"), Op::Relu);
        }
        let large = calibrated(large.finish(), 16, true).unwrap().public;
        let plan = |max_bytes| plan(&large, &Wish { max_bytes, ..Wish::default() }).unwrap();
        let max = plan(None).cost.traffic(1).total_bytes() - 1;
        let limited = plan(Some(max));
        assert!(limited.cost.traffic(1).total_bytes() <= max);
        // Of three like rows not all are changed.
        let radices = derive(&large, &limited.choices).unwrap().choices.radices;
        let compared: Vec<_> = radices.iter().filter(|radix| **radix != Radix::Two).collect();
        assert!(compared.len() == 3 && compared.iter().any(|radix| radix != &compared[0]), "{radices:?}");
    }

    #[test]
    fn slower_links_get_plans_with_fewer_bytes_and_longer_ones_with_fewer_messages() {
        let mut fewer = [0; 2];
        let mut large = Build::new(1, [1, 64, 64]);
        large.conv("conv", 4, [3, 3], [1, 1], [1; 4], 1, true);
        large.op("relu", Op::Relu);
        let large = calibrated(large.finish(), 16, true).unwrap().public;
        for model in models().chain([large]) {
            let of = |bits_per_second, round_trip_us| {
                let link = Some(LinkRate { bits_per_second, round_trip_us });
                let t = plan(&model, &Wish { link, ..Wish::default() }).unwrap().cost.traffic(1);
                (t.total_bytes(), t.setup.rounds + t.offline.rounds + t.online.rounds)
            };
            let (fast, slow, long) = (of(10_000_000_000, 0), of(1_000_000, 0), of(1_000_000, 10_000_000));
            assert!(slow.0 <= fast.0, "{slow:?} after {fast:?}");
            assert!(long.1 <= slow.1, "{long:?} after {slow:?}");
            fewer[0] += u32::from(slow.0 < fast.0);
            fewer[1] += u32::from(long.1 < slow.1);
        }
        assert!(fewer[0] > 5 && fewer[1] > 0, "{fewer:?}");
    }

    #[test]
    fn what_is_prepared_does_not_depend_on_digits_or_sources() {
        use oblivia_protocol::System;
        let model = models().next().unwrap();
        let name = |link| {
            let plan = plan(&model, &Wish { link, ..Wish::default() }).unwrap();
            (plan.digest(), super::super::Hybrid.prepared_name(&plan))
        };
        let slow = name(Some(LinkRate { bits_per_second: 1_000_000, round_trip_us: 0 }));
        let fast = name(Some(LinkRate { bits_per_second: 10_000_000_000, round_trip_us: 0 }));
        assert_ne!(slow.0, fast.0);
        assert_eq!(slow.1, fast.1);
    }
}
