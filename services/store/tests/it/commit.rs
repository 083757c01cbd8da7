use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use mingle_store::{
    Error, ErrorKind, Result,
    commit::{Batch, Lanes, MAX_BATCH},
};
use parking_lot::Mutex;
use tokio::task::JoinSet;

#[derive(Clone, Copy)]
enum Wish {
    Write(u64),
    Refuse,
    Poison,
    Lost,
    Defect,
    /// Others are first this many times.
    Late(usize),
}

#[derive(Default)]
struct Log {
    written: Mutex<Vec<u64>>,
    batches: AtomicUsize,
    largest: AtomicUsize,
    beaten: AtomicUsize,
}

#[async_trait]
impl Batch for Log {
    type Item = Wish;
    type Outcome = std::result::Result<usize, &'static str>;

    async fn run(&self, items: &[Wish]) -> Result<Vec<Self::Outcome>> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        self.largest.fetch_max(items.len(), Ordering::SeqCst);
        tokio::task::yield_now().await;
        assert!(!items.iter().any(|wish| matches!(wish, Wish::Defect)), "a defect");
        if items.iter().any(|wish| matches!(wish, Wish::Poison)) {
            return Err(Error::new(ErrorKind::Unsupported, "poison"));
        }
        if items.iter().any(|wish| matches!(wish, Wish::Lost)) {
            return Err(Error::new(ErrorKind::Timeout, "lost"));
        }
        if let Some(Wish::Late(times)) = items.iter().find(|wish| matches!(wish, Wish::Late(_)))
            && self.beaten.fetch_add(1, Ordering::SeqCst) < *times
        {
            return Err(Error::new(ErrorKind::Conflict, "another writer"));
        }
        let mut written = self.written.lock();
        let verdict = |wish: &Wish| match wish {
            Wish::Late(_) => Ok(0),
            Wish::Write(n) => {
                written.push(*n);
                Ok(written.len())
            }
            _ => Err("refused"),
        };
        Ok(items.iter().map(verdict).collect())
    }
}

#[tokio::test]
async fn concurrent_writers_share_batches_and_keep_their_order() {
    let log = Arc::new(Log::default());
    let lanes = Lanes::start(log.clone(), 1, MAX_BATCH);
    let mut tasks = JoinSet::new();
    for writer in 0..200 {
        let lanes = lanes.clone();
        tasks.spawn(async move {
            for n in 0..10 {
                lanes.submit("room", Wish::Write(writer * 10 + n)).await.unwrap().unwrap();
            }
        });
    }
    tasks.join_all().await;
    let written = log.written.lock().clone();
    assert_eq!(written.len(), 2000);
    for writer in 0..200 {
        let own: Vec<_> = written.iter().filter(|n| **n / 10 == writer).collect();
        assert!(own.is_sorted(), "one writer's items keep their order");
    }
    let batches = log.batches.load(Ordering::SeqCst);
    assert!(batches < 1000, "{batches} batches for 2000 items from 200 writers");
    assert!(log.largest.load(Ordering::SeqCst) <= MAX_BATCH);
}

#[tokio::test]
async fn a_refused_or_poisonous_item_harms_no_neighbour() {
    let log = Arc::new(Log::default());
    let lanes = Lanes::start(log.clone(), 1, MAX_BATCH);
    let wishes = (0..100).map(|n| match n % 10 {
        3 => Wish::Refuse,
        7 => Wish::Poison,
        _ => Wish::Write(n),
    });
    let results = futures::future::join_all(wishes.map(|wish| lanes.submit("room", wish))).await;
    for (n, result) in results.iter().enumerate() {
        match n % 10 {
            3 => assert_eq!(result.as_ref().unwrap(), &Err("refused")),
            7 => assert_eq!(result.as_ref().unwrap_err().kind(), ErrorKind::Unsupported),
            _ => assert!(result.as_ref().unwrap().is_ok()),
        }
    }
    assert_eq!(log.written.lock().len(), 80);
}

#[tokio::test]
async fn an_unknown_commit_is_transient_for_all_and_never_rerun() {
    let log = Arc::new(Log::default());
    let lanes = Lanes::start(log.clone(), 1, MAX_BATCH);
    let wishes = [Wish::Write(1), Wish::Lost, Wish::Write(2)];
    let results = futures::future::join_all(wishes.map(|wish| lanes.submit("room", wish))).await;
    assert!(results.iter().any(|result| result.as_ref().is_err_and(Error::is_transient)));
    assert!(!results.iter().any(|result| result.as_ref().is_err_and(Error::is_undone)));
    assert!(log.batches.load(Ordering::SeqCst) <= 3, "a batch of unknown outcome is not rerun");
}

#[tokio::test]
async fn a_lane_survives_a_defect_of_its_batch() {
    let lanes = Lanes::start(Arc::new(Log::default()), 1, MAX_BATCH);
    assert!(lanes.submit("room", Wish::Defect).await.unwrap_err().is_transient());
    assert_eq!(lanes.submit("room", Wish::Write(1)).await.unwrap(), Ok(1));
}

#[tokio::test]
async fn a_batch_that_was_beaten_runs_again_whole() {
    let log = Arc::new(Log::default());
    let lanes = Lanes::start(log.clone(), 1, MAX_BATCH);
    let wishes = (0..100).map(|n| if n == 50 { Wish::Late(2) } else { Wish::Write(n) });
    let results = futures::future::join_all(wishes.map(|wish| lanes.submit("", wish))).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(Result::is_ok)));
    assert_eq!(log.written.lock().len(), 99);
    let batches = log.batches.load(Ordering::SeqCst);
    assert!(batches <= 5, "{batches} transactions for a hundred writes");
}

#[tokio::test]
async fn who_was_beaten_by_another_writer_tries_again_but_not_for_ever() {
    let log = Arc::new(Log::default());
    let lanes = Lanes::start(log.clone(), 1, MAX_BATCH);
    assert_eq!(lanes.submit("", Wish::Late(6)).await.unwrap(), Ok(0));
    assert_eq!(log.batches.load(Ordering::SeqCst), 7);
    let log = Arc::new(Log::default());
    let lanes = Lanes::start(log.clone(), 1, MAX_BATCH);
    let gave_up = lanes.submit("", Wish::Late(usize::MAX)).await.unwrap_err();
    assert_eq!(gave_up.kind(), ErrorKind::Unavailable);
    assert!(gave_up.is_undone(), "each was rolled back");
    assert_eq!(log.batches.load(Ordering::SeqCst), 7);
    assert_eq!(lanes.submit("", Wish::Write(1)).await.unwrap(), Ok(1), "the lane goes on");
}
