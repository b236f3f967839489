//! What a person sees while something takes longer than a second.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oblivia_protocol::{Event, Observer};
use std::time::Duration;

/// A line on standard error, if that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Progress over `samples` samples.
    pub(crate) fn new(samples: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(samples), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} [{elapsed}]") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message("connecting");
        Self { bar }
    }

    /// Clears the line.
    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Setup(step) => self.bar.set_message(step),
            Event::Ready => self.bar.set_message("predicting"),
            Event::SampleStarted(_) => {}
            Event::SampleDone { .. } => self.bar.inc(1),
        }
    }
}
