//! Section `[fixed_point]` of a manifest: its numbers, and its place in the text of a file.

use crate::Manifest;
use oblivia_nn::fixed::{Network, Options};
use serde::Deserialize;

/// The line that begins the section.
const HEADER: &str = "[fixed_point]";

/// Section `[fixed_point]`: the network in fixed point, for systems that compute on shares.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedPointSection {
    /// Must be true: clients cannot take part without the formats ([`oblivia_nn::fixed::Formats`]), which depend on weights
    /// and calibration images. That is a leak to be declared.
    pub published: bool,
    /// Width of activations.
    pub bits: u32,
    /// Width of weights.
    pub weight_bits: u32,
    /// The largest shift of a layer.
    pub max_shift: Option<u32>,
    /// Limits are at least this many times the largest value measured.
    pub margin: Option<f64>,
    /// Share of a wire's largest value that every channel is taken to reach.
    pub floor: Option<f64>,
    /// File name of the calibration, in the folder of the manifest; without it bounds hold for every input.
    pub calibration: Option<String>,
    /// Declared bound on the probability that some value of an input leaves its limit; with a calibration only.
    pub overflow: Option<f64>,
    /// Largest difference of an output from the float network's on images that were checked; with a calibration only.
    pub error: Option<f64>,
}

/// What is declared beside a calibration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Declared<'a> {
    /// The calibration's file name.
    pub name: &'a str,
    /// [`FixedPointSection::overflow`].
    pub overflow: f64,
    /// [`FixedPointSection::error`].
    pub error: Option<f64>,
}

impl FixedPointSection {
    /// The section that asks for `options`; with a calibration what is declared beside it.
    pub fn new(options: &Options, calibration: Option<Declared<'_>>) -> Self {
        Self {
            published: true,
            bits: options.bits,
            weight_bits: options.weight_bits,
            max_shift: Some(options.max_shift),
            margin: Some(options.margin),
            floor: Some(options.floor),
            calibration: calibration.map(|c| c.name.to_owned()),
            overflow: calibration.map(|c| c.overflow),
            error: calibration.and_then(|c| c.error),
        }
    }

