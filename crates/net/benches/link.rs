//! Throughput and round trips of the links: memory, and TLS over loopback.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run must stop")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oblivia_net::{
    ClientTls, ConnectOptions, Identity, Owner, Server, ServerCheck, ServerOptions, SessionIo,
};
use oblivia_protocol::{Error, Expect, Kind, Wire};

const MAX: usize = 1 << 28;

/// Answers a message of n bytes with one byte, or with as many when its first byte is 1.
async fn serve(mut io: SessionIo) -> Result<(), Error> {
    loop {
        let body = io.wire.recv(Expect::at_most(Kind::System(0), MAX)).await?;
        let reply = if body.first() == Some(&1) { body } else { vec![0] };
        io.wire.send(Kind::System(0), reply).await?;
    }
}

fn links(c: &mut Criterion) {
    let identity = Identity::ephemeral(Owner::Server).unwrap();
    let options = ServerOptions::new("127.0.0.1:0".parse().unwrap(), identity);
    let server = Server::bind(options, serve).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tls = ClientTls {
        identity: Identity::ephemeral(Owner::Client).unwrap(),
        server: ServerCheck::Pin(server.fingerprint()),
    };
    let address = server.local_addr().to_string();
    let connect = || runtime.block_on(oblivia_net::connect(&address, &tls, &ConnectOptions::default()));
    let mut wire = connect().unwrap();
    let mut group = c.benchmark_group("tls-loopback");
    group.sample_size(20);
    for (name, bytes, first) in [("up", 16 << 20, 0), ("up-and-down", 16 << 20, 1), ("round-trip", 64, 1)] {
        let body = {
            let mut body = vec![0u8; bytes];
            body[0] = first;
            body
        };
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new(name, bytes), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    wire.send(Kind::System(0), body.clone()).await.unwrap();
                    wire.recv(Expect::at_most(Kind::System(0), MAX)).await.unwrap()
                })
            })
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("handshake", |b| b.iter(|| connect().unwrap()));
    group.finish();
}

criterion_group!(benches, links);
criterion_main!(benches);
