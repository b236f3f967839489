//! Products: of shared bits, of bits each party holds one of, and of a shared bit with a shared number.
//!
//! Products of shared bits are those of Goldreich, Micali and Wigderson (1987) with triples from random OTs, G. Asharov
//! et al. (2013); numbers times bits by correlated OT as in D. Demmler et al., *ABY* (2015), with the correction sent
//! before the flip is known.

use crate::bits::require;
use crate::pads::Values;
use crate::share::mask;
use crate::{Bits, Cost, Link, MpcError, PadSource, Party, Session, Shares};

/// Shared bits to be multiplied by one shared bit: a·b_0 and, if there is one, a·b_1.
pub(crate) struct AndJob<'a> {
    pub(crate) a: &'a Bits,
    pub(crate) b: [Option<&'a Bits>; 2],
}

impl AndJob<'_> {
    fn factors(&self) -> impl Iterator<Item = &Bits> {
        self.b.iter().copied().flatten()
    }
}

/// Products of shared bits, all in one exchange. Bits 2(1 + factors) and two COTs per lane and job.
///
/// One random OT of w-bit strings in each direction is w bit triples that share a: with pads m_0, m_1 of the OT this
/// party sends and c, m_c of the one it chooses, its shares are A = c, B = m_0 ⊕ m_1, C = AB ⊕ m_0 ⊕ m_c. Opened are
/// d = a ⊕ A and e = b ⊕ B; ab = C ⊕ dB ⊕ eA ⊕ de.
pub(crate) async fn and<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    jobs: &[AndJob<'_>],
) -> Result<Vec<[Option<Bits>; 2]>, MpcError> {
    struct Open {
        big_a: Bits,
        big_b: Vec<Bits>,
        big_c: Vec<Bits>,
        masked: Vec<Bits>,
    }
    let mut open = Vec::with_capacity(jobs.len());
    let mut bits = 0;
    for job in jobs {
        let n = job.a.len();
        let w = job.factors().count() as u32;
        let sent = cx.pads().send_planes(1, w, n)?;
        let [choice, chosen] = cx.pads().choose_planes(1, w, n)?;
        let big_a = choice.into_iter().next().unwrap_or_else(|| Bits::zeros(n));
        let (zero, one) = sent.split_at(w as usize);
        let mut masked = vec![job.a.xor(&big_a)];
        let (mut big_b, mut big_c) = (Vec::new(), Vec::new());
        for (((b, m0), m1), mc) in job.factors().zip(zero).zip(one).zip(&chosen) {
            let share = m0.xor(m1);
            let words = big_a.words().iter().zip(share.words()).zip(m0.words()).zip(mc.words());
            big_c.push(Bits::from_words(n, words.map(|(((a, b), m0), mc)| (a & b) ^ m0 ^ mc).collect()));
            masked.push(b.xor(&share));
            big_b.push(share);
        }
        bits += n * masked.len();
        open.push(Open { big_a, big_b, big_c, masked });
    }
    let heard = cx
        .exchange(
            |w| open.iter().flat_map(|o| &o.masked).for_each(|m| w.bits(m)),
            bits,
            |r| {
                let planes = open.iter().map(|o| o.masked.iter().map(|m| r.bits(m.len())).collect());
                planes.collect::<Result<Vec<Vec<Bits>>, _>>()
            },
        )
        .await?;
    let ones = if cx.party() == Party::Server { !0 } else { 0 };
    let product = |o: Open, heard: Vec<Bits>| {
        let mut opened = o.masked.iter().zip(&heard).map(|(m, h)| m.xor(h));
        let d = opened.next();
        let mut products = opened.zip(&o.big_b).zip(&o.big_c).map(|((e, big_b), big_c)| {
            let d = d.as_ref().map_or(&[][..], Bits::words);
            let ab = o.big_a.words().iter().zip(big_b.words());
            let words = d.iter().zip(e.words()).zip(ab).zip(big_c.words());
            let word = words.map(|(((d, e), (a, b)), c)| c ^ (d & b) ^ (e & a) ^ (d & e & ones));
            Bits::from_words(e.len(), word.collect())
        });
        [products.next(), products.next()]
    };
    Ok(open.into_iter().zip(heard).map(|(o, h)| product(o, h)).collect())
}

