//! What the value of a flag may be: a value that parses is usable.

use clap::builder::{
    PossibleValue, PossibleValuesParser, RangedU64ValueParser, TypedValueParser, ValueParser,
};
use oblivia_base::Digest;
use oblivia_protocol::{Leak, session::MAX_SAMPLES};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(0..=1024)
}

pub(super) fn samples() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=u64::from(MAX_SAMPLES))
}

pub(super) fn systems() -> ValueParser {
    let names = oblivia_systems::SYSTEMS.iter().map(|s| PossibleValue::new(s.id()).help(s.summary()));
    ValueParser::new(
        PossibleValuesParser::new(names)
            .try_map(|id| oblivia_systems::find(&id).ok_or("this build has no such system")),
    )
}

pub(super) fn leaks() -> ValueParser {
    leaks_that(Leak::needs_acceptance)
}

pub(super) fn owners_leaks() -> ValueParser {
    leaks_that(Leak::gives_model_away)
}

fn leaks_that(are: fn(Leak) -> bool) -> ValueParser {
    let names = Leak::ALL.into_iter().filter(|l| are(*l)).map(Leak::name);
    ValueParser::new(
        PossibleValuesParser::new(names).try_map(|n| Leak::from_name(&n).ok_or("there is no such leak")),
    )
}

/// A positive, finite number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let wait = number.filter(|d| !d.is_zero() && d.as_secs() < 1 << 32);
    wait.ok_or_else(|| "a positive number of seconds is expected, as in 30 or 0.5".to_owned())
}

pub(super) fn pin(text: &str) -> Result<Digest, oblivia_net::Error> {
    oblivia_net::parse_fingerprint(text.trim())
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| {
        "write ADDRESS:PORT, as in 127.0.0.1:7443 or [::1]:7443; port 0 takes a free one".to_owned()
    })
}

pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, p)| p.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(text.to_owned()),
        _ => {
            Err("write HOST:PORT, as in localhost:7443; `oblivia serve` prints it when it starts".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "0", "-1", "nan", "inf", "1e300", "1e10", "soon"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_to_connect_to_has_a_host_and_a_port() {
        for good in ["localhost:7443", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(host_and_port(good), Ok(good.to_owned()));
        }
        for bad in ["", "localhost", ":7443", "localhost:", "localhost:0", "localhost:65536", "localhost:x"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }
}
