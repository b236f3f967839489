//! A server's models, and their plans as they are asked for.

use crate::prepared::{Prepared, PreparedFill};
use oblivia_nn::{Model, fixed, pass};
use oblivia_protocol::session::{Catalog, Hello, Offered};
use oblivia_protocol::{Error, Leak, LinkRate, Loaded, Plan, System, Wish};
use rayon::ThreadPool;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Models by name, and what systems have prepared of them for the plans that were asked for.
pub struct Models {
    systems: &'static [&'static dyn System],
    pool: Arc<ThreadPool>,
    entries: BTreeMap<String, Entry>,
    prepared: Prepared,
    max_samples: u32,
    /// What plans are searched with beside the names asked for.
    wish: Wish,
    /// Held by the one search there is at a time: it computes, and whoever asks has promised nothing yet.
    search: Mutex<()>,
}

struct Entry {
    model: Arc<Model>,
    public: Arc<oblivia_nn::PublicModel>,
    found: Mutex<Remembered>,
}

/// What a plan is searched for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    system: String,
    /// May be empty, as may be the plan.
    mode: String,
    plan: String,
    link: Option<LinkRate>,
    /// And how many samples they are for.
    max_bytes: Option<(u64, u32)>,
    group: Option<u32>,
}

/// Plans of a model that are remembered, those asked for last.
const MAX_FOUND: usize = 64;

/// A plan, and the bytes its prepared model takes if its system can tell.
#[derive(Clone)]
struct Found {
    plan: Arc<Plan>,
    bytes: Option<u64>,
}

/// What was found by what was asked for, and when it was asked for last.
#[derive(Default)]
struct Remembered {
    all: BTreeMap<Asked, (Found, u64)>,
    clock: u64,
}

impl Remembered {
    fn get(&mut self, asked: &Asked) -> Option<Found> {
        self.clock += 1;
        let (found, last) = self.all.get_mut(asked)?;
        *last = self.clock;
        Some(found.clone())
    }

    fn put(&mut self, asked: Asked, found: Found) {
        self.clock += 1;
        self.all.insert(asked, (found, self.clock));
        if self.all.len() > MAX_FOUND {
            let oldest = self.all.iter().min_by_key(|(_, (_, last))| *last).map(|(asked, _)| asked.clone());
            oldest.map(|asked| self.all.remove(&asked));
        }
    }
}

