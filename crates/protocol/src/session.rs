//! How two parties agree on what they are about to do, before any secret moves.
//!
//! ```text
//! client → server   Hello   versions, model, system, wishes, samples, nonce
//! server → client   Offer   version, nonce, public model, choices, allowance if there are budgets
//! client → server   Accept  digest of the plan the client derived from the choices
//! ```
//!
//! The server compares the digest with its own. Both then hash hello, offer, plan, the TLS exporter and the
//! identities of client and server into the session digest. Key material of the system follows.

use crate::allowance::{Allowance, Shortfall};
use crate::channel::Channel;
use crate::cost::{AheadUse, Phase, Traffic};
use crate::error::Error;
use crate::plan::{Choices, Digest32, LinkRate, Plan};
use crate::system::{Loaded, System};
use crate::wire::{Expect, HEADER_BYTES, Kind};
use crate::{Role, plan::Wish};
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Transcript};
use oblivia_nn::PublicModel;
use std::sync::Arc;

/// The protocol version this build speaks.
pub const VERSION: u16 = 3;

/// The most samples one session may predict.
pub const MAX_SAMPLES: u32 = 1 << 20;

/// What a session is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Purpose {
    /// Predicting on samples.
    #[default]
    Predict,
    /// Making what later sessions use that predict on as many samples.
    MakeAhead,
}

const MAX_NAME: usize = 128;
const MAX_HELLO_BYTES: usize = 1024;
const MAX_MODEL_BYTES: usize = 4 << 20;
const MAX_OFFER_BYTES: usize = MAX_MODEL_BYTES + Choices::MAX_BYTES + 1024;

/// First message of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Lowest protocol version the client speaks.
    pub min_version: u16,
    /// Highest protocol version the client speaks.
    pub max_version: u16,
    /// The model asked for.
    pub model: String,
    /// The system asked for.
    pub system: String,
    /// The mode asked for; empty is the default.
    pub mode: String,
    /// The plan asked for by name; empty is the best.
    pub plan: String,
    /// The link the client plans for, if it says so.
    pub link: Option<LinkRate>,
    /// The most bytes the session may move, both ways.
    pub max_bytes: Option<u64>,
    /// Samples of a group, if the client says so.
    pub group: Option<u32>,
    /// What the session is for.
    pub purpose: Purpose,
    /// How many samples the session predicts, or makes packs for.
    pub samples: u32,
    /// Fresh random bytes of the client.
    pub nonce: [u8; 32],
}

impl Encode for Hello {
    fn encode(&self, w: &mut Writer) {
        w.u16(self.min_version);
        w.u16(self.max_version);
        for s in [&self.model, &self.system, &self.mode, &self.plan] {
            w.str(s);
        }
        let ahead = self.purpose == Purpose::MakeAhead;
        let said = [self.link.is_some(), self.max_bytes.is_some(), ahead, self.group.is_some()];
        w.u8(said.iter().rev().fold(0, |bits, said| bits << 1 | u8::from(*said)));
        if let Some(link) = self.link {
            w.u64(link.bits_per_second);
            w.u64(link.round_trip_us);
        }
        if let Some(max) = self.max_bytes {
            w.u64(max);
        }
        if let Some(group) = self.group {
            w.u32(group);
        }
        w.u32(self.samples);
        w.raw(&self.nonce);
    }
}

impl Decode for Hello {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (min_version, max_version) = (r.u16("lowest version")?, r.u16("highest version")?);
        r.require(min_version <= max_version, "version range")?;
        let mut name = |what| r.str(MAX_NAME, what).map(str::to_owned);
        let (model, system, mode, plan) = (name("model")?, name("system")?, name("mode")?, name("plan")?);
        let said = r.u8("wishes")?;
        r.require(said < 16, "wishes")?;
        let purpose = if said & 4 == 0 { Purpose::Predict } else { Purpose::MakeAhead };
        let link = match said & 1 {
            0 => None,
            _ => Some(LinkRate { bits_per_second: r.u64("rate")?, round_trip_us: r.u64("round trip")? }),
        };
        let max_bytes = if said & 2 == 0 { None } else { Some(r.u64("most bytes")?) };
        let group = if said & 8 == 0 { None } else { Some(r.u32("samples of a group")?) };
        let samples = r.u32("samples")?;
        r.require((1..=MAX_SAMPLES).contains(&samples), "samples")?;
        let nonce = r.array("nonce")?;
        Ok(Self {
            min_version,
            max_version,
            model,
            system,
            mode,
            plan,
            link,
            max_bytes,
            group,
            purpose,
            samples,
            nonce,
        })
    }
}

