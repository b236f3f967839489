//! A slower network than the one at hand: rate and latency on a byte stream, below TLS.

use crate::Error;
use crate::stream::ByteStream;
use oblivia_protocol::LinkRate;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// Bytes the near end may write ahead, as into a socket.
const BUFFER_BYTES: usize = 64 << 10;
/// Largest piece that moves at once.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces on the way at once; bounds memory to 64 MiB per direction.
const FLIGHT_PIECES: usize = 4096;
/// How early a sleep ends, because the timer rounds up to milliseconds; the rest is waited for by yielding.
const TIMER_SLACK: Duration = Duration::from_millis(1);

/// Rate and round-trip time of a link, written `100mbit,40ms`.
///
/// The rate (`kbit`, `mbit`, `gbit`, decimal, per second) holds for each direction. The time (`us`, `ms`, `s`)
/// is the **round trip**, as `ping` reports it and papers state it: bytes take half of it each way. Bytes are
/// counted below TLS; TCP/IP headers, loss and congestion control are not modelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkShape {
    bits_per_second: f64,
    round_trip: Duration,
    /// Whether the last millisecond of a wait is waited for by yielding; not under a paused clock.
    exact: bool,
}

impl LinkShape {
    /// A link of `bits_per_second` (10³ to 10¹²) and a round trip of at most a minute.
    pub fn new(bits_per_second: f64, round_trip: Duration) -> Result<Self, Error> {
        let shape = Self { bits_per_second, round_trip, exact: true };
        let bad = |why| Err(Error::LinkShape { text: shape.to_string(), why });
        if !(1e3..=1e12).contains(&bits_per_second) {
            return bad("the rate must be between 1kbit and 1000gbit");
        }
        if round_trip > Duration::from_secs(60) {
            return bad("the round trip must be at most 60s");
        }
        Ok(shape)
    }

    /// Bits per second in each direction.
    pub fn bits_per_second(&self) -> f64 {
        self.bits_per_second
    }

    /// There and back.
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Half of the round trip.
    pub fn one_way(&self) -> Duration {
        self.round_trip / 2
    }

    /// As a planner takes it.
    pub fn rate(&self) -> LinkRate {
        let round_trip_us = u64::try_from(self.round_trip.as_micros()).unwrap_or(u64::MAX);
        LinkRate { bits_per_second: self.bits_per_second as u64, round_trip_us }
    }

    fn time_for(&self, bytes: usize) -> Duration {
        Duration::try_from_secs_f64(8.0 * bytes as f64 / self.bits_per_second).unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for LinkShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}mbit,{}ms", self.bits_per_second / 1e6, self.round_trip.as_secs_f64() * 1e3)
    }
}

impl FromStr for LinkShape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::LinkShape { text: text.chars().take(80).collect(), why };
        let (rate, time) = text.split_once(',').ok_or_else(|| bad("a comma is missing"))?;
        let rates = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
        let rate =
            number(rate, &rates).ok_or_else(|| bad("the rate is not a number of kbit, mbit or gbit"))?;
        let times = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
        let time = number(time, &times)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| bad("the round-trip time is not a number of us, ms or s"))?;
        Self::new(rate, time).map_err(|e| match e {
            Error::LinkShape { why, .. } => bad(why),
            other => other,
        })
    }
}

fn number(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let (digits, factor) = units.iter().find_map(|(unit, f)| Some((text.strip_suffix(unit)?, f)))?;
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    digits.parse::<f64>().ok().filter(|_| plain).map(|value| value * factor)
}

/// `inner` behind the link `shape`, in both directions: one end of a connection is shaped, not both.
/// [`Error::Misuse`] outside a tokio runtime.
pub fn shaped<S: ByteStream + 'static>(inner: S, shape: LinkShape) -> Result<DuplexStream, Error> {
    let runtime = tokio::runtime::Handle::try_current()
        .map_err(|_| Error::Misuse { why: "a shaped link needs a tokio runtime around it".into() })?;
    let (near, far) = duplex(BUFFER_BYTES);
    let (inner_out, inner_in) = split(inner);
    let (far_out, far_in) = split(far);
    runtime.spawn(carry(far_out, inner_in, shape));
    runtime.spawn(carry(inner_out, far_in, shape));
    Ok(near)
}

