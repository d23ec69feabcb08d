//! Messages from one stage to the next, over a socket.

use std::{
    io,
    marker::PhantomData,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use opentelemetry::context::FutureExt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep},
};
use tracing::{Instrument, Span, field, info_span};

use super::{Failure, Result, Tasks, ticket::Ticket};

/// A longer message is taken for a broken one, before memory is set aside for it.
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;
/// In place of the length of a message: there will be no more. A connection that ends without it was lost.
const END: u32 = 0;
/// For how long, and how often, a process that has to be started again is called for.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(20);

/// What goes over the wire.
pub(crate) trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Message for T {}

/// From where to where.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Edge {
    /// Two stages of this process.
    Stages(u64, u64),
    /// Two stages, each in a process of its own.
    Processes(u64, u64),
    /// From or to somebody who is no stage, so that it is no transfer.
    Outside,
}

impl Edge {
    /// The span of one half of a transfer. Both halves make one row.
    fn span(self, phase: &str, ticket: &Ticket) -> Span {
        match self {
            Self::Stages(from, to) | Self::Processes(from, to) => info_span!(
                "transfer",
                from_stage = from,
                to_stage = to,
                phase,
                request_id = ticket.request_id,
                size_bytes = field::Empty,
                sent_at_unix_ms = field::Empty,
            ),
            Self::Outside => Span::none(),
        }
    }

    fn failure(self, what: impl std::fmt::Display) -> Failure {
        format!("{self:?}: {what}").into()
    }
}

/// What goes ahead of a message.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    ticket: Ticket,
    /// Between processes: the sender's wall clock when it had sent. Each has a clock of its own to measure
    /// with, and no other one in common.
    sent_at_unix_ms: Option<f64>,
}

/// Both ends of an edge in this process.
pub(crate) async fn connect<M: Message>(
    edge: Edge,
    capacity: usize,
    tasks: &mut Tasks,
) -> Result<(Sender<M>, mpsc::Receiver<(Ticket, M)>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((dial(edge, address, capacity, tasks), listen(edge, listener, capacity, tasks)))
}

/// The sending end of an edge, one connection for all requests. A task of its own writes to it, until the
/// sender is dropped.
pub(crate) fn dial<M: Message>(
    edge: Edge,
    address: SocketAddr,
    capacity: usize,
    tasks: &mut Tasks,
) -> Sender<M> {
    let (frames, outbox) = mpsc::channel(capacity);
    tasks.spawn(write(edge, address, outbox));
    Sender { edge, frames, message: PhantomData }
}

/// The receiving end of an edge.
pub(crate) fn listen<M: Message>(
    edge: Edge,
    listener: TcpListener,
    capacity: usize,
    tasks: &mut Tasks,
) -> mpsc::Receiver<(Ticket, M)> {
    let (inbox, messages) = mpsc::channel(capacity);
    tasks.spawn(accept(edge, listener, inbox));
    messages
}

/// Where messages of an edge are sent.
#[derive(Debug)]
pub(crate) struct Sender<M> {
    edge: Edge,
    frames: mpsc::Sender<Vec<u8>>,
    message: PhantomData<fn(M)>,
}

impl<M: Message> Sender<M> {
    pub(crate) async fn send(&self, ticket: &Ticket, message: &M) -> Result<()> {
        let (body, place) = self.pack(ticket, message).with_context(ticket.trace()).await?;
        // The span of the sending is closed by now. Would it include handing the frame over, the
        // other side might start to decode before it ends, and the message would have been under
        // way for less than no time.
        let sent_at_unix_ms = matches!(self.edge, Edge::Processes(..)).then(unix_ms);
        let mut frame = postcard::to_extend(&Header { ticket: ticket.clone(), sent_at_unix_ms }, vec![0; 4])?;
        frame.extend(body);
        let length = u32::try_from(frame.len() - 4)?;
        if let Some(prefix) = frame.first_chunk_mut::<4>() {
            *prefix = length.to_le_bytes();
        }
        place.send(frame);
        Ok(())
    }

    /// The sending half of a transfer: what it costs the stage. That is the serialisation, and
    /// the wait for a place in the outbox when the connection is congested. Writing to the socket
    /// and reading from it are the flight, which the layer measures from the end of this span to
    /// the start of that of [`decode`]. The size is recorded on this half only: both make one row,
    /// whose bytes add up.
    async fn pack(&self, ticket: &Ticket, message: &M) -> Result<(Vec<u8>, mpsc::Permit<'_, Vec<u8>>)> {
        let span = self.edge.span("tx", ticket);
        async {
            let body = postcard::to_stdvec(message)?;
            Span::current().record("size_bytes", body.len());
            let place =
                self.frames.reserve().await.map_err(|_| self.edge.failure("the connection has closed"))?;
            Ok((body, place))
        }
        .instrument(span)
        .await
    }
}

fn unix_ms() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

/// Writes frames to whoever listens at the address. A process there that has gone may be started again: what
/// had already been taken by the old one is lost, the rest goes to the new one.
async fn write(edge: Edge, address: SocketAddr, mut frames: mpsc::Receiver<Vec<u8>>) -> Result<()> {
    let mut stream = call(edge, address).await?;
    while let Some(frame) = frames.recv().await {
        while has_hung_up(&stream) || stream.write_all(&frame).await.is_err() {
            stream = call(edge, address).await?;
        }
    }
    while has_hung_up(&stream) || stream.write_all(&END.to_le_bytes()).await.is_err() {
        stream = call(edge, address).await?;
    }
    Ok(stream.shutdown().await?)
}

/// Whether the other end is gone. The first write to one that is gone succeeds, so this has to be asked; nothing
/// else ever comes back.
fn has_hung_up(stream: &TcpStream) -> bool {
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

async fn call(edge: Edge, address: SocketAddr) -> Result<TcpStream> {
    let until = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if Instant::now() > until => return Err(edge.failure(error)),
            Err(_) => sleep(RETRY).await,
        }
    }
}

/// Reads from one connection after the other, until one comes to its end.
async fn accept<M: Message>(
    edge: Edge,
    listener: TcpListener,
    messages: mpsc::Sender<(Ticket, M)>,
) -> Result<()> {
    loop {
        let mut stream = BufReader::new(listener.accept().await?.0);
        while let Ok(length) = stream.read_u32_le().await {
            if length == END {
                return Ok(());
            }
            let length = length as usize;
            if length > MESSAGE_LIMIT {
                return Err(edge.failure(format_args!("a message of {length} bytes is over the limit")));
            }
            let mut bytes = vec![0; length];
            if stream.read_exact(&mut bytes).await.is_err() {
                break;
            }
            // Decodes whatever arrives at once, also while the stage is busy: a message that waits for
            // the stage must not look like one that is still under way.
            let message = decode(edge, &bytes)?;
            if messages.send(message).await.is_err() {
                return Err(edge.failure("the receiving stage has gone"));
            }
        }
    }
}

/// The receiving half of a transfer, from the moment at which all bytes are there.
fn decode<M: Message>(edge: Edge, bytes: &[u8]) -> Result<(Ticket, M)> {
    let garbled = |error| edge.failure(error);
    let (Header { ticket, sent_at_unix_ms }, body) = postcard::take_from_bytes(bytes).map_err(garbled)?;
    let _trace = ticket.trace().attach();
    let span = edge.span("rx", &ticket);
    if let Some(sent_at) = sent_at_unix_ms {
        span.record("sent_at_unix_ms", sent_at);
    }
    let message = span.in_scope(|| postcard::from_bytes(body)).map_err(garbled)?;
    Ok((ticket, message))
}