/// The server's answer to a hello.
#[derive(Clone, PartialEq, Debug)]
pub struct Offer {
    /// The version spoken from here on.
    pub version: u16,
    /// Fresh random bytes of the server.
    pub nonce: [u8; 32],
    /// What a client may know of the model.
    pub model: PublicModel,
    /// What the server chose.
    pub choices: Choices,
}

impl Encode for Offer {
    fn encode(&self, w: &mut Writer) {
        w.u16(self.version);
        self.encode_body(w);
    }
}

impl Decode for Offer {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = r.u16("version")?;
        r.require(version & COUNTED == 0, "version")?;
        Self::decode_body(version, r)
    }
}

impl Offer {
    /// What follows the version.
    fn encode_body(&self, w: &mut Writer) {
        w.raw(&self.nonce);
        w.bytes(&self.model.to_bytes());
        self.choices.encode(w);
    }

    /// What follows the version, which is none of those with another meaning.
    fn decode_body(version: u16, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.require(version != NO_OFFER, "version")?;
        let nonce = r.array("nonce")?;
        let model = PublicModel::from_bytes(r.bytes(MAX_MODEL_BYTES, "public model")?)?;
        Ok(Self { version, nonce, model, choices: Choices::decode(r)? })
    }
}

/// What a server says to a hello.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// An offer, and what is left of the client's budget if there is one.
    Offer(Box<Offer>, Option<Allowance>),
    /// A budget does not cover what was asked for; the session ends here.
    Short(Shortfall),
}

/// In the place of an offer's version: a shortfall follows.
const NO_OFFER: u16 = 0;
/// Beside an offer's version: an allowance stands in front of the rest.
const COUNTED: u16 = 1 << 15;

impl Encode for Reply {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Offer(offer, allowance) => {
                w.u16(offer.version | if allowance.is_some() { COUNTED } else { 0 });
                if let Some(allowance) = allowance {
                    allowance.encode(w);
                }
                offer.encode_body(w);
            }
            Self::Short(shortfall) => {
                w.u16(NO_OFFER);
                shortfall.encode(w);
            }
        }
    }
}

impl Decode for Reply {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u16("version")? {
            NO_OFFER => Ok(Self::Short(Shortfall::decode(r)?)),
            version => {
                let allowance = (version & COUNTED != 0).then(|| Allowance::decode(r)).transpose()?;
                Ok(Self::Offer(Box::new(Offer::decode_body(version & !COUNTED, r)?), allowance))
            }
        }
    }
}

/// Digest of what a client may know of a model.
pub fn model_digest(model: &PublicModel) -> Digest32 {
    Digest32(Digest::of("public model v1", &model.to_bytes()))
}

/// What both sides hold after agreeing.
pub struct Agreed {
    /// The public model.
    pub model: Arc<PublicModel>,
    /// The plan.
    pub plan: Arc<Plan>,
    /// The system that runs it.
    pub system: &'static dyn System,
    /// What it is for.
    pub purpose: Purpose,
    /// How many samples.
    pub samples: u32,
    /// What is left of the client's budget once the agreed samples are counted.
    pub allowance: Option<Allowance>,
    /// Digest of the session.
    pub session: Digest,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model's name.
    pub model: String,
    /// The system's id.
    pub system: String,
    /// Mode, plan, limits.
    pub wish: Wish,
    /// What the session is for.
    pub purpose: Purpose,
    /// How many samples.
    pub samples: u32,
}

impl Request {
    fn hello(&self, nonce: [u8; 32]) -> Hello {
        Hello {
            min_version: VERSION,
            max_version: VERSION,
            model: self.model.clone(),
            system: self.system.clone(),
            mode: self.wish.mode.clone().unwrap_or_default(),
            plan: self.wish.plan.clone().unwrap_or_default(),
            link: self.wish.link,
            max_bytes: self.wish.max_bytes,
            group: self.wish.group,
            purpose: self.purpose,
            samples: self.samples,
            nonce,
        }
    }
}

/// What a server has to offer for a hello.
pub struct Offered {
    /// The public model.
    pub model: Arc<PublicModel>,
    /// The plan.
    pub plan: Arc<Plan>,
    /// The system.
    pub system: &'static dyn System,
    /// The model as the system prepared it for this plan.
    pub loaded: Loaded,
    /// What is left of the client's budget once the agreed samples are counted.
    pub allowance: Option<Allowance>,
}

