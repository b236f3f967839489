//! The cost table of the specification, and messages of protocols in a row.

use crate::common::*;
use oblivia_mpc::*;

/// Bits and COTs of DReLU and messages to the end of DReLU and selection, per element, by radix: made by
/// `scripts/comparison_costs.py`; the first column is the specification's.
const TABLE: [(u32, [[u64; 3]; 5]); 6] = [
    (8, [[44, 19, 5], [34, 11, 4], [34, 11, 4], [40, 9, 3], [40, 9, 3]]),
    (16, [[106, 43, 6], [88, 27, 5], [92, 25, 5], [96, 23, 5], [118, 21, 4]]),
    (20, [[136, 55, 7], [114, 35, 6], [124, 31, 5], [128, 29, 5], [156, 27, 5]]),
    (32, [[232, 91, 7], [198, 59, 6], [210, 53, 6], [218, 49, 6], [276, 45, 5]]),
    (37, [[270, 106, 8], [233, 68, 7], [247, 62, 6], [255, 58, 6], [331, 52, 6]]),
    (64, [[486, 187, 8], [420, 123, 7], [444, 111, 7], [460, 103, 7], [594, 93, 6]]),
];

#[test]
fn bits_cots_and_messages_are_those_of_the_table() {
    for (l, row) in TABLE {
        for (radix, [bits, cots, messages]) in Radix::ALL.into_iter().zip(row) {
            let cost = drelu_cost(l, radix);
            assert_eq!([cost.bits(), cost.cots()], [bits, cots], "{l} bits, {radix:?}");
            let whole = relu_cost(l, radix);
            assert_eq!(whole.changes() as u64, messages, "messages of {l} bits, {radix:?}");
            assert_eq!(whole.bits(), bits + 2 * (u64::from(l) + 1));
            assert_eq!(whole.cots(), cots + 2);
        }
    }
    let relu32 = relu_cost(32, Radix::Four);
    assert_eq!([relu32.bits(), relu32.cots()], [264, 61]);
}

#[test]
fn what_is_sent_and_taken_is_what_the_table_says() {
    for (l, row) in TABLE {
        for (radix, [bits, cots, messages]) in Radix::ALL.into_iter().zip(row) {
            // A number of lanes for which no message has bits to fill.
            let n = 64;
            let pairs = some_pairs(l, n, 2).map(|v| v[v.len() - n..].to_vec());
            let cost = relu_cost(l, radix).times(n);
            let (_, said, pads) = ideal::pair::run(
                ideal::dealer::pads(&[1; 32]),
                Party::Server,
                shares(l, &pairs),
                async |cx, x| relu(cx, &x, radix).await,
            )
            .unwrap();
            assert_said(&(l, radix), Party::Server, &cost, &said);
            let sent: usize = said.iter().map(|s| 8 * s.1.len()).sum();
            assert_eq!(sent as u64, n as u64 * (bits + 2 * (u64::from(l) + 1)));
            assert_eq!(said.len() as u64, messages + 1, "the flips ride with what the server sent before");
            let taken: u64 = pads[0].taken().iter().sum();
            assert_eq!(taken, n as u64 * (cots + 2));
        }
    }
}

#[test]
fn two_bits_a_digit_beat_single_bits_in_all_and_send_least_from_five_bits_up() {
    for l in 3..=64 {
        let costs = Radix::ALL.map(|r| drelu_cost(l, r));
        let [one, two] = [&costs[0], &costs[1]].map(|c| (c.bits(), c.cots(), c.changes()));
        assert!(two.0 <= one.0 && two.1 < one.1 && two.2 <= one.2, "{l}: {one:?}, {two:?}");
        if l >= 5 {
            assert!(two.0 < one.0);
            assert!(costs.iter().all(|c| c.bits() >= two.0), "{l}: {costs:?}");
            assert_eq!(Radix::cheapest(l, 0.0, 0.0), Radix::Four);
        }
    }
    assert_eq!(Radix::cheapest(32, 1e3, 0.0), Radix::Sixteen);
    assert_eq!(Radix::cheapest(64, 0.0, 1e6), Radix::Sixteen);
}

