//! Agreeing on a plan, and everything that must stop it.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod common;

use common::{
    Shelf, ToyWire, both, client, client_who, hello, model, pair, prg, request, run, server, shelf, who,
};
use oblivia_base::codec::{Decode, Encode};
use oblivia_base::{Blame, Digest};
use oblivia_protocol::session::{
    Catalog, Hello, MAX_SAMPLES, Offer, Offered, Purpose, Request, VERSION, agree_as_server,
    agreement_traffic,
};
use oblivia_protocol::{
    Allowance, Budget, Channel, Choices, Direction, Error, Expect, Identities, Kind, Leak, LinkError, Notice,
    Role, Shortfall, Wire, Wish,
};
use std::thread;

/// The session digest both sides end with, after checking that they agree.
fn session_over(change: impl Fn(&mut ToyWire, &mut ToyWire)) -> Digest {
    let (mut to_server, mut to_client) = pair();
    change(&mut to_server, &mut to_client);
    let ((client, _), (server, _)) = both((to_server, to_client), &request(), &shelf());
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.session, server.session);
    client.session
}

/// Identities as an honest secure channel shows them.
fn named(client: u8, server: u8) -> impl Fn(&mut ToyWire, &mut ToyWire) {
    move |to_server, to_client| {
        to_server.ends = Some(Identities { own: who(client), peer: who(server) });
        to_client.ends = Some(Identities { own: who(server), peer: who(client) });
    }
}

#[test]
fn both_sides_hold_the_same_plan_session_and_samples_and_measure_what_was_declared() {
    let ((client, at_client), (server, at_server)) = both(pair(), &request(), &shelf());
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.plan, server.plan);
    assert_eq!(client.model, server.model);
    assert_eq!((client.samples, server.samples), (3, 3));
    assert_eq!(client.session, server.session);
    let declared = agreement_traffic(&request(), &client.model, &client.plan);
    assert_eq!(declared.rounds, 3);
    for channel in [&at_client, &at_server] {
        assert_eq!(channel.meter().traffic().setup, declared);
        assert_eq!(channel.meter().traffic().total_bytes(), declared.up_bytes + declared.down_bytes);
    }
    assert_eq!(at_client.meter().log(), at_server.meter().log());
    let kinds: Vec<_> = at_client.meter().log().unwrap().iter().map(|m| (m.direction, m.kind)).collect();
    let (up, down) = (Direction::Up, Direction::Down);
    assert_eq!(kinds, [(up, Kind::Hello), (down, Kind::Offer), (up, Kind::Accept)]);
}

#[test]
fn two_connections_that_differ_in_an_identity_alone_have_different_session_digests() {
    let base = session_over(named(1, 2));
    assert_eq!(base, session_over(named(1, 2)), "everything else is equal");
    assert_ne!(base, session_over(named(3, 2)), "the client's identity counts");
    assert_ne!(base, session_over(named(1, 3)), "the server's identity counts");
    assert_ne!(base, session_over(named(2, 1)), "who is who counts");
    assert_ne!(base, session_over(|_, _| {}), "no identity is one case more");
}

#[test]
fn ends_that_see_each_other_wrongly_end_with_different_session_digests() {
    let (mut to_server, mut to_client) = pair();
    named(1, 2)(&mut to_server, &mut to_client);
    to_client.ends = Some(Identities { own: who(2), peer: who(9) });
    let ((client, _), (server, _)) = both((to_server, to_client), &request(), &shelf());
    assert_ne!(client.unwrap().session, server.unwrap().session);
}

#[test]
fn the_channel_binding_and_the_nonces_enter_the_session_digest() {
    let bound =
        |byte: u8| session_over(move |a, b| (a.binding, b.binding) = (Some([byte; 32]), Some([byte; 32])));
    assert_eq!(bound(1), bound(1));
    assert_ne!(bound(1), bound(2));
    assert_ne!(bound(1), session_over(|_, _| {}));
    let nonce = |label: &'static str| {
        let (to_server, to_client) = pair();
        thread::scope(|scope| {
            let server = scope.spawn(|| server(to_client, &shelf()).0.unwrap().session);
            let client = client(to_server, &request(), label).0.unwrap().session;
            assert_eq!(client, server.join().unwrap());
            client
        })
    };
    assert_ne!(nonce("one"), nonce("two"));
}

