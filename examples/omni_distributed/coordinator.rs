//! The requests, and the processes that work for them.

use std::{
    env, fs,
    io::{self, Write},
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{Instrument, Span, field, info_span};

use crate::{
    Args, Shared,
    prometheus::{self, Exporter},
    stages::{
        Result, Tasks,
        answers::Answers,
        code2wav::Spoken,
        corpus::opening,
        ticket::Ticket,
        wire::{self, Edge},
    },
    worker::{CAPACITY, Outcome, Question, Stage},
};

pub(crate) const LOG: &str = "coordinator.jsonl";
/// How long a request that was under way when a process ended may still be answered: it may not have been
/// with that one.
const GRACE: Duration = Duration::from_secs(2);
/// How often a stage gets another process.
const RESTARTS: u32 = 5;
/// How long the workers may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Makes the directories, and removes the logs of an earlier run: its requests had the same ids.
pub(crate) fn make_directories(shared: &Shared) -> Result<()> {
    let make = |directory: &std::path::Path| {
        fs::create_dir_all(directory)
            .map_err(|error| format!("cannot make the directory {}: {error}", directory.display()))
    };
    make(&shared.out())?;
    if shared.log_stats {
        make(&shared.log_dir)?;
        let logs = Stage::ALL.into_iter().flat_map(|stage| (0..=RESTARTS).map(move |n| stage.log_name(n)));
        for log in logs {
            match fs::remove_file(shared.log_dir.join(log)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Starts the workers from the last to the first, serves the requests, and lets the workers end.
pub(crate) async fn run(args: &Args, exporter: Exporter) -> Result<()> {
    let metrics = prometheus::serve(exporter).await?;
    writeln!(io::stdout(), "coordinator: process {}, http://{metrics}/metrics", std::process::id())?;
    let sentences = args.shared.sentences()?;
    let (deaths, _) = broadcast::channel(CAPACITY);
    let (done, mut are_done) = mpsc::channel(Stage::ALL.len());
    let (release, released) = watch::channel(());
    let mut tasks = Tasks::default();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut next = listener.local_addr()?;
    let answers = Answers::new();
    let outcomes = wire::listen(Edge::Outside, listener, CAPACITY, &mut tasks);
    tasks.spawn(hand_out(outcomes, answers.clone()));
    for stage in Stage::ALL.into_iter().rev() {
        let plan = Plan { stage, next, shared: args.shared.clone() };
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let process = plan.start(any_port, 0).await?;
        next = process.address;
        let keep = Keep { done: done.clone(), released: released.clone() };
        tasks.spawn(plan.watch_over(process, deaths.clone(), keep));
    }
    let thinker = wire::dial(Edge::Outside, next, CAPACITY, &mut tasks);
    // Without anyone left to send questions, the workers end one after the other.
    let account = tokio::select! {
        account = drive(args, &sentences, thinker, &answers, &deaths) => account?,
        ended = tasks.end() => {
            ended?;
            return Err("the workers ended before the requests".into());
        }
    };
    if args.shared.keep {
        let kept = async {
            for _ in Stage::ALL {
                are_done.recv().await;
            }
            writeln!(io::stdout(), "All requests are served; the workers stay until stdin ends")?;
            tokio::io::stdin().read_to_end(&mut Vec::new()).await
        };
        tokio::select! {
            ended = kept => { ended?; }
            ended = tasks.end() => ended?,
        }
    }
    drop(release);
    // Every row is written by now, so that one which does not hear of the end may as well be killed.
    if !matches!(timeout(FAREWELL, tasks.end()).await, Ok(Ok(()))) {
        writeln!(io::stderr(), "a worker has not ended by itself")?;
    }
    account.report(&args.shared)
}

/// Keeps a number of requests in flight until all are served.
async fn drive(
    args: &Args,
    sentences: &[String],
    thinker: wire::Sender<Question>,
    answers: &Answers<Outcome>,
    deaths: &broadcast::Sender<Death>,
) -> Result<Account> {
    let thinker = Arc::new(thinker);
    let mut serving = JoinSet::new();
    let mut account = Account::default();
    for (number, sentence) in (1..=args.requests).zip(sentences.iter().cycle()) {
        if serving.len() >= args.concurrency as usize
            && let Some(served) = serving.join_next().await
        {
            account.add(served?);
        }
        let request_id = format!("req-{number:04}");
        let span = info_span!("request", request_id, finish_reason = field::Empty, missing = field::Empty);
        let request = Request {
            answer: answers.expect(&request_id),
            request_id,
            question: Question {
                text: opening(sentence),
                max_tokens: args.max_tokens as usize,
                seed: number.into(),
            },
            thinker: Arc::clone(&thinker),
            deaths: deaths.subscribe(),
            timeout: args.timeout,
        };
        serving.spawn(request.serve().instrument(span));
    }
    while let Some(served) = serving.join_next().await {
        account.add(served?);
    }
    Ok(account)
}

struct Request {
    request_id: String,
    question: Question,
    thinker: Arc<wire::Sender<Question>>,
    answer: oneshot::Receiver<Outcome>,
    deaths: broadcast::Receiver<Death>,
    timeout: Duration,
}

impl Request {
    async fn serve(self) -> Result<Spoken> {
        let answered = async {
            self.thinker.send(&Ticket::new(self.request_id), &self.question).await?;
            self.answer.await?.map_err(Into::into)
        };
        let served: Result<Spoken> = tokio::select! {
            served = answered => served,
            missing = loss(self.deaths, self.timeout) => {
                Span::current().record("missing", &missing);
                Err(missing.into())
            }
        };
        let reason = served.as_ref().map_or("error", |spoken| spoken.generation.finish_reason.as_str());
        Span::current().record("finish_reason", reason);
        served
    }
}

async fn hand_out(mut outcomes: mpsc::Receiver<(Ticket, Outcome)>, answers: Answers<Outcome>) -> Result<()> {
    while let Some((ticket, outcome)) = outcomes.recv().await {
        answers.give(&ticket.request_id, outcome);
    }
    Ok(())
}

/// A process that ended before its time.
#[derive(Debug, Clone, Copy)]
struct Death {
    stage: Stage,
    status: ExitStatus,
}

/// Ends when a request that is under way now has to be given up, and says what it has lost.
async fn loss(mut deaths: broadcast::Receiver<Death>, limit: Duration) -> String {
    match timeout(limit, deaths.recv()).await {
        Ok(Ok(Death { stage, status })) => {
            sleep(GRACE).await;
            format!("{stage}: its process ended with {status}")
        }
        Ok(Err(_)) => "the workers have gone".to_owned(),
        Err(_) => format!("no answer within {limit:?}"),
    }
}

/// How to start a worker.
struct Plan {
    stage: Stage,
    next: SocketAddr,
    shared: Shared,
}

impl Plan {
    async fn start(&self, listen: SocketAddr, restarts: u32) -> Result<Process> {
        let Self { stage, next, shared } = self;
        let mut command = Command::new(env::current_exe()?);
        command.args(["worker", "--stage", stage.name()]);
        command.args(["--listen", &listen.to_string(), "--next", &next.to_string()]);
        command.args(["--restarts", &restarts.to_string()]);
        command.arg("--log-dir").arg(&shared.log_dir).arg("--out").arg(shared.out());
        if shared.log_stats {
            command.arg("--log-stats");
        }
        if shared.keep {
            command.arg("--keep");
        }
        if let Some(input) = &shared.input {
            command.arg("--input").arg(input);
        }
        if let Some(url) = &shared.otlp {
            command.arg("--otlp").arg(url);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().ok_or("stdout is piped")?;
        let mut said = BufReader::new(stdout).lines();
        let line = said.next_line().await?.unwrap_or_default();
        let (address, metrics) = line.split_once(' ').unwrap_or_default();
        let address = address.parse().map_err(|_| format!("{stage} does not listen"))?;
        let id = child.id().unwrap_or_default();
        writeln!(io::stdout(), "{stage}: process {id}, http://{metrics}/metrics")?;
        Ok(Process { stdin: child.stdin.take(), said, child, address })
    }

    /// Starts another process where one ends before its time.
    async fn watch_over(
        self,
        mut process: Process,
        deaths: broadcast::Sender<Death>,
        mut keep: Keep,
    ) -> Result<()> {
        let mut restarts = 0;
        loop {
            // A process that ends, however, says nothing more.
            if self.shared.keep && process.said.next_line().await?.is_some() {
                keep.done.send(()).await?;
                // Nothing is ever sent: the other end is dropped.
                let _ = keep.released.changed().await;
                drop(process.stdin.take());
            }
            let status = process.child.wait().await?;
            if status.success() {
                return Ok(());
            }
            // Nobody may be under way.
            let _ = deaths.send(Death { stage: self.stage, status });
            process = loop {
                restarts += 1;
                if restarts > RESTARTS {
                    return Err(format!("{} has ended {restarts} times", self.stage).into());
                }
                // One that ends before it listens is one more.
                if let Ok(process) = self.start(process.address, restarts).await {
                    break process;
                }
            };
        }
    }
}

/// A worker.
struct Process {
    child: Child,
    address: SocketAddr,
    /// It ends when its stdin does: when this process does, or when its metrics may go.
    stdin: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
}

/// For `--keep`: says that a worker is done, and waits until it may go.
struct Keep {
    done: mpsc::Sender<()>,
    released: watch::Receiver<()>,
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Account {
    served: u32,
    sound: Duration,
    failures: Vec<String>,
}

impl Account {
    fn add(&mut self, served: Result<Spoken>) {
        match served {
            Ok(spoken) => {
                self.served += 1;
                self.sound += spoken.duration;
            }
            Err(failure) => self.failures.push(failure.to_string()),
        }
    }

    fn report(self, shared: &Shared) -> Result<()> {
        let seconds = self.sound.as_secs_f64();
        writeln!(
            io::stdout(),
            "Requests: {}, {seconds:.1} s of sound in {}",
            self.served,
            shared.out().display()
        )?;
        if shared.log_stats {
            writeln!(io::stdout(), "The logs are in {}", shared.log_dir.display())?;
        }
        match self.failures.first() {
            Some(first) => {
                let (failed, all) = (self.failures.len(), self.failures.len() + self.served as usize);
                Err(format!("{failed} of {all} requests failed, first: {first}").into())
            }
            None => Ok(()),
        }
    }
}
