//! Both parties in one thread, watched: what they open is compared, bit for bit, with the network in fixed point.
//!
//! The roundings of linear layers depend on encryption noise. The simulator takes none of them from the run: it draws the
//! parties' randomness a second time, computes the noise of every result from its sources
//! ([`oblivia_he::coefficient::lane`]) and so knows which way each one was rounded. Everything else is the evaluator of
//! [`oblivia_nn::fixed`].

use super::client::{ClientHand, upload_rng};
use super::keys::{PublicKeys, SecretKeys};
use super::plan::{Derived, derive};
use super::schedule::source;
use super::search::search;
use super::server::{Prepared, ServerHand, fixed_model, reply_rng};
use super::tap::Tap;
use super::walk::{part, walk};
use oblivia_base::{Digest, Prg, Secret};
use oblivia_he::coefficient::UploadRandomness;
use oblivia_mpc::ideal::{dealer, pair};
use oblivia_mpc::{Party, Session};
use oblivia_nn::fixed::{FixedModel, Recorded};
use oblivia_nn::{Model, Tensor, WireId};
use oblivia_protocol::{Error, Turns, Wish};
use rayon::ThreadPool;
use std::collections::BTreeMap;

/// A model prepared for both parties.
pub struct Simulator {
    d: Derived,
    prepared: Prepared,
    fixed: FixedModel,
}

/// One image, computed by two parties and by one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// What the client opened, mod 2^l, or the class.
    pub private: Vec<u64>,
    /// The evaluator's outputs.
    pub simulated: Vec<i64>,
    /// Whether the inputs of all linear layers were equal too.
    pub hidden_equal: bool,
    /// Values that left their range; with any, nothing is promised.
    pub outside: u64,
    /// Results by how far they are from the floor of the quotient: −1, 0, 1, 2.
    pub roundings: [u64; 4],
}

impl Compared {
    /// Whether outputs are equal, those of a class being its number.
    pub fn equal(&self, bits: u32) -> bool {
        let mask = u64::MAX >> (64 - bits);
        let equal = |(a, b): (&u64, &i64)| *a == (*b as u64) & mask;
        self.private.len() == self.simulated.len() && self.private.iter().zip(&self.simulated).all(equal)
    }
}

/// A seed, and a share of a layer's input.
type Note = ([u8; 32], Secret<Vec<u64>>);

/// What one party drew and held, by layer, of one image after the other.
#[derive(Default)]
struct Notes {
    key: [u8; 32],
    layers: BTreeMap<usize, Vec<Note>>,
}

impl Notes {
    fn note(&mut self, node: usize, seed: &[u8; 32], share: &Secret<Vec<u64>>) {
        self.layers.entry(node).or_default().push((*seed, Secret::new(share.expose().clone())));
    }

    fn of(&self, node: usize, image: usize) -> Result<&Note, Error> {
        self.layers
            .get(&node)
            .and_then(|all| all.get(image))
            .ok_or_else(|| Error::Misuse(format!("nothing was noted of node {node}")))
    }
}

impl Tap for Notes {
    fn key(&mut self, seed: &[u8; 32]) {
        self.key = *seed;
    }

    fn upload(&mut self, node: usize, seed: &[u8; 32], share: &Secret<Vec<u64>>) {
        self.note(node, seed, share);
    }

    fn reply(&mut self, node: usize, seed: &[u8; 32], share: &Secret<Vec<u64>>) {
        self.note(node, seed, share);
    }
}

impl Simulator {
    /// Of a model as it is served, under the plan of `wish`.
    ///
    /// # Errors
    /// As planning and loading.
    pub fn new(model: &Model, wish: &Wish, pool: &ThreadPool) -> Result<Self, Error> {
        let plan = search(&model.public, wish)?;
        let d = derive(&model.public, &plan.choices)?;
        let prepared = Prepared::new(&plan, model, pool)?;
        let fixed = fixed_model(&d.network, model)?;
        Ok(Self { d, prepared, fixed })
    }

    /// Bits of an output.
    pub fn output_bits(&self) -> u32 {
        self.d.bits(self.d.network.graph().output().index())
    }

    /// [`Self::compare_group`] for plans whose groups are one image.
    ///
    /// # Errors
    /// As there.
    pub fn compare(&self, input: &Tensor, seed: &[u8; 32], pool: &ThreadPool) -> Result<Compared, Error> {
        let one = self.compare_group(std::slice::from_ref(input), seed, pool)?.pop();
        one.ok_or_else(|| Error::Misuse("nothing was compared".into()))
    }

