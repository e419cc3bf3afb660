//! How SQLite runs the statements that must not scan.

use super::{chunk, entry::COLUMNS, holder, read, room};
use crate::plan;

#[test]
fn each_look_is_by_index_and_sorts_nothing() {
    let scripts = [
        include_str!("../schema/store.sql"),
        include_str!("../schema/references.sql"),
    ];
    let of = |which: &str| format!("SELECT {COLUMNS} {which}");
    let table = [
        (
            of(room::EXPIRED),
            "ref_content_expiring (ns=? AND expires_at<?)",
        ),
        (of(room::UNHELD), "ref_content_unheld (ns=? AND cache=?)"),
        (of(room::CACHE), "ref_content_unheld (ns=? AND cache=?)"),
        (of(read::LIST), "ref_content_by_id (ns=? AND id>?)"),
        (
            of(read::LIST_OF_HOLDER),
            "PRIMARY KEY (ns=? AND holder=? AND id>?)",
        ),
        (chunk::READ.to_owned(), "PRIMARY KEY (rowid>? AND rowid<?)"),
        (chunk::LOOSE.to_owned(), "ref_loose_by_time (until<?)"),
        (
            holder::EXPIRED.to_owned(),
            "ref_holder_expiring (expires_at<?)",
        ),
    ];
    for (sql, index) in table {
        let plan = plan::of(&scripts, &sql);
        assert!(plan.contains(index), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}
