//! How long a replaced value is served by another process, from the acknowledgement on.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use mingle_proto::cache::v1::{
    Entry, GetRequest, SetRequest, Value, cache_service_client::CacheServiceClient,
};
use tokio::time::Instant;
use tonic::transport::Channel;

use super::reads::NAMESPACE;
use crate::{
    latency::Latencies,
    report::{Report, Side},
};

const CALLERS: usize = 16;

type Client = CacheServiceClient<Channel>;

async fn set(client: &mut Client, key: &str, data: &str) -> anyhow::Result<()> {
    let value = Some(Value { data: data.into(), ..Value::default() });
    let entry = Some(Entry { key: key.to_owned(), value, ..Entry::default() });
    let set = SetRequest { namespace: NAMESPACE.to_owned(), entry, ..SetRequest::default() };
    ensure!(!client.set(set).await?.into_inner().degraded, "not stored");
    Ok(())
}

async fn get(client: &mut Client, key: &str) -> anyhow::Result<Vec<u8>> {
    let (namespace, key) = (NAMESPACE.to_owned(), key.to_owned());
    let read = client.get(GetRequest { namespace, key, ..GetRequest::default() });
    Ok(read.await?.into_inner().value.context("nothing is there")?.data)
}

/// Replaces a value so often by one process and reads it by another until it is new.
async fn change(
    (mut writer, mut reader): (Client, Client),
    (key, times): (String, usize),
    latencies: Arc<Latencies>,
) -> anyhow::Result<()> {
    set(&mut writer, &key, "0").await?;
    for number in 1..=times {
        // It has the old one in its memory.
        get(&mut reader, &key).await?;
        let data = number.to_string();
        set(&mut writer, &key, &data).await?;
        let acknowledged = Instant::now();
        while get(&mut reader, &key).await? != data.as_bytes() {}
        latencies.record(acknowledged.elapsed());
    }
    Ok(())
}

/// Measures.
pub(super) async fn measure(
    report: &mut Report,
    (writer, reader): (&Channel, &Channel),
    changes: usize,
) -> anyhow::Result<()> {
    let latencies = Arc::new(Latencies::new()?);
    let changing = (0..CALLERS).map(|who| {
        let clients =
            (CacheServiceClient::new(writer.clone()), CacheServiceClient::new(reader.clone()));
        let of = (format!("changes-{who}"), changes / CALLERS);
        tokio::spawn(change(clients, of, latencies.clone()))
    });
    for changed in try_join_all(changing).await? {
        changed?;
    }
    for (name, quantile) in [("p50", 0.5), ("p99.9", 0.999), ("the last", 1.0)] {
        let name = format!("{changes} Sets, acknowledged to read from another process: {name}");
        report.add(&name, "ms", Side::Ours, latencies.quantile_ms(quantile));
    }
    Ok(())
}
