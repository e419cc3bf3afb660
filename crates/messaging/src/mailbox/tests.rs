mod model;

use std::collections::BTreeSet;

use parking_lot::Mutex;
use statehouse_contracts::{
    Backend, Counts, Endpoint, Factory, Priority, Producer, Scope, SendOptions,
};

use super::*;
use crate::PolicyManager;

async fn messenger() -> Messenger {
    let endpoint = Endpoint::parse("memory:").unwrap();
    let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
    let backend: Arc<dyn Backend> = statehouse_layers::guard(backend);
    let scope = Scope::parse("default", "tester").unwrap();
    let policies = Arc::new(PolicyManager::default());
    Messenger::open(&*backend, &scope, policies).await.unwrap()
}

async fn mail() -> Mailboxes {
    Mailboxes::new(messenger().await, MailboxOptions::default())
}

/// Retries at once.
fn eager(retries: u32) -> MailboxOptions {
    MailboxOptions {
        retries,
        backoff: Backoff::NONE,
        ..MailboxOptions::default()
    }
}

fn text(text: &str) -> Payload {
    Payload::text(text)
}

async fn take(mail: &Mailboxes, agent: &str) -> Option<Incoming> {
    mail.receive_one(agent, Duration::ZERO).await.unwrap()
}

#[tokio::test]
async fn mail_waits_for_any_agent() {
    let mail = mail().await;
    let long = "x".repeat(500);
    let agents = ["plain", "my-agent", "a_b", "ünï/cödé", "team:one", &long];
    for agent in agents {
        mail.send(mail.letter(agent, text(agent))).await.unwrap();
    }
    let waiting: BTreeSet<_> = mail
        .agents_with_pending()
        .await
        .unwrap()
        .into_iter()
        .collect();
    let expected = agents.iter().map(|&agent| (agent.to_owned(), 1)).collect();
    assert_eq!(waiting, expected);
    for agent in agents {
        let got = take(&mail, agent).await.unwrap();
        assert_eq!(got.message().bytes(), agent.as_bytes());
        assert_eq!(got.message().recipient.as_deref(), Some(agent));
        mail.messenger().ack(&got).await.unwrap();
        assert!(take(&mail, agent).await.is_none());
    }
}

