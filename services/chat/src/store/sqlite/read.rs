//! Reads, each of one snapshot.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use mingle_store::Result;
use sqlx::{Row as _, SqliteConnection};

use super::{Sqlite, records::json, rows};
use crate::{
    domain::{Bookmark, Event, Membership, Position, Verdict, View, Wish, prove},
    store::{PAGE_BYTES, Page, Replay, Store},
};

/// Numbers that SQLite cannot count to are beyond every row.
fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for Sqlite {
    async fn write(&self, wish: Wish, traceparent: String) -> Result<Verdict> {
        self.submit(wish, traceparent).await
    }

    async fn view(&self, room_id: &str, user: &str) -> Result<Option<View>> {
        let query = sqlx::query(include_str!("../../../sql/sqlite/view.sql"));
        let row = query.bind(room_id).bind(user).fetch_optional(self.database.readers()).await?;
        row.as_ref().map(rows::view).transpose()
    }

    async fn list(
        &self,
        user: &str,
        bookmark: Option<&Bookmark>,
        limit: usize,
    ) -> Result<Vec<View>> {
        let query = sqlx::query(include_str!("../../../sql/sqlite/list.sql"))
            .bind(user)
            .bind(bookmark.map_or(i64::MAX, |bookmark| bookmark.last_active_at))
            .bind(bookmark.map_or("", |bookmark| &bookmark.room_id))
            .bind(number(limit));
        let found = query.fetch_all(self.database.readers()).await?;
        found.iter().map(rows::view).collect()
    }

    async fn members(&self, room_id: &str) -> Result<Vec<Membership>> {
        let query = sqlx::query(include_str!("../../../sql/sqlite/members.sql"));
        let found = query.bind(room_id).fetch_all(self.database.readers()).await?;
        found.iter().map(rows::membership).collect()
    }

    async fn history(&self, room_id: &str, before: u64, limit: usize) -> Result<Page> {
        let query = sqlx::query(include_str!("../../../sql/sqlite/history.sql"))
            .bind(room_id)
            .bind(number(before))
            .bind(number(limit.saturating_add(1)));
        let mut reader = self.database.readers().acquire().await?;
        let mut page = page(query, &mut reader, limit).await?;
        page.events.reverse();
        Ok(page)
    }

    async fn replay(
        &self,
        room_id: &str,
        after: &Position,
        limit: usize,
    ) -> Result<Option<Replay>> {
        let mut tx = self.database.readers().begin().await?;
        let query = sqlx::query(include_str!("../../../sql/sqlite/room.sql")).bind(room_id);
        let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let room = rows::room(&row)?;
        let query = sqlx::query(include_str!("../../../sql/sqlite/id_at.sql"));
        let at = query.bind(room_id).bind(number(after.seq)).fetch_optional(&mut *tx).await?;
        let stored: Option<String> = at.map(|row| row.try_get("id")).transpose()?;
        let proved = prove(after, &room, stored.as_deref());
        let page = match proved {
            Ok(()) => range(&mut tx, room_id, after.seq, limit).await?,
            Err(_) => newest(&mut tx, room_id, limit).await?,
        };
        Ok(Some(Replay { page, room, proved }))
    }

    async fn range(&self, room_id: &str, after: u64, limit: usize) -> Result<Page> {
        let mut reader = self.database.readers().acquire().await?;
        range(&mut reader, room_id, after, limit).await
    }

    async fn heads(&self, room_ids: &[String]) -> Result<HashMap<String, Position>> {
        let query = sqlx::query(include_str!("../../../sql/sqlite/heads.sql"));
        let found = query.bind(json(&room_ids)?).fetch_all(self.database.readers()).await?;
        let head =
            |row| Ok((row_text(row, "room_id")?, rows::position(row, "head_seq", "head_id")?));
        found.iter().map(head).collect()
    }

    async fn shared(&self, user: &str, others: &[String]) -> Result<Vec<String>> {
        let query = sqlx::query(include_str!("../../../sql/sqlite/shared.sql"));
        let query = query.bind(user).bind(json(&others)?);
        let found = query.fetch_all(self.database.readers()).await?;
        found.iter().map(|row| row_text(row, "user_id")).collect()
    }

    async fn idle(&self, since: i64, limit: usize) -> Result<Vec<String>> {
        let query = sqlx::query(include_str!("../../../sql/sqlite/idle.sql"));
        let query = query.bind(since).bind(number(limit));
        let found = query.fetch_all(self.database.readers()).await?;
        found.iter().map(|row| row_text(row, "room_id")).collect()
    }

    async fn expire(&self, before: i64, limit: usize) -> Result<u64> {
        self.take_expired(before, limit).await
    }
}

fn row_text(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<String> {
    Ok(row.try_get(column)?)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

async fn range(
    reader: &mut SqliteConnection,
    room_id: &str,
    after: u64,
    limit: usize,
) -> Result<Page> {
    let query = sqlx::query(include_str!("../../../sql/sqlite/range.sql"))
        .bind(room_id)
        .bind(number(after))
        .bind(number(limit.saturating_add(1)));
    page(query, reader, limit).await
}

/// The newest page has nothing after it, whatever is before it.
async fn newest(reader: &mut SqliteConnection, room_id: &str, limit: usize) -> Result<Page> {
    let query = sqlx::query(include_str!("../../../sql/sqlite/newest.sql"))
        .bind(room_id)
        .bind(number(limit.saturating_add(1)));
    let mut page = page(query, reader, limit).await?;
    page.events.reverse();
    page.has_more = false;
    Ok(page)
}

/// Reads until the page is full; a row beyond says that there is more. One
/// event always fits: its texts are bounded far below a page.
async fn page(query: Query<'_>, reader: &mut SqliteConnection, limit: usize) -> Result<Page> {
    let mut found = query.fetch(reader);
    let mut page = Page::default();
    let mut bytes = 0;
    while let Some(row) = found.try_next().await? {
        let event: Event = rows::event(&row)?;
        bytes += event.size();
        if page.events.len() >= limit || (bytes > PAGE_BYTES && !page.events.is_empty()) {
            page.has_more = true;
            break;
        }
        page.events.push(event);
    }
    Ok(page)
}
