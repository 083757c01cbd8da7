//! What the server's SQLSTATE codes mean to a caller.

use crate::ErrorKind;

/// The kind of a code that is not a unique violation.
///
/// **Source**: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(crate) fn kind(code: &str) -> ErrorKind {
    match code {
        // Cancelled, by the statement timeout; completion unknown.
        "57014" | "40003" | "08007" => ErrorKind::Timeout,
        // Rolled back because of another writer: the same again may succeed.
        "40001" | "40P01" => ErrorKind::Conflict,
        // Lock timeout; a standby; ended because idle in a transaction.
        "55P03" | "25006" | "25P03" => ErrorKind::Unavailable,
        _ => match code.get(..2) {
            // Connection, rollback, resources, operator, the system below.
            Some("08" | "40" | "53" | "57" | "58") => ErrorKind::Unavailable,
            // Data that does not fit, constraints, internal errors and damage.
            Some("22" | "23" | "XX") => ErrorKind::Corrupt,
            _ => ErrorKind::Unsupported,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_kind() {
        let rows = [
            (ErrorKind::Timeout, "57014 40003 08007"),
            (ErrorKind::Unavailable, "08000 08006 08P01 40002 53100 53200 53300 53400"),
            (ErrorKind::Unavailable, "57P01 57P02 57P03 57P05 55P03 25006 25P03 58030"),
            (ErrorKind::Conflict, "40001 40P01"),
            (ErrorKind::Corrupt, "22003 22021 23502 23503 23514 XX000 XX001 XX002"),
            (ErrorKind::Unsupported, "42601 42P01 28P01 3D000 0A000 25P02"),
        ];
        for (expected, codes) in rows {
            for code in codes.split(' ') {
                assert_eq!(kind(code), expected, "{code}");
            }
        }
        assert_eq!(kind(""), ErrorKind::Unsupported);
    }
}