#[test]
fn a_client_that_refuses_says_only_that() {
    let cases: [(Wish, &str); 3] = [
        (Wish { plan: Some("large".into()), ..Wish::default() }, "--accept-leak input"),
        (Wish { max_bytes: Some(1390), ..Wish::default() }, "more than the 1390"),
        (Wish { plan: Some("large".into()), max_bytes: Some(1), ..Wish::default() }, "--accept-leak"),
    ];
    for (wish, says) in cases {
        let request = Request { wish, ..request() };
        let ((client, _), (server, _)) = both(pair(), &request, &shelf());
        let client = client.err().unwrap();
        assert_eq!(client.blame(), Blame::Refused);
        assert!(client.to_string().contains(says), "{client}");
        let server = server.err().unwrap();
        assert!(matches!(server, Error::Link(LinkError::Aborted(Notice::Refused))), "{server}");
    }
    let accepted = Wish {
        plan: Some("large".into()),
        accepted_leaks: vec![Leak::Input],
        max_bytes: Some(1391),
        ..Wish::default()
    };
    let request = Request { wish: accepted, ..request() };
    let ((client, _), (server, _)) = both(pair(), &request, &shelf());
    assert_eq!(client.unwrap().session, server.unwrap().session);
}

#[test]
fn a_user_sees_model_and_plan_before_anything_is_promised() {
    let (to_server, to_client) = pair();
    thread::scope(|scope| {
        let server = scope.spawn(|| server(to_client, &shelf()).0);
        let mut seen = None;
        let (client, channel) = client_who(to_server, &request(), "client", &mut |model, plan| {
            seen = Some((model.name.clone(), plan.choices.plan.clone()));
            Err(Error::Refused { why: "the user said no".into() })
        });
        assert_eq!(client.err().unwrap().blame(), Blame::Refused);
        assert_eq!(seen, Some(("m".into(), "small".into())));
        let kinds: Vec<Kind> = channel.meter().log().unwrap().iter().map(|m| m.kind).collect();
        assert_eq!(kinds, [Kind::Hello, Kind::Offer]);
        assert!(server.join().unwrap().is_err());
    });
}

#[test]
fn both_sides_refuse_to_make_packs_under_a_plan_that_has_none() {
    let request = Request { purpose: Purpose::MakeAhead, ..request() };
    let ((client, _), (server, _)) = both(pair(), &request, &shelf());
    for agreed in [client, server] {
        let why = agreed.err().unwrap().to_string();
        assert!(why.contains("nothing ahead of images") || why.contains("refuse the request"), "{why}");
    }
}

#[test]
fn what_no_session_may_ask_for_is_refused_before_a_byte_is_sent() {
    let long = || "x".repeat(129);
    let base = request();
    let mut cases = Vec::new();
    for samples in [0, MAX_SAMPLES + 1] {
        cases.push(Request { samples, ..base.clone() });
    }
    cases.push(Request { model: long(), ..base.clone() });
    cases.push(Request { system: "none".into(), ..base.clone() });
    let wishes =
        [Wish { mode: Some(long()), ..Wish::default() }, Wish { plan: Some(long()), ..Wish::default() }];
    cases.extend(wishes.map(|wish| Request { wish, ..base.clone() }));
    for request in cases {
        let (to_server, to_client) = pair();
        let (agreed, channel) = client(to_server, &request, "client");
        assert_eq!(agreed.err().unwrap().blame(), Blame::Input);
        assert_eq!(channel.meter().traffic().total_bytes(), 0);
        drop(channel);
        let left = to_client.left();
        assert_eq!(left, [(Kind::Abort, Notice::Failed.to_bytes())]);
    }
}

