use std::fs;

use mingle_runtime::{
    config::{Config, Environment, Mode, Problems, Secret, Section},
    grpc,
    lifecycle::{DataConfig, ProcessConfig},
    peers,
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    size: u32,
    name: String,
    secret: Secret,
    nested: Nested,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nested {
    list: Vec<String>,
}

impl Section for Sample {
    const NAME: &'static str = "sample";
    const DEFAULTS: &'static str =
        "[sample]\nsize = 1\nname = \"a\"\nsecret = \"\"\n[sample.nested]\nlist = []";

    fn validate(&self, problems: &mut Problems) {
        problems.require(self.size > 0, "sample.size", "must be at least 1");
        problems.require(self.name != "wrong", "sample.name", "must not be wrong");
    }
}

fn load(environment: Environment) -> Result<Config, Problems> {
    Config::load(&[Sample::DEFAULTS, grpc::Config::DEFAULTS], None, environment)
}

#[test]
fn the_embedded_defaults_are_a_configuration() {
    let config = load(Environment::default()).unwrap();
    config.read::<grpc::Config>().unwrap();
    config.read::<ProcessConfig>().unwrap();
    config.read::<DataConfig>().unwrap();
    assert_eq!(config.mode(), Mode::Development);
}

#[test]
fn file_overrides_defaults_and_environment_overrides_both() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mingle.toml");
    fs::write(&file, "[sample]\nsize = 2\nname = \"file\"").unwrap();
    let environment = Environment::from_iter([
        ("MINGLE_SAMPLE__NAME", "environment"),
        ("MINGLE_SAMPLE__NESTED__LIST", "[a, b]"),
        ("MINGLE_CHAT_SERVICE_HOST", "10.0.0.1"),
    ]);
    let config = Config::load(&[Sample::DEFAULTS], Some(&file), environment).unwrap();
    let sample: Sample = config.read().unwrap();
    assert_eq!((sample.size, sample.name.as_str()), (2, "environment"));
    assert_eq!(sample.nested.list, ["a", "b"]);
}

#[test]
fn unknown_keys_and_sections_are_named() {
    let config = load(Environment::from_iter([("MINGLE_SAMPLE__SIZ", "3")])).unwrap();
    let problems = config.read::<Sample>().unwrap_err().to_string();
    assert!(problems.contains("sample.siz: "), "{problems}");
    let problems =
        load(Environment::from_iter([("MINGLE_CHATT__X", "3")])).unwrap_err().to_string();
    assert!(problems.contains("chatt: unknown section (set by MINGLE_CHATT__X)"), "{problems}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mingle.toml");
    fs::write(&file, "[sample]\nsiz = 3\n").unwrap();
    let config = Config::load(&[Sample::DEFAULTS], Some(&file), Environment::default()).unwrap();
    let problems = config.read::<Sample>().unwrap_err().to_string();
    assert!(problems.contains(&format!("(set by {})", file.display())), "{problems}");
}

#[test]
fn a_refusal_says_how_it_is_written() {
    let environment = Environment::from_iter([("MINGLE_SAMPLE__NESTED__LIST", "one")]);
    let problems = load(environment).unwrap().read::<Sample>().unwrap_err().to_string();
    let told = r#"which is written ["a", "b"] (set by MINGLE_SAMPLE__NESTED__LIST)"#;
    assert!(problems.contains(told), "{problems}");
}

#[test]
fn every_problem_is_told_at_once() {
    let environment =
        Environment::from_iter([("MINGLE_SAMPLE__SIZE", "0"), ("MINGLE_SAMPLE__NAME", "wrong")]);
    let problems = load(environment).unwrap().read::<Sample>().unwrap_err().to_string();
    assert!(problems.contains("sample.size") && problems.contains("sample.name"), "{problems}");
}

#[test]
fn a_wrong_type_names_key_and_source() {
    let config = load(Environment::from_iter([("MINGLE_SAMPLE__SIZE", "many")])).unwrap();
    let problems = config.read::<Sample>().unwrap_err().to_string();
    assert!(problems.contains("sample.size: "), "{problems}");
    assert!(problems.contains("(set by MINGLE_SAMPLE__SIZE)"), "{problems}");
}

#[test]
fn secrets_come_from_files_and_are_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    fs::write(&file, "top secret\n").unwrap();
    let path = file.to_str().unwrap();
    let config = load(Environment::from_iter([("MINGLE_SAMPLE__SECRET_FILE", path)])).unwrap();
    let sample: Sample = config.read().unwrap();
    assert_eq!(sample.secret.expose(), "top secret");
    assert!(!format!("{sample:?}").contains("top secret"));
    assert!(!format!("{config:?}", config = config.environment()).contains("top secret"));

    let missing = Environment::from_iter([("MINGLE_SAMPLE__SECRET_FILE", "/does/not/exist")]);
    assert!(load(missing).unwrap_err().to_string().contains("MINGLE_SAMPLE__SECRET_FILE"));
}

#[test]
fn misspelt_variables_are_told_and_those_of_kubernetes_are_not() {
    let environment = Environment::from_iter([
        ("MINGLE_DATA_DIR", "x"),
        ("MINGLE_JWT_SECERT", "x"),
        ("MINGLE_JWT_SECRET", "x"),
        ("MINGLE_ENV", "development"),
        ("MINGLE_DATA__DIR", "x"),
        ("MINGLE_CHAT_SERVICE_HOST", "10.0.0.1"),
        ("MINGLE_CHAT_PORT_50055_TCP_ADDR", "10.0.0.1"),
        ("PATH", "x"),
    ]);
    assert_eq!(environment.strangers(), ["MINGLE_DATA_DIR", "MINGLE_JWT_SECERT"]);
}

#[test]
fn a_value_and_a_file_for_it_contradict_each_other() {
    let environment = [("MINGLE_SAMPLE__NAME", "a"), ("MINGLE_SAMPLE__NAME_FILE", "/etc/hostname")];
    let problems = load(Environment::from_iter(environment)).unwrap_err().to_string();
    assert!(problems.contains("MINGLE_SAMPLE__NAME_FILE: is set, and"), "{problems}");
}

#[test]
fn production_is_declared_by_either_name() {
    for (name, value) in [("MINGLE_ENV", "production"), ("REPLIT_DEPLOYMENT", "1")] {
        assert_eq!(load(Environment::from_iter([(name, value)])).unwrap().mode(), Mode::Production);
    }
    assert!(load(Environment::from_iter([("MINGLE_ENV", "prod")])).is_err());
}

#[test]
fn what_a_charge_waits_is_bounded() {
    for (ms, is_good) in [("0", false), ("1", true), ("10000", true), ("10001", false)] {
        let environment = Environment::from_iter([("MINGLE_PEERS__RATELIMIT_DEADLINE_MS", ms)]);
        let read = load(environment).unwrap().read::<peers::Config>();
        assert_eq!(read.is_ok(), is_good, "{ms}: {:?}", read.err());
    }
}
