use futures::future::join_all;
use statehouse_contracts::{Backend, Endpoint, Factory, Receive, Scope};

use super::*;
use crate::{Incoming, MailboxOptions, Messenger, PolicyManager};

/// Two processes over one backend would each have mailboxes of their own.
async fn two() -> (Mailboxes, Mailboxes) {
    let endpoint = Endpoint::parse("memory:").unwrap();
    let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
    let backend: Arc<dyn Backend> = statehouse_layers::guard(backend);
    let scope = Scope::parse("default", "tester").unwrap();
    let open = async || {
        let policies = Arc::new(PolicyManager::default());
        let messenger = Messenger::open(&*backend, &scope, policies).await.unwrap();
        Mailboxes::new(messenger, MailboxOptions::default())
    };
    (open().await, open().await)
}

async fn take(mail: &Mailboxes, agent: &str) -> Incoming {
    let wait = Duration::from_secs(10);
    mail.receive_one(agent, wait).await.unwrap().expect("mail")
}

/// Answers every request to `agent` with its own payload.
fn echo(mail: &Mailboxes, agent: &str) -> tokio::task::JoinHandle<()> {
    let (mail, agent) = (mail.clone(), agent.to_owned());
    tokio::spawn(async move {
        loop {
            let receive = Receive::new(32, Duration::from_secs(60));
            let asked = mail.receive(&agent, receive).await.unwrap();
            for request in &asked {
                let payload = request.message().payload.clone();
                mail.reply(request.message(), payload).await.unwrap();
            }
            mail.messenger().ack_all(&asked).await.unwrap();
        }
    })
}

fn text(text: impl Into<String>) -> Payload {
    Payload::text(text)
}

#[tokio::test]
async fn b35_any_agent_name_gets_its_reply() {
    let (asking, answering) = two().await;
    for name in ["plain", "my-agent", "a-b-c", "ünï/cödé", &"x".repeat(500)] {
        let requests = Requests::open(asking.clone(), name).await.unwrap();
        let worker = echo(&answering, &format!("worker-{name}"));
        let reply = requests
            .ask(&format!("worker-{name}"), text(name))
            .await
            .unwrap();
        assert_eq!(reply.bytes(), name.as_bytes());
        assert_eq!(reply.recipient.as_deref(), Some(name));
        assert_eq!(reply.sender, Some(format!("worker-{name}")));
        worker.abort();
        requests.close().await.unwrap();
    }
}

#[tokio::test]
async fn b36_asking_oneself_is_answered_by_oneself() {
    let (mail, _) = two().await;
    let requests = Requests::open(mail.clone(), "me").await.unwrap();
    let answering = async {
        let asked = take(&mail, "me").await;
        assert_eq!(asked.message().bytes(), b"who am I?");
        mail.reply(asked.message(), text("you")).await.unwrap();
        mail.messenger().ack(&asked).await.unwrap();
    };
    let (reply, ()) = tokio::join!(requests.ask("me", text("who am I?")), answering);
    assert_eq!(reply.unwrap().bytes(), b"you", "not the question itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b37_repeated_replies_are_ignored() {
    let (asking, answering) = two().await;
    let requests = Requests::open(asking.clone(), "asker").await.unwrap();
    let worker = tokio::spawn(async move {
        for _ in 0..300 {
            let asked = take(&answering, "worker").await;
            let request = asked.message();
            answering.reply(request, text("same")).await.unwrap();
            // A reply that the backend does not recognise as a repeat, from some other program.
            let stray = Message {
                correlation_id: request.correlation_id.clone(),
                recipient: request.sender.clone(),
                ..Message::new(request.reply_to.clone().unwrap(), text("stray"))
            };
            answering.messenger().send(stray).await.unwrap();
            let repeated = answering.reply(request, text("same")).await.unwrap();
            assert!(repeated.duplicate_of.is_some());
            let other = answering.reply(request, text("other")).await.unwrap_err();
            assert_eq!(other.kind(), ErrorKind::Conflict);
            answering.messenger().ack(&asked).await.unwrap();
        }
    });
    for _ in 0..300 {
        let reply = requests.ask("worker", text("?")).await.unwrap();
        assert_eq!(reply.bytes(), b"same");
    }
    worker.await.unwrap();
    requests.close().await.unwrap();
    assert_eq!(
        asking.pending("asker", 10).await.unwrap(),
        [],
        "none of them is a late reply"
    );
}

#[tokio::test]
async fn b34_a_late_reply_goes_to_the_mailbox() {
    let (asking, answering) = two().await;
    let requests = Requests::open(asking.clone(), "asker").await.unwrap();
    let request = asking.letter("worker", text("take your time"));
    let timeout = Duration::from_millis(20);
    let error = requests.request(request, timeout).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "request: no reply within 20ms, recipient=worker"
    );
    assert_eq!(requests.in_flight(), 0);
    let asked = take(&answering, "worker").await;
    answering
        .reply(asked.message(), text("done"))
        .await
        .unwrap();
    let late = take(&asking, "asker").await;
    assert_eq!(late.message().bytes(), b"done");
    assert_eq!(
        late.message().correlation_id,
        asked.message().correlation_id
    );
}

