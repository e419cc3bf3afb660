//! Keys and namespaces.

use statehouse_contracts::{OpId, StateKey, StateManagerExt, Transaction};

use crate::case::case;
use crate::cases::shelf::{Shelf, delete, key, key_of, notes, put, transaction};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(each_id_is_a_key_of_its_own),
        case!(an_id_of_each_kind_is_a_key_of_its_own),
        case!(the_longest_names_are_kept),
        case!(namespaces_see_no_record_of_each_other),
        case!(namespaces_see_no_change_of_each_other),
        case!(an_op_id_is_of_its_namespace_only),
        case!(handles_of_one_namespace_see_the_same),
        case!(a_namespace_that_holds_something_is_listed),
    ]
}

/// Ids that a careless backend takes for each other, or for something else.
const IDS: [&str; 20] = [
    "a", "A", "a ", " a", "a/b", "a/b/", "/", "a//b", "..", "*", "%", "_", "a'b\"c", "\\", "é",
    "e\u{301}", "🦀", "a:b", "{a}", "null",
];

async fn each_id_is_a_key_of_its_own(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for id in IDS {
        ensure_eq(
            shelf.write(put(id, id)).await?,
            1,
            &format!("the first version of {id:?}"),
        )?;
    }
    for id in IDS {
        shelf.reads(id, Some(&format!("1 {id}"))).await?;
    }
    let keys: Vec<StateKey> = IDS.into_iter().map(key).collect();
    let got = shelf.state.get_many(&keys).await?;
    let found: Vec<StateKey> = got.into_iter().flatten().map(|record| record.key).collect();
    ensure_eq(found, keys, "the keys of the records read")?;
    shelf.write(delete("a")).await?;
    ensure_eq(
        shelf.ids(notes()).await?.len(),
        IDS.len() - 1,
        "what is left after one delete",
    )
}

async fn an_id_of_each_kind_is_a_key_of_its_own(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let keys = ["task", "agent", "Task", "lifecycle", "shared", "a.b-c_D"].map(|k| key_of(k, "1"));
    for k in &keys {
        let text = k.to_string();
        let put = shelf
            .state
            .put(k, text.into(), Default::default(), Default::default())
            .await?;
        ensure_eq(put, 1, "the first version")?;
    }
    for record in shelf.state.get_many(&keys).await? {
        let record = crate::some(record, "record")?;
        ensure_eq(
            &record.data[..],
            record.key.to_string().as_bytes(),
            "the content",
        )?;
    }
    Ok(())
}

async fn the_longest_names_are_kept(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (kind, id) = ("k".repeat(80), "🦀".repeat(128));
    let twin = format!("{}a", "🦀".repeat(127));
    let (long, other) = (key_of(&kind, &id), key_of(&kind, &twin));
    shelf
        .state
        .put(&long, "a".into(), Default::default(), Default::default())
        .await?;
    let got = shelf.state.get_many(&[long.clone(), other]).await?;
    let keys: Vec<Option<StateKey>> = got.into_iter().map(|r| r.map(|r| r.key)).collect();
    ensure_eq(keys, [Some(long), None], "the keys read")
}

async fn both(cx: &Context) -> Result<(Shelf, Shelf), Failure> {
    let elsewhere = Shelf::on(cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    Ok((Shelf::new(cx).await?, elsewhere))
}

async fn namespaces_see_no_record_of_each_other(cx: Context) -> Outcome {
    let (here, there) = both(&cx).await?;
    here.write_all([put("k", "a"), put("k", "b"), put("l", "c")])
        .await?;
    there.reads("k", None).await?;
    there.story_is("k", &[]).await?;
    ensure(
        there.ids(notes()).await?.is_empty(),
        "the other namespace lists nothing",
    )?;
    ensure_eq(
        there.write(put("k", "z")).await?,
        1,
        "the first version in the other namespace",
    )?;
    there.write(delete("l")).await?;
    here.reads("k", Some("2 b")).await?;
    here.reads("l", Some("1 c")).await
}

async fn namespaces_see_no_change_of_each_other(cx: Context) -> Outcome {
    let (here, there) = both(&cx).await?;
    let (head, other_head) = (here.state.head().await?, there.state.head().await?);
    for n in 0..5 {
        here.write(put("mine", &n.to_string())).await?;
        there.write(put("theirs", &n.to_string())).await?;
    }
    let mine = [
        "put mine 1",
        "put mine 2",
        "put mine 3",
        "put mine 4",
        "put mine 5",
    ];
    here.changes_are(&head, &mine).await?;
    let theirs = mine.map(|told| told.replace("mine", "theirs"));
    let theirs: Vec<&str> = theirs.iter().map(String::as_str).collect();
    there.changes_are(&other_head, &theirs).await
}

async fn an_op_id_is_of_its_namespace_only(cx: Context) -> Outcome {
    let (here, there) = both(&cx).await?;
    let op_id = Some(OpId::random());
    for (shelf, text) in [(&here, "a"), (&there, "b")] {
        let transaction = Transaction {
            op_id: op_id.clone(),
            ..transaction([put("k", text)])
        };
        let applied = shelf.state.apply(transaction).await?;
        ensure_eq(
            applied.replayed,
            false,
            "replayed of the first in its namespace",
        )?;
        shelf.reads("k", Some(&format!("1 {text}"))).await?;
    }
    Ok(())
}

async fn handles_of_one_namespace_see_the_same(cx: Context) -> Outcome {
    let (one, two) = (Shelf::new(&cx).await?, Shelf::new(&cx).await?);
    one.write(put("k", "a")).await?;
    two.reads("k", Some("1 a")).await?;
    ensure_eq(
        two.write(put("k", "b")).await?,
        2,
        "the version by the other handle",
    )?;
    one.reads("k", Some("2 b")).await?;
    one.state.close().await?;
    two.reads("k", Some("2 b")).await
}

async fn a_namespace_that_holds_something_is_listed(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    let namespaces = cx.backend().await?.namespaces().await?;
    ensure(
        namespaces.contains(&cx.scope().namespace),
        "the namespace is listed",
    )?;
    ensure(namespaces.is_sorted(), "namespaces are listed in order")
}
