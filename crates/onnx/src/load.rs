//! Reading a model from disk.

use crate::import::tidy;
use crate::{
    CalibrationFile, Ending, FixedPointSection, Imported, MAX_FILE_BYTES, Manifest, OnnxError, import,
};
use oblivia_nn::fixed::Calibration;
use oblivia_nn::{InputSpec, Model, OutputPolicy, PublicModel, pass};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The manifest's name, beside the ONNX file.
const MANIFEST: &str = "model.toml";

/// A model with what was read beside it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The model, as in the file: fold it (`nn::pass::fold`) before planning.
    pub model: Model,
    /// The manifest, if there is one.
    pub manifest: Option<Manifest>,
    /// Where it is.
    pub manifest_path: Option<PathBuf>,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
}

/// What is looked for beside a manifest.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// Whether the calibration is read that `[fixed_point]` names; without it for whoever makes a new one.
    pub calibration: bool,
    /// Finds the directory of test data, which `data_model` is below, or says why there is none.
    pub data_dir: &'a dyn Fn() -> Result<PathBuf, String>,
}

impl std::fmt::Debug for Opening<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").field("calibration", &self.calibration).finish_non_exhaustive()
    }
}

impl Default for Opening<'_> {
    /// With the calibration, and without a data directory.
    fn default() -> Self {
        Self { calibration: true, data_dir: &|| Err("there is no directory of test data here".into()) }
    }
}

/// The model at `path`, a `.onnx` file or a folder with one. See [`open`] for its manifest and for notes.
pub fn load(path: impl AsRef<Path>) -> Result<Model, OnnxError> {
    Ok(open(path)?.model)
}

/// Reads a `.onnx` file, or a folder with `model.onnx` or with a `model.toml` that names the file. A
/// `model.toml` beside a `.onnx` file counts if it names that file.
///
/// Without a manifest the input is a tensor in [-1, 1], labels are indices, all outputs are given, no bounds
/// are published, and a note says so. With a manifest that has a section `[fixed_point]` the model carries its calibration.
pub fn open(path: impl AsRef<Path>) -> Result<Loaded, OnnxError> {
    open_with(path, &Opening::default())
}

/// As [`open`], with a say in what is looked for.
pub fn open_with(path: impl AsRef<Path>, opening: &Opening<'_>) -> Result<Loaded, OnnxError> {
    let mut loaded = open_uncalibrated(path.as_ref(), opening)?;
    if let (Some(manifest), Some(at)) = (&loaded.manifest, &loaded.manifest_path)
        && let Some(section) = manifest.fixed_point.as_ref().filter(|_| opening.calibration)
    {
        loaded.model.calibration = Some(Arc::new(calibration(section, at, &loaded.model)?));
    }
    Ok(loaded)
}

fn open_uncalibrated(path: &Path, opening: &Opening<'_>) -> Result<Loaded, OnnxError> {
    let is_folder = std::fs::metadata(path).map_err(|e| io(path, &e))?.is_dir();
    let manifest_path = if is_folder { path.join(MANIFEST) } else { path.with_file_name(MANIFEST) };
    let mut manifest = match manifest_path.is_file() {
        true => Some(read_manifest(&manifest_path)?),
        false => None,
    };
    if !is_folder {
        manifest =
            manifest.filter(|m| path.file_name().is_some_and(|f| m.model_file().is_some_and(|m| f == m)));
    }
    let elsewhere = manifest.as_ref().and_then(|m| m.data_model.clone());
    let file = match (&manifest, &elsewhere) {
        _ if !is_folder => path.to_owned(),
        (_, Some(below)) => in_data(below, &manifest_path, opening)?,
        (manifest, None) => {
            path.join(manifest.as_ref().and_then(Manifest::model_file).unwrap_or("model.onnx"))
        }
    };
    let imported = import(&read(&file, MAX_FILE_BYTES).map_err(|e| made_by(manifest.as_ref(), e))?)?;
    let ending = imported.ending;
    let mut loaded = match manifest {
        Some(manifest) => {
            let bad = |why| OnnxError::Manifest { path: manifest_path.display().to_string(), why };
            let model = describe(imported, &manifest).map_err(bad)?;
            model.public.check().map_err(|e| bad(e.to_string()))?;
            Loaded { model, manifest: Some(manifest), manifest_path: Some(manifest_path), notes: Vec::new() }
        }
        None => undescribed(imported, &file, if is_folder { path } else { &file })?,
    };
    finish(&mut loaded, ending, &file);
    Ok(loaded)
}

