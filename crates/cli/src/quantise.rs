//! `oblivia quantise`: a model's network in fixed point, what it costs in accuracy, and the files that keep it.

use crate::args::QuantiseArgs;
use crate::exit::{Hint, Usage};
use crate::inputs;
use crate::output::{count, entry, json, out, shortened, thousands};
use crate::progress::Bar;
use anyhow::{Context, Result};
use oblivia::{Input, load_image, load_images, tensor};
use oblivia_base::Prg;
use oblivia_data::{Labelled, array_images, labelled_arrays, labelled_folder, labels_beside};
use oblivia_nn::fixed::{Accuracy, Calibration, FixedModel, Options, Random, Ranges, accuracy};
use oblivia_nn::{InputSpec, Model, Tensor, WireId, pass};
use oblivia_onnx::{CalibrationFile, Declared, FixedPointSection, Manifest};
use oblivia_protocol::Error;
use rayon::prelude::*;
use serde_json::{Value, json as object};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The calibration's file, unless the manifest names another.
const CALIBRATION: &str = "calibration.toml";

/// An input with its class, where that is known.
struct Sample {
    name: String,
    input: Input,
    label: Option<usize>,
}

pub(crate) fn run(a: &QuantiseArgs) -> Result<()> {
    if a.images.is_empty() && !a.always {
        return Err(Usage(
            "there is nothing to measure on: give --images with images the model was trained on, or --static for bounds \
             that hold for every input"
                .into(),
        )
        .into());
    }
    let loaded = oblivia::open_uncalibrated(&a.model)?;
    let (Some(manifest), Some(path)) = (&loaded.manifest, &loaded.manifest_path) else {
        let what =
            format!("{} has no model.toml, which says what is published of a model", a.model.display());
        return Err(anyhow::Error::from(Error::Input(what))
            .context(Hint("write one beside it, book/model.md shows how; then run this again".into())));
    };
    let model = pass::normal_form(&loaded.model)?;
    let samples = samples(&a.images, &model.public.input)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(a.threads).build().context("starting threads")?;
    let work = Work { a, model: &model, pool };
    let (first, held_out) = work.split(&samples)?;

    let options =
        Options { bits: a.bits, weight_bits: a.weight_bits, margin: a.margin, ..Options::default() };
    let graph = pass::pool_first(&model.public.graph)?;
    let file = match a.always {
        true => None,
        false => Some(CalibrationFile::new(&graph, &loaded.model.weights, &work.measure(first)?)),
    };
    // What is used is what is read back from the file.
    let ranges =
        file.as_ref().map(|f| f.ranges(&graph, &loaded.model.weights)).transpose().map_err(Error::Input)?;
    let mut calibration = Calibration { options, ranges, overflow: 1.0, error: None };
    let fixed = calibration.apply(&model)?;
    let checked = work.check(&fixed, held_out)?;
    calibration.overflow = checked.as_ref().map_or(1.0, |c| declared(c.0.overflow()));
    calibration.error = checked.as_ref().map(|c| declared(c.0.max_error));

    let named = manifest.fixed_point.as_ref().and_then(|s| s.calibration.clone());
    let name = named.unwrap_or_else(|| CALIBRATION.into());
    let beside = Declared { name: &name, overflow: calibration.overflow, error: calibration.error };
    let section = FixedPointSection::new(&options, file.as_ref().map(|_| beside));
    let secret = file.map(|f| (path.with_file_name(&name), f.to_text(&manifest.name)));
    let written = match a.dry_run {
        true => Vec::new(),
        false => write(path, &section, secret)?,
    };
    let report = Report { fixed: &fixed, calibration: &calibration, checked, name: &manifest.name, written };
    match a.json {
        true => json(&report.object()),
        false => out(&report.text()),
    }
}

/// What is read of files and folders, in their order.
fn samples(paths: &[PathBuf], spec: &InputSpec) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for path in paths {
        if path.is_dir() && path.join("labels.csv").is_file() {
            samples.extend(labelled_folder(path)?.into_iter().map(|l| labelled(path, "/", l)));
            continue;
        }
        let files = inputs::expand(std::slice::from_ref(path))?;
        let labels: Vec<Option<PathBuf>> = files.iter().map(labels_beside).collect();
        for (file, beside) in files.iter().zip(&labels) {
            if labels.iter().flatten().any(|of_another| of_another == file) {
                continue;
            }
            let name = file.display().to_string();
            if let Some(beside) = beside {
                samples.extend(labelled_arrays(file, beside)?.into_iter().map(|l| labelled(file, "#", l)));
            } else if is_stack(file, spec)? {
                let images = array_images(file)?.into_iter().enumerate();
                let sample = |(i, pixels)| Sample {
                    name: format!("{name}#{i}"),
                    input: Input::Image(pixels),
                    label: None,
                };
                samples.extend(images.map(sample));
            } else {
                let images = load_images(file)?.into_iter();
                samples.extend(images.map(|input| Sample { name: name.clone(), input, label: None }));
            }
        }
    }
    Ok(samples)
}

