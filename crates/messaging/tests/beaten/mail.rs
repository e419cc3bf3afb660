//! Mailboxes that live as long as their process.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_contracts::{Backoff, ErrorKind, Message, MessageId, Priority, Result};
use statehouse_messaging::{AgentValidator, MailboxOptions, Mailboxes, UnknownAgent};

use crate::world::*;

/// What was in flight was lost until the next restart, whatever the comment said of a requeue.
#[tokio::test]
async fn bb4_what_is_not_settled_comes_back_while_the_process_lives() {
    let backend = memory().await;
    let mail = mail(&backend, impatient()).await;
    send(&mail, "a", "x").await;
    let lost = take(&mail, "a").await.unwrap();
    assert!(take(&mail, "a").await.is_none(), "it is lent");
    let again = wait_for(&mail, "a").await;
    assert_eq!(again.message().id, lost.message().id);
    assert_eq!(again.delivery.attempt, 2);
    let late = mail.messenger().ack(&lost).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::LeaseLost);
    mail.messenger().ack(&again).await.unwrap();
}

/// A message that failed went back to the head of the line at once, and everybody behind it
/// waited.
#[tokio::test]
async fn bb6_a_poison_message_holds_up_nobody() {
    let backend = memory().await;
    let mail = mail(&backend, MailboxOptions::default()).await;
    for body in ["poison", "1", "2"] {
        send(&mail, "a", body).await;
    }
    let poison = take(&mail, "a").await.unwrap();
    mail.messenger().nack(&poison, "no").await.unwrap();
    for expected in ["1", "2"] {
        let next = take(&mail, "a").await.unwrap();
        assert_eq!(body(next.message()), expected);
        mail.messenger().ack(&next).await.unwrap();
    }
    assert!(take(&mail, "a").await.is_none(), "it waits");
    assert_eq!(mail.status("a").await.unwrap().counts.delayed, 1);
}

/// There was no wait before a retry.
#[tokio::test]
async fn bb6_the_wait_before_a_retry_grows() {
    let backend = memory().await;
    let options = MailboxOptions {
        backoff: Backoff {
            initial: Duration::from_millis(50),
            factor: 3,
            max: WAIT,
            jitter: false,
        },
        ..MailboxOptions::default()
    };
    let mail = mail(&backend, options).await;
    send(&mail, "a", "x").await;
    for wait in [0, 50, 150].map(Duration::from_millis) {
        let failed = Instant::now();
        let got = wait_for(&mail, "a").await;
        // Within the grain of the store's clock.
        let waited = failed.elapsed() + Duration::from_millis(5);
        assert!(waited >= wait, "{waited:?} before {wait:?} had passed");
        mail.messenger().nack(&got, "no").await.unwrap();
    }
}

/// What had failed too often was a row of status 3: no dead letter to look at, no way back.
#[tokio::test]
async fn bb6_what_failed_too_often_is_a_dead_letter_and_can_come_back() {
    let backend = memory().await;
    let mail = mail(&backend, eager()).await;
    send(&mail, "a", "poison").await;
    for attempt in 1..=4 {
        let got = take(&mail, "a").await.unwrap();
        let failure = format!("failure {attempt}");
        mail.messenger().nack(&got, failure).await.unwrap();
    }
    assert!(take(&mail, "a").await.is_none());
    let dead = mail.dead_letters("a").await.unwrap().remove(0);
    assert_eq!(body(&dead.received.message), "poison");
    assert_eq!((dead.reason.as_str(), dead.attempts), ("max_deliveries", 4));
    assert_eq!(dead.errors.last().unwrap().error, "failure 4");

    let id = Some(dead.received.message.id);
    assert_eq!(mail.redrive("a", id).await.unwrap(), 1);
    let again = take(&mail, "a").await.unwrap();
    assert_eq!(again.delivery.attempt, 1);
    mail.messenger().ack(&again).await.unwrap();
    assert_eq!(mail.dead_letters("a").await.unwrap(), []);
}

