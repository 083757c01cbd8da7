//! The suite between two processes.

use std::{sync::Arc, time::Duration};

use mingle_store::bus::{Bus, Options, Servers};

use super::{
    conformance::Pair,
    stage::{postgres_client, redis_client, settled, start},
};

/// Quick to settle, and slow to find a busy machine's processes lost.
const UNHURRIED: Options = Options {
    beat: Duration::from_millis(250),
    lost_after: Duration::from_secs(2),
    subscribe: Duration::from_secs(5),
    kinds: 0,
};

/// Two buses, each with connections of its own, on servers that may be shared.
async fn pair(here: Servers, there: Servers, servers: impl Send + 'static) -> Pair {
    let here: Arc<dyn Bus> = start(here, UNHURRIED).await;
    let there: Arc<dyn Bus> = start(there, UNHURRIED).await;
    Pair::on(servers, here, there)
}

/// No fault is meant here, so a busy machine is given time.
async fn patient(server: &mingle_testkit::Redis) -> mingle_store::redis::Redis {
    redis_client(server, Duration::from_secs(5)).await
}

async fn database() -> String {
    mingle_testkit::Postgres::shared().await.database().await.url
}

mod redis {
    use super::*;

    async fn two() -> Pair {
        let server = mingle_testkit::Redis::start().await;
        let (here, there) = (patient(&server).await, patient(&server).await);
        pair(Servers::Redis(here), Servers::Redis(there), server).await
    }

    crate::bus::conformance::suite!(two().await);
}

mod postgres {
    use super::*;

    async fn two() -> Pair {
        let url = database().await;
        let (here, there) = (postgres_client(&url).await, postgres_client(&url).await);
        pair(Servers::Postgres(here), Servers::Postgres(there), ()).await
    }

    crate::bus::conformance::suite!(two().await);
}

/// Redis and PostgreSQL, while Redis is enough.
mod both {
    use super::*;

    async fn two() -> Pair {
        let server = mingle_testkit::Redis::start().await;
        let url = database().await;
        let here = Servers::Both(patient(&server).await, postgres_client(&url).await);
        let there = Servers::Both(patient(&server).await, postgres_client(&url).await);
        let here = start(here, UNHURRIED).await;
        let there = start(there, UNHURRIED).await;
        settled(&here).await;
        settled(&there).await;
        Pair::on(server, here, there)
    }

    crate::bus::conformance::suite!(two().await);
}

/// From a process that has both to one that has no Redis: everything comes
/// twice to the first's own subscribers.
mod doubled {
    use super::*;

    async fn two() -> Pair {
        let server = mingle_testkit::Redis::start().await;
        let url = database().await;
        let here = Servers::Both(patient(&server).await, postgres_client(&url).await);
        let there = Servers::Postgres(postgres_client(&url).await);
        pair(here, there, server).await
    }

    crate::bus::conformance::suite!(two().await);
}
