-- The end of a room's log, backwards. ?1: room, ?2: how many.
select room_id, seq, id, kind, actor, client_msg_id, body, metadata, target_id, target_seq,
    sent_at, trace_id, edited_at, deleted
from chat_log where room_id = ?1 order by seq desc limit ?2