/// Per lane, of one job with `factors` factors.
pub(crate) fn and_cost(factors: u64) -> Cost {
    Cost::exchange(1 + factors, 1 + factors).with_cots(1, 1)
}

/// Shares of a·b for shared bits a and b: 4 bits and two COTs per lane, one exchange.
///
/// # Errors
/// [`MpcError::Argument`] if lengths differ; what the peer or the stocks cause.
pub async fn and_bits<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    a: &Bits,
    b: &Bits,
) -> Result<Bits, MpcError> {
    b.require_len("lanes of the second factor", a.len())?;
    let products = and(cx, &[AndJob { a, b: [Some(b), None] }]).await?;
    Ok(products.into_iter().next().and_then(|[p, _]| p).unwrap_or_else(|| Bits::zeros(a.len())))
}

/// Of [`and_bits`], per lane.
pub fn and_bits_cost() -> Cost {
    and_cost(1)
}

/// Shares of a_C·a_S for a bit each party holds: 2 bits and one COT per lane, one exchange. The pen's holder is the
/// sender.
///
/// # Errors
/// What the peer or the stocks cause.
pub async fn and_private<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    mine: &Bits,
) -> Result<Bits, MpcError> {
    let n = mine.len();
    if cx.holds_pen() {
        let pads = cx.pads().send_planes(1, 1, n)?;
        let [m0, m1] = two(pads, n);
        let mut masked = mine.xor(&m0);
        masked.xor_assign(&m1);
        let d = cx.exchange(|w| w.bits(&masked), n, |r| r.bits(n)).await?;
        Ok(d.and(mine).xor(&m0))
    } else {
        let [choice, chosen] = cx.pads().choose_planes(1, 1, n)?;
        let [c, mc] = two([choice, chosen].concat(), n);
        let d = mine.xor(&c);
        let masked = cx.exchange(|w| w.bits(&d), n, |r| r.bits(n)).await?;
        Ok(c.and(&masked).xor(&mc))
    }
}

/// Of [`and_private`], per lane.
pub fn and_private_cost() -> Cost {
    Cost::exchange(1, 1).with_cots(1, 0)
}

fn two(planes: Vec<Bits>, n: usize) -> [Bits; 2] {
    let mut planes = planes.into_iter();
    [(); 2].map(|()| planes.next().unwrap_or_else(|| Bits::zeros(n)))
}

/// A number this party has, to be multiplied by a bit the peer has, mod 2^width.
pub(crate) struct Sent<'a> {
    pub(crate) width: u32,
    pub(crate) delta: &'a [u64],
}

/// A bit this party has, to be multiplied by a number the peer has, mod 2^width.
pub(crate) struct Chosen<'a> {
    pub(crate) width: u32,
    pub(crate) bit: &'a Bits,
}

/// Additive shares of the products, of what was sent and of what was chosen, in order; not reduced.
type Products = (Vec<Values>, Vec<Values>);

