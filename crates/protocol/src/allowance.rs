//! How many samples a client may still ask for, as a server counts them.
#![deny(clippy::indexing_slicing)]

use oblivia_base::codec::{Decode, DecodeError, Encode, Fault, Reader, Writer};
use serde::Serialize;
use std::fmt;

/// What a budget is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// One client's samples of one model.
    Client,
    /// The same on one day (UTC).
    ClientDay,
    /// All clients' samples of one model.
    Model,
    /// The same on one day (UTC).
    ModelDay,
}

impl Budget {
    const ALL: [Self; 4] = [Self::Client, Self::ClientDay, Self::Model, Self::ModelDay];

    /// Whether it begins anew at midnight UTC.
    pub fn is_daily(self) -> bool {
        matches!(self, Self::ClientDay | Self::ModelDay)
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "for this client with this model",
            Self::ClientDay => "for this client with this model per day (UTC)",
            Self::Model => "for all clients of this model together",
            Self::ModelDay => "for all clients of this model together per day (UTC)",
        })
    }
}

impl Encode for Budget {
    fn encode(&self, w: &mut Writer) {
        w.u8(Self::ALL.iter().position(|b| b == self).map_or(0, |i| i as u8));
    }
}

impl Decode for Budget {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = r.u8("budget")?;
        Self::ALL.get(usize::from(code)).copied().ok_or_else(|| r.error("budget", Fault::Invalid))
    }
}

/// What is left of a client's tightest budget once the session at hand is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Allowance {
    /// Which budget leaves least.
    pub budget: Budget,
    /// How many images it has.
    pub images: u64,
    /// How many of them are left.
    pub left: u64,
}

impl Allowance {
    /// Bytes in an offer.
    pub const BYTES: u64 = 17;
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} images left {}", self.left, self.images, self.budget)
    }
}

impl Encode for Allowance {
    fn encode(&self, w: &mut Writer) {
        self.budget.encode(w);
        w.u64(self.images);
        w.u64(self.left);
    }
}

impl Decode for Allowance {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let budget = Budget::decode(r)?;
        let (images, left) = (r.u64("images of a budget")?, r.u64("images left")?);
        r.require(left <= images, "images left")?;
        Ok(Self { budget, images, left })
    }
}

/// Why a budget does not cover a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortfall {
    /// Which budget.
    pub budget: Budget,
    /// How many images it has.
    pub images: u64,
    /// How many of them are used; more than there are if the budget was made smaller since.
    pub used: u64,
    /// How many the session asks for.
    pub asked: u64,
    /// How many that counts as: whole groups, because nobody but the client sees how many samples a group holds.
    pub counted: u64,
}

impl Shortfall {
    /// How many images are left.
    pub fn left(&self) -> u64 {
        self.images.saturating_sub(self.used)
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, images, used, asked, counted } = self;
        write!(f, "the server's budget {budget} is {images} images; used {used}, asked for {asked}")?;
        if counted != asked {
            write!(f, ", which counts as {counted} (whole groups of the mode)")?;
        }
        match (self.left(), counted == asked) {
            (0, _) => {}
            (left, true) => write!(f, "; send at most {left}, or")?,
            (left, false) => write!(f, "; {left} are left: ask in another mode, or")?,
        }
        match (self.left(), budget.is_daily()) {
            (0, true) => f.write_str("; repeat this after midnight UTC, or"),
            (0, false) => f.write_str(";"),
            (_, true) => f.write_str(" wait for midnight UTC, or"),
            (_, false) => Ok(()),
        }?;
        f.write_str(" ask the server's owner for more")
    }
}

impl Encode for Shortfall {
    fn encode(&self, w: &mut Writer) {
        self.budget.encode(w);
        [self.images, self.used, self.asked, self.counted].into_iter().for_each(|n| w.u64(n));
    }
}

impl Decode for Shortfall {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let budget = Budget::decode(r)?;
        let (images, used) = (r.u64("images of a budget")?, r.u64("images used")?);
        let (asked, counted) = (r.u64("images asked for")?, r.u64("images counted")?);
        let short = Self { budget, images, used, asked, counted };
        r.require(counted >= asked, "images counted")?;
        r.require(counted > short.left(), "a shortfall that is none")?;
        Ok(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(budget: Budget, used: u64, asked: u64, counted: u64) -> String {
        Shortfall { budget, images: 100, used, asked, counted }.to_string()
    }

    #[test]
    fn a_shortfall_says_what_there_is_what_is_used_what_was_asked_and_what_to_do() {
        assert_eq!(
            short(Budget::Client, 98, 3, 3),
            "the server's budget for this client with this model is 100 images; used 98, asked for 3; send at most 2, or \
             ask the server's owner for more"
        );
        assert_eq!(
            short(Budget::Model, 120, 3, 3),
            "the server's budget for all clients of this model together is 100 images; used 120, asked for 3; ask the \
             server's owner for more"
        );
        let day = short(Budget::ClientDay, 100, 3, 3);
        assert!(
            day.ends_with("asked for 3; repeat this after midnight UTC, or ask the server's owner for more"),
            "{day}"
        );
        let groups = short(Budget::ModelDay, 0, 1, 4096);
        assert!(
            groups.contains("asked for 1, which counts as 4096 (whole groups of the mode); 100 are left"),
            "{groups}"
        );
    }

    #[test]
    fn what_is_said_of_a_budget_comes_back_and_what_makes_no_sense_is_refused() {
        for budget in Budget::ALL {
            let left = Allowance { budget, images: 9, left: 9 };
            assert_eq!(Allowance::from_bytes(&left.to_bytes()), Ok(left));
            assert_eq!(left.to_bytes().len() as u64, Allowance::BYTES);
            assert!(Allowance::from_bytes(&Allowance { left: 10, ..left }.to_bytes()).is_err());
            let short = Shortfall { budget, images: 9, used: 7, asked: 3, counted: 3 };
            assert_eq!(Shortfall::from_bytes(&short.to_bytes()), Ok(short));
            for wrong in [Shortfall { counted: 2, ..short }, Shortfall { used: 6, ..short }] {
                assert!(Shortfall::from_bytes(&wrong.to_bytes()).is_err(), "{wrong:?}");
            }
        }
        assert!(Budget::from_bytes(&[4]).is_err());
    }
}