/// Says how to make a file that cannot be read, where the manifest knows.
fn made_by(manifest: Option<&Manifest>, e: OnnxError) -> OnnxError {
    match (e, manifest.and_then(|m| m.made_by.as_ref())) {
        (OnnxError::Io { path, why }, Some(command)) => OnnxError::Io {
            path,
            why: format!("{why}; it is not kept with its manifest, make it: {command}"),
        },
        (e, _) => e,
    }
}

/// Where a model of the data directory is.
fn in_data(below: &str, manifest: &Path, opening: &Opening<'_>) -> Result<PathBuf, OnnxError> {
    let what = format!("`data_model` names {below}, a file that is not shipped with the manifest");
    let dir = (opening.data_dir)().map_err(|why| OnnxError::Manifest {
        path: manifest.display().to_string(),
        why: format!("{what}: {why}"),
    })?;
    let file = dir.join(below);
    match file.is_file() {
        true => Ok(file),
        false => Err(OnnxError::Io {
            path: file.display().to_string(),
            why: format!(
                "there is no such file; {what} {}: put it there, or set OBLIVIA_DATA to the folder that has it",
                manifest.display()
            ),
        }),
    }
}

/// What a section asks for, with the measurements beside the manifest.
fn calibration(
    section: &FixedPointSection,
    manifest: &Path,
    model: &Model,
) -> Result<Calibration, OnnxError> {
    let options = section.options();
    let Some(name) = &section.calibration else {
        return Ok(Calibration { options, ranges: None, overflow: 0.0, error: None });
    };
    let path = manifest.with_file_name(name);
    let shown = path.display().to_string();
    let bad = |why: String| OnnxError::Calibration { path: shown.clone(), why };
    let bytes = read(&path, CalibrationFile::MAX_BYTES).map_err(|e| match e {
        OnnxError::Io { path, why } => {
            let manifest = manifest.display();
            let why = format!(
                "{why}; [fixed_point] of {manifest} names it: put it there or run `oblivia quantise`"
            );
            OnnxError::Io { path, why }
        }
        other => other,
    })?;
    let text = String::from_utf8(bytes).map_err(|_| bad("is not UTF-8 text".into()))?;
    let file = CalibrationFile::parse(&text, &shown)?;
    let graph = pass::pool_first(&pass::normal_form(model)?.public.graph)?;
    let ranges = file.ranges(&graph, &model.weights).map_err(bad)?;
    let overflow = section.overflow.unwrap_or(1.0);
    Ok(Calibration { options, ranges: Some(ranges), overflow, error: section.error })
}

/// Does what the end of the file asks for: an ArgMax withholds all but the class, whatever a manifest says.
fn finish(loaded: &mut Loaded, ending: Ending, file: &Path) {
    let file = file.display();
    match ending {
        Ending::Plain => {}
        Ending::Softmax => loaded.notes.push(format!(
            "{file} ends in a softmax, which is left out: outputs are the scores it would be taken of"
        )),
        Ending::ArgMax => {
            loaded.model.public.output = OutputPolicy::ArgMax;
            loaded.notes.push(format!("{file} ends in ArgMax: only the class is given, no scores"));
        }
    }
}

