//! Plans: every choice a planner may make, and what follows from it.

use crate::Role;
use crate::cost::{AheadUse, Cost};
use crate::error::Error;
use crate::keys::KeyUse;
use crate::leak::{Leak, LeakStatement, TrustRow};
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::{Digest, Transcript};
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes of keys a client makes without having been told a limit: whoever offers a plan chooses how many.
pub const DEFAULT_MAX_KEY_BYTES: u64 = 256 << 20;

/// Bytes of memory a client works with without having been told a limit: whoever offers a plan chooses how many.
pub const DEFAULT_MAX_CLIENT_MEMORY: u64 = 2 << 30;

/// Rate and round trip of a link that a plan is made for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkRate {
    /// Bits per second, in each direction.
    pub bits_per_second: u64,
    /// There and back, in microseconds.
    pub round_trip_us: u64,
}

/// What a user wants; a planner searches, a client's check compares.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// A mode of the system; `None` is its default.
    pub mode: Option<String>,
    /// A plan by name; `None` is the system's best.
    pub plan: Option<String>,
    /// Leaks accepted by name.
    pub accepted_leaks: Vec<Leak>,
    /// The most bytes a session may move, both ways, before TLS.
    pub max_bytes: Option<u64>,
    /// How many samples a session predicts, for [`Self::max_bytes`]; 0 is taken for one.
    pub samples: u32,
    /// Samples of a group that share messages, where a system can choose; `None` is its default.
    pub group: Option<u32>,
    /// The link to plan for; `None` is what the plan's name stands for.
    pub link: Option<LinkRate>,
    /// The most memory in bytes: of a server for a prepared model and the work of one session; of a client for the work of
    /// one session, [`DEFAULT_MAX_CLIENT_MEMORY`] if not said.
    pub max_memory: Option<u64>,
    /// Unit costs measured on the server's machine ([`crate::Workload`]), by name.
    pub units: BTreeMap<String, u64>,
}

