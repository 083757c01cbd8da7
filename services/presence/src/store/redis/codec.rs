//! The bytes of what is stored: short, and told apart by a version.

use mingle_store::{Error, ErrorKind, Result};

/// The form of all values.
pub(super) const VERSION: u8 = 1;

/// Begins an id that is packed. Ids hold no control characters.
const PACKED: u8 = 0;

/// Writes values.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn new() -> Self {
        Self(vec![VERSION])
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Milliseconds since 1970: six bytes.
    pub(super) fn time(&mut self, ms: i64) {
        self.number(ms.cast_unsigned());
    }

    pub(super) fn fixed(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// 16 bytes when the caller says that it is a UUID.
    pub(super) fn id(&mut self, id: &str, uuid: Option<u128>) {
        match uuid {
            Some(uuid) => self.0.extend_from_slice(&uuid.to_be_bytes()),
            None => self.text(id),
        }
    }
}

/// Reads values. Anything that was not written by [`Writer`] is Corrupt.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            _ => Err(corrupt()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(corrupt());
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(corrupt())
    }

    pub(super) fn time(&mut self) -> Result<i64> {
        Ok(self.number()?.cast_signed())
    }

    pub(super) fn fixed(&mut self) -> Result<u32> {
        let bytes = self.take(4)?.try_into().map_err(|_| corrupt())?;
        Ok(u32::from_be_bytes(bytes))
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let len = usize::try_from(self.number()?).map_err(|_| corrupt())?;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| corrupt())?;
        Ok(text.to_owned())
    }

    pub(super) fn id(&mut self, packed: bool) -> Result<String> {
        if !packed {
            return self.text();
        }
        let bytes = self.take(16)?.try_into().map_err(|_| corrupt())?;
        Ok(hyphenated(u128::from_be_bytes(bytes)))
    }
}

/// What cannot be read as what was written.
pub(super) fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "presence value")
}

/// The number of a UUID that is written as most are: 36 characters, lower case.
pub(super) fn uuid(id: &str) -> Option<u128> {
    if id.len() != 36 {
        return None;
    }
    let mut number = 0;
    for (at, byte) in id.bytes().enumerate() {
        match (at, byte) {
            (8 | 13 | 18 | 23, b'-') => {}
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => number = number << 4 | u128::from(byte - b'0'),
            (_, b'a'..=b'f') => number = number << 4 | u128::from(byte - b'a' + 10),
            _ => return None,
        }
    }
    Some(number)
}

fn hyphenated(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A user as a field or member: 17 bytes for a UUID, else the id itself.
pub(super) fn pack(user_id: &str) -> Vec<u8> {
    match uuid(user_id) {
        None => user_id.as_bytes().to_vec(),
        Some(uuid) => [&[PACKED][..], &uuid.to_be_bytes()].concat(),
    }
}

/// The user of a field or member.
pub(super) fn unpack(packed: &[u8]) -> Result<String> {
    match packed.split_first() {
        Some((&PACKED, bytes)) => {
            let bytes = bytes.try_into().map_err(|_| corrupt())?;
            Ok(hyphenated(u128::from_be_bytes(bytes)))
        }
        _ => String::from_utf8(packed.to_vec()).map_err(|_| corrupt()),
    }
}