/// How the client ends when the server answers with `offer`, and what the server hears.
fn client_with_offer(offer: impl FnOnce(&Hello) -> Vec<u8> + Send) -> (Error, Vec<(Kind, Vec<u8>)>) {
    let (to_server, mut to_client) = pair();
    thread::scope(|scope| {
        let raw = scope.spawn(move || {
            let body = run(to_client.recv(Expect::at_most(Kind::Hello, 1024))).unwrap();
            let offer = offer(&Hello::from_bytes(&body).unwrap());
            run(to_client.send(Kind::Offer, offer)).unwrap();
            to_client.left()
        });
        let (agreed, channel) = client(to_server, &request(), "client");
        drop(channel);
        (agreed.err().unwrap(), raw.join().unwrap())
    })
}

fn offer() -> Offer {
    let choices =
        Choices { system: "toy".into(), mode: "plain".into(), plan: "small".into(), bytes: vec![7] };
    Offer { version: VERSION, nonce: [2; 32], model: model("m"), choices }
}

#[test]
fn an_offer_that_answers_another_question_is_refused() {
    let asked = |change: fn(&mut Offer)| {
        let mut offer = offer();
        change(&mut offer);
        client_with_offer(move |_| offer.to_bytes())
    };
    type Case = (fn(&mut Offer), Blame, Notice);
    let cases: [Case; 5] = [
        (|o| o.choices.system = "other".into(), Blame::InvalidMessage, Notice::Failed),
        (|o| o.model.name = "other".into(), Blame::InvalidMessage, Notice::Failed),
        (|o| o.version = VERSION + 1, Blame::PeerIncompatible, Notice::Incompatible),
        (|o| o.choices.bytes = vec![8], Blame::Refused, Notice::Refused),
        (|o| o.choices.bytes.clear(), Blame::Refused, Notice::Refused),
    ];
    for (change, blame, notice) in cases {
        let (error, heard) = asked(change);
        assert_eq!(error.blame(), blame, "{error}");
        assert_eq!(heard, [(Kind::Abort, notice.to_bytes())]);
    }
    let damages: [fn(&mut Vec<u8>); 3] = [|b| b.push(0), |b| b.truncate(40), |b| b.clear()];
    for damage in damages {
        let (error, heard) = client_with_offer(move |_| {
            let mut bytes = offer().to_bytes();
            damage(&mut bytes);
            bytes
        });
        assert_eq!(error.blame(), Blame::InvalidMessage, "{error}");
        assert_eq!(heard, [(Kind::Abort, Notice::Failed.to_bytes())]);
    }
}

/// A server with budgets: what it says of them.
struct Counting(Result<Allowance, Shortfall>);

impl Catalog for Counting {
    fn offer(&self, hello: &Hello) -> Result<Offered, Error> {
        let allowance = Some(self.0.map_err(Error::Budget)?);
        Ok(Offered { allowance, ..shelf().offer(hello)? })
    }
}

#[test]
fn a_client_hears_what_is_left_and_of_a_budget_that_is_short_all_numbers() {
    let agree = |catalog: &Counting| {
        let (to_server, to_client) = pair();
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let mut channel = Channel::with_peer(Role::Server, Role::Client, Box::new(to_client));
                let agreed = run(agree_as_server(&mut channel, &mut prg("server"), catalog));
                if let Err(e) = &agreed {
                    run(channel.abort(e));
                }
                agreed.map(|(agreed, _)| agreed)
            });
            let (client, channel) = client(to_server, &request(), "client");
            (client, channel, server.join().unwrap())
        })
    };
    let left = Allowance { budget: Budget::Model, images: 9, left: 4 };
    let (client, channel, server) = agree(&Counting(Ok(left)));
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!((client.allowance, server.allowance), (Some(left), Some(left)));
    assert_eq!(client.session, server.session);
    let declared = agreement_traffic(&request(), &client.model, &client.plan);
    assert_eq!(channel.meter().traffic().setup.down_bytes, declared.down_bytes + Allowance::BYTES);
    let short = Shortfall { budget: Budget::Client, images: 9, used: 7, asked: 3, counted: 3 };
    let (client, _, server) = agree(&Counting(Err(short)));
    for error in [client.err().unwrap(), server.err().unwrap()] {
        assert!(matches!(error, Error::Budget(found) if found == short), "{error}");
        assert_eq!((error.blame(), error.notice()), (Blame::Refused, Notice::Budget));
    }
}

