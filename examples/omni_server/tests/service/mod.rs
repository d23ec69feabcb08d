//! The server as a process, and its log.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use omni_metrics::{Line, RequestLine};
use reqwest::blocking::{Client, Response};
use serde_json::Value;

pub const SERVER: &str = env!("CARGO_BIN_EXE_omni_server");

/// A server, and where it is.
pub struct Server {
    pub process: Mutex<Child>,
    pub address: String,
    pub log: PathBuf,
}

impl Server {
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(name, arguments, |_| {})
    }

    pub fn start_with(name: &str, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("server-{name}.log"));
        let mut command = Command::new(SERVER);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        prepare(&mut command);
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
        Self { address: address.to_owned(), process: Mutex::new(process), log }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn post(&self, id: Option<&str>, body: &Value) -> Response {
        let mut request = Client::new().post(self.url("/v1/generate")).json(body);
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        request.send().unwrap()
    }

    /// Sends a request by hand, and returns the connection.
    pub fn connect(&self, id: &str, body: &Value) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = body.to_string();
        let head = format!(
            "POST /v1/generate HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\nx-request-id: {id}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        stream
    }

    /// Waits until so many lines have been written.
    pub fn lines(&self, count: usize) -> Vec<RequestLine> {
        loop {
            let has_ended = self.process.lock().unwrap().try_wait().unwrap().is_some();
            let requests = requests(&self.log);
            if requests.len() >= count || has_ended {
                return requests;
            }
            thread::yield_now();
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.process.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Asks the server to stop, and waits until it has.
    pub fn stop_only(self) {
        self.signal("TERM");
        assert!(self.process.lock().unwrap().wait().unwrap().success());
    }

    /// Stops the server, and returns the requests and the last line.
    pub fn stop(self) -> (Vec<RequestLine>, String) {
        let log = self.log.clone();
        self.stop_only();
        let text = fs::read_to_string(&log).unwrap();
        (requests(&log), text.lines().last().unwrap_or_default().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// The requests in a log, between lines of `fmt`.
fn requests(log: &Path) -> Vec<RequestLine> {
    let request = |line| match line {
        Line::Request(request) => Some(request),
        _ => None,
    };
    lines(log).into_iter().filter_map(request).collect()
}

/// The lines of metrics in a log, between lines of `fmt`.
pub fn lines(log: &Path) -> Vec<Line> {
    let text = fs::read_to_string(log).unwrap();
    // The last line may be under way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let metrics = whole.lines().filter(|line| line.starts_with(r#"{"type":"#));
    metrics.map(|line| line.parse().unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}