fn labelled(of: &Path, separator: &str, l: Labelled) -> Sample {
    let name = format!("{}{separator}{}", of.display(), l.name);
    Sample { name, input: Input::Image(l.pixels), label: Some(l.label) }
}

/// Whether a file is an npy array of more than one axis more than an image has.
fn is_stack(file: &Path, spec: &InputSpec) -> Result<bool> {
    if !matches!(spec, InputSpec::Image(_)) || file.extension().is_none_or(|e| !e.eq_ignore_ascii_case("npy"))
    {
        return Ok(false);
    }
    let Input::Array(array) = load_image(file)? else { return Ok(false) };
    Ok(matches!(array.shape(), [_, _, _, 1 | 3]))
}

/// A probability rounded up to two digits.
fn declared(p: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    let unit = 10f64.powi(p.log10().floor() as i32 - 1);
    let up = format!("{:.1e}", (p / unit).ceil() * unit).parse().unwrap_or(1.0);
    if up >= p { f64::min(up, 1.0) } else { 1.0 }
}

/// What measuring and checking need.
struct Work<'a> {
    a: &'a QuantiseArgs,
    /// In normal form.
    model: &'a Model,
    pool: rayon::ThreadPool,
}

impl Work<'_> {
    /// The samples to measure on and those to check on.
    fn split<'s>(&self, samples: &'s [Sample]) -> Result<(&'s [Sample], &'s [Sample])> {
        let (first, rest) = match self.a.always {
            true => (&[][..], samples),
            false => match samples.split_at_checked(self.a.calibrate) {
                Some((first, rest)) if !rest.is_empty() => (first, rest),
                _ => {
                    return Err(Error::Input(format!(
                        "{} given, --calibrate {} takes all of them and leaves none to check on; give more images, or \
                         a smaller --calibrate",
                        count(samples.len() as u64, "image"),
                        self.a.calibrate
                    ))
                    .into());
                }
            },
        };
        let checked = self.a.check.unwrap_or(rest.len()).min(rest.len());
        Ok((first, rest.get(..checked).unwrap_or(rest)))
    }

    fn tensor(&self, sample: &Sample) -> Result<Tensor> {
        let cropped = match (&sample.input, &self.model.public.input) {
            (Input::Image(pixels), InputSpec::Image(spec)) if self.a.centre_crop => {
                pixels.centre(spec.width, spec.height).map(Input::Image)
            }
            _ => None,
        };
        let input = cropped.as_ref().unwrap_or(&sample.input);
        tensor(&self.model.public, input).with_context(|| sample.name.clone())
    }

    /// The class of a sample as the model numbers them.
    fn class(&self, sample: &Sample) -> Result<Option<usize>> {
        let Some(label) = sample.label else { return Ok(None) };
        let outputs = self.model.public.graph.output_shape().elements();
        let class = i64::try_from(label).ok().and_then(|l| l.checked_sub(self.a.first_label));
        match class.and_then(|c| usize::try_from(c).ok()).filter(|c| *c < outputs) {
            Some(class) => Ok(Some(class)),
            None => Err(Error::Input(format!(
                "{}: label {label} is none of the model's {outputs} classes, the first of which is {}; \
                 --first-label says what it is called",
                sample.name, self.a.first_label
            ))
            .into()),
        }
    }

    fn measure(&self, samples: &[Sample]) -> Result<Ranges> {
        let bar = Bar::new(2 * samples.len() as u64, "measuring");
        let tensors: Vec<Tensor> = samples
            .iter()
            .map(|s| {
                bar.step();
                self.tensor(s)
            })
            .collect::<Result<_>>()?;
        Ok(Ranges::measured(self.model, tensors.iter().inspect(|_| bar.step()))?)
    }

    /// Both networks on samples, and whether all have labels; `None` without samples. Rounding is drawn from the sample's
    /// number, so that a run can be repeated.
    fn check(&self, fixed: &FixedModel, samples: &[Sample]) -> Result<Option<(Accuracy, bool)>> {
        if samples.is_empty() {
            return Ok(None);
        }
        let classes: Vec<Option<usize>> = samples.iter().map(|s| self.class(s)).collect::<Result<_>>()?;
        let bar = Bar::new(samples.len() as u64, "checking");
        let one = |(i, (sample, class)): (usize, (&Sample, &Option<usize>))| -> Result<Accuracy> {
            let x = self.tensor(sample)?;
            let mut rounding = Random(Prg::new(&[0; 32], "oblivia quantise", &[&i.to_le_bytes()]));
            let found = accuracy(self.model, fixed, [(&x, class.unwrap_or(usize::MAX))], &mut rounding)?;
            bar.step();
            Ok(found)
        };
        let merge = |mut a: Accuracy, b: Accuracy| {
            a.merge(&b);
            Ok(a)
        };
        let all = || {
            let pairs = samples.par_iter().zip(&classes).enumerate();
            pairs.map(one).try_reduce(Accuracy::default, merge)
        };
        Ok(Some((self.pool.install(all)?, classes.iter().all(Option::is_some))))
    }
}

