//! `oblivia prepare`: make ahead what predictions need before they see their images.

use crate::args::PrepareArgs;
use crate::exit::Hint;
use crate::output::{bytes, count, entry, json, note, out};
use crate::plan::{describe, wish};
use crate::predict::{Asked, client, hint};
use crate::progress::Watch;
use crate::receipt::render;
use anyhow::Result;
use oblivia::{Ask, MadeAhead};
use oblivia_nn::PublicModel;
use oblivia_protocol::{AheadUse, Plan};

pub(crate) fn run(a: &PrepareArgs) -> Result<()> {
    let mut wish = wish(&a.wish)?;
    // As `predict` does it, so that both have the same plan.
    if wish.plan.is_none() {
        wish.link = a.link.map(|l| l.rate());
    }
    let client = client(&a.peer, a.link, &a.machine)?;
    let quiet = a.machine.json;
    let mut confirm = |_: &PublicModel, plan: &Plan| {
        if !quiet {
            note(&(describe(plan, a.images.into()) + "\n"));
        }
        Ok(())
    };
    let mut watch = Watch::new(a.images.into());
    let ask = Ask {
        model: &a.peer.model,
        system: a.wish.system().id(),
        wish,
        max_time: a.wish.max_seconds,
        confirm: &mut confirm,
        observer: &mut watch,
    };
    let done = client.make_ahead(ask, a.images);
    watch.done()?;
    let asked = Asked::new(&a.peer.server, &a.peer.model, &a.wish, a.images as usize);
    let made = done.map_err(|e| match hint(&e, &asked, &client) {
        Some(what) => anyhow::Error::from(e).context(Hint(what)),
        None => e.into(),
    })?;
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
