//! Exit codes: 0, 2 usage, 3 input, 4 refused by policy, 5 peer, 6 I/O, 70 bug.

use oblivia_base::Blame;
use std::process::ExitCode;

/// Prints what went wrong, with its causes, and turns it into an exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !last.contains(&cause) {
            text.push_str(&format!("\n  because: {cause}"));
        }
        last = cause;
    }
    eprintln!("{text}");
    ExitCode::from(blame(error).map_or(70, code))
}

fn code(blame: Blame) -> u8 {
    match blame {
        Blame::Input => 3,
        Blame::Refused | Blame::Unsupported => 4,
        Blame::InvalidMessage | Blame::PeerMisbehaved | Blame::PeerIncompatible => 5,
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
