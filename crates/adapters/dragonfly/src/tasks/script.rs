//! The scripts of the task stack: each is the book, and what it does itself.

use crate::script::Script;

const BOOK: &str = include_str!("book.lua");
const HELD: &str = include_str!("held.lua");

pub(super) static PUSH: Script =
    Script::writing("tasks/push", &[BOOK, HELD, include_str!("push.lua")]);
pub(super) static CLAIM: Script =
    Script::writing("tasks/claim", &[BOOK, include_str!("claim.lua")]);
pub(super) static SETTLE: Script =
    Script::writing("tasks/settle", &[BOOK, HELD, include_str!("settle.lua")]);
pub(super) static CANCEL: Script =
    Script::writing("tasks/cancel", &[BOOK, include_str!("cancel.lua")]);

// What these write is what was due anyway.
pub(super) static GET: Script = Script::reading("tasks/get", &[BOOK, include_str!("get.lua")]);
pub(super) static PEEK: Script = Script::reading("tasks/peek", &[BOOK, include_str!("peek.lua")]);
pub(super) static LIST: Script = Script::reading("tasks/list", &[BOOK, include_str!("list.lua")]);
pub(super) static DEPTH: Script =
    Script::reading("tasks/depth", &[BOOK, include_str!("depth.lua")]);
pub(super) static STACKS: Script =
    Script::reading("tasks/stacks", &[BOOK, include_str!("stacks.lua")]);
pub(super) static TICK: Script = Script::reading("tasks/tick", &[BOOK, include_str!("tick.lua")]);

/// The keys of the book, in the order in which the scripts name them. The first is there only
/// while there are tasks.
pub(super) const BOOK_KEYS: [&str; 13] = [
    "nodes", "payloads", "results", "attempts", "ids", "ready", "stacked", "order", "children",
    "timers", "finished", "counts", "last",
];

/// Where the results of pushes with an op_id are kept, each in a key of its own.
pub(super) const OP: &str = "op";

/// The channels of the stacks, and the one of the timers.
pub(super) const READY_CHANNEL: &str = "ready";
pub(super) const TIMER_CHANNEL: &str = "timer";
