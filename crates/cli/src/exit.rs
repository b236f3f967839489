//! Exit codes: 0, 2 usage, 3 input, 4 refused by policy, 5 peer, 6 I/O, 70 bug.

use crate::output::{ReaderGone, note};
use oblivia_base::Blame;
use std::fmt;
use std::process::ExitCode;

/// What the user can do about an error, as outermost context of it.
#[derive(Debug)]
pub(crate) struct Hint(pub(crate) String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Flags that parse one by one but do not fit together or the system.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints what went wrong, with its causes and what to do, and turns it into an exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    note(&words(error));
    ExitCode::from(if error.is::<Usage>() { 2 } else { blame(error).map_or(70, code) })
}

fn words(error: &anyhow::Error) -> String {
    let hint = error.downcast_ref::<Hint>();
    let mut text = String::new();
    for cause in error.chain().skip(usize::from(hint.is_some())) {
        let cause = cause.to_string();
        if text.is_empty() {
            text = format!("error: {cause}\n");
        } else if !text.contains(&cause) {
            text.push_str(&format!("  because: {cause}\n"));
        }
    }
    if let Some(Hint(hint)) = hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    text
}

fn code(blame: Blame) -> u8 {
    match blame {
        Blame::Input | Blame::Unsupported => 3,
        Blame::Refused => 4,
        Blame::InvalidMessage | Blame::PeerMisbehaved | Blame::PeerIncompatible | Blame::NumericBound => 5,
        Blame::Io | Blame::Resource => 6,
        _ => 70,
    }
}

/// The blame of the first error of the house in the chain.
fn blame(error: &anyhow::Error) -> Option<Blame> {
    error.chain().find_map(|e| {
        e.downcast_ref::<oblivia::Error>()
            .map(oblivia::Error::blame)
            .or_else(|| e.downcast_ref::<oblivia_protocol::Error>().map(oblivia_protocol::Error::blame))
            .or_else(|| e.downcast_ref::<oblivia_net::Error>().map(oblivia_net::Error::blame))
            .or_else(|| e.downcast_ref::<oblivia_onnx::OnnxError>().map(oblivia_onnx::OnnxError::blame))
            .or_else(|| e.downcast_ref::<oblivia_data::DataError>().map(oblivia_data::DataError::blame))
            .or_else(|| e.downcast_ref::<oblivia_nn::NnError>().map(oblivia_nn::NnError::blame))
            .or_else(|| e.downcast_ref::<std::io::Error>().map(|_| Blame::Io))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use oblivia_protocol::Error;

    #[test]
    fn a_hint_comes_last_and_leaves_the_blame_alone() {
        let error = anyhow::Error::from(Error::Input("x is wrong".into())).context(Hint("use y".into()));
        assert_eq!(words(&error), "error: x is wrong\n  hint: use y\n");
        assert_eq!(blame(&error), Some(Blame::Input));
    }

    #[test]
    fn causes_are_told_once() {
        let io = std::io::Error::other("disk on fire");
        let error = Err::<(), _>(io).context("reading a").context("reading a: disk on fire").unwrap_err();
        assert_eq!(words(&error), "error: reading a: disk on fire\n");
        assert_eq!(blame(&error), Some(Blame::Io));
    }
}
