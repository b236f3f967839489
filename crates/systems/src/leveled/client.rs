//! The client: keys, encryption, decryption.

use super::messages::{self, INPUT, OUTPUT, key_terms};
use super::plan::{Derived, derive, refused};
use crate::common::keys;
use oblivia_base::{Prg, Secret};
use oblivia_he::ckks::{Decryptor, Encoder, Encryptor};
use oblivia_he::{Ciphertext, HeError, SecretKey};
use oblivia_nn::{PublicModel, Tensor};
use oblivia_protocol::{Answer, Context, Error, Event, Expect, Outcome, Phase, Plan, Role};
use rand_core::Rng;
use rayon::prelude::*;

pub(super) async fn run(
    model: &PublicModel,
    inputs: Vec<Tensor>,
    plan: &Plan,
    cx: &mut Context<'_>,
) -> Result<Outcome, Error> {
    let d = derive(model, &plan.choices)?;
    let pool = cx.pool.clone();
    let sk = keys::as_client(key_terms(&d, plan), cx).await?;
    cx.observer.on(Event::Ready);

    let seat =
        Seat { d: &d, encoder: Encoder::new(&d.params), encryptor: Encryptor::new(&d.params), sk: &sk };
    let mut outputs = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        cx.observer.on(Event::SampleStarted(index));
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        // The server must not see which inputs fit: one that does not is replaced by zeros.
        let unfit = d.circuit.network().unfit(input);
        let zeros = Tensor::zeros(input.shape().clone());
        let sent = if unfit.is_some() { &zeros } else { input };
        let body = pool.install(|| seat.encrypt(sent, index, cx)).map_err(refused)?;
        cx.channel.send(Role::Server, INPUT, body).await?;
        let body = cx.channel.recv(Role::Server, Expect::exactly(OUTPUT, d.output_bytes)).await?;
        let cts = messages::read_output(&d, &body)?;
        let output = pool.install(|| seat.decrypt(&cts, model));
        let output = unfit.map_or(output, Err);
        let traffic = Some(cx.channel.meter().traffic().online.since(before));
        cx.observer.on(Event::SampleDone { index, output: Some(&output), traffic });
        outputs.push(output);
    }
    Ok(Outcome::Outputs(outputs))
}

struct Seat<'a> {
    d: &'a Derived,
    encoder: Encoder,
    encryptor: Encryptor,
    sk: &'a SecretKey,
}

impl Seat<'_> {
    fn encrypt(&self, input: &Tensor, index: usize, cx: &mut Context<'_>) -> Result<Vec<u8>, HeError> {
        let label = sample_label(&cx.session.0, index);
        let scale = self.d.circuit.input_scale().0;
        // A stream of its own for every ciphertext, so that they can be made at once.
        let streams = self.d.circuit.encode(input).into_iter().map(|values| {
            let mut seed = Secret::new([0; 32]);
            cx.rng.fill_bytes(seed.expose_mut());
            (Secret::new(values), Prg::new(seed.expose(), "leveled encryption v1", &[&label]))
        });
        let cts = streams
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|(values, mut rng)| {
                let pt = self.encoder.encode(values.expose(), self.d.params.max_level(), scale)?;
                self.encryptor.encrypt_seeded(self.sk, &pt, &label, &mut rng)
            })
            .collect::<Result<Vec<_>, HeError>>()?;
        Ok(messages::write_input(self.d, &cts))
    }

    fn decrypt(&self, cts: &[Ciphertext], model: &PublicModel) -> Answer {
        // Whatever is wrong with the peer's ciphertext, the peer is told the same as of a malformed one.
        let decryptor = Decryptor::new(self.sk);
        let slots = cts
            .par_iter()
            .map(|ct| decryptor.decrypt(ct).and_then(|pt| self.encoder.decode(&pt)))
            .collect::<Result<Vec<_>, HeError>>()
            .map_err(|e| messages::invalid("Output", &e))?;
        let values = self.d.circuit.decode(&slots);
        let bound = self.d.circuit.output_bound();
        if let Some(v) = values.iter().find(|v| v.is_nan() || v.abs() > bound + self.d.error) {
            return Err(Error::NumericBound {
                what: "an output".into(),
                why: format!(
                    "it is {v:.3}, the published bound is {bound:.3}: either the input is far from what the \
                     model was trained on or the server computed something else; no label is given"
                ),
            });
        }
        let shape = model.graph.output_shape().clone();
        Tensor::new(shape, values.iter().map(|&v| v as f32).collect())
            .map_err(|e| Error::Misuse(e.to_string()))
    }
}

/// Binds the uniform halves of a sample's ciphertexts to session and sample.
pub(super) fn sample_label(session: &[u8; 32], index: usize) -> Vec<u8> {
    [session.as_slice(), &(index as u64).to_le_bytes()].concat()
}
