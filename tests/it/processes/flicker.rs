//! What every gateway says of users who are there, asked again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle, time::interval};

use crate::{
    http,
    world::{FUTURE, mint},
};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);
/// Users of one question.
const SOME: usize = 20;

/// See the module. It begins when all are online, and all stay.
pub(super) struct Flicker {
    asking: JoinHandle<Said>,
    over: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Said {
    answers: usize,
    /// When a gateway's answer was another than its last one.
    changes: Vec<(Duration, SocketAddr, BTreeSet<String>)>,
}

impl Flicker {
    pub(super) fn start(gateways: Vec<SocketAddr>, users: &[String]) -> Self {
        let claims = json!({"sub": "asker", "exp": FUTURE, "aud": "mingle",
            "presence": {"visibility": "any"}});
        let token = mint(&claims);
        let users: Vec<_> = users.iter().take(SOME).map(|it| format!("user={it}")).collect();
        let path = format!("/api/presence?{}", users.join("&"));
        let (over, mut is_over) = oneshot::channel();
        let asking = tokio::spawn(async move {
            let (begin, mut tick) = (Instant::now(), interval(PAUSE));
            let (mut said, mut last) = (Said::default(), BTreeMap::new());
            while is_over.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                tick.tick().await;
                for gateway in &gateways {
                    let told = http::get(*gateway, &path, &token).await.ok();
                    let told = told["presences"].as_array().unwrap();
                    let told = told.iter().map(|it| it["status"].as_str().unwrap().to_owned());
                    let told: BTreeSet<_> = told.collect();
                    said.answers += 1;
                    if last.insert(*gateway, told.clone()).is_none_or(|last| last != told) {
                        said.changes.push((begin.elapsed(), *gateway, told));
                    }
                }
            }
            said
        });
        Self { asking, over }
    }

    /// Nobody was ever said to be anything but online.
    pub(super) async fn end(self) {
        self.over.send(()).unwrap();
        let said = self.asking.await.unwrap();
        let online = BTreeSet::from(["ONLINE".to_owned()]);
        assert!(said.changes.iter().all(|(.., told)| *told == online), "{said:#?}");
        assert!(said.answers > 0, "nobody was asked");
        eprintln!("{} times all were online", said.answers);
    }
}
