//! Mailboxes in a file, over the end of their process.

use std::time::Duration;

use rusqlite::Connection;
use statehouse_contracts::{ErrorKind, Message, Receive};
use statehouse_messaging::Mailboxes;

use crate::world::*;

async fn bodies(mail: &Mailboxes, agent: &str) -> Vec<String> {
    let all = mail.receive(agent, Receive::new(100, Duration::ZERO)).await;
    let all = all.unwrap();
    let bodies = all.iter().map(|got| body(got.message()).to_owned());
    bodies.collect()
}

/// What was in flight was lost for all until a restart of the whole.
#[tokio::test]
async fn bb4_what_a_killed_process_had_comes_to_another() {
    if let Some(path) = is_child() {
        let mail = mail(&open(&path, "").await, impatient()).await;
        let _held = wait_for(&mail, "a").await;
        done_and_waiting(&path).await;
    }
    let disk = Disk::new();
    let mail = mail(&disk.open().await, impatient()).await;
    send(&mail, "a", "x").await;
    let name = "restart::bb4_what_a_killed_process_had_comes_to_another";
    Process::start(name, &disk).await.kill();
    let got = wait_for(&mail, "a").await;
    assert_eq!((body(got.message()), got.delivery.attempt), ("x", 2));
    mail.messenger().ack(&got).await.unwrap();
    assert!(take(&mail, "a").await.is_none());
}

/// What was in flight at the end came back last: 0 1 2 3 4 as 2 3 4 0 1.
#[tokio::test]
async fn bb5_a_killed_process_leaves_the_order() {
    if let Some(path) = is_child() {
        let mail = mail(&open(&path, "").await, impatient()).await;
        for n in 0..5 {
            send(&mail, "a", &n.to_string()).await;
        }
        let _held = mail.receive("a", Receive::new(2, WAIT)).await.unwrap();
        done_and_waiting(&path).await;
    }
    let disk = Disk::new();
    let name = "restart::bb5_a_killed_process_leaves_the_order";
    Process::start(name, &disk).await.kill();
    let mail = mail(&disk.open().await, impatient()).await;
    until_ready(&mail, "a", 5).await;
    assert_eq!(bodies(&mail, "a").await, ["0", "1", "2", "3", "4"]);
}

/// The same when it is closed in good order.
#[tokio::test]
async fn bb5_a_closed_process_leaves_the_order() {
    let disk = Disk::new();
    let backend = disk.open().await;
    let before = mail(&backend, impatient()).await;
    for n in 0..5 {
        send(&before, "a", &n.to_string()).await;
    }
    let held = before.receive("a", Receive::new(2, WAIT)).await.unwrap();
    assert_eq!(held.len(), 2);
    backend.close().await.unwrap();
    let mail = mail(&disk.open().await, impatient()).await;
    until_ready(&mail, "a", 5).await;
    assert_eq!(bodies(&mail, "a").await, ["0", "1", "2", "3", "4"]);
}

