//! Records that move from one place to another.

use statehouse_contracts::{
    ErrorKind, Page, PageCursor, Prune, Record, StateManagerExt, Tombstone, Version,
};

use crate::case::case;
use crate::cases::shelf::{LONG, MOST_PAGES, Shelf, delete, key, key_of, line, put, put_for};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, expect_limit, fail};

pub(crate) fn cases() -> Vec<Case> {
    let able = [
        case!(an_export_shows_current_records_of_all_kinds),
        case!(the_pages_of_an_export_join),
        case!(an_import_writes_records_as_they_are),
        case!(an_import_leaves_higher_versions_alone),
        case!(an_import_goes_over_lower_versions),
        case!(versions_go_on_after_an_import),
        case!(an_imported_tombstone_deletes),
        case!(an_import_shows_as_changes),
        case!(an_import_of_one_key_twice_is_refused),
        case!(an_import_of_version_zero_is_refused),
        case!(a_huge_version_is_imported),
        case!(an_imported_tombstone_raises_the_floor_when_it_is_forgotten),
        case!(an_export_by_a_cursor_that_is_none_is_refused),
        case!(an_export_beyond_max_page_is_refused),
    ];
    let mut cases = able.map(|case| case.state(|c| c.import_export)).to_vec();
    cases.push(case!(export_and_import_are_refused).state(|c| !c.import_export));
    cases
}

async fn export(shelf: &Shelf, limit: usize) -> Result<Vec<Record>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let page: Page<Record> = shelf.state.export(limit, after.as_ref()).await?;
        ensure(
            limit == 0 || page.items.len() <= limit,
            "a page holds at most the limit",
        )?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
    fail("the pages come to no end")
}

async fn elsewhere(cx: &Context) -> Result<Shelf, Failure> {
    Shelf::on(cx, &*cx.backend().await?, &cx.other_scope()?).await
}

/// A record to import, of another shelf.
async fn record_at(cx: &Context, id: &str, version: Version) -> Result<Record, Failure> {
    let origin = elsewhere(cx).await?;
    origin.write(put(id, "imported")).await?;
    Ok(Record {
        version,
        ..origin.live(id).await?
    })
}

async fn an_export_shows_current_records_of_all_kinds(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for (kind, id) in [("b", "1"), ("a", "2"), ("a", "10"), ("a", "🦀"), ("A", "z")] {
        let k = key_of(kind, id);
        shelf
            .state
            .put(&k, "x".into(), Default::default(), Default::default())
            .await?;
    }
    shelf
        .write_all([
            put("k", "a"),
            put("k", "b"),
            put("gone", "a"),
            delete("gone"),
        ])
        .await?;
    let records = export(&shelf, 0).await?;
    let keys: Vec<String> = records
        .iter()
        .map(|record| record.key.to_string())
        .collect();
    ensure_eq(
        keys,
        ["A/z", "a/10", "a/2", "a/🦀", "b/1", "note/gone", "note/k"],
        "the keys",
    )?;
    let lines: Vec<String> = records[5..].iter().map(line).collect();
    ensure_eq(lines, ["2 deleted", "2 b"], "the last two records")
}

async fn the_pages_of_an_export_join(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all((0..10).map(|n| put(&n.to_string(), "")))
        .await?;
    let whole = export(&shelf, 0).await?;
    ensure_eq(whole.len(), 10, "the number of records")?;
    for limit in [1, 3, 10] {
        ensure_eq(
            export(&shelf, limit).await?,
            whole.clone(),
            "the pages joined",
        )?;
    }
    Ok(())
}

async fn an_import_writes_records_as_they_are(cx: Context) -> Outcome {
    let origin = Shelf::on(&cx, &*cx.backend().await?, &cx.scope_of("ünï")?).await?;
    origin
        .write_all([put("a", "1"), put("a", "2"), put_for("b", "3", LONG)])
        .await?;
    origin.write_all([put("c", "4"), delete("c")]).await?;
    let records = export(&origin, 0).await?;
    let copy = elsewhere(&cx).await?;
    let written = copy.state.import(records.clone()).await?;
    ensure_eq(written, [true, true, true], "which records were written")?;
    ensure_eq(export(&copy, 0).await?, records, "the copy")?;
    copy.story_is("a", &["2 2"]).await?;
    copy.reads("c", None).await
}