#[test]
fn the_smaller_protocols_cost_what_the_specification_says() {
    let costs = |c: Cost| (c.bits(), c.cots(), c.changes());
    assert_eq!(costs(and_bits_cost()), (4, 2, 1));
    assert_eq!(costs(and_private_cost()), (2, 1, 1));
    assert_eq!(costs(select_cost(20)), (2 * 21, 2, 1));
    // One bit less than the specification's l + 1: 2·b_C·b_S mod 2^l needs the product mod 2^(l−1).
    assert_eq!(costs(to_ring_cost(20)), (20, 1, 1));
    for range in [Range::NonNegative, Range::SpareBit] {
        assert_eq!(costs(widen_cost(20, 28, range, Radix::Four)), (28 - 20 + 1, 1, 1));
    }
    assert_eq!(costs(truncate_close_cost(8)), (2 * 9, 2, 1));
}

#[test]
fn protocols_in_a_row_share_messages_as_their_costs_do() {
    let (l, n, radix) = (20, 77, Radix::Eight);
    let pairs = some_pairs(l, n, 4).map(|v| v[v.len() - n..].to_vec());
    let cost = relu_cost(l, radix)
        .then(&truncate_close_cost(5))
        .then(&truncate_reduce_cost(l, 3, radix))
        .then(&widen_cost(l - 3, 30, Range::NonNegative, radix))
        .times(n)
        .then(&max_of_cost(1, n, 30, radix));
    for pen in PENS {
        play(&"a row of protocols", pen, shares(l, &pairs), &cost, async |cx, x| {
            let x = relu(cx, &x, radix).await?;
            let x = truncate_close(cx, &x, 5).await?;
            let x = truncate_reduce(cx, &x, 3, radix).await?;
            widen(cx, &x, 30, Range::NonNegative, radix).await
        });
    }
    // H + 2 = 5 messages for the ReLU (3 levels), then each exchange adds one and each comparison H + 1.
    assert_eq!(cost.changes(), 5 + 1 + (1 + 1) + 1);
}

#[test]
fn a_layer_takes_two_messages_more_than_its_relu_and_its_ciphertexts_ride() {
    // Upload, masked result with the flips, comparison and selection, and the widening ahead of the next upload.
    let (l, n, radix, up, down) = (20, 33, Radix::Eight, 1001, 77);
    let pairs = some_pairs(l, n, 4).map(|v| v[v.len() - n..].to_vec());
    let layer = Cost::of_bytes(up)
        .then(&Cost::of_passing())
        .then(&Cost::of_bytes(down))
        .then(&relu_cost(l, radix).times(n))
        .then(&widen_cost(l, l + 8, Range::NonNegative, radix).times(n));
    let pen = layer.pen_after(Party::Client);
    let cost = layer.clone().then(&reveal_cost(l + 8, Party::Client, pen).times(n));
    let x = numbers(l, &pairs);
    let bytes = |n: u64| (0..n).map(|i| (i * i) as u8).collect::<Vec<u8>>();
    let got = play(&"layer", Party::Client, shares(l, &pairs), &cost, async |cx, x| {
        if cx.party() == Party::Client {
            cx.put_bytes(&bytes(up))?;
            cx.pass_pen();
            assert_eq!(cx.get_bytes(down as usize).await?, bytes(down));
        } else {
            assert_eq!(cx.get_bytes(up as usize).await?, bytes(up));
            cx.pass_pen();
            cx.put_bytes(&bytes(down))?;
        }
        let x = relu(cx, &x, radix).await?;
        let x = widen(cx, &x, l + 8, Range::NonNegative, radix).await?;
        assert_eq!(cx.pen(), pen);
        let opened = reveal(cx, &x, Party::Client).await;
        assert_eq!(cx.pen(), Party::Server, "the party that spoke writes on");
        opened
    });
    let want = x.iter().map(|x| ideal::clear::widen(ideal::clear::relu(*x, l), l, l + 8)).collect();
    assert_eq!(got, [Some(want), None]);
    // H = 3: the upload, H + 3 messages, and the client's half of the widening in front of the next upload.
    assert_eq!(layer.changes(), 1 + 3 + 2 + 1);
}

#[test]
fn bytes_out_of_turn_are_refused() {
    let none = || shares(16, &[vec![], vec![]]);
    let got = play(&"out of turn", Party::Client, none(), &Cost::none(), async |cx, _| {
        Ok(if cx.party() == Party::Client { cx.get_bytes(3).await.err() } else { cx.put_bytes(&[1]).err() })
    });
    assert!(got.iter().all(|e| matches!(e, Some(MpcError::Argument { .. }))));
}