impl Wish {
    /// Refuses a plan for groups of another size than was asked for.
    pub fn admit_group(&self, plan: &Plan) -> Result<(), Error> {
        let offered = plan.cost.group;
        match self.group {
            Some(asked) if asked != offered => Err(Error::Refused {
                why: format!(
                    "the plan takes groups of {offered} samples, not the {asked} of --group; leave it out, or ask for a \
                     system or mode that can choose"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses a plan of other groups, whose leaks were not accepted, or whose keys, memory of the client, or traffic for
    /// `samples` samples are over the limit.
    pub fn admit(&self, plan: &Plan, samples: u64) -> Result<(), Error> {
        self.admit_with(plan, AheadUse::None, samples)
    }

    /// The most memory of a client.
    fn max_client_memory(&self) -> u64 {
        self.max_memory.unwrap_or(DEFAULT_MAX_CLIENT_MEMORY)
    }

    /// Whether a client may use packs beside all else that it does.
    pub fn admits_packs(&self, plan: &Plan) -> bool {
        plan.client_memory(AheadUse::Used { groups: 1 }) <= self.max_client_memory()
    }

    /// As [`Wish::admit`], by what is done with packs.
    pub fn admit_with(&self, plan: &Plan, ahead: AheadUse, samples: u64) -> Result<(), Error> {
        self.admit_group(plan)?;
        for s in &plan.leaks {
            if s.leak.needs_acceptance() && !self.accepted_leaks.contains(&s.leak) {
                return Err(Error::Refused {
                    why: format!(
                        "with system `{}` the {} learns: {}. If that is what you want, add --accept-leak {}",
                        plan.choices.system, s.to, s.detail, s.leak
                    ),
                });
            }
        }
        if self.max_bytes.is_none() && plan.key_bytes > DEFAULT_MAX_KEY_BYTES {
            return Err(Error::Refused {
                why: format!(
                    "the plan asks for {} bytes of keys, more than the {DEFAULT_MAX_KEY_BYTES} allowed unless \
                     --max-bytes says otherwise",
                    plan.key_bytes
                ),
            });
        }
        let (memory, needed) = (self.max_client_memory(), plan.client_memory(ahead));
        if needed > memory {
            return Err(Error::Refused {
                why: format!(
                    "the plan takes {needed} bytes of a client's memory, more than the {memory} allowed; raise --max-memory or \
                     use another mode"
                ),
            });
        }
        let bytes = plan.cost.traffic_with(KeyUse::Sent, ahead, samples).total_bytes();
        match self.max_bytes {
            Some(max) if bytes > max => Err(Error::Refused {
                why: format!(
                    "the plan moves {bytes} bytes for {samples} inputs, more than the {max} allowed; raise \
                     --max-bytes or send fewer inputs at a time"
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// Everything a planner may choose, in canonical bytes. The client receives these and derives the rest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Choices {
    /// Id of the system.
    pub system: String,
    /// Mode of the system.
    pub mode: String,
    /// Name of the plan.
    pub plan: String,
    /// The system's own encoding of its choices.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

impl Choices {
    /// The largest encoding of a system's choices.
    pub const MAX_BYTES: usize = 1 << 20;
    const MAX_NAME: usize = 64;
}

impl Encode for Choices {
    fn encode(&self, w: &mut Writer) {
        w.str(&self.system);
        w.str(&self.mode);
        w.str(&self.plan);
        w.bytes(&self.bytes);
    }
}

impl Decode for Choices {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            system: r.str(Self::MAX_NAME, "system id")?.to_owned(),
            mode: r.str(Self::MAX_NAME, "mode")?.to_owned(),
            plan: r.str(Self::MAX_NAME, "plan name")?.to_owned(),
            bytes: r.bytes(Self::MAX_BYTES, "choices")?.to_owned(),
        })
    }
}

/// A bound on the error of every output, as a system can prove or argue it, or what a model's owner measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ErrorBound {
    /// Largest absolute difference to the clear network's outputs, in 2^-32.
    pub units_2_32: u64,
    /// Under which assumption, e.g. "except with probability 2^-64, assuming sub-Gaussian slot errors".
    pub assumption: String,
    /// Whether it is the most the model's owner saw between float network and answers, and no bound for other inputs.
    pub measured: bool,
}

impl ErrorBound {
    /// No error at all.
    pub fn exact() -> Self {
        Self { units_2_32: 0, assumption: "exact".into(), measured: false }
    }

    /// The bound as a number.
    pub fn value(&self) -> f64 {
        self.units_2_32 as f64 / 4_294_967_296.0
    }
}

/// Choices with everything that follows from them. Both sides derive it and hash it into the session.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Plan {
    /// What was chosen.
    pub choices: Choices,
    /// Digest of the public model it is for.
    pub model: Digest32,
    /// Bytes, rounds and operations.
    pub cost: Cost,
    /// Bytes of evaluation keys the client makes and sends once per session.
    pub key_bytes: u64,
    /// Memory a server sets aside for one session: keys as it holds them.
    pub session_memory_bytes: u64,
    /// Memory a server sets aside for one session beside keys and messages: the ciphertexts of a group at work. 0 where
    /// they are few.
    pub work_memory_bytes: u64,
    /// Memory a client works with, its inputs and answers and packs ([`Plan::client_memory`]) not counted. 0 where it is little.
    pub client_memory_bytes: u64,
    /// Classical security in bits; 0 where nothing is encrypted by the system.
    pub security_bits: u32,
    /// Parameters in words.
    pub parameters: String,
    /// Time of one group ([`Cost::group`]) on one thread in microseconds, nothing sent, as the planner expects it; 0 where it does not.
    pub predicted_us: u64,
    /// Bound on the error of the outputs.
    pub error: ErrorBound,
    /// Who learns what.
    pub leaks: Vec<LeakStatement>,
    /// What breaks if someone misbehaves.
    pub trust: Vec<TrustRow>,
    /// The layers as planned, for people.
    pub steps: Vec<String>,
}

/// A digest that serialises as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest32(pub Digest);

impl Serialize for Digest32 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl Plan {
    /// Identifies the plan; equal on both sides or the session ends. It covers choices, numbers, who learns which
    /// leak and whose behaviour breaks something, but no wording: a build that only says it better agrees with
    /// one that does not.
    pub fn digest(&self) -> Digest {
        let mut w = Writer::new();
        self.choices.encode(&mut w);
        self.model.0.encode(&mut w);
        self.cost.encode(&mut w);
        w.u64(self.key_bytes);
        w.u64(self.session_memory_bytes);
        w.u32(self.security_bits);
        w.u64(self.predicted_us);
        w.u64(self.error.units_2_32);
        w.seq(&self.leaks);
        w.seq(&self.trust);
        let mut t = Transcript::new("plan v2");
        t.absorb("plan", &w.into_bytes());
        let usual = [1, 0, 0];
        let more = [u64::from(self.cost.group), self.work_memory_bytes, self.client_memory_bytes];
        if more != usual {
            let mut w = Writer::new();
            more.into_iter().for_each(|v| w.u64(v));
            t.absorb("groups", &w.into_bytes());
        }
        if let Some(ahead) = &self.cost.ahead {
            t.absorb("ahead", &ahead.to_bytes());
        }
        t.digest()
    }

    /// Memory a client works with, by what is done with packs: one on its way between disk and the system is there twice.
    pub fn client_memory(&self, ahead: AheadUse) -> u64 {
        let pack = self.cost.ahead.filter(|_| ahead != AheadUse::None).map_or(0, |of| of.pack_bytes);
        self.client_memory_bytes.saturating_add(pack.saturating_mul(2))
    }

    /// What `role` learns.
    pub fn learned_by(&self, role: Role) -> impl Iterator<Item = &LeakStatement> {
        self.leaks.iter().filter(move |s| s.to == role)
    }
}
