//! What a plan's digest covers, what a wish admits, and what a receipt prints.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod common;

use common::{TOY, model, plan};
use oblivia_base::{Blame, Digest};
use oblivia_protocol::{
    AheadCost, AheadUse, Behaviour, Choices, DEFAULT_MAX_CLIENT_MEMORY, DEFAULT_MAX_KEY_BYTES, Digest32,
    KeyReceipt, KeyUse, Leak, LeakStatement, OpCounts, PhaseTraffic, Plan, Receipt, Role, Seconds, System,
    Traffic, Wish,
};
use std::collections::BTreeSet;

const AHEAD: AheadCost = {
    const fn of(up_bytes: u64) -> Traffic {
        Traffic { up_bytes, down_bytes: 5, rounds: 2 }
    }
    AheadCost { setup_some: of(1100), setup_all: of(200), setup_make: of(900), pack_bytes: 64 }
};

fn base() -> Plan {
    let choices =
        Choices { system: "toy".into(), mode: "plain".into(), plan: "large".into(), bytes: vec![7, 8] };
    plan(&model("m"), choices)
}

type Change = (&'static str, fn(&mut Plan));

/// One change per choice and number that exists anywhere in a plan; [`words`] has the rest. The patterns name every field, so a new field does not
/// compile until it is changed here too.
fn changes() -> Vec<Change> {
    let Plan {
        choices: Choices { system: _, mode: _, plan: _, bytes: _ },
        model: Digest32(_),
        cost:
            oblivia_protocol::Cost {
                group: _,
                setup: _,
                setup_reused: _,
                offline: _,
                online: _,
                ops: _,
                ahead: _,
            },
        key_bytes: _,
        session_memory_bytes: _,
        work_memory_bytes: _,
        client_memory_bytes: _,
        security_bits: _,
        parameters: _,
        predicted_us: _,
        error: oblivia_protocol::ErrorBound { units_2_32: _, assumption: _, measured: _ },
        leaks: _,
        trust: _,
        steps: _,
    } = base();
    let AheadCost { setup_some: _, setup_all: _, setup_make: _, pack_bytes: _ } = AHEAD;
    let Traffic { up_bytes: _, down_bytes: _, rounds: _ } = Traffic::default();
    let OpCounts {
        rotations: _,
        hoisted: _,
        ct_mul: _,
        pt_mul: _,
        scalar_mul: _,
        add: _,
        relin: _,
        rescale: _,
        ntt: _,
    } = OpCounts::default();
    vec![
        ("system", |p| p.choices.system.push('x')),
        ("mode", |p| p.choices.mode.push('x')),
        ("plan", |p| p.choices.plan.push('x')),
        ("choices", |p| p.choices.bytes[1] ^= 1),
        ("fewer choices", |p| p.choices.bytes.truncate(1)),
        ("predicted", |p| p.predicted_us += 1),
        ("model", |p| p.model.0.0[31] ^= 1),
        ("setup up", |p| p.cost.setup.up_bytes += 1),
        ("setup down", |p| p.cost.setup.down_bytes += 1),
        ("setup rounds", |p| p.cost.setup.rounds += 1),
        ("setup reused up", |p| p.cost.setup_reused.up_bytes += 1),
        ("setup reused down", |p| p.cost.setup_reused.down_bytes += 1),
        ("setup reused rounds", |p| p.cost.setup_reused.rounds += 1),
        ("offline up", |p| p.cost.offline.up_bytes += 1),
        ("offline down", |p| p.cost.offline.down_bytes += 1),
        ("offline rounds", |p| p.cost.offline.rounds += 1),
        ("online up", |p| p.cost.online.up_bytes += 1),
        ("online down", |p| p.cost.online.down_bytes += 1),
        ("online rounds", |p| p.cost.online.rounds += 1),
        ("rotations", |p| p.cost.ops.rotations += 1),
        ("hoisted", |p| p.cost.ops.hoisted += 1),
        ("ct_mul", |p| p.cost.ops.ct_mul += 1),
        ("pt_mul", |p| p.cost.ops.pt_mul += 1),
        ("scalar_mul", |p| p.cost.ops.scalar_mul += 1),
        ("add", |p| p.cost.ops.add += 1),
        ("relin", |p| p.cost.ops.relin += 1),
        ("rescale", |p| p.cost.ops.rescale += 1),
        ("ntt", |p| p.cost.ops.ntt += 1),
        ("ahead", |p| p.cost.ahead = Some(AHEAD)),
        ("ahead some", |p| p.cost.ahead = Some(AheadCost { setup_some: Traffic::default(), ..AHEAD })),
        ("ahead all", |p| p.cost.ahead = Some(AheadCost { setup_all: Traffic::default(), ..AHEAD })),
        ("ahead make", |p| p.cost.ahead = Some(AheadCost { setup_make: Traffic::default(), ..AHEAD })),
        ("pack bytes", |p| p.cost.ahead = Some(AheadCost { pack_bytes: 65, ..AHEAD })),
        ("key bytes", |p| p.key_bytes += 1),
        ("session memory", |p| p.session_memory_bytes += 1),
        ("group", |p| p.cost.group += 1),
        ("work memory", |p| p.work_memory_bytes += 1),
        ("client memory", |p| p.client_memory_bytes += 1),
        ("security", |p| p.security_bits -= 1),
        ("error", |p| p.error.units_2_32 += 1),
        ("leak to", |p| p.leaks[1].to = Role::Client),
        ("leak", |p| p.leaks[1].leak = Leak::Outputs),
        ("a leak less", |p| p.leaks.truncate(1)),
        ("leaks in another order", |p| p.leaks.swap(0, 1)),
        ("trust role", |p| p.trust[0].role = Role::Helper),
        ("trust behaviour", |p| p.trust[0].behaviour = Behaviour::SemiHonest),
        ("trust breaks", |p| p.trust[0].breaks.clear()),
        ("no trust row", |p| p.trust.clear()),
    ]
}

/// One change per wording.
fn words() -> Vec<Change> {
    vec![
        ("parameters", |p| p.parameters.push('x')),
        ("assumption", |p| p.error.assumption.push('x')),
        ("leak detail", |p| p.leaks[1].detail.push('x')),
        ("what breaks", |p| p.trust[0].breaks.push('x')),
        ("a step", |p| p.steps[0].push('x')),
        ("a step less", |p| p.steps.truncate(1)),
    ]
}

#[test]
fn the_digest_changes_with_every_choice_and_number_of_a_plan_and_with_no_wording() {
    let mut seen: BTreeSet<Digest> = [base().digest()].into();
    assert_eq!(base().digest(), base().digest());
    for (what, change) in changes() {
        let mut plan = base();
        change(&mut plan);
        assert_ne!(plan, base(), "{what}: the change changes nothing");
        assert!(seen.insert(plan.digest()), "{what} is not in the digest");
    }
    for (what, change) in words() {
        let mut plan = base();
        change(&mut plan);
        assert_ne!(plan, base(), "{what}: the change changes nothing");
        assert_eq!(plan.digest(), base().digest(), "{what} is in the digest");
    }
}

#[test]
fn every_leak_that_is_more_than_every_service_reveals_must_be_accepted_by_its_name() {
    for leak in Leak::ALL {
        assert_eq!(Leak::from_name(leak.name()), Some(leak));
        let mut plan = base();
        plan.leaks = vec![LeakStatement { to: Role::Helper, leak, detail: "all of it".into() }];
        let refused = Wish::default().admit(&plan, 1);
        let others = Leak::ALL.into_iter().filter(|l| *l != leak).collect();
        let with_others = Wish { accepted_leaks: others, ..Wish::default() }.admit(&plan, 1);
        if leak.needs_acceptance() {
            for e in [refused.unwrap_err(), with_others.unwrap_err()] {
                assert_eq!(e.blame(), Blame::Refused);
                let text = e.to_string();
                for part in ["toy", "helper", "all of it", &format!("--accept-leak {leak}")] {
                    assert!(text.contains(part), "{text}");
                }
            }
        } else {
            refused.unwrap();
            with_others.unwrap();
        }
        Wish { accepted_leaks: vec![leak], ..Wish::default() }.admit(&plan, 1).unwrap();
    }
    assert_eq!(Leak::from_name("everything"), None);
    assert_eq!(Leak::ALL.map(Leak::name).into_iter().collect::<BTreeSet<_>>().len(), Leak::ALL.len());
}

#[test]
fn the_limit_on_bytes_is_the_most_that_is_admitted() {
    let mut plan = base();
    plan.leaks.clear();
    // Setup 1010, offline 7 and online 120 per sample.
    let admit = |max, samples| Wish { max_bytes: Some(max), ..Wish::default() }.admit(&plan, samples);
    admit(1010 + 2 * 127, 2).unwrap();
    let e = admit(1010 + 2 * 127 - 1, 2).unwrap_err();
    assert_eq!(e.blame(), Blame::Refused);
    assert!(["1264 bytes", "1263", "--max-bytes"].iter().all(|part| e.to_string().contains(part)), "{e}");
    admit(1010, 0).unwrap();
    assert!(admit(u64::MAX - 1, u64::MAX).is_err(), "no product wraps around");
    admit(u64::MAX, u64::MAX).unwrap();
    Wish::default().admit(&plan, u64::MAX).unwrap();
}

#[test]
fn without_a_limit_of_the_user_the_bytes_of_keys_have_one() {
    let mut plan = base();
    plan.leaks.clear();
    let told = Wish { max_bytes: Some(u64::MAX), ..Wish::default() };
    for (key_bytes, admitted) in [(DEFAULT_MAX_KEY_BYTES, true), (DEFAULT_MAX_KEY_BYTES + 1, false)] {
        plan.key_bytes = key_bytes;
        assert_eq!(Wish::default().admit(&plan, 1).is_ok(), admitted);
        told.admit(&plan, 1).unwrap();
    }
}

#[test]
fn a_group_with_fewer_samples_costs_as_much_as_a_full_one() {
    let mut plan = base();
    plan.cost.group = 4;
    let online = |samples| plan.cost.traffic(samples).online.up_bytes;
    assert_eq!([0, 1, 3, 4, 5, 8, 9].map(online), [0, 100, 100, 100, 200, 200, 300]);
    assert_eq!([0, 1, 4, 5].map(|n| plan.cost.groups(n)), [0, 1, 1, 2]);
    assert_eq!(oblivia_protocol::Cost::default().groups(7), 7);
}

#[test]
fn a_client_works_with_no_more_memory_than_it_was_told() {
    let mut plan = base();
    plan.leaks.clear();
    plan.client_memory_bytes = DEFAULT_MAX_CLIENT_MEMORY;
    let admit = |plan: &Plan, max_memory| Wish { max_memory, ..Wish::default() }.admit(plan, 1);
    admit(&plan, None).unwrap();
    let e = admit(&plan, Some(DEFAULT_MAX_CLIENT_MEMORY - 1)).unwrap_err();
    assert!(e.blame() == Blame::Refused && e.to_string().contains("--max-memory"), "{e}");
    plan.client_memory_bytes += 1;
    assert!(admit(&plan, None).is_err());
    admit(&plan, Some(u64::MAX)).unwrap();
}

#[test]
fn packs_count_twice_where_they_are_made_or_used_and_nowhere_else() {
    let mut plan = base();
    plan.leaks.clear();
    plan.client_memory_bytes = 1000;
    let admits = |plan: &Plan, max_memory, ahead| {
        let wish = Wish { max_memory: Some(max_memory), ..Wish::default() };
        (wish.admit_with(plan, ahead, 1).is_ok(), wish.admits_packs(plan))
    };
    let made = AheadUse::Made { groups: 1 };
    assert_eq!(admits(&plan, 1000, made), (true, true), "a plan without packs");
    plan.cost.ahead = Some(AHEAD);
    let with = 1000 + 2 * AHEAD.pack_bytes;
    assert_eq!(admits(&plan, 1000, AheadUse::None), (true, false));
    assert_eq!(admits(&plan, with - 1, made), (false, false));
    assert_eq!(admits(&plan, with, made), (true, true));
}

#[test]
fn what_was_made_ahead_is_declared_where_it_was_made_and_not_where_it_is_used() {
    let mut plan = base();
    let without = plan.cost.traffic(5);
    let used = |groups| AheadUse::Used { groups };
    assert_eq!(plan.cost.traffic_with(KeyUse::Sent, used(2), 5), without, "a plan without packs");
    plan.cost.ahead = Some(AHEAD);
    let with = |ahead| plan.cost.traffic_with(KeyUse::Sent, ahead, 5);
    assert_eq!(with(AheadUse::None), without);
    let PhaseTraffic { online, .. } = without;
    let offline = |groups| plan.cost.offline.times(groups);
    assert_eq!(with(used(0)), PhaseTraffic { setup: AHEAD.setup_some, offline: offline(5), online });
    assert_eq!(with(used(3)), PhaseTraffic { setup: AHEAD.setup_some, offline: offline(2), online });
    assert_eq!(with(used(5)), PhaseTraffic { setup: AHEAD.setup_all, offline: offline(0), online });
    let made = PhaseTraffic { setup: AHEAD.setup_make, offline: offline(5), online: Traffic::default() };
    assert_eq!(with(AheadUse::Made { groups: 5 }), made);
    let wish = |max| Wish { max_bytes: Some(max), accepted_leaks: vec![Leak::Input], ..Wish::default() };
    let most = made.total_bytes();
    let admit = |max| wish(max).admit_with(&plan, AheadUse::Made { groups: 5 }, 5);
    assert!(admit(most).is_ok() && admit(most - 1).is_err());
}

#[test]
fn who_learns_what_is_found_by_role() {
    let plan = base();
    assert_eq!(plan.learned_by(Role::Server).count(), 2);
    assert_eq!(plan.learned_by(Role::Client).count(), 0);
}

fn receipt() -> Receipt {
    let plan = base();
    let agreement = Traffic { up_bytes: 11, down_bytes: 12, rounds: 3 };
    let mut traffic = plan.cost.traffic(5);
    traffic.setup += agreement;
    Receipt {
        keys: KeyReceipt::of(&plan, KeyUse::Sent),
        schema: Receipt::SCHEMA,
        model: "m".into(),
        plan_id: plan.digest().short(),
        plan,
        samples: 5,
        ahead: AheadUse::None,
        agreement,
        traffic,
        ops: OpCounts::default(),
        seconds: Seconds { setup: 1.0, offline: 0.5, online: 2.0 },
        threads: 2,
        allowance: None,
        assurance: "none".into(),
    }
}

#[test]
fn a_receipt_prints_its_schema_its_plan_and_what_was_measured() {
    let r = receipt();
    let json: serde_json::Value = serde_json::to_value(&r).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["schema"], Receipt::SCHEMA);
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "agreement",
        "ahead",
        "assurance",
        "keys",
        "model",
        "ops",
        "plan",
        "plan_id",
        "samples",
        "schema",
        "seconds",
        "threads",
        "traffic",
    ];
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), expected.into_iter().collect());
    assert_eq!(json["plan"]["model"], r.plan.model.0.hex());
    assert_eq!(json["plan"]["leaks"][1]["leak"], "input");
    assert_eq!(json["plan"]["leaks"][1]["to"], "server");
    assert_eq!(json["plan"]["trust"][0]["behaviour"], "malicious");
    assert_eq!(json["plan"]["choices"].get("bytes"), None);
    assert_eq!(json["traffic"]["online"]["up_bytes"], 500);
    assert_eq!(json["keys"], serde_json::json!({ "how": "sent", "sent_bytes": 988 }));
    assert_eq!(json["seconds"]["online"], 2.0);
    assert_eq!(r.seconds.total(), 3.5);
}

#[test]
fn a_receipt_tells_any_deviation_from_the_declared_traffic() {
    assert!(receipt().as_declared());
    let off: [fn(&mut PhaseTraffic); 4] = [
        |t| t.setup.up_bytes += 1,
        |t| t.offline.down_bytes -= 1,
        |t| t.online.rounds += 1,
        |t| t.online.up_bytes -= 1,
    ];
    for change in off {
        let mut r = receipt();
        change(&mut r.traffic);
        assert!(!r.as_declared());
    }
}

#[test]
fn a_receipt_of_reused_keys_declares_the_traffic_without_them() {
    let mut r = receipt();
    r.keys = KeyReceipt::of(&r.plan, KeyUse::Reused);
    assert_eq!(r.keys.sent_bytes, 0);
    assert!(!r.as_declared(), "keys were sent all the same");
    r.traffic.setup.up_bytes -= 988;
    assert!(r.as_declared());
}

#[test]
fn a_plan_that_a_toy_searches_is_the_plan_a_toy_checks() {
    let model = model("m");
    let plan = TOY.plan(&model, &Wish::default()).unwrap();
    assert_eq!(TOY.check(&model, &plan.choices).unwrap().digest(), plan.digest());
}