    /// Plays a group of images with dealt OTs and all randomness from `seed`, and computes each of them again.
    ///
    /// # Errors
    /// What ends a session; [`Error::Misuse`] if the parties wait for each other or a group has another number of images.
    pub fn compare_group(
        &self,
        inputs: &[Tensor],
        seed: &[u8; 32],
        pool: &ThreadPool,
    ) -> Result<Vec<Compared>, Error> {
        let d = &self.d;
        let (found, images) = (inputs.len(), d.images());
        if found != images {
            return Err(Error::Misuse(format!("{found} images for a group of {images}")));
        }
        let numbers = inputs.iter().map(|x| d.network.input(x)).collect::<Result<Vec<_>, _>>();
        let numbers = numbers.map_err(|e| Error::Input(e.to_string()))?;
        let mut rng = Prg::new(seed, "hybrid simulator client v1", &[]);
        let mut client = ClientHand::new(d, pool, &Digest(*seed), &mut rng, Notes::default())?;
        let pk = client.public_key(seed, &Digest(*seed), &mut rng);
        let mut rng = Prg::new(seed, "hybrid simulator server v1", &[]);
        let mut server = ServerHand::new(
            &self.prepared,
            pk.clone(),
            pool,
            Turns::default(),
            &Digest(*seed),
            &mut rng,
            Notes::default(),
        );
        let [theirs, ours] = dealer::pads(seed);
        let [to_server, to_client] = pair::queue();
        let mut a = Session::new(Party::Client, Party::Client, to_server, theirs, usize::MAX);
        let mut b = Session::new(Party::Server, Party::Client, to_client, ours, usize::MAX);
        let share: Vec<u64> = numbers.iter().flatten().map(|&v| v as u64).collect();
        let zeros = vec![0; share.len()];
        let (opened, served) = pair::join(
            walk(d, &mut a, pool, &mut client, share, |_| ()),
            walk(d, &mut b, pool, &mut server, zeros, |_| ()),
        )
        .ok_or_else(|| Error::Misuse("both parties wait for the other".into()))?;
        served.map_err(super::walk::WalkError::into_error)?;
        let private = opened.map_err(super::walk::WalkError::into_error)?.unwrap_or_default();
        let (client, server) = (client.into_tap(), server.into_tap());
        let one = |(image, numbers): (usize, &Vec<i64>)| {
            let private = part(&private, image, images).to_vec();
            self.compared(image, numbers, private, [&client, &server], &pk, pool)
        };
        numbers.iter().enumerate().map(one).collect()
    }

    /// One image, computed again from what both parties drew.
    fn compared(
        &self,
        image: usize,
        numbers: &[i64],
        private: Vec<u64>,
        [client, server]: [&Notes; 2],
        pk: &PublicKeys,
        pool: &ThreadPool,
    ) -> Result<Compared, Error> {
        let d = &self.d;
        let misuse = |e: &dyn std::fmt::Display| Error::Misuse(e.to_string());
        let (recorded, roundings) = self.roundings(image, client, server, pk, pool)?;
        let trace = self.fixed.run(numbers, &mut Recorded(recorded)).map_err(|e| misuse(&e))?;
        let mut hidden_equal = true;
        for (&node, layer) in &d.layers {
            let mask = u64::MAX >> (64 - layer.params.k_bits());
            let values = trace.wires.get(source(&d.network, node).index()).map_or(&[][..], Vec::as_slice);
            let (x, y) = (client.of(node, image)?.1.expose(), server.of(node, image)?.1.expose());
            let sums = x.iter().zip(y).map(|(x, y)| x.wrapping_add(*y) & mask);
            hidden_equal &= sums.eq(values.iter().map(|&v| v as u64 & mask));
        }
        let output = d.network.graph().output().index();
        Ok(Compared {
            private,
            simulated: trace.wires.get(output).cloned().unwrap_or_default(),
            hidden_equal,
            outside: trace.outside.iter().sum(),
            roundings,
        })
    }

    /// By wire, how far each result is from the floor of its quotient, from the noise of its sources.
    fn roundings(
        &self,
        image: usize,
        client: &Notes,
        server: &Notes,
        pk: &PublicKeys,
        pool: &ThreadPool,
    ) -> Result<(Vec<Vec<i8>>, [u64; 4]), Error> {
        let d = &self.d;
        let sk = SecretKeys::new(&d.rings, &client.key);
        let mut recorded = vec![Vec::new(); d.network.graph().nodes().len()];
        let mut counts = [0; 4];
        for (&node, layer) in &self.prepared.layers {
            let ((up, theirs), (down, own)) = (client.of(node, image)?, server.of(node, image)?);
            let (params, inputs) = (layer.params(), layer.packing().inputs());
            let (sk, pk) = (sk.of(params)?, pk.of(params)?);
            let lanes = pool.install(|| {
                let upload = UploadRandomness::draw(params, inputs, &mut upload_rng(node, up));
                let replies = layer.draw(&mut reply_rng(node, down));
                layer.replay(sk, pk, theirs, own, &upload, &replies)
            });
            let lanes = lanes.map_err(super::link::layer_error)?;
            let spare = 64 - params.share_bits();
            let of = |lane: &oblivia_he::coefficient::lane::Lane| {
                let quotient = lane.client.wrapping_add(lane.server);
                let off = quotient.wrapping_sub((lane.y >> params.shift_bits()) as u64);
                ((off << spare) as i64 >> spare).clamp(-128, 127) as i8
            };
            let of_wire: Vec<i8> = lanes.expose().iter().map(of).collect();
            for &off in &of_wire {
                if let Some(count) = usize::try_from(off + 1).ok().and_then(|at| counts.get_mut(at)) {
                    *count += 1;
                }
            }
            if let Some(place) = recorded.get_mut(node) {
                *place = of_wire;
            }
        }
        Ok((recorded, counts))
    }

    /// The evaluator of the network.
    pub fn fixed(&self) -> &FixedModel {
        &self.fixed
    }

    /// Values of a wire.
    pub fn elements(&self, wire: WireId) -> usize {
        self.d.elements(wire.index())
    }
}
