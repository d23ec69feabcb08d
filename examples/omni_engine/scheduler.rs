//! Who runs in the next step, and who waits.

use std::collections::VecDeque;

use crate::sequence::Sequence;

/// A sequence is admitted if the cache has room for so many more steps. Without this reserve, a sequence that
/// was preempted would return at once, and be preempted again.
const RESERVE: usize = 16;

/// First come, first served, within two limits. If the sequences that run outgrow the cache, the youngest one
/// goes back to the head of the queue, and is computed again later.
pub(crate) struct Scheduler {
    /// In the order of arrival. All of them came after those that run.
    waiting: VecDeque<Sequence>,
    /// In the order of arrival.
    running: Vec<Sequence>,
    max_running: usize,
    /// How many tokens fit into the cache of keys and values, over all sequences that run.
    kv_tokens: usize,
}

impl Scheduler {
    pub(crate) fn new(max_running: usize, kv_tokens: usize) -> Self {
        Self { waiting: VecDeque::new(), running: Vec::new(), max_running, kv_tokens }
    }

    pub(crate) fn add(&mut self, sequence: Sequence) {
        self.waiting.push_back(sequence);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Makes room for one more step of those that run, then admits those that wait.
    pub(crate) fn schedule(&mut self) {
        while self.running.len() > 1 && self.needed() > self.kv_tokens {
            if let Some(mut youngest) = self.running.pop() {
                youngest.preempt();
                self.waiting.push_front(youngest);
            }
        }
        while self.running.len() < self.max_running {
            let Some(next) = self.waiting.pop_front() else { break };
            let after = self.needed() + next.text.len() + RESERVE * (self.running.len() + 1);
            // Alone, every sequence fits: the service refuses those that could not.
            if !self.running.is_empty() && after > self.kv_tokens {
                self.waiting.push_front(next);
                break;
            }
            next.span.scheduled();
            self.running.push(next);
        }
    }

    /// Those that are in the step.
    pub(crate) fn batch(&mut self) -> &mut [Sequence] {
        &mut self.running
    }

    /// Lets go of the sequences that have ended, wherever they are.
    pub(crate) fn remove(&mut self, mut has_ended: impl FnMut(&Sequence) -> bool) {
        self.waiting.retain(|sequence| !has_ended(sequence));
        self.running.retain(|sequence| !has_ended(sequence));
    }

    /// Places in the cache that the next step needs.
    fn needed(&self) -> usize {
        self.running.iter().map(|sequence| sequence.text.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{answer::Ask, request::Request};

    fn sequence(number: u64, prompt: usize) -> Sequence {
        let ask = Ask { prompt: "x".repeat(prompt), ..Ask::default() };
        Sequence::new(number, ask, Request::begin(None, None), mpsc::unbounded_channel().0)
    }

    fn running(scheduler: &mut Scheduler) -> Vec<u64> {
        scheduler.schedule();
        scheduler.batch().iter().map(|sequence| sequence.number).collect()
    }

    #[test]
    fn those_that_wait_are_admitted_in_order_while_there_is_room() {
        let mut scheduler = Scheduler::new(2, 1_000);
        for number in 0..4 {
            scheduler.add(sequence(number, 10));
        }
        assert_eq!(running(&mut scheduler), [0, 1]);
        scheduler.remove(|sequence| sequence.number == 0);
        assert_eq!(running(&mut scheduler), [1, 2]);
    }

    #[test]
    fn a_long_prompt_waits_for_room_and_nobody_overtakes_it() {
        let mut scheduler = Scheduler::new(4, 100);
        for (number, prompt) in [(0, 50), (1, 40), (2, 1)] {
            scheduler.add(sequence(number, prompt));
        }
        assert_eq!(running(&mut scheduler), [0]);
        scheduler.remove(|sequence| sequence.number == 0);
        assert_eq!(running(&mut scheduler), [1, 2]);
    }

    #[test]
    fn the_youngest_makes_room_and_returns_when_there_is_enough() {
        let mut scheduler = Scheduler::new(4, 100);
        for number in 0..2 {
            scheduler.add(sequence(number, 30));
        }
        assert_eq!(running(&mut scheduler), [0, 1]);
        for sequence in scheduler.batch() {
            sequence.text.grow(25);
        }
        assert_eq!(running(&mut scheduler), [0]);
        assert_eq!(running(&mut scheduler), [0], "there is no room yet");
        scheduler.remove(|sequence| sequence.number == 0);
        assert_eq!(running(&mut scheduler), [1]);
    }
}
