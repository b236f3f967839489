//! Processes of the program, bounded in time.

use oblivia_net::parse_fingerprint;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a loaded machine; a test that waits it out fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) const MODEL: &str = "mnist-cryptonets";

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of the shipped model.
pub(crate) fn model() -> PathBuf {
    root().join("models").join(MODEL)
}

/// A shipped image.
pub(crate) fn image(i: usize) -> PathBuf {
    root().join(format!("samples/mnist/{i:04}.png"))
}

/// What is on the first shipped images.
pub(crate) const DIGITS: [&str; 10] = ["7", "2", "1", "0", "4", "1", "4", "9", "5", "9"];

/// The program.
pub(crate) fn oblivia() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oblivia"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Ended well, or the test fails with what the process said.
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Ended with this code and all of these words on standard error.
    pub(crate) fn refused(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {self:#?}");
        }
        self
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// A process whose output is collected while it runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    out: Collected,
    err: Collected,
    ended: bool,
}

struct Collected {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Collected {
    fn from(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = text.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { return };
                let mut text = shared.lock().unwrap();
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn now(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.now()
    }
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = Collected::from(child.stdout.take().unwrap());
        let err = Collected::from(child.stderr.take().unwrap());
        Self { child, out, err, ended: false }
    }

    /// Waits until standard output or standard error contains `what`.
    pub(crate) fn until(&self, what: &str) {
        let start = Instant::now();
        while !self.out.now().contains(what) && !self.err.now().contains(what) {
            let said = || format!("{}\n{}", self.out.now(), self.err.now());
            assert!(start.elapsed() < LONG, "waited in vain for {what:?}: {}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until standard error contains `what` so many times.
    pub(crate) fn until_times(&self, what: &str, times: usize) {
        let start = Instant::now();
        while self.err.now().matches(what).count() < times {
            let said = || format!("{}\n{}", self.out.now(), self.err.now());
            assert!(start.elapsed() < LONG, "waited in vain for {times} × {what:?}: {}", said());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Standard output and standard error so far.
    pub(crate) fn said(&self) -> (String, String) {
        (self.out.now(), self.err.now())
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Waits for the end. Neither hangs nor panics.
    pub(crate) fn end(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < LONG, "it hangs: {}\n{}", self.out.now(), self.err.now());
            std::thread::sleep(Duration::from_millis(2));
        };
        self.ended = true;
        let ended = Ended { code: status.code(), out: self.out.all(), err: self.err.all() };
        assert!(ended.code != Some(101) && !ended.err.contains("panicked"), "{ended:#?}");
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs the program to its end.
pub(crate) fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ended {
    Running::start(oblivia().args(args)).end()
}

/// A server process with the shipped model.
pub(crate) struct Server {
    process: Running,
    stdin: Option<ChildStdin>,
    pub(crate) address: String,
    pub(crate) pin: String,
    pub(crate) state: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(flags: &[&str]) -> Self {
        Self::of(&model(), flags)
    }

    pub(crate) fn of(model: &Path, flags: &[&str]) -> Self {
        Self::known(model, flags, tempfile::tempdir().unwrap())
    }

    /// Ends it and starts it again: the same identity, nothing in memory.
    pub(crate) fn again(self, flags: &[&str]) -> Self {
        let Self { process, state, .. } = self;
        process.signal("TERM");
        process.end().well();
        Self::known(&model(), flags, state)
    }

    /// Kills it with signal 9; what it kept is left.
    pub(crate) fn kill(self) -> TempDir {
        let Self { mut process, state, .. } = self;
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        process.ended = true;
        state
    }

    /// Kills it and starts it again on what it kept.
    pub(crate) fn killed(self, flags: &[&str]) -> Self {
        Self::known(&model(), flags, self.kill())
    }

    /// With the identity kept in `state`.
    fn known(model: &Path, flags: &[&str], state: TempDir) -> Self {
        let mut command = oblivia();
        command.arg("serve").arg("--model").arg(model).args(["--listen", "127.0.0.1:0", "--json"]);
        command.arg("--state-dir").arg(state.path()).args(["--threads", "1"]).args(flags);
        let mut process = Running::start(command.stdin(Stdio::piped()));
        let stdin = process.child.stdin.take();
        process.until("\n");
        let said = process.out.now();
        let at: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
        assert_eq!((at["schema"].as_u64(), at["models"][0].as_str()), (Some(1), Some(MODEL)));
        let pin = at["fingerprint"].as_str().unwrap().to_owned();
        assert!(parse_fingerprint(&pin).is_ok());
        let address = at["listening"].as_str().unwrap().to_owned();
        Self { process, stdin, address, pin, state }
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Ends its standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn until(&self, what: &str) {
        self.process.until(what);
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.process.runs()
    }

    pub(crate) fn end(self) -> Ended {
        self.process.end()
    }
}

/// `oblivia predict` with a state directory of its own, which lives as long as this.
pub(crate) struct Client {
    pub(crate) command: Command,
    pub(crate) state: TempDir,
}

impl Client {
    /// Of a server process.
    pub(crate) fn of(server: &Server) -> Self {
        Self::at(&server.address, &server.pin)
    }

    pub(crate) fn at(address: &str, pin: &str) -> Self {
        Self::known(address, pin, tempfile::tempdir().unwrap())
    }

    /// With the identity kept in `state`.
    pub(crate) fn known(address: &str, pin: &str, state: TempDir) -> Self {
        let mut command = oblivia();
        command.args(["predict", "--server", address, "--pin", pin, "--model", MODEL, "--threads", "1"]);
        command.arg("--state-dir").arg(state.path());
        Self { command, state }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// With system `clear`, whose leak is accepted.
    pub(crate) fn clear(self) -> Self {
        self.args(["--system", "clear", "--accept-leak", "input"])
    }

    pub(crate) fn start(&mut self) -> Running {
        Running::start(&mut self.command)
    }

    pub(crate) fn end(mut self) -> Ended {
        self.start().end()
    }
}

/// The first shipped images.
pub(crate) fn images(n: usize) -> Vec<PathBuf> {
    (0..n).map(image).collect()
}

/// A folder with a copy of the shipped model.
pub(crate) fn copied_model() -> TempDir {
    copied(MODEL, &["model.onnx", "model.toml"])
}

/// A folder with copies of files of a shipped model.
pub(crate) fn copied(model: &str, files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::copy(root().join("models").join(model).join(file), dir.path().join(file)).unwrap();
    }
    dir
}
