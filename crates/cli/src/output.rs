//! Everything the program prints goes through here: columns of readable width, no control characters of
//! strangers, no panic when whoever reads has closed the pipe.

pub(crate) use oblivia_nn::inspect::thousands;

use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt;
use std::io::{ErrorKind, Write};

/// Width text is wrapped to.
const COLUMNS: usize = 100;
/// Width of the names on the left.
const NAME: usize = 10;

/// Whoever read standard output has closed it: they have what they wanted.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl std::error::Error for ReaderGone {}

/// Prints results.
pub(crate) fn out(text: &str) -> Result<()> {
    let mut to = std::io::stdout().lock();
    match to.write_all(printable(text).as_bytes()).and_then(|()| to.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        done => done.context("writing to standard output"),
    }
}

/// Prints results as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    out(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Prints results as JSON on one line.
pub(crate) fn json_line(value: &impl Serialize) -> Result<()> {
    out(&(serde_json::to_string(value)? + "\n"))
}

/// Prints what is not a result. If nobody reads it, nobody misses it.
pub(crate) fn note(text: &str) {
    let _ = std::io::stderr().lock().write_all(printable(text).as_bytes());
}

/// `text` without control characters but line ends: names and reasons come from files and peers.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A line with `name` on the left and `text` on the right, wrapped under itself.
pub(crate) fn entry(name: &str, text: &str) -> String {
    wrap(&format!("{name:<NAME$}"), NAME, text)
}

/// `text` behind `head`, wrapped to [`COLUMNS`] with the following lines indented; ends with a line end.
/// Words are never broken.
pub(crate) fn wrap(head: &str, indent: usize, text: &str) -> String {
    let mut out = head.to_owned();
    let mut column = head.chars().count();
    let mut begun = false;
    for word in text.split(' ') {
        let width = word.chars().count();
        if begun && column + 1 + width > COLUMNS {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if begun {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
        begun = true;
    }
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
    out
}

/// A number of bytes for people, three digits: 713 B, 69.7 KB, 4.63 MB (powers of ten).
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..999_500 => format!("{} KB", three(n as f64 / 1e3)),
        999_500..999_500_000 => format!("{} MB", three(n as f64 / 1e6)),
        999_500_000..999_500_000_000 => format!("{} GB", three(n as f64 / 1e9)),
        _ => format!("{} TB", three(n as f64 / 1e12)),
    }
}

/// A duration for people, three digits.
pub(crate) fn seconds(s: f64) -> String {
    match s {
        _ if s < 0.9995 => format!("{} ms", three(s * 1e3)),
        _ => format!("{} s", three(s)),
    }
}

fn three(x: f64) -> String {
    match x {
        _ if x < 9.995 => format!("{x:.2}"),
        _ if x < 99.95 => format!("{x:.1}"),
        _ => format!("{x:.0}"),
    }
}

/// `1 image`, `2 images`.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// At most `most` characters, the last an ellipsis where some were cut.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_the_unit_that_fits() {
        let b = [0, 999, 1_000, 69_700, 999_499, 999_500, 4_628_300, 91_200_000, 999_500_000, u64::MAX];
        let shown = [
            "0 B",
            "999 B",
            "1.00 KB",
            "69.7 KB",
            "999 KB",
            "1.00 MB",
            "4.63 MB",
            "91.2 MB",
            "1.00 GB",
            "18446744 TB",
        ];
        assert_eq!(b.map(bytes), shown);
        let s = [0.0, 0.000_5, 0.0812, 0.541_44, 0.9996, 11.153, 754.2];
        assert_eq!(s.map(seconds), ["0.00 ms", "0.50 ms", "81.2 ms", "541 ms", "1.00 s", "11.2 s", "754 s"]);
        assert_eq!([1, 2, 1_000_000].map(|n| count(n, "image")), ["1 image", "2 images", "1,000,000 images"]);
    }

    #[test]
    fn long_lines_hang_under_their_text() {
        let text = entry("security", &"word ".repeat(40));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 3 && lines[0].starts_with("security  word"), "{text}");
        assert!(lines[1..].iter().all(|l| l.starts_with("          word")), "{text}");
        assert!(lines.iter().all(|l| l.chars().count() <= COLUMNS && !l.ends_with(' ')), "{text}");
        assert_eq!(wrap("", 2, &"x".repeat(300)).lines().count(), 1, "a word is never broken");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\r\nb\u{9b}"), "a\u{fffd}[2J\u{fffd}\nb\u{fffd}");
    }

    #[test]
    fn what_is_too_long_is_cut_visibly() {
        assert_eq!([shortened("abc", 3), shortened("äbcd", 3)], ["abc", "äb…"]);
    }
}
