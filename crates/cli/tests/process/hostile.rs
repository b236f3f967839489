//! Peers that break the protocol, made of the same frames and TLS.

use crate::common::{Client as Predict, MODEL, Server as Process, image, model};
use oblivia::{ServeOptions, Server as Honest, load_model, served};
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_he::{Moduli, ParamsLiteral};
use oblivia_net::{
    ClientTls, ConnectOptions, Identity, Owner, Server, ServerCheck, ServerOptions, SessionIo, TlsWire,
    connect, parse_fingerprint,
};
use oblivia_nn::PublicModel;
use oblivia_protocol::session::{Hello, Offer, Purpose, VERSION};
use oblivia_protocol::{Choices, Error, Expect, Kind, LinkError, Notice, Wire, Wish};
use std::sync::mpsc::{Receiver, channel};

/// What the model's owner would publish and choose.
fn honest(system: &str) -> (PublicModel, Choices) {
    let public = served(&load_model(&model()).unwrap()).unwrap().public;
    let plan = oblivia_systems::find(system).unwrap().plan(&public, &Wish::default()).unwrap();
    (public, plan.choices)
}

/// A server that answers every hello with the message `answer`, and tells what came next.
fn fake(answer: (Kind, Vec<u8>)) -> (Server, Receiver<Result<Vec<u8>, LinkError>>) {
    let options =
        ServerOptions::new("127.0.0.1:0".parse().unwrap(), Identity::ephemeral(Owner::Server).unwrap());
    let (sender, receiver) = channel();
    let server = Server::bind(options, move |mut io: SessionIo| {
        let (sender, (kind, body)) = (sender.clone(), answer.clone());
        async move {
            io.wire.recv(Expect::at_most(Kind::Hello, 4096)).await?;
            io.wire.send(kind, body).await?;
            let next = io.wire.recv(Expect::at_most(Kind::Accept, 1 << 30)).await;
            sender.send(next).map_err(|e| Error::Misuse(e.to_string()))
        }
    });
    (server.unwrap(), receiver)
}

fn offer(model: PublicModel, choices: Choices) -> (Kind, Vec<u8>) {
    (Kind::Offer, Offer { version: VERSION, nonce: [7; 32], model, choices }.to_bytes())
}

fn predict_on(server: &Server) -> Predict {
    Predict::at(&server.local_addr().to_string(), &server.fingerprint().to_string()).args([image(0)])
}

/// The client refuses with this code and these words, and has sent nothing but a hello and one word.
fn refuses(answer: (Kind, Vec<u8>), flags: &[&str], code: i32, words: &[&str], told: Notice) {
    let (server, next) = fake(answer);
    let ended = predict_on(&server).args(flags).end().refused(code, words);
    assert_eq!(ended.out, "");
    assert_eq!(next.recv().unwrap(), Err(LinkError::Aborted(told)));
}

#[test]
fn a_server_that_offers_another_plan_is_refused() {
    let (public, choices) = honest("leveled");
    let other = Choices { plan: "magic".into(), ..choices.clone() };
    let words = ["answers another question", "plan `magic` where `diagonal` was asked for"];
    refuses(offer(public.clone(), other.clone()), &["--plan", "diagonal"], 5, &words, Notice::Failed);
    refuses(offer(public.clone(), other), &[], 5, &["no plan leveled/approximate/magic"], Notice::Failed);
    let other = Choices { system: "clear".into(), ..choices.clone() };
    let words = ["system `clear` where `leveled` was asked for"];
    refuses(offer(public.clone(), other), &[], 5, &words, Notice::Failed);
    let other = PublicModel { name: "another".into(), ..public.clone() };
    refuses(offer(other, choices.clone()), &[], 5, &["model `another` where"], Notice::Failed);
    let other = Choices { bytes: vec![0xff; 64], ..choices };
    refuses(offer(public, other), &[], 5, &["invalid message Offer"], Notice::Failed);
}

#[test]
fn parameters_above_the_security_table_are_refused_before_keys_are_sent() {
    let (public, choices) = honest("leveled");
    let mut r = Reader::new(&choices.bytes);
    let mut params = ParamsLiteral::decode(&mut r).unwrap();
    let rest = r.raw(r.remaining(), "the rest").unwrap();
    let with = |params: &ParamsLiteral| {
        let mut w = Writer::new();
        params.encode(&mut w);
        w.raw(rest);
        Choices { bytes: w.into_bytes(), ..choices.clone() }
    };
    assert_eq!(with(&params), choices, "the honest choices come back");
    let Moduli::Bits(bits) = &mut params.q else { panic!("the plan gives bits") };
    bits.iter_mut().for_each(|b| *b += 5);
    let words = ["above the 218 bits that dimension 8192 allows at 128-bit security"];
    refuses(offer(public, with(&params)), &[], 4, &words, Notice::Refused);
}

