//! All or nothing.

use statehouse_contracts::{
    ErrorKind, Message, MessageDelivery, Payload, Precondition, RollbackTo, Topic, Transaction,
    Write,
};

use crate::case::case;
use crate::cases::shelf::{Shelf, append, delete, key, key_of, put, transaction};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(all_writes_are_of_one_commit),
        case!(later_commits_have_larger_numbers),
        case!(an_empty_transaction_commits_nothing),
        case!(a_failed_write_refuses_the_whole),
        case!(a_failed_check_refuses_the_whole),
        case!(a_failed_rollback_refuses_the_whole),
        case!(a_check_that_holds_writes_nothing),
        case!(one_key_twice_is_refused),
        case!(one_id_of_two_kinds_is_two_keys),
        case!(a_transaction_of_max_writes_is_applied),
        case!(a_transaction_beyond_max_writes_is_refused),
        case!(a_message_beyond_its_limits_refuses_the_whole),
        case!(local_delivery_is_refused).state(|c| !c.deliver_local),
    ]
}

fn message(text: &str) -> Result<Message, Failure> {
    Ok(Message::new(Topic::new("t")?, Payload::text(text)))
}

/// The transaction must be refused so, and leave nothing at all.
async fn leaves_nothing(shelf: &Shelf, transaction: Transaction, kind: ErrorKind) -> Outcome {
    let head = shelf.state.head().await?;
    let ids: Vec<String> = transaction
        .writes
        .iter()
        .map(|w| w.key.id.to_string())
        .collect();
    let mut before = Vec::new();
    for id in &ids {
        before.push(shelf.history(id).await?);
    }
    expect_kind(shelf.state.apply(transaction).await, kind)?;
    for (id, before) in ids.iter().zip(before) {
        ensure_eq(
            shelf.history(id).await?,
            before,
            &format!("the history of {id:?}"),
        )?;
    }
    shelf.changes_are(&head, &[]).await?;
    ensure_eq(
        shelf.state.outbox_depth().await?,
        0,
        "the depth of the outbox",
    )
}

async fn all_writes_are_of_one_commit(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("b", "1"), put("c", "1")]).await?;
    let head = shelf.state.head().await?;
    let applied = shelf
        .apply([append("b", "2"), delete("c"), put("a", "1")])
        .await?;
    ensure_eq(
        applied.versions,
        [2, 2, 1],
        "the versions, in the order of the writes",
    )?;
    let changes = shelf.changes(&head, 0).await?;
    ensure_eq(changes.len(), 3, "the number of changes")?;
    let one = changes
        .iter()
        .all(|c| c.commit == applied.commit && c.at == applied.at);
    ensure(one, "all changes are of the commit, at its time")
}

async fn later_commits_have_larger_numbers(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let mut commits = Vec::new();
    for n in 0..5 {
        commits.push(shelf.apply([put("k", &n.to_string())]).await?.commit);
    }
    ensure(
        commits.is_sorted_by(|a, b| a < b),
        "the numbers of commits grow",
    )
}

async fn an_empty_transaction_commits_nothing(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    let head = shelf.state.head().await?;
    let applied = shelf.apply([]).await?;
    ensure(applied.versions.is_empty(), "no write has no version")?;
    shelf.changes_are(&head, &[]).await
}

async fn a_failed_write_refuses_the_whole(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("a", "1"), put("b", "1"), put("c", "1")])
        .await?;
    let stale = Precondition::Version(7);
    let writes = [
        append("a", "2"),
        delete("b"),
        put("new", "1"),
        put("c", "2").when(stale),
    ];
    let transaction = Transaction {
        messages: vec![message("m")?],
        ..transaction(writes)
    };
    leaves_nothing(&shelf, transaction, ErrorKind::Conflict).await
}

async fn a_failed_check_refuses_the_whole(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("guard", "1")).await?;
    let check = Write::check(key("guard"), Precondition::Absent);
    let transaction = Transaction {
        messages: vec![message("m")?],
        ..transaction([put("a", "1"), check])
    };
    leaves_nothing(&shelf, transaction, ErrorKind::Conflict).await
}

async fn a_failed_rollback_refuses_the_whole(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "1")).await?;
    let back = Write::rollback(key("k"), RollbackTo::Previous);
    let transaction = Transaction {
        messages: vec![message("m")?],
        ..transaction([put("a", "1"), back])
    };
    leaves_nothing(&shelf, transaction, ErrorKind::NotFound).await
}

async fn a_check_that_holds_writes_nothing(cx: Context) -> Outcome {
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
    let checks = [
        Write::check(key("k"), Precondition::Version(2)),
        Write::check(key("gone"), Precondition::Absent),
        Write::check(key("never"), Precondition::Absent),
        Write::check(key("any"), Precondition::None),
    ];
    let applied = shelf.apply(checks).await?;
    ensure_eq(
        applied.versions,
        [2, 2, 0, 0],
        "the versions that are there",
    )?;
    shelf.changes_are(&head, &[]).await?;
    shelf.story_is("k", &["2 b", "1 a"]).await
}

async fn one_key_twice_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let check = Write::check(key("a"), Precondition::Absent);
    let pairs = [
        [put("a", "1"), put("a", "2")],
        [append("a", "1"), delete("a")],
        [check, put("a", "1")],
    ];
    for pair in pairs {
        leaves_nothing(&shelf, transaction(pair), ErrorKind::InvalidArgument).await?;
    }
    Ok(())
}

async fn one_id_of_two_kinds_is_two_keys(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let other = Write {
        key: key_of("other", "a"),
        ..put("a", "2")
    };
    let applied = shelf.apply([put("a", "1"), other]).await?;
    ensure_eq(applied.versions, [1, 1], "the versions")
}

fn many(count: usize) -> Transaction {
    transaction((0..count).map(|n| put(&format!("k{n}"), "a")))
}

async fn a_transaction_of_max_writes_is_applied(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let most = shelf.state.capability().max_writes;
    let messages = vec![message("m")?];
    let writes = many(most - 1).writes;
    let transaction = Transaction {
        writes,
        messages,
        ..Transaction::default()
    };
    let applied = shelf.state.apply(transaction).await?;
    ensure(
        applied.versions == vec![1; most - 1],
        "each write made version 1",
    )?;
    shelf.reads(&format!("k{}", most - 2), Some("1 a")).await
}

async fn a_transaction_beyond_max_writes_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let transaction = Transaction {
        messages: vec![message("m")?],
        ..many(shelf.state.capability().max_writes)
    };
    expect_limit(shelf.state.apply(transaction).await, "max_writes")?;
    shelf.reads("k0", None).await
}

async fn a_message_beyond_its_limits_refuses_the_whole(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let largest = shelf.state.capability().max_message;
    let too_large = Message::new(Topic::new("t")?, Payload::bytes(vec![0; largest + 1]));
    let reserved = Message {
        headers: [("statehouse-x".to_owned(), "1".to_owned())].into(),
        ..message("m")?
    };
    for bad in [too_large, reserved] {
        let transaction = Transaction {
            messages: vec![message("fine")?, bad],
            ..transaction([put("a", "1")])
        };
        leaves_nothing(&shelf, transaction, ErrorKind::InvalidArgument).await?;
    }
    Ok(())
}

async fn local_delivery_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let transaction = Transaction {
        messages: vec![message("m")?],
        delivery: MessageDelivery::Local,
        ..transaction([put("a", "1")])
    };
    leaves_nothing(&shelf, transaction, ErrorKind::Unsupported).await
}