fn describe(imported: Imported, manifest: &Manifest) -> Result<Model, String> {
    let mut graph = imported.graph;
    let wire = |name: &String| imported.tensors.get(name).copied();
    if wire(&manifest.input.tensor) != Some(graph.input()) {
        let (said, is) = (&manifest.input.tensor, input_name(&graph));
        return Err(format!("input.tensor is `{said}`, the model's input is `{is}`"));
    }
    if wire(&manifest.output.tensor) != Some(graph.output()) {
        let (said, is) = (&manifest.output.tensor, tidy(&imported.output));
        return Err(format!("output.tensor is `{said}`, the model's output is `{is}`"));
    }
    manifest.publish(&mut graph, &imported.tensors)?;
    let public = PublicModel {
        name: manifest.name.clone(),
        graph,
        labels: manifest.labels.clone(),
        input: manifest.input_spec()?,
        input_range: manifest.input.range,
        output: manifest.policy(),
        fixed: None,
    };
    let mut model = Model { public, weights: imported.weights, calibration: None };
    if manifest.zeros_published() {
        pass::publish_zeros(&mut model).map_err(|e| format!("zeros.published: {e}"))?;
    }
    Ok(model)
}

fn input_name(graph: &oblivia_nn::Graph) -> &str {
    graph.nodes().first().map_or("?", |n| &n.name)
}

fn undescribed(imported: Imported, file: &Path, named: &Path) -> Result<Loaded, OnnxError> {
    let outputs = imported.graph.output_shape().elements();
    let labels = if outputs <= PublicModel::MAX_LABELS { 0..outputs } else { 0..0 };
    let input_range = [-1.0, 1.0];
    let public = PublicModel {
        name: name_from(named),
        graph: imported.graph,
        labels: labels.map(|i| i.to_string()).collect(),
        input: InputSpec::Tensor,
        input_range,
        output: OutputPolicy::Logits,
        fixed: None,
    };
    public.check()?;
    let note = format!(
        "{} has no manifest: input is taken as a tensor (npy) with values in [-1, 1], labels are indices, all outputs \
         are given, no bounds are published; write a {MANIFEST} beside it to say otherwise",
        file.display()
    );
    Ok(Loaded {
        model: Model { public, weights: imported.weights, calibration: None },
        manifest: None,
        manifest_path: None,
        notes: vec![note],
    })
}

/// A name in the manifest's alphabet from a file's or folder's.
fn name_from(path: &Path) -> String {
    let stem = path.file_stem().map(|s| s.to_string_lossy().to_lowercase()).unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = stem.chars().map(allowed).take(64).collect();
    if name.trim_matches('-').is_empty() { "model".into() } else { name }
}

fn read_manifest(path: &Path) -> Result<Manifest, OnnxError> {
    let bytes = read(path, Manifest::MAX_BYTES)?;
    let shown = path.display().to_string();
    match String::from_utf8(bytes) {
        Ok(text) => Manifest::parse(&text, &shown),
        Err(_) => Err(OnnxError::Manifest { path: shown, why: "is not UTF-8 text".into() }),
    }
}

/// A whole file of at most `max` bytes.
fn read(path: &Path, max: u64) -> Result<Vec<u8>, OnnxError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| io(path, &e))?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(|e| io(path, &e))?;
    if bytes.len() as u64 > max {
        let what = format!("bytes of {}", path.display());
        return Err(OnnxError::TooLarge { what, found: bytes.len() as u64, max });
    }
    Ok(bytes)
}

