//! Appending.

use bytes::Bytes;
use statehouse_contracts::{
    ContentType, Operation, Precondition, RollbackTo, StateManagerExt, Write,
};

use crate::case::case;
use crate::cases::shelf::{LONG, Shelf, append, delete, key, put};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(every_version_reads_back_whole),
        case!(an_append_to_nothing_begins_with_bytes),
        case!(an_append_after_a_delete_begins_anew),
        case!(an_append_keeps_type_schema_and_expiry),
        case!(an_empty_append_is_a_version),
        case!(an_append_may_split_a_character),
        case!(appends_go_on_after_a_put),
        case!(appends_go_on_after_a_rollback),
        case!(a_history_of_appends_reads_back_whole),
        case!(appends_up_to_max_data_are_kept_and_beyond_are_refused),
    ]
}

async fn every_version_reads_back_whole(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (mut text, mut texts) = (String::new(), Vec::new());
    for n in 1..=150u64 {
        let piece = format!("step {n}; ");
        ensure_eq(
            shelf.write(append("k", &piece)).await?,
            n,
            "the version of an append",
        )?;
        text.push_str(&piece);
        texts.push(text.clone());
    }
    for (place, text) in texts.iter().enumerate() {
        let record = shelf
            .state
            .read_version(&key("k"), place as u64 + 1)
            .await?;
        ensure_eq(
            &record.data[..],
            text.as_bytes(),
            "the content of a version",
        )?;
    }
    shelf.reads("k", Some(&format!("150 {text}"))).await
}

async fn an_append_to_nothing_begins_with_bytes(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(append("k", "a")).await?;
    let record = shelf.live("k").await?;
    ensure_eq(record.content_type, ContentType::BYTES, "the content type")?;
    ensure_eq(record.schema, None, "the schema")?;
    ensure_eq(record.expires_at, None, "expires_at")?;
    ensure_eq(&record.data[..], b"a", "the content")
}

async fn an_append_after_a_delete_begins_anew(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("k", "old"), delete("k"), append("k", "new")])
        .await?;
    shelf
        .story_is("k", &["3 new", "2 deleted", "1 old"])
        .await?;
    let record = shelf.live("k").await?;
    ensure_eq(record.content_type, ContentType::BYTES, "the content type")
}

async fn an_append_keeps_type_schema_and_expiry(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let operation = Operation::Put {
        data: "a".into(),
        content_type: ContentType::JSON,
        schema: Some("s".into()),
        ttl: Some(LONG),
    };
    shelf
        .write(Write {
            key: key("k"),
            operation,
            precondition: Precondition::None,
        })
        .await?;
    let before = shelf.live("k").await?;
    shelf
        .write_all([append("k", "b"), append("k", "c")])
        .await?;
    let after = shelf.live("k").await?;
    ensure(before.expires_at.is_some(), "the record has a ttl")?;
    ensure_eq(
        (after.content_type, after.schema, after.expires_at),
        (before.content_type, before.schema, before.expires_at),
        "what an append keeps",
    )?;
    ensure_eq(&after.data[..], b"abc", "the content")
}

async fn an_empty_append_is_a_version(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([append("k", ""), append("k", "a"), append("k", "")])
        .await?;
    shelf.story_is("k", &["3 a", "2 a", "1 "]).await
}

async fn an_append_may_split_a_character(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for byte in "🦀".bytes() {
        shelf
            .state
            .append(&key("k"), Bytes::from(vec![byte]))
            .await?;
    }
    shelf.reads("k", Some("4 🦀")).await
}

async fn appends_go_on_after_a_put(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([
            append("k", "a"),
            append("k", "b"),
            put("k", "c"),
            append("k", "d"),
        ])
        .await?;
    shelf.story_is("k", &["4 cd", "3 c", "2 ab", "1 a"]).await
}

async fn appends_go_on_after_a_rollback(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let back = Write::rollback(key("k"), RollbackTo::Version(2));
    let appends = ["a", "b", "c"].map(|text| append("k", text));
    shelf.write_all(appends).await?;
    shelf.write_all([back, append("k", "d")]).await?;
    shelf
        .story_is("k", &["5 abd", "4 ab", "3 abc", "2 ab", "1 a"])
        .await
}

async fn a_history_of_appends_reads_back_whole(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all(["a", "b", "c", "d"].map(|text| append("k", text)))
        .await?;
    shelf
        .story_is("k", &["4 abcd", "3 abc", "2 ab", "1 a"])
        .await
}

async fn appends_up_to_max_data_are_kept_and_beyond_are_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (k, most) = (key("k"), shelf.state.capability().max_data);
    let first = Bytes::from(vec![1; most - 3]);
    shelf
        .state
        .put(&k, first, ContentType::BYTES, Precondition::None)
        .await?;
    expect_limit(shelf.state.write(append("k", "wxyz")).await, "max_data")?;
    ensure_eq(
        shelf.write(append("k", "xyz")).await?,
        2,
        "the version that fills it",
    )?;
    expect_limit(shelf.state.write(append("k", "!")).await, "max_data")?;
    let record = shelf.live("k").await?;
    ensure_eq(
        (record.version, record.data.len()),
        (2, most),
        "version and size",
    )?;
    ensure(
        record.data.ends_with(b"\x01xyz"),
        "the content ends with what was appended",
    )
}
