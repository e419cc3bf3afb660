//! Transactions of many callers that travel together: each does what it would do alone.

use std::process::ExitCode;
use std::time::Duration;

use futures::future::join_all;
use statehouse_contracts::{
    Applied, ChangeData, ContentType, Cursor, Endpoint, Error, ErrorKind, Factory, HistoryQuery,
    OpId, Operation, Precondition, Record, Result, Scope, StateKey, StateManager, StateManagerExt,
    Tombstone, Transaction, Write,
};
use statehouse_dragonfly::DragonflyFactory;
use statehouse_integration_tests::{Outcome, Server, Service, Tests, cases};

fn main() -> ExitCode {
    Tests::of_adapter("dragonfly")
        .with(cases![
            each_does_what_it_would_do_alone,
            each_names_the_keys_it_touches,
        ])
        .main()
}

const HOUR: Duration = Duration::from_secs(3600);

/// Where, among those that set out at once, stands the one that is refused.
const REFUSED: usize = 7;

async fn each_does_what_it_would_do_alone(service: &'static Service) -> Outcome {
    together(service, "check_keys=false").await
}

async fn each_names_the_keys_it_touches(service: &'static Service) -> Outcome {
    together(service, "check_keys=true").await
}

async fn together(service: &'static Service, option: &str) -> Outcome {
    let url = Server::shared(service).await?.url();
    let sign = if url.contains('?') { '&' } else { '?' };
    let endpoint = Endpoint::parse(&format!("{url}{sign}{option}"))?;
    let backend = DragonflyFactory.open(&endpoint).await?;
    let namespace = format!("together-{:08x}", fastrand::u32(..));
    let scope = Scope::parse(&namespace, "tester")?;
    let state = backend.state(&scope).await?;
    travel(&*state).await?;
    Ok(backend.close().await?)
}

fn key(id: &str) -> StateKey {
    StateKey::parse("note", id).expect("a valid key")
}

fn put(id: &str, text: &str) -> Write {
    Write::put(key(id), text.to_owned(), ContentType::TEXT)
}

fn for_an_hour(id: &str, text: &str) -> Write {
    let mut write = put(id, text);
    if let Operation::Put { ttl, .. } = &mut write.operation {
        *ttl = Some(HOUR);
    }
    write
}

/// What is there before.
fn earlier() -> Vec<Write> {
    vec![
        put("revived", "a"),
        Write::delete(key("revived")),
        put("doomed", "a"),
        for_an_hour("renewed", "a"),
    ]
}

/// The first sets out alone; the others wait meanwhile, and travel in one script.
fn at_once() -> Vec<Transaction> {
    let of = Transaction::of;
    let known = Transaction {
        op_id: Some(OpId::new("once").expect("a valid op_id")),
        ..of(put("known", "d"))
    };
    let several = Transaction {
        writes: vec![
            put("one", "g"),
            Write::append(key("two"), "h"),
            Write::delete(key("doomed")),
            Write::check(key("lone"), Precondition::Version(2)),
        ],
        ..Transaction::default()
    };
    vec![
        of(put("first", "a")),
        of(put("lone", "b")),
        of(put("lone", "c").when(Precondition::Version(1))),
        known,
        of(for_an_hour("lapsing", "e")),
        of(put("revived", "f")),
        several,
        of(put("lone", "no").when(Precondition::Absent)),
        of(put("renewed", "i")),
        of(put("lone", "j")),
    ]
}