fn io(path: &Path, e: &std::io::Error) -> OnnxError {
    OnnxError::Io { path: path.display().to_string(), why: e.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::relu_model;
    use std::fs::write;

    const MANIFEST_TEXT: &str = r#"
        format = 1
        name = "two-relus"
        version = "0.1.0"
        labels = ["no", "yes"]
        [input]
        tensor = "x"
        kind = "tensor"
        range = [-2, 2.0]
        [output]
        tensor = "y"
        kind = "logits"
        policy = "argmax"
        [ranges]
        published = true
        bounds = { x = 2, y = 2.5 }
    "#;

    fn folder(manifest: Option<&str>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("model.onnx"), relu_model()).unwrap();
        if let Some(text) = manifest {
            write(dir.path().join("model.toml"), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_opens_with_what_its_manifest_says() {
        let dir = folder(Some(MANIFEST_TEXT));
        let loaded = open(dir.path()).unwrap();
        let public = &loaded.model.public;
        assert_eq!((public.name.as_str(), public.labels.len()), ("two-relus", 2));
        assert_eq!((public.input_range, public.output), ([-2.0, 2.0], OutputPolicy::ArgMax));
        let bounds: Vec<_> = public.graph.nodes().iter().map(|n| n.fact.bound).collect();
        assert_eq!(bounds, [Some(2.0), Some(2.5)]);
        assert!(loaded.notes.is_empty());
        assert_eq!(load(dir.path().join("model.onnx")).unwrap().public, *public);
    }

    #[test]
    fn bounds_that_are_not_published_stay_out_of_the_graph() {
        let dir = folder(Some(&MANIFEST_TEXT.replace("published = true", "published = false")));
        let public = load(dir.path()).unwrap().public;
        assert!(public.graph.nodes().iter().all(|n| n.fact.bound.is_none()));
    }

    #[test]
    fn zeros_are_published_only_if_the_manifest_says_so() {
        let gemm = crate::tests::gemm_with_zeros();
        let zeros = |more: &str| {
            let dir = folder(Some(&format!("{MANIFEST_TEXT}\n{more}")));
            write(dir.path().join("model.onnx"), &gemm).unwrap();
            let public = load(dir.path()).map_err(|e| e.to_string())?.public;
            Ok::<_, String>(public.graph.weights().iter().filter_map(|w| w.zeros.clone()).collect::<Vec<_>>())
        };
        assert_eq!(zeros(""), Ok(vec![]));
        assert_eq!(zeros("[zeros]\npublished = false"), Ok(vec![]));
        let found = zeros("[zeros]\npublished = true").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().map(|z| z.as_bytes().to_vec()), Some(vec![0b0110]));
        assert!(zeros("[zeros]").unwrap_err().contains("published"));
        assert!(zeros("[zeros]\npublished = true\nlayers = []").unwrap_err().contains("unknown field"));
    }

    /// A folder with a model of one ReLU, calibrated.
    fn calibrated(section: &str, calibration: &str) -> tempfile::TempDir {
        let dir = folder(Some(&format!("{MANIFEST_TEXT}\n[fixed_point]\npublished = true\n{section}")));
        write(dir.path().join("calibration.toml"), calibration).unwrap();
        dir
    }

    const SECTION: &str = "bits = 16\nweight_bits = 9\ncalibration = \"calibration.toml\"\noverflow = 0.01";
    const MEASURED: &str = "format = 1\nweights = \"85a3a5d839507b34\"\nimages = 3\n[[wire]]\nname = \"x\"\npeak = [1, 2]\nrms = [0.5, 1]\n\
        [[wire]]\nname = \"node_y\"\npeak = [1, 0.5]\nrms = [0.25, 0.125]\n";

    #[test]
    fn a_model_carries_the_calibration_beside_its_manifest() {
        let dir = calibrated(SECTION, MEASURED);
        let model = load(dir.path()).unwrap();
        let calibration = model.calibration.clone().unwrap();
        assert_eq!((calibration.options.bits, calibration.options.weight_bits), (16, 9));
        assert_eq!(calibration.overflow, 0.01);
        let ranges = calibration.ranges.clone().unwrap();
        assert_eq!((ranges.images, ranges.peak.last()), (3, Some(&vec![1.0, 0.5])));
        let always = calibrated("bits = 20\nweight_bits = 8", "");
        assert!(load(always.path()).unwrap().calibration.unwrap().ranges.is_none());
        assert!(load(folder(Some(MANIFEST_TEXT)).path()).unwrap().calibration.is_none());
    }

    #[test]
    fn a_calibration_that_does_not_fit_says_where_and_stops_no_new_one() {
        for (from, to, expected) in [
            ("node_y", "z", "wire 1 is `z`, the model's is `node_y`"),
            ("format = 1", "format = 3", "format 3 is not known"),
        ] {
            let dir = calibrated(SECTION, &MEASURED.replacen(from, to, 1));
            let error = open(dir.path()).unwrap_err();
            assert!(matches!(error, OnnxError::Calibration { .. }), "{error}");
            let words = error.to_string();
            assert!(words.contains(expected) && words.contains("calibration.toml"), "{expected}: {words}");
            let opening = Opening { calibration: false, ..Opening::default() };
            assert!(open_with(dir.path(), &opening).unwrap().model.calibration.is_none());
        }
        let gone = calibrated(SECTION, MEASURED);
        std::fs::remove_file(gone.path().join("calibration.toml")).unwrap();
        let error = open(gone.path()).unwrap_err();
        assert!(matches!(error, OnnxError::Io { .. }), "{error}");
        assert!(
            error.to_string().contains("model.toml names it: put it there or run `oblivia quantise`"),
            "{error}"
        );
    }

    #[test]
    fn a_model_without_a_manifest_opens_with_defaults_and_a_note() {
        let dir = folder(None);
        let loaded = open(dir.path().join("model.onnx")).unwrap();
        assert_eq!(loaded.model.public.labels, ["0", "1"]);
        assert_eq!(
            (loaded.model.public.input, loaded.model.public.output),
            (InputSpec::Tensor, OutputPolicy::Logits)
        );
        assert!(loaded.notes.iter().any(|n| n.contains("has no manifest")));
    }

    #[test]
    fn a_manifest_of_another_file_does_not_count() {
        let dir = folder(Some(&MANIFEST_TEXT.replace("version", "model = \"other.onnx\"\nversion")));
        assert!(open(dir.path().join("model.onnx")).unwrap().manifest.is_none());
        assert!(matches!(open(dir.path()), Err(OnnxError::Io { .. })));
    }

    #[test]
    fn a_manifest_that_does_not_fit_says_where() {
        for (from, to, expected) in [
            ("format = 1", "format = 2", "format 2 is not known"),
            ("two-relus", "Two Relus", "`name` must be"),
            ("version", "versoin", "unknown field `versoin`"),
            ("labels = [", "labels = [\"maybe\", ", "3 labels for 2 outputs"),
            ("tensor = \"x\"", "tensor = \"q\"", "input.tensor is `q`, the model's input is `x`"),
            ("tensor = \"y\"", "tensor = \"x\"", "output.tensor is `x`, the model's output is `y`"),
            ("kind = \"tensor\"", "kind = \"sound\"", "unknown variant `sound`"),
            ("kind = \"tensor\"", "kind = \"image\"", "input.layout is needed for an image"),
            ("kind = \"tensor\"", "kind = \"tensor\"\nwidth = 3", "input.width is for images only"),
            ("[-2, 2.0]", "[2, -2]", "is not an interval"),
            ("policy = \"argmax\"", "policy = \"all\"", "unknown variant `all`"),
            ("x = 2, y", "z = 2, y", "ranges.bounds names the tensor `z`"),
            ("x = 2, y", "x = -1, y", "ranges.bounds.x = -1 is not a positive number"),
            ("version", "model = \"../other.onnx\"\nversion", "`model` must be the name of a file"),
            ("[ranges]", "[ranges", "line 14"),
        ] {
            let dir = folder(Some(&MANIFEST_TEXT.replacen(from, to, 1)));
            let error = open(dir.path()).unwrap_err();
            assert!(matches!(error, OnnxError::Manifest { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn an_image_section_must_fit_the_input_and_its_range() {
        let text = |width: usize, high: f64| {
            format!(
                "format = 1\nname = \"m\"\nversion = \"1\"\nlabels = []\n[input]\ntensor = \"x\"\nkind = \"image\"\n\
                 width = {width}\nheight = 1\nchannels = 1\nlayout = \"NCHW\"\nmean = [0]\nstd = [255]\n\
                 range = [0, {high:?}]\n[output]\ntensor = \"y\"\nkind = \"logits\"\npolicy = \"argmax-and-logits\""
            )
        };
        let try_with = |manifest: &str| {
            let dir = folder(Some(manifest));
            write(dir.path().join("model.onnx"), crate::tests::relu_image()).unwrap();
            load(dir.path())
        };
        assert!(matches!(try_with(&text(2, 1.0)).unwrap().public.input, InputSpec::Image(_)));
        let misfit = try_with(&text(3, 1.0)).unwrap_err().to_string();
        assert!(misfit.contains("[1×1×3] does not fit the graph's input [1×1×2]"), "{misfit}");
        let narrow = try_with(&text(2, 0.5)).unwrap_err().to_string();
        assert!(narrow.contains("leaves out 1.0000, the value of pixel 255"), "{narrow}");
    }

    #[test]
    fn what_a_file_ends_in_is_said_and_arg_max_withholds_scores() {
        let text = MANIFEST_TEXT.replace("argmax", "argmax-and-logits").replace(", y = 2.5", "");
        for (op, policy, note) in [
            ("Softmax", OutputPolicy::Logits, "ends in a softmax, which is left out"),
            ("ArgMax", OutputPolicy::ArgMax, "only the class is given"),
        ] {
            for manifest in [None, Some(text.as_str())] {
                let dir = folder(manifest);
                write(dir.path().join("model.onnx"), crate::tests::ending_in(op)).unwrap();
                let loaded = open(dir.path()).unwrap();
                assert_eq!(loaded.model.public.output, policy);
                assert!(loaded.notes.iter().any(|n| n.contains(note)), "{:?}", loaded.notes);
            }
        }
    }

    #[test]
    fn a_model_that_is_not_shipped_is_found_below_the_data_directory() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("models")).unwrap();
        write(data.path().join("models/two.onnx"), relu_model()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let manifest = |line: &str| {
            let text = MANIFEST_TEXT.replacen("version", &format!("{line}\nversion"), 1);
            write(dir.path().join("model.toml"), text).unwrap();
        };
        let found = || Ok(data.path().to_owned());
        let opening = Opening { data_dir: &found, ..Opening::default() };
        manifest("data_model = \"models/two.onnx\"");
        let loaded = open_with(dir.path(), &opening).unwrap();
        assert_eq!(loaded.model.public.name, "two-relus");
        // A file beside the manifest is not the one it speaks of.
        write(dir.path().join("model.onnx"), relu_model()).unwrap();
        assert!(open_with(dir.path().join("model.onnx"), &opening).unwrap().manifest.is_none());

        let none = open(dir.path()).unwrap_err().to_string();
        assert!(
            none.contains("model.toml: `data_model` names models/two.onnx") && none.contains("no directory"),
            "{none}"
        );
        manifest("data_model = \"models/three.onnx\"");
        let absent = open_with(dir.path(), &opening).unwrap_err();
        assert!(matches!(&absent, OnnxError::Io { why, .. } if why.contains("set OBLIVIA_DATA")), "{absent}");
        for line in ["\"../two.onnx\"", "\"/two.onnx\"", "\"models/../../two.onnx\"", "\"\"", "'a\\b'"] {
            manifest(&format!("data_model = {line}"));
            let why = open_with(dir.path(), &opening).unwrap_err().to_string();
            assert!(why.contains("`data_model` must be a path below the data directory"), "{line}: {why}");
        }
        manifest("data_model = \"models/two.onnx\"\nmodel = \"model.onnx\"");
        let both = open_with(dir.path(), &opening).unwrap_err().to_string();
        assert!(both.contains("both given"), "{both}");
    }

    #[test]
    fn a_manifest_can_say_how_its_model_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let text = MANIFEST_TEXT.replacen("version", "made_by = \"python scripts/make.py\"\nversion", 1);
        write(dir.path().join("model.toml"), text).unwrap();
        let absent = open(dir.path()).unwrap_err().to_string();
        assert!(
            absent.contains("No such file") && absent.ends_with("make it: python scripts/make.py"),
            "{absent}"
        );
    }

    #[test]
    fn a_path_that_is_not_there_says_so() {
        let error = open("no/such/model.onnx").unwrap_err().to_string();
        assert!(error.starts_with("reading no/such/model.onnx: No such file"), "{error}");
    }
}
