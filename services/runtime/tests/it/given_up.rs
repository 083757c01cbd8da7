//! Instances that are given up: who finds out that they are well again.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use mingle_testkit::{Fault, Proxy, eventually};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::remote::{Client, Instance, ask, to, way};

/// Far longer than an instance is left alone.
const SOON: Duration = Duration::from_secs(60);

/// Goes on calling, with answers of whoever is well, until `instance` was asked
/// so often whether it is.
async fn talk_until_asked(client: &Client, instance: &Instance, questions: usize) {
    eventually(SOON, "it is asked whether it is well", async || {
        assert!(ask(client, None).await.is_ok());
        instance.service.questions.load(SeqCst) >= questions
    })
    .await;
}

/// Loses calls to an instance until no more are.
async fn give_up(client: &Client, silent: &Instance) {
    silent.service.silent.store(true, SeqCst);
    eventually(SOON, "three calls met it", async || {
        let _ = ask(client, None).await;
        silent.calls() == 3
    })
    .await;
}

#[tokio::test]
async fn who_hangs_is_asked_by_us_until_it_is_well_and_by_no_call() {
    let (well, hung) = (Instance::start().await, Instance::start().await);
    let client = to(&[&well, &hung]);
    give_up(&client, &hung).await;
    talk_until_asked(&client, &hung, 2).await;
    assert_eq!(hung.calls(), 3, "calls to one that hangs");

    // It answers, and does not serve.
    hung.service.ill.store(true, SeqCst);
    hung.service.silent.store(false, SeqCst);
    let asked = hung.service.questions.load(SeqCst);
    talk_until_asked(&client, &hung, asked + 2).await;
    assert_eq!(hung.calls(), 3, "calls to one that is not ready");

    hung.service.ill.store(false, SeqCst);
    eventually(SOON, "it is called again", async || {
        assert!(ask(&client, None).await.is_ok());
        hung.calls() > 6
    })
    .await;
    // Nobody asks one that is called.
    let asked = hung.service.questions.load(SeqCst);
    assert!((5..=6).contains(&asked), "{asked} questions");
}

#[tokio::test]
async fn who_is_well_by_its_own_word_only_costs_one_call_each_time() {
    let (well, ill) = (Instance::start().await, Instance::start().await);
    ill.service.unavailable.store(true, SeqCst);
    let client = to(&[&well, &ill]);
    talk_until_asked(&client, &ill, 2).await;
    // Three at first; one after each question, the last of which was just now.
    let calls = ill.calls();
    assert!((4..=5).contains(&calls), "{calls} calls of one that refuses them");
}

#[tokio::test]
async fn who_refuses_is_no_reason_to_wait_for_one_that_hangs() {
    let (refuses, hung) = (Instance::start().await, Instance::start().await);
    let client = to(&[&refuses, &hung]);
    give_up(&client, &hung).await;
    refuses.service.unavailable.store(true, SeqCst);
    let before = refuses.calls();
    for calls in 1..=5 {
        assert_eq!(ask(&client, None).await, Err(Code::Unavailable));
        assert_eq!((refuses.calls() - before, hung.calls()), (2 * calls, 3), "with retries");
    }
}

#[tokio::test]
async fn the_only_one_is_called_although_it_is_given_up() {
    let hung = Instance::start().await;
    let client = to(&[&hung]);
    give_up(&client, &hung).await;
    assert_eq!(ask(&client, None).await, Err(Code::DeadlineExceeded));
    assert_eq!(hung.calls(), 4);
    hung.service.silent.store(false, SeqCst);
    assert_eq!(ask(&client, None).await, Ok(hung.address().to_string()));
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_opened_anew_elsewhere() {
    let [one, other] = [Instance::start().await, Instance::start().await];
    let proxy = Proxy::to(one.address()).await;
    let addresses = [proxy.address(), other.address()].map(|at| format!("http://{at}"));
    let mut client = HealthClient::new(way(&addresses));
    let mut stream = loop {
        let stream = client.watch(HealthCheckRequest::default()).await.unwrap();
        if one.service.streams.load(SeqCst) > 0 {
            break stream.into_inner();
        }
    };
    proxy.set(Fault::Silent);
    stream.message().await.expect_err("the connection counts as broken");
    let before = other.service.streams.load(SeqCst);
    for _ in 0..4 {
        // Opened at the silent one it would not be for as long again.
        client.watch(HealthCheckRequest::default()).await.expect("a stream elsewhere");
    }
    assert_eq!(other.service.streams.load(SeqCst), before + 4);
}
