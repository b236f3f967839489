use crate::MpcError;

/// Version of the table of [`LpnSet`]. It goes up whenever a set is added, changed or struck off, and both parties hash
/// it; a peer with another table gets nowhere.
pub const TABLE_VERSION: u16 = 3;

/// Sets of parameters of sparse LPN over GF(16) with regular noise: k/4 unknowns, N/4 samples with ten unknowns in each, and in
/// each of t blocks of 2^d / 4 samples one whose error is not 0, but one of the four elements of the basis.
///
/// Four bits of choices are an element of GF(16), so these are k unknown bits and N = t·2^d COTs. This is a variant of sparse LPN
/// over a field (Alekhnovich 2003 over GF(2); Dao, Ishai, Jain, Lin 2023) with more structure: every sample has each coefficient
/// α^j, j from 0 to 4, twice, once with an unknown of the lower and once of the upper half, otherwise random; an error has one of
/// four values; and there is one to a block. Other silent OTs take the case GF(2) with regular noise, where an output costs ten
/// lines of the cache, and not ten for four outputs.
///
/// They have k = 2^(d+7) and the largest N, a multiple of k, that leaves 129 bits in every row of `scripts/lpn_estimates.py`: Gauss,
/// information-set decoding, the algebraic attacks on regular noise (Briaud and Øygarden 2023 and later), and, which decides,
/// attacks that use that the matrix is sparse (domain reduction, Chen, Shu, Zhou 2025). The crate's README has the table, and says
/// what the field does to an attacker. Sets in use elsewhere, over GF(2), have k = 2^(d+6), were chosen for a random matrix, and fall
/// to the last of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LpnSet {
    /// 316,288 COTs for 180 kB: the least to begin with, and a table of 512 KiB.
    B8 = 8,
    /// 706,944 COTs for 221 kB.
    B9 = 9,
    /// 1,556,096 COTs for 266 kB.
    B10 = 10,
    /// 3,388,032 COTs for 315 kB.
    B11 = 11,
    /// 7,839,616 COTs for 393 kB, and a table of 8 MiB.
    B12 = 12,
}

/// (N, k, t) of sets that were or are in use and fall below 128 bits; refused by name. The first three do so on a random matrix
/// already (118 to 120), the others on a sparse one.
const REJECTED: [(u64, u32, u32); 7] = [
    (10_180_608, 124_000, 4971),
    (10_268_672, 238_000, 2507),
    (10_485_760, 452_000, 1280),
    (850 << 10, 1 << 16, 850),
    (1170 << 11, 1 << 17, 1170),
    (1520 << 12, 1 << 18, 1520),
    (1900 << 13, 1 << 19, 1900),
];

impl LpnSet {
    /// All sets of this version, smallest first.
    pub const ALL: [LpnSet; 5] = [Self::B8, Self::B9, Self::B10, Self::B11, Self::B12];

    /// The set with these parameters.
    ///
    /// # Errors
    /// [`MpcError::LpnSet`] if the table of version `version` is not this one or has no such set.
    pub fn admit(version: u16, outputs: u64, unknowns: u32, trees: u32) -> Result<Self, MpcError> {
        let found = Self::ALL.into_iter().find(|s| {
            (s.outputs() as u64, s.unknowns() as u32, s.trees() as u32) == (outputs, unknowns, trees)
        });
        match found {
            Some(set) if version == TABLE_VERSION => Ok(set),
            _ => {
                let weak = REJECTED.contains(&(outputs, unknowns, trees));
                Err(MpcError::LpnSet { version, outputs, unknowns, trees, weak })
            }
        }
    }

    /// t.
    pub fn trees(self) -> usize {
        match self {
            Self::B8 => 1408,
            Self::B9 => 1536,
            Self::B10 => 1664,
            Self::B11 => 1792,
            Self::B12 => 2048,
        }
    }

    /// d.
    pub fn depth(self) -> usize {
        self as usize
    }

    /// k, a power of two.
    pub fn unknowns(self) -> usize {
        1 << (self as u32 + 7)
    }

    /// N: COTs that a round makes.
    pub fn outputs(self) -> usize {
        self.trees() << self.depth()
    }

    /// M: COTs that a round takes.
    pub fn base_cots(self) -> usize {
        self.unknowns() + self.trees() * self.depth() + super::MASKS
    }

    /// N − M: COTs that are gained if the next round is of the same set.
    pub fn net(self) -> usize {
        self.outputs() - self.base_cots()
    }

    /// Bytes of the sender's first message.
    pub fn message_bytes(self) -> usize {
        32 + 16 * self.trees() * self.depth()
    }

    /// log2 of the operations of the best attack that `scripts/lpn_estimates.py` knows, where the best set of whole unknowns
    /// costs nothing: its last row.
    pub fn estimated_bits(self) -> f64 {
        match self {
            Self::B8 | Self::B9 => 129.1,
            Self::B10 => 129.4,
            Self::B11 => 130.0,
            Self::B12 => 129.6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oblivia_base::Blame;

    #[test]
    fn net_outputs_and_estimates_are_those_of_the_table() {
        let rows = [
            (LpnSet::B8, 316_288),
            (LpnSet::B9, 706_944),
            (LpnSet::B10, 1_556_096),
            (LpnSet::B11, 3_388_032),
            (LpnSet::B12, 7_839_616),
        ];
        for (set, net) in rows {
            assert_eq!(set.net(), net, "{set:?}");
            let (n, k, t) = (set.outputs() as u64, set.unknowns() as u32, set.trees() as u32);
            assert_eq!(LpnSet::admit(TABLE_VERSION, n, k, t), Ok(set));
            assert!(set.estimated_bits() >= 128.0);
            // Two attacks that take a line: pooled Gauss, and domain reduction to random columns, k² or size² operations over GF(16)
            // a try.
            let [k, t, n] = [f64::from(k), f64::from(t), n as f64];
            let size = k * (k / n).powf(1.0 / 9.0);
            for (unknown, size) in [(k - 4.0 * t, k), (size, size)] {
                let bits = 2.0 * (size / 4.0).log2() - t * (1.0 - unknown / n).log2();
                assert!(bits > set.estimated_bits(), "{set:?}: {bits}");
            }
        }
    }

    #[test]
    fn older_sets_and_tables_are_refused() {
        for (n, k, t) in REJECTED {
            let refused = LpnSet::admit(TABLE_VERSION, n, k, t).unwrap_err();
            assert!(refused.to_string().contains("below 128 bits"), "{refused}");
            assert_eq!(refused.blame(), Blame::Refused);
        }
        let set = LpnSet::B11;
        let other =
            LpnSet::admit(TABLE_VERSION + 1, set.outputs() as u64, set.unknowns() as u32, set.trees() as u32);
        assert!(other.is_err());
    }
}
