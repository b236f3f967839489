//! `oblivia prepare`: make ahead what predictions need before they see their images.

use crate::args::PrepareArgs;
use crate::output::{bytes, count, entry, json, note, out};
use crate::plan::describe;
use crate::progress::Watch;
use crate::receipt::render;
use crate::session::{Asked, client, explained, wish};
use anyhow::Result;
use oblivia::{Ask, MadeAhead};
use oblivia_nn::PublicModel;
use oblivia_protocol::{AheadUse, Plan};

pub(crate) fn run(a: &PrepareArgs) -> Result<()> {
    let session = &a.session;
    let wish = wish(session)?;
    let client = client(session)?;
    let quiet = session.machine.json;
    let mut confirm = |_: &PublicModel, plan: &Plan| {
        if !quiet {
            note(&(describe(plan, a.images.into()) + "\n"));
        }
        Ok(())
    };
    let mut watch = Watch::new(a.images.into());
    let ask = Ask {
        model: &session.peer.model,
        system: session.wish.system().id(),
        wish,
        max_time: session.wish.max_seconds,
        confirm: &mut confirm,
        observer: &mut watch,
    };
    let done = client.make_ahead(ask, a.images);
    watch.done()?;
    let asked = Asked::new(&session.peer.server, &session.peer.model, &session.wish, a.images as usize);
    let made = done.map_err(|e| explained(e, &asked, &client))?;
    if quiet {
        return json(&serde_json::json!({ "schema": 1, "packs": made.left, "receipt": made.receipt }));
    }
    out(&(render(&made.receipt) + &made_ahead(&made)))
}

/// What is there now.
pub(crate) fn made_ahead(made: &MadeAhead) -> String {
    let cost = &made.receipt.plan.cost;
    let packs = match made.receipt.ahead {
        AheadUse::Made { groups } => groups,
        AheadUse::None | AheadUse::Used { .. } => 0,
    };
    let each = match cost.group {
        1 => "each",
        _ => "each, one for every group of images,",
    };
    let text = format!(
        "{} made; with those before there are {}, {} {each} at either side",
        count(packs, "pack"),
        made.left,
        bytes(cost.ahead.map_or(0, |ahead| ahead.pack_bytes))
    );
    entry("prepared", &text)
}
