-- Messages of a room, backwards. ?1: room, ?2: before this seq, ?3: how many.
select room_id, seq, id, kind, actor, client_msg_id, body, metadata, target_id, target_seq,
    sent_at, trace_id, edited_at, deleted
from chat_log indexed by chat_log_history
where room_id = ?1 and kind = 1 and seq < ?2
order by seq desc limit ?3
