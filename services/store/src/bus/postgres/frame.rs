//! Announcements as the text of notifications.
//!
//! Version, random start and count of the process's frames (equal
//! notifications of one transaction would be told once only), then pieces:
//! kind, length and topic, length and payload; all of it in base64, since a
//! notification is text.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD as BASE64};
use bytes::{Buf as _, BufMut as _, Bytes};

use crate::bus::Announcement;

const VERSION: u8 = 1;
/// Before base64, which makes four bytes of three; PostgreSQL takes 7,999.
const MAX_BYTES: usize = 7_497 / 4 * 3;
const HEADER: usize = 9;
const MESSAGE: u8 = 0;
const GAP: u8 = 1;
const BEAT: u8 = 2;

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Message {
        topic: String,
        payload: Bytes,
    },
    /// What was published on this topic does not fit.
    Gap {
        topic: String,
    },
    Beat(Bytes),
}

impl Piece {
    /// An announcement, or the gap that stands for one which does not fit.
    pub(super) fn of(announcement: &Announcement) -> Self {
        let Announcement { topic, payload } = announcement.clone();
        let piece = Self::Message { topic, payload };
        match piece {
            Self::Message { topic, .. }
                if HEADER + 5 + topic.len() + announcement.payload.len() > MAX_BYTES =>
            {
                Self::Gap { topic }
            }
            piece => piece,
        }
    }

    fn parts(&self) -> (u8, &[u8], &[u8]) {
        match self {
            Self::Message { topic, payload } => (MESSAGE, topic.as_bytes(), payload),
            Self::Gap { topic } => (GAP, topic.as_bytes(), b""),
            Self::Beat(beat) => (BEAT, b"", beat),
        }
    }
}

/// Packs pieces in their order into as few frames as hold them; `number` is
/// this process's count of frames. A topic that fits no frame is left out.
pub(super) fn pack<'a>(
    pieces: impl IntoIterator<Item = &'a Piece>,
    number: &mut u64,
) -> Vec<String> {
    let mut frames = Vec::new();
    let mut frame = Vec::new();
    for piece in pieces {
        let (kind, topic, payload) = piece.parts();
        let (Ok(topic_length), Ok(length)) =
            (u16::try_from(topic.len()), u16::try_from(payload.len()))
        else {
            continue;
        };
        let size = 5 + topic.len() + payload.len();
        if HEADER + size > MAX_BYTES {
            continue;
        }
        if !frame.is_empty() && frame.len() + size > MAX_BYTES {
            frames.push(BASE64.encode(std::mem::take(&mut frame)));
        }
        if frame.is_empty() {
            *number = number.wrapping_add(1);
            frame.put_u8(VERSION);
            frame.put_u64(*number);
        }
        frame.put_u8(kind);
        frame.put_u16(topic_length);
        frame.put_slice(topic);
        frame.put_u16(length);
        frame.put_slice(payload);
    }
    if !frame.is_empty() {
        frames.push(BASE64.encode(frame));
    }
    frames
}

/// The pieces of a notification; `None` when it is none of this version.
pub(super) fn unpack(text: &str) -> Option<Vec<Piece>> {
    let mut frame = Bytes::from(BASE64.decode(text).ok()?);
    if frame.len() < HEADER || frame.get_u8() != VERSION {
        return None;
    }
    frame.advance(HEADER - 1);
    let mut pieces = Vec::new();
    while frame.has_remaining() {
        let kind = frame.try_get_u8().ok()?;
        let topic = String::from_utf8(take(&mut frame)?.into()).ok()?;
        let payload = take(&mut frame)?;
        pieces.push(match kind {
            MESSAGE => Piece::Message { topic, payload },
            GAP => Piece::Gap { topic },
            BEAT => Piece::Beat(payload),
            _ => return None,
        });
    }
    Some(pieces)
}

fn take(frame: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(frame.try_get_u16().ok()?);
    (length <= frame.len()).then(|| frame.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, size: usize) -> Piece {
        Piece::of(&Announcement::new(topic, vec![7; size]))
    }

    fn through(pieces: &[Piece]) -> Vec<Piece> {
        let frames = pack(pieces, &mut 0);
        assert!(frames.iter().all(|frame| frame.len() < 7_500));
        frames.iter().flat_map(|frame| unpack(frame).expect("this version")).collect()
    }

    #[test]
    fn pieces_read_back_in_their_order() {
        let mut pieces: Vec<_> = (0..500).map(|n| message(&format!("topic:{n}"), n)).collect();
        pieces.insert(250, Piece::Beat(Bytes::from_static(b"beat")));
        pieces.push(Piece::Gap { topic: "gone".into() });
        assert_eq!(through(&pieces), pieces);
        assert!(pack(&pieces, &mut 0).len() < 30, "they share frames");
        assert!(pack(&[], &mut 0).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_a_gap_of_its_topic() {
        let largest = MAX_BYTES - HEADER - 5 - 1;
        assert_eq!(through(&[message("t", largest)]), [message("t", largest)]);
        let gap = Piece::Gap { topic: "t".into() };
        for size in [largest + 1, 70_000] {
            assert_eq!(message("t", size), gap);
        }
        assert_eq!(through(&[message("t", 9_000), message("t", 1)]), [gap, message("t", 1)]);
    }

    #[test]
    fn no_two_frames_are_equal() {
        let mut number = u64::MAX;
        let once = pack(&[message("t", 1)], &mut number);
        let twice = pack(&[message("t", 1)], &mut number);
        assert_ne!(once, twice);
    }

    #[test]
    fn what_is_no_frame_is_none() {
        let whole = &pack(&[message("topic", 100)], &mut 0)[0];
        for text in ["", "hello", "%", "Ag", &whole[..whole.len() - 4]] {
            assert_eq!(unpack(text), None, "{text}");
        }
        let mut other = BASE64.decode(whole).expect("base64");
        other[0] = 9;
        assert_eq!(unpack(&BASE64.encode(other)), None, "another version");
    }
}
