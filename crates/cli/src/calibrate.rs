//! `oblivia calibrate`: times what planners want to know about this machine.

use crate::args::CalibrateArgs;
use crate::output::{entry, json, note, out};
use anyhow::Result;
use oblivia_base::SessionRng;
use oblivia_protocol::Workload;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long each piece of work is repeated.
const EACH: Duration = Duration::from_millis(400);

pub(crate) fn run(a: &CalibrateArgs) -> Result<()> {
    let mut rng = SessionRng::fresh()?;
    let mut units = BTreeMap::new();
    for system in oblivia_systems::SYSTEMS {
        let workloads = system.workloads(&mut rng);
        if !workloads.is_empty() && !a.json {
            note(&format!(
                "timing {} kinds of work of {}, about {} s\n",
                workloads.len(),
                system.id(),
                workloads.len() / 2
            ));
        }
        for mut w in workloads {
            let found = median_picoseconds(&mut w);
            if !a.json {
                out(&format!("{:<16}{found} ps\n", w.name))?;
            }
            units.insert(w.name, found);
        }
    }
    oblivia::write_calibration(&a.state.state_dir, &units)?;
    let file = oblivia::calibration_file(&a.state.state_dir);
    match a.json {
        true => json(&serde_json::json!({ "schema": 1, "file": file, "picoseconds": units })),
        false => out(&entry("kept in", &format!("{}; plans made here use it", file.display()))),
    }
}

/// Median time of one unit, over runs of single turns.
fn median_picoseconds(w: &mut Workload) -> u64 {
    let pool = rayon_of_one();
    let mut turn = || {
        let start = Instant::now();
        match &pool {
            Some(pool) => pool.install(|| (w.run)()),
            None => (w.run)(),
        }
        start.elapsed()
    };
    turn();
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < EACH || times.len() < 5 {
        times.push(turn());
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    (median.as_nanos() as u64).saturating_mul(1000) / w.units.max(1)
}

/// Unit costs are of one thread.
fn rayon_of_one() -> Option<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().ok()
}