#[test]
fn an_offer_of_another_mode_or_plan_than_the_one_asked_for_is_refused() {
    let wishes = [
        Wish { mode: Some("fancy".into()), ..Wish::default() },
        Wish { plan: Some("large".into()), accepted_leaks: vec![Leak::Input], ..Wish::default() },
    ];
    for wish in wishes {
        let request = Request { wish, ..request() };
        let (to_server, mut to_client) = pair();
        run(to_client.send(Kind::Offer, offer().to_bytes())).unwrap();
        let (agreed, _) = client(to_server, &request, "client");
        assert_eq!(agreed.err().unwrap().blame(), Blame::InvalidMessage);
    }
}

/// How a client that asks for a group, or for none, ends where a mode and a plan are offered to it.
fn offered(group: Option<u32>, mode: &str, plan: &str) -> Result<(), Error> {
    let request = Request { wish: Wish { group, ..Wish::default() }, ..request() };
    let (to_server, mut to_client) = pair();
    let offer =
        Offer { choices: Choices { mode: mode.into(), plan: plan.into(), ..offer().choices }, ..offer() };
    run(to_client.send(Kind::Offer, offer.to_bytes())).unwrap();
    client(to_server, &request, "client").0.map(drop)
}

#[test]
fn a_group_is_the_one_that_was_asked_for_and_a_single_sample_where_none_was_and_it_could_be() {
    let agreed = [
        (None, "plain", "small"),
        (None, "plain", "pairs"),
        (None, "linked", "small"),
        (Some(1), "linked", "small"),
        (Some(2), "linked", "pairs"),
    ];
    for (group, mode, plan) in agreed {
        assert!(offered(group, mode, plan).is_ok(), "{group:?} {mode} {plan}");
    }
    let refused = [
        (None, "linked", "pairs"),
        (Some(1), "linked", "pairs"),
        (Some(3), "linked", "pairs"),
        (Some(2), "linked", "small"),
        (Some(2), "plain", "small"),
    ];
    for (group, mode, plan) in refused {
        let error = offered(group, mode, plan).err().unwrap();
        assert_eq!(error.blame(), Blame::Refused, "{error}");
        assert!(error.to_string().contains("--group"), "{error}");
    }
}

#[test]
fn a_mode_or_plan_that_was_not_named_is_refused_if_it_needs_a_leak_that_was_not_accepted() {
    assert!(offered(None, "unheard of", "small").is_ok(), "it shows no more than every prediction does");
    let error = offered(None, "unheard of", "large").err().unwrap();
    assert_eq!(error.blame(), Blame::Refused, "{error}");
    assert!(error.to_string().contains("--accept-leak input"), "{error}");
}

/// How the server ends after these messages, and what the client hears after a possible offer.
fn server_hearing(messages: &[(Kind, Vec<u8>)]) -> (Error, Option<Notice>) {
    let (mut to_server, to_client) = pair();
    for (kind, body) in messages {
        run(to_server.send(*kind, body.clone())).unwrap();
    }
    run(to_server.finish()).unwrap();
    let (agreed, channel) = server(to_client, &shelf());
    drop(channel);
    let told = to_server.left().into_iter().find(|(kind, _)| *kind == Kind::Abort);
    (agreed.err().unwrap(), told.map(|(_, body)| Notice::from_bytes(&body).unwrap()))
}

