//! The memory a plan declares against vectors that are counted as they come and go.

use super::super::plan::search;
use super::super::random_tests::random;
use super::super::tests::network;
use super::BATCH;
use super::plan::derive;
use super::tests::composite;
use oblivia_nn::Model;
use oblivia_pack::{BatchSlots, CircuitError, Place, Scale, Schedule, Slots, Then};
use oblivia_protocol::Wish;
use std::cell::Cell;
use std::rc::Rc;

/// Live primes of all vectors there are, and the most there were.
#[derive(Default)]
struct Gauge {
    now: Cell<u64>,
    most: Cell<u64>,
}

/// A vector that knows of nothing but its level.
struct Held(usize, Rc<Gauge>);

impl Held {
    fn new(level: usize, gauge: &Rc<Gauge>) -> Self {
        gauge.now.set(gauge.now.get() + level as u64);
        gauge.most.set(gauge.most.get().max(gauge.now.get()));
        Self(level, gauge.clone())
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Self::new(self.0, &self.1)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.1.now.set(self.1.now.get() - self.0 as u64);
    }
}

struct Machine(Rc<Gauge>);

type Result<T> = std::result::Result<T, CircuitError>;

fn never<T>() -> Result<T> {
    Err(CircuitError::Layout { why: "no batch does this" })
}

impl Slots for Machine {
    type Ct = Held;
    type Pt = ();
    type Error = CircuitError;
    fn slots(&self) -> usize {
        1
    }
    fn scale_of(&self, _: &Held) -> Option<Scale> {
        None
    }
    fn rotate(&mut self, _: &Held, _: usize) -> Result<Held> {
        never()
    }
    fn rotate_hoisted(&mut self, _: &Held, _: &[usize]) -> Result<Vec<Held>> {
        never()
    }
    fn add_assign(&mut self, _: &mut Held, _: &Held) -> Result<()> {
        Ok(())
    }
    fn add_lowered(&mut self, x: &Held, y: &Held) -> Result<Held> {
        Ok(Held::new(x.0.min(y.0), &self.0))
    }
    fn add_plain_assign(&mut self, _: &mut Held, (): &()) -> Result<()> {
        Ok(())
    }
    fn dot_plain(&mut self, _: &[&Held], _: &[&()], _: Scale) -> Result<Held> {
        never()
    }
    fn dot_scalars(&mut self, _: &[&Held], _: &[Vec<&()>], _: Scale) -> Result<Vec<Held>> {
        never()
    }
    fn linear(&mut self, _: &[&Held], _: &Schedule, _: &[&()], _: Scale) -> Result<Vec<Held>> {
        never()
    }
    fn square_rescale(&mut self, x: &Held) -> Result<Held> {
        Ok(Held::new(x.0 - 1, &self.0))
    }
    fn square(&mut self, _: &Held) -> Result<Held> {
        never()
    }
    fn rescale(&mut self, x: &Held) -> Result<Held> {
        Ok(Held::new(x.0 - 1, &self.0))
    }
}

impl BatchSlots for Machine {
    type Map = usize;
    fn map(&mut self, rows: &[Vec<&()>], _: &[&()], _: &Held, _: Scale) -> Result<usize> {
        Ok(rows.len())
    }
    fn apply(&mut self, xs: &[&Held], rows: &usize, places: &[Place], then: Then) -> Result<Vec<Held>> {
        let level = xs[0].0;
        let sums: Vec<Held> = (0..places.len() * rows).map(|_| Held::new(level, &self.0)).collect();
        let drop = if then == Then::Square { 2 } else { 1 };
        Ok(sums.into_iter().map(|x| Held::new(x.0 - drop, &self.0)).collect())
    }
    fn square_rescale_all(&mut self, xs: Vec<Held>) -> Result<Vec<Held>> {
        xs.into_iter().map(|x| self.square_rescale(&x)).collect()
    }
    fn sum_at(&mut self, xs: &[Held], groups: &[Vec<usize>]) -> Result<Vec<Held>> {
        Ok(groups.iter().map(|_| Held::new(xs[0].0, &self.0)).collect())
    }
    fn add_assign_all(&mut self, _: &mut [Held], _: &[Held]) -> Result<()> {
        Ok(())
    }
}

#[test]
fn no_more_vectors_are_there_at_a_time_than_a_plan_declares_and_not_far_fewer() {
    let nets = (0..50).map(|seed| (format!("random {seed}"), random(seed).0));
    let more: [(String, Model); 2] =
        [("composite".into(), composite().0), ("cryptonets".into(), network(28, 5, 100, 10).0)];
    for (name, model) in nets.chain(more) {
        let wish = Wish { mode: Some(BATCH.into()), ..Wish::default() };
        let plan = search(&model.public, &wish).unwrap();
        let d = derive(&model.public, &plan.choices).unwrap();
        let gauge = Rc::new(Gauge::default());
        let xs = vec![Held::new(d.params.max_level(), &gauge); d.inputs.all];
        let ys = d.program.run(&mut Machine(gauge.clone()), xs, &vec![(); d.plains.len()]).unwrap();
        assert!(ys.iter().all(|y| y.0 == 1));
        drop(ys);
        assert_eq!(gauge.now.get(), 0);
        let (declared, most) = (d.program.peak_bytes(1), gauge.most.get());
        println!("{name}: {most} rows, {declared} declared");
        assert!(most <= declared && declared <= most * 2, "{name}: {most} rows, {declared} declared");
    }
}