#[tokio::test]
async fn a_request_that_is_given_up_waits_no_more() {
    let (asking, answering) = two().await;
    let requests = Requests::open(asking.clone(), "asker").await.unwrap();
    let mut waiting = Box::pin(requests.ask("worker", text("?")));
    let asked = tokio::select! {
        reply = &mut waiting => panic!("nobody answered, but got {reply:?}"),
        asked = take(&answering, "worker") => asked,
    };
    assert_eq!(requests.in_flight(), 1);
    drop(waiting);
    assert_eq!(requests.in_flight(), 0);
    answering
        .reply(asked.message(), text("done"))
        .await
        .unwrap();
    assert_eq!(take(&asking, "asker").await.message().bytes(), b"done");
}

#[tokio::test]
async fn replies_to_who_has_closed_go_to_the_mailbox() {
    let (asking, answering) = two().await;
    let requests = Requests::open(asking.clone(), "asker").await.unwrap();
    let request = asking.letter("worker", text("?"));
    let timed_out = requests.request(request, Duration::from_millis(5)).await;
    assert_eq!(timed_out.unwrap_err().kind(), ErrorKind::Timeout);
    requests.close().await.unwrap();
    let asked = take(&answering, "worker").await;
    let large = Payload::bytes(vec![7; 30_000]);
    for _ in 0..2 {
        answering
            .reply(asked.message(), large.clone())
            .await
            .unwrap();
    }
    let late = take(&asking, "asker").await;
    assert_eq!(late.message().payload, large, "also a large one");
    asking.messenger().ack(&late).await.unwrap();
    assert_eq!(asking.pending("asker", 10).await.unwrap(), [], "only once");
    let groups = asking.messenger().consumer().groups().await.unwrap();
    assert!(
        groups.iter().all(|status| status.group.is_mailbox()),
        "{groups:?}"
    );
}

#[tokio::test]
async fn closing_ends_who_waits() {
    let (mail, _) = two().await;
    let requests = Requests::open(mail.clone(), "asker").await.unwrap();
    let inner = Arc::clone(&requests.inner);
    let asking = requests.ask("nobody", text("?"));
    let closing = async {
        take(&mail, "nobody").await;
        inner.stop.cancel();
    };
    let (asked, ()) = tokio::join!(asking, closing);
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::Closed);
    let later = requests.ask("nobody", text("?")).await.unwrap_err();
    assert_eq!(later.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn many_requests_share_one_consumer() {
    let (asking, answering) = two().await;
    let requests = Requests::open(asking, "asker").await.unwrap();
    let workers = [echo(&answering, "worker"), echo(&answering, "worker")];
    let asked = (0..500).map(|n| {
        let requests = &requests;
        async move {
            let reply = requests.ask("worker", text(n.to_string())).await.unwrap();
            assert_eq!(reply.bytes(), n.to_string().as_bytes());
        }
    });
    join_all(asked).await;
    assert_eq!(requests.in_flight(), 0);
    workers.iter().for_each(|worker| worker.abort());
}

#[tokio::test]
async fn what_is_no_request_cannot_be_answered() {
    let (mail, _) = two().await;
    let letter = mail.letter("a", text("x"));
    let error = mail.reply(&letter, text("y")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        Requests::open(mail, "").await.unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

#[tokio::test]
async fn a_group_that_was_removed_is_made_again() {
    let (asking, answering) = two().await;
    let requests = Requests::open(asking.clone(), "asker").await.unwrap();
    let consumer = asking.messenger().consumer();
    assert!(consumer.delete_group(&requests.inner.group).await.unwrap());
    let worker = echo(&answering, "worker");
    let mut answered = false;
    for _ in 0..100 {
        let request = asking.letter("worker", text("?"));
        let reply = requests.request(request, Duration::from_millis(200)).await;
        answered |= reply.is_ok();
        if answered {
            break;
        }
    }
    assert!(answered, "it recovers by itself");
    worker.abort();
}

#[tokio::test]
async fn nothing_is_abandoned_while_it_is_young() {
    let (asking, answering) = two().await;
    let requests = Requests::open(asking.clone(), "asker").await.unwrap();
    assert_eq!(Requests::recover(&answering).await.unwrap(), 0);
    drop(requests);
    assert_eq!(
        Requests::recover(&answering).await.unwrap(),
        0,
        "its group is young"
    );
    let long_ago = uuid::Timestamp::from_unix(uuid::NoContext, 1_600_000_000, 0);
    let old = Uuid::new_v7(long_ago);
    let group = GroupName::new(format!("{GROUP_PREFIX}{old}")).unwrap();
    let topic = Topic::new(format!("{TOPIC_PREFIX}{old}")).unwrap();
    let consumer = asking.messenger().consumer();
    let spec = GroupSpec::new(topic.into());
    consumer.declare(&group, &spec).await.unwrap();
    assert_eq!(Requests::recover(&answering).await.unwrap(), 1);
    assert!(!consumer.delete_group(&group).await.unwrap(), "it is gone");
}
