//! How SQLite runs a statement, for tests.

use rusqlite::Connection;

/// The plan of `sql` on the tables of `scripts`, a step per line.
pub(crate) fn of(scripts: &[&str], sql: &str) -> String {
    let connection = Connection::open_in_memory().unwrap();
    for script in scripts {
        connection.execute_batch(script).unwrap();
    }
    let mut explain = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    for index in 1..=explain.parameter_count() {
        explain.raw_bind_parameter(index, 1).unwrap();
    }
    let mut rows = explain.raw_query();
    let mut plan = String::new();
    while let Some(row) = rows.next().unwrap() {
        plan.push_str(&row.get::<_, String>(3).unwrap());
        plan.push('\n');
    }
    plan
}
