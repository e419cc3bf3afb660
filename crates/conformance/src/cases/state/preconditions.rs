//! What must hold for a write, and what a conflict tells.

use statehouse_contracts::{
    Conflict, ErrorKind, Precondition, RollbackTo, StateManagerExt, Version, Write,
};

use crate::case::case;
use crate::cases::shelf::{BRIEF, Shelf, append, delete, key, put, put_for, transaction};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(absent_holds_for_a_key_never_written),
        case!(absent_holds_for_a_deleted_key),
        case!(absent_holds_for_an_expired_key),
        case!(absent_fails_for_a_live_record),
        case!(version_holds_for_the_current_version),
        case!(version_fails_for_any_other_version),
        case!(version_fails_for_a_tombstone),
        case!(version_fails_for_an_expired_record),
        case!(each_operation_honours_its_precondition),
        case!(a_conflict_names_every_failed_write),
        case!(a_conflict_on_an_expired_record_tells_its_tombstone),
        case!(a_conflict_is_not_ambiguous),
    ]
}

const ABSENT: Precondition = Precondition::Absent;

fn at(version: Version) -> Precondition {
    Precondition::Version(version)
}

/// The write must be refused, naming the key's version and whether it is live.
async fn conflicts(shelf: &Shelf, write: Write, current: Version, live: bool) -> Outcome {
    let key = write.key.clone();
    let error = expect_kind(shelf.state.write(write).await, ErrorKind::Conflict)?;
    let expected = Conflict {
        index: 0,
        key,
        current,
        live,
    };
    ensure_eq(error.conflict_list(), [expected], "the conflict")
}

async fn absent_holds_for_a_key_never_written(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    ensure_eq(
        shelf.write(put("k", "a").when(ABSENT)).await?,
        1,
        "the version",
    )
}

async fn absent_holds_for_a_deleted_key(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    ensure_eq(
        shelf.write(put("k", "b").when(ABSENT)).await?,
        3,
        "the version",
    )
}

async fn absent_holds_for_an_expired_key(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    ensure_eq(
        shelf.write(put("k", "b").when(ABSENT)).await?,
        3,
        "the version",
    )
}

async fn absent_fails_for_a_live_record(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), put("k", "b")]).await?;
    conflicts(&shelf, put("k", "c").when(ABSENT), 2, true).await?;
    shelf.story_is("k", &["2 b", "1 a"]).await
}

async fn version_holds_for_the_current_version(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    ensure_eq(
        shelf.write(put("k", "b").when(at(1))).await?,
        2,
        "the version",
    )?;
    ensure_eq(
        shelf.write(put("k", "c").when(at(2))).await?,
        3,
        "the version",
    )
}

async fn version_fails_for_any_other_version(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    conflicts(&shelf, put("k", "z").when(at(0)), 0, false).await?;
    conflicts(&shelf, put("k", "z").when(at(1)), 0, false).await?;
    shelf.write_all([put("k", "a"), put("k", "b")]).await?;
    for wrong in [0, 1, 3] {
        conflicts(&shelf, put("k", "z").when(at(wrong)), 2, true).await?;
    }
    shelf.story_is("k", &["2 b", "1 a"]).await
}

async fn version_fails_for_a_tombstone(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    for version in [1, 2] {
        conflicts(&shelf, put("k", "z").when(at(version)), 2, false).await?;
    }
    Ok(())
}

async fn version_fails_for_an_expired_record(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    for version in [1, 2] {
        let write = put("k", "z").when(at(version));
        expect_kind(shelf.state.write(write).await, ErrorKind::Conflict)?;
    }
    shelf.reads("k", None).await
}

async fn each_operation_honours_its_precondition(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let operations = || {
        let back = Write::rollback(key("k"), RollbackTo::Version(1));
        let check = Write::check(key("k"), Precondition::None);
        [put("k", "b"), append("k", "b"), back, check, delete("k")]
    };
    shelf.write(put("k", "a")).await?;
    for write in operations() {
        conflicts(&shelf, write.when(at(7)), 1, true).await?;
    }
    for write in operations() {
        let current = shelf.live("k").await?.version;
        shelf.write(write.when(at(current))).await?;
    }
    shelf
        .story_is("k", &["5 deleted", "4 a", "3 bb", "2 b", "1 a"])
        .await
}

async fn a_conflict_names_every_failed_write(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([
            put("live", "a"),
            put("live", "b"),
            put("gone", "a"),
            delete("gone"),
        ])
        .await?;
    let writes = [
        put("live", "c").when(at(1)),
        put("fine", "a").when(ABSENT),
        append("gone", "c").when(at(1)),
        Write::check(key("never"), at(3)),
        put("also fine", "a"),
    ];
    let error = expect_kind(
        shelf.state.apply(transaction(writes)).await,
        ErrorKind::Conflict,
    )?;
    let conflict = |index, id, current, live| Conflict {
        index,
        key: key(id),
        current,
        live,
    };
    let expected = [
        conflict(0, "live", 2, true),
        conflict(2, "gone", 2, false),
        conflict(3, "never", 0, false),
    ];
    ensure_eq(error.conflict_list(), expected, "the failed writes")?;
    shelf.reads("fine", None).await?;
    shelf.reads("also fine", None).await
}

async fn a_conflict_on_an_expired_record_tells_its_tombstone(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    conflicts(&shelf, put("k", "b").when(at(1)), 2, false).await
}

async fn a_conflict_is_not_ambiguous(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let write = put("k", "a").when(at(1));
    let error = expect_kind(shelf.state.write(write).await, ErrorKind::Conflict)?;
    ensure(!error.is_ambiguous(), "a conflict was surely not applied")
}