/// The scan for the next message began below priority -9999, and what was less urgent never came.
#[tokio::test]
async fn b21_the_least_urgent_comes_too() {
    let backend = memory().await;
    let mail = mail(&backend, MailboxOptions::default()).await;
    for priority in [0, 9, 4] {
        let letter = Message {
            priority: Priority::new(priority).unwrap(),
            ..mail.letter("a", text(priority.to_string()))
        };
        mail.send(letter).await.unwrap();
    }
    for expected in ["9", "4", "0"] {
        assert_eq!(body(take(&mail, "a").await.unwrap().message()), expected);
    }
    assert!(Priority::new(10).is_err(), "a priority beyond is refused");
}

/// Ids were nanoseconds of a clock: two messages of one moment were one row.
#[test]
fn bb7_ids_of_one_moment_differ() {
    let made = || (0..20_000).map(|_| message("t", text("")).id).collect();
    let ids: Vec<HashSet<MessageId>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(made)).collect();
        let made = threads.into_iter().map(|thread| thread.join().unwrap());
        made.collect()
    });
    let all: HashSet<&MessageId> = ids.iter().flatten().collect();
    assert_eq!(all.len(), 4 * 20_000);
}

/// A hundred of a hundred expired messages stayed in memory.
#[tokio::test]
async fn bb8_nothing_stays_of_what_expired() {
    let backend = memory().await;
    let mail = mail(&backend, MailboxOptions::default()).await;
    let ids = (0..100).map(|_| Message {
        ttl: Some(Duration::from_millis(20)),
        ..mail.letter("a", text("soon gone"))
    });
    for letter in ids.collect::<Vec<_>>() {
        mail.send(letter).await.unwrap();
    }
    until_ready(&mail, "a", 0).await;
    let status = mail.status("a").await.unwrap();
    assert_eq!((status.counts.expired, status.counts.dead), (100, 0));
    assert_eq!(
        (mail.pending("a", 200).await.unwrap(), status.oldest),
        (vec![], None)
    );
}

/// Taking a message looked at all that waited: at 10,000 it took seven times as long as at 1,000.
#[tokio::test]
async fn bb8_taking_does_not_get_slower_with_what_waits() {
    let backend = memory().await;
    let mail = mail(&backend, MailboxOptions::default()).await;
    let fill = async |agent: &str, waiting: usize| {
        for _ in 0..waiting {
            send(&mail, agent, "x").await;
        }
    };
    fill("few", 100).await;
    fill("many", 20_000).await;
    let (few, many) = (fastest(&mail, "few").await, fastest(&mail, "many").await);
    assert!(many < few * 20, "{many:?} of 20,000, {few:?} of 100");
}

/// The fastest of fifty messages that are taken and acknowledged.
async fn fastest(mail: &Mailboxes, agent: &str) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..50 {
        let begun = Instant::now();
        let got = take(mail, agent).await.unwrap();
        mail.messenger().ack(&got).await.unwrap();
        fastest = fastest.min(begun.elapsed());
    }
    fastest
}

/// Knows one agent.
#[derive(Debug)]
struct Known;

#[async_trait]
impl AgentValidator for Known {
    async fn exists(&self, agent: &str) -> Result<bool> {
        Ok(agent == "known")
    }
}

/// A validator could be set, and no send asked it.
#[tokio::test]
async fn bb9_the_validator_is_asked() {
    let backend = memory().await;
    let with = async |unknown| {
        let options = MailboxOptions {
            unknown,
            ..MailboxOptions::default()
        };
        Mailboxes::with_validator(messenger(&backend).await, options, Arc::new(Known))
    };
    let strict = with(UnknownAgent::Refuse).await;
    send(&strict, "known", "x").await;
    let refused = strict.send(strict.letter("nobody", text("x"))).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(take(&strict, "nobody").await.is_none());
    let patient = with(UnknownAgent::Hold).await;
    send(&patient, "nobody", "x").await;
    assert!(take(&patient, "nobody").await.is_some());
}

/// A maximum of 0 retries was taken for none given, and became 3.
#[tokio::test]
async fn bb11_no_retries_are_no_retries() {
    let backend = memory().await;
    let options = MailboxOptions {
        retries: 0,
        ..eager()
    };
    let mail = mail(&backend, options).await;
    send(&mail, "a", "once").await;
    let got = take(&mail, "a").await.unwrap();
    mail.messenger().nack(&got, "no").await.unwrap();
    assert!(take(&mail, "a").await.is_none());
    assert_eq!(mail.dead_letters("a").await.unwrap()[0].attempts, 1);
}
