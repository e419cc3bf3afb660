//! Lists of records.

use std::collections::BTreeMap;

use statehouse_contracts::{Direction, ErrorKind, Glob, ListQuery, PageCursor, Record, Tombstone};

use crate::case::case;
use crate::cases::shelf::{Shelf, delete, key_of, notes, put};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(an_empty_list_ends_at_once),
        case!(a_list_goes_in_the_byte_order_of_ids),
        case!(a_list_goes_either_way),
        case!(a_list_is_of_its_kind_only),
        case!(a_prefix_is_taken_as_it_stands),
        case!(a_glob_matches_whole_ids),
        case!(prefix_and_glob_must_both_match),
        case!(a_list_shows_whole_records),
        case!(tombstones_are_listed_only_if_asked),
        case!(pages_join_to_the_whole_list),
        case!(pages_join_under_a_filter),
        case!(what_is_there_all_along_appears_once),
        case!(a_page_goes_on_after_its_last_record_is_gone),
        case!(a_cursor_that_is_none_is_refused),
        case!(a_limit_beyond_max_page_is_refused),
    ]
}

/// In byte order.
const IDS: [&str; 17] = [
    " ", "%", "*", "-", "/", "1", "10", "2", "A", "Z", "_", "a", "a/b", "aa", "é", "人", "🦀",
];

async fn filled(cx: &Context) -> Result<Shelf, Failure> {
    let shelf = Shelf::new(cx).await?;
    // From the inside out, so that the order written is none of the orders listed.
    let (low, high) = IDS.split_at(IDS.len() / 2);
    let inside_out = high.iter().rev().chain(low);
    shelf.write_all(inside_out.map(|id| put(id, id))).await?;
    Ok(shelf)
}

fn prefix(prefix: &str) -> ListQuery {
    ListQuery {
        prefix: Some(prefix.into()),
        ..notes()
    }
}

fn glob(form: &str) -> Result<ListQuery, Failure> {
    Ok(ListQuery {
        glob: Some(Glob::new(form)?),
        ..notes()
    })
}

async fn an_empty_list_ends_at_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let page = shelf.state.list(notes()).await?;
    ensure_eq((page.items.len(), page.next), (0, None), "the page")
}

async fn a_list_goes_in_the_byte_order_of_ids(cx: Context) -> Outcome {
    let shelf = filled(&cx).await?;
    ensure_eq(shelf.ids(notes()).await?, IDS, "the ids in order")
}

async fn a_list_goes_either_way(cx: Context) -> Outcome {
    let shelf = filled(&cx).await?;
    for limit in [0, 1, 4] {
        let query = ListQuery {
            direction: Direction::Descending,
            limit,
            ..notes()
        };
        let mut ids = shelf.ids(query).await?;
        ids.reverse();
        ensure_eq(ids, IDS, "the ids, descending, turned round")?;
    }
    Ok(())
}

async fn a_list_is_of_its_kind_only(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for kind in ["note", "notes", "Note", "not"] {
        let mut write = put(kind, kind);
        write.key = key_of(kind, kind);
        shelf.write(write).await?;
    }
    ensure_eq(shelf.ids(notes()).await?, ["note"], "the notes")
}

async fn a_prefix_is_taken_as_it_stands(cx: Context) -> Outcome {
    let shelf = filled(&cx).await?;
    let table: [(&str, &[&str]); 9] = [
        ("", &IDS),
        ("a", &["a", "a/b", "aa"]),
        ("a/", &["a/b"]),
        ("A", &["A"]),
        ("%", &["%"]),
        ("_", &["_"]),
        ("*", &["*"]),
        ("🦀", &["🦀"]),
        ("nothing", &[]),
    ];
    for (text, expected) in table {
        ensure_eq(
            shelf.ids(prefix(text)).await?,
            expected,
            &format!("the prefix {text:?}"),
        )?;
    }
    Ok(())
}

async fn a_glob_matches_whole_ids(cx: Context) -> Outcome {
    let shelf = filled(&cx).await?;
    let table: [(&str, &[&str]); 9] = [
        ("*", &IDS),
        ("a*", &["a", "a/b", "aa"]),
        (
            "?",
            &[
                " ", "%", "*", "-", "/", "1", "2", "A", "Z", "_", "a", "é", "人", "🦀",
            ],
        ),
        ("[a-z]", &["a"]),
        ("[^ -~]", &["é", "人", "🦀"]),
        ("*b", &["a/b"]),
        ("\\*", &["*"]),
        ("1?", &["10"]),
        ("%", &["%"]),
    ];
    for (form, expected) in table {
        ensure_eq(
            shelf.ids(glob(form)?).await?,
            expected,
            &format!("the glob {form:?}"),
        )?;
    }
    Ok(())
}

