//! What a record holds.

use bytes::Bytes;
use statehouse_contracts::{
    ContentType, ErrorKind, Operation, Precondition, StateManagerExt, Write,
};

use crate::case::case;
use crate::cases::shelf::{Shelf, key, key_of, put};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(an_unknown_key_is_absent),
        case!(any_bytes_come_back_as_they_were),
        case!(empty_content_is_content),
        case!(type_and_schema_come_back_as_they_were),
        case!(a_put_replaces_the_whole_record),
        case!(get_many_answers_in_the_order_asked),
        case!(get_many_of_no_keys_is_empty),
        case!(a_handle_reads_what_it_wrote),
        case!(content_of_max_data_is_kept),
        case!(content_beyond_max_data_is_refused),
        case!(a_schema_beyond_its_limit_is_refused),
    ]
}

fn typed(id: &str, data: Bytes, content_type: &str, schema: Option<&str>) -> Write {
    let operation = Operation::Put {
        data,
        content_type: ContentType::new(content_type)
            .unwrap_or_else(|error| panic!("content type {content_type:?} of a case: {error}")),
        schema: schema.map(str::to_owned),
        ttl: None,
    };
    Write {
        key: key(id),
        operation,
        precondition: Precondition::None,
    }
}

async fn an_unknown_key_is_absent(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.reads("k", None).await
}

async fn any_bytes_come_back_as_they_were(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let data: Bytes = (0..=255).cycle().take(70_000).collect();
    shelf
        .state
        .put(
            &key("k"),
            data.clone(),
            ContentType::BYTES,
            Precondition::None,
        )
        .await?;
    ensure(
        shelf.live("k").await?.data == data,
        "the bytes come back as they were",
    )
}

async fn empty_content_is_content(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    ensure_eq(
        shelf.write(put("k", "")).await?,
        1,
        "the version of empty content",
    )?;
    let record = shelf.live("k").await?;
    ensure_eq(record.tombstone, None, "the tombstone of a live record")?;
    ensure(record.data.is_empty(), "the content is empty")
}

async fn type_and_schema_come_back_as_they_were(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let schema = "https://example.org/schéma/🦀?v=1";
    shelf
        .write(typed(
            "k",
            "{}".into(),
            "application/vnd.x+json; v=2",
            Some(schema),
        ))
        .await?;
    let record = shelf.live("k").await?;
    ensure_eq(
        record.content_type.as_str(),
        "application/vnd.x+json; v=2",
        "the content type",
    )?;
    ensure_eq(record.schema.as_deref(), Some(schema), "the schema")?;
    ensure_eq(record.expires_at, None, "expires_at without a ttl")
}

async fn a_put_replaces_the_whole_record(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write(typed("k", "{}".into(), "application/json", Some("s")))
        .await?;
    shelf.write(put("k", "text")).await?;
    let record = shelf.live("k").await?;
    ensure_eq(record.content_type, ContentType::TEXT, "the content type")?;
    ensure_eq(record.schema, None, "the schema of a put without one")?;
    let first = shelf.state.read_version(&key("k"), 1).await?;
    ensure_eq(
        first.content_type,
        ContentType::JSON,
        "the content type of the first version",
    )?;
    ensure_eq(
        first.schema.as_deref(),
        Some("s"),
        "the schema of the first version",
    )
}

async fn get_many_answers_in_the_order_asked(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("a", "1"), put("b", "2"), put("c", "3")])
        .await?;
    shelf.state.delete(&key("b"), Precondition::None).await?;
    let keys = ["c", "nothing", "b", "a", "c"].map(key);
    let got = shelf.state.get_many(&keys).await?;
    let texts: Vec<Option<String>> = got
        .iter()
        .map(|record| {
            record
                .as_ref()
                .map(|record| format!("{}={:?}", record.key, record.data))
        })
        .collect();
    let (a, c) = (Some("note/a=b\"1\""), Some("note/c=b\"3\""));
    let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
    ensure_eq(texts, [c, None, None, a, c], "the answers")
}

async fn get_many_of_no_keys_is_empty(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    ensure_eq(
        shelf.state.get_many(&[]).await?.len(),
        0,
        "the number of answers",
    )
}

async fn a_handle_reads_what_it_wrote(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for n in 0..50 {
        let (id, text) = (format!("k{}", n % 5), n.to_string());
        shelf.write(put(&id, &text)).await?;
        ensure_eq(
            shelf.live(&id).await?.data,
            text.as_bytes(),
            "what was just written",
        )?;
    }
    Ok(())
}

async fn content_of_max_data_is_kept(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let data = Bytes::from(vec![7; shelf.state.capability().max_data]);
    let k = key_of("large", "k");
    shelf
        .state
        .put(&k, data.clone(), ContentType::BYTES, Precondition::None)
        .await?;
    let record = shelf.state.get(&k).await?;
    ensure(
        record.is_some_and(|record| record.data == data),
        "the content comes back whole",
    )
}

async fn content_beyond_max_data_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let data = Bytes::from(vec![7; shelf.state.capability().max_data + 1]);
    let put = shelf
        .state
        .put(&key("k"), data, ContentType::BYTES, Precondition::None)
        .await;
    expect_limit(put, "max_data")?;
    shelf.story_is("k", &[]).await
}

async fn a_schema_beyond_its_limit_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let longest = "s".repeat(1024);
    shelf
        .write(typed("k", "a".into(), "text/plain", Some(&longest)))
        .await?;
    let beyond = typed("k", "b".into(), "text/plain", Some(&"s".repeat(1025)));
    expect_kind(shelf.state.write(beyond).await, ErrorKind::InvalidArgument)?;
    ensure_eq(
        shelf.live("k").await?.schema,
        Some(longest),
        "the longest schema",
    )
}
