//! One link over TLS over loopback: queues, bounds, timeouts, ends.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod common;

use common::{LONG, client_of, dial, echo, greeting, options, round};
use oblivia_net::{ConnectOptions, LinkOptions, Server, SessionIo, StreamWire, connect};
use oblivia_protocol::{Error, Expect, Kind, LinkError, Notice, Wire};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// A server whose sessions do `serve` and report how it ended.
fn reporting<R>(
    serve: impl Fn(SessionIo) -> R + Send + Sync + Copy + 'static,
) -> (Server, Receiver<Result<(), LinkError>>)
where
    R: Future<Output = Result<(), LinkError>> + Send + 'static,
{
    let (tell, hear) = channel();
    let tell = std::sync::Arc::new(Mutex::new(tell));
    let handler = move |io: SessionIo| {
        let tell = tell.clone();
        async move {
            let result = serve(io).await;
            tell.lock().unwrap().send(result.clone()).unwrap();
            Ok::<(), Error>(result?)
        }
    };
    (Server::bind(options(), handler).unwrap(), hear)
}

#[tokio::test]
async fn messages_of_every_size_come_back() {
    let server = Server::bind(options(), echo).unwrap();
    let mut wire = dial(&server).await.unwrap();
    greeting(&mut wire).await.unwrap();
    for size in [1, 11, 16_372, 16_373, 65_524, 65_525, 65_536, 1_000_003] {
        let body: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
        round(&mut wire, &body).await.unwrap();
    }
    wire.send(Kind::System(0), vec![]).await.unwrap();
    wire.finish().await.unwrap();
    // The server closed in order.
    let e = wire.recv(Expect::at_most(Kind::System(0), 9)).await.unwrap_err();
    assert!(matches!(e, LinkError::Closed { .. }), "{e}");
}

#[tokio::test]
async fn two_parties_that_both_send_far_more_than_a_socket_holds_before_they_receive_do_not_deadlock() {
    const EACH: usize = 40 << 20;
    async fn both(mut io: SessionIo) -> Result<(), LinkError> {
        for _ in 0..3 {
            io.wire.send(Kind::System(1), vec![5; EACH]).await?;
        }
        for _ in 0..3 {
            io.wire.recv(Expect::exactly(Kind::System(1), EACH)).await?;
        }
        io.wire.finish().await
    }
    let (server, hear) = reporting(both);
    let mut wire = dial(&server).await.unwrap();
    for _ in 0..3 {
        wire.send(Kind::System(1), vec![6; EACH]).await.unwrap();
    }
    for _ in 0..3 {
        let body = wire.recv(Expect::exactly(Kind::System(1), EACH)).await.unwrap();
        assert!(body.iter().all(|b| *b == 5));
    }
    wire.finish().await.unwrap();
    hear.recv_timeout(LONG).unwrap().unwrap();
}

#[tokio::test]
async fn a_full_queue_makes_send_wait_and_a_peer_that_does_not_read_makes_it_time_out() {
    let (near, _far) = duplex(1000);
    let options = LinkOptions {
        idle_timeout: Duration::from_secs(1),
        max_queued_bytes: 10_000,
        ..LinkOptions::default()
    };
    let mut wire = StreamWire::new(near, &options).unwrap();
    wire.send(Kind::System(0), vec![0; 9_000]).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(50), wire.send(Kind::System(0), vec![0; 9_000]));
    assert!(waiting.await.is_err(), "the second message must wait");
    let e = wire.send(Kind::System(0), vec![0; 9_000]).await.unwrap_err();
    assert!(matches!(e, LinkError::TimedOut { millis: 1000, during: "the peer to read" }), "{e}");
}

