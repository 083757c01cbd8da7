//! From a graph to a trace: what a real Prometheus scraped names the trace of a call
//! that took as long as a bucket says.
//!
//! With the plain text format alone (`render_metrics` never `OpenMetrics`) this fails:
//! Prometheus has the histogram and no exemplar.

use std::{fs, net::SocketAddr};

use ::http::Method;
use mingle_client::ws::Encoding;
use mingle_testkit::{Collector, Mingle, Server, eventually, free_port};
use serde_json::{Value, json};

use crate::{
    http,
    world::{SECRET, SOON, greet, token},
};

/// A Prometheus that scrapes `target` each second, and where it is asked.
async fn prometheus(target: SocketAddr) -> (Server, SocketAddr) {
    let server = Server::prepare("prometheus", "TERM");
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs: [{{job_name: mingle, static_configs: [{{targets: ['{target}']}}]}}]\n"
    );
    fs::write(server.folder().join("config.yml"), config).unwrap();
    let arguments = [
        "--config.file=config.yml".into(),
        "--storage.tsdb.path=data".into(),
        "--enable-feature=exemplar-storage".into(),
        format!("--web.listen-address={at}").into(),
    ];
    server.start("prometheus".as_ref(), &arguments);
    eventually(SOON, "Prometheus to listen", async || {
        let asked = http::try_send(at, http::request(Method::GET, "/-/ready", "", "")).await;
        asked.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    (server, at)
}

/// What Prometheus answers to a question about a series.
async fn ask(at: SocketAddr, how: &str, query: &str) -> Value {
    let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let path = format!("/api/v1/{how}query={query}");
    http::get(at, &path, "").await.ok()["data"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_prometheus_scraped_leads_to_the_trace_of_a_slow_call() {
    let collector = Collector::start().await;
    let mingle = Mingle::builder()
        .env("MINGLE_JWT_SECRET", SECRET)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .start()
        .await;
    let (_server, prometheus) = prometheus(mingle.probes_addr()).await;

    let body = json!({"kind": "CHANNEL", "name": "lobby"});
    let made = http::post(mingle.http_addr(), "/api/rooms", &token("ann"), &body).await.ok();
    let room = made["roomId"].as_str().unwrap();
    let url = format!("ws://{}/ws", mingle.http_addr());
    let mut ann = greet(&url, "ann", Encoding::Json, None).await.unwrap();
    ann.room_join(room, None).await.unwrap();
    let sent = ann.send(room, "k", "hello").await.unwrap();

    let send = r#"mingle_rpc_duration_seconds_bucket{service="ChatService",method="Send"}"#;
    let delivery = "mingle_delivery_lag_seconds_bucket";
    for series in [send, delivery] {
        let exemplar = eventually(SOON, "an exemplar of the message", async || {
            let found = ask(prometheus, "query_exemplars?start=0&end=99999999999&", series).await;
            let series = found.as_array()?.iter();
            let mut all = series.flat_map(|it| it["exemplars"].as_array().unwrap().clone());
            all.find(|it| it["labels"]["trace_id"] == sent.trace_id)
        })
        .await;
        assert_eq!(exemplar["labels"]["span_id"].as_str().unwrap().len(), 16, "{exemplar}");
        let seconds: f64 = exemplar["value"].as_str().unwrap().parse().unwrap();
        assert!((0.0..60.0).contains(&seconds), "{exemplar}");
    }

    // Nothing that is counted is lost by it, nor anything of it refused.
    let calls = r#"mingle_rpcs_total{service="ChatService",method="Send"}"#;
    let calls = ask(prometheus, "query?", calls).await;
    assert_eq!(calls["result"][0]["value"][1], "1", "{calls}");
    let up = ask(prometheus, "query?", "up").await;
    assert_eq!(up["result"][0]["value"][1], "1", "{up}");
    let meaning = http::get(prometheus, "/api/v1/metadata?metric=mingle_rpcs", "").await.ok();
    assert_eq!(meaning["data"]["mingle_rpcs"][0]["type"], "counter", "{meaning}");
}
