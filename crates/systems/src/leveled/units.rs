//! What operations cost, in time of one thread.

use super::circuit::Circuit;
use super::levels::{LevelShape, shapes};
use super::lola::LolaProgram;
use super::network::Kind;
use super::program::{Program, Step};
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_he::{Params, ParamsLiteral};
use oblivia_pack::Outline;
use std::collections::BTreeMap;

/// Measured costs in picoseconds per coefficient of one limb, at one dimension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct UnitCosts {
    /// A transform.
    pub(super) ntt: u32,
    /// Multiplying a digit with a row of a key, which is read from memory, and accumulating.
    pub(super) key_row: u32,
    /// Bringing both rows of a rotation to their places.
    pub(super) turn_row: u32,
    /// Multiplying both halves of a vector with a row of a plaintext, which is read from memory, and accumulating.
    pub(super) plain_row: u32,
    /// Encoding one row of a plaintext.
    pub(super) encode_row: u32,
}

impl UnitCosts {
    /// From measurements called `name/log n` (`oblivia calibrate` makes them), and where there are none figures of the order
    /// of what was measured on one core of a Xeon with AVX-512 IFMA: round ones, and those of `turn-row` were set, not
    /// measured.
    ///
    /// Rotations are measured with four digits (`key-row`, per row of a key) and with one (`turn-row`, per row of both
    /// halves): what a row of a key takes, and what is left, follows.
    pub(super) fn of(log_n: u32, measured: &BTreeMap<String, u64>) -> Self {
        let more = log_n.saturating_sub(13);
        let one = |name: &str, usual: u32| {
            let found = measured.get(&format!("{name}/{log_n}")).and_then(|&v| u32::try_from(v).ok());
            found.map_or(usual, |v| v.clamp(1, 1 << 24))
        };
        let (four, single) = (one("key-row", 420 + 45 * more), one("turn-row", 1_600 + 200 * more));
        // four = key + turn/8 and single = 2·key + turn.
        let key_row = ((8 * u64::from(four)).saturating_sub(single.into()) / 6).max(1) as u32;
        Self {
            ntt: one("ntt", if more < 2 { 1_430 + 280 * more } else { 2_700 }),
            key_row,
            turn_row: single.saturating_sub(2 * key_row).max(1),
            plain_row: one("plain-row", 850),
            encode_row: one("encode-row", 3_350 + 500 * more),
        }
    }
}

impl UnitCosts {
    /// The same with what rotations bring to their places counted with the rows of their keys, four digits assumed.
    pub(super) fn without_turns(self) -> Self {
        Self { key_row: self.key_row.saturating_add(self.turn_row / 8), turn_row: 1, ..self }
    }
}

impl Encode for UnitCosts {
    fn encode(&self, w: &mut Writer) {
        let Self { ntt, key_row, turn_row, plain_row, encode_row } = *self;
        [ntt, key_row, turn_row, plain_row, encode_row].into_iter().for_each(|v| w.u32(v));
    }
}

impl Decode for UnitCosts {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut one = || {
            let v = r.u32("unit cost")?;
            r.require((1..=1 << 24).contains(&v), "unit cost")?;
            Ok::<_, DecodeError>(v)
        };
        Ok(Self { ntt: one()?, key_row: one()?, turn_row: one()?, plain_row: one()?, encode_row: one()? })
    }
}

/// Unit costs at one level, in nanoseconds per limb.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    ntt: f64,
    key_row: f64,
    turn_row: f64,
    plain_row: f64,
    encode_row: f64,
    shape: LevelShape,
    slots: f64,
}

/// What the cost of keys is spread over.
const SAMPLES_PER_KEY: f64 = 100.0;

/// Keys that a client thinks twice about.
const MANY_KEY_BYTES: f64 = (40u32 << 20) as f64;

/// Nanoseconds per byte of a gigabit link.
const LINK: f64 = 8.0;

impl Units {
    /// At a level of this shape.
    pub(super) fn at(costs: UnitCosts, log_n: u32, shape: LevelShape) -> Self {
        let slots = f64::from(1u32 << log_n.min(31));
        let row = |ps: u32| f64::from(ps) * slots / 1000.0;
        Self {
            ntt: row(costs.ntt),
            key_row: row(costs.key_row),
            turn_row: row(costs.turn_row),
            plain_row: row(costs.plain_row),
            encode_row: row(costs.encode_row),
            shape,
            slots,
        }
    }

    /// The highest level whose keys serve this one.
    pub(super) fn group(&self) -> usize {
        self.shape.group
    }

    fn limbs(&self) -> f64 {
        self.shape.limbs as f64
    }

    fn digits(&self) -> f64 {
        self.shape.digits as f64
    }

    fn all(&self) -> f64 {
        (self.shape.limbs + self.shape.special) as f64
    }

