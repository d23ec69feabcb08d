//! One run of the service, which all tests of a binary look at.

#![allow(dead_code, reason = "no test binary uses all of it")]

pub mod between;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, LazyLock, Mutex, mpsc},
    time::Duration,
};

use between::{Between, Span};
use omni_engine::{
    Ask, Events, Received, RequestTimes, Result, Service, Settings, StageTimes, Visit, routes,
};
use omni_metrics::{Line, OmniMetricsLayer};
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, time::sleep};
use tracing_subscriber::prelude::*;

/// What came of one request.
#[derive(Debug)]
pub struct Request {
    pub ask: Ask,
    /// What the client received.
    pub events: Vec<Received>,
    /// The line, as written.
    pub line: Value,
    /// What the service's own timers say.
    pub times: RequestTimes,
}

impl Request {
    pub fn stage(&self, id: u64) -> Option<(&Value, &StageTimes)> {
        let rows = self.line["stage_table"].as_array().unwrap();
        let row = rows.iter().find(|row| row["stage_id"] == id);
        let times = self.times.stages.iter().find(|stage| stage.stage_id == id);
        assert_eq!(row.is_some(), times.is_some(), "{}: stage {id}", self.line);
        row.zip(times)
    }

    /// The rows of the stages that the scheduler began to work on.
    pub fn scheduled(&self) -> Vec<(&Value, &StageTimes)> {
        let stages = (0..2).filter_map(|id| self.stage(id));
        stages.filter(|(_, times)| times.scheduled.is_some()).collect()
    }

    /// The times in flight.
    pub fn flights(&self) -> Vec<Visit> {
        let flight = |(sent, received): (&Visit, &Visit)| Visit { enter: sent.exit, exit: received.enter };
        self.times.sent.iter().zip(&self.times.received).map(flight).collect()
    }

    /// From the creation of the request to its end.
    pub fn whole(&self) -> Span {
        let ends = self.times.stages.iter().filter_map(|stage| stage.last_exit);
        let ends = ends.chain(self.times.sent.iter().chain(&self.times.received).map(|visit| visit.exit));
        let ends: Vec<_> = ends.chain(self.times.last_exit).collect();
        Span {
            begin: self.times.created,
            end: omni_engine::Moment {
                before: ends.iter().map(|end| end.before).max().unwrap(),
                after: ends.iter().map(|end| end.after).max().unwrap(),
            },
        }
    }
}

/// A number of the log, which must be in the interval that two readings of another clock allow.
#[track_caller]
pub fn assert_within(row: &Value, key: &str, between: Between) {
    let Some(value) = row[key].as_f64() else { panic!("{key} is missing: {row}") };
    assert!(between.allows(value), "{key} is {value} and must be in {between:?}: {row}");
}

/// The same for a number that is left out where it is 0.
#[track_caller]
pub fn assert_within_or_absent(row: &Value, key: &str, between: Between) {
    let value = row[key].as_f64().unwrap_or_default();
    assert!(between.allows(value), "{key} is {value} and must be in {between:?}: {row}");
}

/// The requests of the run, by id.
pub fn requests() -> &'static HashMap<String, Request> {
    static REQUESTS: LazyLock<HashMap<String, Request>> = LazyLock::new(|| run().unwrap());
    &REQUESTS
}

fn ask(prompt: usize, max_tokens: usize) -> Ask {
    Ask { prompt: "x".repeat(prompt), max_tokens, ignore_eos: true, ..Ask::default() }
}

/// The requests, in their order of arrival. Two clients leave: one while its sequence runs, and one while its
/// sequence waits. The long sequences do not fit into the cache together.
fn asks() -> Vec<(&'static str, Ask)> {
    vec![
        ("leaves", ask(20, 200)),
        ("long-0", ask(40, 120)),
        ("long-1", ask(40, 120)),
        ("fails", Ask { fail_after: Some(10), ..ask(30, 100) }),
        ("long-2", ask(40, 120)),
        ("leaves the queue", ask(10, 200)),
        ("fails at once", Ask { fail_after: Some(0), ..ask(10, 20) }),
        ("one token", ask(10, 1)),
        ("two chunks", ask(10, 8)),
        // With this seed, the model ends the text after 14 tokens.
        ("ends itself", Ask { ignore_eos: false, seed: 3, ..ask(10, 250) }),
        ("too long", ask(10, 1_000)),
    ]
}

