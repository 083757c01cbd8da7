//! Files of rules that are wrong, and what is said of them.

use mingle_ratelimit::descriptors::read;

use super::rules;

#[test]
fn each_fault_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    let rule = |limit: &str| format!("domain: d\ndescriptors:\n- key: k\n  rate_limit: {limit}\n");
    for (text, place, what) in [
        ("domain: ''\n".to_owned(), "1:9", "domain must not be empty"),
        ("descriptors: []\n".to_owned(), "1:1", "domain"),
        ("domain: d\ndescriptor: []\n".to_owned(), "2:1", "descriptor"),
        ("domain: d\n descriptors: [\n".to_owned(), "2:", ""),
        ("domain: d\ndescriptors:\n- key: ''\n".to_owned(), "3:8", "key must not be empty"),
        ("domain: d\ndescriptors:\n- value: v\n".to_owned(), "3:3", "key"),
        ("domain: d\ndescriptors:\n- key: k\n- key: k\n".to_owned(), "4:8", "d.k is there already"),
        (
            "domain: d\ndescriptors:\n- key: k\n  value: a*\n- {key: k, value: a*}\n".to_owned(),
            "5:9",
            "d.k_a* is there already",
        ),
        (
            "domain: d\ndescriptors:\n- {key: k, value: a, share_threshold: true}\n".to_owned(),
            "3:9",
            "share_threshold is of values with * alone",
        ),
        (rule("{unit: fortnight, requests_per_unit: 1}"), "4:22", "unit must be second,"),
        (rule("{requests_per_unit: 1}"), "3:8", "unit or window is missing"),
        (rule("{unit: day}"), "3:8", "requests_per_unit is missing"),
        (rule("{unit: day, requests_per_unit: -1}"), "4:46", ""),
        (rule("{unit: day, requests_per_unit: 1000000001}"), "4:46", "at most 1000000000"),
        (rule("{unit: day, unlimited: true}"), "4:22", "unit must not be said of"),
        (rule("{unit: day, window: 3s, requests_per_unit: 1}"), "4:22", "beside window"),
        (rule("{window: soon, requests_per_unit: 1}"), "4:24", "window must be like"),
        (rule("{unit: day, unit_multiplier: 0, requests_per_unit: 1}"), "4:44", "at least 1"),
        (rule("{unit: year, unit_multiplier: 2, requests_per_unit: 1}"), "4:45", "at most 366d"),
        (rule("{unit: day, requests_per_unit: 1, burst: 1}"), "4:56", "burst is of gcra"),
        (
            rule("{unit: day, requests_per_unit: 1, algorithm: gcra, burst: 2}"),
            "4:73",
            "burst must be 1 to requests_per_unit",
        ),
        (
            rule("{unit: day, requests_per_unit: 0, algorithm: gcra}"),
            "4:46",
            "requests_per_unit must be 1 to one per microsecond",
        ),
        (
            rule("{unit: day, requests_per_unit: 1, algorithm: concurrency}"),
            "4:60",
            "algorithm must not be concurrency",
        ),
        (
            rule("{name: n, unit: day, requests_per_unit: 1, replaces: [{name: n}]}"),
            "4:69",
            "a rule cannot replace itself",
        ),
        (
            rule("{unit: day, requests_per_unit: 1, replaces: [{name: ''}]}"),
            "4:60",
            "name of replaces must not be empty",
        ),
    ] {
        std::fs::write(&file, &text).unwrap();
        let told = read(&file).unwrap_err().to_string();
        let expected = format!("{}:{place}", file.display());
        assert!(told.starts_with(&expected) && told.contains(what), "{text}\n{told}\n{expected}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), "domain: ''\n").unwrap();
    std::fs::write(folder.path().join("b.yml"), "domain: d\ndescriptors: [{key: ''}]\n").unwrap();
    std::fs::write(folder.path().join("c.yaml"), "domain: d\n").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no rules").unwrap();
    let told = read(folder.path()).unwrap_err().to_string();
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.contains("domain d is there already"), "{told}");
    let missing = folder.path().join("missing");
    let told = read(&missing).unwrap_err().to_string();
    assert!(told.starts_with(&*missing.display().to_string()), "{told}");
}

#[test]
fn each_limit_of_a_folder_has_a_name() {
    let rules = read(&rules()).unwrap();
    let mut names: Vec<_> = rules.limits().map(|limit| limit.name.to_string()).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(names.contains(&"edge.tenant.user.path_/login".to_owned()), "{names:?}");
    assert_eq!(rules.domain("whole"), Some(true));
    assert_eq!(rules.domain("edge"), Some(false));
    assert_eq!(rules.domain("other"), None);
}
