use crate::MpcError;

/// Version of the table of [`LpnSet`]. It goes up whenever a set is added, changed or struck off, and both parties hash
/// it; a peer with another table gets nowhere.
pub const TABLE_VERSION: u16 = 1;

/// Sets of parameters of LPN with regular noise over GF(2): k unknowns, t trees of depth d, N = t·2^d samples of weight
/// ten.
///
/// They were chosen by the authors of the emp-ot library (1.0) for about 128 bits against Gauss, information-set
/// decoding (Stern–Dumer, BJMM), the hybrid and the algebraic attack of Briaud and Øygarden. The estimate repeated here is
/// the cheapest one to state, pooled Gauss with the parities that regular noise gives for free: each tree has an odd
/// number of errors, so k' = k − t; a guess of k' clean samples is right with (1 − k'/N)^t and costs k² operations
/// ([`LpnSet::pooled_gauss_bits`]). The finer estimators have not been run here again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LpnSet {
    /// 796,236 COTs for 136 kB: between the extension and the larger sets, or where a table of 1 MiB pays.
    B10 = 10,
    /// 2,252,090 COTs for 206 kB: the usual one.
    B11 = 11,
    /// 5,945,408 COTs for 292 kB.
    B12 = 12,
    /// 15,015,684 COTs for 395 kB: for more than 10^7.
    B13 = 13,
}

/// (N, k, t) of sets that were in use and fall below 128 bits (118 to 120); refused by name.
const REJECTED: [(u64, u32, u32); 3] =
    [(10_180_608, 124_000, 4971), (10_268_672, 238_000, 2507), (10_485_760, 452_000, 1280)];

impl LpnSet {
    /// All sets of this version, smallest first.
    pub const ALL: [LpnSet; 4] = [Self::B10, Self::B11, Self::B12, Self::B13];

    /// The set with these parameters.
    ///
    /// # Errors
    /// [`MpcError::LpnSet`] if the table of version `version` is not this one or has no such set.
    pub fn admit(version: u16, outputs: u64, unknowns: u32, trees: u32) -> Result<Self, MpcError> {
        let found = Self::ALL.into_iter().find(|s| {
            (s.outputs() as u64, 1 << s.log_table(), s.trees() as u32) == (outputs, unknowns, trees)
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
            Self::B10 => 850,
            Self::B11 => 1170,
            Self::B12 => 1520,
            Self::B13 => 1900,
        }
    }

    /// d.
    pub fn depth(self) -> usize {
        self as usize
    }

    /// log2 k.
    pub fn log_table(self) -> u32 {
        self as u32 + 6
    }

    /// N: COTs that a round makes.
    pub fn outputs(self) -> usize {
        self.trees() << self.depth()
    }

    /// M: COTs that a round takes.
    pub fn base_cots(self) -> usize {
        (1 << self.log_table()) + self.trees() * self.depth() + super::MASKS
    }

    /// N − M: COTs that are gained if the next round is of the same set.
    pub fn net(self) -> usize {
        self.outputs() - self.base_cots()
    }

    /// Bytes of the sender's first message.
    pub fn message_bytes(self) -> usize {
        32 + 16 * self.trees() * self.depth()
    }

    /// log2 of the operations of pooled Gauss, see the type.
    pub fn pooled_gauss_bits(self) -> f64 {
        let (k, t, n) = (f64::from(1u32 << self.log_table()), self.trees() as f64, self.outputs() as f64);
        let unknown = k - t;
        2.0 * k.log2() - t * (1.0 - unknown / n).log2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oblivia_base::Blame;

    #[test]
    fn net_outputs_and_estimates_are_those_of_the_table() {
        let rows = [
            (LpnSet::B10, 796_236, 126.7),
            (LpnSet::B11, 2_252_090, 128.1),
            (LpnSet::B12, 5_945_408, 129.8),
            (LpnSet::B13, 15_015_684, 131.6),
        ];
        for (set, net, bits) in rows {
            assert_eq!(set.net(), net);
            assert!((set.pooled_gauss_bits() - bits).abs() < 0.1, "{set:?}: {}", set.pooled_gauss_bits());
            let (n, k, t) = (set.outputs() as u64, 1 << set.log_table(), set.trees() as u32);
            assert_eq!(LpnSet::admit(TABLE_VERSION, n, k, t), Ok(set));
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
            LpnSet::admit(TABLE_VERSION + 1, set.outputs() as u64, 1 << set.log_table(), set.trees() as u32);
        assert!(other.is_err());
    }
}