/// One direction: bytes leave at the rate, one after the other, and arrive one way later. The end of the
/// stream travels like a byte; an error ends the stream.
async fn carry(
    mut from: impl AsyncRead + Unpin + Send,
    mut to: impl AsyncWrite + Unpin + Send,
    shape: LinkShape,
) {
    let (flight, mut landing) = mpsc::channel::<(Instant, Vec<u8>)>(FLIGHT_PIECES);
    let leave = async move {
        let mut free = Instant::now();
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(n @ 1..) = from.read(&mut piece).await {
            free = free.max(Instant::now()) + shape.time_for(n);
            let arrival = free + shape.one_way();
            let bytes = piece.get(..n).unwrap_or_default().to_vec();
            if flight.send((arrival, bytes)).await.is_err() {
                return;
            }
            // The line is busy until `free`; being a little early here only fills the flight queue.
            sleep_until(free.checked_sub(TIMER_SLACK).unwrap_or(free)).await;
        }
        // The end arrives one way after it was seen.
        let end = free.max(Instant::now()) + shape.one_way();
        let _ = flight.send((end, Vec::new())).await;
    };
    let land = async move {
        while let Some((arrival, bytes)) = landing.recv().await {
            wait_until(arrival, shape.exact).await;
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        // Nobody is left to be told.
        let _ = to.shutdown().await;
    };
    tokio::pin!(leave, land);
    tokio::select! {
        () = &mut leave => land.await,
        () = &mut land => {}
    }
}

async fn wait_until(time: Instant, exact: bool) {
    if !exact {
        return sleep_until(time).await;
    }
    if time > Instant::now() + TIMER_SLACK {
        sleep_until(time - TIMER_SLACK).await;
    }
    while Instant::now() < time {
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_written() {
        let cases = [
            ("100mbit,40ms", 1e8, Duration::from_millis(40)),
            ("1.5gbit, 300us", 1.5e9, Duration::from_micros(300)),
            ("64kbit,1s", 64e3, Duration::from_secs(1)),
            ("100mbit,0ms", 1e8, Duration::ZERO),
        ];
        for (text, rate, time) in cases {
            let shape: LinkShape = text.parse().unwrap();
            assert_eq!((shape.bits_per_second(), shape.round_trip()), (rate, time), "{text}");
            assert_eq!(shape.to_string().parse::<LinkShape>().unwrap(), shape);
        }
    }

    #[test]
    fn what_is_no_link_is_refused_with_an_example() {
        for text in [
            "",
            "100mbit",
            "40ms,100mbit",
            "0mbit,1ms",
            "-1mbit,1ms",
            "infmbit,1ms",
            "1e3mbit,1ms",
            "1mbit,61s",
        ] {
            let e = text.parse::<LinkShape>().unwrap_err();
            assert!(e.to_string().contains("100mbit,40ms"), "{text}: {e}");
        }
    }

    fn paused(text: &str) -> LinkShape {
        LinkShape { exact: false, ..text.parse().unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_half_the_round_trip_plus_their_time_on_the_line() {
        let (a, mut b) = duplex(1 << 20);
        let mut near = shaped(a, paused("8mbit,40ms")).unwrap();
        // 8 Mbit/s is 1 byte per microsecond: 30,000 bytes leave in 30 ms, and arrive 20 ms later.
        let start = Instant::now();
        near.write_all(&[7; 30_000]).await.unwrap();
        let mut all = vec![0; 30_000];
        b.read_exact(&mut all[..1]).await.unwrap();
        let first = start.elapsed();
        b.read_exact(&mut all[1..]).await.unwrap();
        let last = start.elapsed();
        assert!(first >= Duration::from_millis(20) && first < Duration::from_millis(40), "{first:?}");
        assert!(last >= Duration::from_millis(50) && last < Duration::from_millis(53), "{last:?}");
        // Back, over the same shaper.
        let start = Instant::now();
        b.write_all(&[1]).await.unwrap();
        near.read_u8().await.unwrap();
        let back = start.elapsed();
        assert!(back >= Duration::from_millis(20) && back < Duration::from_millis(23), "{back:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_met_over_many_pieces() {
        let (a, mut b) = duplex(1 << 20);
        let mut near = shaped(a, paused("8mbit,0ms")).unwrap();
        let start = Instant::now();
        let sender = tokio::spawn(async move {
            near.write_all(&vec![7; 1_000_000]).await.unwrap();
            near.shutdown().await.unwrap();
        });
        let mut all = Vec::new();
        b.read_to_end(&mut all).await.unwrap();
        sender.await.unwrap();
        let took = start.elapsed();
        assert_eq!(all.len(), 1_000_000);
        assert!(took >= Duration::from_millis(1000) && took < Duration::from_millis(1010), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_stream_arrives_behind_the_bytes() {
        let (a, mut b) = duplex(64);
        let mut near = shaped(a, paused("8mbit,10ms")).unwrap();
        near.write_all(b"last").await.unwrap();
        drop(near);
        let mut all = Vec::new();
        b.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"last");
    }
}
