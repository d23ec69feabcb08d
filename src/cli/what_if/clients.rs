//! Whether a log looks like a closed loop: clients that each send a request when they have an answer.

use super::{station::at_once, trace::Request};

/// From this share of the time on that all clients wait for an answer, the log looks like a closed loop.
const ALWAYS: f64 = 0.9;
/// With many clients, one of 50 may be between an answer and its next request.
const PAUSE: usize = 50;
/// How often each client has sent a request, on average, at least.
const REQUESTS: usize = 3;

/// How many requests were in flight at most, and for how much of the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct InFlight {
    /// The most that were in flight for at least 1 % of the time.
    pub(super) most: usize,
    /// For which share of the time the most were in flight: from the moment at which they first were, to the
    /// last creation of a request.
    share: f64,
    /// How many requests began in that time.
    began: usize,
}

impl InFlight {
    /// The requests are ordered by creation.
    pub(super) fn of(requests: &[Request]) -> Self {
        let times = || requests.iter().map(|request| (request.created, request.created + request.e2e.max(1)));
        let most = at_once(times());
        let enough = most - most / PAUSE;
        let last = requests.last().map_or(0, |request| request.created);
        let ends = times().map(|(_, end)| (end, false));
        let mut changes: Vec<_> = ends.chain(times().map(|(start, _)| (start, true))).collect();
        changes.sort_unstable();
        let (mut running, mut full_since, mut reached, mut full, mut began) = (0, None, None, 0, 0);
        for (time, is_start) in changes.into_iter().take_while(|(time, _)| *time <= last) {
            running = if is_start { running + 1 } else { running - 1 };
            began += usize::from(is_start && reached.is_some());
            match full_since {
                None if running >= enough => full_since = Some(time),
                Some(since) if running < enough => {
                    full += time - since;
                    full_since = None;
                }
                _ => {}
            }
            reached = reached.or(full_since);
        }
        full += full_since.map_or(0, |since| last - since);
        let share = reached.map_or(0.0, |reached| full as f64 / (last - reached).max(1) as f64);
        Self { most, share, began }
    }

    /// What a user should know who lets requests arrive as in the log of a closed loop.
    pub(super) fn remark(&self) -> Option<String> {
        let Self { most, share, began } = *self;
        let are = if most == 1 { "request was" } else { "requests were" };
        (share >= ALWAYS && began >= REQUESTS * most).then(|| {
            format!(
                "The log looks like a closed loop: {most} {are} in flight for {:.0} % of the time, so a \
                 request began when another one ended. At another speed they would arrive at other moments: \
                 predict it with --concurrency {most}. More load is more clients.",
                share * 100.0
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::what_if::replay::tests::random;

    /// Requests of clients that pause between an answer and the next request.
    fn closed(clients: usize, pause: u64) -> Vec<Request> {
        let (mut random, mut next) = (random(3), vec![0_u64; clients]);
        let mut requests = Vec::new();
        for _ in 0..clients * 40 {
            let Some(client) = next.iter_mut().min() else { break };
            let e2e = 500_000 + (random() * 1e6) as u64;
            requests.push(Request { created: *client, e2e, ..Request::default() });
            *client += e2e + pause;
        }
        requests
    }

    /// Requests that come at random moments.
    fn open(count: usize, at_once: f64) -> Vec<Request> {
        let (mut random, mut created) = (random(5), 0.0);
        let request = |_| {
            created -= (1.0 - random()).ln() * 1e6 / at_once;
            Request { created: created as u64, e2e: 500_000 + (random() * 1e6) as u64, ..Request::default() }
        };
        (0..count).map(request).collect()
    }

    #[test]
    fn clients_that_wait_for_answers_are_told_from_requests_that_come_by_themselves() {
        for clients in [1, 2, 12, 100, 400] {
            let found = InFlight::of(&closed(clients, 2_000));
            assert_eq!(found.most, clients, "{found:?}");
            let remark = found.remark().unwrap_or_else(|| panic!("{found:?}"));
            assert!(remark.contains(&format!("--concurrency {clients}.")), "{remark}");
        }
        for at_once in [0.1, 0.9, 3.0, 12.0, 100.0, 1_000.0] {
            let found = InFlight::of(&open(20_000, at_once));
            assert_eq!(found.remark(), None, "{at_once}: {found:?}");
        }
    }

    #[test]
    fn one_burst_is_no_closed_loop() {
        let burst = |created| Request { created, e2e: 100_000_000, ..Request::default() };
        let requests: Vec<_> = (0..20).map(burst).chain([burst(90_000_000)]).collect();
        assert_eq!(InFlight::of(&requests).remark(), None);
        assert_eq!(InFlight::of(&[]).remark(), None);
    }
}
