//! Frames that are none.

use mingle_client::ws::{Encoding, Message, close::Close, proto::server_frame::Kind};

use super::{ID, Why, assert_alive, assert_refused, closed, greeted, reply, send};
use crate::world::World;

const FRAME: usize = 64 * 1024;
/// So many unreadable frames in a row are no accident.
const UNREADABLE: usize = 100;

#[tokio::test]
async fn malformed_json_is_refused_by_field() {
    let world = World::start().await;
    let mut socket = greeted(&world, "ann", Encoding::Json).await;
    let malformed = |field| ("INVALID_ARGUMENT", "MALFORMED_FRAME", field);
    let wrong = |field| ("INVALID_ARGUMENT", "MALFORMED", field);
    let unknown = |field| ("INVALID_ARGUMENT", "UNKNOWN_FIELD", field);
    let cases: &[(&str, u32, Why<'_>)] = &[
        ("", 0, malformed("")),
        ("{", 0, malformed("")),
        ("null", 0, wrong("")),
        ("[1, 2]", 0, wrong("")),
        ("\"hello\"", 0, wrong("")),
        ("{\"id\":7,\"ping\":{}} and more", 0, malformed("")),
        ("{\"id\":7,\"ping\":{}", 0, malformed("")),
        ("{\"id\":7}", ID, malformed("")),
        ("{}", 0, malformed("")),
        ("{\"id\":7,\"ping\":null}", ID, malformed("")),
        ("{\"id\":-1,\"ping\":{}}", 0, wrong("id")),
        ("{\"id\":\"x\",\"ping\":{}}", 0, wrong("id")),
        ("{\"id\":4294967296,\"ping\":{}}", 0, wrong("id")),
        ("{\"id\":7,\"shout\":{}}", ID, unknown("shout")),
        ("{\"id\":7,\"ping\":{},\"loud\":true}", ID, unknown("loud")),
        ("{\"id\":7,\"ping\":{\"loud\":true}}", ID, unknown("loud")),
        ("{\"id\":7,\"roomJoin\":{\"after\":{\"sequence\":1}}}", ID, unknown("after.sequence")),
        ("{\"id\":7,\"ping\":{},\"typing\":{\"roomId\":\"x\"}}", ID, malformed("typing")),
        ("{\"id\":7,\"send\":{\"roomId\":5}}", ID, wrong("roomId")),
        ("{\"id\":7,\"send\":{\"body\":[\"hi\"]}}", ID, wrong("body")),
        ("{\"id\":7,\"send\":{\"metadata\":{\"a\":1}}}", ID, wrong("metadata.a")),
        ("{\"id\":7,\"send\":{\"body\":\"a\",\"body\":\"b\"}}", ID, malformed("body")),
        ("{\"id\":7,\"send\":[]}", ID, wrong("send")),
        ("{\"id\":7,\"read\":{\"seq\":\"-1\"}}", ID, wrong("seq")),
        ("{\"id\":7,\"read\":{\"seq\":1.5}}", ID, wrong("seq")),
        ("{\"id\":7,\"history\":{\"limit\":\"all\"}}", ID, wrong("limit")),
        ("{\"id\":7,\"presenceSet\":{\"status\":\"GONE\"}}", ID, wrong("status")),
        ("{\"id\":7,\"presenceWatch\":{\"userIds\":\"bob\"}}", ID, wrong("userIds")),
        ("{\"id\":7,\"matchJoin\":{\"wants\":{\"gender\":\"male\"}}}", ID, wrong("wants.gender")),
        // Half of a surrogate pair is no character, wherever it stands.
        ("{\"id\":7,\"send\":{\"body\":\"\\ud800\"}}", ID, malformed("body")),
        ("{\"id\":7,\"send\":{\"body\":\"\\udc00 \"}}", ID, malformed("body")),
        ("{\"id\":7,\"send\":{\"metadata\":{\"\\ud800\":\"x\"}}}", ID, malformed("metadata")),
    ];
    for (frame, id, why) in cases {
        send(&mut socket, Message::text(*frame)).await.unwrap();
        let (answered, answer) = reply(&mut socket).await;
        assert_refused(&answer, *why, frame);
        assert_eq!(answered, *id, "{frame}");
        assert_alive(&mut socket, frame).await;
    }
}

#[tokio::test]
async fn frames_of_the_wrong_kind_are_refused() {
    let world = World::start().await;
    let malformed: Why<'_> = ("INVALID_ARGUMENT", "MALFORMED_FRAME", "");
    let mut json = greeted(&world, "ann", Encoding::Json).await;
    let mut proto = greeted(&world, "ann", Encoding::Proto).await;
    let garbage: [&[u8]; 4] = [&[0xff; 40], &[0x7a], &[0x08], &[0x7a, 0x7f, 1, 2]];
    for bytes in garbage {
        send(&mut json, Message::binary(bytes)).await.unwrap();
        assert_refused(&reply(&mut json).await.1, malformed, "binary under JSON");
        assert_alive(&mut json, "binary under JSON").await;
        send(&mut proto, Message::binary(bytes)).await.unwrap();
        assert_refused(&reply(&mut proto).await.1, malformed, "garbage");
        assert_alive(&mut proto, "garbage").await;
    }
    send(&mut proto, Message::text("{\"id\":7,\"ping\":{}}")).await.unwrap();
    assert_refused(&reply(&mut proto).await.1, malformed, "text under protobuf");
    // No request at all, without and with an id.
    for (bytes, id) in [(&[][..], 0), (&[0x08, 0x07], ID)] {
        send(&mut proto, Message::binary(bytes)).await.unwrap();
        let (answered, answer) = reply(&mut proto).await;
        assert_refused(&answer, malformed, "no request");
        assert_eq!(answered, id);
    }
    // Invalid UTF-8 in a string.
    let body = vec![0x08, 7, 0x3a, 4, 0x1a, 2, 0xff, 0xfe];
    send(&mut proto, Message::binary(body)).await.unwrap();
    assert_refused(&reply(&mut proto).await.1, malformed, "no UTF-8");
    assert_alive(&mut proto, "after all").await;
}

#[tokio::test]
async fn a_frame_too_large_is_refused_and_one_far_too_large_ends_the_connection() {
    let world = World::start().await;
    for encoding in Encoding::ALL {
        let mut socket = greeted(&world, "ann", encoding).await;
        // A ping in spaces: as large as may be, and one byte more.
        for (size, is_read) in [(FRAME, true), (FRAME + 1, false), (4 * FRAME, false)] {
            send(&mut socket, sized(encoding, size)).await.unwrap();
            let (_, answer) = reply(&mut socket).await;
            if is_read {
                let is_served = match encoding {
                    Encoding::Json => matches!(answer, Kind::Pong(_)),
                    Encoding::Proto => !is_too_large(&answer),
                };
                assert!(is_served, "{size} bytes: {answer:?}");
            } else {
                let why = ("INVALID_ARGUMENT", "FRAME_TOO_LARGE", "");
                assert_refused(&answer, why, &format!("{size} bytes"));
            }
            assert_alive(&mut socket, &format!("{size} bytes")).await;
        }
        // What follows cannot be told from what is inside: it is over.
        let _ = send(&mut socket, sized(encoding, 4 * FRAME + 1)).await;
        assert_eq!(closed(&mut socket).await, 1009);
    }
    assert_served(&world).await;
}

#[tokio::test]
async fn who_speaks_another_protocol_is_closed_in_the_end() {
    let world = World::start().await;
    for encoding in Encoding::ALL {
        let mut socket = greeted(&world, "ann", encoding).await;
        let nonsense = || match encoding {
            Encoding::Json => Message::text("GET / HTTP/1.1"),
            Encoding::Proto => Message::binary(vec![0xff; 20]),
        };
        for _ in 0..UNREADABLE - 1 {
            send(&mut socket, nonsense()).await.unwrap();
            assert!(matches!(reply(&mut socket).await.1, Kind::Error(_)));
        }
        // One that is read is a new beginning.
        assert_alive(&mut socket, "not yet").await;
        for _ in 0..UNREADABLE {
            send(&mut socket, nonsense()).await.unwrap();
        }
        assert_eq!(closed(&mut socket).await, Close::ProtocolError.code());
    }
}

fn is_too_large(answer: &Kind) -> bool {
    matches!(answer, Kind::Error(error) if error.reason == "FRAME_TOO_LARGE")
}

fn sized(encoding: Encoding, size: usize) -> Message {
    match encoding {
        Encoding::Json => {
            let ping = "{\"id\":7,\"ping\":{}}";
            Message::text(ping.to_owned() + &" ".repeat(size - ping.len()))
        }
        Encoding::Proto => Message::binary(vec![0xff; size]),
    }
}

async fn assert_served(world: &World) {
    crate::http::get(world.http(), "/api/health", "").await.ok();
}