/// Writes the calibration and the manifest with its section; either appears whole or not at all, the manifest last.
fn write(
    manifest: &Path,
    section: &FixedPointSection,
    secret: Option<(PathBuf, String)>,
) -> Result<Vec<PathBuf>> {
    let bytes = oblivia_data::read(manifest, Manifest::MAX_BYTES)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Input(format!("{} is not UTF-8 text", manifest.display())))?;
    let text =
        section.placed_in(&text).map_err(|why| Error::Input(format!("{}: {why}", manifest.display())))?;
    let folder = manifest.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    let temporary = |text: &str| -> Result<NamedTempFile> {
        let writing = || format!("writing into {}", folder.display());
        let mut file = NamedTempFile::new_in(folder).with_context(writing)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).with_context(writing)?;
        Ok(file)
    };
    let public = temporary(&text)?;
    let permissions = std::fs::metadata(manifest).map(|m| m.permissions());
    let permissions = permissions.and_then(|p| public.as_file().set_permissions(p));
    permissions.with_context(|| format!("writing {}", manifest.display()))?;
    // Its permissions are its owner's alone.
    let secret = secret.map(|(path, text)| Ok::<_, anyhow::Error>((path, temporary(&text)?))).transpose()?;
    let mut written = Vec::new();
    for (path, file) in secret.into_iter().chain([(manifest.to_owned(), public)]) {
        // A link is followed, not replaced.
        let at = path.canonicalize().unwrap_or_else(|_| path.clone());
        file.persist(&at).map_err(|e| e.error).with_context(|| format!("writing {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// What is shown.
struct Report<'a> {
    name: &'a str,
    fixed: &'a FixedModel,
    calibration: &'a Calibration,
    checked: Option<(Accuracy, bool)>,
    written: Vec<PathBuf>,
}

impl Report<'_> {
    /// Images that ranges were measured on; 0 for bounds that hold always.
    fn calibrated_on(&self) -> u32 {
        self.calibration.ranges.as_ref().map_or(0, |r| r.images)
    }

    /// What is declared; nothing for bounds that hold always.
    fn overflow(&self) -> Option<f64> {
        self.calibration.ranges.as_ref().map(|_| self.calibration.overflow)
    }

    fn text(&self) -> String {
        let o = &self.calibration.options;
        let how = match self.calibrated_on() {
            0 => "by bounds that hold for every input".to_owned(),
            n => format!("calibrated on {}", count(n.into(), "image")),
        };
        let mut text =
            format!("{}: activations of {} bits, weights of {}, {how}\n\n", self.name, o.bits, o.weight_bits);
        text += &self.table();
        text.push('\n');
        if let Some((c, labels)) = &self.checked {
            let share = |n: usize| format!("{:.2} %", 100.0 * n as f64 / c.images.max(1) as f64);
            let right = match labels {
                true => {
                    format!("float {}, fixed point {} right; ", share(c.float_right), share(c.fixed_right))
                }
                false => String::new(),
            };
            let what = if self.calibrated_on() > 0 { "other image" } else { "image" };
            text += &entry(
                "accuracy",
                &format!(
                    "{right}same class first in {} of {}; largest error {:.4} of outputs to {:.2}",
                    share(c.agree),
                    count(c.images as u64, what),
                    c.max_error,
                    c.max_output
                ),
            );
            let left = match c.outside {
                0 => "no image left them".to_owned(),
                n => format!(
                    "{} left them and may be answered wrongly: more --bits or --margin help",
                    count(n as u64, "image")
                ),
            };
            let declared = self.overflow().map_or_else(
                || "none ever does".to_owned(),
                |p| format!("declared: at most {p:.1e} of images do (with 95 % confidence)"),
            );
            text += &entry("limits", &format!("{left}; {declared}"));
        }
        if self.checked.is_none() {
            text += &entry("accuracy", "not checked: --images says on what");
        }
        let formats = self.fixed.network().formats();
        let of = if self.calibrated_on() > 0 { "weights and images" } else { "weights" };
        text += &entry(
            "published",
            &format!(
                "scales of inputs ({:.4}) and outputs ({:.4}) and the table above, which depend on {of}",
                formats.input_scale, formats.output_scale
            ),
        );
        let named = |p: &PathBuf| p.display().to_string();
        let files = match &self.written[..] {
            [] => "nothing (--dry-run)".to_owned(),
            [manifest] => named(manifest),
            [secret, manifest @ ..] => {
                let others: Vec<String> = manifest.iter().map(named).collect();
                format!("{} (secret, like the weights) and {}", secret.display(), others.join(", "))
            }
        };
        text + &entry("written", &files)
    }

    /// A line per convolution and dense layer.
    fn table(&self) -> String {
        let head = ["layer", "operator", "shift", "accumulator", "Σ|w| ≤", "‖w‖ ≤"].map(String::from);
        let mut rows = vec![head];
        for (name, op, f) in self.layers() {
            rows.push([
                shortened(name, 32),
                op,
                f.shift.to_string(),
                format!("{} bits", f.accumulator_bits()),
                thousands(f.norm1),
                thousands(f.norm2),
            ]);
        }
        let mut width = [0; 6];
        for row in &rows {
            for (w, cell) in width.iter_mut().zip(row) {
                *w = (*w).max(cell.chars().count());
            }
        }
        let [wn, wo, ws, wa, w1, w2] = width;
        let line = |[n, o, s, a, one, two]: &[String; 6]| {
            format!("{n:wn$}  {o:wo$}  {s:>ws$}  {a:>wa$}  {one:>w1$}  {two:>w2$}\n")
        };
        rows.iter().map(line).collect()
    }

    fn layers(&self) -> impl Iterator<Item = (&str, String, &oblivia_nn::fixed::LinearFormat)> {
        let network = self.fixed.network();
        let nodes = network.graph().nodes().iter().zip(0u32..);
        nodes.filter_map(|(node, i)| {
            Some((node.name.as_str(), node.op.to_string(), network.linear(WireId(i))?))
        })
    }

    fn object(&self) -> Value {
        let formats = self.fixed.network().formats();
        let layer = |(name, op, f): (&str, String, &oblivia_nn::fixed::LinearFormat)| {
            object!({
                "name": name, "op": op, "bits": f.bits, "shift": f.shift, "accumulator_bits": f.accumulator_bits(),
                "weight_bits": f.weight_bits, "norm1": f.norm1, "norm2": f.norm2,
            })
        };
        let checked = self.checked.as_ref().map(|(c, labels)| {
            let share = |n: usize| n as f64 / c.images.max(1) as f64;
            object!({
                "images": c.images,
                "float_accuracy": labels.then(|| share(c.float_right)),
                "fixed_accuracy": labels.then(|| share(c.fixed_right)),
                "same_first": share(c.agree),
                "max_error": c.max_error,
                "max_output": c.max_output,
                "outside": c.outside,
            })
        });
        object!({
            "schema": 1,
            "model": self.name,
            "certainty": if self.overflow().is_some() { "calibrated" } else { "static" },
            "calibration_images": self.calibrated_on(),
            "checked": checked,
            "overflow": self.overflow(),
            "input": { "bits": formats.input_bits, "scale": formats.input_scale },
            "output": { "scale": formats.output_scale },
            "layers": self.layers().map(layer).collect::<Vec<_>>(),
            "written": self.written,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_declared_with_two_digits_rounded_up() {
        for (p, expected) in
            [(0.0, 0.0), (5.0096e-5, 5.1e-5), (0.05, 0.05), (0.0999, 0.1), (0.991, 1.0), (1.0, 1.0)]
        {
            let found = declared(p);
            assert!(found >= p && found == expected, "{p}: {found}, not {expected}");
        }
    }
}
