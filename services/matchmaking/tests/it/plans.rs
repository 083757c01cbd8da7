//! Each query that runs often uses its index.

use crate::world::World;

/// A statement, and what its plan must use.
macro_rules! plans {
    ($($file:literal uses $($index:literal),+;)*) => {
        &[$((include_str!(concat!("../../sql/sqlite/", $file, ".sql")), &[$($index),+])),*]
    };
}

const PLANS: &[(&str, &[&str])] = plans! {
    "get" uses "SEARCH t USING PRIMARY KEY (ticket_id=?)", "SEARCH m USING PRIMARY KEY";
    "hold" uses "SEARCH t USING PRIMARY KEY (ticket_id=?)",
        "SEARCH t USING INDEX mm_tickets_active (pool=? AND user_id=?)";
    "standing" uses "SEARCH t USING INDEX mm_tickets_active (pool=? AND user_id=?)";
    "set_tickets" uses "SEARCH mm_tickets USING PRIMARY KEY";
    "set_rooms" uses "SEARCH mm_matches USING PRIMARY KEY";
    "members" uses "SEARCH t USING INDEX mm_tickets_match (match_id=?)";
    "partners" uses "mm_tickets_partners (pool=? AND user_id=? AND ended_at>?)";
    "waiting" uses "COVERING INDEX mm_tickets_waiting (pool=? AND";
    "overdue" uses "mm_tickets_expires (expires_at<?)",
        "COVERING INDEX mm_tickets_lease (lease_until>? AND lease_until<?)";
    "roomless" uses "mm_matches_roomless (";
    "untold" uses "mm_tickets_untold (pool=? AND ended_at<?)";
    "ended" uses "mm_tickets_ended (ended_at<?)";
    "forget_tickets" uses "mm_tickets_ended (ended_at<?)";
    "forget_matches" uses "mm_matches_made (created_at<?)", "mm_tickets_match (match_id=?)";
    "recent_waits" uses "mm_tickets_matched (pool=? AND ended_at>?)";
};

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index_and_sorts_nothing() {
    let world = World::new().await;
    let sql = world.sql().await;
    for (statement, indexes) in PLANS {
        let query = format!("explain query plan {}", uncommented(statement));
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_all(&sql).await.unwrap();
        let plan: Vec<String> = rows.into_iter().map(|row| row.3).collect();
        let plan = plan.join("\n");
        for index in *indexes {
            assert!(plan.contains(index), "{statement}\n{plan}");
        }
        assert!(!plan.contains("SCAN mm_") && !plan.contains("SCAN t"), "{statement}\n{plan}");
        // Two orders of at most one page each are merged by sorting them.
        let merges = statement.contains("union all");
        assert!(merges || !plan.contains("TEMP B-TREE"), "{statement}\n{plan}");
    }
}

fn uncommented(sql: &str) -> String {
    let lines = sql.lines().filter(|line| !line.starts_with("--"));
    lines.collect::<Vec<_>>().join("\n")
}