async fn prefix_and_glob_must_both_match(cx: Context) -> Outcome {
    let shelf = filled(&cx).await?;
    let query = ListQuery {
        prefix: Some("a".into()),
        ..glob("*b")?
    };
    ensure_eq(shelf.ids(query).await?, ["a/b"], "what matches both")
}

async fn a_list_shows_whole_records(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("a", "1"), put("a", "2"), put("b", "3")])
        .await?;
    let records = shelf.records(notes()).await?;
    ensure_eq(
        records,
        [shelf.live("a").await?, shelf.live("b").await?],
        "the records",
    )
}

async fn tombstones_are_listed_only_if_asked(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("a", "1"), put("b", "2"), put("c", "3"), delete("b")])
        .await?;
    ensure_eq(shelf.ids(notes()).await?, ["a", "c"], "the live records")?;
    let query = ListQuery {
        tombstones: true,
        ..notes()
    };
    let records = shelf.records(query).await?;
    let shown: Vec<(&str, u64, Option<Tombstone>)> = records
        .iter()
        .map(|r| (r.key.id.as_str(), r.version, r.tombstone))
        .collect();
    let expected = [
        ("a", 1, None),
        ("b", 2, Some(Tombstone::Deleted)),
        ("c", 1, None),
    ];
    ensure_eq(shown, expected, "all records")
}

async fn pages_join_to_the_whole_list(cx: Context) -> Outcome {
    let shelf = filled(&cx).await?;
    for limit in [1, 2, 5, IDS.len(), IDS.len() + 1] {
        let query = ListQuery { limit, ..notes() };
        ensure_eq(shelf.ids(query).await?, IDS, &format!("pages of {limit}"))?;
    }
    Ok(())
}

async fn pages_join_under_a_filter(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all((0..30).map(|n| put(&format!("{n:02}"), "")))
        .await?;
    for limit in [1, 3] {
        let query = ListQuery {
            limit,
            ..glob("*7")?
        };
        ensure_eq(
            shelf.ids(query).await?,
            ["07", "17", "27"],
            &format!("pages of {limit}"),
        )?;
    }
    Ok(())
}

/// While the pages are read, other records come and go, before and behind the cursor.
async fn what_is_there_all_along_appears_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let stays: Vec<String> = (0..20).map(|n| format!("{n:02} stays")).collect();
    shelf.write_all(stays.iter().map(|id| put(id, "1"))).await?;
    for direction in [Direction::Ascending, Direction::Descending] {
        let mut query = ListQuery {
            limit: 3,
            direction,
            ..notes()
        };
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for round in 0.. {
            let page = shelf.state.list(query.clone()).await?;
            page.items.iter().for_each(|record: &Record| {
                *seen.entry(record.key.id.to_string()).or_default() += 1;
            });
            for n in [round, 7 * round % 20] {
                let passing = format!("{n:02} passing");
                shelf
                    .write_all([put(&passing, "1"), put(&stays[n % 20], "again")])
                    .await?;
                if round % 2 == 1 {
                    shelf.write(delete(&passing)).await?;
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            ensure(round < 200, "the list comes to an end")?;
        }
        for id in &stays {
            ensure_eq(
                seen.get(id),
                Some(&1),
                &format!("how often {id:?} appeared"),
            )?;
        }
    }
    Ok(())
}

async fn a_page_goes_on_after_its_last_record_is_gone(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all(["a", "b", "c", "d"].map(|id| put(id, "")))
        .await?;
    let first = shelf
        .state
        .list(ListQuery {
            limit: 2,
            ..notes()
        })
        .await?;
    shelf.write_all([delete("a"), delete("b")]).await?;
    let rest = ListQuery {
        after: first.next,
        ..notes()
    };
    ensure_eq(shelf.ids(rest).await?, ["c", "d"], "the rest")
}

async fn a_cursor_that_is_none_is_refused(cx: Context) -> Outcome {
    let shelf = filled(&cx).await?;
    for nonsense in ["", "nonsense", "🦀", "\0", "%%%"] {
        let query = ListQuery {
            after: Some(PageCursor(nonsense.into())),
            ..notes()
        };
        expect_kind(shelf.state.list(query).await, ErrorKind::InvalidArgument)?;
    }
    Ok(())
}

async fn a_limit_beyond_max_page_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let limit = shelf.state.capability().max_page + 1;
    expect_limit(
        shelf.state.list(ListQuery { limit, ..notes() }).await,
        "max_page",
    )
}
