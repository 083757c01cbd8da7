//! Secrets of the configuration are known by the ends of their names, because
//! `mingle config` prints everything else.

use super::source;

/// As the runtime's `config/show.rs` has them.
const ENDS: [&str; 3] = ["secret", "token", "password"];

/// Fields of a section that are kept as secrets under another name.
pub(crate) fn violations(path: &str, text: &str) -> Vec<String> {
    let code = source::code(text);
    if !code.contains("Section for") {
        return Vec::new();
    }
    fields(&code)
        .filter(|name| !ENDS.iter().any(|end| name.ends_with(end)))
        .map(|name| format!("{path} keeps the secret {name}, whose name does not say so"))
        .collect()
}

/// The names of all fields that hold a secret.
pub(crate) fn fields(code: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fields = code.lines().filter(|line| line.ends_with(',') && !line.contains("fn "));
    fields.filter_map(move |line| {
        let (name, kind) = line.split_once(": ")?;
        let is_secret = kind.split(|c| !is_word(c)).any(|word| word == "Secret");
        let name = name.rsplit(|c| !is_word(c)).next()?;
        let is_kept = !kind.starts_with('&');
        (is_secret && is_kept && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::violations;

    #[test]
    fn a_secret_of_another_name_is_found() {
        let section = |field: &str| format!("struct C {{\n{field}\n}}\nimpl Section for C {{}}");
        for (field, count) in [
            ("    pub jwt_secret: Secret,", 0),
            ("    internal_token: Option<Secret>,", 0),
            ("    pub jwt_key: Secret,", 1),
            ("    keys: Vec<config::Secret>,", 1),
            ("    secretary: SecretName,", 0),
            ("    // key: Secret,", 0),
        ] {
            assert_eq!(violations("a.rs", &section(field)).len(), count, "{field}");
        }
        assert_eq!(violations("a.rs", "struct C {\nkey: Secret,\n}").len(), 0, "no section");
    }
}