    /// What the quantisation is asked for.
    pub fn options(&self) -> Options {
        let or = Options::default();
        Options {
            bits: self.bits,
            weight_bits: self.weight_bits,
            max_shift: self.max_shift.unwrap_or(or.max_shift),
            margin: self.margin.unwrap_or(or.margin),
            floor: self.floor.unwrap_or(or.floor),
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let bad = |why: String| Err(format!("fixed_point.{why}"));
        if !self.published {
            return bad(
                "published must be true: clients cannot take part without the formats, which depend on weights and \
                 calibration images; delete the section to publish nothing"
                    .into(),
            );
        }
        let o = self.options();
        for (name, value, allowed) in [
            ("bits", o.bits, Network::BITS),
            ("weight_bits", o.weight_bits, Network::WEIGHT_BITS),
            ("max_shift", o.max_shift, 0..=Network::MAX_SHIFT),
        ] {
            if !allowed.contains(&value) {
                let (least, most) = (allowed.start(), allowed.end());
                return bad(format!("{name} = {value} is outside {least} to {most}"));
            }
        }
        if !(o.margin.is_finite() && o.margin >= 1.0) {
            return bad(format!("margin = {} is not a number from 1 on", o.margin));
        }
        if !(0.0..=1.0).contains(&o.floor) {
            return bad(format!("floor = {} is outside 0 to 1", o.floor));
        }
        match self.error {
            Some(_) if self.calibration.is_none() => {
                return bad("error is for a calibration only".into());
            }
            Some(e) if !(e.is_finite() && e >= 0.0) => {
                return bad(format!("error = {e} is no difference of outputs"));
            }
            _ => {}
        }
        match (&self.calibration, self.overflow) {
            (None, None) => Ok(()),
            (Some(_), Some(p)) if !(0.0..=1.0).contains(&p) => bad(format!("overflow = {p} is no probability")),
            (Some(name), Some(_)) if !is_plain(name) => {
                bad(format!("calibration must be the name of a file beside the manifest, not `{name}`"))
            }
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => bad(
                "overflow is needed with a calibration: the probability that a value of an image leaves its limit, as \
                 `oblivia quantise` declares it"
                    .into(),
            ),
            (None, Some(_)) => bad("overflow is for a calibration only: without one bounds hold always".into()),
        }
    }

    /// The section as text, with a line of explanation each.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |head: String, why: &str| {
            text.push_str(&format!("{head:<35} # {why}\n"));
        };
        line(HEADER.into(), "in fixed point, for systems that compute on shares; by `oblivia quantise`");
        line(
            format!("published = {}", self.published),
            "widths, shifts, norms and scales depend on weights and calibration images, and are given to clients: a declared leak",
        );
        line(format!("bits = {}", self.bits), "of activations");
        line(format!("weight_bits = {}", self.weight_bits), "of weights");
        if let Some(v) = self.max_shift {
            line(format!("max_shift = {v}"), "bits a layer drops, at most");
        }
        if let Some(v) = self.margin {
            line(format!("margin = {v:?}"), "limits are at least this many times the largest value measured");
        }
        if let Some(v) = self.floor {
            line(
                format!("floor = {v:?}"),
                "share of a wire's largest value that every channel is taken to reach",
            );
        }
        if let Some(name) = &self.calibration {
            let name = toml::Value::String(name.clone());
            line(format!("calibration = {name}"), "what was measured: secret, beside this file");
        }
        if let Some(v) = self.overflow {
            line(
                format!("overflow = {v:?}"),
                "bound on the probability that a value of an image leaves its limit, which garbles that image's answer",
            );
        }
        if let Some(v) = self.error {
            line(
                format!("error = {v:?}"),
                "most that an output was off the float network's on the images checked; no bound for others",
            );
        }
        text
    }

    /// The text of a manifest with this section in the place of its own, or at its end; all else stays as it is.
    ///
    /// # Errors
    /// A sentence: where the text is no sound manifest, or so unusual that the section does not find its place.
    pub fn placed_in(&self, manifest: &str) -> Result<String, String> {
        let parse = |text: &str| Manifest::parse(text, "model.toml").map_err(|e| e.to_string());
        let before = parse(manifest)?;
        let crlf = manifest.contains("\r\n");
        let section = if crlf { self.to_text().replace('\n', "\r\n") } else { self.to_text() };
        let lines: Vec<&str> = manifest.split_inclusive('\n').collect();
        let is_header = |l: &&str| l.trim_start().starts_with('[');
        let own = |l: &&str| {
            l.trim_start()
                .strip_prefix(HEADER)
                .is_some_and(|rest| rest.trim().is_empty() || rest.trim().starts_with('#'))
        };
        let (head, tail) = match lines.iter().position(own) {
            Some(at) => {
                let (head, rest) = lines.split_at(at);
                let body = rest.get(1..).unwrap_or_default();
                let next = body.iter().position(is_header).unwrap_or(body.len());
                // Comments right above the next section are its own.
                let above = body.iter().take(next).rev();
                let kept = match next == body.len() {
                    true => 0,
                    false => above.take_while(|l| l.trim().is_empty() || l.trim().starts_with('#')).count(),
                };
                (head.concat(), body.get(next - kept..).unwrap_or_default().concat())
            }
            None => {
                let line = if crlf { "\r\n" } else { "\n" };
                (format!("{}{line}{line}", manifest.trim_end()), String::new())
            }
        };
        let text = head + &section + &tail;
        let expected = Manifest { fixed_point: Some(self.clone()), ..before };
        match parse(&text) {
            Ok(found) if found == expected => Ok(text),
            _ => Err(format!(
                "the section finds no place in this text; put it there by hand:\n{}",
                self.to_text()
            )),
        }
    }
}

