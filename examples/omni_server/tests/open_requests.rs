//! What an operator sees of requests that hang: `/debug/requests`, and the lines of reports.

mod service;

use std::{net::TcpStream, thread::available_parallelism};

use omni_metrics::{Line, OpenRequest};
use reqwest::{blocking::Client, header::ACCEPT};
use serde_json::{Value, json};
use service::{Server, lines};

/// The requests on the page, once the last one is in `code2wav` or waits for it.
fn shown(server: &Server, count: usize) -> Vec<OpenRequest> {
    loop {
        let answer = Client::new().get(server.url("/debug/requests?format=json")).send().unwrap();
        let shown: Value = answer.json().unwrap();
        let requests: Vec<OpenRequest> = serde_json::from_value(shown["requests"].clone()).unwrap();
        if requests.len() == count && requests.last().is_some_and(|request| request.in_stages == [2]) {
            return requests;
        }
    }
}

/// Sends a request, and leaves it unread.
fn ask(server: &Server, id: &str) -> TcpStream {
    server.connect(id, &json!({ "prompt": "The layer writes", "max_tokens": 2 }))
}

/// As many requests as `code2wav` works on at once, and one more that waits for it.
fn hang(server: &Server) -> (Vec<TcpStream>, Vec<OpenRequest>) {
    let slots = available_parallelism().unwrap().get();
    let mut clients = Vec::new();
    let mut requests = Vec::new();
    for number in 0..=slots {
        clients.push(ask(server, &format!("<hangs-{number}>")));
        requests = shown(server, number + 1);
    }
    (clients, requests)
}

#[test]
fn the_page_says_which_requests_are_open_in_which_stages_and_since_when() {
    let server = Server::start("page", &["--log-stats", "--hang-every", "1"]);
    let (_clients, requests) = hang(&server);

    let ids: Vec<_> = requests.iter().flat_map(|request| request.request_id.as_deref()).collect();
    let expected: Vec<_> = (0..requests.len()).map(|number| format!("<hangs-{number}>")).collect();
    assert_eq!(ids, expected, "the oldest first");
    assert!(requests.is_sorted_by(|older, newer| older.age_ms >= newer.age_ms));
    for (number, request) in requests.iter().enumerate() {
        let finished: Vec<_> = request.stages.iter().map(|row| row.stage_id).collect();
        assert_eq!(finished, [Some(0), Some(1)]);
        assert!(request.stages.iter().all(|row| row.stage_gen_time_ms.is_some()));
        assert!(request.e2e_total_tokens > 0);
        let [stage] = &request.open_stages[..] else { panic!("{request:?}") };
        assert_eq!((stage.stage_id, stage.stage_name.as_deref()), (Some(2), Some("code2wav")));
        assert_eq!(stage.is_waiting, number == requests.len() - 1, "{requests:?}");
        assert!(stage.age_ms < request.age_ms);
    }

    let html = Client::new().get(server.url("/debug/requests")).send().unwrap();
    assert_eq!(html.headers()["content-type"], "text/html; charset=utf-8");
    let html = html.text().unwrap();
    assert!(html.contains("&lt;hangs-0&gt;") && !html.contains("<hangs"), "{html}");
    assert!(html.contains("finished talker (stage 1) in "), "{html}");
    assert_eq!(html.matches("in code2wav (stage 2) for ").count(), requests.len() - 1, "{html}");
    assert_eq!(html.matches("waits for code2wav (stage 2) for ").count(), 1, "{html}");
}

#[test]
fn the_page_is_json_for_those_who_ask_for_it_and_as_long_as_they_say() {
    let server = Server::start("page-json", &["--log-stats", "--hang-every", "1"]);
    let get = |query: &str| Client::new().get(server.url(&format!("/debug/requests{query}")));
    assert!(get("").send().unwrap().text().unwrap().contains("No request is open"));
    let (_clients, requests) = hang(&server);

    let first: Value = get("?limit=1").header(ACCEPT, "application/json").send().unwrap().json().unwrap();
    assert_eq!(first["requests"].as_array().unwrap().len(), 1);
    assert_eq!(first["requests"][0]["request_id"], "<hangs-0>");
    assert_eq!(first["has_more"], true);
    let all: Value = get("?format=json").send().unwrap().json().unwrap();
    assert_eq!(
        (all["requests"].as_array().unwrap().len(), &all["has_more"]),
        (requests.len(), &json!(false))
    );
    let html = get("?format=html&limit=1").header(ACCEPT, "application/json").send().unwrap().text().unwrap();
    assert!(html.contains("The 1 oldest of the open requests"), "{html}");
    assert_eq!(get("?limit=-1").send().unwrap().status(), 400);
}

#[test]
fn requests_that_hang_have_their_lines_when_the_server_stops() {
    let server = Server::start("released", &["--log-stats", "--hang-every", "1"]);
    let (_clients, hung) = hang(&server);
    let (requests, last) = server.stop();
    assert_eq!(requests.len(), hung.len());
    assert!(requests.iter().all(|request| request.stage_table.len() == 3));
    assert!(last.starts_with(r#"{"type":"summary""#), "{last}");
}

#[test]
fn a_report_says_which_request_hangs_in_which_stage() {
    let arguments = ["--log-stats", "--report-every", "50ms", "--report-older", "200ms", "--hang-every", "1"];
    let server = Server::start("report", &arguments);
    let reported = |id: &str| {
        lines(&server.log).into_iter().find_map(|line| match line {
            Line::Open(line) if line.request.request_id.as_deref() == Some(id) => Some(line),
            _ => None,
        })
    };
    let mut clients = Vec::new();
    // A machine may be so busy that a request becomes old before it has come to the stage in which it hangs.
    let hung = (0..20).find_map(|number| {
        let id = format!("hangs-{number}");
        clients.push(ask(&server, &id));
        let line = loop {
            if let Some(line) = reported(&id) {
                break line;
            }
        };
        (line.request.in_stages == [2]).then_some(line)
    });
    let hung = hung.unwrap();
    assert!(hung.request.age_ms.as_f64() >= 200.0);
    let [stage] = &hung.request.open_stages[..] else { panic!("{hung:?}") };
    assert_eq!(stage.stage_name.as_deref(), Some("code2wav"));
    assert!(stage.age_ms <= hung.request.age_ms);
    let mut summaries = lines(&server.log).into_iter().filter_map(|line| match line {
        Line::Summary(summary) => Some(summary),
        _ => None,
    });
    let seen = summaries.next_back().unwrap();
    assert!(seen.oldest_age_ms >= Some(hung.request.age_ms) && seen.open_requests >= Some(1), "{seen:?}");
    assert!(seen.window.is_some());
}
