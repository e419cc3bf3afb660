//! The scripts of this role.

use crate::script::Script;

macro_rules! script {
    ($kind:ident, $name:literal, $($file:literal),+) => {
        Script::$kind($name, &[$(include_str!(concat!("lua/", $file, ".lua"))),+])
    };
}

/// What other roles need to take messages in, see `lua/deliver.lua`.
pub(crate) const HELD: &str = include_str!("lua/held.lua");
pub(crate) const PLACE: &str = include_str!("lua/place.lua");
pub(crate) const TIDY: &str = include_str!("lua/tidy.lua");
pub(crate) const ACCEPTED: &str = include_str!("lua/accepted.lua");
pub(crate) const TAKE_IN: &str = include_str!("lua/send.lua");
pub(crate) const DELIVER: &str = include_str!("lua/deliver.lua");

pub(super) static REGISTRY: Script = script!(reading, "registry", "registry");
pub(super) static DECLARE: Script = script!(writing, "declare", "declare");
pub(super) static DELETE: Script = script!(writing, "delete", "delete");
pub(super) static CLEAR: Script = script!(writing, "clear", "held", "place", "clear");
pub(super) static PAUSE: Script = script!(writing, "pause", "pause");
pub(super) static PAUSED: Script = script!(reading, "paused", "paused");

pub(super) static SEND: Script = script!(
    writing,
    "send",
    "held",
    "place",
    "tidy",
    "accepted",
    "send",
    "send_main"
);
/// Takes in messages that need the least of it.
pub(super) static SEND_PLAIN: Script =
    script!(writing, "send", "send_plain", "accepted", "send_plain_main");
pub(super) static CANCEL: Script = script!(writing, "cancel", "held", "place", "cancel");
pub(super) static RECEIVE: Script = script!(
    writing,
    "receive",
    "receive",
    "held",
    "place",
    "tidy",
    "receive_main"
);
pub(super) static SETTLE: Script = script!(
    writing,
    "settle",
    "acknowledge",
    "held",
    "place",
    "settle",
    "settle_main"
);
pub(super) static FORGET: Script = script!(writing, "forget", "forget");
pub(super) static LISTEN: Script = script!(writing, "listen", "listen");

macro_rules! caught_up {
    ($name:literal) => {
        script!(writing, $name, "held", "place", "tidy", "caught_up", $name)
    };
}

pub(super) static COUNTS: Script = caught_up!("counts");
pub(super) static OLDEST: Script = caught_up!("oldest");
pub(super) static PEEK: Script = caught_up!("peek");
pub(super) static LETTERS: Script = caught_up!("letters");
pub(super) static LAST_DEAD: Script = caught_up!("last_dead");
pub(super) static CLEAR_DEAD: Script = caught_up!("clear_dead");
pub(super) static PURGE: Script = caught_up!("purge");
