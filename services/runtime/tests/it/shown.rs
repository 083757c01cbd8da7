//! The configuration as it is printed.

use std::fs;

use mingle_runtime::config::{Config, Environment, Problems, Secret, Section};
use serde::Deserialize;

const DEFAULTS: &str =
    "[sample]\nsize = 1\nname = \"a\"\nsecret = \"\"\n[sample.nested]\nlist = []";

#[derive(Debug, Deserialize)]
struct Sample {
    name: String,
    #[expect(dead_code, reason = "it is read, and then refused where it is no text")]
    secret: Secret,
}

impl Section for Sample {
    const NAME: &'static str = "sample";
    const DEFAULTS: &'static str = DEFAULTS;

    fn validate(&self, _: &mut Problems) {}
}

/// What these layers are shown as, and what that is read as without them.
fn shown(file: &str, environment: &[(&str, &str)]) -> (String, Config) {
    let dir = tempfile::tempdir().unwrap();
    let (path, again) = (dir.path().join("mingle.toml"), dir.path().join("again.toml"));
    fs::write(&path, file).unwrap();
    let environment = environment.iter().copied().collect();
    let text = Config::load(&[DEFAULTS], Some(&path), environment).unwrap().to_toml();
    fs::write(&again, &text).unwrap();
    let read = Config::load(&[DEFAULTS], Some(&again), Environment::default()).unwrap();
    (text.replace(&dir.path().display().to_string(), ""), read)
}

#[test]
fn what_is_shown_says_where_it_is_from_and_is_read_as_the_same() {
    let file = r##"
        [sample]
        name = 'a "b" # \ c'
        [sample.nested]
        list = ["x", 'y"']
        [sample."no bare. key"]
        "" = [{ a = 1, b = [true, 2.5] }]
    "##;
    let expected = r##"
[sample]
name = 'a "b" # \ c'  # /mingle.toml
secret = ""
size = 7  # MINGLE_SAMPLE__SIZE

[sample.nested]
list = ["x", 'y"']  # /mingle.toml

[sample."no bare. key"]
"" = [{ a = 1, b = [true, 2.5] }]  # /mingle.toml
"##;
    let (text, _) = shown(file, &[("MINGLE_SAMPLE__SIZE", "7")]);
    assert_eq!(text, expected);
    let values = |text: &str| {
        let bare = |line: &str| line.split("  # /").next().unwrap().to_owned();
        text.replace("  # MINGLE_SAMPLE__SIZE", "").lines().map(bare).collect::<Vec<_>>()
    };
    let (again, _) = shown(&text, &[]);
    assert_eq!(values(&again), values(&text));
}

#[test]
fn lines_and_odd_texts_are_read_as_they_were() {
    for name in ["two\nlines", "\t", "'''", "\"\"\"", "#", "\u{1}", "ü\u{2028}", "a = 1 # b"] {
        let (text, read) = shown("", &[("MINGLE_SAMPLE__NAME", name)]);
        assert_eq!(read.read::<Sample>().unwrap().name, name, "{text}");
        assert!(text.contains("  # MINGLE_SAMPLE__NAME\n"), "{text}");
    }
}

#[test]
fn no_secret_is_shown_nor_told_by_an_error() {
    let (text, read) = shown("", &[("MINGLE_SAMPLE__SECRET", "hunter2")]);
    assert!(text.contains("# secret is set and not shown, by MINGLE_SAMPLE__SECRET\n"), "{text}");
    assert!(read.is_empty("sample.secret"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let (text, _) = shown("[sample]\nsecret = 'hunter2'", &[]);
    assert!(text.contains("# secret is set and not shown, by /mingle.toml\n"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mingle.toml");
    for (secret, told) in [("hunter2", "TOML parse error at line 2"), ("4711", "is not a text")] {
        fs::write(&file, format!("[sample]\nsecret = {secret}\n")).unwrap();
        let loaded = Config::load(&[DEFAULTS], Some(&file), Environment::default());
        let read = loaded.and_then(|config| {
            assert!(!config.is_empty("sample.secret"), "it is there, and wrong");
            config.read::<Sample>()
        });
        let problems = read.unwrap_err().to_string();
        assert!(problems.contains(told) && !problems.contains(secret), "{problems}");
    }
}
