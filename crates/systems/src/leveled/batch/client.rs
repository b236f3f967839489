//! The client: a key, and group by group encryption, decryption.

use super::super::client::sample_label;
use super::super::messages::{INPUT, OUTPUT, invalid};
use super::super::plan::refused;
use super::plan::{Derived, derive};
use super::wire;
use crate::common::keys;
use oblivia_base::{Prg, Secret};
use oblivia_he::ckks::{Decryptor, Encoder, Encryptor};
use oblivia_he::{Ciphertext, HeError, SecretKey};
use oblivia_nn::{PublicModel, Tensor};
use oblivia_protocol::{Answer, Context, Error, Event, Expect, Outcome, Phase, Plan, Role};
use rand_core::Rng;
use rayon::prelude::*;
use std::ops::Range;

pub(crate) async fn run(
    model: &PublicModel,
    inputs: Vec<Tensor>,
    plan: &Plan,
    cx: &mut Context<'_>,
) -> Result<Outcome, Error> {
    let d = derive(model, &plan.choices)?;
    let pool = cx.pool.clone();
    let sk = keys::as_client(wire::key_terms(&d, plan), cx).await?;
    cx.observer.on(Event::Ready);
    let seat = Seat::new(&d, model, &sk);
    let mut outputs = Vec::with_capacity(inputs.len());
    for (index, group) in inputs.chunks(d.group()).enumerate() {
        let first = index * d.group();
        cx.observer.on(Event::SampleStarted(first));
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        let label = sample_label(&cx.session.0, index);
        let mut seed = Secret::new([0; 32]);
        cx.rng.fill_bytes(seed.expose_mut());
        // The server must not see which inputs fit: one that does not is replaced.
        let unfit: Vec<Option<Error>> = group.iter().map(|x| d.program.network().unfit(x)).collect();
        let samples: Vec<Option<&[f32]>> =
            group.iter().zip(&unfit).map(|(x, unfit)| unfit.is_none().then(|| x.data())).collect();
        for part in d.inputs.ranges() {
            let body = pool.install(|| seat.encrypt(&samples, part, &label, &seed)).map_err(refused)?;
            cx.channel.send(Role::Server, INPUT, body).await?;
        }
        let mut replies = Vec::with_capacity(d.outputs.all);
        for part in d.outputs.ranges() {
            let expect = Expect::exactly(OUTPUT, part.len() * d.outputs.bytes);
            let body = cx.channel.recv(Role::Server, expect).await?;
            replies.extend(wire::read_output(&d, part.len(), &body)?);
        }
        let opened = pool.install(|| seat.decrypt(&replies));
        drop(replies);
        let traffic = cx.channel.meter().traffic().online.since(before);
        for (i, unfit) in unfit.into_iter().enumerate() {
            let output = match (unfit, &opened) {
                (Some(e), _) => Err(e),
                (None, Ok(slots)) => seat.answer(slots, i),
                (None, Err(e)) => Err(e.clone()),
            };
            let traffic = (i + 1 == group.len()).then_some(traffic);
            cx.observer.on(Event::SampleDone { index: first + i, output: Some(&output), traffic });
            outputs.push(output);
        }
    }
    Ok(Outcome::Outputs(outputs))
}

/// Elements that a thread lays out and encrypts at a time: what of a sample is read together.
const BLOCK: usize = 16;

/// What the client works with.
pub(super) struct Seat<'a> {
    d: &'a Derived,
    model: &'a PublicModel,
    encoder: Encoder,
    encryptor: Encryptor,
    sk: &'a SecretKey,
}

impl<'a> Seat<'a> {
    pub(super) fn new(d: &'a Derived, model: &'a PublicModel, sk: &'a SecretKey) -> Self {
        Self { d, model, encoder: Encoder::new(&d.params), encryptor: Encryptor::new(&d.params), sk }
    }

    /// The body of an input message: the elements `part` of all samples. Slots without a sample, and those of samples that
    /// are `None`, hold what of the input's range is nearest to 0.
    pub(super) fn encrypt(
        &self,
        samples: &[Option<&[f32]>],
        part: Range<usize>,
        label: &[u8],
        seed: &Secret<[u8; 32]>,
    ) -> Result<Vec<u8>, HeError> {
        let [low, high] = self.model.input_range;
        let norm = self.d.program.network().input_norm;
        let filling = 0f64.max(low).min(high) / norm;
        let at = (self.d.params.max_level(), self.d.program.input_scale().0);
        let mut body = vec![0; part.len() * self.d.inputs.bytes];
        let blocks = body.par_chunks_mut(BLOCK * self.d.inputs.bytes).enumerate();
        blocks.try_for_each(|(block, body)| {
            let start = part.start + block * BLOCK;
            let elements = start..(start + BLOCK).min(part.end);
            let mut vectors = Secret::new(vec![filling; elements.len() * self.d.group()]);
            for (i, sample) in samples.iter().enumerate() {
                let Some(values) = sample.and_then(|s| s.get(elements.clone())) else { continue };
                let slots = vectors.expose_mut().iter_mut().skip(i).step_by(self.d.group());
                slots.zip(values).for_each(|(slot, &v)| *slot = f64::from(v) / norm);
            }
            let each = vectors.expose().chunks(self.d.group()).zip(body.chunks_mut(self.d.inputs.bytes));
            elements.zip(each).try_for_each(|(e, (values, place))| {
                // A stream of its own for every ciphertext, so that they can be made at once.
                let index = (e as u64).to_le_bytes();
                let mut rng = Prg::new(seed.expose(), "leveled batch encryption v1", &[label, &index]);
                let encryptor = &self.encryptor;
                let ct =
                    encryptor.encrypt_values_seeded(&self.encoder, self.sk, values, at, label, &mut rng)?;
                place.copy_from_slice(&wire::write_input(self.d, &ct));
                Ok::<_, HeError>(())
            })
        })?;
        Ok(body)
    }

    /// The slots of every output.
    pub(super) fn decrypt(&self, cts: &[Ciphertext]) -> Result<Vec<Vec<f64>>, Error> {
        // Whatever is wrong with the peer's ciphertext, the peer is told the same as of a malformed one.
        let decryptor = Decryptor::new(self.sk);
        cts.par_iter()
            .map(|ct| decryptor.decrypt(ct).and_then(|pt| self.encoder.decode(&pt)))
            .collect::<Result<_, HeError>>()
            .map_err(|e| invalid("Output", &e))
    }

    /// The answer in slot `i`.
    pub(super) fn answer(&self, slots: &[Vec<f64>], i: usize) -> Answer {
        let norm = self.d.program.output_norm();
        let values: Vec<f64> = slots.iter().map(|s| s.get(i).map_or(f64::NAN, |v| v * norm)).collect();
        let bound = self.d.program.output_bound();
        if let Some(v) = values.iter().find(|v| v.is_nan() || v.abs() > bound + self.d.error) {
            return Err(Error::NumericBound {
                what: "an output".into(),
                why: format!(
                    "it is {v:.3}, the published bound is {bound:.3}: either the input is far from what the \
                     model was trained on or the server computed something else; no label is given"
                ),
            });
        }
        let shape = self.model.graph.output_shape().clone();
        Tensor::new(shape, values.iter().map(|&v| v as f32).collect())
            .map_err(|e| Error::Misuse(e.to_string()))
    }
}
