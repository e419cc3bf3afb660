//! The scripts of state, its change log and its outbox.

use crate::queue::scripts as queue;
use crate::script::Script;

const VERSION: &str = include_str!("records/version.lua");
const RECORD: &str = include_str!("records/record.lua");
const COMMIT: &str = include_str!("records/commit.lua");
const WRITE: &str = include_str!("records/write.lua");
const PUT: &str = include_str!("records/put.lua");
const APPLY_ALL: &str = include_str!("records/apply.lua");
const LOG: &str = include_str!("changes/log.lua");
const FOLLOWER: &str = include_str!("changes/follower.lua");
const LEASE: &str = include_str!("outbox/lease.lua");
const ENTRIES: &str = include_str!("outbox/entries.lua");

macro_rules! scripts {
    ($($kind:ident $name:ident = $title:literal, [$($part:expr),*], $file:literal;)*) => {
        $(pub(super) static $name: Script =
            Script::$kind($title, &[$($part,)* include_str!($file)]);)*
    };
}

scripts! {
    writing APPLY = "apply", [COMMIT, PUT, VERSION, RECORD, WRITE, "local deliver = nil\n", APPLY_ALL],
        "records/apply_each.lua";
    writing IMPORT = "import", [COMMIT, VERSION, RECORD, WRITE], "records/import.lua";
    writing SWEEP = "sweep", [COMMIT, VERSION, RECORD, WRITE], "records/sweep.lua";
    writing PRUNE = "prune", [VERSION, RECORD], "records/prune.lua";
    reading GET = "get", [VERSION, RECORD], "records/get.lua";
    reading GLANCE = "glance", [], "records/glance.lua";
    reading READ_VERSION = "read_version", [VERSION, RECORD], "records/version_read.lua";
    reading HISTORY = "history", [VERSION, RECORD], "records/history.lua";
    reading DUE = "due", [], "records/due.lua";

    reading EXTENT = "extent", [LOG], "changes/extent.lua";
    reading PAGE = "page", [LOG], "changes/page.lua";
    reading CONTENT = "content", [VERSION, RECORD], "changes/content.lua";
    writing FOLLOW = "follow", [LOG, FOLLOWER], "changes/follow.lua";
    writing ADVANCE = "advance", [LOG, FOLLOWER], "changes/advance.lua";
    reading FOLLOWERS = "followers", [LOG, FOLLOWER], "changes/followers.lua";
    writing TRIM = "trim", [LOG, FOLLOWER], "changes/trim.lua";

    writing TAKE = "outbox_take", [LEASE], "outbox/take.lua";
    writing EXTEND = "outbox_extend", [LEASE], "outbox/extend.lua";
    reading OUTBOX_READ = "outbox_read", [LEASE, ENTRIES], "outbox/read.lua";
    writing SETTLE = "outbox_settle", [LEASE, ENTRIES], "outbox/settle.lua";
    writing RELEASE = "outbox_release", [LEASE, ENTRIES], "outbox/release.lua";
    reading DEPTH = "outbox_depth", [LEASE, ENTRIES], "outbox/depth.lua";
    reading PARKED = "outbox_parked", [LEASE, ENTRIES], "outbox/parked.lua";
}

/// A transaction whose messages go into the groups of the same store.
pub(super) static APPLY_LOCALLY: Script = Script::writing(
    "apply",
    &[
        COMMIT,
        PUT,
        VERSION,
        RECORD,
        WRITE,
        "local deliver = {}\ndo\n",
        queue::HELD,
        queue::PLACE,
        queue::TIDY,
        queue::ACCEPTED,
        queue::TAKE_IN,
        queue::DELIVER,
        "end\n",
        APPLY_ALL,
        include_str!("records/apply_each.lua"),
    ],
);
