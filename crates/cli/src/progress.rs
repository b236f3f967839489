//! What a person sees of a session while it runs: rows as they happen, and a line that moves when it takes
//! longer than a second.

use crate::output::out;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oblivia_protocol::{Answer, Event, Observer, Traffic};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// A sample that is done.
pub(crate) struct Done<'a> {
    pub(crate) index: usize,
    pub(crate) output: &'a Answer,
    /// Since work on its group began.
    pub(crate) seconds: f64,
    /// Of its group, with the last sample of it.
    pub(crate) traffic: Option<Traffic>,
}

/// Makes the row of a sample.
type Row<'a> = Box<dyn FnMut(Done<'_>) -> String + Send + 'a>;

/// A line that moves, on standard error if that is a terminal, once work takes longer than a second.
pub(crate) struct Bar {
    bar: ProgressBar,
    /// Ends the thread that waits to show the bar.
    stop: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Bar {
    /// Counts to `steps` of what `message` says.
    pub(crate) fn new(steps: u64, message: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} [{elapsed}]") {
            bar.set_style(style);
        }
        bar.set_message(message);
        let (sender, receiver) = mpsc::channel::<()>();
        let shown = bar.clone();
        let waiting = std::thread::Builder::new().name("progress".into()).spawn(move || {
            if receiver.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(Duration::from_millis(200));
            }
        });
        // Without a thread there is no bar, and nothing else changes.
        let stop = waiting.ok().map(|thread| (sender, thread));
        Self { bar, stop }
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Bar {
    /// Clears the line.
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.stop.take() {
            drop(sender);
            // A thread that only waits does not fail.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

/// Watches a session for a person.
pub(crate) struct Watch<'a> {
    line: Bar,
    row: Option<Row<'a>>,
    started: Instant,
    printed: Result<()>,
}

impl<'a> Watch<'a> {
    /// Watches `samples` samples.
    pub(crate) fn new(samples: u64) -> Self {
        Self { line: Bar::new(samples, "connecting"), row: None, started: Instant::now(), printed: Ok(()) }
    }

    /// Prints a row for every sample as it is done.
    pub(crate) fn with_rows(mut self, row: impl FnMut(Done<'_>) -> String + Send + 'a) -> Self {
        self.row = Some(Box::new(row));
        self
    }

    /// Clears the line; an error if a row could not be printed.
    pub(crate) fn done(self) -> Result<()> {
        drop(self.line);
        self.printed
    }
}

impl Observer for Watch<'_> {
    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Setup(step) => self.line.bar.set_message(step),
            Event::Ready => self.line.bar.set_message("predicting"),
            Event::Ahead(first) => {
                self.line.bar.set_message("preparing");
                self.line.bar.set_position(first as u64);
            }
            Event::Step { done, of, what } => {
                self.line.bar.set_message(format!("predicting, {what} ({done} of {of})"))
            }
            Event::Kept(_) => {}
            Event::SampleStarted(_) => {
                self.line.bar.set_message("predicting");
                self.started = Instant::now();
            }
            Event::SampleDone { index, output, traffic } => {
                self.line.bar.inc(1);
                let seconds = self.started.elapsed().as_secs_f64();
                if let (Some(row), Some(output), true) = (&mut self.row, output, self.printed.is_ok()) {
                    let text = row(Done { index, output, seconds, traffic });
                    self.printed = self.line.bar.suspend(|| out(&text));
                }
            }
        }
    }
}

/// The label of an answer: the published name of the largest value, or its index where none is published; `none`
/// where there is no answer.
pub(crate) fn label(labels: &[String], output: &Answer) -> String {
    let Ok(output) = output else { return "none".into() };
    let best = output.argmax();
    best.map_or_else(String::new, |i| labels.get(i).cloned().unwrap_or_else(|| i.to_string()))
}
