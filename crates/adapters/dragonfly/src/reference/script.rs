//! The scripts of the reference store: each is the book, and what it does itself.

use crate::script::Script;

const BOOK: &str = include_str!("book.lua");

pub(super) static PUT: Script = Script::writing("references/put", &[BOOK, include_str!("put.lua")]);
pub(super) static RETAIN: Script =
    Script::writing("references/retain", &[BOOK, include_str!("retain.lua")]);
pub(super) static RELEASE: Script =
    Script::writing("references/release", &[BOOK, include_str!("release.lua")]);
pub(super) static TOUCH: Script =
    Script::writing("references/touch", &[BOOK, include_str!("touch.lua")]);
pub(super) static DELETE: Script =
    Script::writing("references/delete", &[BOOK, include_str!("delete.lua")]);
pub(super) static COLLECT: Script =
    Script::writing("references/collect", &[BOOK, include_str!("collect.lua")]);

// What these write are holders that have expired, and when content was last used.
pub(super) static READ: Script =
    Script::reading("references/read", &[BOOK, include_str!("read.lua")]);
pub(super) static STAT: Script =
    Script::reading("references/stat", &[BOOK, include_str!("stat.lua")]);
pub(super) static LIST: Script =
    Script::reading("references/list", &[BOOK, include_str!("list.lua")]);
pub(super) static STATS: Script =
    Script::reading("references/stats", &[BOOK, include_str!("stats.lua")]);

// These have keys of their own.
pub(super) static UPLOAD: Script =
    Script::writing("references/upload", &[include_str!("upload.lua")]);
pub(super) static SWEEP: Script = Script::writing("references/sweep", &[include_str!("sweep.lua")]);

/// The keys of the book, in the order in which the scripts name them. The first is there only
/// while there is content.
pub(super) const BOOK_KEYS: [&str; 10] = [
    "entries",
    "ids",
    "held",
    "holders",
    "held-until",
    "expires",
    "unheld",
    "cache",
    "sums",
    TRASH,
];

/// Ids without an entry whose chunks are still stored.
pub(super) const TRASH: &str = "trash";

/// The chunks of a content, by its id.
pub(super) const CHUNKS: &str = "chunks";

/// Chunks on their way, by a name of the upload's own.
pub(super) const UPLOADS: &str = "upload";

/// Held by the process that collects garbage in this interval.
pub(super) const COLLECTOR: &str = "collector";
