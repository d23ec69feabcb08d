//! A layer on a mock clock, in front of a writer that keeps its lines.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

use std::{
    env, io,
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::Duration,
};

use omni_metrics::{Clock, MockClock, OmniMetricsHandle, OmniMetricsLayer};
use serde_json::Value;
use tracing::{Dispatch, Subscriber, dispatcher::DefaultGuard};
use tracing_subscriber::{fmt::MakeWriter, prelude::*, registry::LookupSpan};

/// A writer that remembers each `write` call.
#[derive(Clone, Default)]
pub struct Log {
    writes: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Log {
    pub fn writes(&self) -> Vec<Vec<u8>> {
        self.writes.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.writes().concat()).expect("lines are UTF-8")
    }

    /// All lines, parsed. After a write that panicked, a blank line may stand before one.
    pub fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

impl io::Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.lock().unwrap().push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

/// A subscriber with nothing but the layer, its clock, handle and log.
pub struct Rig {
    pub log: Log,
    pub time: MockClock,
    pub handle: OmniMetricsHandle,
    pub dispatch: Dispatch,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(|layer| layer)
    }

    /// With the layer changed by `change` before it is installed.
    pub fn with(
        change: impl FnOnce(
            OmniMetricsLayer<tracing_subscriber::Registry>,
        ) -> OmniMetricsLayer<tracing_subscriber::Registry>,
    ) -> Self {
        let (layer, rig) = layer();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(change(layer)));
        Self { dispatch, ..rig }
    }

    /// Makes the subscriber this thread's default.
    pub fn install(&self) -> DefaultGuard {
        tracing::dispatcher::set_default(&self.dispatch)
    }

    /// Runs `program` under the subscriber and returns the lines it made.
    pub fn run(&self, program: impl FnOnce(&Self)) -> Vec<Value> {
        let _default = self.install();
        program(self);
        self.log.lines()
    }

    /// Runs `program` under the subscriber, whatever it writes.
    pub fn run_text(&self, program: impl FnOnce(&Self)) {
        let _default = self.install();
        program(self);
    }

    pub fn wait_ms(&self, millis: u64) {
        self.time.advance(Duration::from_millis(millis));
    }
}

/// A layer for any stack of layers, and the rest of a rig for it.
pub fn layer<S>() -> (OmniMetricsLayer<S>, Rig)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let (clock, time) = Clock::mock();
    let log = Log::default();
    let layer = OmniMetricsLayer::new().with_clock(clock).with_writer(log.clone());
    let handle = layer.handle();
    (layer, Rig { log, time, handle, dispatch: Dispatch::none() })
}

/// The lines of a program on a fresh rig.
pub fn lines(program: impl FnOnce(&Rig)) -> Vec<Value> {
    Rig::new().run(program)
}

/// The only line of a program on a fresh rig.
pub fn line(program: impl FnOnce(&Rig)) -> Value {
    let mut lines = lines(program);
    assert_eq!(lines.len(), 1, "one line: {lines:#?}");
    lines.remove(0)
}

/// The warnings of a line.
pub fn warnings(line: &Value) -> Vec<String> {
    let warnings = line.get("warnings").and_then(Value::as_array).cloned().unwrap_or_default();
    warnings.iter().map(|warning| warning.as_str().expect("a sentence").to_owned()).collect()
}

const INSIDE: &str = "OMNI_METRICS_INSIDE";

/// Runs the test again in a process of its own, for what is one a process: the global default, the
/// callsites' cache, stderr. True in that process.
pub fn in_a_process_of_its_own(test: &str) -> bool {
    if env::var(INSIDE).as_deref() == Ok(test) {
        return true;
    }
    let output = run_in_a_process(test, |_| {});
    assert!(output.status.success(), "{test}: {}", String::from_utf8_lossy(&output.stderr));
    false
}

/// Runs a test of this binary in a process that `prepare` has prepared.
pub fn run_in_a_process(test: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, test);
    prepare(&mut command);
    command.output().unwrap()
}
