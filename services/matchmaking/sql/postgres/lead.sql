-- $1 name, $2 holder, $3 until, $4 now. Changes a row for whoever leads now.
-- Further ahead than any lease that begins now: the clock was set back.
insert into mm_leads (name, holder, until) values ($1, $2, $3)
on conflict (name) do update set holder = excluded.holder, until = excluded.until
where mm_leads.holder = excluded.holder or mm_leads.until <= $4 or mm_leads.until > $3