    /// Transforms of both halves of a rescale, alone and together with the division by P.
    fn rescale(&self) -> [f64; 2] {
        self.shape.rescale.map(|n| 2.0 * n as f64 * self.ntt)
    }

    /// An input ciphertext: encoded, encrypted, expanded.
    pub(super) fn input(&self) -> f64 {
        self.limbs() * (2.0 * self.encode_row + 2.0 * self.ntt)
    }

    /// Sending it over a gigabit link.
    pub(super) fn input_sent(&self) -> f64 {
        f64::from(self.shape.bits[0]) * self.slots / 8.0 * LINK
    }

    /// Bytes of the key of a rotation.
    pub(super) fn key_bytes(&self) -> f64 {
        self.digits() * f64::from(self.shape.bits[1]) * self.slots / 8.0
    }

    /// What another key costs where there are `bytes` of them: its share of sending it, more the more there are.
    pub(super) fn key(&self, bytes: f64) -> f64 {
        let many = bytes / MANY_KEY_BYTES;
        self.key_bytes() * LINK / SAMPLES_PER_KEY * (1.0 + many * many * many)
    }

    /// The sums of products with a key, and where they go.
    fn switch(&self) -> f64 {
        self.all() * (2.0 * self.digits() * self.key_row + self.turn_row)
    }

    /// A rotation with a decomposition of its own.
    pub(super) fn rotation(&self) -> f64 {
        self.all() * (self.digits() + 2.0) * self.ntt + self.switch()
    }

    /// A square with relinearisation and rescale.
    pub(super) fn square(&self) -> f64 {
        let [_, merged] = self.rescale();
        self.all() * self.digits() * self.ntt + self.switch() + merged + 2.0 * self.limbs() * self.plain_row
    }

    /// A product with a plaintext, rescaled.
    fn masked(&self) -> f64 {
        let [alone, _] = self.rescale();
        self.limbs() * self.plain_row + alone
    }

    /// Sums of scalar products over tap vectors, stacked and rescaled.
    pub(super) fn taps(&self, taps: usize, maps: usize) -> f64 {
        let products = (taps * maps) as f64 * self.limbs() * self.plain_row;
        let [alone, _] = self.rescale();
        products + (maps as f64 - 1.0) * self.rotation() + alone
    }

    /// Transforming the plaintexts of a matrix product that are kept as coefficients.
    pub(super) fn transforming(&self, plains: usize) -> f64 {
        plains as f64 * self.all() * self.ntt
    }

    /// A matrix product by diagonals (cookbook §4). What a group of products writes counts as what a rotation does.
    pub(super) fn linear(&self, o: &Outline) -> f64 {
        let [babies, giants, folds] = o.rotations.map(|n| n as f64);
        let decomposition = self.all() * (self.digits() + 1.0) * self.ntt;
        let [_, merged] = self.rescale();
        o.hoisted as f64 * self.digits() * self.all() * self.ntt
            + (babies + giants + folds) * self.switch()
            + o.plains as f64 * self.all() * self.plain_row
            + (giants + o.outputs as f64) * self.all() * self.turn_row
            + (giants + o.stages as f64) * decomposition
            + o.outputs as f64 * merged
    }

    /// What stands for the work at this level before any layout is known: for one decomposition, the products with three
    /// keys and eight plaintexts.
    pub(super) fn usual(&self) -> f64 {
        self.all()
            * ((self.digits() + 1.0) * self.ntt + 6.0 * self.digits() * self.key_row + 8.0 * self.plain_row)
    }
}

/// Unit costs at every level of `literal`, by level; the lowest and the highest stand for those beyond. Of a literal
/// without primes, from which no parameters are made, a level without any stands for all.
pub(super) fn by_level(costs: UnitCosts, literal: &ParamsLiteral) -> impl Fn(usize) -> Units + use<> {
    let at = |shape| Units::at(costs, literal.log_n, shape);
    let units: Vec<Units> = shapes(literal).into_iter().map(at).collect();
    let top = units.last().copied().unwrap_or_else(|| at(LevelShape::default()));
    move |level: usize| units.get(level.saturating_sub(1)).copied().unwrap_or(top)
}

/// Time of one sample in microseconds on one thread: encryption, evaluation and decryption, nothing sent.
pub(super) fn predicted_us(costs: UnitCosts, params: &Params, circuit: &Circuit, deferred: bool) -> u64 {
    let at = by_level(costs, params.literal());
    let top = params.max_level();
    let ends =
        circuit.input_vectors() as f64 * at(top).input() + circuit.output_vectors() as f64 * at(1).input();
    let between = match circuit {
        Circuit::Program(program) => program_ns(at, top, program, deferred),
        Circuit::Lola(program) => lola_ns(at, top, program),
    };
    ((ends + between) / 1000.0).min(1e15) as u64
}

