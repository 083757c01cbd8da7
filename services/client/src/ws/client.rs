//! Requests and their replies over one socket; events wait meanwhile.

use std::{collections::VecDeque, time::Duration};

use mingle_proto::gateway::v1::{
    ClientFrame, Ping, ServerFrame, Welcome, client_frame, server_frame::Kind,
};
use tokio::time::{Instant, timeout_at};

use super::{Encoding, Error, Incoming, Reply, Result, Socket};

/// The bounds of a client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a request waits for its reply.
    pub reply: Duration,
    /// Events that may wait to be taken.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reply: Duration::from_secs(10), events: 4096 }
    }
}

/// A client of one socket.
///
/// **Shape**: one request at a time; whoever pipelines uses [`Socket`]. Nothing
/// runs by itself: events are read, and the gateway's pings answered, while a
/// method is awaited.
///
/// **Guarantees**: events come in the order sent, none is dropped. A request
/// that was given up on (timeout, dropped future) leaves the client usable; its
/// late reply is skipped.
pub struct Client {
    socket: Socket,
    limits: Limits,
    last_id: u32,
    events: VecDeque<Kind>,
    ping_interval: Option<Duration>,
    pub(super) welcome: Option<Welcome>,
}

impl Client {
    /// Connects to `url`. Say [`hello`](Self::hello) first.
    pub async fn connect(url: &str, encoding: Encoding) -> Result<Self> {
        Ok(Self::over(Socket::connect(url, encoding).await?, Limits::default()))
    }

    /// Over a socket that is there.
    pub fn over(socket: Socket, limits: Limits) -> Self {
        let events = VecDeque::new();
        Self { socket, limits, last_id: 0, events, ping_interval: None, welcome: None }
    }

    /// The socket, for what this does not do. Frames read there are not seen
    /// here.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// The gateway's answer to the hello.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// Events that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.events.len()
    }

    /// Says goodbye.
    pub async fn close(self) -> Result<()> {
        self.socket.close().await
    }

    /// Sends `kind` and waits for its reply.
    ///
    /// **Errors**: [`Error::Refused`] with what the gateway said;
    /// [`Error::Timeout`], [`Error::Closed`] and [`Error::Backlog`] leave the
    /// outcome unknown.
    pub async fn request<R: Reply>(&mut self, kind: client_frame::Kind) -> Result<R> {
        let by = Instant::now() + self.limits.reply;
        let id = self.next_id();
        let frame = ClientFrame { id, kind: Some(kind), ..ClientFrame::default() };
        let answer = timeout_at(by, async {
            self.socket.send_frame(&frame).await?;
            loop {
                self.require_room()?;
                match self.frame().await? {
                    ServerFrame { id: Some(answered), kind: Some(kind) } if answered == id => {
                        return Ok(kind);
                    }
                    frame => self.keep(frame),
                }
            }
        });
        match answer.await.map_err(|_| Error::Timeout)?? {
            Kind::Error(error) => Err(Error::Refused(error)),
            kind => R::of(kind).map_err(Error::Unexpected),
        }
    }

    /// Takes the next event; waits for one as long as it takes and pings the
    /// gateway when that is long. Cancel safe.
    pub async fn event(&mut self) -> Result<Kind> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.require_room()?;
            let frame = self.frame_or_ping().await?;
            self.keep(frame);
        }
    }

    /// Takes the first event for which `pick` answers; the others stay, in their
    /// order. Cancel safe.
    pub async fn event_where<T>(&mut self, pick: impl Fn(&Kind) -> Option<T>) -> Result<T> {
        let mut looked = 0;
        loop {
            let mut unseen = self.events.iter().enumerate().skip(looked);
            let found = unseen.find_map(|(at, event)| Some((at, pick(event)?)));
            if let Some((at, picked)) = found {
                self.events.remove(at);
                return Ok(picked);
            }
            looked = self.events.len();
            self.require_room()?;
            let frame = self.frame_or_ping().await?;
            self.keep(frame);
        }
    }

    /// Waits for a frame; asks for a sign of life when none comes for long.
    async fn frame_or_ping(&mut self) -> Result<ServerFrame> {
        let Some(interval) = self.ping_interval else {
            return self.frame().await;
        };
        loop {
            if let Ok(frame) = timeout_at(Instant::now() + interval, self.frame()).await {
                return frame;
            }
            let ping = Some(client_frame::Kind::Ping(Ping {}));
            let frame = ClientFrame { id: self.next_id(), kind: ping, ..ClientFrame::default() };
            self.socket.send_frame(&frame).await?;
        }
    }

    async fn frame(&mut self) -> Result<ServerFrame> {
        match self.socket.next().await? {
            Incoming::Frame(frame) => Ok(frame),
            Incoming::Closed(code, reason) => Err(Error::Closed { code, reason }),
        }
    }

    /// Keeps an event; skips a reply that nobody waits for any more, and an
    /// event of a kind that this build does not know.
    fn keep(&mut self, frame: ServerFrame) {
        if let ServerFrame { id: None, kind: Some(event) } = frame {
            self.events.push_back(event);
        }
    }

    /// Before a frame is read: what was read is never dropped.
    fn require_room(&self) -> Result<()> {
        match self.events.len() {
            waiting if waiting >= self.limits.events => Err(Error::Backlog(waiting)),
            _ => Ok(()),
        }
    }

    pub(super) fn greeted(&mut self, welcome: Welcome) {
        let interval = Duration::from_millis(welcome.ping_interval_ms.into());
        self.ping_interval = (!interval.is_zero()).then_some(interval);
        self.welcome = Some(welcome);
    }

    fn next_id(&mut self) -> u32 {
        // 0 stands for a frame whose id could not be read.
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }
}
