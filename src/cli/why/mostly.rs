//! In which parts requests spent the largest part of their time.

use std::cmp::Reverse;

use serde::Serialize;

use super::{
    answer::{Answer, as_text},
    survey::Mean,
};
use crate::{cli::sentence::listed, cli::timeline::Part, write::columns::grouped};

/// Parts are named until they are those of this share of the requests.
const MOST: f64 = 0.8;
/// How many parts are named at most.
const NAMED: usize = 3;

/// Some requests by the part that each spent the largest part of its time in; the part with most requests
/// comes first.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Mostly(Vec<InPart>);

#[derive(Debug, Serialize)]
struct InPart {
    #[serde(serialize_with = "as_text")]
    part: Part,
    requests: u64,
}

impl Mostly {
    pub(super) fn of(mean: &Mean) -> Self {
        let mut parts: Vec<_> = mean.mostly().map(|(part, requests)| InPart { part, requests }).collect();
        parts.sort_by_key(|part| Reverse(part.requests));
        Self(parts)
    }
}

impl Answer {
    /// The parts of most of several requests, with the number of the requests.
    pub(super) fn where_most_were(&self, Mostly(parts): &Mostly) -> Option<String> {
        let all: u64 = parts.iter().map(|part| part.requests).sum();
        let (mut counted, mut named) = (0, Vec::new());
        for InPart { part, requests } in parts.iter().take(NAMED) {
            if counted as f64 >= MOST * all as f64 {
                break;
            }
            counted += requests;
            let place = self.parts.iter().find(|compared| compared.part == *part)?.place();
            let number = if *requests == all { "all".to_owned() } else { grouped(&requests.to_string()) };
            let spent = if named.is_empty() { " spent the largest part of their time" } else { "" };
            named.push(format!("{number}{spent} {place}"));
        }
        (all > 1).then(|| listed(&named))
    }
}
