-- The rooms of a batch: by id and by external id. ?1, ?2: JSON arrays.
select r.* from json_each(?1) wanted cross join chat_rooms r where r.room_id = wanted.value
union
select r.* from json_each(?2) wanted cross join chat_rooms r where r.external_id = wanted.value