const SETTINGS: Settings = Settings { max_running: 4, kv_tokens: 300, seed: 1 };

/// After so many steps, a chunk of each sequence that runs has left the engine, and no sequence has ended.
const STEPS_BEFORE_LEAVING: u64 = 6;

/// Clients that hear a chunk before.
const HEARD_BEFORE_LEAVING: [&str; 3] = ["leaves", "long-0", "long-1"];

/// A chunk of sound lasts 160 ms.
const LONGER_THAN_A_CHUNK: Duration = Duration::from_millis(250);

fn run() -> Result<HashMap<String, Request>> {
    let log = Log::default();
    let writer = log.clone();
    let layer = OmniMetricsLayer::new().with_writer(move || writer.clone());
    tracing_subscriber::registry().with(layer).init();
    let (ledger, accounts) = mpsc::channel();
    let (service, stages) = Service::start(&SETTINGS, Some(ledger))?;
    let mut received = Runtime::new()?.block_on(drive(service, &log))?;
    stages.join()?;
    let accounts: HashMap<_, _> =
        accounts.into_iter().map(|times| (times.request_id.clone().unwrap(), times)).collect();
    let mut lines = log.lines();
    assert_eq!((lines.len(), accounts.len()), (asks().len(), asks().len()), "one line for each request");
    let request = |(id, ask): (&str, Ask)| {
        let request = Request {
            ask,
            events: received.remove(id).unwrap(),
            line: lines.remove(id).unwrap(),
            times: accounts[id].clone(),
        };
        (id.to_owned(), request)
    };
    Ok(asks().into_iter().map(request).collect())
}

/// Serves the requests; returns what the clients received.
async fn drive(service: Service, log: &Log) -> Result<HashMap<&'static str, Vec<Received>>> {
    let service = Arc::new(service);
    service.pause_after(0);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes(Arc::clone(&service)))
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let server = tokio::spawn(server.into_future());

    // The engine does not run yet, so all of them are in its queue, in this order.
    let mut clients = HashMap::new();
    let mut received = HashMap::new();
    for (id, ask) in asks() {
        let events = Events::ask(&address, id, &ask).await?;
        if events.status().is_success() {
            clients.insert(id, events);
        } else {
            assert_eq!((id, events.status().as_u16()), ("too long", 400));
            received.insert(id, Vec::new());
        }
    }
    service.pause_after(STEPS_BEFORE_LEAVING);
    for id in HEARD_BEFORE_LEAVING {
        let heard: &mut Vec<Received> = received.entry(id).or_default();
        while heard.last().is_none_or(|event| event.name != "sound") {
            heard.extend(clients.get_mut(id).unwrap().next().await?);
        }
    }
    for id in ["leaves", "leaves the queue"] {
        drop(clients.remove(id).unwrap());
        received.entry(id).or_default();
    }
    // Until the server has noticed.
    for id in ["leaves", "leaves the queue"] {
        while !log.lines().contains_key(id) {
            sleep(Duration::from_millis(1)).await;
        }
    }
    // For the clients that have heard a chunk, and now hear nothing.
    sleep(LONGER_THAN_A_CHUNK).await;
    service.resume();
    drop(service);
    let clients: Vec<_> = clients.into_iter().map(|(id, events)| (id, tokio::spawn(events.rest()))).collect();
    for (id, events) in clients {
        received.entry(id).or_default().extend(events.await??);
    }
    drop(stop);
    server.await??;
    Ok(received)
}

/// What the layer has written.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The lines, by the id of their request.
    fn lines(&self) -> HashMap<String, Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let line = |line: &str| {
            let Ok(Line::Request(request)) = line.parse() else { panic!("not a request: {line}") };
            (request.request_id, serde_json::from_str(line).unwrap())
        };
        text.lines().map(line).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