#[tokio::test]
async fn a_message_names_its_recipient() {
    let mail = mail().await;
    for recipient in [None, Some(String::new())] {
        let letter = Message {
            recipient,
            ..mail.letter("a", text("x"))
        };
        let error = mail.send(letter).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[derive(Debug)]
struct Known(Mutex<Vec<String>>);

#[async_trait]
impl AgentValidator for Known {
    async fn exists(&self, agent: &str) -> Result<bool> {
        self.0.lock().push(agent.to_owned());
        Ok(agent == "known")
    }
}

#[tokio::test]
async fn b19_the_validator_is_asked() {
    let messenger = messenger().await;
    let known = Arc::new(Known(Mutex::default()));
    let options = MailboxOptions::default();
    let mail = Mailboxes::with_validator(messenger.clone(), options, known.clone());
    mail.send(mail.letter("known", text("x"))).await.unwrap();
    let refused = mail
        .send(mail.letter("nobody", text("x")))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(refused.message(), "agent not found: nobody");
    assert_eq!(*known.0.lock(), ["known", "nobody"]);
    assert_eq!(
        mail.status("nobody").await.unwrap(),
        MailboxStatus::default()
    );

    let hold = MailboxOptions {
        unknown: UnknownAgent::Hold,
        ..options
    };
    let mail = Mailboxes::with_validator(messenger, hold, known);
    mail.send(mail.letter("nobody", text("x"))).await.unwrap();
    assert!(
        take(&mail, "nobody").await.is_some(),
        "it waits for who comes later"
    );
}

#[tokio::test]
async fn b20_the_higher_priority_comes_first_then_the_older_message() {
    let mail = mail().await;
    for (name, priority) in [("a", 0), ("b", 2), ("c", 9), ("d", 2), ("e", 0)] {
        let priority = Priority::new(priority).unwrap();
        let letter = Message {
            priority,
            ..mail.letter("x", text(name))
        };
        mail.send(letter).await.unwrap();
    }
    let pending = mail.pending("x", 10).await.unwrap();
    let mut order = String::new();
    while let Some(got) = take(&mail, "x").await {
        order.push_str(std::str::from_utf8(got.message().bytes()).unwrap());
    }
    assert_eq!(order, "cbdae", "b21: also the lowest priority is delivered");
    assert_eq!(pending.len(), 5);
    assert_eq!(pending[0].priority, Priority::MAX);
}

#[tokio::test]
async fn b24_retries_are_counted_after_the_first_delivery() {
    let mail = Mailboxes::new(messenger().await, eager(3));
    mail.send(mail.letter("a", text("poison"))).await.unwrap();
    for attempt in 1..=4 {
        let got = take(&mail, "a").await.unwrap();
        assert_eq!(got.delivery.attempt, attempt);
        mail.messenger()
            .nack(&got, format!("failure {attempt}"))
            .await
            .unwrap();
    }
    assert!(take(&mail, "a").await.is_none());
    let dead = mail.dead_letters("a").await.unwrap();
    assert_eq!(
        (dead[0].attempts, dead[0].reason.as_str()),
        (4, "max_deliveries")
    );
    let history: Vec<_> = dead[0]
        .errors
        .iter()
        .map(|e| (e.attempt, e.error.as_str()))
        .collect();
    assert_eq!(history[0], (1, "failure 1"));
    assert_eq!(history.last(), Some(&(4, "failure 4")));
}

#[tokio::test]
async fn bb11_no_retries_can_be_said() {
    let mail = Mailboxes::new(messenger().await, eager(0));
    mail.send(mail.letter("a", text("once"))).await.unwrap();
    let got = take(&mail, "a").await.unwrap();
    mail.messenger().nack(&got, "no").await.unwrap();
    assert_eq!(mail.status("a").await.unwrap().counts.dead, 1);
}

#[tokio::test]
async fn bb6_a_failing_message_holds_up_nobody_and_can_be_redriven() {
    let mail = mail().await;
    let poison = mail.send(mail.letter("a", text("poison"))).await.unwrap();
    mail.send(mail.letter("a", text("fine"))).await.unwrap();
    let got = take(&mail, "a").await.unwrap();
    mail.messenger().nack(&got, "not now").await.unwrap();
    let next = take(&mail, "a").await.unwrap();
    assert_eq!(
        next.message().bytes(),
        b"fine",
        "the failed one waits out its backoff"
    );
    assert_eq!(mail.status("a").await.unwrap().counts.delayed, 1);

    let other = mail.send(mail.letter("b", text("for b"))).await.unwrap();
    let got = take(&mail, "b").await.unwrap();
    mail.messenger()
        .dead_letter(&got, "makes no sense")
        .await
        .unwrap();
    assert_eq!(
        mail.dead_letters("b").await.unwrap()[0].reason,
        "makes no sense"
    );
    let unknown = mail.redrive("b", Some(poison.id)).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    assert_eq!(mail.redrive("b", Some(other.id)).await.unwrap(), 1);
    let again = take(&mail, "b").await.unwrap();
    assert_eq!((again.delivery.attempt, again.message().id), (1, other.id));
    mail.messenger().dead_letter(&again, "still").await.unwrap();
    assert_eq!(mail.purge_dead_letters("b").await.unwrap(), 1);
    assert!(mail.dead_letters("b").await.unwrap().is_empty());
}

#[tokio::test]
async fn bb4_what_is_not_settled_comes_back() {
    let options = MailboxOptions {
        lease: Duration::from_millis(5),
        ..eager(3)
    };
    let mail = Mailboxes::new(messenger().await, options);
    mail.send(mail.letter("a", text("x"))).await.unwrap();
    let first = take(&mail, "a").await.unwrap();
    let again = mail
        .receive_one("a", Duration::from_secs(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (again.delivery.attempt, again.message().id),
        (2, first.message().id)
    );
    let stale = mail.messenger().ack(&first).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::LeaseLost);
}

#[tokio::test]
async fn bb7_an_id_that_is_taken_is_told() {
    let mail = mail().await;
    let letter = mail.letter("a", text("first"));
    mail.send(letter.clone()).await.unwrap();
    let repeated = mail.send(letter.clone()).await.unwrap();
    assert_eq!(repeated.duplicate_of, Some(letter.id));
    let other = Message {
        payload: text("second"),
        ..letter
    };
    assert_eq!(
        mail.send(other).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(mail.status("a").await.unwrap().counts.ready, 1);
}

#[tokio::test]
async fn bb8_nothing_stays_of_what_was_done() {
    let mail = mail().await;
    for n in 0..20 {
        mail.send(mail.letter("a", text(&n.to_string())))
            .await
            .unwrap();
    }
    let all = mail
        .receive("a", Receive::new(20, Duration::ZERO))
        .await
        .unwrap();
    let acked = mail.messenger().ack_all(&all).await.unwrap();
    assert!(acked.iter().all(Result::is_ok));
    let status = mail.status("a").await.unwrap();
    let Counts {
        ready,
        delayed,
        in_flight,
        dead,
        ..
    } = status.counts;
    assert_eq!(
        (ready, delayed, in_flight, dead, status.oldest),
        (0, 0, 0, 0, None)
    );
}

#[tokio::test]
async fn b27_pending_mail_is_seen_and_not_taken() {
    let mail = mail().await;
    assert!(mail.pending("a", 10).await.unwrap().is_empty());
    let large = Message {
        sender: Some("writer".into()),
        kind: Some(statehouse_contracts::Kind::new("tool_result").unwrap()),
        ..mail.letter("a", Payload::json(vec![b'1'; 50_000]))
    };
    mail.send(large.clone()).await.unwrap();
    let pending = mail.pending("a", 10).await.unwrap().remove(0);
    let got = (pending.id, pending.sender, pending.size, pending.attempts);
    assert_eq!(got, (large.id, large.sender.clone(), 50_000, 0));
    assert_eq!(
        pending.content_type,
        statehouse_contracts::ContentType::JSON
    );
    assert!(pending.expires_at.unwrap() > pending.sent_at);
    let (peeked, _) = mail.peek("a", 1).await.unwrap().remove(0);
    assert_eq!(mail.resolve(&peeked.message).await.unwrap().len(), 50_000);
    assert!(mail.status("a").await.unwrap().oldest.is_some());
    let taken = take(&mail, "a").await.unwrap();
    assert_eq!((taken.delivery.attempt, taken.message()), (1, &large));
}

#[tokio::test]
async fn b28_arrivals_are_told() {
    let mail = mail().await;
    let mut arrivals = mail.arrivals("a").await.unwrap();
    assert!(!arrivals.next(Duration::ZERO).await.unwrap());
    for n in 0..3 {
        mail.send(mail.letter("a", text(&n.to_string())))
            .await
            .unwrap();
    }
    mail.send(mail.letter("b", text("for another")))
        .await
        .unwrap();
    assert!(arrivals.next(Duration::from_secs(10)).await.unwrap());
    assert!(
        !arrivals.next(Duration::ZERO).await.unwrap(),
        "told together"
    );
    assert_eq!(
        mail.status("a").await.unwrap().counts.ready,
        3,
        "nothing is taken"
    );
}

#[tokio::test]
async fn mail_expires_after_a_day_unless_it_says_otherwise() {
    let mail = mail().await;
    mail.send(mail.letter("a", text("x"))).await.unwrap();
    let (received, _) = mail.peek("a", 1).await.unwrap().remove(0);
    let life = received
        .expires_at
        .unwrap()
        .duration_since(received.sent_at);
    assert_eq!(life.as_hours(), 24);
    let brief = Message {
        ttl: Some(Duration::from_millis(1)),
        ..mail.letter("b", text("x"))
    };
    mail.send(brief).await.unwrap();
    while mail.status("b").await.unwrap().counts.ready > 0 {
        // sleep: the backend's clock decides when it has expired
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(take(&mail, "b").await.is_none());
}

#[tokio::test]
async fn two_promises_for_one_mailbox_are_a_conflict() {
    let messenger = messenger().await;
    let first = Mailboxes::new(messenger.clone(), eager(1));
    first.send(first.letter("a", text("x"))).await.unwrap();
    let second = Mailboxes::new(messenger, eager(2));
    let error = second.receive_one("a", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_producer_of_other_peoples_mail_makes_their_mailboxes() {
    let mail = Mailboxes::new(messenger().await, eager(0));
    let endpoint = Endpoint::parse("memory:").unwrap();
    let scope = Scope::parse("default", "relay").unwrap();
    let elsewhere = statehouse_memory::Memory.open(&endpoint).await.unwrap();
    let consumer = Arc::clone(mail.messenger().consumer());
    let producer = MailboxProducer::new(mail.clone(), elsewhere.producer(&scope).await.unwrap());
    let batch = ["mailbox.bob", "news"].map(|topic| {
        let topic = Topic::new(topic).unwrap();
        Message::new(topic, text("hello"))
    });
    let sent = producer.send(batch.into(), SendOptions::default()).await;
    let ok: Vec<bool> = sent.unwrap().iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, true]);
    let groups = consumer.groups().await.unwrap();
    let [bob] = &groups[..] else {
        panic!("one mailbox: {groups:?}")
    };
    assert_eq!(bob.group, GroupName::mailbox("bob"));
    assert_eq!(bob.spec.max_deliveries, 1, "no retry");
}