#[test]
fn an_offer_that_is_too_large_is_refused_before_it_is_read() {
    let words = ["announced 67108864 bytes of Offer", "allowed"];
    refuses((Kind::Offer, vec![0; 64 << 20]), &[], 5, &words, Notice::Failed);
}

#[test]
fn a_message_out_of_place_and_another_version_are_refused() {
    refuses((Kind::Accept, vec![0; 32]), &[], 5, &["sent Accept where Offer was due"], Notice::Failed);
    let (model, choices) = honest("leveled");
    let next = Offer { version: 9, nonce: [7; 32], model, choices }.to_bytes();
    let versions = format!("ours is {VERSION}, the peer's is 9");
    let words = ["protocol version differs", &versions, "update the older side"];
    refuses((Kind::Offer, next), &[], 5, &words, Notice::Incompatible);
}

#[test]
fn what_a_server_publishes_cannot_drive_the_clients_terminal() {
    let mut model = load_model(&model()).unwrap();
    model.public.labels = (0..10).map(|i| format!("\u{1b}[2J{i}\r\u{9b}H")).collect();
    let state = tempfile::tempdir().unwrap();
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        state_dir: state.path().to_owned(),
        threads: 1,
        ..ServeOptions::default()
    };
    let server = Honest::start(&[model], options).unwrap();
    let client = Predict::at(&server.address().to_string(), &server.fingerprint().to_string());
    let ended = client.clear().args([image(0)]).end().well();
    assert!(ended.out.contains("[2J7"), "{ended:#?}");
    let bad = |c: char| c.is_control() && c != '\n';
    assert!(!ended.out.contains(bad) && !ended.err.contains(bad), "{ended:#?}");
}

/// A client that speaks frames with a server process.
fn dial(server: &Process, act: impl AsyncFnOnce(TlsWire)) {
    let tls = ClientTls {
        identity: Identity::ephemeral(Owner::Client).unwrap(),
        server: ServerCheck::Pin(parse_fingerprint(&server.pin).unwrap()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        act(connect(&server.address, &tls, &ConnectOptions::default()).await.unwrap()).await;
    });
}

fn hello(system: &str) -> Vec<u8> {
    let (model, system) = (MODEL.to_owned(), system.to_owned());
    let (mode, plan) = (String::new(), String::new());
    let nonce = [3; 32];
    let (min_version, max_version, samples) = (VERSION, VERSION, 1);
    let purpose = Purpose::Predict;
    Hello {
        min_version,
        max_version,
        model,
        system,
        mode,
        plan,
        link: None,
        max_bytes: None,
        group: None,
        purpose,
        samples,
        nonce,
    }
    .to_bytes()
}

/// How the server ends the session.
async fn told(wire: &mut TlsWire) -> Result<Vec<u8>, LinkError> {
    wire.recv(Expect::at_most(Kind::System(0xff), 0)).await
}

#[test]
fn a_server_process_survives_clients_that_break_the_protocol() {
    let mut server = Process::start();
    dial(&server, async |mut wire| {
        wire.send(Kind::Hello, vec![0; 1 << 20]).await.unwrap();
        assert_eq!(told(&mut wire).await, Err(LinkError::Aborted(Notice::Failed)));
    });
    server.until("announced 1048576 bytes of Hello");
    dial(&server, async |mut wire| {
        wire.send(Kind::Hello, hello("leveled")).await.unwrap();
        wire.recv(Expect::at_most(Kind::Offer, 8 << 20)).await.unwrap();
        wire.send(Kind::Accept, vec![0; 32]).await.unwrap();
        assert_eq!(told(&mut wire).await, Err(LinkError::Aborted(Notice::Incompatible)));
    });
    server.until("plan differs");
    dial(&server, async |mut wire| {
        wire.send(Kind::Hello, hello("magic")).await.unwrap();
        assert_eq!(told(&mut wire).await, Err(LinkError::Aborted(Notice::Refused)));
    });
    server.until("no system `magic`");
    assert!(server.runs());
    Predict::of(&server).clear().args([image(0)]).end().well();
    server.signal("INT");
    server.end().well();
}
