//! What the benchmarks measure with.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use std::time::{Duration, Instant};

/// Processor time of this thread, from the scheduler's statistics of Linux; elsewhere the time on the wall.
pub(crate) struct ThreadTime(pub(crate) WallTime);

fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

impl Measurement for ThreadTime {
    type Intermediate = (Option<Duration>, Instant);
    type Value = Duration;

    fn start(&self) -> Self::Intermediate {
        (thread_time(), self.0.start())
    }

    fn end(&self, (thread, wall): Self::Intermediate) -> Duration {
        match (thread, thread_time()) {
            (Some(start), Some(end)) => end.saturating_sub(start),
            _ => self.0.end(wall),
        }
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}
