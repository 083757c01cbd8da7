//! Each instance asked for itself, beside the calls that are balanced over all.

use std::{collections::BTreeSet, sync::atomic::Ordering::SeqCst, time::Duration};

use mingle_runtime::grpc::remote::Silence;
use tokio::net::TcpListener;

use super::remote::{Client, Instance, ask, way};

/// How long one is waited for here.
const PATIENCE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn each_instance_is_asked_and_none_is_left_alone_for_its_answer() {
    let (well, refuses, hangs) =
        (Instance::start().await, Instance::start().await, Instance::start().await);
    refuses.service.unavailable.store(true, SeqCst);
    hangs.service.silent.store(true, SeqCst);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let all = [well.address(), refuses.address(), hangs.address(), nobody];
    let way = way(&all.map(|address| format!("http://{address}")));
    let expected = [
        (well.address(), Ok(well.address().to_string())),
        (refuses.address(), Err(Silence::Refuses)),
        (hangs.address(), Err(Silence::Silent)),
        (nobody, Err(Silence::Unreachable)),
    ];
    for _ in 0..5 {
        let instances = way.instances();
        assert_eq!(instances.len(), expected.len());
        for (address, answer) in &expected {
            let instance = instances.iter().find(|it| it.address() == address.to_string());
            let said = instance.unwrap().describe(PATIENCE).await.map(|said| said.node_id);
            assert_eq!(&said, answer, "{address}");
        }
    }
    assert_eq!((refuses.calls(), hangs.calls()), (5, 5));
    // Calls know nothing of it.
    refuses.service.unavailable.store(false, SeqCst);
    hangs.service.silent.store(false, SeqCst);
    let client = Client::new(way);
    let mut answered = BTreeSet::new();
    for _ in 0..8 {
        answered.insert(ask(&client, None).await.unwrap());
    }
    assert_eq!(answered.len(), 3, "{answered:?}");
}
