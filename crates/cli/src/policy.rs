//! The file of `oblivia serve --policy`: who is admitted, and how many images they may ask for.
//!
//! ```text
//! # a setting, for clients without a number of their own
//! client-images = 1000
//! # a client by the fingerprint of its key, with numbers of its own or without
//! 0123…cdef
//! 4567…0123 images=20000 images-per-day=500
//! ```

use crate::args::BudgetArgs;
use anyhow::Result;
use oblivia::{Budgets, Quota};
use oblivia_base::Digest;
use oblivia_net::{ClientPolicy, parse_fingerprint};
use oblivia_protocol::Error;
use std::collections::BTreeMap;
use std::path::Path;

/// Who may ask for how much.
pub(crate) struct Policy {
    pub(crate) clients: ClientPolicy,
    pub(crate) budgets: Budgets,
    /// Who is admitted, in words.
    pub(crate) admitted: String,
}

/// A number of images, or any.
#[derive(Clone, Copy)]
enum Number {
    Images(u64),
    Unlimited,
}

impl Number {
    fn limit(self) -> Option<u64> {
        match self {
            Self::Images(n) => Some(n),
            Self::Unlimited => None,
        }
    }
}

/// The names of settings, as flags have them.
const SETTINGS: [&str; 4] =
    ["client-images", "client-images-per-day", "model-images", "model-images-per-day"];
/// The names of numbers on a client's line.
const OWN: [&str; 2] = ["images", "images-per-day"];

/// Flags, and the file they name.
pub(crate) fn read(flags: &BudgetArgs, file: Option<&Path>) -> Result<Policy> {
    let flags =
        [flags.client_images, flags.client_images_per_day, flags.model_images, flags.model_images_per_day];
    match file {
        None => {
            let (clients, admitted) =
                (ClientPolicy::AnyIdentity, "any; with --policy FILE only those listed there");
            Ok(Policy { clients, budgets: budgets(flags, BTreeMap::new()), admitted: admitted.to_owned() })
        }
        Some(path) => {
            let bytes = oblivia_data::read(path, 16 << 20)?;
            let bad = |why: String| Error::Input(format!("policy {}: {why}", path.display()));
            let text = String::from_utf8(bytes)
                .map_err(|_| bad("is not text; one client fingerprint per line is expected".into()))?;
            let (named, budgets) = parse(&text, flags).map_err(bad)?;
            let admitted = format!("{} listed in {}", named.len(), path.display());
            Ok(Policy { clients: ClientPolicy::Only(named.into_iter().collect()), budgets, admitted })
        }
    }
}

fn budgets(settings: [Option<u64>; 4], own: BTreeMap<Digest, [Option<Number>; 2]>) -> Budgets {
    let [images, images_per_day, all, all_per_day] = settings;
    let client = Quota { images, images_per_day };
    let quota = |[images, per_day]: [Option<Number>; 2]| Quota {
        images: images.map_or(client.images, Number::limit),
        images_per_day: per_day.map_or(client.images_per_day, Number::limit),
    };
    let named = own.into_iter().filter(|(_, own)| own.iter().any(Option::is_some));
    let named = named.map(|(who, own)| (who, quota(own))).collect();
    Budgets { client, named, model: Quota { images: all, images_per_day: all_per_day } }
}