/// Whether a name is that of a file and of no folder.
pub(crate) fn is_plain(name: &str) -> bool {
    std::path::Path::new(name).file_name().is_some_and(|f| f == name) && !name.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "format = 1\nname = \"m\"\nversion = \"1\"  # kept\nlabels = []\n[input]\ntensor = \"x\"\n\
        kind = \"tensor\"\nrange = [0, 1]\n[output]\ntensor = \"y\"\nkind = \"logits\"\npolicy = \"argmax\"\n";

    fn section() -> FixedPointSection {
        FixedPointSection::new(
            &Options { bits: 17, ..Options::default() },
            Some(Declared { name: "calibration.toml", overflow: 0.003, error: Some(0.25) }),
        )
    }

    fn parse(section: &str) -> Result<FixedPointSection, String> {
        let manifest = Manifest::parse(&format!("{REST}{section}"), "m").map_err(|e| e.to_string())?;
        manifest.fixed_point.ok_or_else(|| "no section".into())
    }

    #[test]
    fn a_section_is_read_as_it_was_written() {
        assert_eq!(parse(&section().to_text()), Ok(section()));
        let always = FixedPointSection::new(&Options::default(), None);
        assert_eq!(parse(&always.to_text()), Ok(always));
        let short = parse("[fixed_point]\npublished = true\nbits = 16\nweight_bits = 9").unwrap();
        assert_eq!(short.options(), Options { bits: 16, weight_bits: 9, ..Options::default() });
    }

    #[test]
    fn numbers_outside_their_ranges_are_named() {
        let text = section().to_text();
        let short = "[fixed_point]\npublished = true\nbits = 16\nweight_bits = 8\noverflow = 0.1";
        assert!(parse(short).unwrap_err().contains("overflow is for a calibration only"));
        for (from, to, expected) in [
            ("published = true", "published = false", "published must be true: clients cannot take part"),
            ("bits = 17", "bits = 7", "bits = 7 is outside 8 to 32"),
            ("weight_bits = 8", "weight_bits = 17", "weight_bits = 17 is outside 2 to 16"),
            ("max_shift = 20", "max_shift = 25", "max_shift = 25 is outside 0 to 24"),
            ("margin = 2.0", "margin = 0.5", "margin = 0.5 is not a number from 1 on"),
            ("margin = 2.0", "margin = inf", "margin = inf"),
            ("floor = 0.5", "floor = nan", "floor = NaN is outside 0 to 1"),
            ("overflow = 0.003", "overflow = 1.5", "overflow = 1.5 is no probability"),
            ("overflow = 0.003", "", "overflow is needed with a calibration"),
            ("calibration = \"calibration.toml\"", "", "error is for a calibration only"),
            (
                "\"calibration.toml\"",
                "\"../c.toml\"",
                "the name of a file beside the manifest, not `../c.toml`",
            ),
            ("bits = 17", "", "missing field `bits`"),
            ("bits = 17", "bits = 17\nseed = 1", "unknown field `seed`"),
        ] {
            let why = parse(&text.replacen(from, to, 1)).unwrap_err();
            assert!(why.contains(expected), "{expected}: {why}");
        }
    }

    #[test]
    fn a_section_comes_to_the_end_and_takes_the_place_of_an_older_one() {
        let first = section().placed_in(REST).unwrap();
        assert_eq!(first, format!("{REST}\n{}", section().to_text()));
        let wider = FixedPointSection { bits: 20, ..section() };
        assert_eq!(wider.placed_in(&first).unwrap(), first.replace("bits = 17", "bits = 20"));
        // Between others, whose comments stay; with and without a last line end, and with line ends of two characters.
        let zeros = "\n# About zeros.\n[zeros]\npublished = true # why\n# The end.";
        let between =
            format!("{REST}# Ours.\n  {}", section().to_text().replace("bits = 17", "bits = 9") + zeros);
        let expected = format!("{REST}# Ours.\n{}{zeros}", section().to_text());
        assert_eq!(section().placed_in(&between).unwrap(), expected);
        let crlf = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(section().placed_in(&crlf(&between)).unwrap(), crlf(&expected));
    }

    #[test]
    fn a_text_in_which_the_section_finds_no_place_is_left_to_its_owner() {
        // The header inside a text of several lines is none.
        let odd =
            REST.replacen("name = \"m\"", "name = \"m\"\ndescription = '''\n[fixed_point]\n[more]\n'''", 1);
        let why = section().placed_in(&odd).unwrap_err();
        assert!(why.contains("by hand:\n[fixed_point]"), "{why}");
        let inline = format!("fixed_point = {{ published = true, bits = 16, weight_bits = 8 }}\n{REST}");
        assert!(section().placed_in(&inline).unwrap_err().contains("by hand"));
        assert!(section().placed_in("format = 2").unwrap_err().contains("model.toml"));
    }
}
