//! `mingle ratelimit check-config`: what is wrong with a file, and where.

use std::{fs, path::Path};

use crate::command::run;

async fn judge(file: &Path) -> (Option<i32>, String) {
    let folder = file.parent().unwrap();
    let ran = run(folder, &["ratelimit", "check-config", file.to_str().unwrap()], &[]).await;
    (ran.code, ran.out.trim_end().to_owned())
}

#[tokio::test]
async fn each_fault_of_a_file_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (toml, yaml) = (folder.path().join("limits.toml"), folder.path().join("limits.yaml"));
    let limit = |rest: &str| format!("# limits\n[ratelimit.limits.mine]\n{rest}\n");
    for (text, place, what) in [
        (limit("algorithm = \"gcra\"\nquota = 0\nwindow = \"1m\""), "4:1", "mine.quota: must be 1"),
        (limit("algorithm = \"gcra\"\nquota = 1\n  window = \"soon\""), "5:3", "mine.window: "),
        (limit("algorithm = \"fastest\"\nquota = 1\nwindow = \"1m\""), "3:1", "fastest"),
        (limit("algorithm = \"gcra\"\nquota = 1\nwindow = \"1m\"\nbrust = 1"), "6:1", "brust"),
        (limit("algorithm = \"gcra\"\nquota = 1"), "2:", "window"),
        (limit("algorithm = "), "3:", ""),
        ("[ratelimits]\nlimits = 1\n".to_owned(), "1:2", "ratelimits"),
        ("ratelimit.limits.\"a.b\".quota = 1\n".to_owned(), "1:", "ratelimit.limits.a.b"),
    ] {
        fs::write(&toml, &text).unwrap();
        let (code, told) = judge(&toml).await;
        assert_eq!(code, Some(1), "{told}");
        assert!(told.starts_with(&format!("{}:{place}", toml.display())), "{text}{told}");
        assert!(told.contains(what), "{text}{told}");
    }
    fs::write(&yaml, "domain: d\ndescriptors:\n- key: ''\n- kee: k\n").unwrap();
    let (code, told) = judge(&yaml).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.starts_with(&format!("{}:4:3: ", yaml.display())), "{told}");
    assert!(!told.contains("line 4"), "its place is told once: {told}");
}

#[tokio::test]
async fn a_file_that_is_right_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (toml, yaml) = (folder.path().join("limits.toml"), folder.path().join("limits.yaml"));
    let limit = "algorithm = \"gcra\"\nquota = 5\nwindow = \"1m\"\n";
    fs::write(&toml, format!("[ratelimit.limits.mine]\n{limit}")).unwrap();
    let (code, told) = judge(&toml).await;
    assert_eq!((code, &*told), (Some(0), "7 limits"), "those of the defaults, too");
    fs::write(
        &yaml,
        "domain: d\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}\n",
    )
    .unwrap();
    let with_rules = format!("[ratelimit]\ndescriptors = {yaml:?}\n");
    fs::write(&toml, with_rules).unwrap();
    let (code, told) = judge(&toml).await;
    assert_eq!((code, &*told), (Some(0), "6 limits, 1 limits of descriptors"));
    fs::write(&yaml, "domain: ''\n").unwrap();
    let (code, told) = judge(&toml).await;
    assert_eq!(code, Some(1));
    assert!(told.starts_with(&format!("{}:1:9: ", yaml.display())), "{told}");
    let (code, _) = judge(&folder.path().join("missing.toml")).await;
    assert_eq!(code, Some(1));
}
