//! Pages of history that chat keeps in the cache: what was edited is read so from then on,
//! while the cache is killed, frozen, cut off and cleared.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use mingle_proto::{
    cache::v1::{
        ClearNamespaceRequest, NamespaceStats, StatsRequest,
        cache_service_client::CacheServiceClient,
    },
    chat::v1::{DeleteRequest, EditRequest, HistoryRequest, SendRequest},
};
use mingle_testkit::{Deployment, eventually};
use tokio::{task::JoinSet, time::timeout};
use tonic::transport::Channel;

use super::{
    limits::{Client, clients, room},
    plan,
};
use crate::world::SOON;

const ACTOR: &str = "ann";
const MESSAGES: usize = 12;
const NAMESPACE: &str = "chat_history";
/// Of the cache, between two faults.
const WELL: Duration = Duration::from_millis(1_500);
const AWAY: Duration = Duration::from_millis(1_000);

/// What was acknowledged of each message: the number of its body; 0 when it is gone.
type Said = [AtomicUsize; MESSAGES];

/// A room, its messages, and what was last said of each.
struct Room {
    id: String,
    messages: Vec<String>,
    /// Of the last message.
    last: u64,
    said: Said,
    end: AtomicBool,
}

impl Room {
    async fn open(chat: &mut Client) -> Self {
        let (id, mut messages, mut last) = (room(chat).await, Vec::new(), 0);
        for number in 0..MESSAGES {
            let send = SendRequest {
                actor: ACTOR.to_owned(),
                room_id: id.clone(),
                client_msg_id: number.to_string(),
                body: "1".to_owned(),
                ..SendRequest::default()
            };
            let sent = chat.send(send).await.unwrap().into_inner();
            messages.push(sent.message_id);
            last = sent.seq;
        }
        let said = std::array::from_fn(|_| AtomicUsize::new(1));
        Self { id, messages, last, said, end: AtomicBool::new(false) }
    }

    /// Edits each in turn until the end.
    async fn edit(self: Arc<Self>, mut chat: Client) -> usize {
        let mut edits = 0;
        for number in (0..MESSAGES).cycle() {
            if self.end.load(SeqCst) {
                break;
            }
            let next = self.said[number].load(SeqCst) + 1;
            let edit = EditRequest {
                actor: ACTOR.to_owned(),
                room_id: self.id.clone(),
                message_id: self.messages[number].clone(),
                body: next.to_string(),
            };
            chat.edit(edit).await.unwrap();
            self.said[number].store(next, SeqCst);
            edits += 1;
            // Now and then the same page is read twice.
            let _ = timeout(Duration::from_millis(40), std::future::pending::<()>()).await;
        }
        edits
    }

    /// Reads the page before the last message: nothing of it is older than what was
    /// acknowledged when it was asked for.
    async fn read(&self, chat: &mut Client) {
        let before: Vec<_> = self.said.iter().map(|said| said.load(SeqCst)).collect();
        let history = HistoryRequest {
            actor: ACTOR.to_owned(),
            room_id: self.id.clone(),
            before: self.last,
            limit: 50,
        };
        let page = chat.history(history).await.unwrap().into_inner();
        assert_eq!(page.messages.len(), MESSAGES - 1);
        for (number, (message, before)) in page.messages.iter().zip(before).enumerate() {
            assert_eq!(message.message_id, self.messages[number]);
            let is = message.body.parse().unwrap_or(usize::MAX);
            assert!(is >= before, "message {number} reads {is}, and {before} was said before");
        }
    }

    async fn read_on(self: Arc<Self>, mut chat: Client) -> usize {
        let mut reads = 0;
        while !self.end.load(SeqCst) {
            self.read(&mut chat).await;
            reads += 1;
        }
        reads
    }
}

async fn cache(deployment: &Deployment) -> CacheServiceClient<Channel> {
    let at = Channel::from_shared(format!("http://{}", deployment.grpc("cache")[0])).unwrap();
    CacheServiceClient::new(at.connect().await.unwrap())
}

async fn stats(deployment: &Deployment) -> NamespaceStats {
    let request = StatsRequest { namespace: NAMESPACE.to_owned() };
    let told = cache(deployment).await.stats(request).await.unwrap().into_inner();
    told.namespaces.into_iter().next().unwrap()
}

async fn pass(time: Duration) {
    let _ = timeout(time, std::future::pending::<()>()).await;
}

/// Each fault of the cache in turn; pages were kept before each.
async fn torment(deployment: &mut Deployment) -> u64 {
    let mut hits = 0;
    for fault in 0..4 {
        pass(WELL).await;
        hits = stats(deployment).await.hits.max(hits);
        match fault {
            0 => {
                deployment.process("cache", 0).freeze();
                pass(AWAY).await;
                deployment.process("cache", 0).thaw();
            }
            1 => {
                deployment.kill_and_restart("cache", 0).await;
            }
            2 => {
                let (actor, namespace) = ("root".to_owned(), NAMESPACE.to_owned());
                let clear = ClearNamespaceRequest { actor, namespace };
                cache(deployment).await.clear_namespace(clear).await.unwrap();
            }
            _ => deployment.redis().restart_empty().await,
        }
    }
    hits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_edited_is_read_so_whatever_becomes_of_the_cache() {
    let mut deployment = plan().count("chat", 2).start().await;
    let clients = clients(&deployment);
    let room = Arc::new(Room::open(&mut clients[0].clone()).await);
    // A page that nobody changes is loaded once, by whichever process it is asked.
    for client in &clients {
        for _ in 0..5 {
            room.read(&mut client.clone()).await;
        }
    }
    eventually(SOON, "it is kept", async || {
        room.read(&mut clients[1].clone()).await;
        stats(&deployment).await.hits > 5
    })
    .await;
    let mut working = JoinSet::new();
    for client in &clients {
        working.spawn(room.clone().read_on(client.clone()));
        working.spawn(room.clone().read_on(client.clone()));
    }
    let editing = tokio::spawn(room.clone().edit(clients[0].clone()));
    let hits = torment(&mut deployment).await;
    pass(WELL).await;
    room.end.store(true, SeqCst);
    let edits = editing.await.unwrap();
    let reads: usize = working.join_all().await.into_iter().sum();
    eprintln!("{edits} edits, {reads} reads, {hits} of them of the cache");
    assert!(edits > 20 && hits > 50 && reads > hits as usize, "{edits} {reads} {hits}");
    let delete = DeleteRequest {
        actor: ACTOR.to_owned(),
        room_id: room.id.clone(),
        message_id: room.messages[0].clone(),
    };
    clients[0].clone().delete(delete).await.unwrap();
    room.said[0].store(usize::MAX, SeqCst);
    for client in &clients {
        // What is deleted has no body.
        room.read(&mut client.clone()).await;
    }
}
