//! Messages from one stage to the next, over a socket.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    try_join,
};
use tracing::{Span, field, instrument};

use crate::{Failure, Result};

/// A longer message is taken for a broken one, before memory is set aside for it.
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;
/// The length of what follows, little endian.
const PREFIX_BYTES: usize = 4;

/// What goes over the wire belongs to a request.
pub(crate) trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    fn request_id(&self) -> &str;
}

/// From which stage to which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Opens the connection of an edge, one for all requests. Two more tasks write to it and read
/// from it; they end when the sender is dropped.
pub(crate) async fn connect<M: Message>(
    edge: Edge,
    capacity: usize,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<(Sender<M>, mpsc::Receiver<M>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (client, (server, peer)) = try_join!(TcpStream::connect(listener.local_addr()?), listener.accept())?;
    if client.local_addr()? != peer {
        return Err(format!("{peer} connected in place of stage {}", edge.from).into());
    }
    client.set_nodelay(true)?;
    let (read_half, write_half) = (server.into_split().0, client.into_split().1);

    let (frames, outbox) = mpsc::channel(capacity);
    let (inbox, messages) = mpsc::channel(capacity);
    tasks.spawn(write(write_half, outbox));
    tasks.spawn(read(edge, BufReader::new(read_half), inbox));
    Ok((Sender { edge, frames, message: PhantomData }, messages))
}

/// The sending end of an edge.
#[derive(Debug)]
pub(crate) struct Sender<M> {
    edge: Edge,
    frames: mpsc::Sender<Vec<u8>>,
    message: PhantomData<fn(M)>,
}

impl<M: Message> Sender<M> {
    pub(crate) async fn send(&self, message: &M) -> Result<()> {
        let (frame, place) = self.pack(message).await?;
        // The span of the sending is closed by now. Would it include handing the frame over, the
        // other side might start to decode before it ends, and the message would have been under
        // way for less than no time.
        place.send(frame);
        Ok(())
    }

    /// The sending half of a transfer: what it costs the stage. That is the serialisation, and
    /// the wait for a place in the outbox when the connection is congested. Writing to the socket
    /// and reading from it are the flight, which the layer measures from the end of this span to
    /// the start of that of [`decode`].
    ///
    /// On an `async fn`, the attribute takes care of every `.await`. The size is recorded on this
    /// half only: both make one row, whose bytes add up.
    #[instrument(name = "transfer", skip_all, fields(
        from_stage = self.edge.from,
        to_stage = self.edge.to,
        phase = "tx",
        request_id = message.request_id(),
        size_bytes = field::Empty,
    ))]
    async fn pack(&self, message: &M) -> Result<(Vec<u8>, mpsc::Permit<'_, Vec<u8>>)> {
        let mut frame = postcard::to_extend(message, vec![0; PREFIX_BYTES])?;
        let length = u32::try_from(frame.len() - PREFIX_BYTES)?;
        if let Some(prefix) = frame.first_chunk_mut::<PREFIX_BYTES>() {
            *prefix = length.to_le_bytes();
        }
        Span::current().record("size_bytes", frame.len());
        let place =
            self.frames.reserve().await.map_err(|_| self.edge.failure("the connection has closed"))?;
        Ok((frame, place))
    }
}

async fn write(mut stream: OwnedWriteHalf, mut frames: mpsc::Receiver<Vec<u8>>) -> Result<()> {
    while let Some(frame) = frames.recv().await {
        stream.write_all(&frame).await?;
    }
    Ok(stream.shutdown().await?)
}

/// Reads and decodes whatever arrives at once, also while the stage is busy: a message that waits
/// for the stage must not look like one that is still under way.
async fn read<M: Message>(
    edge: Edge,
    mut stream: BufReader<OwnedReadHalf>,
    messages: mpsc::Sender<M>,
) -> Result<()> {
    while !stream.fill_buf().await?.is_empty() {
        let length = stream.read_u32_le().await? as usize;
        if length > MESSAGE_LIMIT {
            return Err(edge.failure(format_args!("a message of {length} bytes is over the limit")));
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await?;
        let message = decode(edge, &bytes)?;
        if messages.send(message).await.is_err() {
            return Err(edge.failure("the receiving stage has gone"));
        }
    }
    Ok(())
}

/// The receiving half of a transfer, from the moment at which all bytes are there. Whose they are
/// shows when they are decoded, so the id is recorded then: the layer asks for it at the end.
#[instrument(name = "transfer", skip_all, fields(
    from_stage = edge.from,
    to_stage = edge.to,
    phase = "rx",
    request_id = field::Empty,
))]
fn decode<M: Message>(edge: Edge, bytes: &[u8]) -> Result<M> {
    let message: M = postcard::from_bytes(bytes).map_err(|error| edge.failure(error))?;
    Span::current().record("request_id", message.request_id());
    Ok(message)
}

impl Edge {
    fn failure(self, what: impl std::fmt::Display) -> Failure {
        format!("transfer from stage {} to stage {}: {what}", self.from, self.to).into()
    }
}
