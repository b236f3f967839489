//! A server's models, and their plans as they are asked for.

use oblivia_nn::{Model, pass};
use oblivia_protocol::session::{Catalog, Hello, Offered};
use oblivia_protocol::{Choices, Error, Loaded, Plan, System, Wish};
use rayon::ThreadPool;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Models by name, each with the plans prepared so far.
pub struct Models {
    systems: &'static [&'static dyn System],
    pool: Arc<ThreadPool>,
    entries: BTreeMap<String, Entry>,
    max_samples: u32,
    /// What plans are searched with beside the names asked for.
    wish: Wish,
}

struct Entry {
    model: Arc<Model>,
    public: Arc<oblivia_nn::PublicModel>,
    /// By the names of the plan.
    prepared: Mutex<BTreeMap<Names, Arc<Slot>>>,
    /// By system, mode and plan as asked for, where that gave a plan.
    asked: Mutex<BTreeMap<Names, Ready>>,
}

/// A plan and the model as its system prepared it.
type Ready = (Arc<Plan>, Loaded);

/// System, mode and plan.
type Names = (String, String, String);

/// A plan that is prepared once, by whoever asks first; the others wait. A failure is not kept.
#[derive(Default)]
struct Slot(Mutex<Option<Ready>>);

impl Models {
    /// No models yet. A session may predict at most `max_samples` samples.
    pub fn new(systems: &'static [&'static dyn System], pool: Arc<ThreadPool>, max_samples: u32) -> Self {
        Self { systems, pool, entries: BTreeMap::new(), max_samples, wish: Wish::default() }
    }

    /// Weighs plans with measured unit costs and keeps prepared models below `max_memory` bytes each.
    pub fn with_wish(mut self, units: BTreeMap<String, u64>, max_memory: Option<u64>) -> Self {
        (self.wish.units, self.wish.max_memory) = (units, max_memory);
        self
    }

    /// Adds a model: completes squares, folds what can be folded and publishes the norms of its weight rows.
    pub fn add(&mut self, model: &Model) -> Result<(), Error> {
        let model = served(model)?;
        let name = model.public.name.clone();
        if self.entries.contains_key(&name) {
            return Err(Error::Input(format!(
                "two models are called `{name}`; change the name in one model.toml"
            )));
        }
        model.public.check().map_err(|e| Error::Input(e.to_string()))?;
        let public = Arc::new(model.public.clone());
        let entry =
            Entry { model: Arc::new(model), public, prepared: Mutex::default(), asked: Mutex::default() };
        self.entries.insert(name, entry);
        Ok(())
    }

    /// Names of the models.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Prepares the default plan of a system for a model ahead of the first request.
    pub fn prepare(&self, model: &str, system: &str) -> Result<Arc<Plan>, Error> {
        let entry = self.entry(model)?;
        Ok(self.prepared(entry, system, "", "")?.0)
    }

    fn entry(&self, model: &str) -> Result<&Entry, Error> {
        self.entries.get(model).ok_or_else(|| Error::UnknownModel {
            name: model.to_owned(),
            known: self.entries.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    fn prepared(&self, entry: &Entry, system: &str, mode: &str, plan: &str) -> Result<Ready, Error> {
        let asked = (system.to_owned(), mode.to_owned(), plan.to_owned());
        let known = entry.asked.lock().unwrap_or_else(PoisonError::into_inner).get(&asked).cloned();
        if let Some(ready) = known {
            return Ok(ready);
        }
        let found = self.systems.iter().find(|s| s.id() == system);
        let Some(system) = found else {
            return Err(Error::Refused { why: format!("this server has no system `{system}`") });
        };
        let wanted = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        let wish = Wish { mode: wanted(mode), plan: wanted(plan), ..self.wish.clone() };
        // The plan is searched before a place is made for it: unknown names leave nothing behind.
        let searched = system.plan(&entry.public, &wish)?;
        let Choices { system: s, mode, plan, .. } = searched.choices.clone();
        let slot = {
            let mut prepared = entry.prepared.lock().unwrap_or_else(PoisonError::into_inner);
            prepared.entry((s, mode, plan)).or_default().clone()
        };
        let mut place = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = match &*place {
            Some(ready) => ready.clone(),
            None => {
                let loaded = system.load(&searched, &entry.model, &self.pool)?;
                place.insert((Arc::new(searched), loaded)).clone()
            }
        };
        drop(place);
        // Names that give a plan are few, so what is kept here is bounded.
        entry.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(asked, ready.clone());
        Ok(ready)
    }
}

/// The model as a server offers it.
pub fn served(model: &Model) -> Result<Model, Error> {
    let input = |e: oblivia_nn::NnError| Error::Input(e.to_string());
    let mut model = pass::fold(&pass::complete_square(model).map_err(input)?).map_err(input)?;
    pass::publish_row_norms(&mut model).map_err(input)?;
    Ok(model)
}

impl Catalog for Models {
    fn offer(&self, hello: &Hello) -> Result<Offered, Error> {
        let entry = self.entry(&hello.model)?;
        if hello.samples > self.max_samples {
            return Err(Error::Refused {
                why: format!("{} samples asked for, at most {} allowed", hello.samples, self.max_samples),
            });
        }
        // Names that were asked for and do not exist are the asker's fault, not this server's.
        let refused = |e| match e {
            Error::Input(why) => Error::Refused { why },
            other => other,
        };
        let (plan, loaded) =
            self.prepared(entry, &hello.system, &hello.mode, &hello.plan).map_err(refused)?;
        let system = self.systems.iter().find(|s| s.id() == hello.system);
        let system = *system.ok_or_else(|| Error::Misuse("a prepared system disappeared".into()))?;
        Ok(Offered { model: entry.public.clone(), plan, system, loaded })
    }
}