#[test]
fn a_server_refuses_what_breaks_the_agreement_and_tells_one_word() {
    let with = |change: fn(&mut Hello)| {
        let mut hello = hello();
        change(&mut hello);
        hello.to_bytes()
    };
    let good = hello().to_bytes();
    let mut long = good.clone();
    long.push(0);
    type Case = (Vec<(Kind, Vec<u8>)>, Blame, Option<Notice>);
    let cases: Vec<Case> = vec![
        (
            vec![(Kind::Hello, with(|h| (h.min_version, h.max_version) = (VERSION + 1, VERSION + 9)))],
            Blame::PeerIncompatible,
            Some(Notice::Incompatible),
        ),
        (
            vec![(Kind::Hello, with(|h| (h.min_version, h.max_version) = (0, 0)))],
            Blame::PeerIncompatible,
            Some(Notice::Incompatible),
        ),
        (vec![(Kind::Hello, with(|h| h.model = "x".into()))], Blame::Refused, Some(Notice::UnknownModel)),
        (vec![(Kind::Hello, with(|h| h.samples = 0))], Blame::InvalidMessage, Some(Notice::Failed)),
        (vec![(Kind::Hello, with(|h| h.min_version = 9))], Blame::InvalidMessage, Some(Notice::Failed)),
        (vec![(Kind::Hello, long)], Blame::InvalidMessage, Some(Notice::Failed)),
        (vec![(Kind::Hello, vec![0; 1025])], Blame::PeerMisbehaved, Some(Notice::Failed)),
        (vec![(Kind::Accept, good.clone())], Blame::PeerMisbehaved, Some(Notice::Failed)),
        (vec![(Kind::Hello, good.clone())], Blame::PeerMisbehaved, None),
        (
            vec![(Kind::Hello, good.clone()), (Kind::Accept, vec![0; 32])],
            Blame::PeerIncompatible,
            Some(Notice::Incompatible),
        ),
        (
            vec![(Kind::Hello, good.clone()), (Kind::Accept, vec![0; 31])],
            Blame::PeerMisbehaved,
            Some(Notice::Failed),
        ),
        (
            vec![(Kind::Hello, good.clone()), (Kind::Accept, vec![0; 33])],
            Blame::PeerMisbehaved,
            Some(Notice::Failed),
        ),
        (
            vec![(Kind::Hello, good.clone()), (Kind::System(0), vec![0; 32])],
            Blame::PeerMisbehaved,
            Some(Notice::Failed),
        ),
        (vec![(Kind::Hello, good), (Kind::Abort, Notice::Refused.to_bytes())], Blame::Refused, None),
    ];
    for (i, (messages, blame, notice)) in cases.into_iter().enumerate() {
        let (error, told) = server_hearing(&messages);
        assert_eq!((error.blame(), told), (blame, notice), "case {i}: {error}");
    }
}

#[test]
fn a_server_whose_own_plan_is_another_one_ends_the_session() {
    let crooked: [fn(&mut oblivia_protocol::Plan); 3] =
        [|p| p.cost.online.up_bytes += 1, |p| p.leaks.clear(), |p| p.error.units_2_32 = 0];
    for change in crooked {
        let ((client, _), (server, _)) = both(pair(), &request(), &Shelf { change });
        assert!(client.is_ok(), "a client learns of it with its next message");
        let server = server.err().unwrap();
        assert_eq!(server.blame(), Blame::PeerIncompatible);
        assert_eq!(server.notice(), Notice::Incompatible);
    }
}

#[test]
fn a_side_without_a_link_to_the_other_says_so() {
    use oblivia_protocol::Channel;
    let mut channel = Channel::new(Role::Client);
    let e = run(channel.send(Role::Server, Kind::Hello, vec![])).unwrap_err();
    assert_eq!(e.blame(), Blame::Misuse);
    let e = run(channel.recv(Role::Server, Expect::exactly(Kind::Offer, 0))).unwrap_err();
    assert_eq!(e.blame(), Blame::Misuse);
    assert_eq!(channel.binding(Role::Server), None);
    assert_eq!(channel.identities(Role::Server), None);
    assert_eq!(channel.meter().traffic().total_bytes(), 0);
}
