//! Both parties' half of a linear layer on shares.

use super::plan::Widths;
use super::{CoefficientError, Counts, Packing, count};
use oblivia_base::Secret;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_he::HeError;
use oblivia_he::coefficient::lane::{self, Everything, Lane};
use oblivia_he::coefficient::{
    Inputs, Kernel, Method, Outputs, Params, PreparedKernel, PublicKey, Reply, ReplyRandomness, SecretKey,
    Sum, Upload, UploadRandomness, accumulate,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Replies whose sums are computed together.
const AT_ONCE: usize = 8;

/// Layout of every reply; those with the same coefficients share them.
#[derive(Clone, Debug)]
struct Replies {
    list: Vec<(Arc<Outputs>, Vec<u32>)>,
    elements: usize,
}

impl Replies {
    fn new(packing: &Packing, params: &Params) -> Result<Self, CoefficientError> {
        count("coefficients of an element", params.n(), packing.n())?;
        let mut known: BTreeMap<Vec<u32>, Arc<Outputs>> = BTreeMap::new();
        let mut list = Vec::with_capacity(packing.replies());
        for index in 0..packing.replies() {
            let layout = packing.reply(index);
            let outputs = match known.get(&layout.positions) {
                Some(outputs) => Arc::clone(outputs),
                None => {
                    let outputs = Arc::new(Outputs::new(params.ring(), layout.positions.clone())?);
                    known.insert(layout.positions, Arc::clone(&outputs));
                    outputs
                }
            };
            list.push((outputs, layout.elements));
        }
        Ok(Self { list, elements: packing.shape().output_len() })
    }

    /// Bytes at most: the element of every result, and the coefficients of eight kinds of reply, for what is cut off by an edge
    /// differs from the rest, across, down and in channels.
    fn bytes(packing: &Packing) -> u64 {
        let replies = packing.replies() as u64;
        4 * packing.shape().output_len() as u64 + 64 * replies + replies.min(8) * 12 * packing.n() as u64
    }

    /// The output tensor of the results of every reply.
    fn gather<'a, T: Copy + Default + 'a>(
        &self,
        results: impl ExactSizeIterator<Item = &'a [T]>,
    ) -> Result<Vec<T>, CoefficientError> {
        count("replies", self.list.len(), results.len())?;
        let mut out = vec![T::default(); self.elements];
        for ((_, elements), row) in self.list.iter().zip(results) {
            count("results of a reply", elements.len(), row.len())?;
            elements.iter().zip(row).for_each(|(&e, &x)| out[e as usize] = x);
        }
        Ok(out)
    }
}

/// The client's half: it holds the key.
#[derive(Clone, Debug)]
pub struct LinearClient {
    packing: Packing,
    params: Params,
    replies: Replies,
}

impl LinearClient {
    /// The half of a layer with this packing and these widths.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for a packing of another n.
    pub fn new(packing: &Packing, params: &Params) -> Result<Self, CoefficientError> {
        let replies = Replies::new(packing, params)?;
        Ok(Self { packing: packing.clone(), params: params.clone(), replies })
    }

    /// Bytes of the half of a layer with this packing.
    pub fn layout_bytes(packing: &Packing) -> u64 {
        Replies::bytes(packing)
    }

    /// Where everything is.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// The widths.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What the layer takes.
    pub fn counts(&self) -> Counts {
        self.packing.counts(&Widths::of(&self.params))
    }

    /// Encrypts the client's share of the input, modulo 2^k, in the order of the tensor. Draws an [`UploadRandomness`]
    /// and nothing else from `rng`.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for a share of another length.
    pub fn encrypt(
        &self,
        sk: &SecretKey,
        share: &Secret<Vec<u64>>,
        rng: &mut dyn EntropySource,
    ) -> Result<Upload, CoefficientError> {
        let messages = Secret::new(self.packing.scatter(share.expose())?);
        let randomness = UploadRandomness::draw(&self.params, self.packing.inputs(), rng);
        Ok(sk.encrypt(&self.params, &messages, randomness)?)
    }

    /// Reads the replies of the layer.
    ///
    /// # Errors
    /// [`HeError::Decode`].
    pub fn decode_replies(&self, r: &mut Reader<'_>) -> Result<Vec<Reply>, CoefficientError> {
        let read = |(outputs, _): &(Arc<Outputs>, _)| Reply::decode(&self.params, outputs.len(), r);
        Ok(self.replies.list.iter().map(read).collect::<Result<_, HeError>>()?)
    }

    /// The client's share of the output, modulo 2^L, in the order of the tensor.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for another number of replies, [`CoefficientError::He`] for replies of another
    /// layer.
    pub fn finish(&self, sk: &SecretKey, replies: &[Reply]) -> Result<Secret<Vec<u64>>, CoefficientError> {
        count("replies", self.replies.list.len(), replies.len())?;
        let one = |(reply, (outputs, _)): (&Reply, &(Arc<Outputs>, _))| sk.finish(reply, outputs);
        let results = replies.par_iter().zip(&self.replies.list).map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(Secret::new(self.replies.gather(results.iter().map(|r| r.expose().as_slice()))?))
    }
}

/// The server's half: it holds the weights, prepared.
#[derive(Clone)]
pub struct LinearServer {
    packing: Packing,
    params: Params,
    replies: Replies,
    kernels: Vec<PreparedKernel>,
    /// Per output channel, modulo 2^64.
    bias: Vec<u64>,
    method: Method,
}

impl fmt::Debug for LinearServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinearServer")
            .field("packing", &self.packing)
            .field("params", &self.params)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl LinearServer {
    /// Prepares `weights` in the order of the shape, and a `bias` per output channel at the scale of y. `method` None
    /// chooses by the work.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for other numbers of them, [`CoefficientError::He`] for weights too large.
    pub fn new(
        packing: &Packing,
        params: &Params,
        weights: &[i64],
        bias: &[i64],
        method: Option<Method>,
    ) -> Result<Self, CoefficientError> {
        count("bias", packing.shape().channels_out(), bias.len())?;
        let replies = Replies::new(packing, params)?;
        let kernel = |index| Ok(Kernel::new(params.ring(), &packing.kernel(index, weights)?)?);
        let kernels = (0..packing.kernels()).into_par_iter().map(kernel);
        let kernels = kernels.collect::<Result<Vec<_>, CoefficientError>>()?;
        let per_reply = kernels.chunks(packing.kernels_per_reply());
        let norm1 = per_reply.map(|k| k.iter().map(Kernel::norm1).sum()).max().unwrap_or(0);
        if params.flood().is_some_and(|flood| norm1 > flood.norm1) {
            let what = "weights are larger than the norms the layer's flood is for";
            return Err(HeError::Shape { what }.into());
        }
        let method = method.unwrap_or_else(|| {
            let chosen = Self::usual(packing, params);
            if chosen.fits(params.ring(), params.q_bits(), norm1) { chosen } else { Method::Sparse }
        });
        let prepare = |kernel| PreparedKernel::new(params.ring(), kernel, method);
        let kernels = kernels.into_par_iter().map(prepare).collect::<Result<_, HeError>>()?;
        let bias = bias.iter().map(|&b| b as u64).collect();
        Ok(Self { packing: packing.clone(), params: params.clone(), replies, kernels, bias, method })
    }

    /// The faster method for this packing, unless weights are too large for it.
    fn usual(packing: &Packing, params: &Params) -> Method {
        let Counts { work, kernels, .. } = packing.counts(&Widths::of(params));
        Method::choose(params.ring(), &work, kernels as u64)
    }

    /// Bytes that [`LinearServer::new`] makes with the usual method, its layouts included.
    pub fn prepared_bytes(packing: &Packing, params: &Params) -> u64 {
        let terms = (0..packing.kernels()).map(|k| packing.kernel_terms(k) as u64).sum();
        let method = Self::usual(packing, params);
        PreparedKernel::bytes(params.ring(), packing.kernels() as u64, terms, method)
            + Replies::bytes(packing)
    }

    /// Where everything is.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// The widths.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// How products are computed.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What the layer takes.
    pub fn counts(&self) -> Counts {
        self.packing.counts(&Widths::of(&self.params))
    }

    /// The randomness of all replies of one evaluation: [`ReplyRandomness::draw_all`] and nothing else.
    pub fn draw(&self, rng: &mut dyn EntropySource) -> Vec<ReplyRandomness> {
        let outputs: Vec<_> = self.replies.list.iter().map(|(outputs, _)| outputs.len()).collect();
        ReplyRandomness::draw_all(&self.params, &outputs, rng)
    }

    /// The server's share of the output, modulo 2^L, in the order of the tensor. It depends on the masks alone and may be
    /// used before the evaluation.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for randomness of another layer.
    pub fn share(&self, randomness: &[ReplyRandomness]) -> Result<Secret<Vec<u64>>, CoefficientError> {
        let results: Vec<_> = randomness.iter().map(ReplyRandomness::share).collect();
        Ok(Secret::new(self.replies.gather(results.iter().map(|r| r.expose().as_slice()))?))
    }

    /// Reads the upload of the layer.
    ///
    /// # Errors
    /// [`HeError::Decode`].
    pub fn decode_upload(&self, r: &mut Reader<'_>) -> Result<Upload, CoefficientError> {
        Ok(Upload::decode(&self.params, self.packing.inputs(), r)?)
    }

    /// The layer on what the client sent and the server's own share of the input, modulo 2^k: masked replies. On the
    /// threads of the current pool.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for a share or randomness of another layer, [`CoefficientError::He`] for an upload of
    /// another one.
    pub fn evaluate(
        &self,
        upload: &Upload,
        own: &Secret<Vec<u64>>,
        pk: &PublicKey,
        randomness: Vec<ReplyRandomness>,
    ) -> Result<Vec<Reply>, CoefficientError> {
        if *upload.params() != self.params {
            return Err(HeError::ParamsMismatch { what: "upload" }.into());
        }
        count("ciphertexts of an upload", self.packing.inputs(), upload.ciphertexts())?;
        count("randomness of replies", self.replies.list.len(), randomness.len())?;
        let own = Secret::new(self.packing.scatter(own.expose())?);
        let inputs = Inputs::new(upload, own.expose())?;
        // Several replies at a time, so that inputs are read from memory once for all of them.
        let at_once = randomness.len().div_ceil(rayon::current_num_threads()).clamp(1, AT_ONCE);
        let mut jobs: Vec<(usize, Vec<ReplyRandomness>)> = Vec::new();
        for (index, r) in randomness.into_iter().enumerate() {
            match jobs.last_mut() {
                Some((_, job)) if job.len() < at_once => job.push(r),
                _ => jobs.push((index, vec![r])),
            }
        }
        let run = |(first, randomness): (usize, Vec<ReplyRandomness>)| {
            let indices = first..first + randomness.len();
            let sum = |index: usize| Sum {
                products: self.packing.products(index).map(|(input, k)| (input, &self.kernels[k])).collect(),
                outputs: &self.replies.list[index].0,
                bias: self.bias_of(index),
            };
            let sums: Vec<_> = indices.map(sum).collect();
            let done = accumulate(&inputs, &sums)?.into_iter().zip(&sums).zip(randomness);
            done.map(|((sum, Sum { outputs, .. }), r)| sum.mask_and_drop(pk, outputs, r)).collect()
        };
        let replies = jobs.into_par_iter().map(run).collect::<Result<Vec<Vec<Reply>>, HeError>>()?;
        Ok(replies.into_iter().flatten().collect())
    }

    /// The layer in the clear, bit for bit, for a simulator that knows everything both parties know and draw: `upload`
    /// and `replies` are drawn a second time, from generators in the state of [`LinearClient::encrypt`]'s and
    /// [`LinearServer::draw`]'s. Lanes in the order of the output tensor.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] or [`CoefficientError::He`] for parts of another layer.
    pub fn replay(
        &self,
        sk: &SecretKey,
        pk: &PublicKey,
        theirs: &Secret<Vec<u64>>,
        own: &Secret<Vec<u64>>,
        upload: &UploadRandomness,
        replies: &[ReplyRandomness],
    ) -> Result<Secret<Vec<Lane>>, CoefficientError> {
        count("randomness of replies", self.replies.list.len(), replies.len())?;
        let [theirs, own] = [theirs, own].map(|x| self.packing.scatter(x.expose()).map(Secret::new));
        let (theirs, own) = (theirs?, own?);
        let one = |(index, reply): (usize, &ReplyRandomness)| {
            let (outputs, _) = &self.replies.list[index];
            let products: Vec<_> =
                self.packing.products(index).map(|(input, k)| (input, self.kernels[k].kernel())).collect();
            lane::replay(&Everything {
                params: &self.params,
                sk,
                pk,
                messages: theirs.expose(),
                upload,
                own: own.expose(),
                products: &products,
                outputs,
                bias: &self.bias_of(index),
                reply,
            })
        };
        let lanes = replies.par_iter().enumerate().map(one).collect::<Result<Vec<_>, HeError>>()?;
        Ok(Secret::new(self.replies.gather(lanes.iter().map(|l| l.expose().as_slice()))?))
    }

    /// The bias of every result of reply `index`.
    fn bias_of(&self, index: usize) -> Vec<u64> {
        let (_, elements) = &self.replies.list[index];
        elements.iter().map(|&e| self.bias[self.packing.channel_of(e as usize)]).collect()
    }

    /// Appends the replies of the layer.
    pub fn encode_replies(&self, replies: &[Reply], w: &mut Writer) {
        replies.iter().for_each(|reply| reply.encode(w));
    }
}
