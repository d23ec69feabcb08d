//! Behind the writers of `tracing-appender`: one with a thread of its own, and one that begins a new file.

#[path = "../../support/mod.rs"]
mod support;

use std::{fs, io, path::Path, process, thread};

use omni_metrics::{Line, OmniMetricsLayer};
use support::Log;
use tracing::{Dispatch, dispatcher::with_default, info_span};
use tracing_appender::rolling;
use tracing_subscriber::prelude::*;

#[test]
fn a_non_blocking_writer_plugs_in() {
    let log = Log::default();
    let (writer, guard) = tracing_appender::non_blocking(Appender(log.clone()));
    let layer = OmniMetricsLayer::new().with_writer(writer);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    with_default(&dispatch, || drop(info_span!("request")));
    drop((guard, dispatch));
    assert_eq!(log.lines().len(), 1);
}

struct Appender(Log);

impl io::Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn threads_that_share_a_rolling_file_write_whole_lines() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rolling-{}", process::id()));
    // It begins a new file at the first line of each minute.
    let layer = OmniMetricsLayer::new().with_writer(rolling::minutely(&directory, "requests"));
    let handle = layer.handle();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                with_default(&dispatch, || (0..500).for_each(|_| drop(info_span!("request"))));
            });
        }
    });
    let files = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path());
    let text: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let whole = text.lines().filter(|line| matches!(line.parse(), Ok(Line::Request(_)))).count();
    assert_eq!((text.lines().count(), whole), (2_000, 2_000));
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.lines_written, snapshot.lines_lost), (2_000, 0));
    fs::remove_dir_all(directory).unwrap();
}