#[tokio::test]
async fn a_queue_that_empties_lets_send_go_on() {
    let options = LinkOptions { max_queued_bytes: 10_000, ..LinkOptions::default() };
    let (near, far) = duplex(100);
    let mut near = StreamWire::new(near, &options).unwrap();
    let mut far = StreamWire::new(far, &options).unwrap();
    let sender = tokio::spawn(async move {
        for i in 0..50u8 {
            near.send(Kind::System(i), vec![i; 9_000]).await?;
        }
        // One message may be larger than the queue.
        near.send(Kind::System(9), vec![1; 50_000]).await?;
        near.finish().await
    });
    for i in 0..50u8 {
        assert_eq!(far.recv(Expect::exactly(Kind::System(i), 9_000)).await.unwrap(), [i; 9_000]);
    }
    far.recv(Expect::exactly(Kind::System(9), 50_000)).await.unwrap();
    sender.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_silent_peer_times_out_and_the_message_says_how_long() {
    let server = Server::bind(options(), echo).unwrap();
    let options = ConnectOptions {
        link: LinkOptions { idle_timeout: Duration::from_secs(1), ..LinkOptions::default() },
        ..ConnectOptions::default()
    };
    let address = server.local_addr().to_string();
    let mut wire = connect(&address, &client_of(&server), &options).await.unwrap();
    greeting(&mut wire).await.unwrap();
    let e = wire.recv(Expect::at_most(Kind::System(0), 9)).await.unwrap_err();
    assert_eq!(e, LinkError::TimedOut { millis: 1000, during: "a message" });
    // It stays so, even when an answer comes after all.
    wire.send(Kind::System(0), vec![1]).await.unwrap();
    assert_eq!(wire.recv(Expect::at_most(Kind::System(0), 9)).await, Err(e));
}

#[tokio::test]
async fn a_receive_that_is_given_up_half_way_can_be_taken_up_again() {
    let (near, far) = duplex(100);
    let options = LinkOptions::default();
    let mut near = StreamWire::new(near, &options).unwrap();
    let mut far = StreamWire::new(far, &options).unwrap();
    let body: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    near.send(Kind::System(0), body.clone()).await.unwrap();
    let expect = Expect::exactly(Kind::System(0), body.len());
    let mut given_up = 0;
    let received = loop {
        // Yields a few times, then gives up: some receives end in the middle of a body.
        let patience = async {
            for _ in 0..40 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            body = far.recv(expect) => break body.unwrap(),
            () = patience => given_up += 1,
        }
    };
    assert_eq!(received, body);
    assert!(given_up > 10, "{given_up}");
}

#[tokio::test]
async fn an_oversize_an_undersize_and_an_unexpected_message_are_refused_by_the_receiver() {
    let cases = [
        (Expect::at_most(Kind::System(0), 99), "100 bytes"),
        (Expect::exactly(Kind::System(0), 101), "100 bytes"),
        (Expect::at_most(Kind::System(9), 1000), "System(9)"),
    ];
    for (expect, part) in cases {
        let server = Server::bind(options(), echo).unwrap();
        let mut wire = dial(&server).await.unwrap();
        greeting(&mut wire).await.unwrap();
        wire.send(Kind::System(0), vec![0; 100]).await.unwrap();
        for _ in 0..2 {
            let e = wire.recv(expect).await.unwrap_err();
            assert!(e.to_string().contains(part), "{e}");
        }
    }
}

#[tokio::test]
async fn the_links_own_bound_refuses_what_the_session_would_take() {
    let mut options = options();
    options.limits.max_message_bytes = 1000;
    let server = Server::bind(options, echo).unwrap();
    let mut wire = dial(&server).await.unwrap();
    greeting(&mut wire).await.unwrap();
    round(&mut wire, &[1; 1000]).await.unwrap();
    assert!(matches!(round(&mut wire, &[1; 1001]).await, Err(LinkError::Closed { .. })));
}

#[tokio::test]
async fn an_abort_reaches_a_peer_that_is_still_sending() {
    async fn refuse(mut io: SessionIo) -> Result<(), LinkError> {
        // Dropping the wire at once, with megabytes of the client still on their way.
        io.wire.send(Kind::Abort, vec![2]).await
    }
    let (server, hear) = reporting(refuse);
    let mut wire = dial(&server).await.unwrap();
    let mut result = Ok(());
    for _ in 0..20 {
        result = wire.send(Kind::System(0), vec![0; 4 << 20]).await;
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        result = wire.recv(Expect::at_most(Kind::Offer, 64)).await.map(|_| ());
    }
    assert_eq!(result, Err(LinkError::Aborted(Notice::Refused)));
    hear.recv_timeout(LONG).unwrap().unwrap();
}

#[tokio::test]
async fn a_send_that_fails_brings_the_peers_reason() {
    async fn refuse(mut io: SessionIo) -> Result<(), LinkError> {
        io.wire.send(Kind::Abort, vec![2]).await
    }
    let (server, hear) = reporting(refuse);
    let options = ConnectOptions {
        link: LinkOptions { max_queued_bytes: 1 << 20, idle_timeout: LONG, ..LinkOptions::default() },
        ..ConnectOptions::default()
    };
    let address = server.local_addr().to_string();
    let mut wire = connect(&address, &client_of(&server), &options).await.unwrap();
    let reason = loop {
        if let Err(e) = wire.send(Kind::System(0), vec![0; 1 << 20]).await {
            break e;
        }
    };
    assert_eq!(reason, LinkError::Aborted(Notice::Refused));
    hear.recv_timeout(LONG).unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_link_still_takes_what_the_peer_sends_for_a_while_and_then_closes() {
    let (near, mut far) = duplex(100);
    let near = StreamWire::new(near, &LinkOptions::default()).unwrap();
    drop(near);
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "the sending side is closed");
    far.write_all(&[0; 10_000]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(far.write_all(&[0; 10_000]).await.is_err());
}

async fn receive(mut io: SessionIo) -> Result<(), LinkError> {
    io.wire.recv(Expect::at_most(Kind::System(0), 1 << 28)).await.map(|_| ())
}

#[test]
fn a_client_killed_in_the_middle_of_a_message_is_closed_at_the_server_and_takes_nothing_down() {
    let (server, hear) = reporting(receive);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let wire = runtime.block_on(async {
        let mut wire = dial(&server).await.unwrap();
        wire.send(Kind::System(0), vec![0; 256 << 20]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        wire
    });
    // The runtime dies first: nothing is flushed, nothing is closed in order.
    runtime.shutdown_background();
    drop(wire);
    let e = hear.recv_timeout(LONG).unwrap().unwrap_err();
    assert_eq!(e, LinkError::Closed { during: "in the middle of a message" });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut wire = dial(&server).await.unwrap();
        wire.send(Kind::System(0), vec![0; 10]).await.unwrap();
        wire.finish().await.unwrap();
    });
    hear.recv_timeout(LONG).unwrap().unwrap();
}

#[tokio::test]
async fn what_was_queued_still_leaves_when_the_link_is_dropped() {
    let (server, hear) = reporting(receive);
    let mut wire = dial(&server).await.unwrap();
    wire.send(Kind::System(0), vec![0; 30 << 20]).await.unwrap();
    drop(wire);
    tokio::task::spawn_blocking(move || hear.recv_timeout(LONG).unwrap().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_stream_cut_anywhere_is_closed() {
    // Header, body and end of a frame, without TLS: the stream link itself.
    let frame = [&[0, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0][..], b"abc"].concat();
    for end in 0..frame.len() {
        let (near, mut far) = duplex(100);
        let mut near = StreamWire::new(near, &LinkOptions::default()).unwrap();
        far.write_all(&frame[..end]).await.unwrap();
        drop(far);
        let e = near.recv(Expect::at_most(Kind::System(0), 9)).await.unwrap_err();
        assert!(matches!(e, LinkError::Closed { .. }), "{end}: {e}");
    }
}

#[test]
fn a_stream_link_outside_a_runtime_is_an_error_and_no_panic() {
    let (near, _far) = duplex(100);
    assert!(StreamWire::new(near, &LinkOptions::default()).is_err());
}
