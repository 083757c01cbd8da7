//! Values and their ends.

use mingle_cache::domain::{Expects, Value};

use crate::world::{SECOND, World, value};

pub(crate) async fn fresh_stale_and_gone(world: World) {
    assert_eq!(world.value("a").await, None);
    world.set("a", "one").await;
    for (seconds, told) in
        [(0, Some(true)), (9, Some(true)), (1, Some(false)), (49, Some(false)), (1, None)]
    {
        world.pass(seconds);
        assert_eq!(world.value("a").await, told.map(|fresh| ("one".to_owned(), fresh)));
    }
}

pub(crate) async fn the_last_set_wins(world: World) {
    world.set("a", "one").await;
    world.pass(10);
    world.set("a", "two").await;
    assert_eq!(world.value("a").await, Some(("two".to_owned(), true)));
    assert_eq!(world.value("b").await, None, "keys are apart");
}

pub(crate) async fn in_whose_place(world: World) {
    let nothing = Expects::Nothing { void: None };
    assert!(!world.set_as("a", "x", 7, Expects::Version(6)).await, "nothing is there");
    assert!(world.set_as("a", "one", 1, nothing).await);
    assert!(world.set_as("a", "one", 1, nothing).await, "the same attempt again");
    assert!(!world.set_as("a", "x", 7, nothing).await);
    assert!(!world.set_as("a", "x", 7, Expects::Version(6)).await);
    assert!(world.set_as("a", "two", 2, Expects::Version(1)).await);
    assert!(world.set_as("a", "two", 2, Expects::Version(1)).await, "the same attempt again");
    assert!(!world.set_as("a", "x", 7, Expects::Version(1)).await, "it is another by now");
    assert!(world.set_as("a", "three", 3, Expects::Nothing { void: Some(2) }).await);
    assert_eq!(world.value("a").await, Some(("three".to_owned(), true)));
    world.pass(60);
    assert!(!world.set_as("a", "x", 7, Expects::Version(3)).await, "it has ended");
    assert!(world.set_as("a", "four", 4, nothing).await);
}

pub(crate) async fn deleted(world: World) {
    world.set("a", "one").await;
    world.set("b", "one").await;
    world.delete("a").await;
    world.delete("never").await;
    assert_eq!(world.value("a").await, None);
    assert!(world.value("b").await.is_some());
}

pub(crate) async fn touched(world: World) {
    let version = world.set("a", "one").await;
    world.pass(50);
    let key = world.key("a");
    assert!(!world.store.touch(&key, version ^ 1, SECOND, SECOND).await.unwrap(), "another one");
    assert!(world.store.touch(&key, version, 10 * SECOND, 60 * SECOND).await.unwrap());
    assert_eq!(world.value("a").await, Some(("one".to_owned(), true)));
    world.pass(59);
    assert_eq!(world.value("a").await, Some(("one".to_owned(), false)));
    world.pass(1);
    assert!(!world.store.touch(&key, version, SECOND, SECOND).await.unwrap(), "it has ended");
}

pub(crate) async fn everything_comes_back(world: World) {
    let large = "{\"name\":\"somebody\"},".repeat(20_000);
    for (at, text) in ["", "x", &large].into_iter().enumerate() {
        let name = format!("}}:{at} of \"all\" kinds: é");
        let mut put = world.put(&name, text, 9, Expects::Any).await;
        put.value = Value { absent: text.is_empty(), ..value(text) };
        put.captured = [("".into(), 1), ("tag".into(), u64::MAX)].into();
        world.store.put(&[put.clone()]).await.remove(0).unwrap();
        let seen = world.read(&name).await.seen.unwrap();
        let entry = &seen.entry;
        assert_eq!((&entry.value, &entry.captured, entry.version), (&put.value, &put.captured, 9));
        assert_eq!(entry.stored_us, seen.now_us);
        assert_eq!(
            (entry.soft_us - seen.now_us, entry.hard_us - seen.now_us),
            (put.soft_us, put.hard_us)
        );
    }
}

pub(crate) async fn several_at_once(world: World) {
    let mut puts = Vec::new();
    for n in 0..300 {
        puts.push(world.put(&n.to_string(), &n.to_string(), n + 1, Expects::Any).await);
    }
    let stored = world.store.put(&puts).await;
    assert!(stored.into_iter().all(|stored| stored.unwrap()));
    let asks: Vec<_> = puts
        .iter()
        .rev()
        .map(|put| mingle_cache::domain::Ask {
            key: put.key.clone(),
            wanted: None,
            void: None,
            luck: 0.0,
        })
        .collect();
    let found = world.store.look(&asks).await;
    for (found, put) in found.into_iter().zip(puts.iter().rev()) {
        assert_eq!(found.unwrap().seen.unwrap().entry.version, put.version, "in the order asked");
    }
    let keys: Vec<_> = puts.iter().map(|put| put.key.clone()).collect();
    world.store.delete(&keys).await.unwrap();
    assert!(world.store.look(&asks).await.into_iter().all(|found| found.unwrap().seen.is_none()));
}
