//! Somebody who says as much as they are let.

use std::time::Duration;

use mingle_testkit::Deployment;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, interval},
};

use super::limits::{clients, is_denied, message, room};

/// Between two attempts: far more than are admitted.
const PAUSE: Duration = Duration::from_millis(25);

/// See the module.
pub(super) struct Hasty {
    /// When each was asked for, and acknowledged.
    said: JoinHandle<Vec<(Instant, Instant)>>,
    end: oneshot::Sender<()>,
}

impl Hasty {
    /// By each process of chat in turn.
    pub(super) async fn start(deployment: &Deployment) -> Self {
        let mut clients = clients(deployment);
        let room = room(&mut clients[0]).await;
        let (end, mut ended) = oneshot::channel();
        let said = tokio::spawn(async move {
            let (mut pace, mut said) = (interval(PAUSE), Vec::new());
            for at in (0..clients.len()).cycle() {
                tokio::select! {
                    _ = pace.tick() => {}
                    _ = &mut ended => break,
                }
                let request = message("ann", &room, &format!("hasty-{}", said.len()));
                let asked = Instant::now();
                match clients[at].send(request).await {
                    Ok(_) => said.push((asked, Instant::now())),
                    Err(status) => assert!(is_denied(&status), "{status:?}"),
                }
            }
            said
        });
        Self { said, end }
    }

    /// The most that were charged within any window of this length, for certain: asked
    /// for and acknowledged in it.
    pub(super) async fn most_within(self, window: Duration) -> usize {
        self.end.send(()).expect("it goes on");
        let said = self.said.await.unwrap();
        let within = |(at, (from, _)): (usize, &(Instant, Instant))| {
            said[at..].iter().take_while(|(_, acknowledged)| *acknowledged - *from < window).count()
        };
        said.iter().enumerate().map(within).max().unwrap_or(0)
    }
}
