//! Private neural network inference for programs to embed.
//!
//! ```no_run
//! # fn main() -> Result<(), oblivia::Error> {
//! // The owner of the model:
//! let model = oblivia::load_model("models/mnist-cryptonets".as_ref())?;
//! let server = oblivia::Server::start(&[model], oblivia::ServeOptions::default())?;
//! println!("listening on {}, pin {}", server.address(), server.fingerprint());
//!
//! // The owner of the data, elsewhere:
//! let client = oblivia::Client::new("127.0.0.1:7443", oblivia::Trust::Pin(server.fingerprint()))?;
//! let image = oblivia::load_image("digit.png".as_ref())?;
//! let prediction = client.predict("mnist-cryptonets", "leveled", &[image])?;
//! println!("{:?}", prediction.label(0));
//! # Ok(()) }
//! ```
//!
//! Computing blocks the calling thread; call it from a thread of your own if you run an event loop.
#![forbid(unsafe_code)]

mod budget;
mod calibration;
mod catalog;
mod client;
mod error;
mod input;
mod key_cache;
mod key_files;
mod ledger;
mod pack_files;
pub mod party;
mod prepared;
mod sealed;
mod server;

pub use budget::{Budgets, Quota};
pub use calibration::{calibration_file, read_calibration, write_calibration};
pub use catalog::{Models, served};
pub use client::{Ask, Client, MadeAhead, Trust};
pub use error::Error;
pub use input::{Input, is_idx, load_image, load_images, load_model, open_model, open_uncalibrated, tensor};
pub use key_cache::{KeyCache, KeyCacheFill};
pub use key_files::{AboutKey, KeptKey, KeyFiles};
pub use oblivia_protocol::{AheadUse, Answer, Leak, Observer, Plan, Receipt, Silent, Wish};
pub use pack_files::{PackFiles, PackFill};
pub use party::{Machine, Prediction, SampleRecord, Served};
pub use prepared::PreparedFill;
pub use server::{ServeOptions, Server};