async fn an_import_leaves_higher_versions_alone(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([
            put("k", "a"),
            put("k", "b"),
            put("gone", "a"),
            delete("gone"),
        ])
        .await?;
    let head = shelf.state.head().await?;
    let records = vec![
        record_at(&cx, "k", 2).await?,
        record_at(&cx, "gone", 1).await?,
        record_at(&cx, "new", 1).await?,
    ];
    let written = shelf.state.import(records.clone()).await?;
    ensure_eq(written, [false, false, true], "which records were written")?;
    ensure_eq(
        shelf.state.import(records).await?,
        [false; 3],
        "which were written again",
    )?;
    shelf.story_is("k", &["2 b", "1 a"]).await?;
    shelf.story_is("gone", &["2 deleted", "1 a"]).await?;
    shelf.changes_are(&head, &["import new 1"]).await
}

async fn an_import_goes_over_lower_versions(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("k", "a"), put("gone", "a"), delete("gone")])
        .await?;
    let records = vec![
        record_at(&cx, "k", 7).await?,
        record_at(&cx, "gone", 3).await?,
    ];
    ensure_eq(
        shelf.state.import(records).await?,
        [true, true],
        "which records were written",
    )?;
    shelf.reads("k", Some("7 imported")).await?;
    shelf.reads("gone", Some("3 imported")).await
}

async fn versions_go_on_after_an_import(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .state
        .import(vec![record_at(&cx, "k", 7).await?])
        .await?;
    ensure_eq(shelf.write(put("k", "b")).await?, 8, "the next version")?;
    shelf.story_is("k", &["8 b", "7 imported"]).await
}

async fn an_imported_tombstone_deletes(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    let tombstone = Record {
        tombstone: Some(Tombstone::Deleted),
        data: Default::default(),
        ..record_at(&cx, "k", 4).await?
    };
    ensure_eq(
        shelf.state.import(vec![tombstone]).await?,
        [true],
        "whether it was written",
    )?;
    shelf.reads("k", None).await?;
    ensure_eq(shelf.write(put("k", "b")).await?, 5, "the next version")
}

async fn an_import_shows_as_changes(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    let record = record_at(&cx, "k", 3).await?;
    shelf.state.import(vec![record]).await?;
    let changes = shelf.changes(&head, 0).await?;
    shelf.changes_are(&head, &["import k 3"]).await?;
    let content = changes.into_iter().next().and_then(|change| change.content);
    let data = content.map(|content| content.data);
    let whole = statehouse_contracts::ChangeData::Whole("imported".into());
    ensure_eq(data, Some(whole), "the content of the change")
}

async fn an_import_of_one_key_twice_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let records = vec![record_at(&cx, "k", 1).await?, record_at(&cx, "k", 2).await?];
    expect_kind(
        shelf.state.import(records).await,
        ErrorKind::InvalidArgument,
    )?;
    shelf.story_is("k", &[]).await
}

async fn an_import_of_version_zero_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let records = vec![record_at(&cx, "l", 1).await?, record_at(&cx, "k", 0).await?];
    expect_kind(
        shelf.state.import(records).await,
        ErrorKind::InvalidArgument,
    )?;
    shelf.story_is("k", &[]).await?;
    shelf.story_is("l", &[]).await
}

async fn a_huge_version_is_imported(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let huge = i64::MAX as u64 - 1;
    shelf
        .state
        .import(vec![record_at(&cx, "k", huge).await?])
        .await?;
    shelf.reads("k", Some(&format!("{huge} imported"))).await?;
    ensure_eq(
        shelf.write(put("k", "b")).await?,
        huge + 1,
        "the next version",
    )?;
    let record = shelf.state.read_version(&key("k"), huge).await?;
    ensure_eq(record.version, huge, "the version read")
}

async fn an_imported_tombstone_raises_the_floor_when_it_is_forgotten(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .state
        .import(vec![record_at(&cx, "k", 40).await?])
        .await?;
    shelf.write(delete("k")).await?;
    let prune = Prune {
        tombstones: Some(std::time::Duration::ZERO),
        ..Prune::default()
    };
    shelf.state.prune(prune).await?;
    ensure_eq(shelf.write(put("new", "a")).await?, 42, "a first version")
}

async fn an_export_by_a_cursor_that_is_none_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for nonsense in ["", "nonsense", "🦀"] {
        let cursor = PageCursor(nonsense.into());
        expect_kind(
            shelf.state.export(0, Some(&cursor)).await,
            ErrorKind::InvalidArgument,
        )?;
    }
    Ok(())
}

async fn an_export_beyond_max_page_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let limit = shelf.state.capability().max_page + 1;
    expect_limit(shelf.state.export(limit, None).await, "max_page")
}

async fn export_and_import_are_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    expect_kind(shelf.state.export(0, None).await, ErrorKind::Unsupported)?;
    expect_kind(shelf.state.import(Vec::new()).await, ErrorKind::Unsupported).map(|_| ())
}