/// A server's models and plans.
pub trait Catalog: Send + Sync {
    /// The offer for a hello, or why there is none.
    fn offer(&self, hello: &Hello) -> Result<Offered, Error>;
}

/// The client's side. `confirm` sees model and plan before anything is promised and may refuse.
pub async fn agree_as_client(
    channel: &mut Channel,
    rng: &mut dyn EntropySource,
    systems: &[&'static dyn System],
    request: &Request,
    confirm: &mut (dyn FnMut(&PublicModel, &Plan) -> Result<(), Error> + Send),
) -> Result<Agreed, Error> {
    channel.enter(Phase::Setup);
    let hello = request.hello(nonce(rng));
    check_request(&hello)?;
    let system =
        systems.iter().find(|s| s.id() == request.system).ok_or_else(|| no_system(systems, &hello))?;
    channel.send(Role::Server, Kind::Hello, hello.to_bytes()).await?;
    let offer_bytes = channel.recv(Role::Server, Expect::at_most(Kind::Offer, MAX_OFFER_BYTES)).await?;
    let reply = Reply::from_bytes(&offer_bytes).map_err(Error::invalid("Offer"))?;
    let (offer, allowance) = match reply {
        Reply::Offer(offer, allowance) => (*offer, allowance),
        Reply::Short(shortfall) => return Err(Error::Budget(shortfall)),
    };
    if offer.version != VERSION {
        return Err(Error::Incompatible {
            what: "protocol version",
            ours: VERSION.to_string(),
            theirs: offer.version.to_string(),
            hint: "update the older side",
        });
    }
    let (got, name) = (&offer.choices, &offer.model.name);
    for (what, asked, got) in [
        ("model", &hello.model, name),
        ("system", &hello.system, &got.system),
        ("mode", &hello.mode, &got.mode),
        ("plan", &hello.plan, &got.plan),
    ] {
        let any = asked.is_empty() && matches!(what, "mode" | "plan");
        if asked != got && !any {
            let why = format!("it answers another question: {what} `{got}` where `{asked}` was asked for");
            return Err(Error::InvalidMessage { message: "Offer", why });
        }
    }
    let plan = system.check(&offer.model, &offer.choices)?;
    check_purpose(request.purpose, &plan)?;
    check_group(&request.wish, *system, &plan)?;
    let samples = u64::from(request.samples);
    let ahead = match request.purpose {
        Purpose::Predict => AheadUse::None,
        Purpose::MakeAhead => AheadUse::Made { groups: plan.cost.groups(samples) },
    };
    request.wish.admit_with(&plan, ahead, samples)?;
    confirm(&offer.model, &plan)?;
    channel.send(Role::Server, Kind::Accept, plan.digest().to_bytes()).await?;
    let session = session_digest(channel, Role::Server, &hello, &offer_bytes, &plan);
    Ok(Agreed {
        model: Arc::new(offer.model),
        plan: Arc::new(plan),
        system: *system,
        purpose: request.purpose,
        samples: request.samples,
        allowance,
        session,
    })
}

/// The server's side.
pub async fn agree_as_server(
    channel: &mut Channel,
    rng: &mut dyn EntropySource,
    catalog: &dyn Catalog,
) -> Result<(Agreed, Loaded), Error> {
    channel.enter(Phase::Setup);
    let hello = channel.recv(Role::Client, Expect::at_most(Kind::Hello, MAX_HELLO_BYTES)).await?;
    let hello = Hello::from_bytes(&hello).map_err(Error::invalid("Hello"))?;
    if !(hello.min_version..=hello.max_version).contains(&VERSION) {
        return Err(Error::Incompatible {
            what: "protocol version",
            ours: VERSION.to_string(),
            theirs: format!("{}..={}", hello.min_version, hello.max_version),
            hint: "update the older side",
        });
    }
    let offered = match catalog.offer(&hello) {
        // Numbers of the client's own asking: the one refusal that is told in full.
        Err(Error::Budget(shortfall)) => {
            channel.send(Role::Client, Kind::Offer, Reply::Short(shortfall).to_bytes()).await?;
            return Err(Error::Budget(shortfall));
        }
        offered => offered?,
    };
    check_purpose(hello.purpose, &offered.plan)?;
    let offer = Offer {
        version: VERSION,
        nonce: nonce(rng),
        model: (*offered.model).clone(),
        choices: offered.plan.choices.clone(),
    };
    let offer_bytes = Reply::Offer(Box::new(offer), offered.allowance).to_bytes();
    channel.send(Role::Client, Kind::Offer, offer_bytes.clone()).await?;
    let accept = channel.recv(Role::Client, Expect::exactly(Kind::Accept, 32)).await?;
    let theirs = Digest::from_bytes(&accept).map_err(Error::invalid("Accept"))?;
    let ours = offered.plan.digest();
    if theirs != ours {
        return Err(Error::Incompatible {
            what: "plan",
            ours: ours.short(),
            theirs: theirs.short(),
            hint: "both sides must derive the same plan from the same choices; update the older side",
        });
    }
    let session = session_digest(channel, Role::Client, &hello, &offer_bytes, &offered.plan);
    let Offered { model, plan, system, loaded, allowance } = offered;
    let Hello { purpose, samples, .. } = hello;
    Ok((Agreed { model, plan, system, purpose, samples, allowance, session }, loaded))
}

/// The traffic of agreeing, in the client's view: three messages, three rounds. An allowance in the offer is
/// [`Allowance::BYTES`] more down.
pub fn agreement_traffic(request: &Request, model: &PublicModel, plan: &Plan) -> Traffic {
    let hello = request.hello([0; 32]);
    let offer =
        Offer { version: VERSION, nonce: [0; 32], model: model.clone(), choices: plan.choices.clone() };
    Traffic {
        up_bytes: 2 * HEADER_BYTES + hello.to_bytes().len() as u64 + 32,
        down_bytes: HEADER_BYTES + offer.to_bytes().len() as u64,
        rounds: 3,
    }
}

fn session_digest(channel: &Channel, peer: Role, hello: &Hello, offer: &[u8], plan: &Plan) -> Digest {
    let mut t = Transcript::new("session v1");
    t.absorb("hello", &hello.to_bytes());
    t.absorb("offer", offer);
    t.absorb("plan", &plan.digest().0);
    t.absorb("roles", b"client,server");
    match channel.binding(peer) {
        Some(exporter) => t.absorb("channel", &exporter),
        None => t.absorb("no channel", b""),
    }
    // The exporter does not cover the client's certificate.
    match channel.identities(peer) {
        Some(ends) => {
            let (client, server) =
                if peer == Role::Server { (ends.own, ends.peer) } else { (ends.peer, ends.own) };
            t.absorb("client", &client.0);
            t.absorb("server", &server.0);
        }
        None => t.absorb("no identities", b""),
    }
    t.digest()
}

fn nonce(rng: &mut dyn EntropySource) -> [u8; 32] {
    let mut nonce = [0; 32];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// Refuses to make packs under a plan that has none.
fn check_purpose(purpose: Purpose, plan: &Plan) -> Result<(), Error> {
    if purpose == Purpose::Predict || plan.cost.ahead.is_some() {
        return Ok(());
    }
    let Choices { system, mode, plan, .. } = &plan.choices;
    let why = format!("system `{system}`, mode `{mode}`, plan `{plan}` makes nothing ahead of images");
    Err(Error::Refused { why })
}

/// Refuses any but single samples where groups can be asked for and were not.
fn check_group(wish: &Wish, system: &dyn System, plan: &Plan) -> Result<(), Error> {
    let offered = plan.cost.group;
    if wish.group.is_some() || offered == 1 || !system.plans_for_links(&plan.choices.mode) {
        return Ok(());
    }
    let why = format!(
        "the plan takes groups of {offered} samples, which were not asked for; --group asks for them"
    );
    Err(Error::Refused { why })
}

/// What a user may ask for, checked before it goes on the wire.
fn check_request(hello: &Hello) -> Result<(), Error> {
    for (what, name) in
        [("model", &hello.model), ("system", &hello.system), ("mode", &hello.mode), ("plan", &hello.plan)]
    {
        if name.len() > MAX_NAME {
            return Err(Error::Input(format!("the {what} name is longer than {MAX_NAME} bytes")));
        }
    }
    if !(1..=MAX_SAMPLES).contains(&hello.samples) {
        return Err(Error::Input(format!(
            "{} samples asked for; one session predicts 1 to {MAX_SAMPLES}",
            hello.samples
        )));
    }
    Ok(())
}

fn no_system(systems: &[&'static dyn System], hello: &Hello) -> Error {
    let known: Vec<&str> = systems.iter().map(|s| s.id()).collect();
    Error::Input(format!("there is no system `{}`; this build has: {}", hello.system, known.join(", ")))
}