/// Products of a bit one party has with a number the other has, in one exchange: width + 1 bits and one COT each.
///
/// The sender says τ = δ + m_0 − m_1 without waiting for the flip d = b ⊕ c of the chooser. The chooser's share of c·δ is
/// m_c + c·τ, the sender's −m_0; where d = 1 the chooser negates and the sender takes δ minus its own.
pub(crate) async fn products<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    sent: &[Sent<'_>],
    chosen: &[Chosen<'_>],
) -> Result<Products, MpcError> {
    let mut corrections = Vec::with_capacity(sent.len());
    for s in sent {
        let [zero, mut one] = cx.pads().send_values(s.delta.len())?;
        for ((one, zero), delta) in one.iter_mut().zip(zero.iter()).zip(s.delta) {
            *one = delta.wrapping_add(*zero).wrapping_sub(*one);
        }
        corrections.push((zero, one));
    }
    let mut flips = Vec::with_capacity(chosen.len());
    for c in chosen {
        let (choice, pad) = cx.pads().choose_values(c.bit.len())?;
        flips.push((c.bit.xor(&choice), choice, pad));
    }
    let bits = sent.iter().map(|s| s.delta.len()).sum::<usize>()
        + chosen.iter().map(|c| c.width as usize * c.bit.len()).sum::<usize>();
    let (peer_flips, peer_corrections) = cx
        .exchange(
            |w| {
                flips.iter().for_each(|(d, ..)| w.bits(d));
                sent.iter().zip(&corrections).for_each(|(s, (_, tau))| w.values(s.width, tau));
            },
            bits,
            |r| {
                let d = sent.iter().map(|s| r.bits(s.delta.len())).collect::<Result<Vec<_>, _>>()?;
                let tau = chosen.iter().map(|c| r.values(c.width, c.bit.len()));
                Ok((d, tau.collect::<Result<Vec<_>, _>>()?))
            },
        )
        .await?;
    let of_sent = sent.iter().zip(corrections).zip(&peer_flips).map(|((s, (mut zero, _)), flip)| {
        let lanes = zero.chunks_mut(64).zip(s.delta.chunks(64));
        for ((zero, delta), flip) in lanes.zip(flip.words()) {
            for (i, (zero, delta)) in zero.iter_mut().zip(delta).enumerate() {
                // −m_0, or δ + m_0 where the chooser flipped.
                let d = (flip >> i & 1).wrapping_neg();
                *zero = (delta & d).wrapping_add((*zero ^ !d).wrapping_sub(!d));
            }
        }
        zero
    });
    let of_chosen = flips.into_iter().zip(&peer_corrections).map(|((flip, choice, mut pad), tau)| {
        let lanes = pad.chunks_mut(64).zip(tau.chunks(64));
        for ((pad, tau), (flip, choice)) in lanes.zip(flip.words().iter().zip(choice.words())) {
            for (i, (pad, tau)) in pad.iter_mut().zip(tau).enumerate() {
                let (d, c) = ((flip >> i & 1).wrapping_neg(), (choice >> i & 1).wrapping_neg());
                let share = pad.wrapping_add(tau & c);
                *pad = (share ^ d).wrapping_sub(d);
            }
        }
        pad
    });
    Ok((of_sent.collect(), of_chosen.collect()))
}

/// b·x for a shared bit b and shared numbers x: 2(l + 1) bits and two COTs per lane, one exchange.
///
/// b·x = Σ over the parties of b_A·x_A + b_B·x_A·(1 − 2b_A).
///
/// # Errors
/// [`MpcError::Argument`] if lengths differ; what the peer or the stocks cause.
pub async fn select<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    b: &Bits,
    x: &Shares,
) -> Result<Shares, MpcError> {
    let [product] = select_all(cx, b, [x]).await?;
    Ok(product)
}

/// Of [`select`], per element of `width` bits.
pub fn select_cost(width: u32) -> Cost {
    let bits = u64::from(width) + 1;
    Cost::exchange(bits, bits).with_cots(1, 1)
}

/// [`select`] of several vectors by the same bits, in one exchange.
pub(crate) async fn select_all<L: Link, P: PadSource, const N: usize>(
    cx: &mut Session<L, P>,
    b: &Bits,
    x: [&Shares; N],
) -> Result<[Shares; N], MpcError> {
    let mut deltas = Vec::with_capacity(N);
    for x in x {
        require(
            x.len() == b.len(),
            "elements to select from",
            x.len() as u64,
            "as many as bits that select",
        )?;
        deltas.push(per_lane(b, x.values(), |bit, x| (x ^ bit).wrapping_sub(bit)));
    }
    let sent = x.iter().zip(&deltas).map(|(x, delta)| Sent { width: x.width(), delta });
    let chosen = x.iter().map(|x| Chosen { width: x.width(), bit: b });
    let (sent, chosen) = products(cx, &sent.collect::<Vec<_>>(), &chosen.collect::<Vec<_>>()).await?;
    let mut shares = x.iter().zip(sent.iter().zip(&chosen)).map(|(x, (s, c))| {
        let mut own = per_lane(b, x.values(), |bit, x| x & bit);
        for ((own, s), c) in own.iter_mut().zip(s.iter()).zip(c.iter()) {
            *own = own.wrapping_add(*s).wrapping_add(*c);
        }
        Shares::cut(x.width(), std::mem::take(&mut *own))
    });
    Ok(x.map(|x| shares.next().unwrap_or_else(|| Shares::cut(x.width(), Vec::new()))))
}

