//! Query budgets over real sessions, whatever the system.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use oblivia::{Ask, Budgets, Client, Error, Input, Leak, Prediction, Quota, ServeOptions, Server};
use oblivia_base::Blame;
use oblivia_conformance::loopback::{self, At, LONG};
use oblivia_conformance::{Case, small, small_relu};
use oblivia_net::ConnectOptions;
use oblivia_protocol::{
    Allowance, Budget, Error as SessionError, Event, LinkError, Notice, Observer, Shortfall, Silent, Wish,
};
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

fn start(case: &Case, state: &Path, budgets: Budgets) -> Server {
    let options = ServeOptions { budgets, ..loopback::options(state, loopback::patient()) };
    // A server that has just ended in this process may hold on to its counts for a moment.
    let since = Instant::now();
    loop {
        match Server::start(std::slice::from_ref(&case.model), options.clone()) {
            Err(Error::Budget { .. }) if since.elapsed() < LONG => std::thread::yield_now(),
            started => return started.unwrap(),
        }
    }
}

fn each(images: u64) -> Budgets {
    Budgets { client: Quota { images: Some(images), images_per_day: None }, ..Budgets::default() }
}

/// The client whose state is in `state`.
fn client(server: &Server, state: &Path) -> Client {
    At::of(server).client(state, ConnectOptions::default())
}

fn ask(
    client: &Client,
    case: &Case,
    images: usize,
    observer: &mut dyn Observer,
) -> Result<Prediction, Error> {
    loopback::ask(client, case, images, None, observer)
}

/// What is left behind a session that is right.
fn right(client: &Client, case: &Case, images: usize) -> Option<Allowance> {
    let found = ask(client, case, images, &mut Silent).unwrap();
    loopback::check(case, &found);
    found.receipt.allowance
}

fn refused(client: &Client, case: &Case, images: usize) -> Shortfall {
    let error = ask(client, case, images, &mut Silent).unwrap_err();
    assert_eq!(error.blame(), Blame::Refused, "{error}");
    let Error::Session(SessionError::Budget(short)) = error else { panic!("{error}") };
    short
}

fn wish(mode: Option<&str>, leak: Option<Leak>) -> Wish {
    Wish { mode: mode.map(str::to_owned), accepted_leaks: leak.into_iter().collect(), ..Wish::default() }
}

#[test]
fn every_system_counts_and_what_was_counted_outlives_the_server() {
    let cases = [
        small("clear", wish(None, Some(Leak::Input)), 1),
        small("leveled", wish(None, None), 1),
        small_relu("hybrid", wish(None, None), 1),
    ];
    for case in &cases {
        let [state, one, other] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let server = start(case, state.path(), each(3));
        let left = |left| Some(Allowance { budget: Budget::Client, images: 3, left });
        assert_eq!(right(&client(&server, one.path()), case, 2), left(1), "{}", case.system);
        let short = Shortfall { budget: Budget::Client, images: 3, used: 2, asked: 2, counted: 2 };
        assert_eq!(refused(&client(&server, one.path()), case, 2), short);
        assert_eq!(right(&client(&server, other.path()), case, 3), left(0), "another client has its own");
        drop(server);
        let server = start(case, state.path(), each(3));
        assert_eq!(refused(&client(&server, one.path()), case, 2), short);
        assert_eq!(right(&client(&server, one.path()), case, 1), left(0));
        assert_eq!(refused(&client(&server, one.path()), case, 1).used, 3);
    }
}

#[test]
fn without_a_budget_nothing_is_counted_and_nothing_is_said() {
    let case = small("clear", wish(None, Some(Leak::Input)), 1);
    let [state, one] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let server = start(&case, state.path(), Budgets::default());
    assert_eq!(right(&client(&server, one.path()), &case, 1), None);
    assert!(!state.path().join("budgets").exists());
}

#[test]
fn a_total_holds_for_clients_that_come_with_ever_new_keys() {
    let case = small("clear", wish(None, Some(Leak::Input)), 1);
    let state = tempfile::tempdir().unwrap();
    let budgets = Budgets { model: Quota { images: Some(5), images_per_day: None }, ..each(2) };
    let server = start(&case, state.path(), budgets);
    let fresh = || tempfile::tempdir().unwrap();
    let left = |budget, images, left| Some(Allowance { budget, images, left });
    assert_eq!(right(&client(&server, fresh().path()), &case, 2), left(Budget::Client, 2, 0));
    assert_eq!(right(&client(&server, fresh().path()), &case, 1), left(Budget::Client, 2, 1));
    assert_eq!(right(&client(&server, fresh().path()), &case, 1), left(Budget::Client, 2, 1));
    assert_eq!(refused(&client(&server, fresh().path()), &case, 2).budget, Budget::Model);
    assert_eq!(right(&client(&server, fresh().path()), &case, 1), left(Budget::Model, 5, 0));
    assert_eq!(refused(&client(&server, fresh().path()), &case, 1).used, 5);
}

#[test]
fn sessions_of_one_client_at_once_do_not_exceed_its_budget_together() {
    let case = small_relu("hybrid", wish(None, None), 1);
    let [state, one] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let server = start(&case, state.path(), each(3));
    let client = client(&server, one.path());
    let answered: usize = std::thread::scope(|scope| {
        let asks: Vec<_> =
            (0..8).map(|_| scope.spawn(|| ask(&client, &case, 1, &mut Silent).is_ok())).collect();
        asks.into_iter().map(|a| usize::from(a.join().unwrap())).sum()
    });
    assert_eq!(answered, 3);
    assert_eq!(refused(&client, &case, 1).used, 3);
}

