//! A server in a process of its own, for `demo` and `bench`.

use anyhow::{Context, Result};
use oblivia_protocol::Error;
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use tempfile::TempDir;

/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// What `oblivia serve --json` prints first.
#[derive(Deserialize, serde::Serialize, Debug)]
pub(crate) struct Listening {
    /// Version of this line's shape.
    pub(crate) schema: u32,
    /// Address with the port that was taken.
    pub(crate) listening: String,
    /// Fingerprint of the server's key.
    pub(crate) fingerprint: String,
    /// Names of the models.
    pub(crate) models: Vec<String>,
}

/// A temporary directory that is gone when this is, or when the process is interrupted.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::tempdir().context("making a temporary directory")?;
        let path = dir.path().to_owned();
        oblivia_net::on_interrupt(move || {
            // What cannot be removed stays; there is nobody left to tell.
            let _ = std::fs::remove_dir_all(path);
            std::process::exit(INTERRUPTED);
        })?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A running server; it shuts down when this is dropped.
pub(crate) struct ServerProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) at: Listening,
}

impl ServerProcess {
    /// Starts `oblivia serve` on a free loopback port.
    pub(crate) fn start(model: &Path, state_dir: &Path, threads: usize) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(&program)
            .arg("serve")
            .arg("--model")
            .arg(model)
            .args(["--listen", "127.0.0.1:0", "--json", "--until-stdin-ends"])
            .arg("--state-dir")
            .arg(state_dir)
            .args(["--threads", &threads.to_string()])
            // Deep networks have large keys.
            .args(["--max-message", "1024", "--max-memory", "4096"])
            // Nothing here is anybody's secret.
            .args(["--accept-leak", "intermediate-activations"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).context("reading what the server says")?;
        }
        if let Ok(at) = serde_json::from_str(&line) {
            return Ok(Self { child, stdin, at });
        }
        if !line.is_empty() {
            // It lives and says something else.
            let _ = child.kill();
        }
        let status = child.wait().context("waiting for the server")?;
        Err(Error::Io(format!("the server process did not start ({status}); it says why above")).into())
    }

    /// Identifier of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Largest memory the process has had, in bytes, where the operating system tells.
    pub(crate) fn peak_memory_bytes(&self) -> Option<u64> {
        peak_memory_bytes(&format!("/proc/{}/status", self.id()))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It ends by itself once its standard input is closed; there is nothing to do if waiting fails.
        let _ = self.child.wait();
    }
}

/// Largest memory of this process, in bytes.
pub(crate) fn own_peak_memory_bytes() -> Option<u64> {
    peak_memory_bytes("/proc/self/status")
}

fn peak_memory_bytes(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