/// A second message of the same id was accepted, lived in memory, and was gone after a restart.
#[tokio::test]
async fn bb7_an_id_that_is_taken_is_told_also_after_a_restart() {
    let disk = Disk::new();
    let backend = disk.open().await;
    let before = mail(&backend, eager()).await;
    let first = before.letter("a", text("first"));
    let other = Message {
        payload: text("second"),
        ..first.clone()
    };
    before.send(first.clone()).await.unwrap();
    let refused = before.send(other.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(before.status("a").await.unwrap().counts.ready, 1);
    backend.close().await.unwrap();

    let after = mail(&disk.open().await, eager()).await;
    let refused = after.send(other).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let repeated = after.send(first.clone()).await.unwrap();
    assert_eq!(repeated.duplicate_of, Some(first.id));
    assert_eq!(bodies(&after, "a").await, ["first"]);
}

/// Sends and finishes 300 messages of 2 KiB: most are acknowledged, some dead letters that are
/// deleted, some expire.
async fn finish_some(disk: &Disk) {
    let backend = open(&disk.path(), "?synchronous=normal").await;
    let mail = mail(&backend, eager()).await;
    for n in 0..300 {
        let ttl = (n % 3 == 0).then_some(Duration::from_millis(1));
        let letter = Message {
            ttl,
            ..mail.letter("a", text(format!("{n:>2048}")))
        };
        mail.send(letter).await.unwrap();
    }
    while let Some(got) = take(&mail, "a").await {
        match got.message().bytes().ends_with(b"7") {
            true => mail.messenger().dead_letter(&got, "no").await.unwrap(),
            false => mail.messenger().ack(&got).await.unwrap(),
        }
    }
    mail.purge_dead_letters("a").await.unwrap();
    until_ready(&mail, "a", 0).await;
    backend.close().await.unwrap();
}

/// Rows of what was acknowledged, failed or expired were never deleted: the file only grew.
#[tokio::test]
async fn bb8_the_file_keeps_nothing_of_what_is_finished() {
    let disk = Disk::new();
    finish_some(&disk).await;
    let once = disk.size();
    for _ in 0..5 {
        finish_some(&disk).await;
    }
    let grown = disk.size().saturating_sub(once);
    let sent = 5 * 300 * 2048;
    assert!(
        grown < sent / 4,
        "{grown} bytes more after {sent} were sent"
    );
}

/// A file that could not be written was a line in the log: the caller went on, and memory and disk
/// were of two minds.
#[tokio::test]
async fn bb11_a_store_that_fails_is_told_and_nothing_is_lost() {
    let disk = Disk::new();
    let backend = open(&disk.path(), "?busy_timeout=50ms").await;
    let mail = mail(&backend, eager()).await;
    for body in ["1", "2"] {
        send(&mail, "a", body).await;
    }
    let held = take(&mail, "a").await.unwrap();
    let other = Connection::open(disk.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = [
        mail.messenger().ack(&held).await.unwrap_err(),
        mail.receive_one("a", Duration::ZERO).await.unwrap_err(),
        mail.send(mail.letter("a", text("3"))).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    let counts = mail.status("a").await.unwrap().counts;
    assert_eq!((counts.ready, counts.in_flight), (1, 1));
    mail.messenger().ack(&held).await.unwrap();
    backend.close().await.unwrap();
    let after = crate::world::mail(&disk.open().await, eager()).await;
    assert_eq!(bodies(&after, "a").await, ["2"], "neither lost nor doubled");
}

/// The working copy was in the memory of one process: a second one had a queue of its own.
#[tokio::test]
async fn bb11_two_processes_share_a_mailbox() {
    if let Some(path) = is_child() {
        let mail = mail(&open(&path, "").await, eager()).await;
        for _ in 0..10 {
            let got = wait_for(&mail, "a").await;
            mail.messenger().ack(&got).await.unwrap();
        }
        send(&mail, "b", "from the other").await;
        done_and_waiting(&path).await;
    }
    let disk = Disk::new();
    let mail = mail(&disk.open().await, eager()).await;
    for n in 0..20 {
        send(&mail, "a", &n.to_string()).await;
    }
    let name = "restart::bb11_two_processes_share_a_mailbox";
    let other = Process::start(name, &disk).await;
    assert_eq!(body(wait_for(&mail, "b").await.message()), "from the other");
    let left: Vec<String> = (10..20).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&mail, "a").await, left);
    other.kill();
}

/// A row that could not be parsed was skipped at each start, for ever, and nobody was told.
#[tokio::test]
async fn bb11_a_row_that_cannot_be_read_is_a_dead_letter() {
    let disk = Disk::new();
    let backend = disk.open().await;
    let before = mail(&backend, eager()).await;
    for body in ["damaged", "whole"] {
        send(&before, "a", body).await;
    }
    backend.close().await.unwrap();
    let file = Connection::open(disk.path()).unwrap();
    let damage = "UPDATE queue_message SET meta = x'00' \
                  WHERE seq = (SELECT min(seq) FROM queue_message)";
    assert_eq!(file.execute(damage, ()).unwrap(), 1);
    let mail = mail(&disk.open().await, eager()).await;
    let whole = wait_for(&mail, "a").await;
    assert_eq!(body(whole.message()), "whole");
    let dead = mail.dead_letters("a").await.unwrap().remove(0);
    assert!(dead.reason.starts_with("unreadable"), "{}", dead.reason);
    assert_eq!(
        body(&dead.received.message),
        "damaged",
        "what is left of it"
    );
}