/// As [`predicted_us`], of a program.
pub(super) fn program_us(costs: UnitCosts, params: &Params, program: &Program, deferred: bool) -> u64 {
    let at = by_level(costs, params.literal());
    let top = params.max_level();
    let ends =
        program.input_vectors() as f64 * at(top).input() + program.output_vectors() as f64 * at(1).input();
    ((ends + program_ns(at, top, program, deferred)) / 1000.0).min(1e15) as u64
}

/// Evaluation of LoLa's circuits, layer by layer.
fn lola_ns(at: impl Fn(usize) -> Units, top: usize, program: &LolaProgram) -> f64 {
    let (lola, dense) = (program.lola(), program.lola().dense1());
    let maps = program.network().layers.first().map_or(0, |l| l.shape[0]);
    let folded = |units: &Units, products: usize, width: usize| {
        let folds = f64::from(width.max(1).ilog2()) * units.rotation();
        products as f64 * (folds + units.masked())
    };
    let units: [Units; 6] = std::array::from_fn(|i| at(top.saturating_sub(i).max(1)));
    units[0].taps(lola.input_vectors(), maps)
        + units[1].square()
        + (lola.copies() as f64 - 1.0) * units[2].rotation()
        + folded(&units[2], dense.vectors(), dense.block())
        + dense.vectors() as f64 * units[3].masked()
        + (dense.vectors() as f64 - 1.0) * units[3].rotation()
        + units[4].square()
        + folded(&units[5], lola.output_vectors(), program.period())
}

/// Evaluation of a program, layer by layer.
fn program_ns(at: impl Fn(usize) -> Units, top: usize, program: &Program, deferred: bool) -> f64 {
    let levels = levels(program, top);
    (0..program.steps().len()).map(|k| layer_ns(program, k, &at(levels[k]), deferred)).sum()
}

/// The level of every layer's input, the input of the program being at level `top`.
fn levels(program: &Program, top: usize) -> Vec<usize> {
    let mut values = vec![top];
    let mut levels = Vec::new();
    for (step, layer) in program.steps().iter().zip(&program.network().layers) {
        let of = |value: usize| values.get(value).copied().unwrap_or(1);
        let level = of(layer.from);
        levels.push(level);
        values.push(match step {
            Step::Add(other) => level.min(of(*other)),
            Step::Shift => level,
            _ => level.saturating_sub(1),
        });
    }
    levels
}

/// Layer `k` of a program.
fn layer_ns(program: &Program, k: usize, units: &Units, deferred: bool) -> f64 {
    let (Some(step), Some(layer)) = (program.steps().get(k), program.network().layers.get(k)) else {
        return 0.0;
    };
    match (step, &layer.kind) {
        (Step::Taps(_), Kind::Linear(l)) => units.taps(l.window.fan_in(), layer.shape[0]),
        (Step::Linear { copies, circuit }, _) => {
            let doublings = copies.map_or(0, |p| (program.slots() / p).ilog2());
            let transforming = if deferred { units.transforming(circuit.plain_count()) } else { 0.0 };
            f64::from(doublings) * units.rotation()
                + units.linear(&circuit.schedule().outline())
                + transforming
        }
        (Step::Square, _) => program.vectors(layer.from) as f64 * units.square(),
        _ => 0.0,
    }
}

/// What the layers at a level take with given unit costs, their keys' shares included.
pub(super) fn work_at(program: &Program, top: usize, deferred: bool) -> impl Fn(usize, &Units) -> f64 {
    let levels = levels(program, top);
    move |level, units| {
        let there = levels.iter().enumerate().filter(|&(_, &l)| l == level);
        let keys = |k: usize| match program.steps().get(k) {
            Some(Step::Linear { circuit, .. }) => circuit.schedule().outline().steps.len() as f64,
            _ => 0.0,
        };
        there.map(|(k, _)| layer_ns(program, k, units, deferred) + keys(k) * units.key(0.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oblivia_he::{Moduli, RingKind};

    #[test]
    fn levels_beyond_a_chain_cost_what_its_ends_do_and_a_chain_of_none_has_no_end_to_panic_at() {
        let costs = UnitCosts::of(13, &BTreeMap::new());
        let literal = |limbs: usize| ParamsLiteral {
            kind: RingKind::ConjugateInvariant,
            log_n: 13,
            q: Moduli::Bits(vec![30; limbs]),
            p: Moduli::Bits(vec![40]),
            alpha: 1,
            levels: Vec::new(),
        };
        let cost = |limbs: usize, level: usize| by_level(costs, &literal(limbs))(level).rotation();
        assert_eq!([cost(3, 0), cost(3, 9)], [cost(3, 1), cost(3, 3)]);
        assert!(0.0 < cost(3, 1) && cost(3, 1) < cost(3, 2) && cost(3, 2) < cost(3, 3));
        assert_eq!([0, 1, 7].map(|level| cost(0, level)), [0.0; 3]);
    }
}
