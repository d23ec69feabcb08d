//! Behind the writer of `tracing-appender`, which writes on a thread of its own.

#[path = "../../support/mod.rs"]
mod support;

use std::io;

use omni_metrics::OmniMetricsLayer;
use support::Log;
use tracing::{Dispatch, dispatcher::with_default, info_span};
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
