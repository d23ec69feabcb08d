//! Load from inside: requests of several lengths, of which one in seven fails and one leaves.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::task::JoinSet;

use crate::{Result, answer::Ask, client::Events};

const PROMPTS: [&str; 4] = [
    "Where did the time go?",
    "Say hello to everyone who has come to hear what a network with random weights has to say.",
    "Once upon a time there was a queue, and in it waited",
    "Read this aloud.",
];

/// Sends so many requests, so many at a time, and returns when all have been answered.
///
/// # Errors
///
/// The server can't be reached, or breaks a connection.
pub async fn send(address: &str, requests: usize, concurrency: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..concurrency.max(1) {
        let (address, next) = (address.to_owned(), Arc::clone(&next));
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return Ok(());
                }
                send_one(&address, number).await?;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        let ended: Result<()> = ended?;
        ended?;
    }
    Ok(())
}

async fn send_one(address: &str, number: usize) -> Result<()> {
    let mut ask = Ask {
        prompt: PROMPTS[number % PROMPTS.len()].to_owned(),
        max_tokens: 24 + 40 * (number % 5),
        seed: number as u64,
        ..Ask::default()
    };
    if number % 7 == 5 {
        (ask.fail_after, ask.ignore_eos) = (Some(10), true);
    }
    let mut events = Events::ask(address, &format!("load-{number}"), &ask).await?;
    while let Some(event) = events.next().await? {
        if number % 7 == 6 && event.name == "sound" {
            return Ok(());
        }
    }
    Ok(())
}