/// The clients that are listed, and the budgets with what flags say; the error is what is wrong with the text.
fn parse(text: &str, flags: [Option<u64>; 4]) -> Result<(Vec<Digest>, Budgets), String> {
    let mut settings = flags;
    let mut own = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let bad = |why: String| format!("line {} {why}", i + 1);
        if let Some((name, number)) = line.split_once('=').map(|(n, v)| (n.trim(), v.trim()))
            && !name.contains(char::is_whitespace)
        {
            let known = SETTINGS.iter().zip(flags).zip(&mut settings).find(|((s, _), _)| **s == name);
            let Some(((_, flag), setting)) = known else {
                return Err(bad(format!("has no setting `{name}`; there are: {}", SETTINGS.join(", "))));
            };
            if flag.is_some() {
                return Err(bad(format!("sets {name}, and so does --{name}; say it in one place")));
            }
            let Some(Number::Images(n)) = self::number(number) else {
                return Err(bad(format!(
                    "is no number of images: `{number}`; leave the line out for any number"
                )));
            };
            if setting.replace(n).is_some() {
                return Err(bad(format!("sets {name} again")));
            }
            continue;
        }
        let mut words = line.split_whitespace();
        let client = parse_fingerprint(words.next().unwrap_or_default()).map_err(|_| {
            bad("is not a fingerprint; 64 hexadecimal digits are expected, as `oblivia predict` names them when it is \
                 not admitted"
                .into())
        })?;
        let mut numbers = [None; 2];
        for word in words {
            let (name, number) = word.split_once('=').unwrap_or((word, ""));
            let slot = OWN.iter().zip(&mut numbers).find(|(own, _)| **own == name);
            match (slot, self::number(number)) {
                (Some((_, slot)), Some(n)) if slot.is_none() => *slot = Some(n),
                _ => {
                    return Err(bad(format!(
                        "has `{word}` behind the fingerprint, where images=N, images-per-day=N or either \
                         with `unlimited` may stand once"
                    )));
                }
            }
        }
        let numbered = |n: &[Option<Number>; 2]| n.iter().any(Option::is_some);
        if own.insert(client, numbers).is_some_and(|before| numbered(&before) || numbered(&numbers)) {
            return Err(bad("names a client again".into()));
        }
    }
    let clients = own.keys().copied().collect();
    Ok((clients, budgets(settings, own)))
}

fn number(text: &str) -> Option<Number> {
    match text {
        "unlimited" => Some(Number::Unlimited),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Number::Images),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [Option<u64>; 4] = [None; 4];

    fn hex(i: u8) -> String {
        Digest([i; 32]).hex()
    }

    #[test]
    fn a_file_names_clients_their_budgets_and_everybodys() {
        let text = format!(
            "# who\n{}\n{} # plain\n{} images=7\nclient-images = 10\nclient-images-per-day=5 # a day\n\
             {} images=unlimited images-per-day=1000\nmodel-images = 100\n",
            hex(1),
            hex(2),
            hex(3),
            hex(4)
        );
        let (clients, budgets) = parse(&text, NONE).unwrap();
        assert_eq!(clients, [1, 2, 3, 4].map(|i| Digest([i; 32])));
        let quota = |images, images_per_day| Quota { images, images_per_day };
        assert_eq!(budgets.of(&Digest([1; 32])), quota(Some(10), Some(5)));
        assert_eq!(budgets.of(&Digest([3; 32])), quota(Some(7), Some(5)));
        assert_eq!(budgets.of(&Digest([4; 32])), quota(None, Some(1000)));
        assert_eq!(budgets.model, quota(Some(100), None));
        assert_eq!(budgets.named.len(), 2);
        let flags = [None, None, None, Some(9)];
        assert_eq!(parse(&text, flags).unwrap().1.model, quota(Some(100), Some(9)));
        assert!(!parse(&hex(1), NONE).unwrap().1.limit());
    }

    #[test]
    fn what_a_file_should_not_say_is_an_error_that_names_the_line_and_never_any_number() {
        let flags = [Some(3), None, None, None];
        for (line, words) in [
            ("client-images = 5".to_owned(), "--client-images"),
            ("model-images = unlimited".into(), "no number of images"),
            ("model-images = -5".into(), "no number of images"),
            ("model-images = +5".into(), "no number of images"),
            ("model-images = 99999999999999999999".into(), "no number of images"),
            ("model-images =".into(), "no number of images"),
            ("model-images = 5\nmodel-images = 6".into(), "line 3 sets model-images again"),
            ("images = 5".into(), "there are: client-images"),
            (format!("{} images=", hex(1)), "`images=`"),
            (format!("{} images", hex(1)), "`images`"),
            (format!("{} images=5 images=6", hex(1)), "once"),
            (format!("{} image=5", hex(1)), "`image=5`"),
            (format!("{} images = 5", hex(1)), "`images`"),
            (format!("{}\n{} images=5", hex(1), hex(1)), "line 3 names a client again"),
            ("abc".into(), "is not a fingerprint"),
        ] {
            let why = parse(&format!("\n{line}"), flags).unwrap_err();
            assert!(why.contains(words) && why.starts_with("line "), "{line}: {why}");
        }
    }
}
