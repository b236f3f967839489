//! The client: keys, rounding, encryption, decryption, joining.

use super::super::client::sample_label;
use super::super::messages::{INPUT, OUTPUT, invalid};
use super::super::plan::refused;
use super::plan::{Derived, derive};
use super::wire;
use crate::common::keys;
use oblivia_base::{Prg, Secret};
use oblivia_he::bfv::{Combiner, Decryptor, Encoder, Encryptor, Reply};
use oblivia_he::{HeError, SecretKey};
use oblivia_nn::{PublicModel, Shape, Tensor, quant};
use oblivia_protocol::{Answer, Context, Error, Event, Expect, Outcome, Phase, Plan, Role};
use rand_core::Rng;
use rayon::prelude::*;

pub(crate) async fn run(
    model: &PublicModel,
    inputs: Vec<Tensor>,
    plan: &Plan,
    cx: &mut Context<'_>,
) -> Result<Outcome, Error> {
    let d = derive(model, &plan.choices)?;
    let pool = cx.pool.clone();
    let sk = keys::as_client(wire::key_terms(&d, plan)?, cx).await?;
    cx.observer.on(Event::Ready);
    let seat = Seat::new(&d, model, &sk)?;
    let mut outputs = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        cx.observer.on(Event::SampleStarted(index));
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        // The server must not see which inputs fit: one that does not is replaced by zeros.
        let unfit = seat.unfit(input);
        let zeros = Tensor::zeros(input.shape().clone());
        let sent = if unfit.is_some() { &zeros } else { input };
        let label = sample_label(&cx.session.0, index);
        let mut seed = Secret::new([0; 32]);
        cx.rng.fill_bytes(seed.expose_mut());
        let body = pool.install(|| seat.encrypt(sent, &label, &seed)).map_err(refused)?;
        cx.channel.send(Role::Server, INPUT, body).await?;
        let body = cx.channel.recv(Role::Server, Expect::exactly(OUTPUT, d.output_bytes)).await?;
        let replies = wire::read_output(&d, &body)?;
        let output = unfit.map_or_else(|| pool.install(|| seat.decrypt(&replies)), Err);
        let traffic = Some(cx.channel.meter().traffic().online.since(before));
        cx.observer.on(Event::SampleDone { index, output: Some(&output), traffic });
        outputs.push(output);
    }
    Ok(Outcome::Outputs(outputs))
}

/// What the client works with.
pub(super) struct Seat<'a> {
    d: &'a Derived,
    model: &'a PublicModel,
    sk: &'a SecretKey,
    encoders: Vec<Encoder>,
    combiner: Combiner,
}

impl<'a> Seat<'a> {
    pub(super) fn new(d: &'a Derived, model: &'a PublicModel, sk: &'a SecretKey) -> Result<Self, Error> {
        let encoders = d.contexts.iter().map(Encoder::new).collect();
        let combiner = Combiner::new(&d.contexts).map_err(refused)?;
        Ok(Self { d, model, sk, encoders, combiner })
    }

    /// Why an input cannot be predicted on: a value outside the published range, or not a number.
    fn unfit(&self, input: &Tensor) -> Option<Error> {
        /// Rounding of the preprocessing.
        const SLACK: f64 = 1e-5;
        let [low, high] = self.model.input_range;
        let slack = SLACK * (high - low);
        let inside = |v: &f32| (low - slack..=high + slack).contains(&f64::from(*v));
        (!input.data().iter().all(inside)).then(|| {
            let why =
                format!("a value of the input is outside [{low}, {high}], the range its model publishes");
            Error::Input(why)
        })
    }

    /// The input as integers in slot vectors.
    pub(super) fn vectors(&self, input: &Tensor) -> Result<Vec<Vec<f64>>, HeError> {
        let integers = quant::quantise(input, self.d.scales.input, self.model.input_range);
        // At most 2^20 times the range, and rounded: 64-bit floats hold them, as tensors of 32-bit ones may not.
        let shape: &Shape = input.shape();
        let [high, low] = [|v: i64| v >> 20, |v: i64| v & 0xf_ffff].map(|part| {
            let data = integers.iter().map(|&v| part(v) as f32).collect();
            Tensor::new(shape.clone(), data).map_or_else(|_| Vec::new(), |x| self.d.circuit.encode(&x))
        });
        let join = |(high, low): (Vec<f64>, Vec<f64>)| {
            high.into_iter().zip(low).map(|(h, l)| h * f64::from(1u32 << 20) + l).collect()
        };
        Ok(high.into_iter().zip(low).map(join).collect())
    }

    /// The body of an input message.
    pub(super) fn encrypt(
        &self,
        input: &Tensor,
        label: &[u8],
        seed: &Secret<[u8; 32]>,
    ) -> Result<Vec<u8>, HeError> {
        let vectors = Secret::new(self.vectors(input)?);
        // A stream of its own for every ciphertext, so that they can be made at once.
        let jobs: Vec<(usize, usize)> =
            (0..self.encoders.len()).flat_map(|t| (0..vectors.expose().len()).map(move |v| (t, v))).collect();
        let one = |(t, v): (usize, usize)| {
            let encoder = &self.encoders[t];
            let context = encoder.context();
            let index = ((t as u64) << 32 | v as u64).to_le_bytes();
            let mut rng = Prg::new(seed.expose(), "leveled exact encryption v1", &[label, &index]);
            let mut values: Vec<i64> = vectors.expose()[v].iter().map(|&v| v as i64).collect();
            values.resize(context.slots() / 2, 0);
            values.extend_from_within(..);
            let values = Secret::new(values);
            let top = context.params().max_level();
            let pt = encoder.encode(values.expose(), top, context.level_factor(top)?)?;
            Encryptor::new(context).encrypt_seeded(self.sk, &pt, label, &mut rng)
        };
        let cts = jobs.into_par_iter().map(one).collect::<Result<Vec<_>, HeError>>()?;
        Ok(wire::write_input(self.d, &cts))
    }

    /// The outputs as the integers they are.
    pub(super) fn integers(&self, replies: &[Reply]) -> Result<Vec<i128>, Error> {
        let one = |(encoder, reply): (&Encoder, &Reply)| {
            let message = Decryptor::new(encoder.context(), self.sk)?.decrypt_reply(reply)?;
            encoder.decode(&message)
        };
        let residues = self
            .encoders
            .par_iter()
            .zip(replies)
            .map(one)
            .collect::<Result<Vec<_>, HeError>>()
            .map_err(|e| invalid("Output", &e))?;
        let at = self.d.circuit.output_slots();
        let picked: Vec<Vec<i64>> =
            residues.iter().map(|r| at.iter().map(|&i| r.get(i).copied().unwrap_or(0)).collect()).collect();
        let picked: Vec<&[i64]> = picked.iter().map(Vec::as_slice).collect();
        self.combiner.combine(&picked).map_err(|e| invalid("Output", &e))
    }

    fn decrypt(&self, replies: &[Reply]) -> Answer {
        let integers = self.integers(replies)?;
        quant::real(&integers, self.d.output_scale, &self.model.graph)
            .map_err(|e| Error::Misuse(e.to_string()))
    }
}
