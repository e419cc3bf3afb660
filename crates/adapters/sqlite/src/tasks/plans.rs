//! How SQLite runs the statements that must not scan.

use super::{node, read, retention};
use crate::plan;

#[test]
fn each_look_is_by_index_and_sorts_nothing() {
    let scripts = [
        include_str!("../schema/store.sql"),
        include_str!("../schema/tasks.sql"),
    ];
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
        (retention::OLD_ROOT, "task_finished_root (finished_at<?)"),
        (retention::FIRST_CHILD, "task_child (parent=?)"),
    ];
    for (sql, index) in table {
        let plan = plan::of(&scripts, sql);
        assert!(plan.contains(index), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}
