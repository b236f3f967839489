//! Many clients of one server that computes for one session at a time.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use oblivia::{Prediction, Server};
use oblivia_conformance::loopback::{self, At, LONG, check};
use oblivia_conformance::{Case, over_memory, small, small_relu};
use oblivia_net::ConnectOptions;
use oblivia_protocol::{Event, Observer, Wish};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

fn case(inputs: usize) -> Case {
    small_relu("hybrid", Wish::default(), inputs)
}

fn start(case: &Case, state: &Path) -> Server {
    let options = loopback::options(state, loopback::patient());
    let server = Server::start(std::slice::from_ref(&case.model), options).unwrap();
    server.models().prepare(&case.model.public.name, case.system).unwrap();
    server
}

/// A new client asks for the answers of a case.
fn ask(at: &At, case: &Case, observer: &mut dyn Observer) -> Result<Prediction, oblivia::Error> {
    let state = tempfile::tempdir().unwrap();
    let client = at.client(state.path(), ConnectOptions::default());
    loopback::ask(&client, case, case.inputs.len(), None, observer)
}

/// Calls a function with every event.
struct Tell<F>(F);

impl<F: FnMut(&Event<'_>) + Send> Observer for Tell<F> {
    fn on(&mut self, event: Event<'_>) {
        (self.0)(&event);
    }
}

fn quiet() -> Tell<impl FnMut(&Event<'_>) + Send> {
    Tell(|_: &Event<'_>| ())
}

/// Messages of the client behind the agreement in a session of one image.
fn messages() -> u64 {
    over_memory(&case(1), 6).unwrap().messages()[0] as u64 - 2
}

/// Turns that a session with nobody beside it takes.
fn turns_alone(images: usize) -> u64 {
    let (case, state) = (case(images), tempfile::tempdir().unwrap());
    let server = start(&case, state.path());
    check(&case, &ask(&At::of(&server), &case, &mut quiet()).unwrap());
    assert_eq!(server.turns().longest_wait, 0);
    server.turns().granted
}

#[test]
fn every_message_of_a_session_ends_a_turn_and_images_take_as_many_each() {
    let [one, two, three] = [1, 2, 3].map(turns_alone);
    assert!(one > messages(), "comparisons take turns as layers do: {one} turns, {} messages", messages());
    assert_eq!(two - one, three - two);
}

#[test]
fn clients_at_once_have_their_own_answers_and_none_waits_for_more_than_a_turn_of_each_other() {
    const CLIENTS: u64 = 5;
    let (case, state) = (case(6), tempfile::tempdir().unwrap());
    let server = start(&case, state.path());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| check(&case, &ask(&At::of(&server), &case, &mut quiet()).unwrap()));
        }
    });
    let turns = server.turns();
    assert_eq!(turns.granted, CLIENTS * turns_alone(6));
    assert!((1..CLIENTS).contains(&turns.longest_wait), "{turns:?}");
    assert_eq!(turns.held, 0);
}

#[test]
fn a_short_session_ends_while_a_long_one_goes_on_and_waits_for_one_turn_of_it_at_a_time() {
    let (long, short, state) = (case(3000), case(1), tempfile::tempdir().unwrap());
    let server = start(&long, state.path());
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (begun, beginning) = mpsc::channel();
        let (to, done) = (At::of(&server), &done);
        let goes_on = scope.spawn(move || {
            let mut count = Tell(|e: &Event<'_>| {
                if matches!(e, Event::SampleDone { .. }) && done.fetch_add(1, Ordering::SeqCst) == 2 {
                    begun.send(()).unwrap();
                }
            });
            ask(&to, &long, &mut count).is_ok()
        });
        beginning.recv().unwrap();
        check(&short, &ask(&At::of(&server), &short, &mut quiet()).unwrap());
        assert!(!goes_on.is_finished() && done.load(Ordering::SeqCst) < 3000);
        let turns = server.turns();
        assert!(turns.longest_wait <= 1, "{turns:?}");
        server.shutdown();
        assert!(!goes_on.join().unwrap(), "it was ended before its time");
    });
}

#[test]
fn a_client_that_stops_in_the_middle_of_an_image_has_no_turn() {
    for case in
        [case(1), small("clear", Wish { accepted_leaks: vec![oblivia::Leak::Input], ..Wish::default() }, 1)]
    {
        let state = tempfile::tempdir().unwrap();
        let server = start(&case, state.path());
        let (case, to) = (&case, At::of(&server));
        let to = &to;
        std::thread::scope(|scope| {
            let (stop, stopped) = mpsc::channel();
            let (go, going) = mpsc::channel::<()>();
            let first = scope.spawn(move || {
                let mut stops = 0;
                let mut wait = Tell(move |e: &Event<'_>| {
                    let middle = matches!(e, Event::Step { done: 2, .. } | Event::SampleStarted(_));
                    if middle {
                        stops += 1;
                        stop.send(stops).unwrap();
                        going.recv().unwrap();
                    }
                });
                ask(to, case, &mut wait).unwrap()
            });
            let places = if case.system == "hybrid" { 2 } else { 1 };
            for _ in 0..places {
                stopped.recv_timeout(LONG).unwrap();
                for _ in 0..2 {
                    check(case, &ask(to, case, &mut quiet()).unwrap());
                }
                while server.sessions() > 1 {
                    std::thread::yield_now();
                }
                // It may have been at work on the last thing it was sent.
                let since = Instant::now();
                while server.turns().held > 0 {
                    assert!(since.elapsed() < LONG, "the silent one has a turn");
                }
                go.send(()).unwrap();
            }
            check(case, &first.join().unwrap());
        });
    }
}
