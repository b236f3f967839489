//! A session with a server: from flags to a client and a wish, from an error to what can be done about it.

use crate::args::{SessionArgs, WishArgs};
use crate::exit::{Hint, Usage};
use crate::output::count;
use crate::plan;
use anyhow::Result;
use oblivia::{Client, Error, Machine, Trust};
use oblivia_net::ConnectOptions;
use oblivia_protocol::{Error as SessionError, LinkError, Notice, Wish};

/// What is wished for, planned for the link that is pretended unless a plan is named.
pub(crate) fn wish(a: &SessionArgs) -> Result<Wish, Usage> {
    let mut wish = plan::wish(&a.wish)?;
    if wish.plan.is_none() {
        wish.link = a.link.map(|l| l.rate());
    }
    Ok(wish)
}

/// The client of such a session, with what the state directory has.
pub(crate) fn client(a: &SessionArgs) -> Result<Client> {
    let SessionArgs { peer, link, machine, .. } = a;
    let trust = match (&peer.pin, &peer.roots) {
        (Some(pin), _) => Trust::Pin(*pin),
        (None, Some(file)) => {
            let pem = oblivia_data::read(file, 16 << 20)?;
            let name = peer.server.rsplit_once(':').map_or(peer.server.as_str(), |(host, _)| host);
            Trust::Roots { pem, name: name.trim_matches(['[', ']']).to_owned() }
        }
        (None, None) => anyhow::bail!("either --pin or --roots must be given"),
    };
    let connect = ConnectOptions { shape: *link, ..ConnectOptions::default() };
    let threads = Machine::new(machine.threads)?;
    Ok(Client::with_state(&peer.server, trust, &machine.state.state_dir, threads, connect)?)
}

/// What was asked of which server, in words for hints.
pub(crate) struct Asked {
    server: String,
    model: String,
    question: String,
}

impl Asked {
    pub(crate) fn new(server: &str, model: &str, wish: &WishArgs, samples: usize) -> Self {
        let mut question = format!(
            "{} with model `{model}`, system `{}`",
            count(samples as u64, "image"),
            wish.system().id()
        );
        for (what, name) in [("mode", &wish.mode), ("plan", &wish.plan)] {
            if let Some(name) = name {
                question += &format!(", {what} `{name}`");
            }
        }
        Self { server: server.to_owned(), model: model.to_owned(), question }
    }
}

/// Why a session failed, with what the user can do about it.
pub(crate) fn explained(e: Error, asked: &Asked, client: &Client) -> anyhow::Error {
    match hint(&e, asked, client) {
        Some(what) => anyhow::Error::from(e).context(Hint(what)),
        None => e.into(),
    }
}

fn hint(e: &Error, asked: &Asked, client: &Client) -> Option<String> {
    let Asked { server, model, question } = asked;
    let Error::Session(SessionError::Link(link)) = e else { return None };
    match link {
        LinkError::Aborted(notice) => Some(match notice {
            Notice::UnknownModel => {
                format!("{server} has no model `{model}`; `oblivia serve` prints the names when it starts")
            }
            Notice::Refused => format!(
                "{server} was asked for {question}; its log says what it refuses. Leave out --mode and --plan, ask \
                 for another --system, or send fewer images"
            ),
            Notice::Busy => format!(
                "{server} has all sessions or all memory taken, or this client or address has its share of them; its \
                 owner can raise --max-sessions, --max-sessions-per-client, --max-sessions-per-address and --max-memory"
            ),
            Notice::Incompatible => "use the same version of oblivia on both sides".into(),
            Notice::ShuttingDown => format!("{server} is being stopped: repeat this when it runs again"),
            Notice::Budget => format!("repeat this: {server} then says what is left"),
            Notice::Unable => {
                format!("the log of {server} says what it lacks: its owner can make room, then repeat this")
            }
            Notice::Failed => format!("the log of {server} says what went wrong there"),
        }),
        LinkError::Closed { .. } => Some(format!(
            "{server} was stopped, has crashed or was cut off: see its log, start it again and repeat this"
        )),
        LinkError::TimedOut { .. } | LinkError::TooSlow { .. } => {
            Some(format!("{server} or the network does not answer: check both and repeat this"))
        }
        LinkError::Overdue { .. } => Some(format!(
            "{server} is still at work or waits for its turn: allow more with --max-seconds, ask for another plan or mode \
             (`oblivia plan` says how long one takes), or repeat this when fewer clients ask"
        )),
        LinkError::Outlived { .. } => Some("send fewer images at a time".into()),
        LinkError::NotAdmitted => Some(format!(
            "this client's fingerprint is {}; it goes on a line of the file `oblivia serve --policy` was given",
            client.fingerprint()
        )),
        _ => None,
    }
}
