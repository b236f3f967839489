//! Query budgets: how many images clients may have predicted.

use oblivia_base::Digest;
use std::collections::BTreeMap;
use std::fmt;

/// How many images; `None` is any number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// In all.
    pub images: Option<u64>,
    /// On one day, which begins at midnight UTC.
    pub images_per_day: Option<u64>,
}

impl Quota {
    /// Whether it limits anything.
    pub fn limits(&self) -> bool {
        self.images.is_some() || self.images_per_day.is_some()
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.images, self.images_per_day) {
            (None, None) => f.write_str("any number of images"),
            (Some(n), None) => write!(f, "{n} images"),
            (None, Some(n)) => write!(f, "{n} images a day"),
            (Some(n), Some(day)) => write!(f, "{n} images, {day} a day"),
        }
    }
}

/// What every model's images are limited to. Each model is counted by itself, under its name.
///
/// Counted is what a client can have had predicted: whole groups of the plan's mode, whatever it filled them with, and all images
/// of a session from the moment its plan was agreed. A session that fails before the first image began gives its images back; where
/// the client broke it off, to `model` alone.
/// Counts are on disk before anything that depends on an image leaves the server; see [`ServeOptions`](crate::ServeOptions).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Budgets {
    /// Of every client that has none of its own.
    pub client: Quota,
    /// Of these clients, in place of `client`.
    pub named: BTreeMap<Digest, Quota>,
    /// Of all clients together.
    pub model: Quota,
}

impl Budgets {
    /// Whether anything is limited, and so counted.
    pub fn limit(&self) -> bool {
        self.client.limits() || self.model.limits() || self.named.values().any(Quota::limits)
    }

    /// A client's.
    pub fn of(&self, client: &Digest) -> Quota {
        self.named.get(client).copied().unwrap_or(self.client)
    }
}

impl fmt::Display for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.limit() {
            return f.write_str("none: every client may ask for any number of images");
        }
        write!(f, "per model and client {}", self.client)?;
        match self.named.len() {
            0 => {}
            n => write!(f, " ({n} named with their own)")?,
        }
        write!(f, "; all clients of a model together {}", self.model)
    }
}
