//! `/debug/requests`: which requests are open, in which stages, and since when, as a page and as JSON.

use std::time::{Duration, SystemTime};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use minijinja::{Environment, Value, context, value::Serde};
use omni_metrics::{OmniMetricsHandle, OpenRequest};
use serde::{Deserialize, Serialize};

/// How many requests are shown unless the query has a `limit`.
const DEFAULT_LIMIT: usize = 100;
/// More would take long to render.
const MAX_LIMIT: usize = 10_000;

/// What the query may say.
#[derive(Debug, Deserialize)]
struct Question {
    format: Option<PageFormat>,
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PageFormat {
    Html,
    Json,
}

/// The open requests at one moment.
#[derive(Debug, Serialize)]
struct Shown {
    timestamp: String,
    /// The oldest first.
    requests: Vec<OpenRequest>,
    /// Whether there are more than the limit.
    has_more: bool,
}

impl Shown {
    fn now(metrics: &OmniMetricsHandle, limit: usize) -> Self {
        let mut requests = metrics.open_requests(limit + 1);
        let has_more = requests.len() > limit;
        requests.truncate(limit);
        Self {
            timestamp: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            requests,
            has_more,
        }
    }
}

pub(crate) fn routes<S: Clone + Send + Sync + 'static>(metrics: OmniMetricsHandle) -> Router<S> {
    Router::new().route("/debug/requests", get(show).with_state(metrics))
}

async fn show(
    State(metrics): State<OmniMetricsHandle>,
    Query(question): Query<Question>,
    headers: HeaderMap,
) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let by_accept = if accept.contains("application/json") { PageFormat::Json } else { PageFormat::Html };
    let shown = Shown::now(&metrics, question.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT));
    match question.format.unwrap_or(by_accept) {
        PageFormat::Json => Json(shown).into_response(),
        PageFormat::Html => match page(&shown) {
            Ok(page) => Html(page).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
        },
    }
}

fn page(shown: &Shown) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.add_filter("time", |millis: f64| match millis {
        1000.0.. => humantime::format_duration(Duration::from_millis(millis as u64)).to_string(),
        _ => format!("{millis:.3}ms"),
    });
    templates.add_function("name", name);
    // The values in a template of this name are escaped.
    templates.add_template("open_requests.html", include_str!("open_requests.html"))?;
    templates.get_template("open_requests.html")?.render(context! { shown => Value::from(Serde(shown)) })
}

/// The name of a stage, and its id.
fn name(stage: &Value) -> Result<String, minijinja::Error> {
    let (id, name) = (stage.get_attr("stage_id")?, stage.get_attr("stage_name")?);
    Ok(match (id.as_i64(), name.as_str()) {
        (Some(id), Some(name)) => format!("{name} (stage {id})"),
        (Some(id), None) => format!("stage {id}"),
        (None, Some(name)) => format!("{name} (a stage without an id)"),
        (None, None) => "a stage without an id".to_owned(),
    })
}