/// `f` of the bit, spread over a word, and of the value of each lane.
fn per_lane(b: &Bits, x: &[u64], f: impl Fn(u64, u64) -> u64) -> Values {
    let mut out = Values::new(Vec::with_capacity(x.len()));
    for (word, x) in b.words().iter().zip(x.chunks(64)) {
        out.extend(x.iter().enumerate().map(|(i, x)| f((word >> i & 1).wrapping_neg(), *x)));
    }
    out
}

/// A shared bit as a number mod 2^width: b_C + b_S − 2·b_C·b_S, the product mod 2^(width − 1). `width` bits and one COT
/// per lane, one exchange; none where width is 1. The pen's holder is the sender.
///
/// # Errors
/// [`MpcError::Argument`] unless 1 ≤ width ≤ 64; what the peer or the stocks cause.
pub async fn to_ring<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    b: &Bits,
    width: u32,
) -> Result<Shares, MpcError> {
    let mut out = to_ring_all(cx, &[(b, width)]).await?;
    out.pop().map_or_else(|| Shares::new(width, Vec::new()), Ok)
}

/// Of [`to_ring`], per lane.
pub fn to_ring_cost(width: u32) -> Cost {
    to_ring_all_cost(&[width])
}

/// [`to_ring`] of several vectors of bits in one exchange; the parties take turns as sender.
pub(crate) async fn to_ring_all<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    jobs: &[(&Bits, u32)],
) -> Result<Vec<Shares>, MpcError> {
    let numbers: Vec<Values> = jobs.iter().map(|(b, _)| as_values(b)).collect();
    let (mut sent, mut chosen) = (Vec::new(), Vec::new());
    let led = cx.holds_pen();
    for (i, ((bit, width), delta)) in jobs.iter().zip(&numbers).enumerate() {
        require((1..=64).contains(width), "width of a ring", u64::from(*width), "1 to 64 bits")?;
        match (width - 1, i.is_multiple_of(2) == led) {
            (0, _) => {}
            (width, true) => sent.push(Sent { width, delta }),
            (width, false) => chosen.push(Chosen { width, bit }),
        }
    }
    let (sent, chosen) = products(cx, &sent, &chosen).await?;
    let (mut sent, mut chosen) = (sent.into_iter(), chosen.into_iter());
    let shares = jobs.iter().zip(numbers).enumerate().map(|(i, ((_, width), mut value))| {
        let product = match (width - 1, i.is_multiple_of(2) == led) {
            (0, _) => None,
            (_, true) => sent.next(),
            (_, false) => chosen.next(),
        };
        for (v, p) in value.iter_mut().zip(product.iter().flat_map(|p| p.iter())) {
            *v = v.wrapping_sub(p << 1);
        }
        Shares::cut(*width, std::mem::take(&mut *value))
    });
    Ok(shares.collect())
}

/// Of [`to_ring_all`], per lane.
pub(crate) fn to_ring_all_cost(widths: &[u32]) -> Cost {
    let mut bits = [0; 2];
    let mut cots = [0; 2];
    for (i, width) in widths.iter().enumerate().filter(|(_, w)| **w > 1) {
        bits[i % 2] += u64::from(width - 1);
        bits[(i + 1) % 2] += 1;
        cots[i % 2] += 1;
    }
    Cost::exchange(bits[0], bits[1]).with_cots(cots[0], cots[1])
}

/// 0 or 1 per lane.
pub(crate) fn as_values(b: &Bits) -> Values {
    let mut out = Values::new(Vec::with_capacity(b.len()));
    for (w, word) in b.words().iter().enumerate() {
        out.extend((0..64.min(b.len() - 64 * w)).map(|i| word >> i & 1));
    }
    out
}

/// Shares of the product of a bit each party holds, mod 2^width: width + 1 bits and one COT per lane, one exchange, led
/// and sent by the pen's holder.
pub(crate) async fn private_product<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    mine: &Bits,
    width: u32,
) -> Result<Values, MpcError> {
    let (sent, chosen) = if cx.holds_pen() {
        products(cx, &[Sent { width, delta: &as_values(mine) }], &[]).await?
    } else {
        products(cx, &[], &[Chosen { width, bit: mine }]).await?
    };
    Ok(sent.into_iter().chain(chosen).next().unwrap_or_default())
}

/// −x mod 2^width.
pub(crate) fn negate(x: u64, width: u32) -> u64 {
    x.wrapping_neg() & mask(width)
}