async fn travel(state: &dyn StateManager) -> Outcome {
    for write in earlier() {
        state.apply(Transaction::of(write)).await?;
    }
    let head = state.head().await?;
    // All are called before any of them is answered.
    let calls = at_once().into_iter().map(|each| state.apply(each));
    let mut answers: Vec<Result<Applied>> = join_all(calls).await;
    let refused = answers.remove(REFUSED).expect_err("it is there");
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    let conflict = &refused.conflict_list()[0];
    assert_eq!(conflict.key, key("lone"));
    assert_eq!((conflict.current, conflict.live), (2, true));
    let applied: Vec<Applied> = answers.into_iter().collect::<Result<_>>()?;

    let versions: Vec<&[u64]> = applied.iter().map(|each| &each.versions[..]).collect();
    let expected: [&[u64]; 9] = [
        &[1],
        &[1],
        &[2],
        &[1],
        &[1],
        &[3],
        &[1, 1, 2, 2],
        &[2],
        &[3],
    ];
    assert_eq!(versions, expected);
    let first = applied[0].commit;
    let commits: Vec<u64> = applied.iter().map(|each| each.commit - first).collect();
    assert_eq!(commits, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    // A script has one time, to the microsecond.
    let at = applied[1].at;
    assert!(applied[0].at < at, "the first travels alone");
    assert!(
        applied[1..].iter().all(|each| each.at == at),
        "the others travel together: {applied:?}"
    );

    contents(state, &applied[1]).await?;
    changes(state, &head, &applied[1]).await?;
    let again = state.apply(at_once().swap_remove(3)).await?;
    assert!(again.replayed);
    assert_eq!((again.commit, &again.versions[..]), (first + 3, &[1][..]));
    Ok(())
}

fn line(record: &Record) -> String {
    let says = match record.tombstone {
        None => String::from_utf8_lossy(&record.data).into_owned(),
        Some(Tombstone::Deleted) => "deleted".to_owned(),
        Some(Tombstone::Expired) => "expired".to_owned(),
    };
    format!("{} {says}", record.version)
}

/// What each key holds, and held.
async fn contents(state: &dyn StateManager, together: &Applied) -> Outcome {
    let expected: [(&str, &[&str]); 9] = [
        ("first", &["1 a"]),
        ("lone", &["3 j", "2 c", "1 b"]),
        ("known", &["1 d"]),
        ("lapsing", &["1 e"]),
        ("revived", &["3 f", "2 deleted", "1 a"]),
        ("one", &["1 g"]),
        ("two", &["1 h"]),
        ("doomed", &["2 deleted", "1 a"]),
        ("renewed", &["2 i", "1 a"]),
    ];
    for (id, versions) in expected {
        let history = state.history(&key(id), HistoryQuery::default()).await?;
        let lines: Vec<String> = history.iter().map(line).collect();
        assert_eq!(lines, versions, "{id}");
        let current = state.get(&key(id)).await?;
        let live = (history[0].tombstone.is_none()).then(|| history[0].clone());
        assert_eq!(current, live, "{id}");
    }
    let get = async |id| {
        let record = state.get(&key(id)).await?;
        record.ok_or_else(|| Error::not_found("nothing is there"))
    };
    let at = together.at;
    assert_eq!(get("lapsing").await?.expires_at, Some(at + HOUR));
    let renewed = get("renewed").await?;
    assert_eq!((renewed.expires_at, renewed.updated_at), (None, at));
    assert!(renewed.created_at < at, "it lived before");
    assert_eq!(get("revived").await?.created_at, at, "it lives again");
    assert_eq!(get("one").await?.content_type, ContentType::TEXT);
    assert_eq!(get("two").await?.content_type, ContentType::BYTES);
    Ok(())
}

/// The change log tells each write, in the order of the commits.
async fn changes(state: &dyn StateManager, head: &Cursor, together: &Applied) -> Outcome {
    let page = state.changes(head, 0, Duration::ZERO).await?;
    let mut told = Vec::new();
    for change in &page.changes {
        let content = match change.content.as_ref().map(|content| &content.data) {
            Some(ChangeData::Whole(data) | ChangeData::Appended(data)) => {
                String::from_utf8_lossy(data).into_owned()
            }
            None => "nothing".to_owned(),
        };
        let commit = change.commit + 1 - together.commit;
        let (operation, id, version) = (change.operation, &change.key.id, change.version);
        told.push(format!("{commit} {operation:?} {id} {version} {content}"));
        assert!(commit == 0 || change.at == together.at, "{change:?}");
        let op_id = change.op_id.as_ref().map(|op_id| op_id.as_str());
        assert_eq!(op_id, (commit == 3).then_some("once"), "{change:?}");
    }
    let expected = [
        "0 Put first 1 a",
        "1 Put lone 1 b",
        "2 Put lone 2 c",
        "3 Put known 1 d",
        "4 Put lapsing 1 e",
        "5 Put revived 3 f",
        "6 Put one 1 g",
        "6 Append two 1 h",
        "6 Delete doomed 2 nothing",
        "7 Put renewed 2 i",
        "8 Put lone 3 j",
    ];
    assert_eq!(told, expected);
    Ok(())
}
