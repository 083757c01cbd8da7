//! One Watch stream: what changes, for a process that keeps values of its own.

use std::{collections::HashSet, sync::Arc};

use futures::{Stream, StreamExt as _};
use mingle_proto::cache::v1::{
    self,
    watch_request::Action,
    watch_response::Event::{self, Opened},
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::core::{Core, Heard};
use crate::{error::Error, wire};

/// Answers that wait for the client; then what it is told of waits, until it is a gap.
const ANSWERS: usize = 64;

type Answer = Result<v1::WatchResponse, Status>;

/// Opens a stream. Its task ends when the client ends its requests or no longer reads.
pub(super) fn open(
    core: Arc<Core>,
    requests: Streaming<v1::WatchRequest>,
) -> impl Stream<Item = Answer> + use<> {
    let (answers, receiver) = mpsc::channel(ANSWERS);
    // Before anything is opened: nothing falls between.
    let heard = core.heard.subscribe();
    let watch = Watch { core, followed: HashSet::new(), answers };
    tokio::spawn(watch.run(requests, heard));
    ReceiverStream::new(receiver)
}

struct Watch {
    core: Arc<Core>,
    followed: HashSet<String>,
    answers: mpsc::Sender<Answer>,
}

/// The client is gone, or was told why the stream ends.
struct Ended;

impl Watch {
    async fn run(
        mut self,
        mut requests: Streaming<v1::WatchRequest>,
        mut heard: broadcast::Receiver<Heard>,
    ) {
        loop {
            let went_on = tokio::select! {
                () = self.answers.closed() => return,
                request = requests.next() => match request {
                    Some(Ok(request)) => self.act(request).await,
                    Some(Err(_)) | None => return,
                },
                news = heard.recv() => self.tell(news).await,
            };
            if went_on.is_err() {
                return;
            }
        }
    }

    async fn act(&mut self, request: v1::WatchRequest) -> Result<(), Ended> {
        let names = match request.action {
            Some(Action::Remove(names)) => {
                names.namespaces.iter().for_each(|name| _ = self.followed.remove(name));
                return Ok(());
            }
            Some(Action::Add(names)) => names.namespaces,
            None => return self.refuse(wire::required("action").into()).await,
        };
        if let Err(invalid) = wire::followed(&names, &self.core.namespaces) {
            return self.refuse(invalid.into()).await;
        }
        for name in names {
            self.answer(&name, Opened(v1::Opened {})).await?;
            self.followed.insert(name);
        }
        Ok(())
    }

    async fn tell(&self, news: Result<Heard, RecvError>) -> Result<(), Ended> {
        match news {
            Ok(Heard::Changed(response)) if self.followed.contains(&response.namespace) => {
                self.send(Ok((*response).clone())).await
            }
            Ok(Heard::Changed(_)) => Ok(()),
            Ok(Heard::Gap) | Err(RecvError::Lagged(_)) => {
                for name in &self.followed {
                    self.answer(name, Event::Gap(v1::Gap {})).await?;
                }
                Ok(())
            }
            Err(RecvError::Closed) => Err(Ended),
        }
    }

    async fn answer(&self, namespace: &str, event: Event) -> Result<(), Ended> {
        let (namespace, event) = (namespace.to_owned(), Some(event));
        self.send(Ok(v1::WatchResponse { namespace, event, ..Default::default() })).await
    }

    async fn refuse(&self, error: Error) -> Result<(), Ended> {
        self.send(Err(error.into())).await?;
        Err(Ended)
    }

    async fn send(&self, answer: Answer) -> Result<(), Ended> {
        self.answers.send(answer).await.map_err(|_| Ended)
    }
}
