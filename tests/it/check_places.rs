//! `mingle check`: where it would listen and keep data, and that it takes neither.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
};

use mingle_testkit::{Disk, Mingle, free_port};

use crate::{
    check::{check_by, check_of, state, step},
    http,
    world::SOON,
};

const LISTENERS: [&str; 3] = ["probes", "grpc", "gateway"];

/// Three settings with a port each that is free now.
fn listeners() -> [(String, String); 3] {
    LISTENERS.map(|name| {
        (format!("MINGLE_{}__LISTEN", name.to_uppercase()), format!("127.0.0.1:{}", free_port()))
    })
}

fn pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(key, value)| (&**key, &**value)).collect()
}

fn at(dir: &Path) -> mingle_testkit::Builder {
    Mingle::builder().data_dir(dir)
}

#[tokio::test]
async fn beside_the_process_that_it_is_about_it_warns_and_disturbs_nothing() {
    let (folder, settings) = (tempfile::tempdir().unwrap(), listeners());
    let env = pairs(&settings);
    let (code, steps) = check_by(at(folder.path()), &[], &env).await;
    assert_eq!(code, 0, "{steps:?}");
    for name in LISTENERS {
        assert_eq!(state(&steps, &format!("listen {name}")), "ok", "{steps:?}");
    }
    assert_eq!(state(&steps, "limits"), "skip");

    // What it has looked at is free.
    let builder = env.iter().fold(at(folder.path()), |it, (key, value)| it.env(*key, *value));
    let mingle = builder.start().await;
    let (code, steps) = check_by(at(folder.path()), &[], &env).await;
    assert_eq!(code, 0, "{steps:?}");
    for (name, (setting, address)) in LISTENERS.iter().zip(&settings) {
        let step = step(&steps, &format!("listen {name}"));
        assert!(step.found.contains(address) && step.found.contains("mingle"), "{step:?}");
        assert!(step.remedy.contains(setting), "{step:?}");
        assert_eq!(state(&steps, &format!("listen {name}")), "warn", "{steps:?}");
    }
    assert_eq!(state(&steps, "data folder"), "warn", "{steps:?}");
    assert_eq!(state(&steps, "limits"), "ok", "it asks the process beside: {steps:?}");
    http::get(mingle.http_addr(), "/api/health", "").await.ok();

    // One on the same folder that listens elsewhere is another process.
    let (code, steps) = check_by(at(folder.path()), &[], &[]).await;
    assert_eq!((code, state(&steps, "data folder")), (1, "fail"), "{steps:?}");
    let told = step(&steps, "data folder");
    assert!(told.found.contains("another process"), "{told:?}");
    assert!(told.remedy.contains("MINGLE_DATA__DIR"), "{told:?}");
}

/// A port of those that Linux gives to outgoing connections is held by one.
#[tokio::test]
async fn a_port_that_an_outgoing_connection_has_is_told_as_that() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let outgoing = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    let taken = outgoing.local_addr().unwrap().to_string();
    let (code, steps) = check_of(&[], &[("MINGLE_GRPC__LISTEN", &taken)]).await;
    let told = step(&steps, "listen grpc");
    assert_eq!((code, state(&steps, "listen grpc")), (1, "fail"), "{steps:?}");
    assert!(told.remedy.contains("outgoing") && told.remedy.contains("reserved"), "{told:?}");
    let started = Mingle::builder().env("MINGLE_GRPC__LISTEN", &taken).run_to_end(SOON).await;
    assert!(!started.status.success(), "{started:?}");
    let told = started.log.contains(&format!("cannot listen on {taken}: nobody listens there"));
    assert!(told, "{}", started.log);
}

#[tokio::test]
async fn an_address_that_cannot_be_had_fails_by_name() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = silent.local_addr().unwrap().to_string();
    for name in LISTENERS {
        let setting = format!("MINGLE_{}__LISTEN", name.to_uppercase());
        for (address, remedy) in [(&*taken, "end what listens"), ("192.0.2.1:0", "this machine")] {
            let (code, steps) = check_of(&[], &[(&setting, address)]).await;
            let told = step(&steps, &format!("listen {name}"));
            assert_eq!((code, state(&steps, &format!("listen {name}"))), (1, "fail"), "{steps:?}");
            assert!(told.found.contains(address), "{told:?}");
            assert!(told.remedy.contains(remedy) && told.remedy.contains(&setting), "{told:?}");
        }
    }
}

#[tokio::test]
async fn a_folder_is_looked_at_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("not/there/yet");
    let (code, steps) = check_by(at(&deep), &[], &[]).await;
    assert_eq!((code, state(&steps, "data folder")), (0, "ok"), "{steps:?}");
    let told = &step(&steps, "data folder").found;
    assert!(told.contains(deep.to_str().unwrap()), "{told}");
    assert!(told.ends_with(folder.path().to_str().unwrap()), "{told}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("below")] {
        let (code, steps) = check_by(at(&dir), &[], &[]).await;
        assert_eq!((code, state(&steps, "data folder")), (1, "fail"), "{steps:?}");
        assert_eq!(state(&steps, "disk"), "skip", "{steps:?}");
        let told = step(&steps, "data folder").found.to_lowercase();
        assert!(told.contains("not a directory"), "{told}");
    }

    let disk = Disk::of(32);
    let (code, steps) = check_by(at(disk.path()), &[], &[]).await;
    assert_eq!((code, state(&steps, "disk")), (0, "warn"), "{steps:?}");
    disk.fill();
    let (code, steps) = check_by(at(disk.path()), &[], &[]).await;
    assert_eq!((code, state(&steps, "disk")), (1, "fail"), "{steps:?}");
}