impl Models {
    /// No models yet. A session may predict at most `max_samples` samples.
    pub fn new(systems: &'static [&'static dyn System], pool: Arc<ThreadPool>, max_samples: u32) -> Self {
        let (entries, prepared) = (BTreeMap::new(), Prepared::new(None));
        Self {
            systems,
            pool,
            entries,
            prepared,
            max_samples,
            wish: Wish::default(),
            search: Mutex::default(),
        }
    }

    /// Weighs plans with measured unit costs and keeps the prepared models of all plans together below `max_memory` bytes.
    /// The least recently used of those that no session holds go first; a session whose plan finds no room is turned away.
    pub fn with_wish(mut self, units: BTreeMap<String, u64>, max_memory: Option<u64>) -> Self {
        (self.wish.units, self.wish.max_memory) = (units, max_memory);
        self.prepared = Prepared::new(max_memory);
        self
    }

    /// Serves plans with these leaks too, among those that an owner must accept ([`Leak::gives_model_away`]); without it
    /// sessions that ask for one are refused.
    pub fn accepting(mut self, leaks: &[Leak]) -> Self {
        self.wish.accepted_leaks = leaks.to_vec();
        self
    }

    /// Refuses a plan that its owner did not accept.
    fn allowed(&self, plan: &Plan) -> Result<(), Error> {
        let unwanted = |l: Leak| l.gives_model_away() && !self.wish.accepted_leaks.contains(&l);
        let Some(found) = plan.leaks.iter().find(|s| unwanted(s.leak)) else { return Ok(()) };
        Err(Error::Refused {
            why: format!(
                "in mode `{}` of system `{}` the {} learns: {}; this server's owner did not allow that (`oblivia serve \
                 --accept-leak {}` does)",
                plan.choices.mode, plan.choices.system, found.to, found.detail, found.leak
            ),
        })
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
        self.entries.insert(name, Entry { model: Arc::new(model), public, found: Mutex::default() });
        Ok(())
    }

    /// Names of the models.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// How much the prepared models take.
    pub fn prepared_fill(&self) -> PreparedFill {
        self.prepared.fill()
    }

    /// Prepares the default plan of a system for a model ahead of the first request. It is kept as if a session had asked
    /// for it: until others need its memory.
    pub fn prepare(&self, model: &str, system: &str) -> Result<Arc<Plan>, Error> {
        let entry = self.entry(model)?;
        let (mode, plan) = (String::new(), String::new());
        let asked = Asked { system: system.to_owned(), mode, plan, link: None, max_bytes: None, group: None };
        Ok(self.prepared(entry, asked)?.0)
    }

    fn entry(&self, model: &str) -> Result<&Entry, Error> {
        self.entries.get(model).ok_or_else(|| Error::UnknownModel {
            name: model.to_owned(),
            known: self.entries.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// A plan and the model as prepared for it. Whoever keeps the latter keeps its memory.
    fn prepared(&self, entry: &Entry, mut asked: Asked) -> Result<(Arc<Plan>, Loaded), Error> {
        let found = self.systems.iter().find(|s| s.id() == asked.system);
        let Some(system) = found else {
            return Err(Error::Refused { why: format!("this server has no system `{}`", asked.system) });
        };
        if !system.plans_for_links(&asked.mode) {
            (asked.link, asked.max_bytes, asked.group) = (None, None, None);
        }
        let Found { plan, bytes } = self.found(entry, *system, asked)?;
        self.allowed(&plan)?;
        let name = (entry.public.name.clone(), system.prepared_name(&plan));
        let loaded = self.prepared.get(&name, bytes, || system.load(&plan, &entry.model, &self.pool))?;
        Ok((plan, loaded))
    }

    /// The plan that is remembered, or searched for and remembered.
    fn found(&self, entry: &Entry, system: &dyn System, asked: Asked) -> Result<Found, Error> {
        let known = || entry.found.lock().unwrap_or_else(PoisonError::into_inner).get(&asked);
        if let Some(found) = known() {
            return Ok(found);
        }
        let _one = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        // Another session may have searched for the same.
        if let Some(found) = known() {
            return Ok(found);
        }
        let wanted = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        let mut wish = Wish { mode: wanted(&asked.mode), plan: wanted(&asked.plan), ..self.wish.clone() };
        (wish.link, wish.group) = (asked.link, asked.group);
        (wish.max_bytes, wish.samples) = asked.max_bytes.map_or((None, 0), |(max, n)| (Some(max), n));
        let plan = system.plan(&entry.public, &wish)?;
        let bytes = system.prepared_bytes(&plan, &entry.public)?;
        let found = Found { plan: Arc::new(plan), bytes };
        entry.found.lock().unwrap_or_else(PoisonError::into_inner).put(asked, found.clone());
        Ok(found)
    }
}

/// The model as a server offers it.
pub fn served(model: &Model) -> Result<Model, Error> {
    let input = |e: oblivia_nn::NnError| Error::Input(e.to_string());
    let mut model = pass::normal_form(model).map_err(input)?;
    pass::publish_row_norms(&mut model).map_err(input)?;
    fixed::publish(&mut model).map_err(|e| {
        let name = &model.public.name;
        Error::Input(format!(
            "[fixed_point] of model `{name}`: {e}; run `oblivia quantise`, perhaps with more bits, or delete the section"
        ))
    })?;
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
        let asked = Asked {
            system: hello.system.clone(),
            mode: hello.mode.clone(),
            plan: hello.plan.clone(),
            link: hello.link,
            max_bytes: hello.max_bytes.map(|max| (max, hello.samples)),
            group: hello.group,
        };
        let (plan, loaded) = self.prepared(entry, asked).map_err(refused)?;
        let system = self.systems.iter().find(|s| s.id() == hello.system);
        let system = *system.ok_or_else(|| Error::Misuse("a prepared system disappeared".into()))?;
        Ok(Offered { model: entry.public.clone(), plan, system, loaded, allowance: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oblivia_base::Blame;
    use oblivia_nn::{Graph, InputSpec, Node, Op, OutputPolicy, PublicModel, Shape, Weights, WireId};
    use oblivia_protocol::session::{Purpose, VERSION};
    use oblivia_protocol::{BoxFuture, Choices, Context, Outcome, Seat, Support};
    use oblivia_systems::clear::Clear;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Prepares one number per mode. A mode is called after its bytes: `a 40` takes 40. Plans of modes that begin with `linked`
    /// follow the link, those of modes that begin with `leaky` give the model away.
    #[derive(Default)]
    struct Numbers {
        searches: AtomicUsize,
        loads: AtomicUsize,
        /// How the next loads end.
        failures: Mutex<Vec<&'static str>>,
        /// What a search or a load takes.
        time: Duration,
    }

    impl Numbers {
        fn searches(&self) -> usize {
            self.searches.load(Ordering::SeqCst)
        }
    }

    impl System for Numbers {
        fn id(&self) -> &'static str {
            "numbers"
        }
        fn summary(&self) -> &'static str {
            "for tests"
        }
        fn modes(&self) -> &'static [&'static str] {
            &[]
        }
        fn supports(&self, _: &Graph, _: &Node) -> Support {
            Support::Yes
        }
        fn plan(&self, model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
            std::thread::sleep(self.time);
            self.searches.fetch_add(1, Ordering::SeqCst);
            let mut plan = Clear.plan(model, &Wish::default())?;
            plan.choices.system = self.id().into();
            plan.choices.mode = wish.mode.clone().unwrap_or_default();
            let leak = |l: &mut oblivia_protocol::LeakStatement| l.leak = Leak::IntermediateActivations;
            plan.leaks.iter_mut().take(usize::from(plan.choices.mode.starts_with("leaky"))).for_each(leak);
            Ok(plan)
        }
        fn check(&self, model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
            self.plan(model, &Wish { mode: Some(choices.mode.clone()), ..Wish::default() })
        }
        fn plans_for_links(&self, mode: &str) -> bool {
            mode.starts_with("linked")
        }
        fn prepared_bytes(&self, plan: &Plan, _: &PublicModel) -> Result<Option<u64>, Error> {
            Ok(plan.choices.mode.split(' ').nth(1).map(|bytes| bytes.parse().unwrap()))
        }
        fn load(&self, plan: &Plan, _: &Model, _: &ThreadPool) -> Result<Loaded, Error> {
            std::thread::sleep(self.time);
            let failure = self.failures.lock().unwrap().pop();
            match failure {
                Some("panic") => panic!("a bug in a system"),
                Some(why) => return Err(Error::Io(why.into())),
                None => {}
            }
            let n = self.loads.fetch_add(1, Ordering::SeqCst);
            Ok(Arc::new(format!("{} as load {n}", plan.choices.mode)))
        }
        fn run<'a>(
            &'a self,
            _: &'a Plan,
            _: Seat,
            _: &'a mut Context<'_>,
        ) -> BoxFuture<'a, Result<Outcome, Error>> {
            Box::pin(async { Ok(Outcome::Served) })
        }
    }

    /// A catalog of one model and [`Numbers`], whose plans may take 100 bytes together.
    fn catalog(numbers: Numbers) -> (Models, &'static Numbers) {
        let numbers: &'static Numbers = Box::leak(Box::new(numbers));
        let systems: &'static [&'static dyn System] = Box::leak(Box::new([numbers as &dyn System]));
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
        let mut graph = Graph::new("x", Shape::new([2]).unwrap());
        graph.push("square", Op::Square, &[WireId(0)]).unwrap();
        let weights = Weights::new(&graph, Vec::new()).unwrap();
        let public = PublicModel {
            name: "m".into(),
            graph,
            labels: Vec::new(),
            input: InputSpec::Tensor,
            input_range: [0.0, 1.0],
            output: OutputPolicy::Logits,
            fixed: None,
        };
        let mut models = Models::new(systems, pool, 9).with_wish(BTreeMap::new(), Some(100));
        models.add(&Model { public, weights, calibration: None }).unwrap();
        (models, numbers)
    }

    fn offer(models: &Models, mode: &str) -> Result<Offered, Error> {
        models.offer(&hello(mode))
    }

    fn hello(mode: &str) -> Hello {
        Hello {
            min_version: VERSION,
            max_version: VERSION,
            model: "m".into(),
            system: "numbers".into(),
            mode: mode.into(),
            plan: String::new(),
            link: None,
            max_bytes: None,
            group: None,
            purpose: Purpose::Predict,
            samples: 1,
            nonce: [0; 32],
        }
    }

    /// What was prepared for `mode`, by nobody held any more.
    fn prepared(models: &Models, mode: &str) -> String {
        offer(models, mode).unwrap().loaded.downcast_ref::<String>().unwrap().clone()
    }

    #[test]
    fn plans_beyond_the_memory_for_all_push_out_those_used_longest_ago() {
        let (models, numbers) = catalog(Numbers::default());
        assert_eq!(prepared(&models, "a 40"), "a 40 as load 0");
        assert_eq!(prepared(&models, "b 30"), "b 30 as load 1");
        assert_eq!(prepared(&models, "c 30"), "c 30 as load 2");
        assert_eq!(prepared(&models, "a 40"), "a 40 as load 0", "all three fit");
        assert_eq!(models.prepared_fill(), PreparedFill { plans: 3, bytes: 100, max_bytes: Some(100) });
        assert_eq!(prepared(&models, "d 31"), "d 31 as load 3", "in the place of b and c");
        assert_eq!(models.prepared_fill(), PreparedFill { plans: 2, bytes: 71, max_bytes: Some(100) });
        assert_eq!(prepared(&models, "a 40"), "a 40 as load 0");
        assert_eq!(prepared(&models, "b 30"), "b 30 as load 4", "in the place of d");
        assert_eq!(prepared(&models, "a 40"), "a 40 as load 0");
        assert_eq!(prepared(&models, "c 30"), "c 30 as load 5");
        assert_eq!(numbers.loads.load(Ordering::SeqCst), 6);
    }

    #[test]
    fn what_a_session_holds_is_never_dropped_and_what_does_not_fit_beside_it_is_turned_away() {
        let (models, _) = catalog(Numbers::default());
        let held = offer(&models, "a 60").unwrap();
        prepared(&models, "b 40");
        // The one used longest ago is held, so the other goes.
        prepared(&models, "c 40");
        assert_eq!(prepared(&models, "a 60"), "a 60 as load 0");
        let busy = offer(&models, "d 41").err().unwrap();
        let words = busy.to_string();
        assert_eq!(busy.blame(), Blame::Resource, "{words}");
        for part in ["41", "60", "100", "--max-memory", "`m`"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert_eq!(prepared(&models, "c 40"), "c 40 as load 2", "nothing was dropped in vain");
        assert_eq!(held.loaded.downcast_ref::<String>().unwrap(), "a 60 as load 0");
        drop(held);
        assert_eq!(prepared(&models, "d 41"), "d 41 as load 3", "now it is free to go");
        assert_eq!(models.prepared_fill(), PreparedFill { plans: 2, bytes: 81, max_bytes: Some(100) });
    }

    #[test]
    fn a_plan_that_never_fits_is_refused_and_drops_nothing() {
        let (models, numbers) = catalog(Numbers::default());
        prepared(&models, "a 100");
        let refused = offer(&models, "b 101").err().unwrap();
        let words = refused.to_string();
        assert_eq!(refused.blame(), Blame::Refused, "{words}");
        for part in ["101", "100", "--max-memory", "`m`"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert_eq!(prepared(&models, "a 100"), "a 100 as load 0");
        assert_eq!(numbers.loads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_system_that_cannot_tell_is_taken_to_need_half_of_the_memory() {
        let (models, _) = catalog(Numbers::default());
        for mode in ["a 1", "unknown", "also"] {
            prepared(&models, mode);
        }
        assert_eq!(models.prepared_fill(), PreparedFill { plans: 2, bytes: 100, max_bytes: Some(100) });
    }

    #[test]
    fn sessions_that_ask_at_once_for_the_same_plan_have_it_prepared_once() {
        let (models, numbers) = catalog(Numbers { time: Duration::from_millis(100), ..Numbers::default() });
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    assert_eq!(prepared(&models, "a 100"), "a 100 as load 0");
                });
            }
        });
        assert_eq!((numbers.searches(), numbers.loads.load(Ordering::SeqCst)), (1, 1));
    }

    #[test]
    fn the_plans_asked_for_last_are_remembered() {
        let (models, numbers) = catalog(Numbers::default());
        let mode = |i: usize| format!("{i} 0");
        (0..MAX_FOUND).for_each(|i| drop(prepared(&models, &mode(i))));
        assert_eq!(numbers.searches(), MAX_FOUND);
        prepared(&models, &mode(0));
        assert_eq!(numbers.searches(), MAX_FOUND, "it is remembered");
        prepared(&models, &mode(MAX_FOUND));
        prepared(&models, &mode(0));
        assert_eq!(numbers.searches(), MAX_FOUND + 1, "it was asked for again, so another one went");
        prepared(&models, &mode(1));
        assert_eq!(numbers.searches(), MAX_FOUND + 2);
    }

    #[test]
    fn what_the_owner_does_not_allow_is_searched_for_once_and_refused_every_time() {
        let (models, numbers) = catalog(Numbers::default());
        for _ in 0..3 {
            let refused = offer(&models, "leaky 1").err().unwrap();
            assert_eq!(refused.blame(), Blame::Refused, "{refused}");
        }
        assert_eq!((numbers.searches(), numbers.loads.load(Ordering::SeqCst)), (1, 0));
        let models = models.accepting(&[Leak::IntermediateActivations]);
        assert!(offer(&models, "leaky 1").is_ok());
    }

    #[test]
    fn links_bytes_and_groups_are_searched_for_where_plans_follow_them_and_nowhere_else() {
        let (models, numbers) = catalog(Numbers::default());
        let all = |mode: &str| {
            let before = numbers.searches();
            let link = Some(LinkRate { bits_per_second: 1, round_trip_us: 1 });
            let asked = [
                hello(mode),
                Hello { link, ..hello(mode) },
                Hello { max_bytes: Some(1), ..hello(mode) },
                Hello { max_bytes: Some(1), samples: 2, ..hello(mode) },
                Hello { group: Some(2), ..hello(mode) },
                Hello { samples: 2, ..hello(mode) },
            ];
            asked.iter().for_each(|hello| drop(models.offer(hello).unwrap()));
            numbers.searches() - before
        };
        assert_eq!((all("linked 0"), all("other 0")), (5, 1));
    }

    #[test]
    fn a_failure_is_not_kept_and_takes_no_memory_nor_does_a_panic() {
        let (models, numbers) = catalog(Numbers::default());
        numbers.failures.lock().unwrap().extend(["panic", "no luck"]);
        assert!(matches!(offer(&models, "a 100"), Err(Error::Io(_))));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| offer(&models, "a 100")));
        assert!(panicked.is_err());
        assert_eq!(models.prepared_fill(), PreparedFill { plans: 0, bytes: 0, max_bytes: Some(100) });
        assert_eq!(prepared(&models, "b 100"), "b 100 as load 0");
    }

    #[test]
    fn without_a_limit_everything_is_kept() {
        let (models, _) = catalog(Numbers::default());
        let models = models.with_wish(BTreeMap::new(), None);
        prepared(&models, "a 1000");
        prepared(&models, "unknown");
        assert_eq!(prepared(&models, "a 1000"), "a 1000 as load 0");
    }
}
