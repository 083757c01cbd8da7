//! Just enough reading of Rust to know which paths a file names.

/// The text without comments, and with the contents of its string and
/// character literals blanked. Lines stay where they were.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped(bytes, at);
        if end > at {
            out.extend(text[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            let Some(c) = text[at..].chars().next() else {
                break;
            };
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` if none does.
fn skipped(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + find(rest, b"*/").map_or(rest.len(), |end| end + 2);
    }
    let begins_word = at == 0 || !is_word(bytes[at - 1]);
    if begins_word && (rest.starts_with(b"r\"") || rest.starts_with(b"r#")) {
        let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let body = 2 + hashes;
            return at + find(&rest[body..], &close).map_or(rest.len(), |i| body + i + close.len());
        }
    }
    match rest[0] {
        b'"' => at + quoted(rest, b'"'),
        // A character literal, not a lifetime: closed within a few bytes.
        b'\'' if rest.get(1) == Some(&b'\\') => at + quoted(rest, b'\''),
        b'\'' if rest.iter().skip(2).take(4).any(|&b| b == b'\'') && !lifetime(rest) => {
            at + quoted(rest, b'\'')
        }
        _ => at,
    }
}

/// `'a,` and `'static>` are lifetimes; `'a'` is a character.
fn lifetime(rest: &[u8]) -> bool {
    is_word(rest[1]) && rest.get(2) != Some(&b'\'')
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Splits [`code`] into what ships and what is compiled for tests only: the
/// items behind `#[cfg(test)]`.
pub(crate) fn split_tests(code: &str) -> (String, String) {
    const MARK: &str = "#[cfg(test)]";
    let (mut ships, mut tests) = (String::new(), String::new());
    let mut rest = code;
    while let Some(begin) = rest.find(MARK) {
        ships.push_str(&rest[..begin]);
        let item = &rest[begin + MARK.len()..];
        let end = item_end(item);
        tests.push_str(&item[..end]);
        rest = &item[end..];
    }
    ships.push_str(rest);
    (ships, tests)
}

/// Where the item that begins `text` ends: its `;` or its closing brace.
fn item_end(text: &str) -> usize {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Every path of two or more segments in `code`, groups of `use` expanded:
/// `use a::{b, c::d}` names `a::b` and `a::c::d`.
pub(crate) fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins =
            is_word(tokens[at].as_bytes()[0]) && at.checked_sub(1).is_none_or(|i| tokens[i] != ".");
        if begins && tokens.get(at + 1) == Some(&"::") {
            at = tree(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found.retain(|path| path.len() > 1);
    found
}

/// Reads one use tree at `at` under `prefix`; returns where it ends.
fn tree(tokens: &[&str], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    let next = tree(tokens, at, &path, found);
                    at = next.max(at + 1);
                }
                return at + 1;
            }
            Some(segment) if is_word(segment.as_bytes()[0]) || *segment == "*" => {
                path.push((*segment).to_owned());
                at += 1;
            }
            _ => break,
        }
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
    at
}

/// Words, `::`, and every other character by itself.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("::") {
            2
        } else if first.is_ascii() && is_word(first as u8) {
            rest.bytes().take_while(|&b| is_word(b)).count()
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        paths(&code(text)).into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn groups_are_expanded_and_inline_paths_seen() {
        let text = "use crate::{store::{Rows, self}, wire};\nfn f() -> tonic::Status { a.b::<u8>(); x::y() }";
        assert_eq!(
            named(text),
            ["crate::store::Rows", "crate::store::self", "crate::wire", "tonic::Status", "x::y"]
        );
    }

    #[test]
    fn comments_and_literals_name_nothing() {
        let text =
            "//! a::b\n/* c::d */ let s = \"e::f\\\"g::h\"; let r = r#\"i::\"j\"#; let c = ':';
            fn l<'a>(x: &'a str, y: k::L<'a>) {} let q = '\\''; m::n()";
        assert_eq!(named(text), ["k::L", "m::n"]);
    }

    #[test]
    fn test_items_are_told_from_what_ships() {
        let text = "fn a() { x(); }\n#[cfg(test)]\nmod tests { fn b() { y(); } }\n#[cfg(test)] use z;\nfn c() {}";
        let (ships, tests) = split_tests(text);
        assert!(ships.contains("fn a") && ships.contains("fn c") && !ships.contains('y'));
        assert!(tests.contains("fn b") && tests.contains("use z;") && !tests.contains("fn c"));
    }
}
