//! Somebody who says as much as they are let.

use std::time::Duration;

use mingle_testkit::Deployment;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, interval},
};

use super::limits::{Client, clients, is_denied, message, room};

/// Lines that they say it on: however late one is answered, the others go on.
const LINES: usize = 8;
/// Between two attempts on a line: with all of them far more than are admitted.
const PAUSE: Duration = Duration::from_millis(200);

/// When one was asked for, and acknowledged.
type Said = (Instant, Instant);

/// See the module.
pub(super) struct Hasty {
    lines: JoinSet<Vec<Said>>,
    /// They end when it is dropped.
    end: watch::Sender<()>,
}

impl Hasty {
    /// By each process of chat in turn.
    pub(super) async fn start(deployment: &Deployment) -> Self {
        let mut clients = clients(deployment);
        let room = room(&mut clients[0]).await;
        let (mut lines, (end, ended)) = (JoinSet::new(), watch::channel(()));
        for line in 0..LINES {
            lines.spawn(talk(line, clients.clone(), room.clone(), ended.clone()));
        }
        Self { lines, end }
    }

    /// The most that were charged within any window of this length, for certain: asked
    /// for and acknowledged in it.
    pub(super) async fn most_within(self, window: Duration) -> usize {
        drop(self.end);
        let mut said: Vec<_> = self.lines.join_all().await.into_iter().flatten().collect();
        said.sort();
        let within = |(at, (from, _)): (usize, &Said)| {
            let after = said[at..].iter().take_while(|(asked, _)| *asked - *from < window);
            after.filter(|(_, acknowledged)| *acknowledged - *from < window).count()
        };
        said.iter().enumerate().map(within).max().unwrap_or(0)
    }
}

async fn talk(
    line: usize,
    mut clients: Vec<Client>,
    room: String,
    mut ended: watch::Receiver<()>,
) -> Vec<Said> {
    let (mut pace, mut said) = (interval(PAUSE), Vec::new());
    for attempt in line.. {
        tokio::select! {
            _ = pace.tick() => {}
            _ = ended.changed() => break,
        }
        // Each is another one: what an earlier one was charged for does not admit it.
        let request = message("ann", &room, &format!("hasty-{line}-{attempt}"));
        let at = attempt % clients.len();
        let asked = Instant::now();
        match clients[at].send(request).await {
            Ok(_) => said.push((asked, Instant::now())),
            Err(status) => assert!(is_denied(&status), "{status:?}"),
        }
    }
    said
}
