//! Sessions on threads, limits, shutdown.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod common;

use common::{LONG, client_of, dial, echo, greeting, options, round};
use oblivia_net::{
    ClientTls, ConnectOptions, Error as NetError, LinkOptions, Server, SessionIo, TlsWire, connect,
};
use oblivia_protocol::{Error, Expect, Kind, LinkError, Notice, Wire};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

#[test]
fn sessions_run_at_once_each_on_its_own_thread() {
    // Every handler blocks its thread until all eight are there.
    let barrier = Arc::new(Barrier::new(8));
    let threads = Arc::new(Mutex::new(Vec::new()));
    let seen = threads.clone();
    let server = Server::bind(options(), move |io: SessionIo| {
        let (barrier, seen) = (barrier.clone(), seen.clone());
        async move {
            barrier.wait();
            seen.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
            echo(io).await
        }
    })
    .unwrap();
    runtime().block_on(async {
        let mut clients = Vec::new();
        for i in 0..8u8 {
            let mut wire = dial(&server).await.unwrap();
            clients.push(tokio::spawn(async move {
                greeting(&mut wire).await.unwrap();
                for j in 0..20 {
                    round(&mut wire, &vec![i; 1000 * (j + 1)]).await.unwrap();
                }
                wire.send(Kind::System(0), vec![]).await.unwrap();
                wire.finish().await.unwrap();
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
    });
    let mut names = threads.lock().unwrap().clone();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 8, "{names:?}");
    wait_until("the sessions to end", || server.sessions() == 0);
    assert_eq!(server.memory().used_bytes(), 0);
}

#[test]
fn a_client_too_many_is_told_busy_and_gets_in_when_a_place_is_free() {
    let mut options = options();
    options.limits.max_sessions = 2;
    let server = Server::bind(options, echo).unwrap();
    let runtime = runtime();
    let mut inside = runtime.block_on(async {
        let mut wires = Vec::new();
        for _ in 0..2 {
            let mut wire = dial(&server).await.unwrap();
            greeting(&mut wire).await.unwrap();
            wires.push(wire);
        }
        for _ in 0..3 {
            let mut wire = dial(&server).await.unwrap();
            // Even with a message of ours on its way.
            let _ = wire.send(Kind::Hello, vec![0; 100_000]).await;
            assert_eq!(greeting(&mut wire).await, Err(LinkError::Aborted(Notice::Busy)));
        }
        wires
    });
    assert_eq!(server.sessions(), 2);
    let leaving = inside.pop();
    runtime.block_on(async { drop(leaving) });
    wait_until("a free place", || server.sessions() == 1);
    runtime.block_on(async {
        let mut wire = dial(&server).await.unwrap();
        greeting(&mut wire).await.unwrap();
        round(&mut wire, b"in").await.unwrap();
        for wire in &mut inside {
            round(wire, b"still here").await.unwrap();
        }
    });
}

#[test]
fn a_panic_ends_its_session_and_no_other() {
    let server = Server::bind(options(), |mut io: SessionIo| async move {
        let body = io.wire.recv(Expect::at_most(Kind::Hello, 9)).await?;
        assert!(body.is_empty(), "a bug in a handler");
        io.wire.send(Kind::Offer, vec![0; 64]).await?;
        Ok(())
    })
    .unwrap();
    runtime().block_on(async {
        let mut good = dial(&server).await.unwrap();
        let mut bad = dial(&server).await.unwrap();
        bad.send(Kind::Hello, vec![1]).await.unwrap();
        assert!(matches!(greeting(&mut bad).await, Err(LinkError::Closed { .. })));
        good.send(Kind::Hello, vec![]).await.unwrap();
        greeting(&mut good).await.unwrap();
    });
    wait_until("the sessions to end", || server.sessions() == 0);
}

#[test]
fn bodies_and_handlers_share_one_memory_budget_and_an_excess_fails_one_session_only() {
    let mut options = options();
    options.limits.max_memory_bytes = 1_000_000;
    let server = Server::bind(options, |mut io: SessionIo| async move {
        io.wire.send(Kind::Offer, vec![0; 64]).await?;
        let body = io.wire.recv(Expect::at_most(Kind::Hello, 1 << 28)).await?;
        let room = io.memory.reserve(body.len() as u64).map_err(|e| Error::Refused { why: e.to_string() });
        let answer = u8::from(room.is_ok());
        io.wire.send(Kind::Offer, vec![answer; 64]).await?;
        // Holds both until the client says so.
        io.wire.recv(Expect::exactly(Kind::System(9), 0)).await?;
        Ok(())
    })
    .unwrap();
    runtime().block_on(async {
        let mut first = dial(&server).await.unwrap();
        greeting(&mut first).await.unwrap();
        first.send(Kind::Hello, vec![0; 400_000]).await.unwrap();
        assert_eq!(greeting(&mut first).await.unwrap()[0], 1);
        assert_eq!(server.memory().used_bytes(), 800_000);
        // 150,000 fit once, not twice; 300,000 do not fit at all.
        for (size, fits) in [(150_000, true), (300_000, false)] {
            let mut wire = dial(&server).await.unwrap();
            greeting(&mut wire).await.unwrap();
            wire.send(Kind::Hello, vec![0; size]).await.unwrap();
            match greeting(&mut wire).await {
                Ok(answer) => assert!(fits && answer[0] == 0),
                Err(e) => assert!(!fits && matches!(e, LinkError::Closed { .. }), "{size}: {e}"),
            }
        }
        first.send(Kind::System(9), vec![]).await.unwrap();
        first.finish().await.unwrap();
    });
    wait_until("the memory to be given back", || server.memory().used_bytes() == 0);
}

#[test]
fn a_session_that_is_silent_for_too_long_is_ended() {
    let mut options = options();
    options.limits.idle_timeout = Duration::from_millis(100);
    let server = Server::bind(options, echo).unwrap();
    runtime().block_on(async {
        let mut wire = dial(&server).await.unwrap();
        greeting(&mut wire).await.unwrap();
        assert!(matches!(greeting(&mut wire).await, Err(LinkError::Closed { .. })));
    });
    wait_until("the session to end", || server.sessions() == 0);
}

#[test]
fn a_session_that_talks_for_longer_than_one_may_is_ended_and_one_that_keeps_both_ends_busy_too() {
    let mut options = options();
    options.limits.max_session_time = Some(Duration::from_millis(300));
    let (sender, receiver) = channel();
    let server = Server::bind(options, move |io: SessionIo| {
        let sender = sender.clone();
        async move {
            let ended = echo(io).await;
            sender.send(ended.as_ref().err().map(ToString::to_string)).unwrap();
            ended
        }
    })
    .unwrap();
    let pauses = [Duration::from_millis(20), Duration::ZERO, LONG];
    for pause in pauses {
        runtime().block_on(async {
            let mut wire = dial(&server).await.unwrap();
            greeting(&mut wire).await.unwrap();
            let talk = async {
                while round(&mut wire, b"and another thing").await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            };
            // Who is silent is not told in time: it is the other end that matters.
            let _ = tokio::time::timeout(LONG / 10, talk).await;
        });
        let why = receiver.recv_timeout(LONG).unwrap().unwrap();
        assert!(why.contains("not over after 300 ms"), "{why}");
    }
}

#[test]
fn who_never_shakes_hands_is_closed_and_who_comes_when_too_many_do_is_closed_at_once() {
    let mut options = options();
    options.limits.handshake_timeout = Duration::from_secs(3);
    options.limits.max_handshakes = 2;
    let server = Server::bind(options, echo).unwrap();
    let mut silent: Vec<_> = (0..2).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    // Half a record header, then nothing.
    silent[0].write_all(&[22, 3]).unwrap();
    let mut third = TcpStream::connect(server.local_addr()).unwrap();
    let ended = |tcp: &mut TcpStream| {
        tcp.set_read_timeout(Some(LONG)).unwrap();
        let mut bytes = Vec::new();
        // Closed, or reset because our bytes were not read.
        let _ = tcp.read_to_end(&mut bytes);
        assert!(bytes.is_empty());
    };
    ended(&mut third);
    silent[0].set_nonblocking(true).unwrap();
    let open = silent[0].read(&mut [0]).unwrap_err();
    assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock, "the others have their time");
    silent[0].set_nonblocking(false).unwrap();
    silent.iter_mut().for_each(ended);
    runtime().block_on(async {
        let mut wire = dial(&server).await.unwrap();
        greeting(&mut wire).await.unwrap();
    });
}

#[test]
fn a_port_in_use_is_named_with_what_to_do_and_port_zero_finds_a_free_one() {
    let first = Server::bind(options(), echo).unwrap();
    assert_ne!(first.local_addr().port(), 0);
    let mut again = options();
    again.listen = first.local_addr();
    let e = Server::bind(again, echo).unwrap_err();
    assert!(matches!(e, NetError::AddressInUse { .. }));
    let text = e.to_string();
    assert!(text.contains(&first.local_addr().to_string()) && text.contains("--listen"), "{text}");
    let mut elsewhere = options();
    elsewhere.listen = "192.0.2.1:0".parse().unwrap(); // TEST-NET-1, no interface has it
    let e = Server::bind(elsewhere, echo).unwrap_err();
    assert!(matches!(e, NetError::Bind { .. }), "{e}");
    // A port is free again as soon as the server is gone.
    let address = first.local_addr();
    first.shutdown();
    let mut again = options();
    again.listen = address;
    wait_until("the port to be free", || Server::bind(again.clone(), echo).is_ok());
}

#[test]
fn shutdown_lets_running_sessions_finish_and_takes_no_new_ones() {
    let server = Server::bind(options(), |mut io: SessionIo| async move {
        io.wire.send(Kind::Offer, vec![0; 64]).await?;
        io.shutdown.wait().await;
        assert!(io.shutdown.requested());
        io.wire.recv(Expect::at_most(Kind::Hello, 9)).await?;
        io.wire.send(Kind::System(9), vec![7]).await?;
        io.wire.finish().await?;
        Ok(())
    })
    .unwrap();
    let runtime = runtime();
    let (address, client) = (server.local_addr().to_string(), client_of(&server));
    let mut wire = runtime.block_on(connect(&address, &client, &ConnectOptions::default())).unwrap();
    runtime.block_on(greeting(&mut wire)).unwrap();
    let stopping = std::thread::spawn(move || server.shutdown());
    wait_until("the listener to close", || TcpStream::connect(&address).is_err());
    runtime.block_on(async {
        let e = connect(&address, &client, &ConnectOptions::default()).await.unwrap_err();
        assert!(e.to_string().contains("is the server running"), "{e}");
        wire.send(Kind::Hello, vec![]).await.unwrap();
        assert_eq!(wire.recv(Expect::at_most(Kind::System(9), 9)).await, Ok(vec![7]));
        wire.finish().await.unwrap();
        drop(wire);
    });
    let report = stopping.join().unwrap();
    assert_eq!((report.ended, report.stuck), (0, 0));
}

#[test]
fn shutdown_ends_what_does_not_finish_in_time_and_says_why_to_both() {
    let (tell, hear) = channel();
    let tell = Arc::new(Mutex::new(tell));
    let mut options = options();
    options.limits.shutdown_grace = Duration::from_millis(50);
    let server = Server::bind(options, move |mut io: SessionIo| {
        let tell = tell.clone();
        async move {
            io.wire.send(Kind::Offer, vec![0; 64]).await?;
            let result = io.wire.recv(Expect::at_most(Kind::Hello, 9)).await;
            tell.lock().unwrap().send(result).unwrap();
            Ok(())
        }
    })
    .unwrap();
    let runtime = runtime();
    let mut wire = runtime.block_on(dial(&server)).unwrap();
    runtime.block_on(greeting(&mut wire)).unwrap();
    let stopping = std::thread::spawn(move || server.shutdown());
    let heard = runtime.block_on(greeting(&mut wire));
    assert_eq!(heard, Err(LinkError::Aborted(Notice::ShuttingDown)));
    runtime.block_on(async { drop(wire) });
    assert!(hear.recv_timeout(LONG).unwrap().is_err());
    let report = stopping.join().unwrap();
    assert_eq!((report.ended, report.stuck), (1, 0));
}

#[test]
fn shutdown_does_not_wait_for_a_session_that_computes_for_ever() {
    let (release, hold) = channel::<()>();
    let hold = Arc::new(Mutex::new(hold));
    let mut options = options();
    options.limits.shutdown_grace = Duration::from_millis(50);
    let server = Server::bind(options, move |mut io: SessionIo| {
        let hold = hold.clone();
        async move {
            io.wire.send(Kind::Offer, vec![0; 64]).await?;
            let _ = hold.lock().unwrap().recv();
            Ok(())
        }
    })
    .unwrap();
    let runtime = runtime();
    let mut wire = runtime.block_on(dial(&server)).unwrap();
    runtime.block_on(greeting(&mut wire)).unwrap();
    let stopping = std::thread::spawn(move || server.shutdown());
    // Its client is told all the same: the link does not need the session's thread.
    let heard = runtime.block_on(greeting(&mut wire));
    assert_eq!(heard, Err(LinkError::Aborted(Notice::ShuttingDown)));
    let report = stopping.join().unwrap();
    assert_eq!((report.ended, report.stuck), (1, 1));
    drop(release);
}

#[tokio::test]
async fn a_server_dropped_inside_a_runtime_ends_its_links() {
    let server = Server::bind(options(), echo).unwrap();
    let mut wire = dial(&server).await.unwrap();
    greeting(&mut wire).await.unwrap();
    drop(server);
    assert!(greeting(&mut wire).await.is_err());
}

#[test]
fn a_shaped_client_still_gets_its_answers() {
    let server = Server::bind(options(), echo).unwrap();
    runtime().block_on(async {
        let options = ConnectOptions {
            shape: Some("200mbit,4ms".parse().unwrap()),
            link: LinkOptions { idle_timeout: LONG, ..LinkOptions::default() },
            ..ConnectOptions::default()
        };
        let address = server.local_addr().to_string();
        let mut wire = connect(&address, &client_of(&server), &options).await.unwrap();
        greeting(&mut wire).await.unwrap();
        round(&mut wire, &[3; 300_000]).await.unwrap();
        wire.send(Kind::System(0), vec![]).await.unwrap();
        wire.finish().await.unwrap();
    });
    wait_until("the session to end", || server.sessions() == 0);
}

/// A client with this identity, if the server takes it.
async fn session_of(server: &Server, client: &ClientTls) -> Result<TlsWire, LinkError> {
    let mut wire = connect(&server.local_addr().to_string(), client, &ConnectOptions::default()).await?;
    greeting(&mut wire).await?;
    Ok(wire)
}

#[test]
fn one_client_cannot_take_all_sessions_and_gets_in_again_when_one_of_its_own_ends() {
    let mut options = options();
    options.limits.max_sessions_per_client = 2;
    let server = Server::bind(options, echo).unwrap();
    let (greedy, other) = (client_of(&server), client_of(&server));
    runtime().block_on(async {
        let mut held =
            vec![session_of(&server, &greedy).await.unwrap(), session_of(&server, &greedy).await.unwrap()];
        let busy = Some(LinkError::Aborted(Notice::Busy));
        assert_eq!(session_of(&server, &greedy).await.err(), busy);
        round(&mut session_of(&server, &other).await.unwrap(), b"of another client").await.unwrap();
        let mut leaving = held.remove(0);
        leaving.send(Kind::System(0), vec![]).await.unwrap();
        leaving.finish().await.unwrap();
        drop(leaving);
        let start = Instant::now();
        while session_of(&server, &greedy).await.err() == busy {
            assert!(start.elapsed() < LONG, "a place of its own is free");
        }
        round(&mut held[0], b"still here").await.unwrap();
    });
}

#[test]
fn one_address_cannot_take_all_sessions_whatever_keys_it_has() {
    let mut options = options();
    options.limits.max_sessions_per_address = 3;
    let server = Server::bind(options, echo).unwrap();
    runtime().block_on(async {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(session_of(&server, &client_of(&server)).await.unwrap());
        }
        let e = session_of(&server, &client_of(&server)).await.unwrap_err();
        assert_eq!(e, LinkError::Aborted(Notice::Busy));
        round(&mut held[2], b"still here").await.unwrap();
        assert_eq!(server.sessions(), 3);
    });
}

#[test]
fn one_address_cannot_take_all_handshakes() {
    let mut options = options();
    options.limits.handshake_timeout = LONG;
    options.limits.max_handshakes_per_address = 2;
    let server = Server::bind(options, echo).unwrap();
    let silent: Vec<_> = (0..2).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    let mut third = TcpStream::connect(server.local_addr()).unwrap();
    third.set_read_timeout(Some(LONG)).unwrap();
    let start = Instant::now();
    // Closed, or reset.
    assert_eq!(third.read(&mut [0]).unwrap_or(0), 0);
    assert!(start.elapsed() < LONG, "it is closed at once");
    drop(silent);
    wait_until("room for a handshake", || {
        runtime().block_on(session_of(&server, &client_of(&server))).is_ok()
    });
}

/// How long a server waits for each 64 KiB where a test is about the pace of whole messages. A machine with much else to
/// do leaves a client without a turn for seconds; that is silence, and ends a session for another reason.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the server's side of a session ends whose client sends two mebibytes over a link of 200 KiB/s, on which 64 KiB
/// take a third of a second.
fn ends_with(min_bytes_per_second: u64, bytes: usize) -> (Result<usize, LinkError>, Duration) {
    let (tell, hear) = channel();
    let tell = Arc::new(Mutex::new(tell));
    let mut options = options();
    options.limits.idle_timeout = PATIENCE;
    options.limits.min_bytes_per_second = min_bytes_per_second;
    let server = Server::bind(options, move |mut io: SessionIo| {
        let tell = tell.clone();
        async move {
            io.wire.send(Kind::Offer, vec![0; 64]).await?;
            let body = io.wire.recv(Expect::at_most(Kind::System(0), 1 << 28)).await;
            tell.lock().unwrap().send(body.map(|b| b.len())).unwrap();
            Ok(())
        }
    })
    .unwrap();
    let client = client_of(&server);
    let link = ConnectOptions { shape: Some("1638.4kbit,0ms".parse().unwrap()), ..ConnectOptions::default() };
    runtime().block_on(async {
        let mut wire = connect(&server.local_addr().to_string(), &client, &link).await.unwrap();
        greeting(&mut wire).await.unwrap();
        let start = Instant::now();
        wire.send(Kind::System(0), vec![7; bytes]).await.unwrap();
        let end = tokio::task::spawn_blocking(move || hear.recv_timeout(LONG).unwrap()).await.unwrap();
        (end, start.elapsed())
    })
}

#[test]
fn a_peer_that_trickles_is_ended_although_it_is_never_silent() {
    let (end, after) = ends_with(4 << 20, 2 << 20);
    assert_eq!(end, Err(LinkError::TooSlow { bytes_per_second: 4 << 20, during: "sending a message" }));
    // One wait and half a second for two of four mebibytes; the whole message would take ten seconds.
    assert!(after >= PATIENCE + Duration::from_millis(400), "{after:?}");
    for rate in [0, 16 << 10] {
        assert_eq!(ends_with(rate, 300_000).0, Ok(300_000));
    }
}

#[test]
fn a_peer_that_takes_a_message_too_slowly_is_ended() {
    let (tell, hear) = channel();
    let tell = Arc::new(Mutex::new(tell));
    let mut options = options();
    options.limits.idle_timeout = PATIENCE;
    options.limits.min_bytes_per_second = 64 << 20;
    let server = Server::bind(options, move |mut io: SessionIo| {
        let tell = tell.clone();
        async move {
            io.wire.send(Kind::Offer, vec![0; 64]).await?;
            io.wire.send(Kind::System(0), vec![0; 32 << 20]).await?;
            let end = io.wire.finish().await;
            tell.lock().unwrap().send(end).unwrap();
            Ok(())
        }
    })
    .unwrap();
    let client = client_of(&server);
    let link = ConnectOptions { shape: Some("20mbit,0ms".parse().unwrap()), ..ConnectOptions::default() };
    let end = runtime().block_on(async {
        let mut wire = connect(&server.local_addr().to_string(), &client, &link).await.unwrap();
        greeting(&mut wire).await.unwrap();
        let cut = wire.recv(Expect::at_most(Kind::System(0), 1 << 28)).await;
        assert!(cut.is_err());
        tokio::task::spawn_blocking(move || hear.recv_timeout(LONG).unwrap()).await.unwrap()
    });
    assert_eq!(end, Err(LinkError::TooSlow { bytes_per_second: 64 << 20, during: "reading a message" }));
}
