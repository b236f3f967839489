//! Signs of life of a server at work: when they come, what they are good for, and what not.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod common;

use common::{LONG, client_of, options};
use oblivia_net::frame::{HEADER_BYTES, heartbeat};
use oblivia_net::{ConnectOptions, LinkOptions, Server, SessionIo, StreamWire, TlsWire, connect};
use oblivia_protocol::{Error, Expect, Kind, LinkError, Wire};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

/// What a client of these tests takes for silence; many times [`BEAT`].
const IDLE: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(50);

/// A server that answers one message when it is told to, its session's thread blocked meanwhile as by computing.
fn at_work(beat: Option<Duration>) -> (Server, Sender<()>, Receiver<Result<(), LinkError>>) {
    let (release, told) = channel::<()>();
    let (tell, hear) = channel();
    let told = Arc::new(Mutex::new((told, tell)));
    let mut options = options();
    options.limits.heartbeat = beat;
    options.limits.idle_timeout = IDLE;
    let handler = move |mut io: SessionIo| {
        let told = told.clone();
        async move {
            let asked = io.wire.recv(Expect::exactly(Kind::Hello, 1)).await;
            {
                let told = told.lock().unwrap();
                told.1.send(asked.clone().map(|_| ())).unwrap();
                asked?;
                told.0.recv_timeout(LONG).unwrap();
            }
            io.wire.send(Kind::Offer, vec![7; 100]).await?;
            io.wire.finish().await?;
            Ok::<(), Error>(())
        }
    };
    (Server::bind(options, handler).unwrap(), release, hear)
}

async fn dial(server: &Server, link: LinkOptions) -> TlsWire {
    let options = ConnectOptions { timeout: LONG, link, ..ConnectOptions::default() };
    connect(&server.local_addr().to_string(), &client_of(server), &options).await.unwrap()
}

async fn answer(wire: &mut dyn Wire) -> Result<Vec<u8>, LinkError> {
    wire.recv(Expect::exactly(Kind::Offer, 100)).await
}

#[tokio::test]
async fn a_server_at_work_for_longer_than_silence_is_borne_gets_its_answer_through() {
    let (server, release, _hear) = at_work(Some(BEAT));
    let mut wire = dial(&server, LinkOptions { idle_timeout: IDLE, ..LinkOptions::default() }).await;
    wire.send(Kind::Hello, vec![1]).await.unwrap();
    let later = async {
        sleep(3 * IDLE).await;
        release.send(()).unwrap();
    };
    let (answer, ()) = tokio::join!(answer(&mut wire), later);
    assert_eq!(answer, Ok(vec![7; 100]));
}

#[tokio::test]
async fn without_heartbeats_it_is_taken_for_gone() {
    let (server, release, _hear) = at_work(None);
    let mut wire = dial(&server, LinkOptions { idle_timeout: IDLE, ..LinkOptions::default() }).await;
    wire.send(Kind::Hello, vec![1]).await.unwrap();
    assert_eq!(answer(&mut wire).await, Err(LinkError::TimedOut { millis: 1000, during: "a message" }));
    release.send(()).unwrap();
}

#[tokio::test]
async fn heartbeats_alone_keep_a_client_waiting_no_longer_than_it_allows() {
    let (server, release, _hear) = at_work(Some(BEAT));
    let link = LinkOptions { idle_timeout: IDLE, max_wait: 2 * IDLE, ..LinkOptions::default() };
    let mut wire = dial(&server, link).await;
    wire.send(Kind::Hello, vec![1]).await.unwrap();
    let overdue = LinkError::Overdue { millis: 2000, during: "a message" };
    assert_eq!(answer(&mut wire).await, Err(overdue.clone()));
    release.send(()).unwrap();
    assert_eq!(answer(&mut wire).await, Err(overdue), "and stays so");
}

#[tokio::test]
async fn two_ends_that_wait_for_each_other_show_no_life_and_time_out() {
    let (server, release, _hear) = at_work(Some(Duration::from_millis(1)));
    let mut wire = dial(&server, LinkOptions { idle_timeout: IDLE / 2, ..LinkOptions::default() }).await;
    assert_eq!(answer(&mut wire).await, Err(LinkError::TimedOut { millis: 500, during: "a message" }));
    drop(release);
}

#[tokio::test]
async fn heartbeats_of_a_client_do_not_keep_its_seat() {
    let (server, release, hear) = at_work(Some(BEAT));
    let link = LinkOptions { heartbeat: Some(BEAT), ..LinkOptions::default() };
    let _wire = dial(&server, link).await;
    let end = tokio::task::spawn_blocking(move || hear.recv_timeout(LONG)).await.unwrap().unwrap();
    assert_eq!(end, Err(LinkError::Overdue { millis: 1000, during: "a message" }));
    drop(release);
}

#[tokio::test]
async fn a_flood_of_heartbeats_does_not_keep_a_receiver_for_ever() {
    let (near, mut far) = duplex(100);
    let wait = Duration::from_millis(100);
    let options = LinkOptions { idle_timeout: wait, max_wait: 2 * wait, ..LinkOptions::default() };
    let mut near = StreamWire::new(near, &options).unwrap();
    let flood = tokio::spawn(async move { while far.write_all(&heartbeat(0)).await.is_ok() {} });
    let end = tokio::time::timeout(LONG, answer(&mut near)).await.unwrap();
    assert_eq!(end, Err(LinkError::Overdue { millis: 200, during: "a message" }));
    flood.abort();
}

/// The next header from `far`, and the seconds since `start`.
async fn header(far: &mut DuplexStream, start: Instant) -> ([u8; HEADER_BYTES], u64) {
    let mut header = [0; HEADER_BYTES];
    far.read_exact(&mut header).await.unwrap();
    (header, start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn they_come_at_a_fixed_interval_after_what_was_sent_last_whatever_it_was() {
    for body in [vec![], vec![255; 5000]] {
        let (near, mut far) = duplex(1 << 20);
        let beat = Some(Duration::from_secs(15));
        let mut near =
            StreamWire::new(near, &LinkOptions { heartbeat: beat, ..LinkOptions::default() }).unwrap();
        let start = Instant::now();
        assert_eq!(header(&mut far, start).await, (heartbeat(0), 15));
        assert_eq!(header(&mut far, start).await, (heartbeat(0), 30));
        sleep(Duration::from_secs(10)).await;
        near.send(Kind::System(3), body.clone()).await.unwrap();
        assert_eq!(header(&mut far, start).await.1, 40);
        far.read_exact(&mut vec![0; body.len()]).await.unwrap();
        assert_eq!(header(&mut far, start).await, (heartbeat(1), 55));
        // Two turns pass while it waits itself, the third does not.
        let wait = tokio::time::timeout(Duration::from_secs(40), answer(&mut near));
        assert!(wait.await.is_err());
        assert_eq!(header(&mut far, start).await, (heartbeat(1), 100));
        near.finish().await.unwrap();
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
