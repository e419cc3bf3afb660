//! How SQLite runs the statements that must not scan.

use rusqlite::Connection;

use super::{node, read, retention};

fn plan(connection: &Connection, sql: &str) -> String {
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

#[test]
fn each_look_is_by_index_and_sorts_nothing() {
    let connection = Connection::open_in_memory().unwrap();
    for script in [
        include_str!("../schema/store.sql"),
        include_str!("../schema/tasks.sql"),
    ] {
        connection.execute_batch(script).unwrap();
    }
    let table = [
        (read::READY, "task_by_state (stack=? AND state=?)"),
        (
            read::OF_STATE,
            "task_by_state (stack=? AND state=? AND rowid<?)",
        ),
        (read::CHILDREN, "task_child (parent=? AND rowid<?)"),
        (read::ALL, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (read::OUTCOMES, "task_child (parent=?)"),
        (node::DUE, "task_timer (wake_at<?)"),
        (node::NEXT_TIMER, "task_timer"),
        (
            retention::OLD_ROOT,
            "task_finished_root (finished_at<?)",
        ),
        (retention::FIRST_CHILD, "task_child (parent=?)"),
    ];
    for (sql, index) in table {
        let plan = plan(&connection, sql);
        assert!(plan.contains(index), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}