#[test]
fn a_client_that_has_not_agreed_holds_nothing_and_hears_at_its_agreement_that_others_were_first() {
    let cases = [
        small("clear", wish(None, Some(Leak::Input)), 1),
        small("leveled", wish(None, None), 1),
        small_relu("hybrid", wish(None, None), 1),
    ];
    for case in &cases {
        let [state, one, other] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let budgets =
            Budgets { model: Quota { images: Some(3), images_per_day: None }, ..Budgets::default() };
        let server = start(case, state.path(), budgets);
        let left = |left| Some(Allowance { budget: Budget::Model, images: 3, left });
        let quick = client(&server, other.path());
        let asking = client(&server, one.path());
        let mut first = None;
        let ask = Ask {
            model: &case.model.public.name,
            system: case.system,
            wish: case.wish.clone(),
            max_time: None,
            confirm: &mut |_, _| {
                let others = std::thread::scope(|scope| scope.spawn(|| right(&quick, case, 2)).join());
                first = others.unwrap();
                Ok(())
            },
            observer: &mut Silent,
        };
        let inputs = [(); 2].map(|()| Input::Tensor(case.inputs[0].clone()));
        let late = asking.ask(ask, &inputs).unwrap_err();
        assert_eq!(first, left(1), "{}: the others find all three", case.system);
        assert_eq!(late.blame(), Blame::Refused, "{late}");
        let heard = LinkError::Aborted(Notice::Budget);
        assert!(matches!(&late, Error::Session(SessionError::Link(e)) if *e == heard), "{late}");
        let short = Shortfall { budget: Budget::Model, images: 3, used: 2, asked: 2, counted: 2 };
        assert_eq!(refused(&asking, case, 2), short, "what was refused is not counted");
        assert_eq!(right(&asking, case, 1), left(0));
    }
}

#[test]
fn a_mode_that_predicts_many_at_once_counts_all_that_a_client_can_put_into_a_group() {
    let case = small("leveled", wish(Some("batch"), None), 1);
    let [state, one] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let server = start(&case, state.path(), each(10_000));
    let client = client(&server, one.path());
    assert_eq!(right(&client, &case, 1).map(|a| a.left), Some(10_000 - 8192));
    let short = refused(&client, &case, 1);
    assert_eq!((short.used, short.asked, short.counted), (8192, 1, 8192));
}

/// Stops a client at an event until it is told to go on.
struct Stop {
    at: fn(&Event<'_>) -> bool,
    there: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
}

impl Observer for Stop {
    fn on(&mut self, event: Event<'_>) {
        if (self.at)(&event) {
            self.there.send(()).unwrap();
            // The other end is dropped when the test is over.
            let _ = self.go.recv();
        }
    }
}

/// What counts as used after the server was ended while a client's session of two images had come to an event.
fn used_when_ended_at(at: fn(&Event<'_>) -> bool) -> u64 {
    let case = small_relu("hybrid", wish(None, None), 1);
    let [state, one] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let server = start(&case, state.path(), each(3));
    let asking = client(&server, one.path());
    std::thread::scope(|scope| {
        let (there, arrived) = mpsc::channel();
        let (go, goes) = mpsc::channel();
        let (asking, case) = (&asking, &case);
        let asked = scope.spawn(move || ask(asking, case, 2, &mut Stop { at, there, go: goes }).is_ok());
        arrived.recv_timeout(LONG).unwrap();
        assert_eq!(refused(asking, case, 3).used, 2, "the session goes on");
        assert_eq!(server.shutdown().stuck, 0);
        drop(go);
        assert!(!asked.join().unwrap());
    });
    let server = start(&case, state.path(), each(3));
    refused(&client(&server, one.path()), &case, 4).used
}

#[test]
fn a_session_that_is_cut_in_an_image_is_counted_and_one_that_is_cut_before_the_first_is_not() {
    // The second step of the first image: of the client, so the server has done the first.
    assert_eq!(used_when_ended_at(|e| matches!(e, Event::Step { done: 2, .. })), 2);
    assert_eq!(used_when_ended_at(|e| matches!(e, Event::Ready)), 0);
}

#[test]
fn a_client_that_leaves_before_its_first_image_has_used_its_own_budget_and_not_the_models() {
    /// A program that ends when it might begin.
    struct Leaves;
    impl Observer for Leaves {
        fn on(&mut self, event: Event<'_>) {
            assert!(!matches!(event, Event::Ready), "it is gone");
        }
    }
    let case = small_relu("hybrid", wish(None, None), 1);
    let [state, one, other] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let budgets = Budgets { model: Quota { images: Some(4), images_per_day: None }, ..each(4) };
    let server = start(&case, state.path(), budgets.clone());
    let asking = client(&server, one.path());
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ask(&asking, &case, 3, &mut Leaves)));
    assert!(left.is_err());
    assert_eq!(refused(&asking, &case, 2), {
        Shortfall { budget: Budget::Client, images: 4, used: 3, asked: 2, counted: 2 }
    });
    // The server may hear of it a little later.
    let (asking, since) = (client(&server, other.path()), Instant::now());
    while let Err(error) = ask(&asking, &case, 4, &mut Silent) {
        let Error::Session(SessionError::Budget(short)) = error else { panic!("{error}") };
        assert_eq!((short.budget, short.used), (Budget::Model, 3));
        assert!(since.elapsed() < LONG, "the total has them back");
        std::thread::yield_now();
    }
    drop(server);
    let server = start(&case, state.path(), budgets);
    let short = refused(&client(&server, one.path()), &case, 2);
    assert_eq!((short.budget, short.used), (Budget::Model, 4), "those of the other client alone");
}
